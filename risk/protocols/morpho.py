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
WAD = 10**18
ORACLE_SCALE = 10**36


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


def liquidation_incentive_wads(liquidation_ltv: int) -> int:
    """Return the incentive as the contract has it, from an LLTV in wads, cut off at each step.

    >>> liquidation_incentive_wads(86 * 10**16)
    1043841336116910229
    """
    if not 0 <= liquidation_ltv <= WAD:
        raise ValueError(f"liquidation_ltv is {liquidation_ltv}; allowed are 0 to 1e18")
    withheld = 3 * WAD // 10 * (WAD - liquidation_ltv) // WAD
    return min(115 * WAD // 100, WAD * WAD // (WAD - withheld))


def seized_collateral(repaid: int, price: int, liquidation_ltv: int) -> int:
    """Return the collateral seized for a debt repaid, in smallest units, rounded down.

    ``price`` is 1e36 times units of the loan asset per unit of collateral, as its oracles have it.

    >>> seized_collateral(100, 10**36, 86 * 10**16)
    104
    """
    worth = repaid * liquidation_incentive_wads(liquidation_ltv) // WAD
    return worth * ORACLE_SCALE // price


def repaid_debt(seized: int, price: int, liquidation_ltv: int) -> int:
    """Return the debt to repay for collateral seized, in smallest units, rounded up.

    >>> repaid_debt(104, 10**36, 86 * 10**16)
    100
    """
    worth = -(-seized * price // ORACLE_SCALE)
    return -(-worth * WAD // liquidation_incentive_wads(liquidation_ltv))


def _covered(collateral: ArrayLike, price: ArrayLike, liquidation_ltv: ArrayLike) -> Array:
    value = lending.non_negative("collateral", collateral) * lending.non_negative("price", price)
    return np.asarray(value * _ratio(liquidation_ltv))


def _ratio(liquidation_ltv: ArrayLike) -> Array:
    ratio = lending.non_negative("liquidation_ltv", liquidation_ltv)
    if (ratio > 1.0).any():
        raise ValueError(f"liquidation_ltv is {ratio.max()}; allowed is at most 1")
    return ratio
