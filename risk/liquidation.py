"""At which price of one underlying an account is liquidated, everything else unchanged.

*Health* is equity less maintenance requirement: an account is liquidated where it is negative.
As a function of one price it is a line, or a chain of lines that bend at known prices.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class LiquidationPrice:
    """Where health, a line in one price, changes its sign; shapes (...).

    ``side`` is -1 where falling below ``price`` liquidates, 1 where rising above it does, and 0
    where the price does not matter. Prices are positive: 0 on side -1 says that no fall
    liquidates, 0 on side 1 that every price does; on side 0 the price is 0.
    """

    price: Array
    side: NDArray[np.int8]


@dataclass(frozen=True, slots=True)
class LiquidationRange:
    """The prices between which an account is healthy around the present one.

    ``below`` is 0 and ``above`` infinite where no fall or no rise liquidates.
    """

    below: float
    above: float


def line_crossing(constant: ArrayLike, slope: ArrayLike) -> LiquidationPrice:
    """Return where health = constant + slope * price is zero, (...) twice -> (...).

    Raises:
        ValueError: something is not finite.

    >>> found = line_crossing([-50.0, 50.0, 1.0], [1.0, -0.5, 0.0])
    >>> found.price.tolist(), found.side.tolist()
    ([50.0, 100.0, 0.0], [-1, 1, 0])
    """
    constants, slopes = np.broadcast_arrays(
        np.asarray(constant, np.float64), np.asarray(slope, np.float64)
    )
    if not (np.isfinite(constants).all() and np.isfinite(slopes).all()):
        raise ValueError("constant and slope of health must be finite")
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        price = np.where(slopes == 0.0, 0.0, -constants / slopes)
    # A crossing beyond every number is never reached: health has the constant's sign throughout.
    beyond = price == np.inf
    return LiquidationPrice(
        price=np.where(beyond, 0.0, np.maximum(price, 0.0)),
        side=np.where(beyond, np.sign(slopes), -np.sign(slopes)).astype(np.int8),
    )


def cross_margin_liquidation_price(
    equity: ArrayLike,
    mark: ArrayLike,
    size: ArrayLike,
    maintenance_rate: ArrayLike,
    other_maintenance: ArrayLike = 0.0,
) -> LiquidationPrice:
    """Return where equity + Σ size (P - mark) = Σ |size| P rate + other maintenance.

    ``size`` and ``maintenance_rate`` are the positions of one account on one underlying, on the
    last axis, (..., position) -> (...); a scalar is a single position. ``equity`` is the whole
    account's at ``mark``, ``other_maintenance`` what its other positions need.

    Raises:
        ValueError: something is not finite.

    >>> cross_margin_liquidation_price(5.0, 100.0, 1.0, 0.004, 4.0).price.round(8).item()
    99.39759036
    """
    sizes = np.atleast_1d(np.asarray(size, np.float64))
    rates = np.atleast_1d(np.asarray(maintenance_rate, np.float64))
    net, needed = sizes.sum(axis=-1), (np.abs(sizes) * rates).sum(axis=-1)
    constant = np.asarray(equity, np.float64) - net * np.asarray(mark, np.float64)
    return line_crossing(constant - np.asarray(other_maintenance, np.float64), net - needed)


def liquidation_range(
    health: Callable[[Array], Array], price: float, bends: ArrayLike = ()
) -> LiquidationRange:
    """Return the nearest prices below and above the present one at which health turns negative.

    ``health`` maps prices to health, (point,) -> (point,): several positions in one underlying,
    tiers, weights that change with the sign of a P&L. It is linear between neighbouring
    ``bends``, all of them given, and beyond the last; that is what makes the answer exact.

    Raises:
        ValueError: the price is not positive, or the account is unhealthy at it.

    >>> liquidation_range(lambda p: np.minimum(p - 80.0, 3.0 * (130.0 - p)), 100.0, [117.5])
    LiquidationRange(below=80.0, above=130.0)
    """
    if not 0.0 < price < np.inf:
        raise ValueError(f"price is {price}; allowed is a finite positive number")
    inner = np.asarray(bends, np.float64)
    knots = np.unique(np.concatenate([[0.0, price], inner[(inner > 0.0) & (inner < np.inf)]]))
    # One point beyond the last bend gives the line on which health goes on for ever.
    knots = np.append(knots, 2.0 * knots[-1])
    values = np.asarray(health(knots), np.float64)
    here = int(np.searchsorted(knots, price))
    if values[here] < 0.0:
        raise ValueError(f"health is {values[here]:.6g} at price {price}: liquidated already")
    return LiquidationRange(_below(knots, values, here), _above(knots, values, here))


def _below(knots: Array, values: Array, here: int) -> float:
    for row in range(here, 0, -1):
        if values[row - 1] < 0.0:
            return _crossing(knots, values, row - 1, row)
    return 0.0


def _above(knots: Array, values: Array, here: int) -> float:
    for row in range(here, len(knots) - 1):
        if values[row + 1] < 0.0:
            return _crossing(knots, values, row, row + 1)
    last = len(knots) - 1
    return _crossing(knots, values, last - 1, last) if values[last] < values[last - 1] else np.inf


def _crossing(knots: Array, values: Array, left: int, right: int) -> float:
    """Return the zero of the line through two knots."""
    slope = (values[right] - values[left]) / (knots[right] - knots[left])
    return float(knots[left] - values[left] / slope)
