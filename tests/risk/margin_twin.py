"""Margin of one account in plain Python, written from ``docs/method.md``, sections 3 to 6.

In short:

- a netting set is a position, the positions of one settlement currency, or the whole account,
  by the account's margin mode;
- ``base`` is the expected shortfall of the set over the historical scenarios, ``stress`` what the
  worst weighted loss over grid and events asks beyond it, each never below zero, summed over sets;
- ``short_option`` is what ``rate`` times the notional of all short options asks beyond both;
- maintenance is a part of base and stress, or a lower rate on the same notional if that is more;
- equity is collateral after haircuts plus what options and spot are worth;
- an account that lacks an input has no margin, which is not a margin of zero.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any


@dataclass(frozen=True)
class Rules:
    """What the twin needs of a methodology: keys by margin mode, levels and the rate."""

    netting: Sequence[str]
    level: float
    quantile: float
    rate: float
    maintenance_rate: float
    maintenance_factor: float
    origin: Sequence[str]


def expected_shortfall(pnl: Sequence[float], level: float) -> float:
    """Average the worst ``n (1 - q)`` losses, the last of them in part."""
    mass = len(pnl) * (1 - Fraction(str(level)))
    left, total = mass, 0.0
    for gain in sorted(pnl):
        share = min(Fraction(1), left)
        total -= float(share) * gain
        left -= share
        if left == 0:
            break
    return total / float(mass)


def value_at_risk(pnl: Sequence[float], level: float) -> float:
    """Take the order statistic ``ceil(n q)`` of the losses."""
    losses = sorted(-gain for gain in pnl)
    return losses[math.ceil(len(losses) * Fraction(str(level))) - 1]


def margin_of_account(
    positions: Sequence[tuple[int, float]],
    mode: int,
    collateral: float,
    held: bool,
    cube: Any,
    weight: Sequence[float],
    value: Sequence[float],
    short_charge: Sequence[float],
    settlement: Sequence[Any],
    priced: Sequence[bool],
    rules: Rules,
) -> Mapping[str, Any] | None:
    """Return the margin of an account, or nothing where an input is missing."""
    if held or not all(priced[row] for row, _ in positions):
        return None
    sets: dict[Any, list[tuple[int, float]]] = defaultdict(list)
    for row, quantity in positions:
        key = {"position": row, "settlement_currency": settlement[row], "account": 0}
        sets[key[rules.netting[mode]]].append((row, quantity))
    historical = [s for s, origin in enumerate(rules.origin) if origin == "historical"]
    stressed = [s for s, origin in enumerate(rules.origin) if origin in ("grid", "event")]
    base = stress = shortfall = worst = quantile = 0.0
    costliest, binding = 0.0, -1
    account_pnl = [0.0] * len(rules.origin)
    for inside in sets.values():
        pnl = [math.fsum(q * cube[row][s] for row, q in inside) for s in range(len(rules.origin))]
        account_pnl = [a + b for a, b in zip(account_pnl, pnl, strict=True)]
        tail = expected_shortfall([pnl[s] for s in historical], rules.level)
        at = min(stressed, key=lambda s: weight[s] * pnl[s])
        loss = -weight[at] * pnl[at]
        base += max(0.0, tail)
        stress += max(0.0, loss - max(0.0, tail))
        shortfall += max(0.0, tail)
        worst += max(0.0, loss)
        quantile += max(0.0, value_at_risk([pnl[s] for s in historical], rules.quantile))
        if max(tail, loss) > costliest:
            costliest = max(tail, loss)
            binding = at if loss > tail else min(historical, key=lambda s: pnl[s])
    short_notional = math.fsum(
        -quantity * short_charge[row] for row, quantity in positions if quantity < 0
    )
    minimum = rules.rate * short_notional
    short_option = max(0.0, minimum - base - stress)
    position_value = math.fsum(quantity * value[row] for row, quantity in positions)
    equity = collateral + position_value
    requirement = base + stress + short_option
    kept = rules.maintenance_factor * (base + stress)
    floor = rules.maintenance_rate * short_notional
    return {
        "margin": [base, stress, short_option],
        "risk_measure": [shortfall, worst, quantile],
        "collateral_value": collateral,
        "position_value": position_value,
        "equity": equity,
        "requirement": requirement,
        "maintenance": max(kept, floor),
        "excess": equity - requirement,
        "netting_sets": len(sets),
        "positions": len(positions),
        "binding_scenario": binding,
        "pnl": account_pnl,
    }
