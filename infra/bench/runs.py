"""Whole runs on an engine, in this process or in one of its own that keeps the engine warm."""

import atexit
import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any

from workers.engine import Engine, SerialEngine
from workers.margin_run import MarginRun
from workers.plan import RunRequest
from workers.warm import warm_kernels


@dataclass(frozen=True, slots=True)
class Made:
    """A published run, and the wall seconds of each of its stages."""

    run_id: str
    manifest: dict[str, Any]

    @property
    def digest(self) -> str:
        return str(self.manifest["digest"])

    def seconds(self, stage: str) -> float:
        return float(next(row["wall_s"] for row in self.manifest["stages"] if row["name"] == stage))


def make_run(request: RunRequest, engine: Engine) -> Made:
    """Compute a run on an engine and publish it.

    Raises:
        ValueError: the run was there before, so that there is nothing to time.
    """
    with MarginRun(request, lambda: engine, SerialEngine) as run:
        if run.prepare():
            raise ValueError(f"run {run.run_id} was published before; give a fresh folder of runs")
        run.compute()
        return Made(run.run_id, run.publish())


@contextlib.contextmanager
def ray_process(
    workers: int, address: str | None = None, env: Mapping[str, str] | None = None
) -> Iterator[Callable[[RunRequest], Made]]:
    """Hold a Ray in a process of its own, warm; what is yielded makes a run on it.

    A process can hold one Ray, and two that are compared take turns.
    """
    arguments = (workers, address, dict(env or {}))
    with ProcessPoolExecutor(1, get_context("spawn"), _start, arguments) as pool:
        yield lambda request: pool.submit(_make, request).result()


_engine: Engine | None = None


def _start(workers: int, address: str | None, env: dict[str, str]) -> None:
    global _engine
    os.environ.update(env)  # before Ray is imported
    from workers.ray_engine import RayEngine

    _engine = RayEngine(workers, address, warm_kernels)
    atexit.register(_engine.close)


def _make(request: RunRequest) -> Made:
    assert _engine is not None, "the process was started with an engine"
    return make_run(request, _engine)
