"""``python -m infra.fuzz``: coverage-guided fuzzing of every reader, by Atheris and libFuzzer.

Each reader runs in a process of its own, with limits of time for an input and of memory in all.
What breaks one is left in ``build/fuzz/`` and the command ends with 1.
"""

import argparse
import contextlib
import io
import os
import sys
from pathlib import Path
from typing import NoReturn

import atheris

FOUND = Path("build") / "fuzz"
SLOWEST_INPUT = 20
"""Seconds, on a machine that others use as well."""

MEMORY = 4096
"""Megabytes."""

LONGEST_INPUT = 60_000
"""Bytes; what is longer takes long to try and says little more."""

GUIDES = ["tomllib", "risk", "storage", "workers"]
"""Packages whose lines guide it."""

with contextlib.redirect_stderr(io.StringIO()), atheris.instrument_imports(include=GUIDES):
    from infra.fuzz.readers import READERS, SEEDS, refused


def main() -> None:
    """Fuzz the readers that are named, or run one input again."""
    parser = argparse.ArgumentParser(prog="python -m infra.fuzz", description=__doc__)
    parser.add_argument("readers", nargs="*", help="all of them, where none is named")
    parser.add_argument("--seconds", type=int, default=20, help="for each reader")
    parser.add_argument("--replay", type=Path, help="read this input once, by the reader named")
    given = parser.parse_args()
    unknown = sorted(set(given.readers) - set(READERS))
    if unknown:
        parser.error(f"no reader {unknown[0]!r}; there are {', '.join(READERS)}")
    if given.replay is not None:
        if len(given.readers) != 1:
            parser.error("name the one reader that is to read it")
        read(given.readers[0], given.replay.read_bytes())
        return
    FOUND.mkdir(parents=True, exist_ok=True)
    broken = [name for name in given.readers or READERS if not holds(name, given.seconds)]
    if broken:
        sys.exit(f"broken: {', '.join(broken)}; what breaks them is in {FOUND}, with a log of each")


def read(name: str, content: bytes) -> None:
    """Read an input; errors that are no refusals go on to whoever called."""
    try:
        READERS[name](content)
    except Exception as error:
        if not refused(error):
            raise


def holds(name: str, seconds: int) -> bool:
    """Fuzz one reader in a process of its own, and print what came of it; return if it held."""
    log = FOUND / f"{name}.log"
    process = os.fork()  # libFuzzer ends the process that it runs in
    if process == 0:
        _fuzz(name, seconds, log)
    _, status = os.waitpid(process, 0)
    said = log.read_text(errors="replace")
    runs = said.rpartition("stat::number_of_executed_units:")[2].split("\n")[0].strip()
    print(f"{name:<16} {runs or 'no':>8} inputs{'' if status == 0 else '  BROKEN'}", flush=True)
    return status == 0


def _fuzz(name: str, seconds: int, log: Path) -> NoReturn:
    with log.open("wb") as file:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(file.fileno(), stream.fileno())
    seeds, corpus = FOUND / "seeds" / name, FOUND / "corpus" / name
    for folder in (seeds, corpus):
        folder.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(SEEDS[name]()):
        (seeds / f"{number:03}").write_bytes(seed)
    options = {
        "max_total_time": seconds,
        "timeout": SLOWEST_INPUT,
        "rss_limit_mb": MEMORY,
        "max_len": LONGEST_INPUT,
        "artifact_prefix": f"{FOUND / name}-",
        "print_final_stats": 1,
    }
    given = [f"-{option}={value}" for option, value in options.items()]
    with contextlib.suppress(SystemExit):
        atheris.Setup([sys.argv[0], *given, str(corpus), str(seeds)], lambda one: read(name, one))
        atheris.Fuzz()
    os._exit(1)


if __name__ == "__main__":
    main()
