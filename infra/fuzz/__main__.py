"""``python -m infra.fuzz``: coverage-guided fuzzing of every reader, by Atheris and libFuzzer.

Each reader runs in a process of its own, with limits of time for an input and of memory in all.
What breaks one is left in ``build/fuzz/`` and the command ends with 1.
"""

import argparse
import contextlib
import subprocess
import sys
from pathlib import Path

FOUND = Path("build") / "fuzz"
SLOWEST_INPUT = 20
"""Seconds, on a machine that others use as well."""

MEMORY = 4096
"""Megabytes."""


def main() -> None:
    """Fuzz the readers that are named, or run one input again."""
    parser = argparse.ArgumentParser(prog="python -m infra.fuzz", description=__doc__)
    parser.add_argument("readers", nargs="*", help="all of them, where none is named")
    parser.add_argument("--seconds", type=int, default=20, help="for each reader")
    parser.add_argument("--replay", type=Path, help="read this input once, by the reader named")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        _fuzz(given.readers[0], given.seconds)
    from infra.fuzz.readers import READERS

    unknown = sorted(set(given.readers) - set(READERS))
    if unknown:
        parser.error(f"no reader {unknown[0]!r}; there are {', '.join(READERS)}")
    if given.replay is not None:
        if len(given.readers) != 1:
            parser.error("name the one reader that is to read it")
        _read(given.readers[0], given.replay.read_bytes())
        return
    broken = [name for name in given.readers or READERS if not _guarded(name, given.seconds)]
    if broken:
        sys.exit(f"broken: {', '.join(broken)}; what breaks them is in {FOUND}")


def _read(name: str, content: bytes) -> None:
    """Read an input; errors that are no refusals go on to whoever called."""
    from infra.fuzz.readers import READERS, refused

    try:
        READERS[name](content)
    except Exception as error:
        if not refused(error):
            raise


def _guarded(name: str, seconds: int) -> bool:
    """Fuzz one reader in a process of its own; return whether it held."""
    FOUND.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "infra.fuzz", name, "--child", "--seconds", str(seconds)]
    done = subprocess.run(command, capture_output=True, text=True)
    log = done.stderr
    (FOUND / f"{name}.log").write_text(log + done.stdout)
    runs = log.rpartition("stat::number_of_executed_units:")[2].split("\n")[0].strip()
    last = [line for line in (done.stdout + log).splitlines() if "Error" in line or "ERROR" in line]
    words = f"{runs or 'no'} inputs" + ("" if done.returncode == 0 else f", BROKEN: {last[:1]}")
    print(f"{name:<16} {words}", flush=True)
    return done.returncode == 0


def _fuzz(name: str, seconds: int) -> None:
    """Fuzz one reader in this process, which ends with it."""
    import atheris

    with atheris.instrument_imports(include=["risk", "storage", "workers.conformance", "tomllib"]):
        from infra.fuzz.readers import SEEDS

    seeds = FOUND / "seeds" / name
    corpus = FOUND / "corpus" / name
    for folder in (seeds, corpus):
        folder.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(SEEDS[name]()):
        (seeds / f"{number:03}").write_bytes(seed)

    def once(content: bytes) -> None:
        with contextlib.redirect_stdout(None):
            _read(name, content)

    atheris.Setup(
        [
            sys.argv[0],
            f"-max_total_time={seconds}",
            f"-timeout={SLOWEST_INPUT}",
            f"-rss_limit_mb={MEMORY}",
            f"-artifact_prefix={FOUND / name}-",
            "-max_len=60000",
            "-print_final_stats=1",
            str(corpus),
            str(seeds),
        ],
        once,
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main()
