"""Derive's portfolio margin, both versions: one account through the engine that margins books."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from risk.instruments import Instruments, Kind, MarketState
from risk.methodology import Methodology
from risk.scan.scenarios import ScanAxis
from workers.conformance.derive_rules import pmrm1_rules, pmrm2_rules
from workers.conformance.one_account import OneAccount, margin_one

Numbers = Mapping[str, Any]

YEAR_SECONDS = 365 * 86_400
AVERAGING_SECONDS = 1_800
"""Before an expiry its settlement price is averaged for so long."""

LARGEST_REGULAR_MOVE = 0.25
"""Price moves beyond this are the tail scenarios of the second version."""

UNDERLYING = "ETH"

LEAST_SECONDS = 1e-6
"""What is left of an expired option: enough to be priced, and worth its payoff."""


def pmrm2(inputs: Numbers, tables: Mapping[str, Any]) -> dict[str, Any]:
    """Return net margin of the second version, and the parts that its tests name."""
    params = tables[inputs["params_ref"]]
    states = {"linear": "skew", "abs": "absolute_skew"}
    cells = [
        [spot - 1.0, states.get(state, state), weight]
        for spot, state, weight in tables[inputs["scenarios_ref"]]
    ]
    account = _account(inputs, [one for one in inputs["collaterals"] if one["risk_cancelling"]])
    rules = pmrm2_rules(params, cells, inputs["stable_price"])
    held = _collateral(inputs, params["OtherContingency"])
    return _margined(account, rules, held) | {"collateral_mtm": held["value"]}


def pmrm1(inputs: Numbers, tables: Mapping[str, Any]) -> dict[str, Any]:
    """Return net margin of the first version, and the parts that its tests name."""
    params = tables[inputs["params_ref"]]
    base = {"qty": inputs["base_qty"], "price": inputs["spot"], "conf": 1.0}
    account = _account(dict(inputs), [base])
    undiscounted = np.ones(len(account.quantity))
    account = replace(account, discount_factor=undiscounted)
    found = _margined(
        account,
        pmrm1_rules(params, inputs["stable_price"]),
        {"still": _carried(inputs), "initial": 0.0, "maintenance": 0.0},
    )
    total = found["option_mtm"] + inputs["base_qty"] * inputs["spot"] + _carried(inputs)
    return found | {"mtm": total}


METHODS = {"derive_pmrm1": pmrm1, "derive_pmrm2": pmrm2}


def _carried(inputs: Numbers) -> float:
    """Return what a perpetual has gained and not paid yet, with its funding."""
    names = ("perp_upnl", "perp_ufunding") if "perp_upnl" in inputs else ("upnl", "ufunding")
    return float(sum(inputs[name] for name in names))


def _account(inputs: Numbers, spots: list[Numbers]) -> OneAccount:
    """Return options, the perpetual and collateral that moves with spot, as instruments."""
    options = inputs["options"]
    feeds = {feed["sec_to_expiry"]: feed for feed in inputs["feeds"]}
    own = [feeds[option["sec_to_expiry"]] for option in options]
    spot, others = inputs["spot"], 1 + len(spots)
    seconds = [max(one["sec_to_expiry"], LEAST_SECONDS) for one in options]
    years = np.array([left / YEAR_SECONDS for left in seconds] + [0.0] * others)
    rate = np.array([max(feed["rate"], 0.0) for feed in own] + [0.0] * others)
    forward = [_forward(feed) for feed in own]
    units = [one["price"] / inputs["stable_price"] / spot for one in spots]
    number = len(options) + others
    instruments = Instruments(
        kind=np.array(
            [Kind.OPTION] * len(options) + [Kind.PERPETUAL] + [Kind.SPOT] * len(spots), np.int8
        ),
        settlement=np.zeros(number, np.int8),
        underlying=np.zeros(number, np.int16),
        settlement_underlying=np.full(number, -1, np.int16),
        multiplier=np.array([1.0] * len(options) + [1.0] + units),
        strike=np.array([one["strike"] for one in options] + [0.0] * others),
        is_call=np.array([one["call"] for one in options] + [False] * others),
        time_to_expiry=years,
    )
    market = MarketState(
        index=np.array([spot]),
        forward=np.array(
            [total for total, _ in forward] + [inputs["perp_price"] or spot] + [spot] * len(spots)
        ),
        volatility=np.array(
            [one.get("mark_vol", one.get("vol", 0.0)) for one in options] + [0.0] * others
        ),
        priced=np.ones(number, np.bool_),
    )
    sure = [
        min(inputs["spot_conf"], _confidence(feed), option.get("vol_conf", 1.0))
        for option, feed in zip(options, own, strict=True)
    ]
    return OneAccount(
        instruments=instruments,
        market=market,
        quantity=np.array(
            [one["qty"] for one in options] + [inputs["perp_qty"]] + [one["qty"] for one in spots]
        ),
        rate=rate,
        discount_factor=np.exp(-rate * years),
        spot_share=np.array([share for _, share in forward] + [1.0] * others),
        currency=np.zeros(number, np.int32),
        underlyings=(UNDERLYING,),
        confidence=np.array(
            sure + [min(inputs["spot_conf"], inputs["perp_conf"])] + [1.0] * len(spots)
        ),
        cash=inputs["cash"],
    )


def _forward(feed: Numbers) -> tuple[float, float]:
    """Return the forward and the share of it that spot still moves."""
    if "forward" in feed:
        return feed["forward"], min(feed["sec_to_expiry"] / AVERAGING_SECONDS, 1.0)
    total = feed["fwd_fixed"] + feed["fwd_variable"]
    return total, feed["fwd_variable"] / total


def _confidence(feed: Numbers) -> float:
    names = ("fwd_conf", "rate_conf", "vol_conf")
    return min(float(feed[name]) for name in names if name in feed)


def _collateral(inputs: Numbers, other: Numbers) -> dict[str, float]:
    """Return value and haircuts of all collateral; a doubtful oracle is one more haircut."""
    value = initial = maintenance = 0.0
    for one in inputs["collaterals"]:
        worth = one["qty"] * one["price"] / inputs["stable_price"]
        sure = min(one["conf"], inputs["spot_conf"])
        doubt = 1.0 - sure if sure < other["CONF_THRESHOLD"] else 0.0
        value += worth
        maintenance += worth * one["mm_haircut"]
        initial += worth * (
            one["mm_haircut"] + one["im_haircut_addon"] + doubt * other["CONF_MARGIN"]
        )
    moves = sum(
        one["qty"] * one["price"] / inputs["stable_price"]
        for one in inputs["collaterals"]
        if one["risk_cancelling"]
    )
    still = value - moves + inputs["perp_upnl"] + inputs["perp_ufunding"]
    return {"value": value, "still": still, "initial": initial, "maintenance": maintenance}


def _margined(account: OneAccount, rules: Methodology, held: Numbers) -> dict[str, Any]:
    """Margin one account by the engine, and return net margin: equity less requirement."""
    account = replace(account, cash=account.cash + held["still"])
    found = margin_one(account, rules)
    (unit,) = found.units
    option = account.instruments.kind == Kind.OPTION
    return {
        "im": float(found.margin.excess[0]) - held["initial"],
        "mm": float(found.margin.equity[0] - found.margin.maintenance[0]) - held["maintenance"],
        "option_mtm": float(account.quantity[option] @ found.value[option]),
        "basis_contingency": -unit.basis_loss,
        "min_span": -unit.loss,
        **{
            f"worst_{name}_loss": float(min(unit.pnl[cells].tolist(), default=0.0))
            for name, cells in _groups(found.axis).items()
        },
    }


def _groups(axis: ScanAxis) -> dict[str, NDArray[np.int64]]:
    """Return the rows of the regular, tail and rotation scenarios."""
    rows: dict[str, list[int]] = {"regular": [], "tail": [], "skew": []}
    for row in np.flatnonzero(axis.cell >= 0).tolist():
        cell = axis.spec.cells[axis.cell[row]]
        if not cell.volatility.endswith("skew"):
            rows["tail" if abs(cell.price) > LARGEST_REGULAR_MOVE else "regular"].append(row)
        else:
            rows["skew"].append(row)
    return {name: np.array(found, dtype=np.int64) for name, found in rows.items()}
