"""Expected shortfall of every netting set."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from risk.kernels.compilation import kernel
from risk.kernels.plan import planned
from risk.kernels.positions import Positions, checked
from risk.kernels.registers import Registers, host_registers
from risk.kernels.rows import set_pnl
from risk.kernels.selection import workspace
from risk.kernels.tails import attain, loss_of, tail_memory
from risk.kernels.vectors import MASK
from risk.measures import Measure

Floats = NDArray[np.float64]


@kernel
def _expected_shortfall(
    registers: Any, set_offsets: Any, instrument: Any, quantity: Any, cube: Any,
    plan: Any, tail: Any, work: Any, row: Any, out: Any,
) -> None:  # fmt: skip
    for n in range(set_offsets.size - 1):
        set_pnl(registers, cube, instrument, quantity, set_offsets[n], set_offsets[n + 1], row)
        attain(registers, plan, 0, row, tail, work)
        out[n] = loss_of(tail, 0, plan.mass[0])


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
    plan = planned([measure], np.ones(scenarios))
    registers = registers or host_registers()
    out = np.empty(positions.sets)
    _expected_shortfall(
        registers,
        positions.set_offsets, positions.instrument, positions.quantity, cube,
        plan, tail_memory(1, scenarios), workspace(registers, scenarios, plan),
        np.zeros(scenarios + MASK), out,
    )  # fmt: skip
    return out
