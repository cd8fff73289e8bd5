"""One seed: a store, faults drawn by the seed, lives until the run is published, and the oracle."""

import contextlib
import json
import multiprocessing
import os
import random
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from infra.chaos.ground import KINDS, Ground, published, values_wrong
from infra.chaos.life import PUBLISHED, REFUSED, TERMINATED, Life, live
from infra.chaos.processes import wait_for
from storage.runs import RunStore

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["infra.chaos.life"])

LIFE_SECONDS = 300.0
KILLED_WORKER = "worker killed"
"""Half of the seeds on Ray are for it, and no other can draw it: the run goes on to its end."""
MOMENTS = 44
"""Moments at which a run of three shards may be told to die; later ones come after its end."""
WORKER = "ray::_call"
"""What a worker of Ray is called while it does a task of ours."""


class Wrong(AssertionError):
    """The oracle found what must not be: what and where."""


class Lost(Wrong):
    """A run that was there is gone, or one that was to come never did."""


@dataclass
class Outcome:
    """What came of a seed."""

    seed: int
    kind: str
    engine: str
    faults: list[str] = field(default_factory=list)
    """What was injected for certain, in order."""
    errors: list[str] = field(default_factory=list)
    """Names of the errors that lives ended with."""
    lives: int = 0
    redone: list[int] = field(default_factory=list)
    """How many shards were margined a second time because of each of them."""
    recovery_s: float = 0.0
    """From the end of the last fault to the publication."""
    seconds: float = 0.0
    wrong: str | None = None
    lost: bool = False


class Trial:
    """The store of a seed, and what may befall those who work on it."""

    def __init__(
        self,
        ground: Ground,
        seed: int,
        folder: Path,
        full_disk: bool,
        ray: tuple[str, int] | None,
    ) -> None:
        self.random = random.Random(seed)
        self.ground, self.folder, self._full_disk = ground, folder, full_disk
        kinds = sorted({kind for kind, _ in ground.truth})
        self.kind = "margin" if self.random.random() < 0.7 else self.random.choice(kinds)
        self.ray = ray if self.kind == "margin" and self.random.random() < 0.15 else None
        self.outcome = Outcome(seed, self.kind, "ray" if self.ray else "serial")
        folder.mkdir()
        # Not on the disk that may become full.
        self._reports = ground.folder / f"reports-{seed}"
        self._reports.mkdir()
        self.place = ground.place(folder / "store", self.kind)
        self._lives: list[Any] = []
        self._done: set[str] = set()
        self._damage: int | None = None
        self._since = time.monotonic()

    def run(self) -> Outcome:
        """Inject one to three faults, then let the run be finished; the oracle looks on."""
        began = time.monotonic()
        names = [name for name in FAULTS if name != KILLED_WORKER]
        if self.kind != "margin":
            names.remove("two runs published at once")
        drawn = self.random.sample(names, self.random.randint(1, 3))
        if self.ray and self.random.random() < 0.5:
            drawn = [KILLED_WORKER]
        try:
            for name in drawn:
                with self._watched():
                    injected = FAULTS[name](self)
                if injected:
                    self.outcome.faults.append(name)
                    self.outcome.redone.append(0)
                    if name in DAMAGES:
                        self._damage = len(self.outcome.redone) - 1
                self._since = time.monotonic()
                self.look()
            for _ in range(3):
                with self._watched():
                    code = self.end(self.begin())
                if code == PUBLISHED:
                    break
            self.outcome.recovery_s = time.monotonic() - self._since
            self.look(finished=True)
        except Exception as problem:  # whatever else a reader meets is as wrong
            self.outcome.wrong = f"{type(problem).__name__}: {str(problem)[:500]}"
            self.outcome.lost = isinstance(problem, Lost)
        finally:
            for process in self._lives:
                process.kill()
                process.join()
            for folder in (self.folder, self._reports):
                shutil.rmtree(folder, ignore_errors=True)
        self.outcome.seconds = time.monotonic() - began
        return self.outcome

    def begin(self, rules: str = "today", **options: Any) -> tuple[Any, Path]:
        """Start a life."""
        self.outcome.lives += 1
        report = self._reports / f"{rules}-{self.outcome.lives}"
        request = self.ground.request(self.kind, self.place, rules)
        address = self.ray[0] if self.ray else None
        process = PROCESSES.Process(target=live, args=(Life(request, report, address, **options),))
        process.start()
        self._lives.append(process)
        return process, report

    def end(self, life: tuple[Any, Path]) -> int:
        """Wait for the end of a life and return its exit code; an end without a name is wrong."""
        process, report = life
        process.join(LIFE_SECONDS)
        self._count(report)
        if process.exitcode is None:
            process.kill()
            raise Wrong("a life hangs")
        told = report.with_suffix(".json")
        if process.exitcode == REFUSED:
            self.outcome.errors.append(json.loads(told.read_text())["error"])
        elif process.exitcode not in (PUBLISHED, TERMINATED, -signal.SIGKILL):
            raise Wrong(f"a life ended with {process.exitcode} and no name for it")
        return int(process.exitcode)

    def wait_a_moment(self, life: tuple[Any, Path]) -> None:
        """Wait until a life is at work, and then a little longer."""
        process, report = life
        wait_for(lambda: report.with_suffix(".begun").exists() or not process.is_alive(), 60)
        time.sleep(self.random.uniform(0.0, 2.5 if self.ray else 1.2))

    def look(self, *, finished: bool = False) -> None:
        """Hold what is published against the truth.

        Raises:
            Wrong: a run is there that should not be, is not whole, or has another digest.
        """
        truth = self.ground.truth
        allowed = {digest for (kind, _), digest in truth.items() if kind == self.kind}
        found = set(published(self.place, self.kind).values())
        if not found <= allowed:
            raise Wrong(f"digests {sorted(found - allowed)} are not among those without faults")
        if self.kind == "margin" and truth["margin", "yesterday"] not in found:
            raise Lost("the run of yesterday is gone")
        if finished:
            if truth[self.kind, "today"] not in found:
                raise Lost("the run was not published in three tries after the last fault")
            for name in published(self.place, self.kind):
                if groups := values_wrong(RunStore(self.place, KINDS[self.kind]).read(name)):
                    raise Wrong(f"{groups} of {name} are not what the manifest says")

    def _count(self, report: Path) -> None:
        """Charge what a life did over again to damage that nobody met yet, or to the last fault."""
        notes = report.with_suffix(".shards")
        if notes.exists() and report.name.startswith("today"):
            shards = notes.read_text().split()
            again = sum(shard in self._done for shard in shards)
            if again and self.outcome.faults:
                self.outcome.redone[-1 if self._damage is None else self._damage] += again
                self._damage = None
            self._done.update(shards)

    @contextlib.contextmanager
    def _watched(self) -> Iterator[None]:
        """Read all the while; whoever reads sees whole runs alone."""
        over, seen = threading.Event(), list[Exception]()

        def read() -> None:
            while not over.wait(0.1):
                if not (self.place / "repository").is_dir():
                    continue
                try:
                    self.look()
                except OSError as problem:
                    # A store that was never finished cannot be opened while its disk is full.
                    if self.kind == "margin":
                        seen.append(problem)
                except Exception as problem:
                    seen.append(problem)

        reader = threading.Thread(target=read)
        reader.start()
        try:
            yield
        finally:
            over.set()
            reader.join()
        if seen:
            raise seen[0]


def _kill_driver(trial: Trial) -> bool:
    life = trial.begin()
    trial.wait_a_moment(life)
    life[0].kill()
    return trial.end(life) == -signal.SIGKILL


def _kill_at_a_call(trial: Trial) -> bool:
    life = trial.begin(dies_at=trial.random.randrange(MOMENTS))
    return trial.end(life) == -signal.SIGKILL


def _terminate(trial: Trial) -> bool:
    life = trial.begin()
    trial.wait_a_moment(life)
    life[0].terminate()
    return trial.end(life) == TERMINATED


def _kill_worker(trial: Trial) -> bool:
    assert trial.ray is not None
    head = psutil.Process(trial.ray[1])

    def at_work() -> list[psutil.Process]:
        found = []
        for one in head.children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):  # which ended meanwhile
                if one.name().startswith(WORKER):
                    found.append(one)
        return found

    process, _ = life = trial.begin()
    wait_for(lambda: bool(at_work()) or not process.is_alive(), LIFE_SECONDS)
    time.sleep(trial.random.uniform(0.0, 0.3))
    workers = at_work() if process.is_alive() else []
    killed = False
    with contextlib.suppress(ProcessLookupError, IndexError):  # nobody is at work any more
        os.kill(trial.random.choice(workers).pid, signal.SIGKILL)
        killed = True
    trial.end(life)
    return killed


def _two_at_once(trial: Trial) -> bool:
    lives = [trial.begin(), trial.begin()]
    return all(trial.end(life) in (PUBLISHED, REFUSED) for life in lives)


def _race(trial: Trial) -> bool:
    lives = [trial.begin(), trial.begin("rival")]
    if [trial.end(life) for life in lives] != [PUBLISHED, PUBLISHED]:
        raise Wrong(f"one of two runs published at once failed: {trial.outcome.errors[-1:]}")
    return True


def _fill_disk(trial: Trial) -> bool:
    if not trial._full_disk:
        return trial.end(trial.begin(file_bytes=trial.random.randrange(1_000, 120_000))) == REFUSED
    filler, left = trial.folder / "filler", trial.random.randrange(0, 600_000, 4_096)
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(1 << 20)):
            pass
    os.truncate(filler, max(0, filler.stat().st_size - left))
    code = trial.end(trial.begin())
    filler.unlink()
    return code == REFUSED


def _damage(change: Callable[[Path, random.Random], None]) -> Callable[[Trial], bool]:
    def damage(trial: Trial) -> bool:
        before = set(_chunks(trial))
        trial.end(trial.begin(dies_at=trial.random.randrange(8, 30)))
        if trial.ground.truth[trial.kind, "today"] in published(trial.place, trial.kind).values():
            return False  # what is published is for verification to find
        new = sorted(path for path in _chunks(trial) if path not in before and path.stat().st_size)
        for path in trial.random.sample(new, min(3, len(new))):
            change(path, trial.random)
        return bool(new)

    return damage


def _chunks(trial: Trial) -> list[Path]:
    return list((trial.place / "repository" / "chunks").glob("*"))


def _flip(path: Path, chance: random.Random) -> None:
    content = bytearray(path.read_bytes())
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    path.write_bytes(content)


FAULTS: dict[str, Callable[[Trial], bool]] = {
    "driver killed": _kill_driver,
    "driver killed at a change of the store": _kill_at_a_call,
    "driver told to end": _terminate,
    KILLED_WORKER: _kill_worker,
    "run started twice": _two_at_once,
    "two runs published at once": _race,
    "disk full": _fill_disk,
    "staged chunks flipped": _damage(_flip),
    "staged chunks truncated": _damage(
        lambda path, chance: os.truncate(path, chance.randrange(path.stat().st_size))
    ),
    "staged chunks missing": _damage(lambda path, _: path.unlink()),
}
DAMAGES = [name for name in FAULTS if name.startswith("staged chunks")]
"""What is damaged is met by the next life that comes so far, which need not be the next one."""
