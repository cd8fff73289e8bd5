"""Start engines side by side: each in a thread of its own, waited for when first needed."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import ContextVar
from typing import Generic, TypeVar

# Ray asks for a module inside this package while Prefect imports the package: two threads that
# import it at once, each from its own end, find it half made.
import pydantic.v1  # noqa: F401

from flows.settings import Settings

# Xarray imports Dask when it is first asked for an array: that too is done before a thread starts.
from workers.dask_engine import DaskEngine
from workers.engine import Engine, FoldEngine, SerialEngine
from workers.memory import Room, room_here
from workers.stages import StageTable
from workers.warm import warm_kernels

Started = TypeVar("Started")

KERNELS = "compile kernels once, or load them"
"""The stage in which a run waits for its kernels: on a machine for minutes, once."""

_RUNNING: ContextVar["Engines | None"] = ContextVar("engines", default=None)


def running_engines() -> "Engines | None":
    """Return the engines that were started before the flow, if any were."""
    return _RUNNING.get()


class Starting(Generic[Started]):
    """Something that is being started; calling it waits until it is there.

    The thread that starts it lives until ``release``: the system ends Ray's processes with the
    thread that created them.
    """

    def __init__(self, start: Callable[[], Started]) -> None:
        self._future: Future[Started] = Future()
        self._released = threading.Event()
        self._start = start
        threading.Thread(target=self._run, name="engine-start", daemon=True).start()

    def __call__(self) -> Started:
        """Return what was started, or raise what its start raised."""
        return self._future.result()

    def _run(self) -> None:
        try:
            self._future.set_result(self._start())
        except BaseException as error:
            self._future.set_exception(error)
        self._released.wait()

    def is_awaited(self) -> bool:
        """Tell whether the start has not ended yet."""
        return not self._future.done()

    def is_there(self) -> bool:
        """Wait for the start to end, and tell whether it succeeded."""
        return self._future.exception() is None

    def release(self) -> None:
        """Let the thread that started it end."""
        self._released.set()


class Engines:
    """The map engine and the fold engine of a run, by their settings.

    Entered as a context, they serve every flow that runs in it, and are closed at its end.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.engine: Starting[Engine] = Starting(self._map_engine)
        self.fold_engine: Starting[FoldEngine] = Starting(self._fold_engine)

    def __enter__(self) -> "Engines":
        self._token = _RUNNING.set(self)
        return self

    def __exit__(self, *_: object) -> None:
        _RUNNING.reset(self._token)
        try:
            if self.engine.is_there():
                self.engine().close()
        finally:
            self.engine.release()
            self.fold_engine.release()

    def wait(self, stages: StageTable) -> None:
        """Wait for the map engine, in a stage of its own where it is not there yet.

        The first time on a machine the kernels are compiled, which takes minutes.
        """
        ray = self._settings.engine == "ray"
        if self.engine.is_awaited():
            with stages.stage("start Ray" if ray else KERNELS, 1, "engine") as stage:
                self.engine()
                stages.advance(stage, 1)
        if ray:
            from workers.ray_engine import RayEngine

            engine = self.engine()
            assert isinstance(engine, RayEngine), "the engine 'ray' is this one"
            if engine.is_warming():
                with stages.stage(KERNELS, 1, "worker") as stage:
                    engine.wait_warm()
                    stages.advance(stage, 1)

    def rooms(self) -> list[Room]:
        """Return where a run takes memory; only for that of a cluster an engine is waited for."""
        settings = self._settings
        if settings.engine == "serial":
            return [room_here(1, folding=self._folding)]
        if settings.ray_address is None or settings.engine != "ray":
            apart = settings.engine == "ray"
            return [room_here(settings.workers, processes=apart, folding=self._folding)]
        from workers.ray_engine import RayEngine

        engine = self.engine()
        assert isinstance(engine, RayEngine), "the engine 'ray' is this one"
        return [room_here(0, folding=self._folding), *engine.rooms()]

    @property
    def _folding(self) -> int:
        """How many folds this process does at once."""
        return self._settings.workers if self._settings.fold == "threads" else 1

    def _map_engine(self) -> Engine:
        settings = self._settings
        if settings.engine == "ray":
            from workers.ray_engine import RayEngine

            return RayEngine(settings.workers, settings.ray_address, warm_kernels)
        warm_kernels()
        if settings.engine == "serial":
            return SerialEngine()
        return DaskEngine(settings.workers)

    def _fold_engine(self) -> FoldEngine:
        settings = self._settings
        if settings.fold == "serial":
            return SerialEngine()
        if settings.fold == "threads":
            return DaskEngine(settings.workers)
        from workers.ray_engine import RayEngine

        engine = self.engine()
        assert isinstance(engine, RayEngine), "the settings allow fold 'ray' on the engine 'ray'"
        return DaskEngine(engine.workers, engine.dask_scheduler())
