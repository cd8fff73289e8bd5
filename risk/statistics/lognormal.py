"""Value at risk and expected shortfall of a lognormal price, and the margin built on them.

With X = exp(mu + s Z), Z standard normal and λ the probability of the tail, z = Φ⁻¹(λ):

    long  (X)    VaR = -exp(mu + s z)      ES = -exp(mu + s²/2) Φ(z - s) / λ
    short (-X)   VaR =  exp(mu - s z)      ES =  exp(mu + s²/2) (1 - Φ(-z - s)) / λ

Source: vegaprotocol/quant, riskmeasures; the formulas are those of any text on lognormal risk.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, ndtri

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class RiskFactors:
    """Margin of a unit of notional of a forward position, by its side; fractions."""

    long: float
    short: float


@dataclass(frozen=True, slots=True)
class MarginLevels:
    """Margin levels of one position, whole units of the settlement asset, rising."""

    maintenance: int
    search: int
    initial: int
    release: int


def value_at_risk(mu: ArrayLike, sigma: ArrayLike, tail: ArrayLike, is_long: ArrayLike) -> Array:
    """Return minus the quantile at probability ``tail`` of X (long) or of -X (short).

    All arguments broadcast; ``tail`` is the probability of the tail, such as 0.01.

    Raises:
        ValueError: ``sigma`` is negative or ``tail`` is not between 0 and 1.

    >>> value_at_risk(0.0, 0.1, 0.01, True).round(11).item()
    -0.79244293082
    """
    mu, sigma, tail = _checked(mu, sigma, tail)
    quantile = ndtri(tail)
    return np.asarray(
        np.where(is_long, -np.exp(mu + sigma * quantile), np.exp(mu - sigma * quantile))
    )


def expected_shortfall(
    mu: ArrayLike, sigma: ArrayLike, tail: ArrayLike, is_long: ArrayLike
) -> Array:
    """Return minus the mean of X (long) or of -X (short) in its worst ``tail`` part.

    Raises:
        ValueError: ``sigma`` is negative or ``tail`` is not between 0 and 1.

    >>> expected_shortfall(0.0, 0.1, 0.01, True).round(11).item()
    -0.76640460826
    """
    mu, sigma, tail = _checked(mu, sigma, tail)
    quantile = ndtri(tail)
    mean = np.exp(mu + 0.5 * sigma * sigma)
    low, high = -mean * ndtr(quantile - sigma), mean * ndtr(quantile + sigma)
    return np.asarray(np.where(is_long, low, high) / tail)


def forward_risk_factors(tail: float, years: float, mu: float, sigma: float) -> RiskFactors:
    """Return the risk factors of a forward whose price is lognormal over a horizon.

    The log-return has mean (mu - sigma²/2) years and deviation sigma √years; a long position can
    lose its expected shortfall plus the price paid, a short one its shortfall less it.

    Raises:
        ValueError: a parameter is negative or ``tail`` is not between 0 and 1.

    >>> round(forward_risk_factors(0.01, 1.902587519025875e-06, 0.0, 1.5).long, 11)
    0.0055011138
    """
    if years < 0.0:
        raise ValueError(f"years is {years}; allowed is 0 or more")
    drift, deviation = (mu - 0.5 * sigma * sigma) * years, sigma * math.sqrt(years)
    return RiskFactors(
        long=float(expected_shortfall(drift, deviation, tail, True)) + 1.0,
        short=float(expected_shortfall(drift, deviation, tail, False)) - 1.0,
    )


def margin_levels(
    notional: float, risk_factor: float, factors: tuple[float, float, float]
) -> MarginLevels:
    """Return the levels: maintenance is notional times risk factor, rounded up to whole units.

    ``factors`` are those of search, initial and release, each times maintenance, rounded down.

    Source: vegaprotocol/vega, features/verified/Margin-Levels.feature.

    Raises:
        ValueError: the factors fall, or an amount is negative.

    >>> margin_levels(400.0, 0.8007282079881541, (1.5, 2.0, 3.0))
    MarginLevels(maintenance=321, search=481, initial=642, release=963)
    """
    if notional < 0.0 or risk_factor < 0.0:
        raise ValueError(f"notional {notional} and risk factor {risk_factor} must be 0 or more")
    if not 1.0 <= factors[0] <= factors[1] <= factors[2]:
        raise ValueError(f"factors of search, initial, release are {factors}; must rise from 1")
    maintenance = math.ceil(notional * risk_factor)
    search, initial, release = (math.floor(maintenance * factor) for factor in factors)
    return MarginLevels(maintenance, search, initial, release)


def _checked(mu: ArrayLike, sigma: ArrayLike, tail: ArrayLike) -> tuple[Array, Array, Array]:
    mu, sigma, tail = (np.asarray(one, dtype=np.float64) for one in (mu, sigma, tail))
    if not np.isfinite(mu).all() or not ((sigma >= 0.0) & (sigma < np.inf)).all():
        raise ValueError(f"mu {mu} must be finite and sigma {sigma} finite and 0 or more")
    if not ((tail > 0.0) & (tail < 1.0)).all():
        raise ValueError(f"tail is {tail}; allowed is a probability between 0 and 1")
    return mu, sigma, tail
