"""Margin that needs no scenario: schedules, tiers, and the price that liquidates."""

from dataclasses import asdict

from risk.liquidation import cross_margin_liquidation_price
from risk.schedule_margin import schedule_margin
from risk.tiers import marginal_charge
from workers.conformance.method import Inputs, Method, Numbers, Tables

SIDES = {"call": 1.0, "post": -1.0}


def _schedule(inputs: Inputs, _: Tables) -> Numbers:
    if inputs["side"] not in SIDES:
        raise ValueError(f"side is {inputs['side']!r}; allowed are {', '.join(SIDES)}")
    columns = inputs.get("columns", ["label", "multiplier", "notional_usd", "pv_usd"])
    trades = [dict(zip(columns, row, strict=True)) for row in inputs["trades"]]
    found = schedule_margin(
        [one["notional_usd"] for one in trades],
        [one["multiplier"] for one in trades],
        [SIDES[inputs["side"]] * one["pv_usd"] for one in trades],
    )
    numbers = asdict(found)
    names = ("gross_im", "gross_rc", "net_rc", "ngr", "schedule_im")
    return dict(zip(names, numbers.values(), strict=True))


def _liquidation_price(inputs: Inputs, _: Tables) -> Numbers:
    found = cross_margin_liquidation_price(
        inputs["equity"],
        inputs["mark"],
        inputs["size"],
        inputs["mmr"],
        inputs.get("other_maintenance", 0.0),
    )
    return {"liquidation_price": float(found.price), "side": int(found.side)}


def _okx_depeg(inputs: Inputs, _: Tables) -> Numbers:
    upper, rate = zip(*inputs["tiers"], strict=True)
    return {"mr9_usd": float(marginal_charge(inputs["hedged_usd"], upper, rate))}


METHODS: dict[str, Method] = {
    "bcbs_schedule_im": _schedule,
    "cross_margin_liquidation_price": _liquidation_price,
    "okx_mr9": _okx_depeg,
}
