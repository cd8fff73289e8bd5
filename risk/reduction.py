"""The cheapest way back to health: a deposit, or trades that require less.

Trades are at the mark and cost nothing, so equity stays what it is: an option or a coin turns into
as much cash, a future or a perpetual has no value. Only the requirement moves. Trades are whole
lots, and their cost is the notional traded.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from risk.allocation import Requirement

Floats = NDArray[np.float64]
Lots = NDArray[np.int64]

GRID, LEAST_GRID = 32, 8
"""Fractions of a position at which a way out is looked for before it is narrowed down.

A requirement need not fall all the way: who closes a hedge may pass through health and leave it
again. A way out that is narrower than one part of the grid can be missed. The grid is finest up to
``GRID`` positions and grows coarser, down to ``LEAST_GRID``, as there are more of them.
"""

MOST_TRADES = 8
"""Trades in a sequence before it is given up: whoever needs more reduces in proportion."""


@dataclass(frozen=True, slots=True)
class Trade:
    """A reduction of one leg: of its quantity a fraction, toward zero, in whole lots.

    ``contracts`` is signed as bought or sold; ``notional`` is not negative, reporting currency;
    ``released`` is by how much the requirement falls.
    """

    leg: int
    fraction: float
    contracts: float
    notional: float
    released: float


@dataclass(frozen=True, slots=True)
class WayBack:
    """Ways back to an excess that is not negative.

    ``deposit`` alone does it. So does ``single``, of all single reductions that suffice the one
    with the least notional; where there is none, ``sequence``, trade after trade, and
    ``proportional``, the same fraction of every position before it is rounded to lots. Where a
    way does not exist it is None or empty: nothing helps an equity that is negative but a deposit.
    """

    deposit: float
    single: Trade | None
    sequence: tuple[Trade, ...]
    proportional: float | None


@dataclass(frozen=True, slots=True)
class Portfolio:
    """Legs in whole lots, ``(leg,)`` each: lots signed, contracts of a lot, notional of one lot.

    ``equity`` is of the whole account, reporting currency.
    """

    lots: Lots
    lot_size: Floats
    lot_notional: Floats
    equity: float


def way_back(requirement: Requirement, portfolio: Portfolio) -> WayBack:
    """Return the ways in which an account gets back to ``equity >= requirement``.

    ``requirement`` is of quantities in contracts, ``(portfolio, leg) -> (portfolio,)``. An account
    that is there already needs no deposit and no trade.
    """
    search = _Search(requirement, portfolio)
    excess = search.excess(portfolio.lots[None])[0]
    if excess >= 0.0:
        return WayBack(0.0, None, (), None)
    single = search.cheapest(portfolio.lots)
    if single is not None:
        return WayBack(-float(excess), single, (), None)
    return WayBack(-float(excess), None, search.greedy(portfolio.lots), search.proportional())


class _Search:
    """Looks for trades; every question is put for all legs at once."""

    def __init__(self, requirement: Requirement, portfolio: Portfolio) -> None:
        self._requirement = requirement
        self._of = portfolio
        self._seen: tuple[bytes, tuple[Lots, Lots, Floats]] | None = None

    def excess(self, lots: Lots | Floats) -> Floats:
        """Return equity less requirement, ``(portfolio, leg) -> (portfolio,)``."""
        return self._of.equity - self._requirement(lots * self._of.lot_size)

    def cheapest(self, lots: Lots) -> Trade | None:
        """Return the single reduction that suffices with the least notional, if one does."""
        legs, fewest = self._fewest_lots(lots)
        if not len(legs):
            return None
        cost = fewest * self._of.lot_notional[legs]
        best = int(np.argmin(cost))
        return self._trade(lots, int(legs[best]), int(fewest[best]))

    def greedy(self, lots: Lots) -> tuple[Trade, ...]:
        """Return trades that suffice one after another; none at all where they never do.

        Each releases the most that one leg can, until a single reduction finishes. A sequence
        ends without success where no single leg helps any more: legs that hedge each other may have
        to be reduced together.
        """
        trades: list[Trade] = []
        left = lots.copy()
        for _ in range(MOST_TRADES):
            trade = self.cheapest(left)
            if trade is not None:
                return (*trades, trade)
            trade = self._most(left)
            if trade is None:
                break
            trades.append(trade)
            left[trade.leg] += round(trade.contracts / self._of.lot_size[trade.leg])
        return ()

    def proportional(self) -> float | None:
        """Return the least fraction of all positions that suffices, if all of them do."""
        fractions = np.arange(GRID + 1) / GRID
        good = self._scaled(fractions) >= 0.0
        if not good.any():
            return None
        high = float(fractions[np.argmax(good)])
        low = high - 1.0 / GRID
        for _ in range(50):
            middle = 0.5 * (low + high)
            if self._scaled(np.array([middle]))[0] >= 0.0:
                high = middle
            else:
                low = middle
        return high

    def _scaled(self, fractions: Floats) -> Floats:
        return self.excess((1.0 - fractions)[:, None] * self._of.lots)

    def _fewest_lots(self, lots: Lots) -> tuple[Lots, Lots]:
        """Return the legs of which some reduction suffices, and the fewest lots of each."""
        legs, traded, excess = self._grid(lots)
        good = excess >= 0.0
        legs, first = legs[good.any(axis=1)], np.argmax(good, axis=1)[good.any(axis=1)]
        rows = np.flatnonzero(good.any(axis=1))
        high = traded[rows, first]
        low = np.where(first > 0, traded[rows, np.maximum(first - 1, 0)], 0)
        while (high - low > 1).any():
            middle = (low + high) // 2
            enough = self.excess(self._reduced(lots, legs, middle)) >= 0.0
            low, high = np.where(enough, low, middle), np.where(enough, middle, high)
        return legs, high

    def _most(self, lots: Lots) -> Trade | None:
        """Return the reduction of one leg that lifts excess most, the least of it on a tie."""
        legs, traded, excess = self._grid(lots)
        if not len(legs):
            return None
        at = np.unravel_index(int(np.argmax(excess)), excess.shape)
        now = float(self.excess(lots[None])[0])
        # Rounding is no relief.
        if excess[at] <= now + 1e-12 * abs(self._of.equity - now):
            return None
        return self._trade(lots, int(legs[at[0]]), int(traded[at]))

    def _grid(self, lots: Lots) -> tuple[Lots, Lots, Floats]:
        """Return the legs that are held, lots traded of each at the fractions, and the excess."""
        key = lots.tobytes()
        if self._seen is None or self._seen[0] != key:
            self._seen = key, self._looked_at(lots)
        return self._seen[1]

    def _looked_at(self, lots: Lots) -> tuple[Lots, Lots, Floats]:
        legs = np.flatnonzero(lots)
        points = max(LEAST_GRID, min(GRID, GRID * GRID // max(len(legs), 1)))
        size = np.abs(lots[legs])[:, None]
        part = np.arange(1, points + 1)
        # Whole lots, rounded up, without the product of lots and parts running over.
        traded = size // points * part + -(-(size % points * part) // points)
        flat = self._reduced(lots, np.repeat(legs, points), traded.ravel())
        excess = self.excess(flat) if len(flat) else np.zeros(0)
        return legs, traded, excess.reshape(traded.shape)

    def _reduced(self, lots: Lots, legs: Lots, traded: Lots) -> Lots:
        """Return the lots after each of some reductions, ``(trade, leg)``."""
        reduced = np.tile(lots, (len(legs), 1))
        reduced[np.arange(len(legs)), legs] -= np.sign(lots[legs]) * traded
        return reduced

    def _trade(self, lots: Lots, leg: int, traded: int) -> Trade:
        after = self._reduced(lots, np.array([leg]), np.array([traded]))
        gained = self.excess(np.vstack([after, lots]))
        return Trade(
            leg=leg,
            fraction=traded / abs(int(lots[leg])),
            contracts=-float(np.sign(lots[leg])) * traded * float(self._of.lot_size[leg]),
            notional=traded * float(self._of.lot_notional[leg]),
            released=float(gained[0] - gained[1]),
        )
