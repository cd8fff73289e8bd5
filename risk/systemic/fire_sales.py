"""Sales of common assets that lower prices for everybody who holds them.

``holdings`` is ``(holder, asset)`` in money at the prices before the sales. Losses and what is sold
are positive; a purchase is a negative sale.

Sources: R. Greenwood, A. Landier, D. Thesmar, "Vulnerable banks" (2015), leverage targets and
linear impact; R. Cont and E. Schaanning, "Fire sales, indirect contagion and systemic stress
testing" (2017), sales only beyond a bound, and overlaps weighted with liquidity; R. Cifuentes,
G. Ferrucci, H. Shin, "Liquidity risk and contagion" (2005), a fixed point of prices.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
LONGEST = 10_000


@dataclass(frozen=True, slots=True)
class LeverageTargeting:
    """One round of sales after a shock.

    ``sold`` ``(holder, asset)`` and ``price_fall`` ``(asset,)``, a fraction; ``second_loss``
    ``(holder,)`` is what the fall of prices takes from each, ``systemicness`` ``(holder,)`` the
    part of all equity that each one's sales take from all, and ``indirect_vulnerability``
    ``(holder,)`` the part of its own equity that each loses. ``aggregate_vulnerability``, the
    second loss of all over the equity of all, is the sum of ``systemicness``.
    """

    sold: Floats
    price_fall: Floats
    second_loss: Floats
    systemicness: Floats
    indirect_vulnerability: Floats
    aggregate_vulnerability: float


def leverage_targeting(
    holdings: ArrayLike, equity: ArrayLike, fall: ArrayLike, impact: ArrayLike
) -> LeverageTargeting:
    """Return what follows when every holder sells back to its former leverage.

    ``fall`` ``(asset,)`` is the part of its value that each asset loses at first (negative: it
    gains, and gains are followed by purchases); ``impact`` ``(asset,)`` the fall of a price, a
    fraction, for each unit of money sold. A holder with debt D and equity E that loses R sells
    R D / E over all its assets in proportion; one whose loss exceeds its equity sells all it
    has left. Falls are of the prices before the shock, as in the source.

    Raises:
        ValueError: shapes disagree, equity is not positive, or holdings are below equity.

    >>> found = leverage_targeting([[90.0], [90.0]], [10.0, 10.0], [0.05], [0.001])
    >>> round(found.aggregate_vulnerability, 6)
    0.648
    """
    held, own, first, slope = _checked(holdings, equity, fall, impact)
    total = held.sum(axis=1)
    if (own > total).any():
        raise ValueError("equity exceeds holdings; give all assets, cash as one without impact")
    loss = held @ first
    wanted = np.minimum(loss * (total - own) / own, total - loss)
    weight = np.divide(held, total[:, None], out=np.zeros_like(held), where=total[:, None] > 0.0)
    sold = wanted[:, None] * weight
    second_fall = slope * sold.sum(axis=0)
    second = held @ second_fall
    everyone = own.sum()
    return LeverageTargeting(
        sold=sold,
        price_fall=second_fall,
        second_loss=second,
        systemicness=sold @ (slope * held.sum(axis=0)) / everyone,
        indirect_vulnerability=second / own,
        aggregate_vulnerability=float(second.sum() / everyone),
    )


@dataclass(frozen=True, slots=True)
class ThresholdSales:
    """Where one-sided deleveraging comes to rest.

    ``price`` ``(asset,)`` is relative to that before the shock, ``sold`` ``(holder, asset)`` in
    money at the first prices, ``equity`` ``(holder,)`` what is left. ``fire_sale_loss``
    ``(holder,)`` is the loss beyond the shock's own. ``insolvent`` holders have no equity left,
    ``illiquid`` ones have sold all that they could and are still beyond their bound.
    """

    price: Floats
    sold: Floats
    equity: Floats
    fire_sale_loss: Floats
    insolvent: NDArray[np.bool_]
    illiquid: NDArray[np.bool_]
    rounds: int


def threshold_sales(
    holdings: ArrayLike,
    illiquid_assets: ArrayLike,
    equity: ArrayLike,
    fall: ArrayLike,
    depth: ArrayLike,
    leverage_limit: float,
    leverage_target: float,
    first_loss: ArrayLike = 0.0,
    smallest_sale: float = 1e-9,
) -> ThresholdSales:
    """Return what follows when a holder sells only once its leverage exceeds a bound.

    ``illiquid_assets`` ``(holder,)`` cannot be sold. ``fall`` ``(asset,)`` is the part of its
    value that each asset loses at first, ``first_loss`` ``(holder,)`` money lost besides. In each
    round a holder above ``leverage_limit`` (assets over equity) sells the same part of every asset,
    down to ``leverage_target``; an insolvent one sells nothing more, for it is resolved and
    not margined. A price falls by the factor exp(-sold / depth), ``depth`` ``(asset,)`` in money at
    the first prices, and sellers of a round get the mean of the prices before and after it. The
    sales end where a round sells no more than ``smallest_sale`` of all holdings.

    Raises:
        ValueError: shapes disagree, equity is not positive, limit and target are out of order, or
            holders still sell after 10,000 rounds.

    >>> found = threshold_sales([[100.0]], [0.0], [9.0], [0.05], [5_000.0], 20.0, 15.0)
    >>> found.rounds, found.price.round(6).tolist(), found.equity.round(4).tolist()
    (1, [0.943026], [3.431])
    """
    held, own, first, deep = _checked(holdings, equity, fall, depth)
    if not (deep > 0.0).all():
        raise ValueError(f"depth is {deep.min():g}; allowed is money above 0")
    if not 1.0 < leverage_target <= leverage_limit:
        raise ValueError(
            f"leverage_target is {leverage_target:g} and leverage_limit {leverage_limit:g}; "
            "allowed is above 1 and in this order"
        )
    fixed = np.broadcast_to(np.asarray(illiquid_assets, np.float64), own.shape)
    shocked = 1.0 - first
    price = shocked.copy()
    left = held.copy()
    after_shock = own - held @ first - np.asarray(first_loss, np.float64)
    equity_now = after_shock.copy()
    least = smallest_sale * held.sum()
    for rounds in range(LONGEST):  # noqa: B007  (counts the rounds that sold)
        liquid = left @ price
        above = (equity_now > 0.0) & (fixed + liquid > leverage_limit * equity_now)
        excess = fixed + liquid - leverage_target * equity_now
        part = np.divide(excess, liquid, out=np.zeros_like(liquid), where=above & (liquid > 0.0))
        sales = np.clip(part, 0.0, 1.0)[:, None] * left
        if sales.sum() <= least:
            break
        before, price = price, price * np.exp(-sales.sum(axis=0) / deep)
        left = left - sales
        equity_now = equity_now - left @ (before - price) - sales @ (before - price) / 2.0
    else:
        raise ValueError(f"holders still sell after {LONGEST:,} rounds; raise smallest_sale")
    insolvent = equity_now <= 0.0
    beyond = fixed + left @ price > leverage_limit * equity_now
    return ThresholdSales(
        price=price,
        sold=held - left,
        equity=equity_now,
        fire_sale_loss=after_shock - equity_now,
        insolvent=insolvent,
        illiquid=beyond & ~insolvent & (left @ price <= 0.0),
        rounds=rounds,
    )


def overlap(holdings: ArrayLike, depth: ArrayLike) -> Floats:
    """Return liquidity-weighted overlaps, Σ_k h_ik h_jk / depth_k, ``(holder, holder)``.

    To first order it is what holder i loses where holder j sells all it has.

    >>> overlap([[2.0, 1.0], [0.0, 3.0]], [1.0, 3.0]).round(6).tolist()
    [[4.333333, 1.0], [1.0, 3.0]]
    """
    held = np.asarray(holdings, np.float64)
    return np.asarray((held / np.asarray(depth, np.float64)) @ held.T)


def capital_ratio_sales(
    price: ArrayLike, quantity: ArrayLike, cash: ArrayLike, debt: ArrayLike, ratio: float
) -> Floats:
    """Return the least each holder sells to keep equity of ``ratio`` of its risky assets.

    ``price`` is that of the one illiquid asset; ``quantity`` ``(holder,)`` is held of it, ``cash``
    (what the ratio does not count) and ``debt`` ``(holder,)`` are money. A holder sells s with
    (price q + cash - debt) = ratio price (q - s), all of q where even that is not enough.

    >>> capital_ratio_sales(0.9, [10.0], [2.0], [10.0], 0.2).round(6).tolist()
    [4.444444]
    """
    one = np.asarray(price, np.float64)
    held = np.asarray(quantity, np.float64)
    own = one * held + np.asarray(cash, np.float64) - np.asarray(debt, np.float64)
    with np.errstate(divide="ignore"):
        kept = np.divide(own, ratio * one, out=np.zeros_like(held), where=own > 0.0)
    return np.asarray(held - np.minimum(kept, held))


def greatest_price(
    sales_at: Callable[[Floats], Floats],
    price_at: Callable[[Floats], Floats],
    start: ArrayLike = 1.0,
    tolerance: float = 1e-12,
) -> Floats:
    """Return the greatest prices at which the sales they force lead to them, ``(asset,)``.

    ``sales_at`` gives what is sold at prices and does not rise with them; ``price_at`` gives prices
    from what is sold and does not rise with it. From ``start``, the prices without sales, prices
    then fall to the greatest fixed point. Clearing inside ``sales_at`` joins both contagions.

    Raises:
        ValueError: prices rise, so that a function is not monotone, or still fall after 10,000
            rounds.

    >>> float(greatest_price(lambda p: 1.0 - p / 2.0, lambda s: np.exp(-0.2 * s)).round(6))
    0.895424
    """
    price = np.asarray(start, np.float64)
    for _ in range(LONGEST):
        following = np.asarray(price_at(sales_at(price)), np.float64)
        if (following > price + tolerance).any():
            raise ValueError("prices rose: sales_at and price_at must not rise with their argument")
        fallen = np.max(price - following, initial=0.0)
        price = following
        if fallen <= tolerance:
            return price
    raise ValueError(f"prices still fall after {LONGEST:,} rounds; raise the tolerance")


def _checked(
    holdings: ArrayLike, equity: ArrayLike, fall: ArrayLike, impact: ArrayLike
) -> tuple[Floats, Floats, Floats, Floats]:
    held, own = np.asarray(holdings, np.float64), np.asarray(equity, np.float64)
    if held.ndim != 2 or own.shape != held.shape[:1]:
        raise ValueError(
            f"holdings have the shape {held.shape} and equity {own.shape}; allowed are "
            "(holder, asset) and (holder,)"
        )
    if not (held >= 0.0).all() or not (own > 0.0).all():
        raise ValueError("holdings must be 0 or more and equity above 0 before the shock")
    assets = held.shape[1]
    first, slope = (np.broadcast_to(np.asarray(x, np.float64), (assets,)) for x in (fall, impact))
    if not (first <= 1.0).all() or not (slope >= 0.0).all():
        raise ValueError("fall must be at most 1, the whole value, and impact or depth 0 or more")
    return held, own, first, slope
