"""Explain one account of a collateral run: every number that its credit and requirement are of.

The account is computed again from the inputs, claim by claim, and must agree with what the run
stored by the last bit, so an explanation is also a check.
"""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc

from risk.claims.pool import PoolAccounts
from risk.claims.sums import HELD, POOLED
from risk.claims.tokens import Outcome
from risk.summation import sum_by_group
from storage.claims import ClaimSlice
from storage.codes import CODES
from storage.objects import S3Folder
from storage.runs import StoredRun
from workers.explain import CannotExplain
from workers.explain.held import held_because
from workers.pool.account import AccountPool, Lending, account_pool
from workers.pool.claim_rows import claim_rows
from workers.pool.source import PoolSource, pool_source


def explain_pooled(pool: StoredRun, account: str, runs: Path | S3Folder) -> dict[str, Any]:
    """Return claims, lending positions, scenarios and requirement of one account of a pool.

    ``runs`` is where the margin run was published. Money is USD; what is infinite is ``None``.

    Raises:
        AccountUnknown: the book has no account of that name.
        BookChanged: the book is not the one that the run used.
        InputsChanged: the margin run or the claims are not those that the run used.
        CannotExplain: a number is not the one that was stored.
    """
    source = pool_source(pool, runs)
    book, rules = source.book, source.plan.rules
    row = book.account_row(account)
    held = source.plan.claims.claim_slice(row, row + 1)
    accounts = _read(source, held, row)
    came_to = account_pool(accounts, source.valued.terms)
    _require_stored(source, account, row, accounts, came_to)
    member = book.account_table(row, row + 1)["member"][0].as_py()
    explained: dict[str, Any] = {
        "run_id": pool.run_id,
        "margin_run": source.run.run_id,
        "account": account,
        "member": book.members()["member"][member].as_py(),
        "rules": {"name": rules.name, "version": rules.version, "title": rules.title},
        "status": "held back" if accounts.held[0] else "pooled",
        "held_because": _held_because(source, row) if accounts.held[0] else [],
        "claims": claim_rows(source, held, came_to),
        "lending": [_lending_row(source, held.first, one, came_to) for one in came_to.lending],
    }
    if accounts.held[0]:
        return explained
    position_value = float(accounts.position_value[0])
    backing = float(came_to.credit[0]) + position_value
    return explained | {
        "positions": _positions(source, accounts, came_to),
        "scenarios": _scenarios(source, came_to),
        "value": came_to.value,
        "position_value": position_value,
        "credit": float(came_to.credit[0]),
        "credit_then": came_to.credit_then,
        "requirement_alone": came_to.requirement_alone,
        "binding_alone": _named(source, came_to.binding_alone),
        "requirement": came_to.requirement,
        "binding": _named(source, came_to.binding),
        "excess_alone": backing - came_to.requirement_alone,
        "excess": backing - came_to.requirement,
        "health": _finite(came_to.health),
    }


def _read(source: PoolSource, held: ClaimSlice, row: int) -> PoolAccounts:
    """Read the positions and claims of one account."""
    plan, counted = source.plan, source.counted
    positions = plan.book.position_slice(row, row + 1)
    quantity = positions.lots * plan.lot_size[positions.instrument]
    worth = quantity * plan.position_value[positions.instrument]
    rows = slice(held.first, held.first + len(held.token))
    unpriced = not plan.priced[positions.instrument].all()
    back = plan.book.held(row, row + 1) | plan.claims.held(row, row + 1) | unpriced
    back |= counted.misplaced[row]
    return PoolAccounts(
        offsets=positions.offsets,
        instrument=positions.instrument,
        quantity=quantity,
        claim_offsets=held.offsets,
        token=held.token,
        counted=counted.units[rows],
        present=counted.present[rows],
        market=held.market,
        position_value=sum_by_group(worth, np.zeros(len(worth), np.int64), 1),
        held=back,
    )


def _require_stored(
    source: PoolSource, account: str, row: int, accounts: PoolAccounts, came_to: AccountPool
) -> None:
    stored = source.pool.groups["accounts"].isel(account=row).load()
    rows = slice(*(source.plan.claims.first_claim(at) for at in (row, row + 1)))
    counted = int(np.count_nonzero(source.counted.outcome[rows] == Outcome.COUNTED))
    again: dict[str, float] = {
        "claims": len(accounts.token),
        "counted": counted,
        "status": HELD if accounts.held[0] else POOLED,
    }
    backing = float(came_to.credit[0]) + float(accounts.position_value[0])
    money: dict[str, float] = {
        "value": came_to.value,
        "credit": float(came_to.credit[0]),
        "position_value": float(accounts.position_value[0]),
        "requirement": came_to.requirement,
        "requirement_alone": came_to.requirement_alone,
        "excess": backing - came_to.requirement,
        "credit_then": came_to.credit_then,
        "health": came_to.health,
    }
    bound = {"binding_scenario": came_to.binding, "binding_alone": came_to.binding_alone}
    if accounts.held[0]:
        money, bound = dict.fromkeys(money, math.nan), dict.fromkeys(bound, -1)
    for name, value in (again | money | bound).items():
        if not np.array_equal(value, stored[name].values, equal_nan=True):
            raise CannotExplain(
                f"account {account}: {name} is {value} when computed again and "
                f"{stored[name].values} as stored in {source.pool.run_id}; verify the run's inputs"
            )


def _held_because(source: PoolSource, row: int) -> list[str]:
    """Return each reason why an account is held back, with what to do about it."""
    reasons = source.plan.claims.held_reasons()
    codes = reasons.filter(pc.equal(reasons["account"], row))["code"].to_pylist()
    found = [
        f"{code}, a claim of the account is in quarantine"
        + (f": {CODES[code].action}" if code in CODES else "")
        for code in sorted(set(codes))
    ]
    if source.counted.misplaced[row]:
        found.append(
            "a claim is written outside of the market that its token belongs to, where it would "
            "escape what is owed there: give receipts and debts the market that they are of"
        )
    of_book = not source.plan.priced[source.book.position_slice(row, row + 1).instrument].all()
    if bool(source.book.held(row, row + 1)[0]) or of_book:
        found += held_because(source.run, source.book, row, source.plan.priced)
    return found


def _lending_row(
    source: PoolSource, first: int, one: Lending, came_to: AccountPool
) -> dict[str, Any]:
    """Return one position in a market now, and the health and the rest in the worst scenario."""
    target = source.plan.rules.policy.target_health
    position, then = one.position, came_to.binding + 1
    liquidated = position.after_liquidation()
    withdrawn = position.withdrawable(target)
    return {
        "market": source.plan.references.markets[one.market],
        "claims": [first + row for row in one.rows],
        "worth": float(position.worth[0]),
        "cover": float(position.cover[0]),
        "debt": float(position.owed[0]),
        "health": _finite(float(position.health[0])),
        "leverage": _finite(float(position.leverage[0])),
        "collateral": float(position.collateral[0]),
        "bonus": position.bonus,
        "after_liquidation": float(liquidated[0]),
        "target_health": target,
        "withdrawable": float(withdrawn[0]),
        "stricter": "after liquidation" if liquidated[0] <= withdrawn[0] else "what may leave",
        "left": float(one.left[0]),
        "unbacked": float(one.unbacked[0]),
        "health_then": _finite(float(position.health[then])),
        "left_then": float(one.left[then]),
    }


def _positions(
    source: PoolSource, accounts: PoolAccounts, came_to: AccountPool
) -> list[dict[str, Any]]:
    """Return each position with what it makes in the scenarios that bind."""
    names, cube = source.book.instruments()["instrument"], source.valued.terms.cube

    def made(row: int, quantity: float, scenario: int) -> float:
        return quantity * float(cube[row, scenario]) if scenario >= 0 else 0.0

    return [
        {
            "instrument": names[row].as_py(),
            "quantity": quantity,
            "value": quantity * float(source.plan.position_value[row]) + 0.0,
            "pnl_alone": made(row, quantity, came_to.binding_alone),
            "pnl": made(row, quantity, came_to.binding),
        }
        for row, quantity in zip(
            accounts.instrument.tolist(), accounts.quantity.tolist(), strict=True
        )
    ]


def _scenarios(source: PoolSource, came_to: AccountPool) -> list[dict[str, Any]]:
    """Return every scenario, what is lost most of positions and collateral together first."""
    change = came_to.credit[1:] - came_to.credit[0]
    order = np.argsort(came_to.gained, kind="stable")
    return [
        _named(source, at)
        | {
            "weight": float(source.plan.scenarios.weight[at]),
            "pnl": float(came_to.pnl[at]),
            "change_of_credit": float(change[at]),
            "together": float(came_to.gained[at]),
        }
        for at in order.tolist()
    ]


def _named(source: PoolSource, scenario: int) -> dict[str, Any]:
    """Return a scenario by name, title and origin; nothing for none."""
    if scenario < 0:
        return {}
    scenarios = source.plan.scenarios
    return {
        "scenario": scenarios.name[scenario],
        "title": scenarios.title[scenario],
        "origin": scenarios.origin[scenario],
    }


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None
