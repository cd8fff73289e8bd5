"""The P&L of one netting set over all scenarios."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from risk.kernels.chains import accumulate
from risk.kernels.compilation import compiled
from risk.kernels.registers import one_lane, one_vector, width


@compiled
def set_pnl(
    registers: Any,
    cube: NDArray[np.float64],
    instrument: NDArray[np.int32],
    quantity: NDArray[np.float64],
    start: int,
    stop: int,
    row: NDArray[np.float64],
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
