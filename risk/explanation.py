"""Why a netting set needs what it needs: the scenarios behind each measure, with their weights."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from risk.measures import Measure, quantile_position, tail_by_age, tail_mass


@dataclass(frozen=True, slots=True)
class Binding:
    """One scenario of a measure: the measure is minus the sum of ``weight * pnl`` over them."""

    scenario: int
    weight: float
    pnl: float


def binding_scenarios(
    pnl: NDArray[np.float64], scenario_weight: NDArray[np.float64], measure: Measure
) -> list[Binding]:
    """Return the scenarios that a measure of one P&L row is made of, worst first.

    Shapes ``(scenario,), (scenario,)``; P&L gain positive. A worst loss is one scenario, weighted
    by the weight of that scenario; a value at risk is one or two order statistics; an expected
    shortfall is the whole tail, each scenario by its share, which is by age where the measure is.

    >>> import numpy as np
    >>> shortfall = Measure("es", "expected_shortfall", 0, 5, 0.7)
    >>> tail = binding_scenarios(np.array([-4.0, -2.0, 1.0, 1.0, 3.0]), np.ones(5), shortfall)
    >>> [(one.scenario, round(one.weight, 4)) for one in tail]
    [(0, 0.6667), (1, 0.3333)]
    """
    rows = np.arange(measure.start, measure.stop)
    chosen = pnl[rows]
    if measure.kind == "worst_loss":
        weighted = chosen * scenario_weight[rows]
        worst = int(rows[np.argmin(weighted)])
        return [Binding(worst, float(scenario_weight[worst]), float(pnl[worst]))]
    if measure.age_decay is not None:
        aged, part, place = tail_by_age(chosen, measure.level, measure.age_decay)
        if measure.kind == "value_at_risk":
            aged, part = aged[place:], np.ones(1)
        return [
            Binding(int(rows[at]), float(share), float(chosen[at]))
            for at, share in zip(aged[: len(part)], part, strict=True)
            if share > 0.0
        ]
    order = rows[np.lexsort((rows, chosen))]
    if measure.kind == "value_at_risk":
        rank, weight = quantile_position(len(rows), measure.level, measure.convention)
        ranked = [(len(rows) - rank, 1.0 - weight), (len(rows) - rank - 1, weight)]
        picked = [(int(order[at]), share) for at, share in ranked if share > 0.0]
    else:
        mass = tail_mass(len(rows), measure.level)
        whole = math.floor(mass)
        shares = [1.0] * whole + ([float(mass - whole)] if mass > whole else [])
        picked = [(int(order[at]), share / float(mass)) for at, share in enumerate(shares)]
    return [Binding(scenario, share, float(pnl[scenario])) for scenario, share in picked]
