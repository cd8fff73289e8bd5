"""Auto-deleveraging: which winners close against a bankrupt position, how much, and at what price.

A ranking gives every candidate a score; an allocation spreads the contracts: to the highest
scores first, or pro rata. Only accounts on the other side of the bankrupt position are candidates,
so that a flat account is never hit and contracts still sum to zero. Contracts are whole lots.

Sources of the rankings are with each. On allocations: T. Chitra, "Autodeleveraging: impossibilities
and optimization" (arXiv 2512.01112): queues take more from winners than the shortfall needs.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field

from risk.specification import Name, Specification

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Candidates:
    """Positions in one instrument, all ``(position,)``.

    ``account`` is the account's row and settles ties; ``quantity`` signed lots; ``entry`` and
    ``bankruptcy`` prices, the latter where the account's value would be zero; ``account_value``
    money with unrealised profit, ``wallet`` without; ``maintenance`` money. ``mark`` is the price
    now and ``lot`` the contract's size; a ranking takes them ``(position,)`` as well, for positions
    in several instruments.
    """

    account: Integers
    quantity: Integers
    entry: Floats
    bankruptcy: Floats
    account_value: Floats
    wallet: Floats
    maintenance: Floats
    mark: float | Floats
    lot: float | Floats = 1.0

    @property
    def side(self) -> Floats:
        """Return 1 for long, -1 for short and 0 for flat."""
        return np.sign(self.quantity).astype(np.float64)

    @property
    def notional(self) -> Floats:
        """Return the size of each position at the mark, money of 0 up."""
        return np.abs(self.quantity) * self.lot * self.mark

    @property
    def profit(self) -> Floats:
        """Return unrealised P&L, money, gains positive."""
        return self.quantity * self.lot * (self.mark - self.entry)

    @property
    def leverage(self) -> Floats:
        """Return notional over account value."""
        return _over(self.notional, self.account_value)


def bitmex_score(
    side: ArrayLike, entry: ArrayLike, mark: ArrayLike, bankruptcy: ArrayLike
) -> Floats:
    """Return P&L % times effective leverage, or over it where the P&L is negative.

    Effective leverage is the size of mark value over mark value less bankruptcy value. Source:
    BitMEX support, "What is auto-deleveraging?".

    >>> bitmex_score([1.0], [100.0], [110.0], [90.0]).round(12).tolist()
    [0.55]
    """
    way, first, now, broke = (np.asarray(x, np.float64) for x in (side, entry, mark, bankruptcy))
    profit = way * (now - first) / first
    leverage = _over(np.abs(now), np.abs(now - broke))
    return np.asarray(np.where(profit > 0.0, profit * leverage, _over(profit, leverage)))


def binance_score(profit: ArrayLike, wallet: ArrayLike, maintenance: ArrayLike) -> Floats:
    """Return P&L % times margin ratio: max(0, P) / max(1, W) times M / (W + P).

    P is unrealised profit, W wallet balance and M maintenance margin, all in the settlement
    currency; the ratio is 0 where W + P is not positive. Source: Binance support, "What is
    auto-deleveraging (ADL)?"; a question on their developers' forum quotes the formula.

    >>> binance_score([50.0], [100.0], [15.0]).round(12).tolist()
    [0.05]
    """
    gain, held, needed = (np.asarray(x, np.float64) for x in (profit, wallet, maintenance))
    ratio = np.where(held + gain > 0.0, _over(needed, held + gain), 0.0)
    return np.asarray(np.maximum(gain, 0.0) / np.maximum(held, 1.0) * ratio)


def hyperliquid_score(
    entry: ArrayLike, mark: ArrayLike, notional: ArrayLike, account_value: ArrayLike
) -> Floats:
    """Return (mark / entry) times (notional / account value), as published, for both sides.

    Taken by the letter, of two shorts with equal leverage the one that gained less comes first.
    Source: Hyperliquid documentation, "Auto-deleveraging".

    >>> hyperliquid_score([100.0], [120.0], [240.0], [80.0]).round(12).tolist()
    [3.6]
    """
    first, now = np.asarray(entry, np.float64), np.asarray(mark, np.float64)
    return np.asarray(_over(now, first) * _over(np.asarray(notional), np.asarray(account_value)))


def bluefin_score(
    side: ArrayLike,
    entry: ArrayLike,
    mark: ArrayLike,
    margin_ratio: ArrayLike,
    maintenance_ratio: ArrayLike,
) -> Floats:
    """Return max(0, side (mark - entry) / entry) / max(maintenance ratio, margin ratio).

    Source: Bluefin documentation, "Auto-deleveraging".

    >>> bluefin_score([-1.0], [100.0], [80.0], [0.02], [0.03]).round(6).tolist()
    [6.666667]
    """
    way, first, now = (np.asarray(x, np.float64) for x in (side, entry, mark))
    least = np.maximum(np.asarray(margin_ratio), np.asarray(maintenance_ratio))
    return _over(np.maximum(way * (now - first) / first, 0.0), least)


def zubr_score(profit_fraction: ArrayLike, leverage: ArrayLike) -> Floats:
    """Return P&L % times leverage. Source: ZUBR help centre, "Auto-deleverage", with its table.

    >>> zubr_score([0.11, 0.12], [11.0, 5.0]).round(12).tolist()
    [1.21, 0.6]
    """
    return np.asarray(np.asarray(profit_fraction, np.float64) * np.asarray(leverage, np.float64))


Ranking = Callable[[Candidates], Floats]

RANKINGS: Mapping[str, Ranking] = MappingProxyType(
    {
        "bitmex": lambda c: bitmex_score(c.side, c.entry, c.mark, c.bankruptcy),
        "binance": lambda c: binance_score(c.profit, c.wallet, c.maintenance),
        "hyperliquid": lambda c: hyperliquid_score(c.entry, c.mark, c.notional, c.account_value),
        "bluefin": lambda c: bluefin_score(
            c.side,
            c.entry,
            c.mark,
            _over(c.account_value, c.notional),
            _over(c.maintenance, c.notional),
        ),
        "zubr": lambda c: zubr_score(c.side * (c.mark - c.entry) / c.entry, c.leverage),
    }
)
"""The published rankings by name; a rule of one's own is another entry of a mapping like this."""


class DeleveragingSpec(Specification):
    """How a venue deleverages.

    ``queue`` closes the highest scores first; ``pro_rata`` every candidate by its size;
    ``risk_aware`` by size times leverage. Fills are at the ``bankruptcy`` price of the bankrupt
    position, or at the mark of the moment before (``previous_mark``). ``ranking`` is a name among
    ``RANKINGS``, or of a mapping of one's own.
    """

    ranking: Name
    allocation: Literal["queue", "pro_rata", "risk_aware"] = "queue"
    fill: Literal["bankruptcy", "previous_mark"] = "bankruptcy"
    source: Annotated[str, Field(min_length=1)]


@dataclass(frozen=True, slots=True)
class Deleveraging:
    """What was closed.

    ``change`` ``(position,)`` is added to each candidate's quantity, and with ``unfilled`` (signed
    lots that found no other side) it is the bankrupt quantity: bankrupt position and candidates
    together still sum to what they did. ``haircut`` ``(position,)`` is the profit given up
    against the mark, positive money (negative where the fill is better than the mark). ``score``
    ``(position,)`` is the ranking's, ``order`` the candidates' rows, the first to close first.
    """

    change: Integers
    unfilled: int
    haircut: Floats
    score: Floats
    order: Integers

    def overshoot(self, shortfall: float) -> float:
        """Return the haircut taken over the shortfall reported; above 1 takes more than needed.

        Raises:
            ValueError: the shortfall is not positive.
        """
        if not shortfall > 0.0:
            raise ValueError(f"shortfall is {shortfall}; allowed is money above 0")
        return float(self.haircut.sum() / shortfall)


def deleverage(
    spec: DeleveragingSpec,
    candidates: Candidates,
    bankrupt: int,
    bankruptcy_price: float,
    previous_mark: float,
    rankings: Mapping[str, Ranking] = RANKINGS,
) -> Deleveraging:
    """Return who closes against a bankrupt position of so many signed lots.

    Candidates are those on the other side with a positive account value: an account without it
    is bankrupt itself. Ties of scores, and of remainders, go to the lower account row.

    Raises:
        ValueError: quantities are no whole lots, a price is not positive, or the ranking is
            unknown.
    """
    if spec.ranking not in rankings:
        raise ValueError(f"ranking is {spec.ranking!r}; allowed are {sorted(rankings)}")
    if not np.issubdtype(candidates.quantity.dtype, np.integer):
        raise ValueError(f"quantity is {candidates.quantity.dtype}; allowed are whole lots, int64")
    fill = bankruptcy_price if spec.fill == "bankruptcy" else previous_mark
    if not 0.0 < fill < np.inf:
        raise ValueError(f"{spec.fill} price is {fill}; allowed is a finite number above 0")
    score = rankings[spec.ranking](candidates)
    opposite = np.sign(candidates.quantity) == -np.sign(bankrupt)
    rows = np.flatnonzero(opposite & (candidates.quantity != 0) & (candidates.account_value > 0.0))
    order = rows[np.lexsort((candidates.account[rows], -score[rows]))]
    size = np.abs(candidates.quantity[order])
    wanted = min(abs(int(bankrupt)), int(size.sum()))
    if spec.allocation == "queue":
        closed = np.clip(wanted - (np.cumsum(size) - size), 0, size)
    else:
        weight = size.astype(np.float64)
        if spec.allocation == "risk_aware":
            weight = weight * candidates.leverage[order]
        closed = whole_shares(wanted, weight, size, candidates.account[order])
    change = np.zeros(len(candidates.quantity), np.int64)
    change[order] = np.sign(bankrupt) * closed
    given_up = np.abs(change) * candidates.lot * candidates.side * (candidates.mark - fill)
    unfilled = int(np.sign(bankrupt)) * (abs(int(bankrupt)) - wanted)
    return Deleveraging(change, unfilled, given_up, score, order)


def whole_shares(total: int, weight: ArrayLike, room: ArrayLike, tie: ArrayLike) -> Integers:
    """Return whole numbers that add up to a total, in proportion to weights, ``(share,)``.

    No share exceeds its ``room``; what that leaves goes to the others in proportion. Units that
    rounding down leaves go to the largest remainders, the lower ``tie`` first.

    Raises:
        ValueError: the room is less than the total.

    >>> whole_shares(10, [1.0, 1.0, 2.0], [9, 2, 9], [0, 1, 2]).tolist()
    [3, 2, 5]
    """
    heavy, most, first = np.asarray(weight, np.float64), np.asarray(room), np.asarray(tie)
    if not 0 <= total <= int(most.sum()):
        raise ValueError(f"total is {total}; allowed is 0 to the room of {int(most.sum())}")
    ideal = _capped_shares(float(total), heavy, most.astype(np.float64))
    share: Integers = np.minimum(np.floor(ideal).astype(np.int64), most)
    order = np.lexsort((first, share - ideal))
    while (left := total - int(share.sum())) > 0:
        open_rows = order[share[order] < most[order]]
        share[open_rows[:left]] += 1
    while left < 0:
        open_rows = order[::-1][share[order[::-1]] > 0]
        share[open_rows[:-left]] -= 1
        left = total - int(share.sum())
    return share


def _capped_shares(total: float, weight: Floats, room: Floats) -> Floats:
    """Return min(room, level weight) with the level at which they add up to a total."""
    level = _over(room, weight)
    order = np.argsort(level, kind="stable")
    full = np.concatenate([[0.0], np.cumsum(room[order])[:-1]])
    rest = np.cumsum(weight[order][::-1])[::-1]
    reached = full + np.where(np.isfinite(level[order]), level[order], 0.0) * rest
    enough = np.flatnonzero((reached >= total) & (rest > 0.0))
    if not len(enough):
        # All that have weight are full; the others take the rest by their room.
        unweighted = np.where(weight > 0.0, 0.0, room)
        rest_of_total = total - room.sum() + unweighted.sum()
        return np.where(weight > 0.0, room, _over(unweighted * rest_of_total, unweighted.sum()))
    cut = int(enough[0])
    return np.asarray(np.minimum(room, weight * (total - full[cut]) / rest[cut]))


def _over(numerator: ArrayLike, denominator: ArrayLike) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.asarray(numerator, np.float64) / np.asarray(denominator, np.float64)
    return np.asarray(np.where(np.isnan(found), 0.0, found))
