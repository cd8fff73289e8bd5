"""Dask: folds as a task graph, on threads of this process or on the nodes of a Ray cluster."""

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import dask

from workers.engine import pair_neighbours

Shared = TypeVar("Shared")
Item = TypeVar("Item")
Result = TypeVar("Result")


class DaskEngine:
    """Tasks as a Dask graph; ``scheduler`` is ``threads`` or a scheduler function."""

    name = "dask"

    def __init__(self, workers: int, scheduler: str | Callable[..., Any] = "threads") -> None:
        self.workers = workers
        self._options: dict[str, Any] = {"scheduler": scheduler}
        if scheduler == "threads":
            self._options["num_workers"] = workers

    def map(
        self,
        function: Callable[[Shared, Item], Result],
        shared: Shared,
        items: Iterable[Item],
    ) -> Iterator[Result]:
        """Yield the results, a few items for each worker at a time."""
        task = dask.delayed(function, pure=False)
        waiting = iter(items)
        while few := list(itertools.islice(waiting, 4 * self.workers)):
            yield from dask.compute(*(task(shared, item) for item in few), **self._options)

    def reduce(self, leaves: Iterable[Callable[[], Any]], pair: Callable[[Any, Any], Any]) -> Any:
        """Build the whole tree as one graph and compute its root."""
        level: list[Any] = [dask.delayed(leaf, pure=False)() for leaf in leaves]
        combine = dask.delayed(pair, pure=False)
        while len(level) > 1:
            level = pair_neighbours(level, combine)
        return dask.compute(level[0], **self._options)[0]

    def describe(self) -> dict[str, Any]:
        """Return its name, size and the version of Dask."""
        return {"engine": self.name, "workers": self.workers, "dask": dask.__version__}

    def close(self) -> None:
        """Hold nothing between calls."""
