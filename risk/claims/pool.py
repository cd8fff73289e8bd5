"""The pool account by account: what claims are worth to its margin now and in every scenario.

Everything linear stands in one table, the credit of a unit of each token in each state. Left to do
for an account is to add up its claims, to take from what lies in a lending market what the market
has the first claim on, and to set the change against the P&L of its positions.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from risk.kernels.compilation import compiled, kernel
from risk.kernels.positions import read_only

Floats = NDArray[np.float64]

NO_SCENARIO = -1
"""The binding scenario of an account that requires nothing."""


@dataclass(frozen=True, slots=True)
class PoolTerms:
    """What every account of a pool is valued by; state 0 is now, state ``s + 1`` scenario ``s``.

    ``cube`` ``(instrument, scenario)``: P&L of one contract, gain positive. ``weight``
    ``(scenario,)``: the part of a loss that is answered for. ``value`` and ``credit``
    ``(token, state)``: what a unit would fetch, and what it counts for; of a debt token both are
    what a unit costs. ``is_debt`` ``(token,)``. ``threshold`` and ``bonus`` ``(market, token)``:
    what counts for health, and what a liquidator takes on top. ``target_health``: what is left to a
    position in a market. ``reported`` ``(report,)``: the states of which sums are kept by token.
    """

    cube: Floats
    weight: Floats
    value: Floats
    credit: Floats
    is_debt: NDArray[np.bool_]
    threshold: Floats
    bonus: Floats
    target_health: float
    reported: NDArray[np.int64]

    def __post_init__(self) -> None:
        scenarios, states = self.cube.shape[1], self.credit.shape[1]
        if states != scenarios + 1 or self.weight.shape != (scenarios,):
            raise ValueError(
                f"{states} states and {len(self.weight)} weights do not pair with {scenarios} "
                "scenarios; there is one state more than scenarios, and one weight each"
            )
        if self.value.shape != self.credit.shape or len(self.is_debt) != len(self.credit):
            raise ValueError(
                f"value {self.value.shape}, credit {self.credit.shape} and {len(self.is_debt)} "
                "marks of debt are not of the same tokens"
            )
        for name, table in (("value", self.value), ("credit", self.credit)):
            if not np.isfinite(table).all() or (table < 0.0).any():
                raise ValueError(f"{name} of a token is not a finite number of 0 or more")


@dataclass(frozen=True, slots=True)
class PoolAccounts:
    """Accounts of a pool: positions, what claims count, and what is known of the account.

    ``offsets`` ``(account+1,)`` cuts ``instrument`` and ``quantity`` ``(position,)``, contracts,
    long positive. ``claim_offsets`` ``(account+1,)`` cuts ``token``, ``counted``, ``present`` and
    ``market`` ``(claim,)``: units that count, of a debt all that is owed, and units that a market
    sees for its health; claims of one market of an account follow each other, and -1 is none.
    ``position_value`` and ``held`` are ``(account,)``.
    """

    offsets: NDArray[np.int64]
    instrument: NDArray[np.int32]
    quantity: Floats
    claim_offsets: NDArray[np.int64]
    token: NDArray[np.int32]
    counted: Floats
    present: Floats
    market: NDArray[np.int32]
    position_value: Floats
    held: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.held)

    def between(self, start: int, stop: int) -> "PoolAccounts":
        """Return the accounts ``[start, stop)``, over the same memory."""
        rows = slice(self.offsets[start], self.offsets[stop])
        claims = slice(self.claim_offsets[start], self.claim_offsets[stop])
        return PoolAccounts(
            offsets=self.offsets[start : stop + 1] - rows.start,
            instrument=self.instrument[rows],
            quantity=self.quantity[rows],
            claim_offsets=self.claim_offsets[start : stop + 1] - claims.start,
            token=self.token[claims],
            counted=self.counted[claims],
            present=self.present[claims],
            market=self.market[claims],
            position_value=self.position_value[start:stop],
            held=self.held[start:stop],
        )


@dataclass(frozen=True, slots=True)
class PoolBlock:
    """What a block of accounts comes to; NaN and -1 for accounts that are held back.

    By account: ``value`` at mark, ``credit`` now, ``requirement`` with collateral inside the
    scenarios and ``requirement_alone`` of the positions without, the scenarios that bind each,
    ``credit_then`` in the one that binds the first, and ``health`` of the weakest position in a
    lending market, infinite without debt. ``claim_credit`` ``(claim,)`` is what each claim adds
    now. Sums over accounts, in their order: ``credit_by_state`` ``(state,)``,
    ``credit_by_token`` ``(token, report)``, ``below_alone`` and ``called_alone`` ``(report,)``,
    accounts whose equity is below ``requirement_alone`` and by how much, and ``liquidatable``
    ``(report,)``, positions in markets that may be liquidated.
    """

    value: Floats
    credit: Floats
    requirement: Floats
    requirement_alone: Floats
    binding_scenario: NDArray[np.int32]
    binding_alone: NDArray[np.int32]
    credit_then: Floats
    health: Floats
    claim_credit: Floats
    credit_by_state: Floats
    credit_by_token: Floats
    below_alone: NDArray[np.int64]
    called_alone: Floats
    liquidatable: NDArray[np.int64]


@compiled
def _left(collateral: float, cover: float, owed: float, bonus: float, target: float) -> float:
    """Return what a position in a market leaves the pool, see ``left_in_market``."""
    if owed == 0.0:
        return collateral
    if cover <= 0.0:
        return 0.0
    liquidated = collateral - owed * (1.0 + bonus)
    withdrawn = collateral * (1.0 - target * owed / cover)
    left = liquidated if liquidated < withdrawn else withdrawn
    return left if left > 0.0 else 0.0


def left_in_market(
    collateral: float, cover: float, owed: float, bonus: float, target_health: float
) -> float:
    """Return what a position in a lending market leaves for the pool; money, never negative.

    ``collateral`` is its credit to the pool before the debt, ``cover`` its value times liquidation
    thresholds, ``owed`` the debt. Two rules hold, and the stricter counts: what remains after a
    liquidator has repaid the debt and taken ``bonus`` on top, and what may be withdrawn while the
    health factor, cover over debt, stays at ``target_health``.

    >>> left_in_market(97_750.0, 109_250.0, 92_000.0, bonus=0.0, target_health=1.0)
    5750.0
    >>> round(left_in_market(97_750.0, 109_250.0, 92_000.0, bonus=0.0, target_health=1.15), 2)
    3086.84
    """
    return float(_left.py_func(collateral, cover, owed, bonus, target_health))


@compiled
def _add(row: Floats, units: float, cells: Any) -> None:
    for s in range(row.size):
        row[s] += units * cells[s]


@compiled
def _worst(weight: Any, pnl: Floats, credit: Floats, moves: bool) -> Any:
    """Return the largest weighted loss, zero if there is none, and its scenario."""
    lowest, where = 0.0, NO_SCENARIO
    for s in range(pnl.size):
        gained = pnl[s] + (credit[s + 1] - credit[0] if moves else 0.0)
        if weight[s] * gained < lowest:
            lowest, where = weight[s] * gained, s
    return 0.0 - lowest, where


@compiled
def _add_market(
    first: int, last: int, market: int, token: Any, counted: Any, present: Any, value: Any,
    credit: Any, is_debt: Any, threshold: Any, bonus: Any, target: float, reported: Any,
    work: Floats, row: Floats, claim_credit: Floats, credit_by_token: Floats, liquidatable: Any,
) -> Any:  # fmt: skip
    """Add one position in a market to the account's credit; return its value and its health."""
    collateral, cover, owed, kept, there = work[0], work[1], work[2], work[3], work[4]
    work[:] = 0.0
    worth, taken = 0.0, 0.0
    for c in range(first, last):
        t, units = token[c], counted[c]
        if is_debt[t]:
            _add(owed, units, credit[t])
            worth -= units * value[t, 0]
        else:
            _add(collateral, units, credit[t])
            _add(cover, present[c] * threshold[market, t], value[t])
            _add(there, present[c], value[t])
            worth += units * value[t, 0]
            if present[c] > 0.0 and bonus[market, t] > taken:
                taken = bonus[market, t]
    unbacked = owed[0] > there[0]
    for s in range(row.size):
        left = _left(collateral[s], cover[s], owed[s], taken, target)
        row[s] += left
        if unbacked and owed[s] > there[s]:
            row[s] -= owed[s] - there[s]
        kept[s] = left / collateral[s] if collateral[s] > 0.0 else 0.0
    for c in range(first, last):
        t, units = token[c], counted[c]
        if not is_debt[t]:
            claim_credit[c] = units * credit[t, 0] * kept[0]
            for r in range(reported.size):
                s = reported[r]
                credit_by_token[t, r] += units * credit[t, s] * kept[s]
        elif unbacked:
            claim_credit[c] = -units * credit[t, 0] * (1.0 - there[0] / owed[0])
            for r in range(reported.size):
                s = reported[r]
                if owed[s] > there[s]:
                    credit_by_token[t, r] -= units * credit[t, s] * (1.0 - there[s] / owed[s])
    for r in range(reported.size):
        liquidatable[r] += 1 if cover[reported[r]] < owed[reported[r]] else 0
    health = cover[0] / owed[0] if owed[0] > 0.0 else np.inf
    return worth, health


@kernel
def _pool(
    offsets: Any, instrument: Any, quantity: Any, claim_offsets: Any, token: Any, counted: Any,
    present: Any, market: Any, position_value: Any, held: Any, cube: Any, weight: Any,
    value: Any, credit: Any, is_debt: Any, threshold: Any, bonus: Any, target: float,
    reported: Any, pnl: Any, row: Any, work: Any, by_account: Any, binding: Any,
    claim_credit: Any, credit_by_state: Any, credit_by_token: Any, below: Any, called: Any,
    liquidatable: Any,
) -> None:  # fmt: skip
    """Fill ``by_account`` ``(account, 6)``, ``binding`` ``(account, 2)``, and the sums."""
    for account in range(held.size):
        if held[account]:
            continue
        pnl[:] = 0.0
        row[:] = 0.0
        for p in range(offsets[account], offsets[account + 1]):
            _add(pnl, quantity[p], cube[instrument[p]])
        worth, health = 0.0, np.inf
        c, end = claim_offsets[account], claim_offsets[account + 1]
        while c < end:
            if market[c] >= 0:
                last = c + 1
                while last < end and market[last] == market[c]:
                    last += 1
                added, weakest = _add_market(
                    c, last, market[c], token, counted, present, value, credit, is_debt, threshold,
                    bonus, target, reported, work, row, claim_credit, credit_by_token, liquidatable,
                )  # fmt: skip
                worth += added
                health = weakest if weakest < health else health
                c = last
                continue
            t, units = token[c], counted[c]
            if is_debt[t]:
                units = -units
            _add(row, units, credit[t])
            worth += units * value[t, 0]
            claim_credit[c] = units * credit[t, 0]
            for r in range(reported.size):
                credit_by_token[t, r] += units * credit[t, reported[r]]
            c += 1
        alone, binding_alone = _worst(weight, pnl, row, False)
        required, bound = _worst(weight, pnl, row, True)
        by_account[account, 0], by_account[account, 1] = worth, row[0]
        by_account[account, 2], by_account[account, 3] = required, alone
        by_account[account, 4] = row[bound + 1]
        by_account[account, 5] = health
        binding[account, 0], binding[account, 1] = bound, binding_alone
        for s in range(row.size):
            credit_by_state[s] += row[s]
        for r in range(reported.size):
            s = reported[r]
            equity = row[s] + position_value[account] + (pnl[s - 1] if s > 0 else 0.0)
            if equity < alone:
                below[r] += 1
                called[r] += alone - equity


def pool_block(accounts: PoolAccounts, terms: PoolTerms) -> PoolBlock:
    """Value the claims of a block of accounts, and margin it with them inside the scenarios.

    A position in a lending market adds ``left_in_market``, nothing where the market takes it all.
    Where its debt is more than all it holds there already now, the account answers for the rest:
    whoever wrote a debt apart from its receipts gains nothing by it. The requirement is
    max(0, -min over scenarios of weight (P&L + credit then - credit now)). The bits of an account
    do not depend on others; those of the sums depend on the order of accounts.

    Raises:
        ValueError: a row of instrument, token or market that the terms do not have.
    """
    _require_rows("instrument", accounts.instrument, 0, len(terms.cube))
    _require_rows("token", accounts.token, 0, len(terms.credit))
    _require_rows("market", accounts.market, -1, len(terms.threshold))
    states, reports, tokens = terms.credit.shape[1], len(terms.reported), len(terms.credit)
    by_account = np.full((len(accounts), 6), np.nan)
    binding = np.full((len(accounts), 2), NO_SCENARIO, dtype=np.int32)
    claim_credit = np.zeros(len(accounts.token))
    credit_by_state, credit_by_token = np.zeros(states), np.zeros((tokens, reports))
    below, called = np.zeros(reports, dtype=np.int64), np.zeros(reports)
    liquidatable = np.zeros(reports, dtype=np.int64)
    _pool(
        read_only(accounts.offsets, np.int64), read_only(accounts.instrument, np.int32),
        read_only(accounts.quantity, np.float64), read_only(accounts.claim_offsets, np.int64),
        read_only(accounts.token, np.int32), read_only(accounts.counted, np.float64),
        read_only(accounts.present, np.float64), read_only(accounts.market, np.int32),
        read_only(accounts.position_value, np.float64),
        read_only(accounts.held, np.bool_), read_only(terms.cube, np.float64),
        read_only(terms.weight, np.float64), read_only(terms.value, np.float64),
        read_only(terms.credit, np.float64), read_only(terms.is_debt, np.bool_),
        read_only(terms.threshold, np.float64), read_only(terms.bonus, np.float64),
        terms.target_health, read_only(terms.reported, np.int64), np.zeros(states - 1),
        np.zeros(states), np.zeros((5, states)), by_account, binding, claim_credit,
        credit_by_state, credit_by_token, below, called, liquidatable,
    )  # fmt: skip
    worth, credit, required, alone, then, health = by_account.T
    return PoolBlock(
        value=worth,
        credit=credit,
        requirement=required,
        requirement_alone=alone,
        binding_scenario=binding[:, 0],
        binding_alone=binding[:, 1],
        credit_then=then,
        health=health,
        claim_credit=claim_credit,
        credit_by_state=credit_by_state,
        credit_by_token=credit_by_token,
        below_alone=below,
        called_alone=called,
        liquidatable=liquidatable,
    )


def excess(credit: Floats, position_value: Floats, required: Floats, margined: Floats) -> Floats:
    """Return what accounts have beyond what they need, ``(account,)``, negative for a shortfall.

    They need the larger of two: ``required`` by the pool, collateral inside the scenarios, and
    ``margined``, what the margin run requires by its own netting, measures and layers. The first
    nets all positions of an account and knows no add-on, so it may be the less.

    >>> excess(np.array([100.0]), np.zeros(1), np.array([30.0]), np.array([40.0])).tolist()
    [60.0]
    """
    return np.asarray(credit + position_value - np.maximum(required, margined))


def _require_rows(name: str, rows: NDArray[np.int32], least: int, stop: int) -> None:
    if len(rows) and (rows.min() < least or rows.max() >= stop):
        raise ValueError(
            f"{name} rows {rows.min()} to {rows.max()} are not all within {least} to {stop - 1}; "
            "accounts and terms are of different datasets"
        )
