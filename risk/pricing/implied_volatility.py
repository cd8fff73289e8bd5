"""Implied volatility: the Black-76 formula solved for volatility, every quote at once.

The time value of the option out of the money, as a fraction c of the lesser of forward and
strike, grows from 0 to 1 with the deviation s (volatility times the root of time), and its slope
is greatest at s = sqrt(2 |ln(forward/strike)|). Newton's method is applied to whichever function
of c is closest to a straight line in s: below the steepest point 1/sqrt(-ln c), above it c, and
from one half on sqrt(-ln(1 - c)). A bracket catches any step that leaves it.
"""

from enum import IntEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr

from risk.pricing.black76 import log_ratio

Array = NDArray[np.float64]

_ROUNDING = 2.0**-52
_LARGEST_UNCERTAINTY = 0.01  # of the volatility, from one rounding of the price
_LEAST_RATIO = 1e-300  # of the lesser of forward and strike to the greater
_MOST_STEPS = 64
_INVERSE_ROOT_TWO_PI = 0.3989422804014327


class Status(IntEnum):
    """Why a price has an implied volatility, or has none."""

    OK = 0
    BELOW_INTRINSIC = 1
    ABOVE_MAXIMUM = 2
    EXPIRED = 3
    UNDETERMINED = 4


def implied_volatility(
    price: ArrayLike,
    forward: ArrayLike,
    strike: ArrayLike,
    time_to_expiry: ArrayLike,
    is_call: ArrayLike,
) -> tuple[Array, NDArray[np.int8]]:
    """Return the volatility at which Black-76 gives the price, and a ``Status`` for each.

    All arguments broadcast; prices are undiscounted, in the units of forward and strike, time is
    in years. The volatility is an annual fraction, and 0 wherever the status is not ``OK``:
    the price is below intrinsic value or above the greatest possible (forward for a call, strike
    for a put) by more than its rounding; the option has expired; or the price is so flat in
    volatility that one rounding of the price moves the volatility by more than 1 %.

    Raises:
        ValueError: price, forward or strike is negative or not finite, or time is not finite.

    >>> implied_volatility([8.0, 0.5, 101.0], 100.0, [100.0, 90.0, 100.0], 0.25, True)
    (array([0.40173488, 0.        , 0.        ]), array([0, 1, 2], dtype=int8))
    """
    shape, price, forward, strike, years, call = _checked(
        price, forward, strike, time_to_expiry, is_call
    )
    intrinsic = np.maximum(np.where(call, forward - strike, strike - forward), 0.0)
    excess, room = price - intrinsic, np.where(call, forward, strike) - price
    rounding = _ROUNDING * np.maximum(price, np.abs(forward - strike))

    status = np.full(price.shape, Status.UNDETERMINED, dtype=np.int8)
    low, high = np.minimum(forward, strike), np.maximum(forward, strike)
    comparable = low > _LEAST_RATIO * high
    status[comparable & (excess > rounding) & (room > rounding)] = Status.OK
    status[excess < -rounding] = Status.BELOW_INTRINSIC
    status[room < -rounding] = Status.ABOVE_MAXIMUM
    status[years <= 0.0] = Status.EXPIRED

    rows = np.flatnonzero(status == Status.OK)
    low = low[rows]
    log_moneyness = log_ratio(low, high[rows])
    deviation = _solve(log_moneyness, excess[rows] / low, room[rows] / low)
    slope = low * _normalised(log_moneyness, deviation)[2]
    flat = rounding[rows] > _LARGEST_UNCERTAINTY * deviation * slope
    status[rows[flat]] = Status.UNDETERMINED
    volatility = np.zeros(price.shape)
    volatility[rows] = np.where(flat, 0.0, deviation / np.sqrt(years[rows]))
    return volatility.reshape(shape), status.reshape(shape)


def _solve(log_moneyness: Array, value: Array, room: Array) -> Array:
    """Return the deviation at which the normalised time value is ``value`` = 1 - ``room``.

    Each coordinate is increasing and nearly straight in the deviation; ``slope`` is its
    derivative with respect to the time value.
    """
    steepest = np.sqrt(-2.0 * log_moneyness)
    below = value < _normalised(log_moneyness, steepest)[0]
    above = ~below & (value > 0.5)
    target = _coordinate(value, room, below, above)[0]

    least = np.zeros_like(value)
    most = 38.0 + np.sqrt(38.0**2 - 2.0 * log_moneyness)  # where 1 - c is below every double
    with np.errstate(divide="ignore"):
        deviation = np.where(below, -log_moneyness / np.sqrt(-2.0 * np.log(value)), steepest)
    deviation = np.clip(np.where(above, np.maximum(deviation, 2.0), deviation), 1e-300, most)
    for _ in range(_MOST_STEPS):
        found, found_room, slope = _normalised(log_moneyness, deviation)
        at, by_value = _coordinate(found, found_room, below, above)
        least = np.where(at < target, deviation, least)
        most = np.where(at >= target, deviation, most)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            step = deviation + (target - at) / (by_value * slope)
        inside = (step > least) & (step < most)
        proposal = np.where(inside, step, 0.5 * (least + most))
        still = np.abs(proposal - deviation) > 2.0 * _ROUNDING * deviation
        deviation = proposal
        if not still.any():
            break
    return deviation


def _normalised(log_moneyness: Array, deviation: Array) -> tuple[Array, Array, Array]:
    """Return the time value over the lesser price, one minus it, and its slope in deviation."""
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        centre = np.where(log_moneyness == 0.0, 0.0, log_moneyness / deviation)
    upper, lower = centre + 0.5 * deviation, centre - 0.5 * deviation
    weight = np.exp(-log_moneyness)
    value = np.maximum(ndtr(upper) - weight * ndtr(lower), 0.0)
    room = ndtr(-upper) + weight * ndtr(lower)
    return value, room, _INVERSE_ROOT_TWO_PI * np.exp(-0.5 * upper * upper)


def _coordinate(
    value: Array, room: Array, below: NDArray[np.bool_], above: NDArray[np.bool_]
) -> tuple[Array, Array]:
    """Return the straightened time value and its derivative with respect to the time value."""
    tail = np.where(below, value, np.where(above, room, 0.5))
    with np.errstate(divide="ignore", invalid="ignore"):
        depth = -np.log(np.minimum(tail, 1.0))
        root = np.sqrt(depth)
        straight = np.where(below, 1.0 / root, root)
        derivative = np.where(below, 0.5 / (root * depth * tail), 0.5 / (root * tail))
    middle = ~(below | above)
    return np.where(middle, value, straight), np.where(middle, 1.0, derivative)


def _checked(
    price: ArrayLike,
    forward: ArrayLike,
    strike: ArrayLike,
    time_to_expiry: ArrayLike,
    is_call: ArrayLike,
) -> tuple[tuple[int, ...], Array, Array, Array, Array, NDArray[np.bool_]]:
    """Return the common shape and the flattened arguments, or refuse them."""
    given = {
        "price": np.asarray(price, dtype=np.float64),
        "forward": np.asarray(forward, dtype=np.float64),
        "strike": np.asarray(strike, dtype=np.float64),
        "time_to_expiry": np.asarray(time_to_expiry, dtype=np.float64),
    }
    for name, values in given.items():
        least = -np.inf if name == "time_to_expiry" else 0.0
        refused = ~((values >= least) & np.isfinite(values))
        if refused.any():
            allowed = "a finite number" + (" of 0 or more" if least == 0.0 else "")
            raise ValueError(f"{name} is {values[refused].flat[0]}; allowed is {allowed}")
    call = np.asarray(is_call, dtype=np.bool_)
    price_, forward_, strike_, years = np.broadcast_arrays(*given.values(), call)[:4]
    call = np.broadcast_to(call, price_.shape)
    flat = (price_.ravel(), forward_.ravel(), strike_.ravel(), years.ravel(), call.ravel())
    return (price_.shape, *flat)
