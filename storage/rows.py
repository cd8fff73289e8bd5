"""Rows of the arrays that workers write, read at once and without labels."""

import asyncio
from collections.abc import Sequence
from typing import Any

import icechunk
import numpy as np
from numpy.typing import NDArray
from zarr.api import asynchronous
from zarr.core.sync import sync


class StoredRows:
    """Arrays of one group of a run, for those who read all of them, a run of rows at a time.

    It travels to another process, which opens the arrays for itself.
    """

    def __init__(self, store: icechunk.IcechunkStore, group: str, names: Sequence[str]) -> None:
        self._store = store
        self._paths = {name: f"{group}/{name}" for name in names}
        self._arrays: dict[str, Any] = {}

    def between(
        self, start: int, stop: int, names: Sequence[str] = ()
    ) -> dict[str, NDArray[np.generic]]:
        """Return the rows ``[start, stop)`` of the arrays that are named, or of all, by name."""
        found: dict[str, NDArray[np.generic]] = sync(
            self._between(slice(start, stop), names or [*self._paths])
        )
        return found

    def chunk(self, number: int) -> dict[str, NDArray[np.generic]]:
        """Return a chunk of all arrays, which are cut along their first dimension, by name."""
        found: dict[str, NDArray[np.generic]] = sync(self._chunk(number))
        return found

    async def _chunk(self, number: int) -> dict[str, NDArray[np.generic]]:
        await self._open()
        length = next(iter(self._arrays.values())).chunks[0]
        return await self._between(slice(number * length, (number + 1) * length), [*self._paths])

    async def _between(self, rows: slice, names: Sequence[str]) -> dict[str, NDArray[np.generic]]:
        """Read all arrays at once, for most of a read is waiting."""
        await self._open()
        values = await asyncio.gather(*(self._arrays[name].getitem(rows) for name in names))
        return dict(zip(names, values, strict=True))

    async def _open(self) -> None:
        if not self._arrays:
            opened = await asyncio.gather(
                *(
                    asynchronous.open_array(store=self._store, path=path, mode="r")
                    for path in self._paths.values()
                )
            )
            self._arrays = dict(zip(self._paths, opened, strict=True))

    def __getstate__(self) -> tuple[icechunk.IcechunkStore, dict[str, str]]:
        return self._store, self._paths

    def __setstate__(self, state: tuple[icechunk.IcechunkStore, dict[str, str]]) -> None:
        self._store, self._paths = state
        self._arrays = {}
