"""The P&L of a netting set, or of an account, over all scenarios."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from risk.kernels.chains import accumulate
from risk.kernels.compilation import compiled, kernel
from risk.kernels.positions import Positions, checked
from risk.kernels.registers import Registers, host_registers, one_lane, one_vector, width
from risk.kernels.vectors import MASK

Floats = NDArray[np.float64]


@compiled
def set_pnl(
    registers: Any, cube: Any, instrument: Any, quantity: Any, start: int, stop: int, row: Any
) -> None:
    """Write the P&L of the positions ``start:stop`` into ``row[:scenarios]``.

    The last vectors overlap those before them: to compute a scenario twice gives the same bits.
    """
    scenarios = cube.shape[1]
    wide, narrow = width(registers), width(one_vector(registers))
    first = 0
    if scenarios >= wide:
        while first < scenarios:
            at = first if first < scenarios - wide else scenarios - wide
            accumulate(registers, cube, scenarios, at, instrument, quantity, start, stop, row)
            first += wide
    elif scenarios >= narrow:
        vector = one_vector(registers)
        while first < scenarios:
            at = first if first < scenarios - narrow else scenarios - narrow
            accumulate(vector, cube, scenarios, at, instrument, quantity, start, stop, row)
            first += narrow
    else:
        lane = one_lane(registers)
        for at in range(scenarios):
            accumulate(lane, cube, scenarios, at, instrument, quantity, start, stop, row)


@kernel
def _account_pnl(
    registers: Any, account_sets: Any, set_offsets: Any, instrument: Any, quantity: Any, cube: Any,
    row: Any, out: Any,
) -> None:  # fmt: skip
    for account in range(account_sets.size - 1):
        start, stop = set_offsets[account_sets[account]], set_offsets[account_sets[account + 1]]
        set_pnl(registers, cube, instrument, quantity, start, stop, row)
        for s in range(cube.shape[1]):
            out[account, s] = row[s]


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
        cube, np.zeros(cube.shape[1] + MASK), out,
    )  # fmt: skip
    return out
