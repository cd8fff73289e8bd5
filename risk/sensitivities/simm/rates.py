"""Interest rate margin: delta, vega and curvature, a bucket for each currency."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from risk.sensitivities.aggregation import (
    across_buckets,
    agreement,
    concentration,
    curvature_margin,
    within_bucket,
)
from risk.sensitivities.simm.crif import Sensitivity
from risk.sensitivities.simm.parameters import (
    MILLION,
    InterestRate,
    RateHorizon,
    threshold_of,
)

Array = NDArray[np.float64]

_GROUP_BUCKET = {"regular": "1", "low": "2", "high": "3"}
_TENOR_DAYS = {"w": 7.0, "m": 365.0 / 12.0, "y": 365.0}


@dataclass(frozen=True, slots=True)
class _Curve:
    """The net sensitivities of one currency: by tenor and sub-curve, then inflation, then basis."""

    tenor: NDArray[np.int64]  # -1 for inflation and basis
    sub_curve: NDArray[np.object_]
    amount: Array


def rates_margin(
    rows: Sequence[Sensitivity], parameters: InterestRate, days: int
) -> dict[str, float]:
    """Return Delta, Vega and Curvature of interest rates, each in currency and 0 or more.

    Raises:
        ValueError: a tenor, bucket or horizon that the parameters do not have.
    """
    horizon = _horizon(parameters, days)
    curves = _by_currency(
        [row for row in rows if row.risk_type != "Risk_IRVol"], parameters, check_bucket=True
    )
    volatilities = _by_currency(
        [row for row in rows if row.risk_type == "Risk_IRVol"], parameters, check_bucket=False
    )
    return {
        "Delta": _delta(curves, parameters, horizon),
        "Vega": _vega(volatilities, parameters, horizon),
        "Curvature": _curvature(volatilities, parameters, horizon),
    }


def _horizon(parameters: InterestRate, days: int) -> RateHorizon:
    for horizon in parameters.horizons:
        if horizon.days == days:
            return horizon
    known = [horizon.days for horizon in parameters.horizons]
    raise ValueError(f"a horizon of {days} days has no weights; the parameters have {known}")


def _by_currency(
    rows: Sequence[Sensitivity], parameters: InterestRate, *, check_bucket: bool
) -> dict[str, _Curve]:
    net: dict[str, dict[tuple[int, str], float]] = defaultdict(lambda: defaultdict(float))
    for row in rows:
        if row.risk_type in ("Risk_Inflation", "Risk_XCcyBasis"):
            key = (-1, row.risk_type)
        elif row.label1 not in parameters.tenors:
            raise ValueError(
                f"{row.risk_type} {row.qualifier} has tenor {row.label1!r}; allowed are "
                f"{list(parameters.tenors)}"
            )
        else:
            key = (parameters.tenors.index(row.label1), row.label2)
            if check_bucket:
                _require_bucket(row, parameters)
        net[row.qualifier][key] += row.amount
    return {
        currency: _Curve(
            tenor=np.array([tenor for tenor, _ in factors], dtype=np.int64),
            sub_curve=np.array([curve for _, curve in factors], dtype=object),
            amount=np.array(list(factors.values())),
        )
        for currency, factors in sorted(net.items())
    }


def _require_bucket(row: Sensitivity, parameters: InterestRate) -> None:
    group = parameters.volatility.of(row.qualifier)
    if row.bucket and row.bucket != _GROUP_BUCKET[group]:
        raise ValueError(
            f"{row.risk_type} {row.qualifier} is in bucket {row.bucket!r}; its volatility is "
            f"{group}, and that is bucket {_GROUP_BUCKET[group]!r}"
        )


def _correlation(curve: _Curve, parameters: InterestRate) -> Array:
    """Return rho times phi of the factors of one currency, ``(factor, factor)``."""
    tenors = parameters.correlation()
    rate = curve.tenor >= 0
    both = np.logical_and.outer(rate, rate)
    same_curve = np.equal.outer(curve.sub_curve, curve.sub_curve).astype(np.bool_)
    rho = tenors[np.ix_(curve.tenor, curve.tenor)]
    rho = rho * np.where(same_curve, 1.0, parameters.sub_curve_correlation)
    basis = curve.sub_curve == "Risk_XCcyBasis"
    with_basis = np.logical_or.outer(basis, basis)
    other = np.where(with_basis, parameters.basis_correlation, parameters.inflation_correlation)
    rho = np.where(both, rho, np.where(same_curve & ~both, 1.0, other))
    np.fill_diagonal(rho, 1.0)
    return rho


def _delta(curves: dict[str, _Curve], parameters: InterestRate, horizon: RateHorizon) -> float:
    factor, margin, total = [], [], []
    for currency, curve in curves.items():
        basis = curve.sub_curve == "Risk_XCcyBasis"
        threshold = threshold_of(parameters.thresholds, currency).delta * MILLION
        # A basis is neither part of the concentration nor raised by it.
        concentrated = concentration(curve.amount[~basis].sum(), threshold)
        by_tenor = horizon.weights(parameters.volatility.of(currency))[curve.tenor]
        other = np.where(basis, horizon.basis, horizon.inflation)
        weight = np.where(curve.tenor >= 0, by_tenor, other)
        weighted = weight * curve.amount * np.where(basis, 1.0, concentrated)
        factor.append(float(concentrated))
        margin.append(within_bucket(weighted, _correlation(curve, parameters)))
        total.append(weighted.sum())
    gamma = parameters.currency_correlation * agreement(np.array(factor))
    return across_buckets(np.array(margin), np.array(total), gamma)


def _vega(curves: dict[str, _Curve], parameters: InterestRate, horizon: RateHorizon) -> float:
    factor, margin, total = [], [], []
    for currency, curve in curves.items():
        threshold = (threshold_of(parameters.thresholds, currency).vega or np.inf) * MILLION
        concentrated = float(concentration(curve.amount.sum(), threshold))
        weighted = horizon.vega * curve.amount * concentrated
        factor.append(concentrated)
        margin.append(within_bucket(weighted, _correlation(curve, parameters)))
        total.append(weighted.sum())
    gamma = parameters.currency_correlation * agreement(np.array(factor))
    return across_buckets(np.array(margin), np.array(total), gamma)


def _curvature(curves: dict[str, _Curve], parameters: InterestRate, horizon: RateHorizon) -> float:
    """Return curvature margin: vega scaled by 1/2 min(1, 1.4 horizons / expiry), over the ratio².

    The scaling turns volatility times vega into half gamma times the variance of the horizon.
    """
    scale = np.array([_scaling(tenor, horizon.days) for tenor in parameters.tenors])
    values = [scale[curve.tenor] * curve.amount for curve in curves.values()]
    margin = [
        within_bucket(value, _correlation(curve, parameters) ** 2)
        for value, curve in zip(values, curves.values(), strict=True)
    ]
    gamma = np.full((len(values), len(values)), parameters.currency_correlation**2)
    unscaled = curvature_margin(values, np.array(margin), gamma)
    return unscaled / horizon.historical_volatility_ratio**2


def _scaling(tenor: str, days: int) -> float:
    """Return 1/2 min(1, 14 days / expiry) for ten days, with 1.4 days for one day."""
    return 0.5 * min(1.0, 1.4 * days / (float(tenor[:-1]) * _TENOR_DAYS[tenor[-1]]))
