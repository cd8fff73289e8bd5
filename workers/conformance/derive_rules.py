"""Derive's parameter tables in our words: the rules that one test vector asks for."""

from collections.abc import Mapping
from typing import Any

from risk.charges import ChargeSpec
from risk.methodology import Methodology, Netting, VolatilityTenorSpec
from risk.scan.specification import (
    BasisContingency,
    Cell,
    ScanSpec,
    SkewShape,
    StaticDiscount,
)
from risk.specification import Specification

Numbers = Mapping[str, Any]


def pmrm2_rules(params: Numbers, cells: list[list[Any]], stable_price: float) -> Methodology:
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


def pmrm1_rules(params: Numbers, stable_price: float) -> Methodology:
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
