"""Health of an account under a protocol: what covers, what is owed, at which prices they meet."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from risk.instruments import Kind, Settlement
from risk.liquidation import line_crossing
from risk.margin import Holdings
from risk.protocols.lending import coverage
from risk.revaluation import cash_delta
from risk.standard.kernel import Form
from risk.standard.margin import margin_positions
from risk.standard.terms import StandardTerms
from risk.weights import weighted_requirement
from workers.collateral import CountedAssets
from workers.explain.source import Source
from workers.revaluation import terms_and_market_of
from workers.rule_books import kind_of

SIDES = {-1: "below", 0: None, 1: "above"}
"""On which side of a price liquidation lies."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Side:
    """Some of what an account holds: coin of each, and USD at maintenance weights.

    ``covered`` counts for the account and ``owed`` against it. ``moves`` is what both together
    gain if the price of the coin doubles; ``line`` is false where they are not in proportion to it.
    """

    coin: NDArray[np.int64]
    covered: Floats
    owed: Floats
    moves: Floats
    line: NDArray[np.bool_]


def health_of(source: Source, holdings: Holdings, assets: CountedAssets) -> dict[str, Any]:
    """Return the health factor of one account and the liquidation price of each coin.

    ``covered`` is what assets and coins held count for at maintenance weights, ``owed`` what
    debts and contracts ask: covered / owed is below 1 exactly where equity is below maintenance.
    A liquidation price is that of one coin, the other prices unchanged, where both meet.

    Empty where the methodology is not a protocol's, or an option is held, which has no weight; or
    where charges or buffers stand on top, of which no health of a protocol knows.
    """
    terms, rules = source.revaluation.standard, source.methodology
    if kind_of(rules) != "protocol" or terms is None or rules.charges or rules.buffers:
        return {}
    if (terms.form[holdings.instrument] == Form.OPTION).any():
        return {}
    sides = [_assets(source, holdings, assets), _positions(source, holdings, terms)]
    covered = sum(float(side.covered.sum()) for side in sides)
    owed = sum(float(side.owed.sum()) for side in sides)
    factor = float(coverage(covered, owed))
    found = []
    for coin, name in enumerate(source.scenarios["underlying"].values):
        own = [side.coin == coin for side in sides]
        # A contract that is fixed in cash, or has brackets, bends the line that health is.
        if not any(one.any() for one in own) or not all(
            side.line[one].all() for side, one in zip(sides, own, strict=True)
        ):
            continue
        price = float(source.run.manifest["index"][str(name)])
        moves = sum(float(side.moves[one].sum()) for side, one in zip(sides, own, strict=True))
        crossing = line_crossing(covered - owed - moves, moves / price)
        at, side_of = float(crossing.price), SIDES[int(crossing.side)]
        found.append(
            {
                "underlying": str(name),
                "price": price,
                "liquidated": side_of if at > 0.0 else None,
                "liquidation_price": at if side_of and at > 0.0 else None,
            }
        )
    return {
        "covered": covered,
        "owed": owed,
        "factor": factor if np.isfinite(factor) else None,
        "liquidation": found,
    }


def _assets(source: Source, holdings: Holdings, assets: CountedAssets) -> Side:
    """Return what the collateral of one account counts for."""
    held = holdings.assets
    coins = [str(coin) for coin in source.scenarios["underlying"].values]
    if held is None or assets.weights is None:
        none = np.zeros(0)
        return Side(np.zeros(0, np.int64), none, none, none, np.zeros(0, np.bool_))
    _, haircut = weighted_requirement(held.asset, held.quantity, assets.weights)
    counted = held.quantity * assets.value[held.asset] - haircut
    coin = assets.coins(coins)[held.asset]
    every = np.ones(len(counted), dtype=np.bool_)
    return Side(coin, counted, np.zeros_like(counted), counted, every)


def _positions(source: Source, holdings: Holdings, terms: StandardTerms) -> Side:
    """Return what the positions of one account count for, and what they ask."""
    rows, quantity = holdings.instrument.astype(np.int64), holdings.quantity
    instruments, market = terms_and_market_of(source.run, source.book)
    alone = np.arange(len(rows) + 1, dtype=np.int64)
    keep = margin_positions(alone, holdings.instrument, quantity, terms).maintenance
    spot = instruments.kind[rows] == Kind.SPOT
    value = np.where(spot, quantity * source.revaluation.value[rows], 0.0)
    brackets = np.diff(terms.bracket[rows], axis=1)[:, 0]
    linear = instruments.settlement[rows] == Settlement.LINEAR
    return Side(
        coin=instruments.underlying[rows].astype(np.int64),
        covered=np.where(value > 0.0, value - keep, 0.0),
        owed=np.where(value > 0.0, 0.0, keep - value),
        moves=quantity * cash_delta(instruments, market)[rows] - keep,
        line=linear & (brackets <= 1),
    )
