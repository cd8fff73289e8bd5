"""What if an account traded: before, after, whose margin it is, and where liquidation begins."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import numpy as np
from numpy.typing import NDArray

from risk.allocation import (
    Requirement,
    aumann_shapley,
    incremental_allocation,
    stand_alone,
    with_without,
)
from risk.health import AccountHealth, HealthSpec, account_health, margin_ratio
from risk.margin import AccountMargin
from risk.price_path import HIGHEST, LOWEST, nearest_crossings
from storage.runs import Run
from workers.account_case import AccountCase, Rules, account_case, rules_of
from workers.calls import health_rules
from workers.rule_books import mode_of

Floats = NDArray[np.float64]

NODES = 16
"""Points along the ray at which a requirement that is not homogeneous is differentiated."""

_WHOLE = 1e-9  # of a lot: what decimal quantities miss a whole number of lots by


class TradeRefused(ValueError):
    """A trade cannot be meant; the message begins with the code of the fault."""


@dataclass(frozen=True, slots=True)
class Trade:
    """A trade that is considered: instrument row, and lots, bought positive."""

    instrument: int
    lots: int


def parse_trade(text: str, rules: Rules) -> Trade:
    """Return the trade that ``QTY INSTRUMENT`` names; QTY is in contracts, sold negative.

    Raises:
        TradeRefused: UNKNOWN_INSTRUMENT with the nearest names, NUMBER_INVALID where the quantity
            is none, zero or not finite, LOT_SIZE where it is not whole lots, PRICE_MISSING where
            the run has no price.
    """
    quantity, _, name = text.strip().partition(" ")
    name = name.strip()
    if not name:
        raise TradeRefused(
            f"NUMBER_INVALID: {text!r} is no trade; allowed is 'QTY INSTRUMENT', as in '-5 NAME'"
        )
    row = _instrument_row(name, rules)
    try:
        contracts = float(quantity)
    except ValueError:
        contracts = math.nan
    if not math.isfinite(contracts) or contracts == 0.0:
        raise TradeRefused(
            f"NUMBER_INVALID: quantity {quantity!r} of {name}; allowed is a finite number of "
            "contracts other than zero, negative to sell"
        )
    lot_size = float(rules.table["lot_size"][row].as_py())
    lots = contracts / lot_size
    if abs(lots - round(lots)) > _WHOLE * max(1.0, abs(lots)) or not round(lots):
        raise TradeRefused(
            f"LOT_SIZE: quantity {quantity} of {name} is {lots:g} lots; allowed is a whole number "
            f"of lots of {lot_size:g} contracts"
        )
    if abs(lots) >= 2.0**53:
        raise TradeRefused(f"OVERFLOW: quantity {quantity} of {name} is {lots:g} lots")
    if not rules.market.priced[row]:
        raise TradeRefused(
            f"PRICE_MISSING: {name} has no price in run {rules.run.run_id}, so what it requires "
            "is not known"
        )
    return Trade(row, round(lots))


def _instrument_row(name: str, rules: Rules) -> int:
    names: list[str] = rules.table["instrument"].to_pylist()
    if name in names:
        return names.index(name)
    folded = {one.casefold(): one for one in names}
    close = get_close_matches(name.casefold(), list(folded), n=3, cutoff=0.5)
    hint = f"; nearest are {[folded[one] for one in close]}" if close else ""
    raise TradeRefused(
        f"UNKNOWN_INSTRUMENT: no instrument {name!r} among the {len(names)} of book "
        f"{rules.book.name!r}{hint}"
    )


def what_if(
    run: Run, account: str, adds: Sequence[str], spec: HealthSpec | None = None
) -> dict[str, Any]:
    """Return what some trades would do to an account, as numbers that JSON can hold.

    Trades are at the run's marks and cost nothing: what is paid for options and spot leaves the
    collateral, so equity stays. Requirements, the marginal margin of each leg and liquidation
    prices follow from the run's own cube, book and rules.

    Raises:
        AccountHeld: the account is held back.
        AccountUnknown: the book has no account of that name.
        BookChanged: the book is not the one that the run used.
        TradeRefused: a trade cannot be meant.
    """
    rules = rules_of(run)
    chosen = spec or health_rules(run)
    trades = [parse_trade(text, rules) for text in adds]
    case = account_case(rules, account, [trade.instrument for trade in trades])
    traded = _traded(case, trades)
    _require_margined(case)
    _require_payable(case, traded)
    before = case.quantity
    after = before + traded.sum(axis=0)
    paid = float((after - before) @ case.revaluation.value)
    margin = case.margin(np.stack([before, after]), case.collateral - np.array([0.0, paid]))
    described = [_state(margin, row, chosen) for row in (0, 1)]
    layers = list(rules.methodology.layers)
    return {
        "run_id": run.run_id,
        "account": account,
        "margin_mode": mode_of(rules.methodology, case.margin_mode),
        "currency": "USD",
        "collateral_counted": (
            "at its whole value" if rules.methodology.collateral else "after haircuts"
        ),
        "trades": _described_trades(case, trades),
        "before": described[0],
        "after": described[1],
        "layers": [
            {
                "layer": layer,
                "before": float(margin.margin[0, at]),
                "after": float(margin.margin[1, at]),
                "change": float(margin.margin[1, at] - margin.margin[0, at]),
            }
            for at, layer in enumerate(layers)
        ],
        "change": described[1]["requirement"] - described[0]["requirement"],
        "marginal": _marginal(case, trades, traded),
        "shares": _shares(case, after),
        "liquidation": _liquidation(case, after, paid),
    }


def _require_margined(case: AccountCase) -> None:
    """Refuse an instrument that has a price but that no rule of the methodology margins."""
    for leg in np.flatnonzero(~case.revaluation.priced):
        raise TradeRefused(
            f"RULE_MISSING: no rule of {case.rules.methodology.name} margins {case.names[leg]}; "
            "an account that held it would be held back"
        )


def _require_payable(case: AccountCase, traded: Floats) -> None:
    """Refuse trades that are paid for, where a rule book says what each asset paid counts for."""
    if not case.rules.methodology.collateral:
        return
    for leg in np.flatnonzero(traded.any(axis=0) & (case.revaluation.value != 0.0)):
        raise TradeRefused(
            f"PAYMENT_UNKNOWN: {case.names[leg]} is paid for, and {case.rules.methodology.name} "
            "weighs the asset that it is paid with, which a supposed trade does not say; put the "
            "trade and its payment into a book and run it"
        )


def _traded(case: AccountCase, trades: Sequence[Trade]) -> Floats:
    """Return contracts of each leg in each trade, ``(trade, leg)``."""
    traded = np.zeros((len(trades), len(case.legs)))
    for at, trade in enumerate(trades):
        leg = int(np.searchsorted(case.legs, trade.instrument))
        traded[at, leg] = trade.lots * case.lot_size[leg]
    return traded


def _state(margin: AccountMargin, row: int, spec: HealthSpec) -> dict[str, Any]:
    one = slice(row, row + 1)
    equity, initial = margin.equity[one], margin.requirement[one]
    health = account_health(equity, initial, margin.maintenance[one], spec)
    ratio = float(margin_ratio(equity, initial)[0])
    return {
        "collateral_value": float(margin.collateral_value[row]),
        "position_value": float(margin.position_value[row]),
        "equity": float(equity[0]),
        "requirement": float(initial[0]),
        "maintenance": float(margin.maintenance[row]),
        "excess": float(margin.excess[row]),
        "margin_ratio": ratio if math.isfinite(ratio) else None,
        "health": AccountHealth(health[0]).name.lower(),
    }


def _described_trades(case: AccountCase, trades: Sequence[Trade]) -> list[dict[str, Any]]:
    names, notional = case.names, case.notional
    described = []
    for trade in trades:
        leg = int(np.searchsorted(case.legs, trade.instrument))
        contracts = trade.lots * float(case.lot_size[leg])
        described.append(
            {
                "instrument": names[leg],
                "contracts": contracts,
                "lots": trade.lots,
                "value_of_one": float(case.revaluation.value[leg]),
                "paid": contracts * float(case.revaluation.value[leg]) + 0.0,
                "notional": abs(contracts) * float(notional[leg]),
            }
        )
    return described


def _marginal(case: AccountCase, trades: Sequence[Trade], traded: Floats) -> list[dict[str, Any]]:
    """Return what each trade adds to the requirement, in the order in which they were given."""
    held = case.quantity

    def requirement(done: Floats) -> Floats:
        return case.requirement(held + done @ traded)

    every = np.ones(len(trades))
    incremental = incremental_allocation(requirement, every) if len(trades) else every
    alone = stand_alone(requirement, every) if len(trades) else every
    last = with_without(requirement, every) if len(trades) else every
    names = case.names
    return [
        {
            "instrument": names[int(np.searchsorted(case.legs, trade.instrument))],
            "incremental": float(incremental[at]),
            "alone": float(alone[at]),
            "last": float(last[at]),
        }
        for at, trade in enumerate(trades)
    ]


def _shares(case: AccountCase, quantity: Floats) -> dict[str, Any]:
    """Return the share of each position in the requirement, and what closing it would release.

    Shares and ``collateral``, what its assets ask without any position, sum to the requirement.
    They are Euler's where it is homogeneous, else Aumann and Shapley's, integrated at ``NODES``
    points.
    """
    held = np.flatnonzero(quantity)
    collateral = float(case.requirement(np.zeros((1, len(quantity))))[0])

    def requirement(part: Floats) -> Floats:
        whole = np.zeros((len(part), len(quantity)))
        whole[:, held] = part
        return case.requirement(whole) - collateral

    if not len(held):
        return {"method": "euler", "unexplained": 0.0, "collateral": collateral, "positions": []}
    nodes = 1 if _homogeneous(requirement, quantity[held]) else NODES
    found = aumann_shapley(requirement, quantity[held], nodes)
    released = with_without(requirement, quantity[held])
    names = case.names
    return {
        "method": "euler" if nodes == 1 else "aumann_shapley",
        "unexplained": found.residual,
        "collateral": collateral,
        "positions": [
            {
                "instrument": names[leg],
                "contracts": float(quantity[leg]),
                "share": float(found.amount[at]),
                "released_if_closed": float(released[at]),
            }
            for at, leg in enumerate(held.tolist())
        ],
    }


def _homogeneous(requirement: Requirement, quantity: Floats) -> bool:
    """Tell whether the requirement grows in proportion with the positions."""
    parts = np.array([0.25, 0.5, 1.0])
    required = requirement(parts[:, None] * quantity)
    return bool(np.allclose(required, parts * required[-1], rtol=1e-9, atol=0.0))


def _liquidation(case: AccountCase, quantity: Floats, paid: float) -> list[dict[str, Any]]:
    """Return, for each underlying, the nearest prices at which equity falls to maintenance."""
    instruments = case.instruments
    found = []
    for coin in sorted(set(instruments.underlying[np.flatnonzero(quantity)].tolist())):

        def surplus(move: float, coin: int = coin) -> float:
            equity, maintenance = case.moved(quantity, coin, move)
            return equity - paid - maintenance

        crossings = nearest_crossings(surplus)
        price = float(case.market.index[coin])
        at = (crossings.below, crossings.above) if crossings else (None, None)
        found.append(
            {
                "underlying": case.rules.underlyings[coin],
                "price": price,
                "liquidated_now": crossings is None,
                "looked_between": [LOWEST, HIGHEST],
                "below": _at(price, at[0]),
                "above": _at(price, at[1]),
            }
        )
    return found


def _at(price: float, move: float | None) -> dict[str, float] | None:
    return None if move is None else {"price": price * (1.0 + move), "move": move}
