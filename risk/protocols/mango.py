"""Mango v4: health of accounts with tokens, perpetuals and spot orders.

Health is the weighted value of the tokens, where the worst case of each perpetual is first added to
the token that it settles in, plus what funds reserved in spot orders add at least. Below zero the
account may not take risk (initial weights) or is liquidated (maintenance weights).

Source: blockworks-foundation/mango-v4, programs/mango-v4/src/health/cache.rs.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from risk.liquidation import LiquidationRange, liquidation_range
from risk.protocols import lending

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Tokens:
    """Price and weights of each token, (token,); the weights at which health is asked for."""

    price: Array
    asset_weight: Array
    liability_weight: Array


@dataclass(frozen=True, slots=True)
class Perpetual:
    """One perpetual market and the positions in it, (...) per account.

    ``base``, ``bids`` and ``asks`` are in units of the base, ``quote`` in the settlement token,
    gains positive. ``overall_asset_weight`` counts a positive worst case in part.
    """

    price: float
    base_asset_weight: float
    base_liability_weight: float
    overall_asset_weight: float
    settle_token: int
    base: ArrayLike
    quote: ArrayLike
    bids: ArrayLike = 0.0
    asks: ArrayLike = 0.0


@dataclass(frozen=True, slots=True)
class SpotOrders:
    """Funds reserved in the orders of one spot market, (...) per account, 0 or more."""

    base_token: int
    quote_token: int
    reserved_base: ArrayLike
    reserved_quote: ArrayLike


def scaled_asset_weight(weight: ArrayLike, deposits_value: ArrayLike, start: ArrayLike) -> Array:
    """Return the initial asset weight after deposits worth more than ``start`` have scaled it.

    >>> scaled_asset_weight(0.5, 7_500.0, 5_000.0).round(6).item()
    0.333333
    """
    value = lending.non_negative("deposits", deposits_value)
    return np.asarray(weight * np.minimum(1.0, _ratio(lending.non_negative("start", start), value)))


def scaled_liability_weight(weight: ArrayLike, borrows_value: ArrayLike, start: ArrayLike) -> Array:
    """Return the initial liability weight after borrows worth more than ``start`` have scaled it.

    >>> scaled_liability_weight(1.5, 7_500.0, 5_000.0).item()
    2.25
    """
    value = lending.non_negative("borrows", borrows_value)
    return np.asarray(weight * np.maximum(1.0, _ratio(value, lending.non_negative("start", start))))


def health(
    tokens: Tokens,
    balance: ArrayLike,
    perpetuals: Sequence[Perpetual] = (),
    orders: Sequence[SpotOrders] = (),
) -> Array:
    """Return the health of accounts, (account, token) -> (account,), in the reporting currency.

    Raises:
        ValueError: a reserved amount or an open order is negative, or something is not finite.

    >>> tokens = Tokens(np.array([1.0, 5.0]), np.array([0.8, 0.5]), np.array([1.2, 1.5]))
    >>> health(tokens, [100.0, -10.0]).item()
    5.0
    """
    held = _with_perpetuals(balance, perpetuals)
    total = _weighted(tokens, held, np.zeros_like(held)).sum(axis=-1)
    reserved = [_as_either(tokens, one) for one in orders]
    most = held.copy()
    for order, (base, quote) in zip(orders, reserved, strict=True):
        most[..., order.base_token] += base
        most[..., order.quote_token] += quote
    for order, (base, quote) in zip(orders, reserved, strict=True):
        as_base = _added(tokens, most, order.base_token, base)
        as_quote = _added(tokens, most, order.quote_token, quote)
        total = total + np.minimum(as_base, as_quote)
    return np.asarray(total)


def perpetual_health(perpetual: Perpetual) -> Array:
    """Return the worst of all bids and of all asks filled, in the settlement token, (...).

    >>> market = Perpetual(5.0, 0.8, 1.2, 0.95, 0, base=30.0, quote=-131.0, bids=70.0, asks=110.0)
    >>> perpetual_health(market).item()
    -81.0
    """
    worst = np.asarray(perpetual.quote, np.float64) + _worst_base(perpetual) * perpetual.price
    return np.asarray(np.where(worst > 0.0, worst * perpetual.overall_asset_weight, worst))


def perpetual_liquidation_range(
    tokens: Tokens, balance: ArrayLike, perpetuals: Sequence[Perpetual], market: int
) -> LiquidationRange:
    """Return the prices of one perpetual between which one account without spot orders is healthy.

    Health bends where the perpetual's worst case and where the token that it settles in change
    their sign. The prices of tokens and of the other perpetuals stay.

    Raises:
        ValueError: the account is unhealthy at the present price.

    >>> tokens = Tokens(np.array([1.0]), np.array([1.0]), np.array([1.0]))
    >>> long = Perpetual(100.0, 0.9, 1.1, 1.0, 0, base=1.0, quote=-100.0)
    >>> round(perpetual_liquidation_range(tokens, [28.0], [long], 0).below, 9)
    80.0
    """
    moved = perpetuals[market]
    others = [one for row, one in enumerate(perpetuals) if row != market]
    held = _with_perpetuals(balance, others)

    def at(prices: Array) -> Array:
        contribution = perpetual_health(replace(moved, price=prices))  # type: ignore[arg-type] # broadcasts
        together = np.repeat(held[None, :], len(prices), axis=0)
        together[:, moved.settle_token] += contribution
        return np.asarray(_weighted(tokens, together, np.zeros_like(together)).sum(axis=-1))

    quote, slope = float(np.asarray(moved.quote)), float(_worst_base(moved))
    settled = float(held[moved.settle_token])
    bends = [
        (-settled / weight - quote) / slope
        for weight in (1.0, moved.overall_asset_weight)
        if slope != 0.0 and weight > 0.0
    ]
    return liquidation_range(at, moved.price, [*bends, -quote / slope] if slope else [])


def _worst_base(perpetual: Perpetual) -> Array:
    """Return the weighted base that is left per unit of price in the worse of the two fills."""
    bids = lending.non_negative("bids", perpetual.bids)
    asks = lending.non_negative("asks", perpetual.asks)
    base = np.asarray(perpetual.base, np.float64)
    return np.minimum(
        _weighted_base(perpetual, base + bids) - bids, _weighted_base(perpetual, base - asks) + asks
    )


def _weighted_base(perpetual: Perpetual, base: Array) -> Array:
    weight = np.where(base < 0.0, perpetual.base_liability_weight, perpetual.base_asset_weight)
    return np.asarray(base * weight)


def _with_perpetuals(balance: ArrayLike, perpetuals: Sequence[Perpetual]) -> Array:
    held = np.array(balance, dtype=np.float64)
    for one in perpetuals:
        held[..., one.settle_token] += perpetual_health(one)
    if not np.isfinite(held).all():
        raise ValueError("balances and perpetual positions must be finite")
    return held


def _weighted(tokens: Tokens, upper: Array, lower: Array) -> Array:
    """Return what the balance between two levels is worth, negative balances as liabilities."""
    assets = np.maximum(upper, 0.0) - np.maximum(lower, 0.0)
    debts = np.minimum(upper, 0.0) - np.minimum(lower, 0.0)
    return tokens.price * (assets * tokens.asset_weight + debts * tokens.liability_weight)


def _added(tokens: Tokens, most: Array, token: int, reserved: Array) -> Array:
    """Return what reserved funds add to health if they are the last to arrive in a token.

    All that could arrive from every market is there already: that is where they are worth least.
    """
    one = Tokens(*(weights[..., token] for weights in _fields(tokens)))
    return _weighted(one, most[..., token], most[..., token] - reserved)


def _fields(tokens: Tokens) -> tuple[Array, Array, Array]:
    return tokens.price, tokens.asset_weight, tokens.liability_weight


def _as_either(tokens: Tokens, order: SpotOrders) -> tuple[Array, Array]:
    """Return the reserved funds of a market as if all were base, and as if all were quote."""
    base = lending.non_negative("reserved_base", order.reserved_base)
    quote = lending.non_negative("reserved_quote", order.reserved_quote)
    exchange = tokens.price[..., order.base_token] / tokens.price[..., order.quote_token]
    return np.asarray(base + quote / exchange), np.asarray(quote + base * exchange)


def _ratio(numerator: Array, denominator: Array) -> Array:
    """Return a quotient, infinite over zero."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(denominator > 0.0, numerator / denominator, np.inf))
