"""Maker: vaults of one collateral, with a liquidation ratio and a stability fee accumulator.

Source: makerdao/dss, vat.sol (frob), dog.sol (bark) and spot.sol.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from risk.liquidation import LiquidationPrice, line_crossing
from risk.protocols import lending

Array = NDArray[np.float64]


def debt(normalised: ArrayLike, rate: ArrayLike) -> Array:
    """Return what a vault owes: normalised debt (art) times the accumulated rate, at least 1.

    Raises:
        ValueError: an argument is negative or not finite, or a rate is below 1.
    """
    rates = lending.non_negative("rate", rate)
    if (rates < 1.0).any():
        raise ValueError(f"rate is {rates.min()}; the accumulator starts at 1 and never falls")
    return np.asarray(lending.non_negative("normalised debt", normalised) * rates)


def health_factor(
    collateral: ArrayLike, owed: ArrayLike, price: ArrayLike, liquidation_ratio: ArrayLike
) -> Array:
    """Return collateral price / (debt * liquidation ratio), (...) -> (...); below 1 is unsafe.

    >>> health_factor(10.0, 10_000.0, 1_450.0, 1.45).item()
    1.0
    """
    value = lending.non_negative("collateral", collateral) * lending.non_negative("price", price)
    return lending.coverage(value / _ratio(liquidation_ratio), owed)


def borrow_capacity(
    collateral: ArrayLike,
    owed: ArrayLike,
    price: ArrayLike,
    liquidation_ratio: ArrayLike,
    dust: ArrayLike = 0.0,
) -> Array:
    """Return what may still be drawn; 0 where it would leave a debt below the ``dust`` floor.

    >>> borrow_capacity(10.0, 4_000.0, 1_450.0, 1.45, 7_500.0).item()
    6000.0
    """
    value = lending.non_negative("collateral", collateral) * lending.non_negative("price", price)
    allowed = value / _ratio(liquidation_ratio)
    room = np.maximum(allowed - lending.non_negative("debt", owed), 0.0)
    return np.asarray(np.where(allowed >= lending.non_negative("dust", dust), room, 0.0))


def liquidation_price(
    collateral: ArrayLike, owed: ArrayLike, liquidation_ratio: ArrayLike
) -> LiquidationPrice:
    """Return the price below which a vault can be liquidated.

    >>> liquidation_price(10.0, 10_000.0, 1.5).price.item()
    1500.0
    """
    needed = lending.non_negative("debt", owed) * _ratio(liquidation_ratio)
    return line_crossing(-needed, lending.non_negative("collateral", collateral))


def _ratio(liquidation_ratio: ArrayLike) -> Array:
    ratio = lending.non_negative("liquidation_ratio", liquidation_ratio)
    if (ratio < 1.0).any():
        raise ValueError(f"liquidation_ratio is {ratio.min()}; allowed is 1 or more, as 1.45")
    return ratio
