"""Drift v2: total collateral and margin requirement of accounts with spot and perpetual positions.

Source: drift-labs/protocol-v2, programs/drift/src/math/margin.rs and state/spot_market.rs. The
program truncates weights to four decimals; here they keep all of theirs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from risk.liquidation import LiquidationPrice, line_crossing
from risk.protocols import lending

Array = NDArray[np.float64]

OPEN_ORDER_CHARGE = 0.01
"""Requirement of each open order, in the quote asset."""


@dataclass(frozen=True, slots=True)
class OraclePrice:
    """An oracle's price and, where the strict rule applies, its five-minute average.

    Assets are valued at the lower of the two, liabilities at the higher.
    """

    now: ArrayLike
    average: ArrayLike | None = None

    @property
    def low(self) -> Array:
        """The price of an asset."""
        now = lending.non_negative("price", self.now)
        return now if self.average is None else np.minimum(now, np.asarray(self.average))

    @property
    def high(self) -> Array:
        """The price of a liability."""
        now = lending.non_negative("price", self.now)
        return now if self.average is None else np.maximum(now, np.asarray(self.average))


@dataclass(frozen=True, slots=True)
class Spot:
    """A deposit (positive) or borrow and the orders of one spot market, (...) per account."""

    balance: ArrayLike
    price: OraclePrice
    asset_weight: ArrayLike = 1.0
    liability_weight: ArrayLike = 1.0
    bids: ArrayLike = 0.0
    asks: ArrayLike = 0.0
    open_orders: ArrayLike = 0


@dataclass(frozen=True, slots=True)
class Perpetual:
    """A position and the orders of one perpetual market, (...) per account.

    ``pnl`` is unrealised, in the quote asset; a positive one counts by ``pnl_weight``.
    """

    base: ArrayLike
    price: ArrayLike
    margin_ratio: ArrayLike
    pnl: ArrayLike = 0.0
    pnl_weight: ArrayLike = 1.0
    bids: ArrayLike = 0.0
    asks: ArrayLike = 0.0
    open_orders: ArrayLike = 0


@dataclass(frozen=True, slots=True)
class DriftMargin:
    """What accounts have and need, (account,), in the reporting currency."""

    total_collateral: Array
    margin_requirement: Array

    @property
    def free_collateral(self) -> Array:
        """Collateral less requirement; below zero at maintenance weights is liquidation."""
        return self.total_collateral - self.margin_requirement


def size_asset_weight(weight: ArrayLike, size: ArrayLike, imf_factor: ArrayLike) -> Array:
    """Return min(weight, 1.1/(1 + factor √size)), ``size`` in units of the asset.

    >>> size_asset_weight(0.9, 1_000.0, 0.01).round(4).item()
    0.8357
    """
    factor = lending.non_negative("imf_factor", imf_factor)
    discounted = 1.1 / (1.0 + factor * np.sqrt(lending.non_negative("size", size)))
    return np.asarray(np.where(factor > 0.0, np.minimum(weight, discounted), weight))


def size_liability_weight(weight: ArrayLike, size: ArrayLike, imf_factor: ArrayLike) -> Array:
    """Return max(weight, 0.8 weight + factor √size), ``size`` in units of the asset.

    >>> size_liability_weight(1.1, 1_000.0, 0.01).round(4).item()
    1.1962
    """
    factor = lending.non_negative("imf_factor", imf_factor)
    premium = 0.8 * np.asarray(weight) + factor * np.sqrt(lending.non_negative("size", size))
    return np.asarray(np.where(factor > 0.0, np.maximum(weight, premium), weight))


def scaled_asset_weight(weight: ArrayLike, deposits_value: ArrayLike, start: ArrayLike) -> Array:
    """Return the initial asset weight after all deposits worth more than ``start`` scaled it.

    A start of 0 says that it is never scaled.

    >>> scaled_asset_weight(0.9, 1_000_000.0, 500_000.0).item()
    0.45
    """
    value = lending.non_negative("deposits", deposits_value)
    begin = lending.non_negative("start", start)
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = np.where((begin > 0.0) & (value > begin), begin / value, 1.0)
    return np.asarray(weight * scale)


def margin(
    quote: Spot,
    spots: Sequence[Spot] = (),
    perpetuals: Sequence[Perpetual] = (),
    custom_ratio: ArrayLike = 0.0,
) -> DriftMargin:
    """Return collateral and requirement of accounts, (...) -> (...).

    ``quote`` is the quote asset's own balance, whose price also scales perpetuals. Each market is
    taken with the riskier of all its bids and all its asks filled. ``custom_ratio`` is an
    account's own greater margin ratio, for initial margin; 0 for none.

    Raises:
        ValueError: a price or an order is negative, or something is not finite.

    >>> deposit = Spot(10_000.0, OraclePrice(1.0))
    >>> bid = Spot(0.0, OraclePrice(100.0), 0.8, 1.2, bids=500.0, open_orders=1)
    >>> found = margin(deposit, [bid])
    >>> found.total_collateral.item(), found.margin_requirement.item()
    (50000.0, 50000.01)
    """
    collateral, requirement = _split(_worth(np.asarray(quote.balance, np.float64), quote, 0.0))
    for spot in spots:
        tokens, orders = _riskier_fill(spot, custom_ratio)
        for gained, owed in (_split(tokens), _split(orders)):
            collateral, requirement = collateral + gained, requirement + owed
        requirement = requirement + OPEN_ORDER_CHARGE * np.asarray(spot.open_orders)
    for one in perpetuals:
        worst = np.maximum(
            np.abs(np.asarray(one.base) + lending.non_negative("bids", one.bids)),
            np.abs(np.asarray(one.base) - lending.non_negative("asks", one.asks)),
        )
        notional = worst * lending.non_negative("price", one.price)
        ratio = np.maximum(one.margin_ratio, custom_ratio)
        requirement = requirement + notional * ratio * quote.price.high
        requirement = requirement + OPEN_ORDER_CHARGE * np.asarray(one.open_orders)
        collateral = collateral + _perpetual_pnl(one, quote.price)
    if not (np.isfinite(collateral).all() and np.isfinite(requirement).all()):
        raise ValueError("balances, positions and weights must be finite")
    return DriftMargin(np.asarray(collateral), np.asarray(requirement))


def liquidation_price(
    free_collateral: ArrayLike,
    price: ArrayLike,
    base: ArrayLike,
    margin_ratio: ArrayLike,
    spot_balance: ArrayLike = 0.0,
    asset_weight: ArrayLike = 1.0,
    liability_weight: ArrayLike = 1.0,
) -> LiquidationPrice:
    """Return where free collateral is zero as the price of one asset moves, (...) -> (...).

    Free collateral is at ``price`` and at maintenance weights, whatever else the account holds. The
    asset may be held as a perpetual position (gains of weight one) and as a spot balance.

    >>> liquidation_price(950.0, 100.0, 10.0, 0.05).price.item()
    0.0
    >>> liquidation_price(95.0, 100.0, 10.0, 0.05).price.item()
    90.0
    """
    base, spot = np.asarray(base, np.float64), np.asarray(spot_balance, np.float64)
    weight = np.where(spot >= 0.0, asset_weight, liability_weight)
    slope = base - np.abs(base) * np.asarray(margin_ratio, np.float64) + spot * weight
    constant = np.asarray(free_collateral, np.float64) - slope * np.asarray(price, np.float64)
    return line_crossing(constant, slope)


def _riskier_fill(spot: Spot, custom_ratio: ArrayLike) -> tuple[Array, Array]:
    """Return weighted value of tokens and value of orders of the fill that leaves less."""
    balance = np.asarray(spot.balance, np.float64)
    bids, asks = lending.non_negative("bids", spot.bids), lending.non_negative("asks", spot.asks)
    bought, sold = (
        _worth(balance + bids, spot, custom_ratio),
        _worth(balance - asks, spot, custom_ratio),
    )
    paid, earned = -bids * spot.price.high, asks * spot.price.high
    by_asks = sold + earned <= bought + paid
    return np.where(by_asks, sold, bought), np.where(by_asks, earned, paid)


def _worth(balance: Array, spot: Spot, custom_ratio: ArrayLike) -> Array:
    """Return the weighted value of a balance, negative for a borrow."""
    own = np.asarray(custom_ratio, np.float64)
    asset = np.where(
        own > 0.0, np.minimum(spot.asset_weight, np.maximum(1.0 - own, 0.0)), spot.asset_weight
    )
    liability = np.where(
        own > 0.0, np.maximum(spot.liability_weight, 1.0 + own), spot.liability_weight
    )
    return np.where(
        balance >= 0.0, balance * spot.price.low * asset, balance * spot.price.high * liability
    )


def _perpetual_pnl(one: Perpetual, quote: OraclePrice) -> Array:
    pnl = np.asarray(one.pnl, np.float64)
    return np.where(pnl > 0.0, pnl * quote.low * np.asarray(one.pnl_weight), pnl * quote.high)


def _split(value: Array) -> tuple[Array, Array]:
    """Return the positive part and, as a positive number, the negative part."""
    return np.maximum(value, 0.0), np.maximum(-value, 0.0)
