"""An engine whose use of memory is noted."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from workers.engine import Engine


class Measured:
    """An engine that notes the peak of the processes that did its tasks, bytes."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.name, self.workers = engine.name, engine.workers
        self.peak_bytes = 0

    def map(
        self, function: Callable[[Any, Any], Any], shared: Any, items: Iterable[Any]
    ) -> Iterator[Any]:
        """Yield the results of the engine."""
        for result in self._engine.map(function, shared, items):
            self.peak_bytes = max(self.peak_bytes, result.peak_bytes)
            yield result

    def describe(self) -> dict[str, Any]:
        """Return what the engine says of itself."""
        return self._engine.describe()

    def close(self) -> None:
        """Leave the engine to who started it."""
