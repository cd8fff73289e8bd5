"""Auto-deleveraging at the end of a cascade: what bankrupt accounts left is closed against winners.

What was taken over is a position in each instrument, longs and shorts apart. Those on the other
side stand in line by a published ranking and close against it at the bankruptcy price; what they
give up against the price of the end is what the bankrupt position lacks.

A position is counted in whole units of ``risk.kernels.sums.UNIT`` of notional at first prices, so
that contracts add up exactly. A line may be cut anywhere: who is not among the first of some of
the accounts is not among the first of all, so that each shard sends only those it may come to.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from risk.kernels.sums import UNIT
from risk.specification import Name, Specification
from risk.systemic.deleveraging import RANKINGS, Candidates, Ranking, whole_shares
from risk.systemic.requirement import UnitMaintenance, growth_of
from risk.systemic.stressed import Liquidated, StressedAccounts, gains

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


class DeleveragingRules(Specification):
    """Who closes against what bankrupt accounts left, and when.

    ``ranking`` is a name among ``RANKINGS``. With the trigger ``at_backstop`` every account that
    falls below the backstop is taken over at its bankruptcy price and closed against winners at
    the end of the cascade. With ``vault_exhausted`` the vault takes over at the price of the
    round; where by the end it has lost more than the insurance fund, its whole book is closed
    against winners at the prices at which it has lost just that. What was taken over is one vault:
    winners together are asked for no more, net, than it lacks in all.
    """

    ranking: Name
    trigger: Literal["at_backstop", "vault_exhausted"]
    source: Annotated[str, Field(min_length=1)]

    @field_validator("ranking")
    @classmethod
    def _published(cls, ranking: str) -> str:
        if ranking not in RANKINGS:
            raise ValueError(f"ranking is {ranking!r}; allowed are {sorted(RANKINGS)}")
        return ranking


@dataclass(frozen=True, slots=True)
class Bankrupt:
    """What is to be closed against winners, ``(side, instrument, scenario)``; longs, then shorts.

    ``units`` are whole units of notional at first prices, 0 up; ``lacking`` is what each lacks at
    the prices of the end, in units of money, negative where it is in gain.
    """

    units: Integers
    lacking: Floats

    def take(self, scenarios: NDArray[np.int64]) -> "Bankrupt":
        """Return some of the scenarios."""
        return Bankrupt(self.units[..., scenarios], self.lacking[..., scenarios])


def left_by_accounts(taken: Floats, pnl: Floats) -> Bankrupt:
    """Return what was taken over at bankruptcy prices, ``(side, instrument, scenario)`` each.

    ``taken`` is signed notional, ``pnl`` what it has gained since, with what was handed over; each
    side of each instrument lacks its own.
    """
    units = np.rint(np.abs(taken) / UNIT).astype(np.int64)
    return Bankrupt(units, np.where(units > 0, -pnl / UNIT / np.maximum(units, 1), 0.0))


def left_by_vault(taken: Floats, pnl: Floats, means: float) -> Bankrupt:
    """Return the book of a vault that lost more than its means, nothing where it did not.

    Arguments as ``left_by_accounts``. Longs and shorts that it took are one position, and what it
    lacks is spread over all of them by notional.
    """
    net = np.rint(taken.sum(axis=0) / UNIT).astype(np.int64)
    lacking = -pnl.sum(axis=(0, 1)) - means
    units = np.where(lacking > 0.0, np.stack([np.maximum(net, 0), np.maximum(-net, 0)]), 0)
    whole = np.maximum(units.sum(axis=(0, 1)), 1)
    return Bankrupt(units, np.where(units > 0, lacking / UNIT / whole, 0.0))


@dataclass(frozen=True, slots=True)
class Line:
    """Who stands in line, ``(place,)`` each, in any order.

    ``side`` and ``instrument`` say against what, ``units`` how much of it he holds on the other
    side; ``account`` is his row, which settles ties, and ``group`` whose account it is. The highest
    ``score`` is first. ``value`` is what the account has at the end.
    """

    scenario: Integers
    side: Integers
    instrument: Integers
    account: Integers
    group: Integers
    units: Integers
    score: Floats
    value: Floats

    def __len__(self) -> int:
        return len(self.score)

    def take(self, places: NDArray[np.int64]) -> "Line":
        """Return some of the places."""
        return Line(**{one.name: getattr(self, one.name)[places] for one in fields(self)})

    @classmethod
    def joined(cls, lines: Sequence["Line"]) -> "Line":
        """Return all who stand in lines as one."""
        return cls(
            **{
                one.name: np.concatenate([getattr(line, one.name) for line in lines])
                for one in fields(cls)
            }
        )


def closed(line: Line, bankrupt: Bankrupt) -> Integers:
    """Return how many units each in line closes, ``(place,)``: the highest scores first.

    Ties go to the lower account row. Nobody closes more than he holds, and all together close what
    is bankrupt, or all that they hold.

    >>> two = np.zeros(2, np.int64)
    >>> row, half = np.array([7, 3]), np.array([0.5, 0.5])
    >>> line = Line(two, two, two, row, two, np.array([50, 80]), half, half)
    >>> cell = (1, 1, 1)
    >>> closed(line, Bankrupt(np.full(cell, 100), np.zeros(cell))).tolist()
    [20, 80]
    """
    cell = np.ravel_multi_index((line.side, line.instrument, line.scenario), bankrupt.units.shape)
    order = np.lexsort((line.account, -line.score, cell))
    size, of = line.units[order], cell[order]
    before = np.cumsum(size) - size
    starts = np.flatnonzero(np.r_[True, of[1:] != of[:-1]]) if len(of) else np.zeros(0, np.int64)
    before -= np.repeat(before[starts], np.diff(np.r_[starts, len(of)]))
    found = np.zeros(len(line), dtype=np.int64)
    found[order] = np.clip(bankrupt.units.ravel()[of] - before, 0, size)
    return found


def given_up(line: Line, units: Integers, bankrupt: Bankrupt) -> Floats:
    """Return what each gives up by closing so many units, money in whole units, ``(place,)``.

    It is negative where the bankruptcy price is better for him than that of the end.
    """
    lacking = bankrupt.lacking[line.side, line.instrument, line.scenario]
    return np.asarray(UNIT * np.rint(units * lacking))


def agreed(line: Line, asked: Floats, lacking: Floats) -> Floats:
    """Return what each gives up in the end, money in whole units, ``(place,)``.

    ``asked`` is of ``given_up``, ``lacking`` ``(scenario,)`` what was taken over lacks in all,
    negative where it is in gain. Nobody gives up more than he has. Together they give up no more,
    net, than is lacking: where more is asked for, those who give give less. Nor are they given more
    than the gain and what others give up: else those who are given something get less. Each time
    in proportion and in whole units, the largest remainders first.

    >>> two, has = np.zeros(2, np.int64), np.array([9.0, 9.0]) * UNIT
    >>> line = Line(two, two, two, np.array([7, 3]), two, two, np.zeros(2), has)
    >>> (agreed(line, np.array([4.0, 2.0]) * UNIT, np.array([3 * UNIT])) / UNIT).tolist()
    [2.0, 1.0]
    >>> (agreed(line, np.array([12.0, 2.0]) * UNIT, np.array([50 * UNIT])) / UNIT).tolist()
    [9.0, 2.0]
    """
    units = np.rint(asked / UNIT).astype(np.int64)
    gives, gets = np.maximum(units, 0), np.maximum(-units, 0)
    whole = np.floor(np.abs(lacking) / UNIT)
    _, first, owner = np.unique(
        np.stack([line.scenario, line.account]), axis=1, return_index=True, return_inverse=True
    )
    has = np.floor(line.value[first] / UNIT)
    _lower(gives, owner.ravel(), has, line)
    scenarios = len(lacking)
    given, got = (
        np.asarray(np.bincount(line.scenario, one, scenarios), np.float64) for one in (gives, gets)
    )
    _lower(gives, line.scenario, got + np.where(lacking > 0.0, whole, 0.0), line)
    _lower(gets, line.scenario, given + np.where(lacking < 0.0, whole, 0.0), line)
    return np.asarray(UNIT * (gives - gets))


def _lower(amounts: Integers, key: Integers, most: Floats, line: Line) -> None:
    """Lower amounts in place, so that those of one key ``(key,)`` add up to no more than is let."""
    rank = np.argsort(np.lexsort((line.account, line.instrument, line.side, line.scenario)))
    over = np.bincount(key, amounts, len(most)) > most
    rows = np.flatnonzero(over[key] & (amounts > 0))
    rows = rows[np.argsort(key[rows], kind="stable")]
    for own in np.split(rows, np.flatnonzero(np.diff(key[rows])) + 1):
        if len(own):
            share = whole_shares(int(most[key[own[0]]]), amounts[own], amounts[own], rank[own])
            amounts[own] = share


def line_up(
    accounts: StressedAccounts,
    state: Liquidated,
    cube: Floats,
    notional: Floats,
    bankrupt: Bankrupt,
    ranking: str,
    first: int = 0,
    rankings: Mapping[str, Ranking] = RANKINGS,
    unit: UnitMaintenance | None = None,
) -> Line:
    """Return those of a run of accounts that may have to close against what is bankrupt.

    ``cube`` ``(instrument, scenario)`` is P&L of one contract to the prices of the end,
    ``notional`` ``(instrument,)`` its size at first prices, which stands for the price of entry:
    profit is that since first prices. ``first`` is the row of the first account. With ``unit``
    maintenance is that of the prices of the end. In line are accounts on the other side with
    something left, so that a flat one is never hit.
    """
    gained = gains(accounts, state, cube)
    owner = np.repeat(np.arange(len(accounts)), np.diff(accounts.offsets))
    side = (accounts.quantity > 0.0).astype(np.int64)
    lines = []
    for scenario in np.flatnonzero(bankrupt.units.any(axis=(0, 1))).tolist():
        value = accounts.backing + gained[:, scenario]
        solvent = (value > 0.0) & (accounts.group >= 0)
        wanted = bankrupt.units[side, accounts.instrument, scenario] > 0
        rows = np.flatnonzero(wanted & solvent[owner] & (accounts.quantity != 0.0))
        who, what = owner[rows], accounts.instrument[rows]
        size, (left, cash) = notional[what], state.of(scenario)
        maintenance = accounts.maintenance * growth_of(accounts, unit, scenario)
        quantity = np.rint(left[who] * accounts.quantity[rows] * size / UNIT).astype(np.int64)
        mark, lot = size + cube[what, scenario], UNIT / size
        contracts = np.where(quantity == 0, 1.0, quantity * lot)
        candidates = Candidates(
            account=who,
            quantity=quantity,
            entry=size,
            bankruptcy=mark - value[who] / contracts,
            account_value=value[who],
            wallet=(accounts.backing + cash)[who],
            maintenance=(left * maintenance)[who],
            mark=mark,
            lot=lot,
        )
        line = Line(
            scenario=np.full(len(rows), scenario),
            side=side[rows],
            instrument=what.astype(np.int64),
            account=first + who,
            group=accounts.group[who].astype(np.int64),
            units=np.abs(quantity),
            score=_scores(rankings[ranking], candidates),
            value=value[who],
        )
        lines.append(line.take(np.flatnonzero(closed(line, bankrupt) > 0)))
    return Line.joined(lines) if lines else nobody()


def _scores(ranking: Ranking, candidates: Candidates) -> Floats:
    """Return the scores; no profit at a leverage without end is no number, and comes as 0."""
    with np.errstate(invalid="ignore"):
        return np.nan_to_num(ranking(candidates), nan=0.0, posinf=np.inf, neginf=-np.inf)


def nobody() -> Line:
    """Return a line in which nobody stands."""
    none = np.zeros(0, dtype=np.int64)
    return Line(none, none, none, none, none, none, np.zeros(0), np.zeros(0))
