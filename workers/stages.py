"""The stage table: where the time of a run went."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol


class Observer(Protocol):
    """Is told what a run is doing, while it does it."""

    def begin(self, stage: str, total: int, unit: str) -> None:
        """A stage of ``total`` items begins."""

    def advance(self, items: int) -> None:
        """Some items of the stage are done."""

    def end(self) -> None:
        """The stage is over."""


class Silent:
    """Nobody is watching."""

    def begin(self, stage: str, total: int, unit: str) -> None:
        """Say nothing."""

    def advance(self, items: int) -> None:
        """Say nothing."""

    def end(self) -> None:
        """Say nothing."""


@dataclass(slots=True)
class Stage:
    """One stage: its wall time, the time its workers computed, and the time they did not."""

    name: str
    unit: str
    wall_s: float = 0.0
    busy_s: float = 0.0
    waiting_s: float = 0.0
    items: int = 0
    rate: float = 0.0


@dataclass(slots=True)
class StageTable:
    """The stages of a run in the order in which they ended."""

    observer: Observer = field(default_factory=Silent)
    stages: list[Stage] = field(default_factory=list)

    @contextmanager
    def stage(self, name: str, total: int, unit: str, workers: int = 1) -> Iterator[Stage]:
        """Time a stage; its body counts items and busy seconds on what it is given.

        A stage that counts no busy seconds of its own is busy throughout.
        """
        stage = Stage(name, unit)
        self.observer.begin(name, total, unit)
        started = time.perf_counter()
        try:
            yield stage
        finally:
            stage.wall_s = time.perf_counter() - started
            stage.busy_s = stage.busy_s or stage.wall_s
            stage.waiting_s = max(0.0, workers * stage.wall_s - stage.busy_s)
            stage.rate = stage.items / stage.wall_s if stage.wall_s > 0.0 else 0.0
            self.stages.append(stage)
            self.observer.end()

    def advance(self, stage: Stage, items: int, busy_seconds: float = 0.0) -> None:
        """Count items of a stage, and the seconds that a worker was busy with them."""
        stage.items += items
        stage.busy_s += busy_seconds
        self.observer.advance(items)

    def rows(self) -> list[dict[str, Any]]:
        """Return the table as the manifest holds it."""
        return [asdict(stage) for stage in self.stages]
