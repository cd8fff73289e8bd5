"""Measures of one contract of an instrument, held long and held short.

A measure grows in proportion to what is held. Most netting sets of an exchange are one position,
and what such a set comes to is its size times its instrument's measure: an instrument is measured
once, however many accounts hold it by itself.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from risk.kernels.compilation import compiled, kernel
from risk.kernels.plan import planned
from risk.kernels.positions import Positions, checked
from risk.kernels.registers import Registers, host_registers
from risk.kernels.selection import workspace
from risk.kernels.tails import attain, loss_of, tail_memory
from risk.kernels.vectors import MASK
from risk.measures import Measure

LONG, SHORT = 0, 1


class UnitMeasures(NamedTuple):
    """Measures of one contract, ``(instrument, side, measure)``; ``LONG`` is the first side.

    ``value`` is a loss if positive. ``binding_scenario`` is where it is attained. NaN and -1
    stand for an instrument that was not measured.
    """

    value: NDArray[np.float64]
    binding_scenario: NDArray[np.int32]


@compiled
def is_one_position(start: int, stop: int, quantity: Any) -> bool:
    """Tell whether a set is one position; one of nothing has no side, and is none."""
    return stop - start == 1 and quantity[start] != 0.0


@kernel
def _measure_units(
    registers: Any, wanted: Any, cube: Any, plan: Any, tail: Any, work: Any, row: Any,
    value: Any, binding: Any,
) -> None:  # fmt: skip
    for instrument in wanted:
        for side in range(2):
            sign = 1.0 - 2.0 * side
            for s in range(cube.shape[1]):
                row[s] = sign * cube[instrument, s]
            for m in range(plan.kind.size):
                binding[instrument, side, m] = attain(registers, plan, m, row, tail, work)
                value[instrument, side, m] = loss_of(tail, m, plan.mass[m])


def unit_measures(
    positions: Positions,
    cube: NDArray[np.float64],
    weight: NDArray[np.float64],
    measures: Sequence[Measure],
    registers: Registers | None = None,
) -> UnitMeasures:
    """Measure one contract of every instrument that is some netting set's only position.

    Shapes ``(instrument, scenario), (scenario,)``, as ``margin_block``.

    Raises:
        ValueError: positions that do not fit the cube, or a measure that ``planned`` refuses.

    >>> alone = Positions(np.array([0, 1]), np.array([0, 1]), np.zeros(1, np.int32), np.ones(1))
    >>> worst = Measure("worst", "worst_loss", 0, 3)
    >>> unit_measures(alone, np.array([[-1.0, 0.0, 4.0]]), np.ones(3), [worst]).value.tolist()
    [[[1.0], [4.0]]]
    """
    positions, cube = checked(positions, cube)
    instruments, scenarios = cube.shape
    plan, registers = planned(measures, weight), registers or host_registers()
    units = UnitMeasures(
        value=np.full((instruments, 2, len(measures)), np.nan),
        binding_scenario=np.full((instruments, 2, len(measures)), -1, dtype=np.int32),
    )
    longest = int((plan.stop - plan.start).max(initial=0))
    starts = positions.set_offsets[:-1][np.diff(positions.set_offsets) == 1]
    _measure_units(
        registers, np.unique(positions.instrument[starts]), cube, plan,
        tail_memory(len(measures), longest), workspace(registers, scenarios, plan),
        np.zeros(scenarios + MASK), *units,
    )  # fmt: skip
    return units
