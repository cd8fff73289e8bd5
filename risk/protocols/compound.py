"""Compound III: one base asset borrowed against several collateral assets that earn nothing.

Source: compound-finance/comet, Comet.sol: isBorrowCollateralized, isLiquidatable, absorb.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from risk.liquidation import LiquidationPrice, line_crossing
from risk.protocols import lending

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class CollateralAssets:
    """Parameters of the collateral assets of one market, (asset,); fractions.

    ``borrow_factor`` bounds what may be borrowed, ``liquidation_factor`` when an account is
    absorbed (liquidateCollateralFactor there), and ``absorption_factor`` is the part of the
    collateral's value that it is then credited with (liquidationFactor there).
    """

    borrow_factor: Array
    liquidation_factor: Array
    absorption_factor: Array

    def __post_init__(self) -> None:
        borrow = lending.non_negative("borrow_factor", self.borrow_factor)
        liquidation = lending.non_negative("liquidation_factor", self.liquidation_factor)
        absorption = lending.non_negative("absorption_factor", self.absorption_factor)
        if (borrow > liquidation).any() or (liquidation > 1.0).any() or (absorption > 1.0).any():
            raise ValueError("borrow_factor <= liquidation_factor <= 1 and absorption_factor <= 1")


def health_factor(
    collateral: ArrayLike,
    debt: ArrayLike,
    price: ArrayLike,
    base_price: ArrayLike,
    assets: CollateralAssets,
) -> Array:
    """Return Σ collateral liquidation_factor / debt, (account, asset), (account,) -> (account,).

    ``debt`` is in units of the base asset. Below 1 the account can be absorbed.

    Raises:
        ValueError: an amount or a price is negative or not finite.
    """
    covered = lending.weighted_value(collateral, price, assets.liquidation_factor)
    return lending.coverage(covered, _owed(debt, base_price))


def borrow_capacity(
    collateral: ArrayLike,
    debt: ArrayLike,
    price: ArrayLike,
    base_price: ArrayLike,
    assets: CollateralAssets,
) -> Array:
    """Return what may still be borrowed, in the currency of the prices, 0 or more.

    >>> assets = CollateralAssets(np.array([0.8]), np.array([0.85]), np.array([0.95]))
    >>> borrow_capacity([10.0], 300.0, [100.0], 1.0, assets).item()
    500.0
    """
    allowed = lending.weighted_value(collateral, price, assets.borrow_factor)
    return np.asarray(np.maximum(allowed - _owed(debt, base_price), 0.0))


def liquidation_price(
    collateral: ArrayLike,
    debt: ArrayLike,
    price: ArrayLike,
    base_price: ArrayLike,
    assets: CollateralAssets,
    asset: int,
) -> LiquidationPrice:
    """Return the price of one collateral asset below which the account can be absorbed.

    >>> assets = CollateralAssets(np.array([0.7]), np.array([0.8]), np.array([0.95]))
    >>> liquidation_price([10.0], 800.0, [200.0], 1.0, assets, 0).price.item()
    100.0
    """
    held = lending.non_negative("collateral", collateral) * assets.liquidation_factor
    values = held * lending.non_negative("price", price)
    others = np.delete(values, asset, axis=-1).sum(axis=-1)
    return line_crossing(others - _owed(debt, base_price), held[..., asset])


def value_after_absorption(
    collateral: ArrayLike,
    debt: ArrayLike,
    price: ArrayLike,
    base_price: ArrayLike,
    assets: CollateralAssets,
) -> Array:
    """Return what an absorbed account has left of the base asset, by value; never negative.

    The protocol takes all collateral at ``absorption_factor`` of its value and pays the debt.
    """
    credited = lending.weighted_value(collateral, price, assets.absorption_factor)
    return np.asarray(np.maximum(credited - _owed(debt, base_price), 0.0))


def borrow_collateralized(
    collateral: ArrayLike,
    debt: ArrayLike,
    price: ArrayLike,
    base_price: ArrayLike,
    assets: CollateralAssets,
) -> NDArray[np.bool_]:
    """Return whether Σ collateral borrow_factor covers the debt: may the account stand so.

    >>> assets = CollateralAssets(np.array([0.9]), np.array([0.95]), np.array([0.95]))
    >>> borrow_collateralized([[1.2], [1.0]], [1.0, 1.0], [1.0], 1.0, assets).tolist()
    [True, False]
    """
    covered = lending.weighted_value(collateral, price, assets.borrow_factor)
    return np.asarray(covered >= _owed(debt, base_price))


def liquidatable(
    collateral: ArrayLike,
    debt: ArrayLike,
    price: ArrayLike,
    base_price: ArrayLike,
    assets: CollateralAssets,
) -> NDArray[np.bool_]:
    """Return whether Σ collateral liquidation_factor is less than the debt: may it be absorbed."""
    covered = lending.weighted_value(collateral, price, assets.liquidation_factor)
    return np.asarray(covered < _owed(debt, base_price))


def _owed(debt: ArrayLike, base_price: ArrayLike) -> Array:
    owed = lending.non_negative("debt", debt) * lending.non_negative("base_price", base_price)
    return np.asarray(owed)
