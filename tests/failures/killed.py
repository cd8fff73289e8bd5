"""A run in a process of its own that kills itself at a chosen point, and what it leaves."""

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import icechunk


@dataclass(frozen=True)
class Point:
    """A call of a method at which the process dies, before it or after it."""

    owner: type
    method: str
    when: str
    call: int = 1
    argument: str | None = None
    """Count only the calls that have this among their positional arguments."""


def die_at(point: Point) -> None:
    """Let this process end itself at a point."""
    called = getattr(point.owner, point.method)
    calls = 0

    def deadly(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        if point.argument is None or point.argument in arguments:
            calls += 1
        if calls == point.call and point.when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = called(*arguments, **options)
        if calls == point.call:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    static = isinstance(point.owner.__dict__[point.method], staticmethod)
    setattr(point.owner, point.method, staticmethod(deadly) if static else deadly)


def noted(task: Callable[..., Any], into: list[int], seconds: float) -> Callable[..., Any]:
    """Return a task that takes so much longer, and notes the index of each item that it did."""

    def task_noted(shared: Any, item: Any) -> Any:
        time.sleep(seconds)
        result = task(shared, item)
        into.append(item.index)
        return result

    return task_noted


def repository(runs: Path) -> icechunk.Repository:
    """The repository of a folder of runs."""
    return icechunk.Repository.open(icechunk.local_filesystem_storage(str(runs / "repository")))


def messages(runs: Path) -> list[str]:
    """What has been committed to staging branches, newest first."""
    try:
        opened = repository(runs)
        staging = [name for name in opened.list_branches() if name != "main"]
        return [found.message for name in staging for found in opened.ancestry(branch=name)]
    except icechunk.IcechunkError:
        return []  # it is being made
