"""Black, Scholes and Merton: discounted value and Greeks of European options on a spot price.

The forward is F = S exp((rate - dividend) T) and the value exp(-rate T) times Black-76 on it, so
that its accuracy in the wings is that of ``black76``.

Source: R. Merton, "Theory of rational option pricing" (1973); the Greeks as in E. Haug, "The
complete guide to option pricing formulas" (2nd edition, 2007), chapter 2.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from risk.pricing import black76

Array = NDArray[np.float64]

DAYS = 365.0


@dataclass(frozen=True, slots=True)
class Greeks:
    """Value and sensitivities, of the shape that the arguments broadcast to.

    ``vega``, ``rho`` and ``dividend_rho`` are per unit (1.0 = 100 %); ``theta`` is dV/dt per year
    as time passes, ``theta_per_day`` a 365th of it; ``elasticity`` is delta S/V, 0 where the
    option is worth nothing. ``gamma`` is 0 where the value has a kink: no volatility or no time.
    """

    value: Array
    delta: Array
    gamma: Array
    vega: Array
    theta: Array
    rho: Array
    dividend_rho: Array
    elasticity: Array

    @property
    def theta_per_day(self) -> Array:
        """The change of value over a day of a year of 365."""
        return self.theta / DAYS


def value(
    spot: ArrayLike,
    strike: ArrayLike,
    rate: ArrayLike,
    dividend: ArrayLike,
    volatility: ArrayLike,
    years: ArrayLike,
    is_call: ArrayLike,
) -> Array:
    """Return the value of European options, in units of the spot. All arguments broadcast.

    ``rate`` and ``dividend`` are continuous annual fractions of either sign.

    Raises:
        ValueError: spot, strike, volatility or years is negative, or anything is not finite.

    >>> value(60.0, 65.0, 0.08, 0.0, 0.3, 0.25, True).round(4).item()
    2.1334
    """
    forward, discount, _ = _carried(spot, rate, dividend, years)
    return np.asarray(discount * black76.black76(forward, strike, volatility, years, is_call))


def greeks(
    spot: ArrayLike,
    strike: ArrayLike,
    rate: ArrayLike,
    dividend: ArrayLike,
    volatility: ArrayLike,
    years: ArrayLike,
    is_call: ArrayLike,
) -> Greeks:
    """Return value and Greeks of European options; arguments as for ``value``.

    Raises:
        ValueError: spot, strike, volatility or years is negative, or anything is not finite.

    >>> greeks(105.0, 100.0, 0.1, 0.1, 0.36, 0.5, True).delta.round(4).item()
    0.5946
    """
    forward, discount, carry = _carried(spot, rate, dividend, years)
    years, spot, strike = (np.asarray(one, dtype=np.float64) for one in (years, spot, strike))
    rate, dividend = np.asarray(rate, dtype=np.float64), np.asarray(dividend, dtype=np.float64)
    volatility = np.asarray(volatility, dtype=np.float64)
    price = discount * black76.black76(forward, strike, volatility, years, is_call)
    forward_delta = black76.delta(forward, strike, volatility, years, is_call)
    vega = discount * black76.vega(forward, strike, volatility, years)
    stock_leg, strike_leg = (
        carry * spot * forward_delta,
        _strike_leg(price, spot, carry, forward_delta),
    )
    variance = spot * spot * volatility * years
    with np.errstate(divide="ignore", invalid="ignore"):
        gamma = np.where(variance > 0.0, vega / variance, 0.0)
        decay = np.where(years > 0.0, vega * volatility / (2.0 * years), 0.0)
        elasticity = np.where(price > 0.0, stock_leg / price, 0.0)
    return Greeks(
        value=np.asarray(price),
        delta=np.asarray(carry * forward_delta),
        gamma=np.asarray(gamma),
        vega=np.asarray(vega),
        theta=np.asarray(-decay + dividend * stock_leg + rate * strike_leg),
        rho=np.asarray(-years * strike_leg),
        dividend_rho=np.asarray(-years * stock_leg),
        elasticity=np.asarray(elasticity),
    )


def _strike_leg(price: Array, spot: Array, carry: Array, forward_delta: Array) -> Array:
    """Return what the value is short of cash for: value minus its stock, -K D Φ(d2) of a call."""
    return np.asarray(price - carry * spot * forward_delta)


def _carried(
    spot: ArrayLike, rate: ArrayLike, dividend: ArrayLike, years: ArrayLike
) -> tuple[Array, Array, Array]:
    """Return the forward, the discount factor and the dividend factor."""
    given = {"spot": spot, "rate": rate, "dividend": dividend, "years": years}
    arrays = {name: np.asarray(one, dtype=np.float64) for name, one in given.items()}
    for name, values in arrays.items():
        if not np.isfinite(values).all():
            raise ValueError(f"{name} is {values[~np.isfinite(values)].flat[0]}; must be finite")
    discount = np.exp(-arrays["rate"] * arrays["years"])
    carry = np.exp(-arrays["dividend"] * arrays["years"])
    return np.asarray(arrays["spot"] * carry / discount), np.asarray(discount), np.asarray(carry)
