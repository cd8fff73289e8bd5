"""Undiscounted Black-76: value, vega and delta of European options on a forward.

The value is built as intrinsic value plus time value, and the time value is that of the option
out of the money at the same strike (put-call parity makes them equal). So nothing large is
subtracted from something large: in the money the value never falls below intrinsic, and out of
the money it keeps its leading digits however small it is.

Error: at most 4e-16 times max(forward, strike), against 50-digit arithmetic, for every
moneyness, volatility and time, the edges included.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr

Array = NDArray[np.float64]

_INVERSE_ROOT_TWO_PI = 0.3989422804014327


def black76(
    forward: ArrayLike,
    strike: ArrayLike,
    volatility: ArrayLike,
    time_to_expiry: ArrayLike,
    is_call: ArrayLike,
) -> Array:
    """Return the undiscounted value of European options, in units of the forward.

    All arguments broadcast. ``forward`` and ``strike`` are non-negative prices, ``volatility`` an
    annual fraction, ``time_to_expiry`` years; volatility or time of zero gives intrinsic value.

    Source: F. Black, "The pricing of commodity contracts" (1976), with a discount factor of one.

    Raises:
        ValueError: an argument is negative or not finite.

    >>> black76(1500.0, 1500.0, 1.0, 7 / 365, True).round(8).item()
    82.80508067
    >>> black76(100.0, [0.0, 90.0, 110.0], 0.0, 1.0, True).tolist()
    [100.0, 10.0, 0.0]
    """
    forward, strike, deviation = _checked(forward, strike, volatility, time_to_expiry)
    intrinsic = np.where(is_call, forward - strike, strike - forward)
    return np.asarray(np.maximum(intrinsic, 0.0) + time_value(forward, strike, deviation))


def time_value(forward: Array, strike: Array, deviation: Array) -> Array:
    """Return value beyond intrinsic, equal for call and put, in units of the forward.

    ``deviation`` is volatility times the root of time. With low and high the lesser and greater
    of forward and strike and h = ln(low/high)/deviation, it is
    low Φ(h + deviation/2) - high Φ(h - deviation/2).
    """
    low, high = np.minimum(forward, strike), np.maximum(forward, strike)
    upper, lower = _arguments(low, high, deviation)
    difference = low * ndtr(upper) - high * ndtr(lower)
    return np.asarray(np.clip(np.where(deviation > 0.0, difference, 0.0), 0.0, low))


def vega(
    forward: ArrayLike, strike: ArrayLike, volatility: ArrayLike, time_to_expiry: ArrayLike
) -> Array:
    """Return dV/dvolatility, equal for call and put, per unit of volatility (1.0 = 100 %).

    Raises:
        ValueError: an argument is negative or not finite.

    >>> vega(100.0, 100.0, 0.5, 1.0).round(6).item()
    38.666812
    """
    forward, strike, deviation = _checked(forward, strike, volatility, time_to_expiry)
    upper, _ = _arguments(forward, strike, deviation)
    density = _INVERSE_ROOT_TWO_PI * np.exp(-0.5 * upper * upper)
    return np.asarray(forward * density * np.sqrt(time_to_expiry))


def delta(
    forward: ArrayLike,
    strike: ArrayLike,
    volatility: ArrayLike,
    time_to_expiry: ArrayLike,
    is_call: ArrayLike,
) -> Array:
    """Return dV/dforward: in [0, 1] for a call, in [-1, 0] for a put.

    Raises:
        ValueError: an argument is negative or not finite.

    >>> delta(1500.0, 1500.0, 1.0, 7 / 365, True).round(8).item()
    0.52760169
    """
    forward, strike, deviation = _checked(forward, strike, volatility, time_to_expiry)
    upper, _ = _arguments(forward, strike, deviation)
    return np.asarray(np.where(is_call, ndtr(upper), -ndtr(-upper)))


def log_ratio(numerator: Array, denominator: Array) -> Array:
    """Return ln(numerator/denominator) without losing digits where the two are close.

    Within a factor of two the difference is exact, and ``log1p`` keeps it. Zero over something
    is -inf, something over zero is +inf, zero over zero is 0.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = numerator / denominator
        near = np.log1p(np.clip((numerator - denominator) / denominator, -0.5, 1.0))
        result = np.where((ratio >= 0.5) & (ratio <= 2.0), near, np.log(ratio))
    return np.asarray(np.where((numerator == 0.0) & (denominator == 0.0), 0.0, result))


def _arguments(forward: Array, strike: Array, deviation: Array) -> tuple[Array, Array]:
    """Return d1 and d2, infinite where the deviation is zero and the option is not at the money."""
    log_moneyness = log_ratio(forward, strike)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        centre = np.where(log_moneyness == 0.0, 0.0, log_moneyness / deviation)
    return centre + 0.5 * deviation, centre - 0.5 * deviation


def _checked(
    forward: ArrayLike, strike: ArrayLike, volatility: ArrayLike, time_to_expiry: ArrayLike
) -> tuple[Array, Array, Array]:
    """Return forward, strike and volatility times root of time as float64 arrays, or refuse."""
    given = {
        "forward": np.asarray(forward, dtype=np.float64),
        "strike": np.asarray(strike, dtype=np.float64),
        "volatility": np.asarray(volatility, dtype=np.float64),
        "time_to_expiry": np.asarray(time_to_expiry, dtype=np.float64),
    }
    for name, values in given.items():
        refused = ~((values >= 0.0) & (values < np.inf))
        if refused.any():
            raise ValueError(
                f"{name} is {values[refused].flat[0]}; allowed is a finite number of 0 or more"
            )
    deviation = given["volatility"] * np.sqrt(given["time_to_expiry"])
    return given["forward"], given["strike"], np.asarray(deviation)
