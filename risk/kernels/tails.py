"""Measures of one row of P&L, each a weighted sum over a few of its scenarios.

- worst loss: one scenario, at its own weight;
- value at risk: the scenario of an order statistic, or two where the convention interpolates;
- expected shortfall: every scenario of the tail, the last of them in part;
- either of the two by age: the same of scenarios that count by their units.

Those scenarios and weights, over the mass of the tail, are also the derivative of the measure by
position, which is what the Euler split needs. Equals are taken in the order of scenarios, and
sums run in that order, so the bits do not depend on how the tail was found.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from risk.kernels.compilation import compiled
from risk.kernels.plan import EXPECTED_SHORTFALL, WORST_LOSS
from risk.kernels.selection import (
    end_of_units,
    gather,
    gather_units,
    keep,
    least,
    order_statistic,
    tail_bounds,
)
from risk.kernels.vectors import MASK

Floats = NDArray[np.float64]
Rows = NDArray[np.int32]


class Tail(NamedTuple):
    """The scenarios at which each measure is attained, ``(measure, scenario)``.

    The first ``number[m]`` of a measure's values, scenarios and weights count.
    """

    values: Floats
    scenarios: Rows
    weights: Floats
    number: NDArray[np.int64]


def tail_memory(measures: int, scenarios: int) -> Tail:
    """Return room for the tails of so many measures of rows of so many scenarios."""
    shape = (measures, scenarios + MASK)
    return Tail(
        values=np.zeros(shape),
        scenarios=np.zeros(shape, dtype=np.int32),
        weights=np.zeros(shape),
        number=np.zeros(measures, dtype=np.int64),
    )


@compiled
def attain(registers: Any, plan: Any, m: int, row: Floats, tail: Any, work: Any) -> int:
    """Find the scenarios and weights of measure ``m``, and return the one that names it."""
    start, stop = plan.start[m], plan.stop[m]
    values, scenarios, weights = tail.values[m], tail.scenarios[m], tail.weights[m]
    if plan.kind[m] == WORST_LOSS:
        source = row
        if plan.weighted[m]:
            source = work.weighted
            for s in range(start, stop):
                source[s] = row[s] * plan.weight[s]
        worst: int = least(registers, source, start, stop, work)
        values[0], scenarios[0], weights[0] = row[worst], worst, plan.weight[worst]
        tail.number[m] = 1
        return worst
    if plan.reach[m] > 0:
        by_age: int = attain_by_age(registers, plan, m, row, tail, work)
        return by_age
    depth = plan.depth[m]
    if plan.within[m] >= 0:
        found, bound = take_tail(tail, plan.within[m], values, scenarios)
    else:
        bound, sure = tail_bounds(registers, row, start, stop, m, work)
        found = gather(registers, row, start, stop, bound, work, values, scenarios)
        if found < depth:
            bound = sure
            found = gather(registers, row, start, stop, bound, work, values, scenarios)
    end = order_statistic(registers, values, found, bound, depth, work)
    kept = keep(registers, values, scenarios, found, end)
    if plan.kind[m] == EXPECTED_SHORTFALL:
        weigh(values, kept, end, plan.mass[m], weights)
        tail.number[m] = kept
        lowest: int = first_least(values, scenarios, kept)
        return lowest
    tail.number[m] = settle_quantile(values, scenarios, kept, depth, plan.blend[m], weights)
    named: int = scenarios[1] if plan.blend[m] > 0.5 else scenarios[0]
    return named


@compiled
def take_tail(tail: Any, source: int, values: Floats, scenarios: Rows) -> Any:
    """Copy the tail of another measure, and return how long it is and its greatest value."""
    found, greatest = tail.number[source], -np.inf
    for k in range(found):
        values[k], scenarios[k] = tail.values[source, k], tail.scenarios[source, k]
        greatest = values[k] if values[k] > greatest else greatest
    values[found : found + MASK] = np.inf
    return found, greatest


@compiled
def attain_by_age(registers: Any, plan: Any, m: int, row: Floats, tail: Any, work: Any) -> int:
    """Do what ``attain`` does where scenarios count by their units."""
    values, scenarios, weights = tail.values[m], tail.scenarios[m], tail.weights[m]
    units, reach = plan.units[m], plan.reach[m]
    start, stop = plan.start[m], plan.stop[m]
    bound, sure = tail_bounds(registers, row, plan.recent[m], stop, m, work)
    found = gather(registers, row, start, stop, bound, work, values, scenarios)
    held = gather_units(units, scenarios, found, work)
    if held < reach:
        bound = sure
        found = gather(registers, row, start, stop, bound, work, values, scenarios)
        held = gather_units(units, scenarios, found, work)
    end = end_of_units(registers, values, found, bound, held, reach, work)
    kept = keep(registers, values, scenarios, found, end)
    if plan.kind[m] == EXPECTED_SHORTFALL:
        weigh_by_age(values, scenarios, units, kept, end, plan.mass[m], weights)
        tail.number[m] = kept
        lowest: int = first_least(values, scenarios, kept)
        return lowest
    place = place_of_units(values, scenarios, units, kept, end, reach)
    values[0], scenarios[0], weights[0] = values[place], scenarios[place], 1.0
    tail.number[m] = 1
    named: int = scenarios[0]
    return named


@compiled
def weigh_by_age(
    values: Floats, scenarios: Rows, units: Any, kept: int, end: float, mass: float, weights: Floats
) -> None:
    """Weigh a tail of ``mass`` units whose last value is ``end``, equals in order."""
    below = 0
    for k in range(kept):
        weights[k] = units[scenarios[k]]
        below += units[scenarios[k]] if values[k] < end else 0
    left = mass - below
    for k in range(kept):
        if values[k] == end:
            share = weights[k] if left > weights[k] else left
            weights[k] = share if share > 0.0 else 0.0
            left -= weights[k]


@compiled
def place_of_units(
    values: Floats, scenarios: Rows, units: Any, kept: int, end: float, reach: int
) -> int:
    """Return where the scenario is, of those at ``end``, with which the units come to ``reach``."""
    passed = 0
    for k in range(kept):
        passed += units[scenarios[k]] if values[k] < end else 0
    for k in range(kept):
        if values[k] == end:
            passed += units[scenarios[k]]
            if passed >= reach:
                return k
    return 0


@compiled
def loss_of(tail: Any, m: int, mass: float) -> float:
    """Return measure ``m`` from the scenarios at which it is attained."""
    total = 0.0
    for k in range(tail.number[m]):
        total += tail.weights[m, k] * tail.values[m, k]
    return 0.0 - total / mass


@compiled
def weigh(values: Floats, kept: int, end: float, mass: float, weights: Floats) -> None:
    """Weigh a tail of ``mass`` scenarios whose last value is ``end``, equals in order."""
    weights[:kept] = 1.0
    equal = 0
    for k in range(kept):
        if values[k] == end:
            equal += 1
    left = mass - (kept - equal)
    for k in range(kept):
        if values[k] == end:
            share = 1.0 if left > 1.0 else left
            weights[k] = share if share > 0.0 else 0.0
            left -= weights[k]


@compiled
def settle_quantile(
    values: Floats, scenarios: Rows, kept: int, depth: int, blend: float, weights: Floats
) -> int:
    """Keep the ``depth``-th lowest value, and the one before it where they blend; return how many.

    The values kept are those up to the ``depth``-th lowest. Equals count in order.
    """
    end, before = -np.inf, -np.inf
    for k in range(kept):
        end = values[k] if values[k] > end else end
    below = 0
    for k in range(kept):
        if values[k] < end:
            before = values[k] if values[k] > before else before
            below += 1
    last = place_of_rank(values, kept, end, depth)
    second = place_of_rank(values, kept, end if depth - 1 > below else before, depth - 1)
    pair, which = (values[last], values[second]), (scenarios[last], scenarios[second])
    values[0], scenarios[0], weights[0] = pair[0], which[0], 1.0 - blend
    values[1], scenarios[1], weights[1] = pair[1], which[1], blend
    return 2 if blend > 0.0 else 1


@compiled
def place_of_rank(values: Floats, kept: int, value: float, rank: int) -> int:
    """Return where the ``rank``-th lowest is, which has a value that is known."""
    passed, place = 0, 0
    for k in range(kept):
        passed += values[k] < value
    for k in range(kept):
        passed += values[k] == value
        place = k if values[k] == value and passed == rank else place
    return place


@compiled
def first_least(values: Floats, scenarios: Rows, kept: int) -> int:
    """Return the scenario of the least value, the first of equals."""
    place, lowest = 0, values[0]
    for k in range(1, kept):
        lower = values[k] < lowest
        place, lowest = (k if lower else place), (values[k] if lower else lowest)
    scenario: int = scenarios[place]
    return scenario
