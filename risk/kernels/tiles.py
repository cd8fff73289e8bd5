"""Slices of the cube, packed so that a slice stays in the processor's own cache.

A cube is larger than the cache of a core, and a book reads its rows in no order. Taken a slice of
scenarios at a time, every netting set reads the same small tile over and over, and the cache that
all cores share is read once. A tile is as wide as the registers hold.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from risk.kernels.compilation import compiled
from risk.kernels.registers import Registers, width

Numbers = NDArray[np.floating[Any]]

LINE = 64
"""Bytes that a cache moves at once."""


def tile_memory(
    registers: Registers, instruments: int, number: type[np.floating[Any]] = np.float64
) -> Numbers:
    """Return room for a tile, ``(instrument, width)``, that starts on a line of the cache.

    A row that starts within a line is spread over one line more.
    """
    cells, size = registers.lanes * registers.accumulators, np.dtype(number).itemsize
    memory = np.empty(instruments * cells + LINE // size, dtype=number)
    begin = -memory.ctypes.data % LINE // size
    return memory[begin : begin + instruments * cells].reshape(instruments, cells)


@compiled
def pack(registers: Any, cube: Any, first: int, tile: Any) -> None:
    """Copy the scenarios from ``first`` into the tile; the cube's last fills what it lacks."""
    left, wide = cube.shape[1] - first, width(registers)
    known = left if left < wide else wide
    for i in range(cube.shape[0]):
        for k in range(known):
            tile[i, k] = cube[i, first + k]
        for k in range(known, wide):
            tile[i, k] = cube[i, cube.shape[1] - 1]
