"""How good a surface is: what was fitted, what it allows, and its error on every mark."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from risk.pricing.implied_volatility import Status
from risk.surface.calibration import FEWEST_QUOTES
from risk.surface.chain import FITTED, FLAT, INTERPOLATED
from risk.surface.svi import PARAMETERS
from storage.market import Market
from workers.chains import OptionChain

Array = NDArray[np.float64]

QUANTILES = (0.5, 0.9, 0.99, 1.0)
MONEYNESS = (-3.0, -2.0, -1.0, 1.0, 2.0, 3.0)
"""Edges, in standard deviations, of the groups by which errors are reported."""

_FRACTION = {"units": "1"}
_USD = {"units": "USD"}


def surface_quality(market: Market, chains: Mapping[str, OptionChain]) -> xr.Dataset:
    """Return the quality of every expiry of every chain, one row an expiry.

    ``mark_error`` (expiry, quantile) are quantiles of the absolute error of the surface's price
    against the mark, as a fraction of the forward; ``mark_error_all`` (quantile) and
    ``mark_error_by_moneyness`` (moneyness, quantile) are of all quotes together.
    ``calendar_gain`` is against the fitted expiry before, over the log-moneyness checked.
    """
    rows = [row for chain in chains.values() for row in _expiry_rows(chain)]
    errors = [
        (np.abs(chain.fit.mark_error), _deviations(chain))
        for chain in chains.values()
        if chain.fit.surface is not None
    ]
    error = np.concatenate([part for part, _ in errors]) if errors else np.zeros(0)
    deviation = np.concatenate([part for _, part in errors]) if errors else np.zeros(0)
    group = np.digitize(deviation, MONEYNESS)
    by_group = np.array([_quantiles(error[group == g]) for g in range(len(MONEYNESS) + 1)])
    counts = np.bincount(group, minlength=len(MONEYNESS) + 1)
    data = {
        name: ("expiry", np.array([row[name] for row in rows], dtype=dtype), attributes)
        for name, (dtype, attributes) in _EXPIRY_VARIABLES.items()
    }
    parameters = np.array([row["parameters"] for row in rows]).reshape(-1, len(PARAMETERS))
    per_expiry = np.array([row["mark_error"] for row in rows]).reshape(-1, len(QUANTILES))
    return xr.Dataset(
        {
            **data,
            "parameters": (("expiry", "parameter"), parameters, {"long_name": "raw SVI"}),
            "mark_error": (("expiry", "quantile"), per_expiry, _FRACTION),
            "mark_error_all": ("quantile", _quantiles(error), _FRACTION),
            "mark_error_by_moneyness": (("moneyness", "quantile"), by_group, _FRACTION),
            "quotes_by_moneyness": ("moneyness", counts, {"long_name": "number of quotes"}),
        },
        coords={
            "expiry": np.array([row["expiry"] for row in rows], dtype="datetime64[s]"),
            "underlying": ("expiry", np.array([row["underlying"] for row in rows], dtype=object)),
            "parameter": np.array(PARAMETERS, dtype=object),
            "quantile": np.array(QUANTILES),
            "moneyness": np.array(_group_names(), dtype=object),
        },
        attrs={
            "as_of": market.as_of.isoformat(),
            "outside_quoted_strikes": "the wings of the SVI curve go on",
            "outside_quoted_expiries": "volatility of the first or last expiry",
            "moneyness": "ln(strike/forward) in standard deviations of the surface",
            "findings": [finding for row in rows for finding in _findings(row)],
        },
    )


_EXPIRY_VARIABLES: dict[str, tuple[str, dict[str, str]]] = {
    "method": ("O", {"long_name": "svi, interpolated (too few quotes) or flat"}),
    "time_to_expiry": ("f8", {"units": "year"}),
    "forward": ("f8", _USD),
    "parity_forward": (
        "f8",
        {"units": "USD", "long_name": "forward by put-call parity, 0 if unknown"},
    ),
    "parity_difference": (
        "f8",
        {"units": "1", "long_name": "parity forward over forward, less one"},
    ),
    "parity_discount": ("f8", {"units": "1", "long_name": "discount factor by put-call parity"}),
    "quotes": ("i8", {"long_name": "number of quotes"}),
    "usable_quotes": ("i8", {"long_name": "quotes with an implied volatility"}),
    "fitted_quotes": ("i8", {"long_name": "strikes fitted"}),
    "rmse_volatility": (
        "f8",
        {"units": "1", "long_name": "root mean square error of fitted volatilities"},
    ),
    "butterfly_free": ("?", {"long_name": "no butterfly arbitrage"}),
    "calendar_free": ("?", {"long_name": "no calendar arbitrage against the expiry before"}),
    "least_density": ("f8", {"units": "1", "long_name": "least value of Durrleman's g"}),
    "calendar_gain": ("f8", {"units": "1", "long_name": "least gain in total variance"}),
    "lowest_log_moneyness": ("f8", {"units": "1", "long_name": "lowest fitted ln(strike/forward)"}),
    "highest_log_moneyness": (
        "f8",
        {"units": "1", "long_name": "highest fitted ln(strike/forward)"},
    ),
}


def quote_quality(chains: Mapping[str, OptionChain]) -> xr.Dataset:
    """Return implied and model volatility and the error of every quote, one row a quote."""
    parts = list(chains.values())

    def joined(values: list[NDArray[np.generic]], dtype: str) -> NDArray[np.generic]:
        return np.concatenate([np.asarray(v, dtype=dtype) for v in [np.zeros(0, dtype), *values]])

    def text(name: str) -> NDArray[np.generic]:
        return joined([chain.table[name].to_numpy(zero_copy_only=False) for chain in parts], "O")

    expiry = joined([chain.expiries[chain.quotes.expiry] for chain in parts], "datetime64[s]")
    return xr.Dataset(
        {
            "strike": ("quote", joined([c.quotes.strike for c in parts], "f8"), _USD),
            "deviation": ("quote", joined([_deviations(c) for c in parts], "f8"), _FRACTION),
            "implied_volatility": (
                "quote",
                joined([c.fit.implied for c in parts], "f8"),
                _FRACTION,
            ),
            "implied_status": ("quote", joined([c.fit.status for c in parts], "i1")),
            "model_volatility": ("quote", joined([c.fit.model for c in parts], "f8"), _FRACTION),
            "mark_error": ("quote", joined([c.fit.mark_error for c in parts], "f8"), _FRACTION),
        },
        coords={
            "instrument": ("quote", text("instrument")),
            "underlying": ("quote", text("underlying")),
            "option_type": ("quote", text("option_type")),
            "expiry": ("quote", expiry),
        },
    )


def _expiry_rows(chain: OptionChain) -> list[dict[str, Any]]:
    """Return one mapping an expiry; what was not fitted is 0, and its checks are those used."""
    fit, rows = chain.fit, []
    times = [] if fit.surface is None else fit.surface.time_to_expiry.tolist()
    usable = fit.status == Status.OK
    for row, instant in enumerate(chain.expiries):
        here = chain.quotes.expiry == row
        time, forward = float(chain.quotes.time_to_expiry[row]), float(fit.forward[row])
        known = fit.parities[row]
        volatility_error = (fit.model - fit.implied)[here & fit.fitted]
        place = times.index(time) if time in times else None
        rows.append(
            {
                "expiry": instant,
                "underlying": chain.underlying,
                "method": fit.method[row],
                "time_to_expiry": time,
                "forward": forward,
                "parity_forward": known.forward,
                "parity_difference": known.forward / forward - 1.0 if known.forward else 0.0,
                "parity_discount": known.discount,
                "quotes": int(here.sum()),
                "usable_quotes": int((here & usable).sum()),
                "fitted_quotes": int((here & fit.fitted).sum()),
                "rmse_volatility": float(np.sqrt(np.mean(volatility_error**2)))
                if len(volatility_error)
                else 0.0,
                "mark_error": _quantiles(np.abs(fit.mark_error[here])),
                **(_NO_CURVE if place is None else _curve(chain, place)),
            }
        )
    return rows


_NO_CURVE: dict[str, Any] = {
    "parameters": np.zeros(len(PARAMETERS)),
    "butterfly_free": True,  # what lies between two curves without arbitrage has none
    "calendar_free": True,
    "least_density": 0.0,
    "calendar_gain": 0.0,
    "lowest_log_moneyness": 0.0,
    "highest_log_moneyness": 0.0,
}


def _findings(row: Mapping[str, Any]) -> list[str]:
    """Return what a reader of this expiry's volatility must know, each with its code."""
    name = f"{row['underlying']} {str(row['expiry'])[:10]}"
    found = []
    if row["method"] != FITTED:
        found.append(
            f"SURFACE_THIN {name}: {row['usable_quotes']} usable quotes, "
            f"{FEWEST_QUOTES} strikes are needed for a curve; {_INSTEAD[row['method']]}"
        )
    if not row["butterfly_free"]:
        found.append(f"ARB_BUTTERFLY {name}: least density factor {row['least_density']:.3g}")
    if not row["calendar_free"]:
        found.append(f"ARB_CALENDAR {name}: total variance falls by {-row['calendar_gain']:.3g}")
    return found


_INSTEAD = {
    INTERPOLATED: "volatility is taken from the expiries beside it",
    FLAT: "one volatility serves every strike",
}


def _curve(chain: OptionChain, place: int) -> dict[str, Any]:
    surface, check = chain.fit.surface, chain.fit.check
    assert surface is not None
    assert check is not None
    return {
        "parameters": surface.parameters[place],
        "butterfly_free": bool(check.butterfly_free[place]),
        "calendar_free": bool(check.calendar_free[place]),
        "least_density": float(check.density[place]),
        "calendar_gain": float(check.calendar[place - 1]) if place else 0.0,
        "lowest_log_moneyness": float(surface.lowest[place]),
        "highest_log_moneyness": float(surface.highest[place]),
    }


def _deviations(chain: OptionChain) -> Array:
    """Return ln(strike/forward) in standard deviations of the surface, (quote,)."""
    quotes = chain.quotes
    spread = chain.fit.model * np.sqrt(quotes.time_to_expiry[quotes.expiry])
    moneyness = np.log(quotes.strike / quotes.forward)
    return np.asarray(moneyness / np.where(spread > 0.0, spread, 1.0))


def _quantiles(error: Array) -> Array:
    """Return ``QUANTILES`` of errors, zeros of none."""
    return np.quantile(error, QUANTILES) if len(error) else np.zeros(len(QUANTILES))


def _group_names() -> list[str]:
    inner = [f"{low:+g} to {high:+g}" for low, high in pairwise(MONEYNESS)]
    return [f"below {MONEYNESS[0]:+g}", *inner, f"above {MONEYNESS[-1]:+g}"]
