"""Auto-deleveraging over all shards: who closes against what was taken over, and for how much."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from risk.kernels.sums import UNIT
from risk.systemic.plan import StressPlan
from risk.systemic.winners import (
    Bankrupt,
    Line,
    agreed,
    closed,
    given_up,
    left_by_accounts,
    left_by_vault,
)
from workers.engine import Engine
from workers.stress.tasks import LineInputs, StressInputs, StressItem, line_up_shard

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

TOGETHER = 8
"""Scenarios whose lines are in memory at once."""

LARGEST = 10
"""Accounts by name that gave up most, of each scenario."""


@dataclass(frozen=True, slots=True)
class Deleveraged:
    """What winners closed and gave up; money is positive where they lost by it.

    ``closed`` ``(instrument, scenario)``: notional at first prices that they closed, longs and
    shorts added up. ``given_up`` ``(member, scenario)``. ``accounts`` ``(scenario,)`` that were
    hit; those that gave up most are ``account`` ``(scenario, place)``, -1 where there are no more,
    with ``amount``.
    """

    closed: Floats
    given_up: Floats
    received: Floats
    accounts: Integers
    account: Integers
    amount: Floats

    @classmethod
    def nobody(cls, instruments: int, members: int, scenarios: int) -> "Deleveraged":
        """Return what no winner closed."""
        return cls(
            closed=np.zeros((instruments, scenarios)),
            given_up=np.zeros((members, scenarios)),
            received=np.zeros(scenarios),
            accounts=np.zeros(scenarios, dtype=np.int64),
            account=np.full((scenarios, LARGEST), -1),
            amount=np.zeros((scenarios, LARGEST)),
        )


def deleverage_cascade(
    engine: Engine,
    inputs: StressInputs,
    items: list[StressItem],
    plan: StressPlan,
    taken: Floats,
    pnl: Floats,
    told: Callable[[int], None],
) -> tuple[Deleveraged, list[StressItem]]:
    """Close what was taken over against winners, at the prices of ``inputs``.

    ``taken`` and ``pnl`` ``(side, instrument, scenario)``: signed notional, and what it has gained.
    Nobody gives up more than he has, and winners together no more, net, than what was taken over
    lacks in all; what that leaves stays with the vault. Also returns the shards with what
    their accounts gave up. Whole units of money and notional are
    added up, so that no order of shards changes a bit.
    """
    rules = plan.deleveraging
    instruments, scenarios = taken.shape[1:]
    found = Deleveraged.nobody(instruments, inputs.groups, scenarios)
    if rules is None:
        return found, items
    lacking = -pnl.sum(axis=(0, 1))
    if rules.trigger == "at_backstop":
        bankrupt = left_by_accounts(taken, pnl)
    else:
        bankrupt = left_by_vault(taken, pnl, plan.insurance_fund)
        lacking -= plan.insurance_fund
    unit = inputs.unit
    anything = np.flatnonzero(bankrupt.units.any(axis=(0, 1)))
    for at in range(0, len(anything), TOGETHER):
        part = anything[at : at + TOGETHER]
        left = bankrupt.take(part)
        shared = LineInputs(
            replace(
                inputs,
                cube=np.ascontiguousarray(inputs.cube[:, part]),
                unit=None if unit is None else unit.take(part),
            ),
            left,
            rules.ranking,
        )
        asked = [StressItem(item.shard, item.state.take(part)) for item in items]
        lines = []
        for result in engine.map(line_up_shard, shared, asked):
            lines.append(result.line)
            told(items[result.index].shard.stop - items[result.index].shard.start)
        items = _close(Line.joined(lines), left, lacking[part], part, found, items)
    return found, items


def _close(
    line: Line,
    bankrupt: Bankrupt,
    lacking: Floats,
    part: Integers,
    found: Deleveraged,
    items: list[StressItem],
) -> list[StressItem]:
    """Add what those in line close to what was found, and return the shards without that money."""
    units = closed(line, bankrupt)
    hit = line.take(np.flatnonzero(units))
    units = units[units > 0]
    money = agreed(hit, given_up(hit, units, bankrupt), lacking)
    scenario = part[hit.scenario]
    np.add.at(found.closed, (hit.instrument, scenario), UNIT * units)
    np.add.at(found.given_up, (hit.group, scenario), money)
    np.add.at(found.received, scenario, np.maximum(-money, 0.0))
    for one in np.unique(scenario).tolist():
        rows = scenario == one
        accounts, place = np.unique(hit.account[rows], return_inverse=True)
        amount = np.zeros(len(accounts))
        np.add.at(amount, place, money[rows])
        first = np.lexsort((accounts, -amount))[:LARGEST]
        found.accounts[one] = len(accounts)
        found.account[one, : len(first)] = accounts[first]
        found.amount[one, : len(first)] = amount[first]
    after = []
    for item in items:
        start, stop = item.shard.start, item.shard.stop
        own = np.flatnonzero((hit.account >= start) & (hit.account < stop))
        state = item.state.less(hit.account[own] - start, scenario[own], money[own])
        after.append(StressItem(item.shard, state))
    return after
