"""The worst scenarios of a row of P&L, exactly, with ties taken in the order of scenarios.

Every measure of a netting set is a weighted sum of its P&L at a few scenarios, over a mass:

- worst loss: one scenario, at its own weight;
- value at risk: the scenario of an order statistic, or two where the convention interpolates;
- expected shortfall: every scenario in the tail, the last of them in part.

Those scenarios and weights are also the derivative of the measure by position, which is what the
Euler split needs. They are summed in the order of scenarios, so no vector width shows.
"""

import numpy as np
from numpy.typing import NDArray

from risk.kernels.compilation import compiled

Floats = NDArray[np.float64]
Rows = NDArray[np.int32]


@compiled
def least_weighted(row: Floats, weight: Floats, start: int, stop: int) -> int:
    """Return the scenario of least weighted P&L, the first of equals."""
    least, where = row[start] * weight[start], start
    for scenario in range(start + 1, stop):
        value = row[scenario] * weight[scenario]
        if value < least:
            least, where = value, scenario
    return where


@compiled
def gather_tail(
    row: Floats, start: int, stop: int, depth: int, values: Floats, scenarios: Rows
) -> int:
    """Gather the scenarios that hold the ``depth`` lowest values, and perhaps some more.

    They are written in the order of scenarios; their number is returned.
    """
    threshold = np.partition(row[start:stop], depth - 1)[depth - 1]
    found = 0
    for scenario in range(start, stop):
        values[found] = row[scenario]
        scenarios[found] = scenario
        found += row[scenario] <= threshold
    return found


@compiled
def order_statistic(values: Floats, found: int, rank: int) -> float:
    """Return the ``rank``-th lowest value, counted from 1."""
    return np.partition(values[:found], rank - 1)[rank - 1]


@compiled
def statistic_place(values: Floats, found: int, rank: int) -> int:
    """Return where the ``rank``-th lowest value is, equals counted in order."""
    value = order_statistic(values, found, rank)
    below = 0
    for k in range(found):
        below += values[k] < value
    for k in range(found):
        below += values[k] == value
        if values[k] == value and below == rank:
            return k
    return -1


@compiled
def weigh_tail(values: Floats, scenarios: Rows, found: int, mass: float, weights: Floats) -> int:
    """Keep the tail of ``mass`` scenarios in place and write their weights; return their number."""
    boundary = order_statistic(values, found, int(np.ceil(mass)))
    left = mass
    for k in range(found):
        left -= values[k] < boundary
    kept = 0
    for k in range(found):
        share = 1.0
        if values[k] == boundary:
            share = min(1.0, left)
            left -= share
        elif values[k] > boundary:
            share = 0.0
        if share > 0.0:
            values[kept], scenarios[kept], weights[kept] = values[k], scenarios[k], share
            kept += 1
    return kept
