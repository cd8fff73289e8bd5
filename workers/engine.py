"""Where tasks run: one small protocol, and the engine that runs them here and now."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol, TypeVar

Shared = TypeVar("Shared")
Item = TypeVar("Item")
Result = TypeVar("Result")


class TaskLost(RuntimeError):
    """A task ended the process that ran it each time it was tried."""


class WorkersDiffer(RuntimeError):
    """A worker has another version of the code or of a library than the process that asks."""


class Engine(Protocol):
    """Runs the same function over many small items that share one large value."""

    name: str
    workers: int

    def map(
        self,
        function: Callable[[Shared, Item], Result],
        shared: Shared,
        items: Iterable[Item],
    ) -> Iterator[Result]:
        """Yield ``function(shared, item)`` for each item, in any order, each exactly once.

        ``shared`` travels to each worker once. A task may be started again after a worker died,
        so it must be able to overwrite its own output.
        """
        ...

    def describe(self) -> dict[str, Any]:
        """Return what the manifest records of the engine."""
        ...

    def close(self) -> None:
        """Give back what the engine holds."""
        ...


class FoldEngine(Protocol):
    """Folds many partial results into one, by a tree of fixed shape."""

    def reduce(self, leaves: Iterable[Callable[[], Any]], pair: Callable[[Any, Any], Any]) -> Any:
        """Call each leaf and combine neighbours, then neighbours of those, down to one value.

        The shape of the tree depends on the number of leaves alone.
        """
        ...

    def describe(self) -> dict[str, Any]:
        """Return what the manifest records of the engine."""
        ...


class SerialEngine:
    """Everything in this process, one item after the other: the twin of every other engine."""

    name = "serial"
    workers = 1

    def map(
        self,
        function: Callable[[Shared, Item], Result],
        shared: Shared,
        items: Iterable[Item],
    ) -> Iterator[Result]:
        """Yield the results in the order of the items."""
        return (function(shared, item) for item in items)

    def reduce(self, leaves: Iterable[Callable[[], Any]], pair: Callable[[Any, Any], Any]) -> Any:
        """Fold the leaves by neighbours, as soon as there are two, so that few are held at once.

        >>> SerialEngine().reduce([lambda: "a", lambda: "b", lambda: "c"], lambda x, y: f"({x}{y})")
        '((ab)c)'
        """
        waiting: list[tuple[int, Any]] = []  # subtrees by height, each lower than the one before
        for leaf in leaves:
            height, value = 0, leaf()
            while waiting and waiting[-1][0] == height:
                height, value = height + 1, pair(waiting.pop()[1], value)
            waiting.append((height, value))
        folded = waiting.pop()[1]
        while waiting:
            folded = pair(waiting.pop()[1], folded)
        return folded

    def describe(self) -> dict[str, Any]:
        """Return its name and size."""
        return {"engine": self.name, "workers": self.workers}

    def close(self) -> None:
        """Hold nothing, give back nothing."""


def pair_neighbours(level: list[Any], pair: Callable[[Any, Any], Any]) -> list[Any]:
    """Combine each two neighbours; an odd one at the end goes up as it is."""
    paired = [pair(*level[at : at + 2]) for at in range(0, len(level) // 2 * 2, 2)]
    return paired + level[len(level) // 2 * 2 :]
