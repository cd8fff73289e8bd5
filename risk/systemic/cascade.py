"""A liquidation cascade: accounts below maintenance are sold, selling moves prices, and again.

Every round is one pass over all accounts at the prices of the round, all scenarios together. Who
was never liquidated has no state of its own, so a pass over the many costs one line of P&L each.

What is sold is added up in whole units of ``risk.kernels.sums.UNIT``: the order of accounts, and so
the cut into shards, changes no bit of it.
"""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from risk.kernels.compilation import compiled, kernel
from risk.kernels.positions import read_only
from risk.kernels.sums import UNIT, require_exact
from risk.specification import Fraction, NonNegative, Specification

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]

CLOSING = ("all", "slice", "to_target")
"""Ways to close an account, by their places."""

UNTOUCHED = -1
"""The row of the state of an account that was never liquidated."""


class LiquidationRules(Specification):
    """How an account below maintenance is closed.

    ``closing``: all at once, a ``slice`` of what it held at first in each round, or as much as
    restores equity to ``target`` times maintenance, no less than a slice. ``fee`` is a part of the
    notional closed. Below ``backstop`` times maintenance a vault takes over all that is left, at
    the price of the round, and nothing is sold; 0 is no vault.
    """

    closing: Literal["all", "slice", "to_target"] = "to_target"
    slice: Annotated[float, Field(gt=0.0, le=1.0)] = 0.2
    target: Annotated[float, Field(ge=1.0)] = 1.05
    fee: Fraction = 0.005
    backstop: NonNegative = 0.0


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


@dataclass(frozen=True, slots=True)
class Round:
    """What a round did to a run of accounts.

    ``sold`` and ``taken`` ``(instrument, scenario)``: notional at first prices of positions that
    were closed on the market and taken by the vault, signed as they were held. ``liquidated``
    ``(scenario,)``: accounts that were closed, in part or whole.
    """

    state: Liquidated
    sold: Floats
    taken: Floats
    liquidated: Rows


@dataclass(frozen=True, slots=True)
class Losses:
    """What accounts lose by the end, sums over accounts, ``(scenario,)`` or ``(group, scenario)``.

    ``lost``: of the accounts that lose. ``uncovered``: beyond their equity, by group.
    ``defaulted``: accounts whose equity is gone, by group. ``touched``: accounts that were closed
    at least in part. ``fees`` paid.
    """

    lost: Floats
    uncovered: Floats
    defaulted: Rows
    touched: Rows


@compiled
def _pnl(
    instrument: Any, quantity: Any, start: int, stop: int, cube: Any, pnl: Floats
) -> None:  # fmt: skip
    pnl[:] = 0.0
    for p in range(start, stop):
        cells = cube[instrument[p]]
        for s in range(pnl.size):
            pnl[s] += quantity[p] * cells[s]


@kernel
def _find(
    offsets: Any, instrument: Any, quantity: Any, equity: Any, maintenance: Any, group: Any,
    cube: Any, active: Any, row: Any, pnl: Floats, found: Any,
) -> None:  # fmt: skip
    """Mark accounts that were never liquidated and are below maintenance in an active scenario."""
    for account in range(equity.size):
        if group[account] < 0 or row[account] >= 0:
            continue
        start, stop = offsets[account], offsets[account + 1]
        if start == stop:
            continue
        _pnl(instrument, quantity, start, stop, cube, pnl)
        spare = equity[account] - maintenance[account]
        below = False
        for s in range(pnl.size):
            below |= active[s] and spare + pnl[s] < 0.0
        found[account] = below


@compiled
def _part(
    closing: int, slice_: float, target: float, fee: float, equity: float, required: float,
    gross: float, remaining: float,
) -> float:  # fmt: skip
    """Return the part of the first positions to close, never more than what remains.

    To restore equity E to target T times maintenance M by closing the part c of what remains:
    E - c F = T (1 - c) M, F the fee on all that remains.
    """
    if closing == 0 or equity <= 0.0:
        return remaining
    if closing == 1:
        return slice_ if slice_ < remaining else remaining
    freed = target * required - fee * gross
    part = (target * required - equity) / freed if freed > 0.0 else 1.0
    asked = part * remaining
    asked = slice_ if asked < slice_ else asked
    return asked if asked < remaining else remaining


@kernel
def _close(
    offsets: Any, instrument: Any, quantity: Any, equity: Any, maintenance: Any, cube: Any,
    notional: Any, active: Any, accounts: Any, row: Any, closing: int, slice_: float,
    target: float, fee: float, backstop: float, pnl: Floats, remaining: Any, cash: Any,
    sold: Any, taken: Any, liquidated: Any,
) -> None:  # fmt: skip
    """Close what is below maintenance among accounts that have a state."""
    for account in accounts:
        start, stop, k = offsets[account], offsets[account + 1], row[account]
        _pnl(instrument, quantity, start, stop, cube, pnl)
        gross = 0.0
        for p in range(start, stop):
            gross += abs(quantity[p]) * notional[instrument[p]]
        for s in range(pnl.size):
            left = remaining[k, s]
            if not active[s] or left <= 0.0:
                continue
            has = equity[account] + cash[k, s] + left * pnl[s]
            required = left * maintenance[account]
            if has >= required:
                continue
            vault = backstop > 0.0 and has < backstop * required
            part = left
            if not vault:
                part = _part(closing, slice_, target, fee, has, required, left * gross, left)
            cash[k, s] += part * pnl[s] - (0.0 if vault else fee * part * gross)
            remaining[k, s] = left - part
            liquidated[s] += 1
            for p in range(start, stop):
                i = instrument[p]
                term = np.rint(part * quantity[p] * notional[i] / UNIT)
                if vault:
                    taken[i, s] += term
                else:
                    sold[i, s] += term


def cascade_round(
    accounts: StressedAccounts,
    state: Liquidated,
    cube: Floats,
    notional: Floats,
    active: NDArray[np.bool_],
    rules: LiquidationRules,
) -> Round:
    """Close what is below maintenance at the prices of a round.

    ``cube`` ``(instrument, scenario)`` is P&L of one contract from first prices to those of the
    round, ``notional`` ``(instrument,)`` the size of one contract at first prices, ``active``
    ``(scenario,)`` where the cascade goes on. An account is below maintenance where equity, cash
    and P&L of what remains are less than maintenance of what remains. Nothing happens elsewhere.

    Raises:
        ValueError: SUM_TOO_LARGE, as ``require_exact``.
    """
    scenarios = cube.shape[1]
    held = _as_read(accounts)
    cells, going = read_only(cube, np.float64), read_only(active, np.bool_)
    found = np.zeros(len(accounts), dtype=np.bool_)
    pnl = np.zeros(scenarios)
    _find(*held, read_only(accounts.group, np.int32), cells, going, state.row, pnl, found)
    fresh = np.flatnonzero(found)
    row = state.row.copy()
    row[fresh] = len(state.remaining) + np.arange(len(fresh))
    remaining = np.concatenate([state.remaining, np.ones((len(fresh), scenarios))])
    cash = np.concatenate([state.cash, np.zeros((len(fresh), scenarios))])
    sold, taken = np.zeros(cube.shape), np.zeros(cube.shape)
    liquidated = np.zeros(scenarios, dtype=np.int64)
    _close(
        *held, cells, read_only(notional, np.float64), going, np.flatnonzero(row >= 0), row,
        CLOSING.index(rules.closing), rules.slice, rules.target, rules.fee, rules.backstop,
        pnl, remaining, cash, sold, taken, liquidated,
    )  # fmt: skip
    for name, sums in (("sold", sold), ("taken", taken)):
        require_exact(name, UNIT * sums)
    return Round(Liquidated(row, remaining, cash), UNIT * sold, UNIT * taken, liquidated)


@kernel
def _settle(
    offsets: Any, instrument: Any, quantity: Any, equity: Any, impaired: Any, group: Any,
    cube: Any, row: Any, remaining: Any, cash: Any, pnl: Floats, lost: Any, uncovered: Any,
    defaulted: Any, touched: Any,
) -> None:  # fmt: skip
    for account in range(equity.size):
        owner = group[account]
        if owner < 0:
            continue
        start, stop, k = offsets[account], offsets[account + 1], row[account]
        _pnl(instrument, quantity, start, stop, cube, pnl)
        for s in range(pnl.size):
            gained = pnl[s] + impaired[account]
            if k >= 0:
                gained = cash[k, s] + remaining[k, s] * pnl[s] + impaired[account]
                touched[s] += 1 if remaining[k, s] < 1.0 else 0
            if gained < 0.0:
                lost[s] -= np.rint(gained / UNIT)
                left = equity[account] + gained
                if left < 0.0:
                    # Who had nothing before answers for the whole loss, not for more.
                    beyond = left if equity[account] > 0.0 else gained
                    uncovered[owner, s] -= np.rint(beyond / UNIT)
                    defaulted[owner, s] += 1


def settle(accounts: StressedAccounts, state: Liquidated, cube: Floats, groups: int) -> Losses:
    """Return what accounts lost at prices, what was closed at the prices of its closing.

    Shapes as ``cascade_round``. The loss without a cascade is that of a state of nobody at the
    prices of the first round.

    Raises:
        ValueError: SUM_TOO_LARGE, as ``require_exact``.
    """
    scenarios = cube.shape[1]
    lost, uncovered = np.zeros(scenarios), np.zeros((groups, scenarios))
    defaulted = np.zeros((groups, scenarios), dtype=np.int64)
    touched = np.zeros(scenarios, dtype=np.int64)
    offsets, instrument, quantity, *_ = _as_read(accounts)
    impaired = np.zeros(len(accounts)) if accounts.impaired is None else accounts.impaired
    _settle(
        offsets, instrument, quantity, read_only(accounts.equity, np.float64),
        read_only(impaired, np.float64), read_only(accounts.group, np.int32),
        read_only(cube, np.float64), state.row, state.remaining, state.cash, np.zeros(scenarios),
        lost, uncovered, defaulted, touched,
    )  # fmt: skip
    for name, sums in (("lost", lost), ("uncovered", uncovered)):
        require_exact(name, UNIT * sums)
    return Losses(UNIT * lost, UNIT * uncovered, defaulted, touched)


def _as_read(accounts: StressedAccounts) -> tuple[NDArray[Any], ...]:
    impaired = accounts.impaired
    equity = accounts.equity if impaired is None else accounts.equity + impaired
    return (
        read_only(accounts.offsets, np.int64),
        read_only(accounts.instrument, np.int32),
        read_only(accounts.quantity, np.float64),
        read_only(equity, np.float64),
        read_only(accounts.maintenance, np.float64),
    )
