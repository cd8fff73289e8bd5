"""Aave v3: the account data of its contract, in whole basis points and wads.

Source: aave-v3-core, GenericLogic.calculateUserAccountData, PercentageMath and WadRayMath. Values
are whole numbers of the market's base currency, at whatever scale.
"""

from collections.abc import Sequence
from dataclasses import dataclass

WAD = 10**18
BASIS_POINTS = 10_000


@dataclass(frozen=True, slots=True)
class Holding:
    """What an account has in one reserve, and the reserve's parameters in basis points.

    ``efficiency_mode`` is loan to value and threshold of the category that the reserve belongs to.
    """

    collateral: int
    debt: int
    loan_to_value: int
    liquidation_threshold: int
    efficiency_mode: tuple[int, int] | None = None
    used_as_collateral: bool = True

    def __post_init__(self) -> None:
        for name in ("collateral", "debt", "loan_to_value", "liquidation_threshold"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}; allowed is 0 or more")


@dataclass(frozen=True, slots=True)
class AccountData:
    """Totals of an account; ratios in basis points, cut off, and the health factor in wads.

    ``health_factor`` is None without debt, where the contract has the largest number there is.
    """

    collateral: int
    debt: int
    available_borrows: int
    liquidation_threshold: int
    loan_to_value: int
    health_factor: int | None


def account_data(holdings: Sequence[Holding], in_efficiency_mode: bool = False) -> AccountData:
    """Return the totals of an account; a reserve without threshold is no collateral.

    >>> data = account_data([Holding(1_000, 0, 8_000, 8_500), Holding(0, 500, 0, 0)])
    >>> data.available_borrows, data.health_factor
    (300, 1700000000000000000)
    """
    collateral = debt = borrowable = covering = 0
    for one in holdings:
        debt += one.debt
        if not one.liquidation_threshold or not one.used_as_collateral:
            continue
        ratio, threshold = one.loan_to_value, one.liquidation_threshold
        if in_efficiency_mode and one.efficiency_mode is not None:
            ratio, threshold = one.efficiency_mode
        collateral += one.collateral
        borrowable += one.collateral * ratio
        covering += one.collateral * threshold
    ratio = borrowable // collateral if collateral else 0
    threshold = covering // collateral if collateral else 0
    return AccountData(
        collateral=collateral,
        debt=debt,
        available_borrows=max(percent_of(collateral, ratio) - debt, 0),
        liquidation_threshold=threshold,
        loan_to_value=ratio,
        health_factor=wad_ratio(percent_of(collateral, threshold), debt) if debt else None,
    )


def percent_of(value: int, basis_points: int) -> int:
    """Return a part of a value, rounded half up.

    >>> percent_of(101, 5_000), percent_of(100, 49)
    (51, 0)
    """
    return (value * basis_points + BASIS_POINTS // 2) // BASIS_POINTS


def wad_ratio(part: int, whole: int) -> int:
    """Return a ratio in wads, rounded half up.

    >>> wad_ratio(2, 3)
    666666666666666667
    """
    return (part * WAD + whole // 2) // whole
