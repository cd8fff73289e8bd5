"""A part of a shock, or several times it: prices and volatilities in logarithms, bases as they are.

So a fall of a half comes as two of 29 %, and twice it leaves a quarter.
"""

from dataclasses import replace

import numpy as np

from risk.scenarios.moves import LEAST_VOLATILITY_MOVE
from risk.scenarios.shocks import Shocks


def part_of_shocks(shocks: Shocks, part: float) -> Shocks:
    """Return how much of the shocks has come, of any shape.

    >>> half = part_of_shocks(Shocks(*(np.array([[-0.75]]) for _ in range(4))), 0.5)
    >>> half.price.item(), half.forward_basis.item()
    (-0.5, -0.375)
    """
    return shocks if part == 1.0 else _grown(shocks, part)


def severe(shocks: Shocks, times: float) -> Shocks:
    """Return the shocks so many times, of any shape; a volatility keeps a twentieth.

    >>> twice = severe(Shocks(*(np.array([-0.5, 0.21]) for _ in range(4))), 2.0)
    >>> twice.price.round(4).tolist(), twice.forward_basis.tolist()
    ([-0.75, 0.4641], [-1.0, 0.42])
    """
    grown = _grown(shocks, times)
    return replace(grown, volatility=np.maximum(grown.volatility, LEAST_VOLATILITY_MOVE))


def _grown(shocks: Shocks, times: float) -> Shocks:
    return Shocks(
        price=(1.0 + shocks.price) ** times - 1.0,
        volatility=(1.0 + shocks.volatility) ** times - 1.0,
        perpetual_basis=times * shocks.perpetual_basis,
        forward_basis=times * shocks.forward_basis,
    )
