"""What lending protocols share: weighted collateral against debt, and where one price decides.

Amounts are in units of the asset and prices in the reporting currency; everything has the asset on
its last axis, so that ``(account, asset)`` gives ``(account,)``.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from risk.liquidation import LiquidationPrice, line_crossing

Array = NDArray[np.float64]


def weighted_value(amount: ArrayLike, price: ArrayLike, weight: ArrayLike = 1.0) -> Array:
    """Return Σ amount price weight over assets, (..., asset) -> (...).

    Raises:
        ValueError: an argument is negative or not finite.

    >>> weighted_value([2.0, 1.0], [100.0, 50.0], [0.8, 0.5]).item()
    185.0
    """
    amounts = non_negative("amount", amount)
    worth = amounts * non_negative("price", price) * non_negative("weight", weight)
    return np.asarray(np.atleast_1d(worth).sum(axis=-1))


def coverage(weighted_collateral: ArrayLike, debt: ArrayLike) -> Array:
    """Return weighted collateral over debt, infinite where there is no debt, (...) -> (...).

    >>> coverage([80.0, 80.0], [100.0, 0.0]).tolist()
    [0.8, inf]
    """
    collateral, owed = non_negative("collateral", weighted_collateral), non_negative("debt", debt)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return np.asarray(np.where(owed > 0.0, collateral / owed, np.inf))


def liquidation_price(
    collateral: ArrayLike, debt: ArrayLike, price: ArrayLike, threshold: ArrayLike, asset: int
) -> LiquidationPrice:
    """Return the price of one asset at which weighted collateral equals debt, the others as is.

    ``collateral`` and ``debt`` are amounts, ``threshold`` the weight of each as collateral;
    (..., asset) -> (...).

    Raises:
        ValueError: an argument is negative or not finite.

    >>> liquidation_price([10.0, 0.0], [0.0, 8_000.0], [2_000.0, 1.0], [0.8, 0.0], 0).price.item()
    1000.0
    """
    weighted = non_negative("collateral", collateral) * non_negative("threshold", threshold)
    net = np.atleast_1d(weighted - non_negative("debt", debt))
    slope = net[..., asset]
    values = net * non_negative("price", price)
    return line_crossing(np.delete(values, asset, axis=-1).sum(axis=-1), slope)


def non_negative(name: str, values: ArrayLike) -> Array:
    """Return an array of float64, or refuse it by its name.

    Raises:
        ValueError: a value is negative or not finite.
    """
    given = np.asarray(values, dtype=np.float64)
    refused = ~((given >= 0.0) & (given < np.inf))
    if refused.any():
        raise ValueError(f"{name} is {given[refused].flat[0]}; allowed is a finite number of 0 up")
    return given
