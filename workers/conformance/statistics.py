"""Closed forms of risk: lognormal prices, quadratic portfolios."""

from dataclasses import asdict

from risk.statistics import delta_gamma, lognormal
from workers.conformance.method import Inputs, Method, Numbers, Tables


def _lognormal(inputs: Inputs, _: Tables) -> Numbers:
    side = str(inputs["side"]).split(maxsplit=1)[0]
    if side not in ("long", "short"):
        raise ValueError(f"side is {inputs['side']!r}; it must begin with 'long' or 'short'")
    terms = (inputs["mu"], inputs["sigma"], inputs["level"], side == "long")
    return {
        "var": float(lognormal.value_at_risk(*terms)),
        "es": float(lognormal.expected_shortfall(*terms)),
    }


def _vega_risk_factor(inputs: Inputs, _: Tables) -> Numbers:
    return asdict(
        lognormal.forward_risk_factors(inputs["lam"], inputs["tau"], inputs["mu"], inputs["sigma"])
    )


def _vega_margin_levels(inputs: Inputs, _: Tables) -> Numbers:
    volume = inputs["volume"]
    named = [key for key in ("risk_factor_long", "risk_factor_short") if key in inputs]
    # A file that gives one factor gives that of its position, whose volume may carry no sign.
    factor = inputs[named[0] if len(named) == 1 else f"risk_factor_{_side(volume)}"]
    search, initial, release = inputs["search_initial_release_factors"]
    levels = lognormal.margin_levels(
        abs(volume) * inputs["mark"], factor, (search, initial, release)
    )
    return asdict(levels)


def _side(volume: float) -> str:
    return "short" if volume < 0 else "long"


def _cornish_fisher(inputs: Inputs, _: Tables) -> Numbers:
    portfolio = delta_gamma.quadratic(inputs["delta"], inputs["gamma"], inputs["cov"])
    return {"var_cornish_fisher": delta_gamma.cornish_fisher_quantile(portfolio, inputs["p"])}


def _exact(inputs: Inputs, _: Tables) -> Numbers:
    portfolio = delta_gamma.quadratic(inputs["delta"], inputs["gamma"], inputs["cov"])
    quantile = delta_gamma.exact_quantile(portfolio, inputs["p"])
    return {"var_exact": quantile, "var_saddlepoint": quantile}


METHODS: dict[str, Method] = {
    "lognormal_var_es": _lognormal,
    "vega_risk_factor": _vega_risk_factor,
    "vega_margin_levels": _vega_margin_levels,
    "delta_gamma_var_cornish_fisher": _cornish_fisher,
    "delta_gamma_var_saddlepoint": _exact,
}
