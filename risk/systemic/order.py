"""The order in which accounts are closed where a round can take only so much.

Of each coin a round takes a part of the volume that is there. Accounts stand in one line for each
scenario, the largest deficit or the riskiest first; who finds before him, of any coin that he has
to sell, as much as a round takes, waits for the next. Who is first to go over it sells whole.

Sizes are whole units of ``risk.kernels.sums.UNIT``. Who finds no room behind some of the accounts
finds none behind all, so that each shard sends only those that count.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from risk.kernels.compilation import kernel
from risk.kernels.positions import read_only
from risk.kernels.sums import UNIT
from risk.systemic.cascade import CLOSING, LiquidationRules, part_to_close, with_fresh
from risk.systemic.requirement import UnitMaintenance, as_kernels_take, set_growth
from risk.systemic.stressed import Liquidated, StressedAccounts, add_pnl, as_read

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Waiting:
    """Accounts that have to sell in a round, ``(place,)`` each, in any order.

    ``account`` is the row, which settles ties; the highest ``score`` is first. ``units``
    ``(place, coin)`` is notional at first prices that each has to sell, longs and shorts added up.
    """

    scenario: Integers
    account: Integers
    score: Floats
    units: Integers

    def take(self, places: NDArray[Any]) -> "Waiting":
        """Return some of the places."""
        return Waiting(**{one.name: getattr(self, one.name)[places] for one in fields(self)})

    @classmethod
    def joined(cls, lines: Sequence["Waiting"]) -> "Waiting":
        """Return all who stand in lines as one."""
        return cls(
            **{
                one.name: np.concatenate([getattr(line, one.name) for line in lines])
                for one in fields(cls)
            }
        )


def has_turn(line: Waiting, capacity: Integers) -> NDArray[np.bool_]:
    """Return whose turn it is, ``(place,)``, where a round takes ``capacity`` ``(coin, scenario)``.

    >>> line = Waiting(
    ...     np.zeros(3, int), np.array([4, 2, 3]), np.array([1.0, 1.0, 9.0]),
    ...     np.array([[50, 0], [60, 0], [0, 70]]),
    ... )
    >>> has_turn(line, np.array([[60], [10]])).tolist()
    [False, True, True]
    """
    return np.asarray(((line.units == 0) | _room(line, capacity)).all(axis=1))


def counts(line: Waiting, capacity: Integers) -> NDArray[np.bool_]:
    """Return who matters to anybody's turn, ``(place,)``: who finds room in a coin that he sells.

    Behind all others everybody waits who sells any of the same coins, with him or without.
    """
    sells = line.units > 0
    return np.asarray((sells & _room(line, capacity)).any(axis=1) | ~sells.any(axis=1))


def _room(line: Waiting, capacity: Integers) -> NDArray[np.bool_]:
    """Return where those before leave room, ``(place, coin)``."""
    order = np.lexsort((line.account, -line.score, line.scenario))
    size, of = line.units[order], line.scenario[order]
    before = np.cumsum(size, axis=0) - size
    starts = np.flatnonzero(np.r_[True, of[1:] != of[:-1]]) if len(of) else np.zeros(0, np.int64)
    before -= np.repeat(before[starts], np.diff(np.r_[starts, len(of)]), axis=0)
    room = np.zeros(size.shape, dtype=np.bool_)
    room[order] = before < capacity[:, of].T
    return room


@kernel
def _ask(
    offsets: Any, instrument: Any, quantity: Any, equity: Any, maintenance: Any, cube: Any,
    unit_first: Any, unit_now: Any, notional: Any, active: Any, accounts: Any, row: Any,
    closing: int, slice_: float, target: float, fee: float, backstop: float, riskiest: bool,
    pnl: Floats, growth: Floats, remaining: Any, cash: Any, part: Any, score: Any,
) -> None:  # fmt: skip
    """Set the part that accounts have to sell, and what they come first by, 0 where none."""
    for n in range(accounts.size):
        account = accounts[n]
        start, stop, k = offsets[account], offsets[account + 1], row[account]
        add_pnl(instrument, quantity, start, stop, cube, pnl)
        set_growth(instrument, quantity, start, stop, unit_first, unit_now, growth)
        gross = 0.0
        for p in range(start, stop):
            gross += abs(quantity[p]) * notional[instrument[p]]
        for s in range(pnl.size):
            left = remaining[k, s]
            if not active[s] or left <= 0.0:
                continue
            has = equity[account] + cash[k, s] + left * pnl[s]
            required = left * (maintenance[account] * growth[s])
            if has >= required or (backstop > 0.0 and has < backstop * required):
                continue
            part[n, s] = part_to_close(
                closing, slice_, target, fee, has, required, left * gross, left
            )
            score[n, s] = required - has
            if riskiest:
                score[n, s] = np.inf if required <= 0.0 else (required - has) / required


def wait_in_line(
    accounts: StressedAccounts,
    state: Liquidated,
    cube: Floats,
    notional: Floats,
    active: NDArray[np.bool_],
    rules: LiquidationRules,
    unit: UnitMaintenance | None,
    coin: NDArray[np.int16],
    coins: int,
    first: int = 0,
) -> Waiting:
    """Return all of a run of accounts that have to sell in a round.

    Arguments as ``cascade_round``; ``coin`` ``(instrument,)``, and ``first`` the row of the first
    account. Who is taken over by a vault sells nothing, and waits for nobody.
    """
    held, units = as_read(accounts), as_kernels_take(unit)
    met = with_fresh(accounts, state, cube, active, unit)
    some = np.flatnonzero(met.row >= 0)
    scenarios = cube.shape[1]
    part, score = np.zeros((2, len(some), scenarios))
    _ask(
        *held, read_only(cube, np.float64), *units, read_only(notional, np.float64),
        read_only(active, np.bool_), some, met.row, CLOSING.index(rules.closing), rules.slice,
        rules.target, rules.fee, rules.backstop, rules.order == "riskiest", np.zeros(scenarios),
        np.ones(scenarios), met.remaining, met.cash, part, score,
    )  # fmt: skip
    gross = np.zeros((len(accounts), coins))
    owner = np.repeat(np.arange(len(accounts)), np.diff(accounts.offsets))
    size = np.abs(accounts.quantity) * notional[accounts.instrument]
    np.add.at(gross, (owner, coin[accounts.instrument]), size)
    who, scenario = np.nonzero(part > 0.0)
    sells = part[who, scenario][:, np.newaxis] * gross[some[who]] / UNIT
    return Waiting(
        scenario, first + some[who], score[who, scenario], np.rint(sells).astype(np.int64)
    )
