"""Forwards: what a chain implies by put-call parity, and what lies between its expiries."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Parity:
    """What calls and puts of one expiry say of its forward and its discount factor.

    ``forward`` is a price; ``discount`` has no unit; ``pairs`` is how many strikes had both.
    With fewer than two pairs nothing can be said, and both are 0.
    """

    forward: float
    discount: float
    pairs: int


def parity(call: Array, put: Array, strike: Array) -> Parity:
    """Return the forward and discount factor at which call - put = discount (forward - strike).

    Shapes ``(pair,)``, prices of one currency; a straight line by least squares.

    >>> strike = np.array([90.0, 100.0, 120.0])
    >>> parity(np.array([14.0, 7.0, 1.0]), np.array([4.0, 7.0, 21.0]), strike)
    Parity(forward=100.0, discount=1.0, pairs=3)
    """
    if len(strike) < 2:
        return Parity(0.0, 0.0, len(strike))
    difference = call - put
    centre, middle = strike.mean(), difference.mean()
    spread = strike - centre
    discount = -float(np.sum(spread * (difference - middle)) / np.sum(spread * spread))
    return Parity(float(centre + middle / discount), discount, len(strike))


def forward_ratio(time_to_expiry: Array, known_time: Array, known_ratio: Array) -> Array:
    """Return forward over index at any time, from its values at known times.

    ``time_to_expiry`` (instrument,), ``known_time`` rising and ``known_ratio`` (expiry,) ->
    (instrument,). The logarithm of the ratio is linear in time between the index itself (ratio
    1 at time 0) and the known expiries, so an annualised rate holds over each stretch; after the
    last expiry its annualised rate goes on. With no known expiry the ratio is 1.

    >>> forward_ratio(np.array([0.0, 0.5, 1.0, 2.0]), np.array([1.0]), np.array([1.21])).round(6)
    array([1.    , 1.1   , 1.21  , 1.4641])
    """
    if len(known_time) == 0:
        return np.ones_like(time_to_expiry)
    times = np.concatenate(([0.0], known_time))
    logs = np.concatenate(([0.0], np.log(known_ratio)))
    between = np.interp(time_to_expiry, times, logs)
    beyond = time_to_expiry / times[-1] * logs[-1]
    return np.asarray(np.exp(np.where(time_to_expiry > times[-1], beyond, between)))
