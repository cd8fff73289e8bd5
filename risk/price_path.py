"""Along the path of one price: the nearest moves at which an account is no longer whole."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LOWEST, HIGHEST = -1.0, 5.0
"""Moves between which is looked, as fractions of the present price; at the lowest it is gone."""

_NEARLY = 0.999
_POINTS = 40


@dataclass(frozen=True, slots=True)
class Crossings:
    """The nearest moves below and above the present price at which a surplus turns negative.

    Fractions; None where it does not between ``LOWEST`` and ``HIGHEST``.
    """

    below: float | None
    above: float | None


def path_moves() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the moves down and up at which a surplus is looked at, nearest first.

    Equal steps of the price down, equal ratios up.

    >>> down, up = path_moves()
    >>> down[[0, -1]].tolist(), up[-1].round(12).item()
    ([-0.025, -0.999], 5.0)
    """
    down = np.append(np.arange(1, _POINTS) / -_POINTS, -_NEARLY)
    up = (1.0 + HIGHEST) ** (np.arange(1, _POINTS + 1) / _POINTS) - 1.0
    return down, up


def nearest_crossings(
    surplus: Callable[[float], float], tolerance: float = 1e-6
) -> Crossings | None:
    """Return where a surplus, a function of a price move, first turns negative on either side.

    Found between two points of ``path_moves`` and narrowed by bisection to ``tolerance`` of the
    present price; the move returned is the side on which the surplus is negative. A dip that
    begins and ends between two points is not seen. None where it is negative at no move.

    >>> found = nearest_crossings(lambda move: 0.25 + move)
    >>> found.below is not None and round(found.below, 5), found.above
    (-0.25, None)
    >>> nearest_crossings(lambda move: -1.0) is None
    True
    """
    if surplus(0.0) < 0.0:
        return None
    below, above = (_first(surplus, moves.tolist(), tolerance) for moves in path_moves())
    return Crossings(below, above)


def _first(surplus: Callable[[float], float], moves: list[float], tolerance: float) -> float | None:
    good = 0.0
    for move in moves:
        if surplus(move) < 0.0:
            return _narrowed(surplus, good, move, tolerance)
        good = move
    return None


def _narrowed(
    surplus: Callable[[float], float], good: float, bad: float, tolerance: float
) -> float:
    while abs(bad - good) > tolerance:
        middle = 0.5 * (good + bad)
        if surplus(middle) < 0.0:
            bad = middle
        else:
            good = middle
    return bad
