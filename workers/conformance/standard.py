"""Standard margin: published portfolios through the engine that margins a book."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from risk.instruments import Instruments, Kind, MarketState, Settlement
from risk.revaluation import VolatilityTenor, contract_value
from risk.standard import (
    StandardMargin,
    StandardSpec,
    inverse_payoff,
    settling_forward,
    standard_margin,
)
from workers.conformance.method import Inputs, Method, Numbers, Tables, table

_YEAR_SECONDS = 365 * 86_400
_LEAST_SECONDS = 1e-18  # at expiry an option is worth its intrinsic value
_CASH = -1
_COINS = ("ETH", "BTC")


@dataclass(frozen=True, slots=True)
class _Leg:
    """An option position as a vector states it; forward is the one it is priced on."""

    coin: int
    strike: float
    is_call: bool
    quantity: float
    volatility: float
    forward: float
    years: float


def _spec(rule: Mapping[str, Any]) -> StandardSpec:
    """Return a rule book of one option rule, with the constants of a vector."""
    document = {
        "name": "vector",
        "version": "1",
        "effective": "2024-01-01",
        "title": "constants of a vector",
        "venue": "vector",
        "venue_number": True,
        "sources": ["the vector"],
        "not_verified": [],
        "rules": [
            {
                "kind": "option",
                "settlement": "linear",
                "form": "out_of_the_money",
                "moneyness": "index",
                "source": "the vector",
                **rule,
            }
        ],
    }
    return StandardSpec.model_validate(document)


def _instruments(legs: list[_Leg]) -> Instruments:
    size = len(legs)
    return Instruments(
        kind=np.full(size, Kind.OPTION, np.int8),
        settlement=np.full(size, Settlement.LINEAR, np.int8),
        underlying=np.array([leg.coin for leg in legs], np.int16),
        settlement_underlying=np.full(size, _CASH, np.int16),
        multiplier=np.ones(size),
        strike=np.array([leg.strike for leg in legs]),
        is_call=np.array([leg.is_call for leg in legs], np.bool_),
        time_to_expiry=np.array([leg.years for leg in legs]),
    )


def _margin_by_coin(
    legs: list[_Leg], index: list[float], spec: StandardSpec, value: list[float] | None = None
) -> StandardMargin:
    """Margin one account for each coin, which holds the legs in that coin.

    ``value`` are the marks; without them the options are priced.
    """
    legs = sorted(legs, key=lambda leg: leg.coin)
    held = [sum(leg.coin == coin for leg in legs) for coin in range(len(index))]
    instruments = _instruments(legs)
    market = MarketState(
        index=np.array(index, dtype=np.float64),
        forward=np.array([leg.forward for leg in legs]),
        volatility=np.array([leg.volatility for leg in legs]),
        priced=np.ones(len(legs), np.bool_),
    )
    marks = contract_value(instruments, market) if value is None else np.array(value, np.float64)
    return standard_margin(
        np.concatenate([[0], np.cumsum(held)]).astype(np.int64),
        np.arange(len(legs), dtype=np.int32),
        np.array([leg.quantity for leg in legs]),
        instruments,
        market,
        marks,
        spec,
    )


def _derive_leg(option: Mapping[str, Any], inputs: Inputs) -> _Leg:
    """Return a leg priced on the forward of its settlement average, once that has begun."""
    if option["underlying"] not in _COINS:
        raise ValueError(f"underlying {option['underlying']!r}; allowed are {list(_COINS)}")
    coin = option["underlying"].lower()
    forward = np.array([float(option["forward"])])
    if option["sec_to_expiry"] < 1800:
        average = np.array([float(inputs.get(f"settlement_twap_{coin}", 0.0))])
        share = np.array([float(inputs.get(f"percent_fixed_{coin}", 0.0))])
        forward = settling_forward(forward, average, share)
    return _Leg(
        coin=_COINS.index(option["underlying"]),
        strike=option["strike"],
        is_call=bool(option["call"]),
        quantity=option["qty"],
        volatility=option["vol"],
        forward=forward.item(),
        years=max(option["sec_to_expiry"], _LEAST_SECONDS) / _YEAR_SECONDS,
    )


def _derive_srm(inputs: Inputs, tables: Tables) -> Numbers:
    """Return net margins, which are what is left after the requirement: not above zero."""
    params = table(inputs, tables, "params_ref")
    spec = _spec(
        {
            "initial_maximum": params["max_spot"],
            "initial_minimum": params["min_spot"],
            "call_maintenance": params["mm_call"],
            "put_maintenance": params["mm_put_spot"],
            "put_maintenance_of_mark": params["mm_put_mtm"],
            "put_initial_over_maintenance": params["mm_offset"],
            "relief": "maximum_loss",
            "unpaired_call_initial": params["unpaired_im"],
            "unpaired_call_maintenance": params["unpaired_mm"],
        }
    )
    legs = [_derive_leg(option, inputs) for option in inputs["options"]]
    index = [inputs[f"spot_{coin.lower()}"] for coin in _COINS]
    margin = _margin_by_coin(legs, index, spec)
    numbers = {}
    for row, coin in enumerate(_COINS):
        numbers[f"{coin}OptionMM"] = 0.0 - margin.maintenance[row].item()
        numbers[f"{coin}OptionIM"] = 0.0 - margin.initial[row].item()
    return numbers


def _bybit(inputs: Inputs, _: Tables) -> Numbers:
    """The initial margin takes the dearer of entry and mark, the maintenance margin the mark."""
    rule = {
        "initial_maximum": inputs["im_hi"],
        "initial_minimum": inputs["im_lo"],
        "call_maintenance": inputs["mm_factor"],
        "put_maintenance": inputs["mm_factor"],
        "call_maintenance_of_mark": inputs["mm_factor"],
        "put_maintenance_of_mark": inputs["mm_factor"],
        "liquidation_fee": inputs["liq_fee"],
    }
    index, mark = float(inputs["index"]), float(inputs["mark"])
    leg = _Leg(0, inputs["strike"], _is_call(inputs), inputs["qty"], 0.0, index, 0.0)
    at_mark = _margin_by_coin([leg], [index], _spec(rule), [mark])
    dearer = max(mark, float(inputs.get("entry", mark)))
    initial = _margin_by_coin([leg], [index], _spec(rule), [dearer]).initial.item()
    maintenance = at_mark.maintenance.item()
    return {"position_mm": maintenance, "position_im": max(initial, maintenance)}


def _inverse_payoff(inputs: Inputs, _: Tables) -> Numbers:
    strike, delivery = float(inputs["strike"]), float(inputs["delivery_price"])
    if not delivery > 0.0:
        raise ValueError(f"delivery_price is {delivery}; allowed is above 0")
    coins = inverse_payoff(np.array(strike), np.array(delivery), np.array(_is_call(inputs))).item()
    gain = delivery - strike if _is_call(inputs) else strike - delivery
    numbers = {"payoff_btc": coins, "intrinsic_usd": max(gain, 0.0)}
    if "premium_btc" in inputs:
        numbers["profit_btc"] = coins - float(inputs["premium_btc"])
    return numbers


def _is_call(inputs: Inputs) -> bool:
    if inputs["type"] not in ("call", "put"):
        raise ValueError(f"type is {inputs['type']!r}; allowed are 'call' and 'put'")
    return bool(inputs["type"] == "call")


def _legacy_shock(inputs: Inputs, _: Tables) -> Numbers:
    """A shock at 30 days carried to other tenors by a power of 30 / days."""
    tenor = VolatilityTenor(
        reference_days=30.0,
        short_power=(power := _power(inputs)),
        long_power=power,
        floor_days=1e-9,
    )
    scale = tenor.scale(np.array([float(inputs["days"]) / 365.0])).item()
    return {"iv_change": float(inputs["base"]) * scale}


def _power(inputs: Inputs) -> float:
    rule = re.sub(r"\s", "", str(inputs.get("rule", "sqrt(30/days)*base")))
    if rule == "sqrt(30/days)*base":
        return 0.5
    match = re.fullmatch(r"\(30/days\)(?:\^|\*\*)([0-9.]+)\*base", rule)
    if match is None:
        raise ValueError(
            f"rule is {rule!r}; allowed are 'sqrt(30/days)*base' and '(30/days)^0.30*base'"
        )
    return float(match.group(1))


METHODS: dict[str, Method] = {
    "bybit_standard_option_margin": _bybit,
    "deribit_pm_legacy_vol_shock": _legacy_shock,
    "derive_srm": _derive_srm,
    "inverse_option_payoff": _inverse_payoff,
}
