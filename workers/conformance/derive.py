"""Derive's portfolio margin, both versions: one account through the engine that margins books."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from risk.charges import ChargeSpec
from risk.instruments import Instruments, Kind, MarketState
from risk.methodology import Methodology, Netting, VolatilityTenorSpec
from risk.scan.scenarios import ScanAxis
from risk.scan.specification import (
    BasisContingency,
    Cell,
    ScanSpec,
    SkewShape,
    StaticDiscount,
)
from risk.specification import Specification
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
    rules = _pmrm2_rules(params, cells, inputs["stable_price"])
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
        _pmrm1_rules(params, inputs["stable_price"]),
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


def _pmrm2_rules(params: Numbers, cells: list[list[Any]], stable_price: float) -> Methodology:
    """Return the rules that a parameter table describes, in our words."""
    shock, margin, skew = params["VolShock"], params["Margin"], params["SkewShock"]
    basis, other = params["BasisContingency"], params["OtherContingency"]
    # The one source case whose rotation moves the price too has the cap of the other rotation.
    moved = any(price != 0.0 for price, state, _ in cells if state == "skew")
    linear = "ABS_SCALE_CAP" if moved else "LINEAR_SCALE_CAP"
    lost_peg = max(0.0, other["PEG_LOSS_THRESHOLD"] - stable_price)
    scan = {
        "cells": cells,
        "volatility_up": shock["VOLRANGEUP"],
        "volatility_down": shock["VOLRANGEDOWN"],
        "minimum_volatility_up": shock["MIN_VOL_EVAL_SHOCKED"],
        "initial_factor": margin["IM_LOSS_FACTOR"] + lost_peg * other["PEG_LOSS_FACTOR"],
        "maintenance_factor": margin["MM_LOSS_FACTOR"],
        "discount": {
            "positive": margin["BASE_STATIC_DISCOUNT"],
            "long_rate": margin["LONG_RATE_MULTSCALE"],
            "long_add": margin["LONG_RATE_ADDSCALE"],
            "negative": margin["BASE_STATIC_DISCOUNT_NEG"],
            "short_rate": margin["SHORT_RATE_MULTSCALE"],
            "short_add": margin["SHORT_RATE_ADDSCALE"],
        },
        "skew": {
            "linear_cap": skew[linear],
            "linear_cap_per_root_year": skew["LINEAR_CBASE"],
            "absolute_cap": skew["ABS_SCALE_CAP"],
            "absolute_cap_per_root_year": skew["ABS_CBASE"],
            "least_reach": skew["MIN_K_STAR"],
            "width": skew["MIN_WIDTH_SCALE"],
            "volatility": skew["VOL_PARAM_STATIC"],
            "volatility_per_root_year": skew["VOL_PARAM_SCALE"],
        },
        "basis": {
            "up": basis["SCENARIO_SPOT_UP"] - 1.0,
            "down": basis["SCENARIO_SPOT_DOWN"] - 1.0,
            "add": basis["BASIS_CONT_ADD_FACTOR"],
            "per_year": basis["BASIS_CONT_MULT_FACTOR"],
        },
    }
    option, perp = other["MM_OPTION_PERCENT"], other["MM_PERP_PERCENT"]
    charges = [
        _charge("naked_short", ["option"], option + other["IM_OPTION_PERCENT"], option)
        | {"group": "strike", "side": "short"},
        _charge("perpetual", ["perpetual"], perp + other["IM_PERP_PERCENT"], perp),
        *_doubts(other["CONF_MARGIN"], other["CONF_THRESHOLD"]),
    ]
    return _rules("derive-pmrm2", scan, charges, shock)


def _pmrm1_rules(params: Numbers, stable_price: float) -> Methodology:
    """Return the rules of the first version: charges count as loss, before the factor."""
    margin, other, basis, vol = (params[name] for name in ("margin", "other", "basis", "vol"))
    factor = margin["im_factor"]
    factor += max(0.0, other["peg_threshold"] - stable_price) * other["peg_factor"]
    moves = (0.15, 0.10, 0.05, 0.0, -0.05, -0.10, -0.15)
    scan = {
        "cells": [[move, state] for move in moves for state in ("up", "none", "down")],
        "volatility_up": vol["up"],
        "volatility_down": vol["down"],
        "initial_factor": factor,
        "maintenance_factor": 1.0,
        "discount": {
            "positive": margin["base_static_discount"],
            "long_rate": margin["rate_mult"],
            "long_add": margin["rate_add"],
        },
        "basis": {
            "up": basis["up"] - 1.0,
            "down": basis["down"] - 1.0,
            "add": basis["add"],
            "per_year": basis["mult"],
        },
    }
    rates = {name: other[f"{name}_pct"] for name in ("option", "perp", "base")}
    charges = [
        _charge("naked_short", ["option"], factor * rates["option"], rates["option"])
        | {"group": "strike", "side": "short"},
        _charge("perpetual", ["perpetual"], factor * rates["perp"], rates["perp"]),
        _charge("base", ["spot"], factor * rates["base"], rates["base"]),
        *_doubts(other["conf_margin"], other["conf_threshold"]),
    ]
    powers = {
        "SHORTTERMPOWER": vol["short_power"],
        "LONGTERMPOWER": vol["long_power"],
        "DTE_FLOOR": vol["dte_floor_days"],
    }
    return _rules("derive-pmrm1", scan, charges, powers)


def _charge(layer: str, kinds: list[str], initial: float, maintenance: float) -> dict[str, Any]:
    return {"layer": layer, "kinds": kinds, "initial": initial, "maintenance": maintenance}


def _doubts(rate: float, threshold: float) -> list[dict[str, Any]]:
    """Return the charge on what a doubtful oracle prices, however it is netted."""
    charge = _charge("oracle", ["option", "perpetual"], rate, 0.0)
    return [charge | {"below_confidence": threshold}]


def _rules(
    name: str, scan: dict[str, Any], charges: list[dict[str, Any]], powers: Numbers
) -> Methodology:
    """Return rules of a vector as they are: tests try sizes that no rule book could mean."""
    tables: tuple[tuple[str, type[Specification]], ...] = (
        ("discount", StaticDiscount),
        ("skew", SkewShape),
        ("basis", BasisContingency),
    )
    own: dict[str, Any] = {
        key: table.model_construct(**scan[key]) for key, table in tables if key in scan
    }
    cells = [
        dict(zip(("price", "volatility", "weight"), cell, strict=False)) for cell in scan["cells"]
    ]
    own["cells"] = tuple(Cell.model_construct(**cell) for cell in cells)
    return Methodology.model_construct(
        name=name,
        netting=Netting(),
        volatility_tenor=VolatilityTenorSpec.model_construct(
            reference_days=30.0,
            short_power=powers["SHORTTERMPOWER"],
            long_power=powers["LONGTERMPOWER"],
            floor_days=powers["DTE_FLOOR"],
            minimum_volatility=0.0,
        ),
        scan=ScanSpec.model_construct(**(scan | own)),
        charges=tuple(ChargeSpec.model_construct(**charge) for charge in charges),
    )
