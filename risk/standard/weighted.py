"""Rules of which the requirement is a weight: balances of coins, contracts that grow by root."""

import numpy as np
from numpy.typing import NDArray

from risk.instruments import Instruments, MarketState, Settlement, unit_notional
from risk.protocols.dydx import MILLION, LiquidityTier, initial_margin_ppm
from risk.standard.spec import FractionRule, WeightRule
from risk.weights import Weights, scaled_pair

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]


def notional_and_coins(
    rows: Rows, price: str, instruments: Instruments, market: MarketState
) -> tuple[Floats, Floats]:
    """Return both of one contract; an inverse one is fixed in cash, the others in coins."""
    terms = instruments.take(rows)
    index = market.index[terms.underlying]
    notional = unit_notional(terms, market.index)
    coins = notional / index
    if price == "mark":
        forward = market.forward[rows]
        inverse = terms.settlement == Settlement.INVERSE
        notional = notional * np.where(inverse, index / forward, forward / index)
        coins = np.where(inverse, notional / index, coins)
    return notional, coins


def fill_weights(
    weights: Weights,
    rows: Rows,
    rule: WeightRule | FractionRule,
    instruments: Instruments,
    market: MarketState,
) -> None:
    """Fill the weights of balances; a share is the weight that a contract is short of one by."""
    notional, coins = notional_and_coins(rows, rule.price, instruments, market)
    weights.value[rows], weights.coins[rows] = notional, coins
    weights.margined[rows] = rule.kind != "spot"
    if isinstance(rule, WeightRule):
        held = scaled_pair(rule.held, rule.deposits)
        owed = scaled_pair(rule.owed, rule.borrows)
    else:
        shares = (initial_share(rule), rule.maintenance)
        held = (1.0 - shares[0], 1.0 - shares[1])
        owed = (1.0 + shares[0], 1.0 + shares[1])
    weights.size_factor[rows] = rule.size_factor
    weights.held_initial[rows], weights.held_maintenance[rows] = held
    weights.owed_initial[rows], weights.owed_maintenance[rows] = owed


def initial_share(rule: FractionRule) -> float:
    """Return the initial share of a market, grown with its open interest where the rule says so.

    >>> rule = FractionRule(
    ...     kind="perpetual", form="fraction", price="index", source="example", initial=0.2,
    ...     maintenance=0.1, open_interest={"value": 15.0, "lower_cap": 10.0, "upper_cap": 20.0},
    ... )
    >>> initial_share(rule)
    0.6
    """
    interest = rule.open_interest
    if interest is None:
        return rule.initial
    # Caps are whole quantums of a millionth there, and so is the value that is held against them.
    lower, upper = round(interest.lower_cap * MILLION), round(interest.upper_cap * MILLION)
    tier = LiquidityTier(round(rule.initial * MILLION), MILLION, lower, upper)
    return initial_margin_ppm(int(interest.value * MILLION), tier) / MILLION
