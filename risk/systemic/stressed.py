"""Accounts under stress, what became of those that were liquidated, and what they gain.

Who was never liquidated has no state of its own, so that a pass over the many costs one line of
P&L each.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from risk.kernels.compilation import compiled, kernel
from risk.kernels.positions import read_only

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]

UNTOUCHED = -1
"""The row of the state of an account that was never liquidated."""

SIDES = ("long", "short")
"""Sides of a position, by their places."""


@dataclass(frozen=True, slots=True)
class StressedAccounts:
    """Accounts under stress: what they hold, what they have, and what keeps them from liquidation.

    ``offsets`` ``(account+1,)`` cuts ``instrument`` and ``quantity`` ``(position,)``, contracts,
    long positive. ``equity`` and ``maintenance`` are ``(account,)``, reporting currency; ``group``
    ``(account,)`` is whose account it is, and -1 where it is held back and left out. ``impaired``
    ``(account,)`` is what collateral counts more than in ``equity``, below 0 where it counts less.
    """

    offsets: Rows
    instrument: NDArray[np.int32]
    quantity: Floats
    equity: Floats
    maintenance: Floats
    group: NDArray[np.int32]
    impaired: Floats | None = None

    def __len__(self) -> int:
        return len(self.equity)

    @property
    def impairment(self) -> Floats:
        """Return ``impaired``, nothing where it is left out."""
        return np.zeros(len(self)) if self.impaired is None else self.impaired

    @property
    def backing(self) -> Floats:
        """Return what accounts have before what they gain or lose, ``(account,)``."""
        return self.equity if self.impaired is None else self.equity + self.impaired


@dataclass(frozen=True, slots=True)
class Liquidated:
    """What became of the accounts that were liquidated in some scenario, ``(row, scenario)``.

    ``row`` ``(account,)`` is where an account stands, -1 where it was never liquidated.
    ``remaining`` is the part of its positions that it still has, ``cash`` what closing gained it,
    fees taken off.
    """

    row: Rows
    remaining: Floats
    cash: Floats

    @classmethod
    def nobody(cls, accounts: int, scenarios: int) -> "Liquidated":
        """Return the state before the first round."""
        none = np.zeros((0, scenarios))
        return cls(np.full(accounts, UNTOUCHED, dtype=np.int64), none, none)

    def take(self, scenarios: NDArray[np.int64]) -> "Liquidated":
        """Return the state in some of the scenarios."""
        return Liquidated(self.row, self.remaining[:, scenarios], self.cash[:, scenarios])

    def of(self, scenario: int) -> tuple[Floats, Floats]:
        """Return the part that each account still has, and its cash, ``(account,)`` each."""
        remaining, cash = np.ones(len(self.row)), np.zeros(len(self.row))
        touched = np.flatnonzero(self.row >= 0)
        remaining[touched] = self.remaining[self.row[touched], scenario]
        cash[touched] = self.cash[self.row[touched], scenario]
        return remaining, cash

    def less(self, account: Rows, scenario: Rows, money: Floats) -> "Liquidated":
        """Return the state once accounts have given up money, ``(hit,)`` each.

        An account may be named more than once in a scenario.
        """
        fresh = np.unique(account[self.row[account] < 0])
        row = self.row.copy()
        row[fresh] = len(self.remaining) + np.arange(len(fresh))
        more = np.zeros((len(fresh), self.remaining.shape[1]))
        cash = np.concatenate([self.cash, more])
        np.add.at(cash, (row[account], scenario), -money)
        return Liquidated(row, np.concatenate([self.remaining, more + 1.0]), cash)


@compiled
def add_pnl(
    instrument: Any, quantity: Any, start: int, stop: int, cube: Any, pnl: Floats
) -> None:  # fmt: skip
    """Set a row of scenarios to what an account's positions gain, ``(scenario,)``."""
    pnl[:] = 0.0
    for p in range(start, stop):
        cells = cube[instrument[p]]
        for s in range(pnl.size):
            pnl[s] += quantity[p] * cells[s]


@kernel
def _gains(
    offsets: Any, instrument: Any, quantity: Any, equity: Any, maintenance: Any, cube: Any,
    row: Any, remaining: Any, cash: Any, gains: Any,
) -> None:  # fmt: skip
    for account in range(equity.size):
        k, gained = row[account], gains[account]
        add_pnl(instrument, quantity, offsets[account], offsets[account + 1], cube, gained)
        if k >= 0:
            for s in range(gained.size):
                gained[s] = cash[k, s] + remaining[k, s] * gained[s]


def gains(accounts: StressedAccounts, state: Liquidated, cube: Floats) -> Floats:
    """Return what accounts have gained since first prices, ``(account, scenario)``.

    What remains at the prices of ``cube`` ``(instrument, scenario)``, P&L of one contract, and
    what was closed at the prices of its closing.
    """
    found = np.zeros((len(accounts), cube.shape[1]))
    _gains(
        *as_read(accounts), read_only(cube, np.float64), state.row, state.remaining, state.cash,
        found,
    )  # fmt: skip
    return found


def as_read(accounts: StressedAccounts) -> tuple[NDArray[Any], ...]:
    """Return offsets, instruments, quantities, backing and maintenance as kernels take them."""
    return (
        read_only(accounts.offsets, np.int64),
        read_only(accounts.instrument, np.int32),
        read_only(accounts.quantity, np.float64),
        read_only(accounts.backing, np.float64),
        read_only(accounts.maintenance, np.float64),
    )
