"""Measures as the kernels read them: numbers in place of names."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from risk.measures import Measure, quantile_position, tail_mass

WORST_LOSS, VALUE_AT_RISK, EXPECTED_SHORTFALL = 0, 1, 2
KINDS = {
    "worst_loss": WORST_LOSS,
    "value_at_risk": VALUE_AT_RISK,
    "expected_shortfall": EXPECTED_SHORTFALL,
}


class Plan(NamedTuple):
    """Measures over one scenario axis; all fields ``(measure,)`` but ``weight`` ``(scenario,)``.

    ``mass`` is the number of scenarios in an expected shortfall's tail, and 1 otherwise. ``depth``
    is how many of the worst scenarios a measure reads; a value at risk is
    ``(1-blend) x_depth + blend x_(depth-1)`` of the losses in descending order. ``weighted`` tells
    whether any weight in a measure's range differs from 1.
    """

    kind: NDArray[np.int64]
    start: NDArray[np.int64]
    stop: NDArray[np.int64]
    depth: NDArray[np.int64]
    mass: NDArray[np.float64]
    blend: NDArray[np.float64]
    binds: NDArray[np.bool_]
    weighted: NDArray[np.bool_]
    weight: NDArray[np.float64]


def planned(measures: Sequence[Measure], weight: NDArray[np.float64]) -> Plan:
    """Return the plan of the measures on the axis of scenarios that ``weight`` runs along.

    Raises:
        ValueError: an unknown kind, a range that is empty or leaves the axis, or a level that
            ``risk.measures`` refuses.
    """
    scenarios = len(weight)
    depth, mass, blend = [], [], []
    for measure in measures:
        if measure.kind not in KINDS:
            raise ValueError(f"measure {measure.name!r}: kind {measure.kind!r} not in {[*KINDS]}")
        if not 0 <= measure.start < measure.stop <= scenarios:
            raise ValueError(
                f"measure {measure.name!r} covers scenarios {measure.start}:{measure.stop}; "
                f"it needs at least one of 0:{scenarios}"
            )
        n = measure.stop - measure.start
        if measure.kind == "worst_loss":
            entry = (1, 1.0, 0.0)
        elif measure.kind == "value_at_risk":
            rank, upper = quantile_position(n, measure.level, measure.convention)
            entry = (n - rank + 1, 1.0, upper)
        else:
            tail = tail_mass(n, measure.level)
            entry = (math.ceil(tail), float(tail), 0.0)
        depth.append(entry[0])
        mass.append(entry[1])
        blend.append(entry[2])
    return Plan(
        kind=np.array([KINDS[measure.kind] for measure in measures], dtype=np.int64),
        start=np.array([measure.start for measure in measures], dtype=np.int64),
        stop=np.array([measure.stop for measure in measures], dtype=np.int64),
        depth=np.array(depth, dtype=np.int64),
        mass=np.array(mass, dtype=np.float64),
        blend=np.array(blend, dtype=np.float64),
        binds=np.array([measure.binds for measure in measures], dtype=np.bool_),
        weighted=np.array(
            [(weight[measure.start : measure.stop] != 1.0).any() for measure in measures],
            dtype=np.bool_,
        ),
        weight=np.ascontiguousarray(weight, dtype=np.float64),
    )
