"""Raw SVI: the total variance of one expiry as a hyperbola in log-moneyness."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

PARAMETERS = ("a", "b", "rho", "m", "sigma")


def total_variance(log_moneyness: Array, parameters: Array) -> Array:
    """Return w(k) = a + b (rho (k - m) + sqrt((k - m)^2 + sigma^2)).

    ``log_moneyness`` is k = ln(strike/forward), (..., point); ``parameters`` are (..., 5) in the
    order of ``PARAMETERS``; the result is (..., point), variance times years (no unit).

    Source: J. Gatheral and A. Jacquier, "Arbitrage-free SVI volatility surfaces" (2014), raw form.

    >>> flat = np.array([0.04, 0.0, 0.0, 0.0, 0.1])
    >>> total_variance(np.array([-0.5, 0.0, 0.5]), flat).tolist()
    [0.04, 0.04, 0.04]
    """
    a, b, rho, m, sigma = np.moveaxis(parameters[..., None], -2, 0)
    distance = log_moneyness - m
    return np.asarray(a + b * (rho * distance + np.sqrt(distance**2 + sigma**2)))


def durrleman(log_moneyness: Array, parameters: Array) -> Array:
    """Return g(k), which is negative exactly where the curve allows a butterfly arbitrage.

    g = (1 - k w'/(2 w))^2 - (w'^2/4) (1/w + 1/4) + w''/2, of the shapes of ``total_variance``;
    the density of the price at expiry is g times a positive number. A curve that is not positive
    at k has no density there, and g is minus infinity.

    Source: Gatheral and Jacquier (2014), equation 2.1.

    >>> flat = np.array([0.04, 0.0, 0.0, 0.0, 0.1])
    >>> durrleman(np.array([0.0, 1.0]), flat).tolist()
    [1.0, 1.0]
    """
    _, b, rho, m, sigma = np.moveaxis(parameters[..., None], -2, 0)
    distance = log_moneyness - m
    radius = np.sqrt(distance**2 + sigma**2)
    variance = total_variance(log_moneyness, parameters)
    positive = variance.real > 0.0
    safe = np.where(positive, variance, 1.0)
    slope = b * (rho + distance / radius)
    curvature = b * sigma**2 / radius**3
    density = (
        (1.0 - log_moneyness * slope / (2.0 * safe)) ** 2
        - 0.25 * slope**2 * (1.0 / safe + 0.25)
        + 0.5 * curvature
    )
    return np.asarray(np.where(positive, density, -np.inf))


def wing_slopes(parameters: Array) -> tuple[Array, Array]:
    """Return how fast w grows far below and far above the forward, both as positive numbers.

    Source: R. Lee, "The moment formula for implied volatility at extreme strikes" (2004): neither
    may exceed 2.
    """
    b, rho = parameters[..., 1], parameters[..., 2]
    return b * (1.0 - rho), b * (1.0 + rho)


WIDEST = 4.0
"""How many roots of the total variance near the forward a clipped curve is asked about."""

MOST_VARIANCE = 144.0
"""The total variance at which a capped curve ends."""


def clipped_volatility(
    strike: Array, forward: Array, years: Array, parameters: Array
) -> tuple[Array, Array]:
    """Return the volatility of a strike and the log-moneyness at which it was read.

    k = ln(strike/forward) is clipped at plus and minus 4 sqrt(a + b sigma), and w(k) held between
    0 and 144: nothing that a curve says of far strikes is believed. Prices broadcast to the shape
    of ``parameters`` less its last axis; ``years`` of 0 give a volatility of 0.

    Source: derivexyz/lyra-utils, src/math/SVI.sol.

    Raises:
        ValueError: a price is not positive, or a + b sigma is negative.

    >>> flat = np.array([0.04, 0.0, 0.0, 0.0, 0.1])
    >>> volatility, k = clipped_volatility(np.array(1.0), np.array(100.0), np.array(0.25), flat)
    >>> round(float(volatility), 12), round(float(k), 12)
    (0.4, -0.8)
    """
    strike, forward, years = (np.asarray(one, np.float64) for one in (strike, forward, years))
    level = parameters[..., 0] + parameters[..., 1] * parameters[..., 4]
    if not ((strike > 0.0).all() and (forward > 0.0).all() and (level >= 0.0).all()):
        raise ValueError(
            f"strike {strike}, forward {forward} and a + b sigma {level} must be positive"
        )
    width = WIDEST * np.sqrt(level)
    log_moneyness = np.clip(np.log(strike / forward), -width, width)
    variance = total_variance(np.asarray(log_moneyness)[..., None], parameters)[..., 0]
    variance = np.clip(variance, 0.0, MOST_VARIANCE)
    with np.errstate(divide="ignore", invalid="ignore"):
        volatility = np.where(years > 0.0, np.sqrt(variance / years), 0.0)
    return np.asarray(volatility), np.asarray(log_moneyness)
