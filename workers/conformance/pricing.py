"""Option prices and volatility curves."""

import numpy as np

from risk.pricing import black76, black_scholes_merton
from risk.surface import svi
from workers.conformance.method import Inputs, Method, Numbers, Tables

YEAR_SECONDS = 365 * 86_400
GREEKS = (
    *("value", "delta", "gamma", "vega", "theta", "theta_per_day"),
    *("rho", "dividend_rho", "elasticity"),
)


def _is_call(inputs: Inputs) -> bool:
    kind = inputs["type"]
    if kind not in ("call", "put"):
        raise ValueError(f"type is {kind!r}; allowed are 'call' and 'put'")
    return bool(kind == "call")


def _black76(inputs: Inputs, _: Tables) -> Numbers:
    years = inputs["sec_to_expiry"] / inputs.get("year_seconds", YEAR_SECONDS)
    terms = (inputs["forward"], inputs["strike"], inputs["vol"], years)
    discount = inputs.get("discount", 1.0)
    return {
        "call": discount * float(black76.black76(*terms, True)),
        "put": discount * float(black76.black76(*terms, False)),
        "call_delta_undiscounted": float(black76.delta(*terms, True)),
        "put_delta_undiscounted": float(black76.delta(*terms, False)),
    }


def _merton_terms(inputs: Inputs) -> tuple[float, ...]:
    return tuple(inputs[key] for key in ("spot", "strike", "rate", "dividend", "vol", "t"))


def _black_scholes_merton(inputs: Inputs, _: Tables) -> Numbers:
    spot, strike, rate, dividend, volatility, years = _merton_terms(inputs)
    kind = _is_call(inputs)
    value = black_scholes_merton.value(spot, strike, rate, dividend, volatility, years, kind)
    return {"value": float(value)}


def _black_scholes_merton_greeks(inputs: Inputs, _: Tables) -> Numbers:
    spot, strike, rate, dividend, volatility, years = _merton_terms(inputs)
    kind = _is_call(inputs)
    greeks = black_scholes_merton.greeks(spot, strike, rate, dividend, volatility, years, kind)
    numbers = {name: float(getattr(greeks, name)) for name in GREEKS}
    if inputs["greek"] not in numbers:
        raise ValueError(f"greek is {inputs['greek']!r}; allowed are {', '.join(GREEKS)}")
    return numbers | {"value": numbers[inputs["greek"]]}


def _svi_raw(inputs: Inputs, _: Tables) -> Numbers:
    parameters = np.array([float(inputs[name]) for name in svi.PARAMETERS])
    volatility, log_moneyness = svi.clipped_volatility(
        inputs["strike"], inputs["forward"], inputs["tau"], parameters
    )
    return {"vol": float(volatility), "k_clipped": float(log_moneyness)}


METHODS: dict[str, Method] = {
    "black76": _black76,
    "black_scholes_merton": _black_scholes_merton,
    "black_scholes_merton_greeks": _black_scholes_merton_greeks,
    "svi_raw": _svi_raw,
}
