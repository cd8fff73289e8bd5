"""Morpho Blue: isolated markets of one collateral and one loan asset, with a liquidation LTV.

Source: morpho-org/morpho-blue, Morpho.sol (_isHealthy, liquidate) and ConstantsLib.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from risk.liquidation import LiquidationPrice, line_crossing
from risk.protocols import lending

Array = NDArray[np.float64]

LIQUIDATION_CURSOR = 0.3
MOST_INCENTIVE = 1.15


def health_factor(
    collateral: ArrayLike, debt: ArrayLike, price: ArrayLike, liquidation_ltv: ArrayLike
) -> Array:
    """Return collateral price LLTV / debt, (...) -> (...), infinite without debt.

    ``price`` is units of the loan asset per unit of collateral. A position is isolated: each is
    judged on its own, whatever else the account has.

    Raises:
        ValueError: an argument is negative or not finite, or the LLTV is above 1.

    >>> health_factor(10.0, 8_600.0, 1_000.0, 0.86).item()
    1.0
    """
    return lending.coverage(_covered(collateral, price, liquidation_ltv), debt)


def borrow_capacity(
    collateral: ArrayLike, debt: ArrayLike, price: ArrayLike, liquidation_ltv: ArrayLike
) -> Array:
    """Return what may still be borrowed, in the loan asset: borrowing is bound by the LLTV too."""
    covered = _covered(collateral, price, liquidation_ltv)
    return np.asarray(np.maximum(covered - lending.non_negative("debt", debt), 0.0))


def liquidation_price(
    collateral: ArrayLike, debt: ArrayLike, liquidation_ltv: ArrayLike
) -> LiquidationPrice:
    """Return the price below which a position can be liquidated.

    >>> liquidation_price(10.0, 8_600.0, 0.86).price.item()
    1000.0
    """
    owed = lending.non_negative("debt", debt)
    return line_crossing(-owed, _covered(collateral, 1.0, liquidation_ltv))


def liquidation_incentive(liquidation_ltv: ArrayLike) -> Array:
    """Return the collateral seized per unit of debt repaid, min(1.15, 1/(0.3 LLTV + 0.7)).

    >>> liquidation_incentive([0.86, 0.385]).round(4).tolist()
    [1.0438, 1.15]
    """
    ratio = _ratio(liquidation_ltv)
    incentive = 1.0 / (LIQUIDATION_CURSOR * ratio + 1.0 - LIQUIDATION_CURSOR)
    return np.asarray(np.minimum(MOST_INCENTIVE, incentive))


def _covered(collateral: ArrayLike, price: ArrayLike, liquidation_ltv: ArrayLike) -> Array:
    value = lending.non_negative("collateral", collateral) * lending.non_negative("price", price)
    return np.asarray(value * _ratio(liquidation_ltv))


def _ratio(liquidation_ltv: ArrayLike) -> Array:
    ratio = lending.non_negative("liquidation_ltv", liquidation_ltv)
    if (ratio > 1.0).any():
        raise ValueError(f"liquidation_ltv is {ratio.max()}; allowed is at most 1")
    return ratio
