"""Positions of a run of accounts, and what is checked before a kernel that checks nothing."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from risk.offsets import chosen_rows


@dataclass(frozen=True, slots=True)
class Positions:
    """Positions of a run of accounts, cut into netting sets, as offsets into flat arrays.

    ``account_sets`` ``(account+1,)``: account ``a`` has the sets ``account_sets[a]`` up to
    ``account_sets[a+1]``. ``set_offsets`` ``(set+1,)``: likewise from sets to positions.
    ``instrument`` and ``quantity`` ``(position,)``: row of the cube, and contracts held (negative
    when short). An account without a set and a set without a position are welcome.
    """

    account_sets: NDArray[np.int64]
    set_offsets: NDArray[np.int64]
    instrument: NDArray[np.int32]
    quantity: NDArray[np.float64]

    @property
    def accounts(self) -> int:
        """Number of accounts."""
        return len(self.account_sets) - 1

    @property
    def sets(self) -> int:
        """Number of netting sets."""
        return len(self.set_offsets) - 1

    def between(self, start: int, stop: int) -> "Positions":
        """Return the accounts ``[start, stop)``, over the same memory.

        >>> book = Positions(
        ...     np.array([0, 1, 2]), np.array([0, 2, 3]), np.array([4, 5, 6]), np.ones(3)
        ... )
        >>> book.between(1, 2).instrument.tolist(), book.between(1, 2).set_offsets.tolist()
        ([6], [0, 1])
        """
        first, last = self.account_sets[start], self.account_sets[stop]
        rows = slice(self.set_offsets[first], self.set_offsets[last])
        return Positions(
            account_sets=self.account_sets[start : stop + 1] - first,
            set_offsets=self.set_offsets[first : last + 1] - rows.start,
            instrument=self.instrument[rows],
            quantity=self.quantity[rows],
        )

    def take(self, chosen: NDArray[np.int64]) -> "Positions":
        """Return some of the netting sets, each as an account of its own.

        >>> book = Positions(
        ...     np.array([0, 2]), np.array([0, 2, 3]), np.array([4, 5, 6]), np.ones(3)
        ... )
        >>> book.take(np.array([1])).instrument.tolist()
        [6]
        """
        offsets, rows = chosen_rows(self.set_offsets, chosen)
        alone = np.arange(len(chosen) + 1, dtype=np.int64)
        return Positions(alone, offsets, self.instrument[rows], self.quantity[rows])


def read_only(array: NDArray[Any], dtype: type[np.generic]) -> NDArray[Any]:
    """Return a contiguous read-only view, a copy only where type or layout ask for one.

    One layout and one permission mean one compiled signature, wherever the array came from.
    """
    view = np.ascontiguousarray(array, dtype=dtype).view()
    view.flags.writeable = False
    return view


def checked(positions: Positions, cube: NDArray[np.float64]) -> tuple[Positions, NDArray[Any]]:
    """Return positions and cube as the kernels read them.

    Raises:
        ValueError: offsets that do not climb from 0 to the end of what they index, quantities
            that do not pair with instruments, or an instrument that is no row of the cube.
    """
    if cube.ndim != 2:
        raise ValueError(f"cube has {cube.ndim} dimensions; allowed are (instrument, scenario)")
    held = len(positions.instrument)
    if len(positions.quantity) != held:
        raise ValueError(
            f"{held} instruments do not pair with {len(positions.quantity)} quantities"
        )
    for name, offsets, end in (
        ("account_sets", positions.account_sets, positions.sets),
        ("set_offsets", positions.set_offsets, held),
    ):
        if len(offsets) == 0 or offsets[0] != 0 or offsets[-1] != end:
            raise ValueError(f"{name} must run from 0 to {end}, got {offsets[:1]}..{offsets[-1:]}")
        if (offsets[1:] < offsets[:-1]).any():
            row = int(np.flatnonzero(offsets[1:] < offsets[:-1])[0])
            raise ValueError(f"{name} falls after entry {row}: {offsets[row : row + 2].tolist()}")
    if held:
        low, high = int(positions.instrument.min()), int(positions.instrument.max())
        if low < 0 or high >= len(cube):
            raise ValueError(
                f"instruments {low}..{high} are not all rows of a cube of {len(cube)}; "
                "positions and cube come from different books"
            )
    ready = Positions(
        account_sets=read_only(positions.account_sets, np.int64),
        set_offsets=read_only(positions.set_offsets, np.int64),
        instrument=read_only(positions.instrument, np.int32),
        quantity=read_only(positions.quantity, np.float64),
    )
    return ready, read_only(cube, np.float64)
