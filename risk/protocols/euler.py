"""Euler v2: vaults that lend one asset against others, with a discount that grows as health falls.

Source: euler-xyz/euler-vault-kit, LiquidityUtils and Liquidation.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from risk.protocols import lending

Array = NDArray[np.float64]

WAD = 10**18
BASIS_POINTS = 10_000
MOST_DISCOUNT = WAD // 5


def health_score(
    collateral: ArrayLike, price: ArrayLike, ltv: ArrayLike, debt: ArrayLike, debt_price: ArrayLike
) -> Array:
    """Return Σ collateral price LTV / debt, (..., asset), (...) -> (...), infinite without debt.

    The vault has two LTVs: with that of borrowing it is the score that a new debt must keep above
    1, with that of liquidation the one at or below which the account may be liquidated.

    Raises:
        ValueError: an argument is negative or not finite.

    >>> health_score([100.0], [0.4], [0.3], 5.0, 2.5).item()
    0.96
    """
    owed = lending.non_negative("debt", debt) * lending.non_negative("debt price", debt_price)
    return lending.coverage(lending.weighted_value(collateral, price, ltv), owed)


@dataclass(frozen=True, slots=True)
class Liquidation:
    """The most that a liquidator may repay and what he then seizes, in smallest units."""

    repaid: int
    seized: int


def liquidation(
    collateral: int,
    collateral_price: int,
    ltv: int,
    debt: int,
    debt_price: int,
    other_covering: int = 0,
) -> Liquidation:
    """Return the liquidation of one collateral; nothing where the account is healthy.

    Prices are values of ``WAD`` smallest units, the LTV is in basis points, ``other_covering`` is
    the weighted value of other collateral. The discount is one less the health score and at most
    20 %; every division is cut off.

    Raises:
        ValueError: an argument is negative.

    >>> half, one = WAD // 2, WAD
    >>> liquidation(10 * WAD, half, 9_000, 5 * WAD, one)
    Liquidation(repaid=4500000000000000000, seized=10000000000000000000)
    """
    given = (collateral, collateral_price, ltv, debt, debt_price, other_covering)
    if min(given) < 0:
        raise ValueError(f"the arguments are {given}; allowed is 0 or more")
    worth, owed = collateral * collateral_price // WAD, debt * debt_price // WAD
    covering = worth * ltv // BASIS_POINTS + other_covering
    # A debt that is worth nothing, at which the contract fails, is no reason to liquidate.
    if covering > owed or not owed:
        return Liquidation(0, 0)
    if not worth:  # what is worth nothing is taken for nothing
        return Liquidation(0, collateral)
    kept = max(covering * WAD // owed, WAD - MOST_DISCOUNT)
    repaid, seized = owed, owed * WAD // kept
    if worth < seized:
        repaid, seized = worth * kept // WAD, worth
    return Liquidation(repaid * debt // owed, seized * collateral // worth)
