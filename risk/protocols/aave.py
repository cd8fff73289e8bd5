"""Aave v3: health factor, borrow capacity, liquidation price, e-mode, and interest in rays.

Source: aave-v3-core, GenericLogic and MathUtils; aave-utilities, pool-math.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from risk.liquidation import LiquidationPrice
from risk.protocols import lending

Array = NDArray[np.float64]

RAY = 10**27
SECONDS_PER_YEAR = 31_536_000


@dataclass(frozen=True, slots=True)
class Reserves:
    """Parameters of the assets, (asset,) or (account, asset); fractions.

    ``loan_to_value`` bounds what may be borrowed, ``liquidation_threshold`` what must stay
    covered; the second is no lower than the first.
    """

    loan_to_value: Array
    liquidation_threshold: Array

    def __post_init__(self) -> None:
        ratio = lending.non_negative("loan_to_value", self.loan_to_value)
        threshold = lending.non_negative("liquidation_threshold", self.liquidation_threshold)
        if (ratio > threshold).any() or (threshold > 1.0).any():
            raise ValueError("loan_to_value <= liquidation_threshold <= 1 must hold for each asset")


@dataclass(frozen=True, slots=True)
class EfficiencyMode:
    """A category of correlated assets that an account may opt into.

    ``member`` and ``borrowable`` say of each asset whether it counts at the category's parameters
    as collateral and whether it may be borrowed in the category, (asset,).
    """

    member: NDArray[np.bool_]
    borrowable: NDArray[np.bool_]
    loan_to_value: float
    liquidation_threshold: float


def in_efficiency_mode(
    reserves: Reserves, mode: EfficiencyMode, opted_in: ArrayLike, debt: ArrayLike
) -> Reserves:
    """Return the parameters that hold for each account, (account,), (account, asset).

    Raises:
        ValueError: an account has opted in and owes an asset that the category does not lend.

    >>> reserves = Reserves(np.array([0.8, 0.75]), np.array([0.83, 0.78]))
    >>> mode = EfficiencyMode(np.array([True, False]), np.array([True, False]), 0.93, 0.95)
    >>> chosen = in_efficiency_mode(reserves, mode, [True, False], np.zeros((2, 2)))
    >>> chosen.liquidation_threshold.tolist()
    [[0.95, 0.78], [0.83, 0.78]]
    """
    chosen = np.asarray(opted_in, dtype=np.bool_)[..., None]
    foreign = chosen & ~mode.borrowable & (lending.non_negative("debt", debt) > 0.0)
    if foreign.any():
        account, asset = np.argwhere(foreign)[0]
        raise ValueError(f"account {account} owes asset {asset}, which its e-mode does not lend")
    lifted = chosen & mode.member
    return Reserves(
        np.where(lifted, mode.loan_to_value, reserves.loan_to_value),
        np.where(lifted, mode.liquidation_threshold, reserves.liquidation_threshold),
    )


def health_factor(
    collateral: ArrayLike, debt: ArrayLike, price: ArrayLike, reserves: Reserves
) -> Array:
    """Return Σ collateral threshold / Σ debt at prices, (account, asset) -> (account,).

    Below 1 an account can be liquidated; without debt it is infinite.

    Raises:
        ValueError: an amount or a price is negative or not finite.

    >>> reserves = Reserves(np.array([0.5, 0.0]), np.array([0.5, 0.0]))
    >>> health_factor([0.1, 0.0], [0.0, 0.05], [1.0, 1.0], reserves).item()
    1.0
    """
    covered = lending.weighted_value(collateral, price, reserves.liquidation_threshold)
    return lending.coverage(covered, lending.weighted_value(debt, price))


def liquidation_threshold(collateral: ArrayLike, price: ArrayLike, reserves: Reserves) -> Array:
    """Return the threshold of a whole account: that of its assets weighted by value, 0 of none.

    >>> reserves = Reserves(np.array([0.8, 0.6]), np.array([0.8, 0.6]))
    >>> liquidation_threshold([1.0, 1.0], [1.0, 1.0], reserves).item()
    0.7
    """
    covered = lending.weighted_value(collateral, price, reserves.liquidation_threshold)
    value = lending.weighted_value(collateral, price)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(value > 0.0, covered / value, 0.0))


def borrow_capacity(
    collateral: ArrayLike, debt: ArrayLike, price: ArrayLike, reserves: Reserves
) -> Array:
    """Return what may still be borrowed, in the currency of the prices, 0 or more.

    >>> reserves = Reserves(np.array([0.8]), np.array([0.85]))
    >>> borrow_capacity([10.0], [3.0], [100.0], reserves).item()
    500.0
    """
    allowed = lending.weighted_value(collateral, price, reserves.loan_to_value)
    return np.asarray(np.maximum(allowed - lending.weighted_value(debt, price), 0.0))


def liquidation_price(
    collateral: ArrayLike, debt: ArrayLike, price: ArrayLike, reserves: Reserves, asset: int
) -> LiquidationPrice:
    """Return the price of one asset at which the health factor is 1, the other prices unchanged.

    An account that both holds and owes the asset may be liquidated by its rise: see ``side``.
    """
    return lending.liquidation_price(collateral, debt, price, reserves.liquidation_threshold, asset)


def linear_interest(rate: int, seconds: int) -> int:
    """Return 1 + rate * time as a ray (27 decimals), for an annual rate in rays.

    >>> linear_interest(500_000_000_000_000_000, 100_000_100)
    1000000001585491184677828513
    """
    years = ray_divide(_whole(seconds) * 10**9, SECONDS_PER_YEAR * 10**9)
    return RAY + ray_multiply(_whole(rate), years)


def compounded_interest(rate: int, seconds: int) -> int:
    """Return the growth of a debt as a ray, by the binomial series to the third power.

    (1 + r)^n = 1 + n r + n(n-1)/2 r² + n(n-1)(n-2)/6 r³ with r the rate per second, truncated,
    and the powers of r rounded half up as rays.

    >>> compounded_interest(500_000_000_000_000_000, 100_000_100)
    1000000001585491184589599100
    """
    n, per_second = _whole(seconds), _whole(rate) // SECONDS_PER_YEAR
    square = ray_multiply(per_second, per_second)
    cube = ray_multiply(square, per_second)
    second = n * max(n - 1, 0) * square // 2
    third = n * max(n - 1, 0) * max(n - 2, 0) * cube // 6
    return RAY + n * per_second + second + third


def normalised_income(index: int, rate: int, seconds: int) -> int:
    """Return a liquidity index some seconds after its last update, as a ray, at simple interest.

    >>> normalised_income(1_048_540_642_417_873_765_200_833_079, 5 * 10**17, 100_000_100)
    1048540644080325710530799122
    """
    if not rate:
        return _whole(index)
    return ray_multiply(linear_interest(rate, seconds), _whole(index))


def linear_balance(scaled: int, index: int, rate: int, seconds: int) -> int:
    """Return a balance of aTokens in smallest units: the scaled balance times the index by then."""
    return _times_ray(_whole(scaled), normalised_income(index, rate, seconds))


def compounded_balance(scaled: int, index: int, rate: int, seconds: int) -> int:
    """Return a variable debt in smallest units: the scaled debt times the index by then.

    >>> compounded_balance(10_000, 1_048_540_642_417_873_765_200_833_079, 5 * 10**17, 100_000_100)
    10485
    """
    grown = ray_multiply(compounded_interest(rate, seconds), _whole(index))
    return _times_ray(_whole(scaled), grown)


def _times_ray(units: int, ray: int) -> int:
    """Return units times a ray, rounded half up at nine more decimals and then to whole units."""
    extended = ray_multiply(units * 10**9, ray)
    return (extended + 10**9 // 2) // 10**9


def ray_multiply(left: int, right: int) -> int:
    """Return the product of two rays, half up.

    >>> ray_multiply(3, RAY // 2)
    2
    """
    return (left * right + RAY // 2) // RAY


def ray_divide(left: int, right: int) -> int:
    """Return the quotient of two rays, half up.

    >>> ray_divide(1, 2 * RAY)
    1
    """
    return (left * RAY + right // 2) // right


def _whole(value: int) -> int:
    if value < 0 or value != int(value):
        raise ValueError(f"rays and seconds are whole numbers of 0 or more, got {value!r}")
    return int(value)
