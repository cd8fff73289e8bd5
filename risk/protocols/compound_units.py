"""Compound III in whole units: what an absorption pays, and what seized collateral is sold for.

Source: compound-finance/comet, Comet.sol: absorbInternal, quoteCollateral. Amounts are in smallest
units, prices and factors at any scale that all share; every division is cut off.
"""

from collections.abc import Sequence
from dataclasses import dataclass

FACTOR = 10**18
"""What a factor of one is."""


@dataclass(frozen=True, slots=True)
class Asset:
    """Units of a whole asset, its price, and factors in parts of ``FACTOR``.

    Without ``liquidation_factor`` (liquidateCollateralFactor there) the price is not looked at.
    ``absorption_factor`` (liquidationFactor there) is the part of the value that is credited;
    without it the asset is not seized.
    """

    units: int
    price: int
    absorption_factor: int = FACTOR
    liquidation_factor: int = FACTOR


@dataclass(frozen=True, slots=True)
class Absorption:
    """What an absorbed account has left of the base asset, what was paid, what was seized."""

    balance: int
    paid_out: int
    seized: tuple[int, ...]


def absorb(
    debt: int, held: Sequence[tuple[Asset, int]], base_units: int, base_price: int
) -> Absorption:
    """Return the absorption of a debt with the collateral held, as (asset, amount).

    The reserves pay what the collateral does not; an asset without absorption factor stays.

    Raises:
        ValueError: nothing is owed, or an amount is negative.

    >>> coin = Asset(units=100, price=200, absorption_factor=FACTOR // 2)
    >>> absorb(90, [(coin, 100)], base_units=1, base_price=1)
    Absorption(balance=10, paid_out=100, seized=(100,))
    """
    if debt <= 0 or any(amount < 0 for _, amount in held):
        raise ValueError(f"debt is {debt}; allowed are a debt above 0 and amounts of 0 or more")
    credited, seized = 0, []
    for asset, amount in held:
        taken = amount if asset.absorption_factor else 0
        price = asset.price if asset.liquidation_factor else 0
        credited += taken * price // asset.units * asset.absorption_factor // FACTOR
        seized.append(taken)
    balance = max(credited * base_units // base_price - debt, 0)
    return Absorption(balance, balance + debt, tuple(seized))


def quote_collateral(
    base: int, asset: Asset, store_front_factor: int, base_units: int, base_price: int
) -> int:
    """Return the seized collateral that an amount of the base asset buys.

    The discount is the store front's part of what the absorption withheld.

    >>> coin = Asset(units=10**18, price=200, absorption_factor=6 * FACTOR // 10)
    >>> quote_collateral(200, coin, FACTOR // 2, base_units=1, base_price=1)
    1250000000000000000
    """
    discount = store_front_factor * (FACTOR - asset.absorption_factor) // FACTOR
    price = asset.price * (FACTOR - discount) // FACTOR
    return base_price * base * asset.units // price // base_units
