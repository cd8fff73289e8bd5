"""Which leg needs how much of a requirement: allocations that sum to the whole.

A leg is one position, or one trade that is considered. Two kinds of requirement are served: a
measure of P&L, whose allocation is closed, and any ``Requirement``, a function of the quantities
that is only asked for its value. What a function requires of no legs at all belongs to no leg:
allocations sum to ``requirement(quantity) - requirement(0)``.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from risk.explanation import binding_scenarios
from risk.measures import Measure, age_units

Floats = NDArray[np.float64]

Requirement = Callable[[Floats], Floats]
"""What portfolios require, ``(portfolio, leg) -> (portfolio,)``, reporting currency."""

STEP = 1e-4
"""Part of a quantity that a slope is taken over: wide against rounding, narrow against kinks."""


@dataclass(frozen=True, slots=True)
class Allocation:
    """What each leg is given, ``(leg,)``, and how much of it no slope accounted for.

    The amounts sum to the whole. ``residual`` is the part of the whole that was shared out in
    proportion to size: rounding, or a function that jumps or bends between two nodes.
    """

    amount: Floats
    residual: float


def pointwise(requirement: Callable[[Floats], float]) -> Requirement:
    """Return a function of one portfolio, ``(leg,) -> ()``, as one of many.

    >>> pointwise(lambda quantity: float(abs(quantity.sum())))(np.array([[1.0, -3.0]]))
    array([2.])
    """
    return lambda quantity: np.array([requirement(one) for one in quantity], dtype=np.float64)


def scenario_share(pnl: Floats, weight: Floats, measure: Measure) -> Floats:
    """Return how much of each scenario a measure is: it is ``-(share @ pnl)``.

    Shapes ``(scenario,), (scenario,) -> (scenario,)``, not negative. Where scenarios tie at the
    edge of a tail they share the part that falls on them, by age where the measure does, so the
    order of scenarios and of mirrored legs does not matter. Any such share is a subgradient; this
    one is the mean.

    >>> worst = Measure("worst", "worst_loss", 0, 3)
    >>> scenario_share(np.array([-2.0, 1.0, -2.0]), np.ones(3), worst).tolist()
    [0.5, 0.0, 0.5]
    """
    rows = slice(measure.start, measure.stop)
    # A worst loss orders weighted P&L; the other measures do not know the weights.
    weighted = weight if measure.kind == "worst_loss" else np.ones_like(weight)
    ordered = pnl[rows] * weighted[rows]
    held = np.ones(len(ordered))
    if measure.age_decay is not None:
        held = age_units(len(ordered), measure.age_decay).astype(np.float64)
    rank_part = np.zeros(len(pnl))
    for one in binding_scenarios(pnl, weight, measure):
        part = 1.0 if measure.kind == "worst_loss" else one.weight
        tied = np.flatnonzero(ordered == pnl[one.scenario] * weighted[one.scenario])
        rank_part[measure.start + tied] += part * held[tied] / held[tied].sum()
    return rank_part * weighted


def euler_allocation(leg_pnl: Floats, weight: Floats, measure: Measure) -> Floats:
    """Return the share of each leg in a measure, ``(leg, scenario), (scenario,) -> (leg,)``.

    P&L of the leg as held, gain positive; amounts are losses, negative for a hedge, and sum to
    the measure of the summed legs. For a worst loss or an expected shortfall this is quantity
    times the derivative of the measure in quantity (Euler; Tasche 1999, "Risk contributions and
    performance measurement"), for a value at risk the loss in its scenarios.

    >>> pnl = np.array([[-4.0, 1.0], [1.0, 0.0]])
    >>> euler_allocation(pnl, np.ones(2), Measure("worst", "worst_loss", 0, 2)).tolist()
    [4.0, -1.0]
    """
    return np.asarray(0.0 - leg_pnl @ scenario_share(leg_pnl.sum(axis=0), weight, measure))


def incremental_allocation(
    requirement: Requirement, quantity: Floats, order: Sequence[int] | None = None
) -> Floats:
    """Return what each leg adds when legs come one after the other, ``(leg,) -> (leg,)``.

    Sums to the whole for any function. Who comes first pays full price and who comes later has
    the benefit of offsets, so the ``order``, that of the legs unless given, is part of the answer.

    Raises:
        ValueError: the order does not name every leg once.

    >>> net = pointwise(lambda quantity: float(abs(quantity.sum())))
    >>> incremental_allocation(net, np.array([5.0, -3.0])).tolist()
    [5.0, -3.0]
    >>> incremental_allocation(net, np.array([5.0, -3.0]), [1, 0]).tolist()
    [-1.0, 3.0]
    """
    legs = len(quantity)
    chosen = np.arange(legs) if order is None else np.asarray(order, dtype=np.int64)
    if sorted(chosen.tolist()) != list(range(legs)):
        raise ValueError(f"order {chosen.tolist()} must name each of the {legs} legs once")
    path = np.zeros((legs + 1, legs))
    for step, leg in enumerate(chosen, 1):
        path[step] = path[step - 1]
        path[step, leg] = quantity[leg]
    amount = np.zeros(legs)
    amount[chosen] = np.diff(requirement(path))
    return amount


def stand_alone(requirement: Requirement, quantity: Floats) -> Floats:
    """Return what each leg would require with no other leg held, ``(leg,) -> (leg,)``.

    Does not sum to the whole: the difference is what netting is worth.
    """
    alone = requirement(np.vstack([np.diag(quantity), np.zeros(len(quantity))]))
    return np.asarray(alone[:-1] - alone[-1])


def with_without(requirement: Requirement, quantity: Floats) -> Floats:
    """Return by how much the whole falls when one leg is taken out, ``(leg,) -> (leg,)``.

    Negative where taking out a hedge costs more. Does not sum to the whole.
    """
    left = np.vstack([quantity - np.diag(quantity), quantity])
    required = requirement(left)
    return np.asarray(required[-1] - required[:-1])


def aumann_shapley(requirement: Requirement, quantity: Floats, nodes: int = 1) -> Allocation:
    """Return the mean marginal requirement of each leg as all grow together from nothing.

    Leg l is given the integral over t in (0, 1) of ``quantity[l] dR/dq[l]`` at ``t quantity``
    (Aumann and Shapley 1974; Denault 2001, "Coherent allocation of risk capital"), by Gauss and
    Legendre at ``nodes`` points, slopes from a step of ``STEP`` to either side. A homogeneous
    function of degree 1 has the same slopes along the whole ray: one node is exact, and the result
    is Euler's. Others need nodes in keeping with their curvature.

    Where the function has a kink the slopes to the two sides differ. Every leg then takes its
    lower slope and the same fraction of the way to its upper one, chosen so that the whole is met:
    for a convex function such a fraction exists, and legs that are mirrored get the same.

    Raises:
        ValueError: there is no node.

    >>> worst = pointwise(lambda quantity: float(quantity.max()))
    >>> aumann_shapley(worst, np.array([2.0, 2.0, 2.0, 1.0])).amount.round(9).tolist()
    [0.666666667, 0.666666667, 0.666666667, 0.0]
    """
    if nodes < 1:
        raise ValueError(f"nodes is {nodes}; allowed is 1 or more")
    whole = float(np.diff(requirement(np.vstack([np.zeros(len(quantity)), quantity])))[0])
    at, weight = np.polynomial.legendre.leggauss(nodes)
    slopes = [_slopes(requirement, quantity, 0.5 * (one + 1.0)) for one in at]
    low, high = 0.5 * np.tensordot(weight, np.array(slopes), axes=1)
    width = float((high - low).sum())
    fraction = (whole - float(low.sum())) / width if width > 0.0 else 0.0
    amount = low + min(max(fraction, 0.0), 1.0) * (high - low)
    return _closed(amount, whole)


def _slopes(requirement: Requirement, quantity: Floats, t: float) -> Floats:
    """Return the lesser and the greater of the two slopes of each leg at a point of the ray.

    Shape ``(2, leg)``, each times the quantity.
    """
    here = t * quantity
    step = np.diag(STEP * here)
    required = requirement(np.vstack([here, here + step, here - step]))
    legs = len(quantity)
    up, down = required[1 : legs + 1] - required[0], required[0] - required[legs + 1 :]
    return np.sort(np.stack([up, down]), axis=0) / (STEP * t)


def _closed(amount: Floats, whole: float) -> Allocation:
    """Share out what is left of the whole, in proportion to size."""
    residual = whole - float(amount.sum())
    size = np.abs(amount)
    total = float(size.sum())
    share = size / total if total > 0.0 else np.full(len(amount), 1.0 / max(len(amount), 1))
    return Allocation(amount + residual * share, residual)
