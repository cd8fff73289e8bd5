"""Measures as the kernels read them: numbers in place of names."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from risk.kernels.positions import read_only
from risk.measures import (
    Measure,
    age_units,
    aged_tail_mass,
    quantile_position,
    require_inverted_cdf,
    tail_mass,
)

WORST_LOSS, VALUE_AT_RISK, EXPECTED_SHORTFALL = 0, 1, 2
KINDS = {
    "worst_loss": WORST_LOSS,
    "value_at_risk": VALUE_AT_RISK,
    "expected_shortfall": EXPECTED_SHORTFALL,
}


class Plan(NamedTuple):
    """Measures over one scenario axis, ``(measure,)`` unless said otherwise.

    ``mass`` is the number of scenarios, or of units, in an expected shortfall's tail, and 1
    otherwise. ``depth`` is how many of the worst scenarios a measure reads; a value at risk is
    ``(1-blend) x_depth + blend x_(depth-1)`` of the losses in descending order. ``weighted`` tells
    whether any weight ``(scenario,)`` in a measure's range differs from 1.

    Where scenarios count by age, ``reach`` is not zero: the measure reads the worst scenarios
    until their ``units`` ``(measure, scenario)`` come to it. The ``depth`` worst from ``recent``
    on are enough, each being worth the ``depth``-th part of it or more.

    ``within`` is the place of an earlier measure whose tail holds this one's, -1 where none does.

    Measures add up, each times its ``share``, from one that does not ``joins`` to the one that
    ``closes``; those that bind close.
    """

    kind: NDArray[np.int64]
    start: NDArray[np.int64]
    stop: NDArray[np.int64]
    depth: NDArray[np.int64]
    mass: NDArray[np.float64]
    blend: NDArray[np.float64]
    reach: NDArray[np.int64]
    recent: NDArray[np.int64]
    within: NDArray[np.int64]
    share: NDArray[np.float64]
    joins: NDArray[np.bool_]
    closes: NDArray[np.bool_]
    weighted: NDArray[np.bool_]
    weight: NDArray[np.float64]
    units: NDArray[np.int64]


class _Tail(NamedTuple):
    """What one measure reads of its scenarios."""

    start: int
    depth: int
    mass: float = 1.0
    blend: float = 0.0
    reach: int = 0
    recent: int = 0


def planned(measures: Sequence[Measure], weight: NDArray[np.float64]) -> Plan:
    """Return the plan of the measures on the axis of scenarios that ``weight`` runs along.

    Raises:
        ValueError: an unknown kind, a range that is empty or leaves the axis, or a level that
            ``risk.measures`` refuses.
    """
    scenarios = len(weight)
    aged = any(measure.age_decay is not None for measure in measures)
    units = np.zeros((len(measures), scenarios if aged else 1), dtype=np.int64)
    tails = []
    for measure, row in zip(measures, units, strict=True):
        if measure.kind not in KINDS:
            raise ValueError(f"measure {measure.name!r}: kind {measure.kind!r} not in {[*KINDS]}")
        if not 0 <= measure.start < measure.stop <= scenarios:
            raise ValueError(
                f"measure {measure.name!r} covers scenarios {measure.start}:{measure.stop}; "
                f"it needs at least one of 0:{scenarios}"
            )
        tails.append(_tail(measure) if measure.age_decay is None else _aged_tail(measure, row))
    ends = [not after.joins for after in measures[1:]] + [True]
    return Plan(
        kind=np.array([KINDS[measure.kind] for measure in measures], dtype=np.int64),
        start=np.array([tail.start for tail in tails], dtype=np.int64),
        stop=np.array([measure.stop for measure in measures], dtype=np.int64),
        depth=np.array([tail.depth for tail in tails], dtype=np.int64),
        mass=np.array([tail.mass for tail in tails], dtype=np.float64),
        blend=np.array([tail.blend for tail in tails], dtype=np.float64),
        reach=np.array([tail.reach for tail in tails], dtype=np.int64),
        recent=np.array([tail.recent for tail in tails], dtype=np.int64),
        within=np.array([_within(measures, tails, m) for m in range(len(tails))], dtype=np.int64),
        share=np.array([measure.weight for measure in measures], dtype=np.float64),
        joins=np.array([measure.joins for measure in measures], dtype=np.bool_),
        closes=np.array(
            [one.binds and end for one, end in zip(measures, ends, strict=False)], dtype=np.bool_
        ),
        weighted=np.array(
            [(weight[measure.start : measure.stop] != 1.0).any() for measure in measures],
            dtype=np.bool_,
        ),
        weight=read_only(weight, np.float64),
        units=units,
    )


def _within(measures: Sequence[Measure], tails: Sequence[_Tail], m: int) -> int:
    """Return an earlier measure whose tail, of the same scenarios, holds what ``m`` reads, or -1.

    An expected shortfall alone leaves its whole tail behind.
    """
    one = measures[m]
    for before, other in enumerate(measures[:m]):
        if (
            (other.kind, other.age_decay, one.age_decay) == ("expected_shortfall", None, None)
            and (other.start, other.stop) == (one.start, one.stop)
            and tails[before].depth >= tails[m].depth
        ):
            return before
    return -1


def _tail(measure: Measure) -> _Tail:
    n = measure.stop - measure.start
    if measure.kind == "worst_loss":
        return _Tail(measure.start, 1)
    if measure.kind == "value_at_risk":
        rank, upper = quantile_position(n, measure.level, measure.convention)
        return _Tail(measure.start, n - rank + 1, blend=upper)
    mass = tail_mass(n, measure.level)
    return _Tail(measure.start, math.ceil(mass), float(mass))


def _aged_tail(measure: Measure, units: NDArray[np.int64]) -> _Tail:
    """Return what a measure by age reads, and fill in the units of its scenarios.

    Scenarios too old to hold a unit are left out.
    """
    if measure.kind == "worst_loss" or measure.age_decay is None:
        raise ValueError(f"measure {measure.name!r}: a worst loss does not count scenarios by age")
    require_inverted_cdf(measure.convention)
    own = age_units(measure.stop - measure.start, measure.age_decay)
    mass = aged_tail_mass(own, measure.level)
    units[measure.start : measure.stop] = own
    start = measure.stop - int(np.count_nonzero(own))
    quantile = measure.kind == "value_at_risk"
    reach = math.floor(mass) + 1 if quantile else math.ceil(mass)
    newest, depth = enough(own[own > 0][::-1], reach)
    return _Tail(
        start, depth, 1.0 if quantile else float(mass), reach=reach, recent=measure.stop - newest
    )


def enough(units: NDArray[np.int64], reach: int) -> tuple[int, int]:
    """Return how many of the newest scenarios, and of those how many, surely come to ``reach``.

    Units ``(scenario,)``, newest first. Of all pairs that do it is the one that asks for the least
    part; where none does, all of all do. Only speed depends on it.

    >>> enough(np.array([8, 4, 2, 1]), 7), enough(np.array([8, 8, 8, 8]), 9)
    ((1, 1), (4, 2))
    """
    newest = np.arange(1, len(units) + 1)
    depth = -(-reach // units)
    sure = np.flatnonzero(depth <= newest)
    if not len(sure):
        return len(units), len(units)
    best = sure[np.argmin(depth[sure] / newest[sure])]
    return int(newest[best]), int(depth[best])
