"""One life of a run in a process of its own: it ends published, by a named error, or killed."""

import errno
import json
import os
import resource
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import icechunk

from infra.chaos.ground import Request, run_of
from storage import faults
from storage.locks import AlreadyLocked
from storage.manifests import ManifestDamaged
from storage.objects import StoreUnavailable
from storage.runs import RunStore
from storage.staging import Fork, StagedRun
from workers import margin_run
from workers.code_version import code_version
from workers.engine import Engine, SerialEngine, TaskLost, WorkersDiffer
from workers.fold import IncompleteRun
from workers.pool import run as pool_run

# Remembered from here on: every life of a run has one key, though somebody edits the sources.
code_version()

NAMED = (
    AlreadyLocked,
    StoreUnavailable,
    faults.StoreFailed,
    ManifestDamaged,
    IncompleteRun,
    TaskLost,
    WorkersDiffer,
)
FULL = (errno.ENOSPC, errno.EFBIG)
"""Of the system's own errors, those that name what was done to the disk."""
PUBLISHED, UNNAMED, REFUSED, TERMINATED = 0, 1, 3, 128 + signal.SIGTERM
WIDE = ("margin_shard", "pool_shard")
CALLS: tuple[tuple[Any, str], ...] = (
    (StagedRun, "lay_out"),
    (Fork, "write"),
    (StagedRun, "checkpoint"),
    (StagedRun, "_commit"),
    (StagedRun, "finish"),
    (RunStore, "_move_main"),
    (RunStore, "publish"),
    (icechunk.Repository, "create_tag"),
    (icechunk.Repository, "delete_branch"),
)
"""Where a process may be told to die: on either side of everything that changes the store."""


@dataclass(frozen=True)
class Life:
    """What a process is to do, and what is to happen to it from inside."""

    request: Request
    report: Path
    ray_address: str | None = None
    dies_at: int | None = None
    """Number of the moment, of those before and after each of ``CALLS``, at which it is killed."""
    file_bytes: int | None = None
    """The largest file that it may write: what stands for a full disk where none can be made."""


class Noting:
    """An engine that notes in a file which shards came back."""

    def __init__(self, engine: Engine, path: Path) -> None:
        self._engine, self._path = engine, path
        self.name, self.workers = engine.name, engine.workers

    def map(
        self, function: Callable[[Any, Any], Any], shared: Any, items: Iterable[Any]
    ) -> Iterator[Any]:
        for result in self._engine.map(function, shared, items):
            if function.__name__ in WIDE:
                with self._path.open("a") as file:
                    file.write(f"{result.shard.index}\n")
            yield result

    def describe(self) -> dict[str, Any]:
        return self._engine.describe()

    def close(self) -> None:
        self._engine.close()


def live(life: Life) -> None:
    """Be that process; leave the name of the error in ``report`` and end with a code."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))
    margin_run.CHECKPOINT_SHARDS = pool_run.CHECKPOINT_SHARDS = 1
    if life.file_bytes is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (life.file_bytes, life.file_bytes))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    if life.dies_at is not None:
        _die_at(life.dies_at)
    try:
        told = _perform(life)
    except (*NAMED, OSError) as error:
        if not isinstance(error, NAMED) and error.errno not in FULL:
            raise
        told = {"error": type(error).__name__, "says": str(error)}
    _tell(life.report, told)
    sys.exit(REFUSED if "error" in told else PUBLISHED)


def _tell(report: Path, told: dict[str, Any]) -> None:
    report.with_suffix(".json").write_text(json.dumps(told))


def _perform(life: Life) -> dict[str, Any]:
    engine = _engine(life)
    life.report.with_suffix(".begun").touch()
    try:
        with run_of(life.request, engine) as run:
            if run.prepare():
                return {"run": run.run_id, "recognised": True}
            run.compute()
            run.publish()
            return {"run": run.run_id, "recognised": False}
    finally:
        engine.close()


def _engine(life: Life) -> Noting:
    notes = life.report.with_suffix(".shards")
    if life.ray_address is None:
        return Noting(SerialEngine(), notes)
    from workers.ray_engine import RayEngine

    return Noting(RayEngine(1, life.ray_address), notes)


def _die_at(moment: int) -> None:
    """Let this process kill itself at a moment, counted over all ``CALLS``."""
    passed = 0

    def step() -> None:
        nonlocal passed
        if passed == moment:
            os.kill(os.getpid(), signal.SIGKILL)
        passed += 1

    for owner, method in CALLS:
        static = isinstance(owner.__dict__[method], staticmethod)
        deadly = _stepping(getattr(owner, method), step)
        setattr(owner, method, staticmethod(deadly) if static else deadly)


def _stepping(called: Callable[..., Any], step: Callable[[], None]) -> Callable[..., Any]:
    def stepping(*arguments: Any, **options: Any) -> Any:
        step()
        result = called(*arguments, **options)
        step()
        return result

    return stepping
