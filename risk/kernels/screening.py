"""How far single precision can be from double: what it may rule out, and what it may not.

A chain of fused multiply-adds in single precision moves half the bytes. By the standard bound of a
sum of products (Higham, Accuracy and Stability of Numerical Algorithms, 2002, section 3.1), with
each factor rounded once, it ends within ``(n + 2) u sum |q c|`` of the exact sum, u = 2^-24; the
chain in double is within ``n u^2`` of the same sum. So a scenario whose P&L in single precision
is more than twice the bound above the least cannot be the worst, and is never computed again.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from risk.kernels.compilation import compiled, kernel
from risk.kernels.positions import Positions
from risk.kernels.vectors import chained

Floats = NDArray[np.float64]

ROUNDING = 2.0**-24
"""Half the distance from 1 to the next number in single precision."""
UNDERFLOW = 2.0**-149
"""Distance between the least numbers in single precision."""
LARGEST = 1e18
"""Quantities and P&L of one contract beyond which single precision is not asked."""
SPARE = 4
"""Roundings beyond one a position: of both factors, of the chain in double, and of the bound."""


def ceilings(cube: Floats) -> Floats:
    """Return how far each instrument's P&L goes, ``(instrument, scenario) -> (instrument,)``.

    >>> ceilings(np.array([[-3.0, 2.0], [0.0, 1.0]])).tolist()
    [3.0, 1.0]
    """
    if not cube.size:
        return np.zeros(len(cube))
    return np.asarray(np.maximum(cube.max(axis=1), -cube.min(axis=1)))


@compiled
def error_bound(instrument: Any, quantity: Any, ceiling: Floats, start: int, stop: int) -> float:
    """Return how far the chains of the positions ``start:stop`` in either precision can be apart.

    Infinite where a number is too large for single precision.
    """
    moved, smallest = 0.0, 0.0
    for p in range(start, stop):
        size, reach = abs(quantity[p]), ceiling[instrument[p]]
        if size > LARGEST or reach > LARGEST:
            return np.inf
        moved += size * reach
        smallest += size + reach + 1.0
    return (stop - start + SPARE) * ROUNDING * moved + UNDERFLOW * smallest


@kernel
def _error_bounds(
    set_offsets: Any, instrument: Any, quantity: Any, ceiling: Floats, bound: Floats
) -> None:
    for n in range(set_offsets.size - 1):
        bound[n] = error_bound(instrument, quantity, ceiling, set_offsets[n], set_offsets[n + 1])


def error_bounds(positions: Positions, ceiling: Floats) -> Floats:
    """Return how far single precision can be from what settles, ``(instrument,) -> (set,)``.

    Infinite where a number is too large for single precision, zero of nothing.

    >>> book = Positions(np.array([0, 1]), np.array([0, 1]), np.zeros(1, np.int32), np.ones(1))
    >>> bool(1e-6 < error_bounds(book, np.array([10.0]))[0] < 1e-5)
    True
    """
    bound = np.empty(positions.sets)
    _error_bounds(positions.set_offsets, positions.instrument, positions.quantity, ceiling, bound)
    return bound


@compiled
def put_above(bounds: Any, n: int, wanted: float) -> None:
    """Store a number, rounded up where the array is narrower."""
    bounds[n] = wanted
    if bounds[n] < wanted:
        bounds[n] = np.nextafter(bounds[n], bounds.dtype.type(np.inf))


@compiled
def settle(
    cube: Floats, instrument: Any, quantity: Any, start: int, stop: int, scenarios: Any,
    number: int, values: Floats,
) -> None:  # fmt: skip
    """Write the P&L of the positions ``start:stop`` in some scenarios, the chain that settles."""
    for k in range(number):
        values[k] = 0.0
    for p in range(start, stop):
        row = cube[instrument[p]]
        for k in range(number):
            values[k] = chained(quantity[p], row[scenarios[k]], values[k])
