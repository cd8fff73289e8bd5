"""Datasets of a run, opened one by one."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import xarray as xr


class Groups(Mapping[str, "xr.Dataset"]):
    """The datasets of a run by group, each opened when it is first asked for."""

    def __init__(self, names: Sequence[str], open_one: Callable[[str], "xr.Dataset"]) -> None:
        self._names, self._open = tuple(names), open_one
        self._opened: dict[str, xr.Dataset] = {}

    def __getitem__(self, name: str) -> "xr.Dataset":
        if name not in self._names:
            raise KeyError(name)
        if name not in self._opened:
            self._opened[name] = self._open(name)
        return self._opened[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)
