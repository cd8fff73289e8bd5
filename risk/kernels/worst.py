"""The worst scenario of every netting set: screened in single precision, settled in double."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from risk.kernels.chains import reaches
from risk.kernels.compilation import compiled, kernel
from risk.kernels.positions import Positions, checked
from risk.kernels.registers import Registers, host_registers, width
from risk.kernels.screening import ceilings, error_bounds, put_above, settle
from risk.kernels.tiles import pack, tile_memory
from risk.kernels.vectors import MASK, at_most, least_of_64, lowest_bit, number_of_bits, prefetch

Floats = NDArray[np.float64]
Rows = NDArray[np.int32]

SINGLE, DOUBLE = 6, 8
"""Vectors of scenarios in a tile of either precision: as many as serve its cache best."""
AHEAD = 8
"""Sets between the prefetch of a cell and its use: a cache's latency is that many chains."""
REPAID = 4
"""Positions an instrument from which on it pays to look at the cube in single precision first."""


@compiled
def _least(registers: Any, row: Any) -> Any:
    """Return the least P&L of a tile, and its place, the first of equals."""
    least = least_of_64(registers, row, 0)
    for begin in range(MASK, width(registers), MASK):
        least = min(least, least_of_64(registers, row, begin))
    begin = 0
    mask = at_most(registers, row, begin, least)
    while mask == 0:
        begin += MASK
        mask = at_most(registers, row, begin, least)
    return least, begin + lowest_bit(mask)


@compiled
def _are_near(registers: Any, row: Any, known: int, reach: Any) -> bool:
    """Tell whether more than one of the first ``known`` values are at most the reach."""
    near = 0
    for begin in range(0, known, MASK):
        mask = at_most(registers, row, begin, reach)
        if begin + MASK > known:
            mask &= ~np.uint64(0) >> np.uint64(begin + MASK - known)
        near += number_of_bits(mask)
    return near > 1


@kernel
def _worst(
    registers: Any, set_offsets: Any, instrument: Any, quantity: Any, cube: Any, apart: Any,
    tile: Any, row: Any, reach: Any, lowest: Any, scenario: Any, unsure: Any,
) -> None:  # fmt: skip
    """Find the least P&L of every set, and whether another is within ``apart`` of it.

    ``reach`` is what a set's later scenarios have to come to. Where ``apart`` is zero that is
    below the least, for the first of equals is the worst.
    """
    for first in range(0, cube.shape[1], width(registers)):
        pack(registers, cube, first, tile)
        known = min(width(registers), cube.shape[1] - first)
        for n in range(set_offsets.size - 1):
            start, stop = set_offsets[n], set_offsets[n + 1]
            if not reaches(registers, tile, instrument, quantity, start, stop, reach[n], row):
                continue
            least, place = _least(registers, row)
            before = lowest[n]
            if least >= before:
                unsure[n] = True
                continue
            lowest[n], scenario[n] = least, first + place
            if apart[n] > 0.0:
                put_above(reach, n, least + apart[n])
                unsure[n] = before <= reach[n] or _are_near(registers, row, known, reach[n])
            else:
                reach[n] = np.nextafter(lowest[n], reach.dtype.type(-np.inf))


@kernel
def _settle(
    set_offsets: Any, instrument: Any, quantity: Any, cube: Any, scenario: Any, lowest: Floats
) -> None:
    """Write the P&L of every set in its scenario."""
    last = set_offsets.size - 1
    for n in range(last):
        later = min(n + AHEAD, last - 1)
        for p in range(set_offsets[later], set_offsets[later + 1]):
            prefetch(cube, instrument[p], scenario[later])
        settle(
            cube, instrument, quantity, set_offsets[n], set_offsets[n + 1], scenario[n : n + 1],
            1, lowest[n : n + 1],
        )  # fmt: skip


def worst_loss(
    positions: Positions, cube: Floats, registers: Registers | None = None
) -> tuple[Floats, Rows]:
    """Return each netting set's largest loss and its scenario, the first of equals.

    Shape ``(instrument, scenario) -> (set,), (set,)``, a loss positive. Where many positions
    share the cube, scenarios that cannot be the worst are ruled out in single precision; the
    loss, and which of those left is the worst, is settled in double. The bits do not depend on it.

    Raises:
        ValueError: positions that do not fit the cube, or a cube without scenarios.

    >>> book = Positions(
    ...     account_sets=np.array([0, 1]), set_offsets=np.array([0, 2]),
    ...     instrument=np.array([0, 1], dtype=np.int32), quantity=np.array([1.0, -2.0]),
    ... )
    >>> cube = np.array([[-10.0, 0.0, 10.0], [-8.0, 1.0, 4.0]])
    >>> loss, scenario = worst_loss(book, cube)
    >>> loss.tolist(), scenario.tolist()
    ([2.0], [1])
    """
    positions, cube = checked(positions, cube)
    if cube.shape[1] == 0:
        raise ValueError("the cube has no scenarios; a worst loss needs at least one")
    if len(positions.instrument) < REPAID * len(cube):
        lowest, scenario, _ = _pass(positions, cube, np.zeros(positions.sets), registers)
        return 0.0 - lowest, scenario
    _, scenario, unsure = screened_worst_loss(positions, cube, registers)
    lowest = np.empty(positions.sets)
    _settle(positions.set_offsets, positions.instrument, positions.quantity, cube, scenario, lowest)
    if unsure.any():
        again = np.flatnonzero(unsure)
        nothing = np.zeros(len(again))
        lowest[again], scenario[again], _ = _pass(positions.take(again), cube, nothing, registers)
    return 0.0 - lowest, scenario


def screened_worst_loss(
    positions: Positions, cube: Floats, registers: Registers | None = None
) -> tuple[NDArray[np.float32], Rows, NDArray[np.bool_]]:
    """Return each netting set's largest loss in single precision, its scenario, and any doubt.

    Shape ``(instrument, scenario) -> (set,), (set,), (set,)``, a loss positive and within
    ``error_bounds`` of what settles. Where there is doubt, rounding could have hidden another
    scenario's greater loss, or numbers are too large for single precision, and the loss NaN.
    """
    positions, cube = checked(positions, cube)
    bound = error_bounds(positions, ceilings(cube))
    lowest, scenario, unsure = _pass(positions, cube, 2.0 * bound, registers, np.float32)
    beyond = np.isinf(bound)
    lowest[beyond] = np.nan
    return -lowest, scenario, unsure | beyond


def _pass(
    positions: Positions,
    cube: Floats,
    apart: Floats,
    registers: Registers | None,
    number: type[np.floating[Any]] = np.float64,
) -> tuple[NDArray[Any], Rows, NDArray[np.bool_]]:
    """Go through the cube once, in one precision; sets infinitely apart are left out."""
    if number is np.float64:
        registers = registers or host_registers(DOUBLE)
    else:
        registers = (registers or host_registers(SINGLE)).single()
    wide = registers.lanes * registers.accumulators
    lowest = np.full(positions.sets, np.inf, dtype=number)
    scenario = np.zeros(positions.sets, dtype=np.int32)
    unsure = np.zeros(positions.sets, dtype=np.bool_)
    reach = np.where(np.isinf(apart), -np.inf, np.inf).astype(number)
    _worst(
        registers, positions.set_offsets, positions.instrument, positions.quantity, cube, apart,
        tile_memory(registers, len(cube), number),
        np.full(-(-wide // MASK) * MASK, np.inf, dtype=number),
        reach, lowest, scenario, unsure,
    )  # fmt: skip
    return lowest, scenario, unsure
