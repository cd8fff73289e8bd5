"""The bare kernels: one measure of every netting set, and the P&L of accounts."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from risk.kernels.chains import lower_least
from risk.kernels.compilation import kernel
from risk.kernels.plan import planned
from risk.kernels.positions import Positions, checked
from risk.kernels.registers import Registers, host_registers, width
from risk.kernels.rows import set_pnl
from risk.kernels.selection import workspace
from risk.kernels.tails import attain, loss_of, tail_memory
from risk.kernels.tiles import pack, tile_memory
from risk.kernels.vectors import MASK
from risk.measures import Measure

Floats = NDArray[np.float64]


@kernel
def _worst_loss(
    registers: Any, set_offsets: Any, instrument: Any, quantity: Any, cube: Any, tile: Any,
    lowest: Any, scenario: Any,
) -> None:  # fmt: skip
    last = instrument.size - 1
    for first in range(0, cube.shape[1], width(registers)):
        pack(registers, cube, first, tile)
        for n in range(set_offsets.size - 1):
            lower_least(
                registers, tile, first, instrument, quantity, set_offsets[n], set_offsets[n + 1],
                last, n, lowest, scenario,
            )  # fmt: skip


@kernel
def _expected_shortfall(
    registers: Any, set_offsets: Any, instrument: Any, quantity: Any, cube: Any,
    plan: Any, tail: Any, work: Any, row: Any, out: Any,
) -> None:  # fmt: skip
    for n in range(set_offsets.size - 1):
        set_pnl(registers, cube, instrument, quantity, set_offsets[n], set_offsets[n + 1], row)
        for m in range(plan.kind.size):
            attain(registers, plan, m, row, tail, work)
            out[n] = loss_of(tail, m, plan.mass[m])


@kernel
def _account_pnl(
    registers: Any, account_sets: Any, set_offsets: Any, instrument: Any, quantity: Any, cube: Any,
    row: Any, out: Any,
) -> None:  # fmt: skip
    for account in range(account_sets.size - 1):
        start, stop = set_offsets[account_sets[account]], set_offsets[account_sets[account + 1]]
        set_pnl(registers, cube, instrument, quantity, start, stop, row)
        out[account] = row[: cube.shape[1]]


def _row(cube: Floats) -> Floats:
    return np.zeros(cube.shape[1] + MASK)


def worst_loss(
    positions: Positions, cube: Floats, registers: Registers | None = None
) -> tuple[Floats, NDArray[np.int32]]:
    """Return each netting set's largest loss and its scenario, the first of equals.

    Shape ``(instrument, scenario) -> (set,), (set,)``, a loss positive. The cube is copied once a
    call, tile by tile, which many sets repay and a few do not.

    Raises:
        ValueError: positions that do not fit the cube, or a cube without scenarios.
    """
    positions, cube = checked(positions, cube)
    if cube.shape[1] == 0:
        raise ValueError("the cube has no scenarios; a worst loss needs at least one")
    lowest, scenario = np.full(positions.sets, np.inf), np.zeros(positions.sets, dtype=np.int32)
    registers = registers or host_registers()
    _worst_loss(
        registers,
        positions.set_offsets, positions.instrument, positions.quantity, cube,
        tile_memory(registers, len(cube)), lowest, scenario,
    )  # fmt: skip
    return 0.0 - lowest, scenario


def expected_shortfall_sets(
    positions: Positions, cube: Floats, level: float, registers: Registers | None = None
) -> Floats:
    """Return each netting set's expected shortfall at a level, over every scenario of the cube.

    Shape ``(instrument, scenario) -> (set,)``, a loss positive; the estimator of
    ``risk.measures.expected_shortfall``.

    Raises:
        ValueError: positions that do not fit the cube, LEVEL_RANGE or TAIL_BEYOND_SAMPLE.
    """
    positions, cube = checked(positions, cube)
    scenarios = cube.shape[1]
    measure = Measure("expected_shortfall", "expected_shortfall", 0, scenarios, level)
    registers = registers or host_registers()
    out = np.empty(positions.sets)
    _expected_shortfall(
        registers,
        positions.set_offsets, positions.instrument, positions.quantity, cube,
        planned([measure], np.ones(scenarios)), tail_memory(1, scenarios),
        workspace(registers, scenarios), _row(cube), out,
    )  # fmt: skip
    return out


def account_pnl(positions: Positions, cube: Floats, registers: Registers | None = None) -> Floats:
    """Return the P&L of accounts by scenario, one chain over their positions in their order.

    Shape ``(instrument, scenario) -> (account, scenario)``, gain positive. For explaining an
    account, for tests and for small books: a large book has no room for this array.

    Raises:
        ValueError: positions that do not fit the cube.
    """
    positions, cube = checked(positions, cube)
    out = np.zeros((positions.accounts, cube.shape[1]))
    _account_pnl(
        registers or host_registers(),
        positions.account_sets, positions.set_offsets, positions.instrument, positions.quantity,
        cube, _row(cube), out,
    )  # fmt: skip
    return out
