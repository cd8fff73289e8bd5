"""A liquidation cascade: accounts below maintenance are sold, selling moves prices, and again.

Every round is one pass over all accounts at the prices of the round, all scenarios together.

What is sold is added up in whole units of ``risk.kernels.sums.UNIT``: the order of accounts, and so
the cut into shards, changes no bit of it.
"""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from risk.kernels.compilation import compiled, kernel
from risk.kernels.positions import read_only
from risk.kernels.sums import UNIT, require_exact
from risk.specification import Fraction, NonNegative, Specification
from risk.systemic.requirement import UnitMaintenance, as_kernels_take, set_growth
from risk.systemic.stressed import SIDES, Liquidated, StressedAccounts, add_pnl, as_read

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]

CLOSING = ("all", "slice", "to_target")
"""Ways to close an account, by their places."""


class LiquidationRules(Specification):
    """How an account below maintenance is closed.

    ``closing``: all at once, a ``slice`` of what it held at first in each round, or as much as
    restores equity to ``target`` times maintenance, no less than a slice. ``fee`` is a part of the
    notional closed. Below ``backstop`` times maintenance a vault takes over all that is left, at
    the price of the round, and nothing is sold; 0 is no vault.

    ``order``: all who are below are closed ``together``, or those with the ``largest_deficit`` in
    money or the ``riskiest``, by deficit over maintenance, come first, and a round takes of each
    coin no more than about ``capacity`` times the daily volume that is there; the others wait.
    """

    closing: Literal["all", "slice", "to_target"] = "to_target"
    slice: Annotated[float, Field(gt=0.0, le=1.0)] = 0.2
    target: Annotated[float, Field(ge=1.0, le=10.0)] = 1.05
    fee: Fraction = 0.005
    backstop: NonNegative = 0.0
    order: Literal["together", "largest_deficit", "riskiest"] = "together"
    capacity: Annotated[float, Field(gt=0.0, le=1.0)] | None = None

    @model_validator(mode="after")
    def _capacity_with_an_order(self) -> "LiquidationRules":
        if (self.order == "together") != (self.capacity is None):
            raise ValueError(
                f"order is {self.order!r} and capacity {self.capacity}; give a capacity with any "
                "order but 'together'"
            )
        return self


@dataclass(frozen=True, slots=True)
class Round:
    """What a round did to a run of accounts.

    ``sold`` ``(instrument, scenario)`` and ``taken`` ``(side, instrument, scenario)``, longs and
    shorts: notional at first prices of positions that were closed on the market and taken by the
    vault, signed as they were held. ``handed`` ``(side, instrument, scenario)``: what was left to
    accounts that the vault took over at their bankruptcy, money, negative where they owed.
    ``liquidated`` ``(scenario,)``: accounts that were closed, in part or whole.
    """

    state: Liquidated
    sold: Floats
    taken: Floats
    handed: Floats
    liquidated: Rows


@kernel
def _find(
    offsets: Any, instrument: Any, quantity: Any, equity: Any, maintenance: Any, group: Any,
    cube: Any, unit_first: Any, unit_now: Any, active: Any, row: Any, pnl: Floats, growth: Floats,
    found: Any,
) -> None:  # fmt: skip
    """Mark accounts that were never liquidated and are below maintenance in an active scenario."""
    for account in range(equity.size):
        if group[account] < 0 or row[account] >= 0:
            continue
        start, stop = offsets[account], offsets[account + 1]
        if start == stop:
            continue
        add_pnl(instrument, quantity, start, stop, cube, pnl)
        set_growth(instrument, quantity, start, stop, unit_first, unit_now, growth)
        has, needs = equity[account], maintenance[account]
        below = False
        for s in range(pnl.size):
            below |= active[s] and has - needs * growth[s] + pnl[s] < 0.0
        found[account] = below


@compiled
def part_to_close(
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
    unit_first: Any, unit_now: Any, notional: Any, active: Any, accounts: Any, row: Any,
    waits: Any, closing: int, slice_: float, target: float, fee: float, backstop: float,
    at_bankruptcy: bool, pnl: Floats, growth: Floats, remaining: Any, cash: Any, sold: Any,
    taken: Any, handed: Any, liquidated: Any,
) -> None:  # fmt: skip
    """Close what is below maintenance among accounts that have a state."""
    for account in accounts:
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
            if has >= required:
                continue
            vault = backstop > 0.0 and has < backstop * required
            if not vault and waits.size > 0 and waits[k, s]:
                continue
            part, had = left, 0.0
            if not vault:
                part = part_to_close(
                    closing, slice_, target, fee, has, required, left * gross, left
                )
                cash[k, s] += part * pnl[s] - fee * part * gross
            elif at_bankruptcy and gross > 0.0:
                # Who had nothing before answers for the whole of what it lost, not for more.
                first = max(equity[account], 0.0)
                had = cash[k, s] + left * pnl[s] + first
                cash[k, s] = -first
            else:
                cash[k, s] += left * pnl[s]
            remaining[k, s] = left - part
            liquidated[s] += 1
            for p in range(start, stop):
                i = instrument[p]
                term = np.rint(part * quantity[p] * notional[i] / UNIT)
                if not vault:
                    sold[i, s] += term
                    continue
                side = 0 if quantity[p] > 0.0 else 1
                taken[side, i, s] += term
                if had != 0.0:
                    share = abs(quantity[p]) * notional[i] / gross
                    handed[side, i, s] += np.rint(had * share / UNIT)


def with_fresh(
    accounts: StressedAccounts,
    state: Liquidated,
    cube: Floats,
    active: NDArray[np.bool_],
    unit: UnitMaintenance | None,
) -> Liquidated:
    """Return a copy of the state with all who are below maintenance for the first time."""
    scenarios = cube.shape[1]
    found = np.zeros(len(accounts), dtype=np.bool_)
    _find(
        *as_read(accounts), read_only(accounts.group, np.int32), read_only(cube, np.float64),
        *as_kernels_take(unit), read_only(active, np.bool_), state.row, np.zeros(scenarios),
        np.ones(scenarios), found,
    )  # fmt: skip
    fresh = np.flatnonzero(found)
    row = state.row.copy()
    row[fresh] = len(state.remaining) + np.arange(len(fresh))
    none = np.zeros((len(fresh), scenarios))
    return Liquidated(
        row, np.concatenate([state.remaining, none + 1.0]), np.concatenate([state.cash, none])
    )


def cascade_round(
    accounts: StressedAccounts,
    state: Liquidated,
    cube: Floats,
    notional: Floats,
    active: NDArray[np.bool_],
    rules: LiquidationRules,
    unit: UnitMaintenance | None = None,
    *,
    at_bankruptcy: bool = False,
    turn: tuple[Rows, Rows] | None = None,
) -> Round:
    """Close what is below maintenance at the prices of a round.

    ``cube`` ``(instrument, scenario)`` is P&L of one contract from first prices to those of the
    round, ``notional`` ``(instrument,)`` the size of one contract at first prices, ``active``
    ``(scenario,)`` where the cascade goes on. An account is below maintenance where equity, cash
    and P&L of what remains are less than maintenance of what remains; with ``unit`` maintenance
    grows as that of its contracts, each by itself, does. Nothing happens elsewhere. A vault takes
    over at the price of the round, or ``at_bankruptcy``, where the account has nothing left. With
    ``turn``, accounts and scenarios, nobody else sells.

    Raises:
        ValueError: SUM_TOO_LARGE, as ``require_exact``.
    """
    scenarios = cube.shape[1]
    met = with_fresh(accounts, state, cube, active, unit)
    waits = np.zeros((0, 0), dtype=np.bool_)
    if turn is not None:
        waits = np.ones(met.remaining.shape, dtype=np.bool_)
        waits[met.row[turn[0]], turn[1]] = False
    sold, taken, handed = np.zeros(cube.shape), *np.zeros((2, len(SIDES), *cube.shape))
    liquidated = np.zeros(scenarios, dtype=np.int64)
    _close(
        *as_read(accounts), read_only(cube, np.float64), *as_kernels_take(unit),
        read_only(notional, np.float64), read_only(active, np.bool_), np.flatnonzero(met.row >= 0),
        met.row, waits, CLOSING.index(rules.closing), rules.slice, rules.target, rules.fee,
        rules.backstop, at_bankruptcy, np.zeros(scenarios), np.ones(scenarios), met.remaining,
        met.cash, sold, taken, handed, liquidated,
    )  # fmt: skip
    for name, sums in (("sold", sold), ("taken", taken), ("handed", handed)):
        require_exact(name, UNIT * sums)
    return Round(met, UNIT * sold, UNIT * taken, UNIT * handed, liquidated)
