"""The command, told to end at a chosen moment, and slow to give back what it holds."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from ray._private.function_manager import FunctionActorManager

from flows import cli
from workers import ray_engine
from workers.margin_run import MarginRun
from workers.ray_engine import RayEngine

SLOW_SECONDS = 5.0
"""More than the three seconds after which Ray's library aborts a process that is told to end."""

MOMENTS: dict[str, tuple[Any, str, str]] = {
    "Ray has started": (ray_engine, "_start", "engine-start"),
    "a function is exported": (FunctionActorManager, "export", "MainThread"),
    "Ray has ended": (RayEngine, "close", "MainThread"),
}
"""The call, and the thread that makes it."""


SWALLOWED = "a library swallows it"


def swallow() -> None:
    """Let this process be told to end where a catch of all there is lets nothing of it through."""
    prepare = MarginRun.prepare

    def preparing(run: MarginRun) -> bool:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(1.0)
        except BaseException:  # as some libraries do while they are imported
            pass
        return prepare(run)

    setattr(MarginRun, "prepare", preparing)  # noqa: B010


def end_at(moment: str) -> None:
    """Let this process be told to end after a call, and once more while it is about it."""
    owner, name, thread = MOMENTS[moment]
    called: Callable[..., Any] = getattr(owner, name)

    def telling(*arguments: Any, **options: Any) -> Any:
        result = called(*arguments, **options)
        if threading.current_thread().name == thread:
            threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGTERM)).start()
            os.kill(os.getpid(), signal.SIGTERM)
        return result

    setattr(owner, name, telling)


def close_slowly() -> None:
    """Let the engine take its time to close."""
    close = RayEngine.close

    def slow(engine: RayEngine) -> None:
        time.sleep(SLOW_SECONDS)
        close(engine)

    setattr(RayEngine, "close", slow)  # noqa: B010


if __name__ == "__main__":
    moment = sys.argv.pop(1)
    close_slowly()
    if moment == SWALLOWED:
        swallow()
    else:
        end_at(moment)
    cli.main()
