"""What a unit of every token is worth to the pool, and the terms of the lending markets."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from risk.claims.credit import UnitCredit, unit_credit
from risk.claims.pool import PoolTerms
from risk.claims.scenarios import scenario_moves
from risk.claims.tokens import TokenKind
from workers.pool.plan import PoolPlan

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Valued:
    """The credit of a unit of each token, and what accounts are valued by."""

    credit: UnitCredit
    terms: PoolTerms


def value_pool(plan: PoolPlan, totals: Floats) -> Valued:
    """Value a unit of each token in every state; ``totals`` ``(token,)`` are the pool's units.

    Raises:
        ValueError: an asset follows a coin that the market does not have, or a debt has no value.
    """
    references, scenarios = plan.references, plan.scenarios
    market = len(scenarios) - scenarios.named
    moves = scenario_moves(
        references.tokens,
        references.names,
        plan.found,
        plan.rules,
        scenarios.name[:market],
        scenarios.coins,
        scenarios.price,
        scenarios.weight[:market],
    )
    credit = unit_credit(
        references.tokens,
        references.names,
        references.feeds,
        plan.rules,
        totals,
        moves,
        plan.found,
    )
    threshold, bonus = _market_terms(
        plan.tables.market_terms, len(references.markets), len(references.tokens)
    )
    terms = PoolTerms(
        cube=scenarios.cube,
        weight=scenarios.weight,
        value=credit.value,
        credit=credit.credit,
        is_debt=references.tokens.kind == TokenKind.DEBT,
        threshold=threshold,
        bonus=bonus,
        target_health=plan.rules.policy.target_health,
        reported=scenarios.reported,
    )
    return Valued(credit, terms)


def _market_terms(table: pa.Table, markets: int, tokens: int) -> tuple[Floats, Floats]:
    """Return liquidation thresholds and bonuses, ``(market, token)``; nought where none is said."""
    threshold, bonus = np.zeros((markets, tokens)), np.zeros((markets, tokens))
    row = (table["market"].to_numpy(), table["token"].to_numpy())
    threshold[row] = table["liquidation_threshold"].to_numpy()
    bonus[row] = table["liquidation_bonus"].to_numpy()
    return threshold, bonus
