"""From accounts to members, venues and the system: partial sums that merge, then the totals.

``partial_sums`` describes a run of whole blocks, ``merge`` joins two neighbouring runs, and
``totals`` turns the merged description of the whole book into what is reported. Merging in the
shape of ``fold_blocks`` gives the same bits for any cut of the book into aligned runs.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from risk.kernels import Positions, account_pnl
from risk.margin import HELD, AccountMargin
from risk.summation import block_bounds, fold_blocks, sum_by_group

TOP = 25
"""Accounts named in each list of the largest."""

SHARES = ("1", "10", "100", "1%")
"""Numbers of largest accounts whose share of the requirement is reported."""

REQUIREMENT_EDGES = np.concatenate([[0.0], np.logspace(0, 9, 37)])
UTILISATION_EDGES = np.concatenate([np.arange(0.0, 2.0, 0.05), [2.0, 5.0, 10.0]])


@dataclass(frozen=True, slots=True)
class Largest:
    """The largest rows of a run of accounts, in descending order; ties by account row."""

    account: NDArray[np.int64]
    amount: NDArray[np.float64]

    @staticmethod
    def of(account: NDArray[np.int64], amount: NDArray[np.float64], keep: int) -> "Largest":
        """Return the ``keep`` largest positive amounts; of equal ones the first."""
        chosen = np.flatnonzero(amount > 0.0)
        if len(chosen) > keep:
            least = np.partition(amount[chosen], -keep)[-keep]
            chosen = chosen[amount[chosen] >= least]
        order = chosen[np.argsort(-amount[chosen], kind="stable")[:keep]]
        return Largest(account[order], amount[order])

    def merge(self, other: "Largest", keep: int) -> "Largest":
        """Return the largest of both."""
        return Largest.of(
            np.concatenate([self.account, other.account]),
            np.concatenate([self.amount, other.amount]),
            keep,
        )


@dataclass(frozen=True, slots=True)
class PartialSums:
    """What a run of blocks contributes to the totals. Sums of floats are block trees."""

    accounts: int
    held: int
    positions: int
    unwritten: int
    inconsistent: int
    member_margin: NDArray[np.float64]  # (member, layer)
    member_maintenance: NDArray[np.float64]  # (member,)
    member_equity: NDArray[np.float64]
    member_shortfall: NDArray[np.float64]
    member_accounts: NDArray[np.int64]
    member_accounts_short: NDArray[np.int64]
    member_accounts_below_maintenance: NDArray[np.int64]
    accounts_by_choice: int
    member_lots: NDArray[np.int64]  # (member, instrument), net
    long_lots: NDArray[np.int64]  # (instrument,)
    contribution: NDArray[np.float64]  # (instrument,)
    system_loss: NDArray[np.float64]  # (scenario,)
    uncovered_loss: NDArray[np.float64]
    accounts_under_water: NDArray[np.int64]
    requirement_count: NDArray[np.int64]  # (bucket,)
    utilisation_count: NDArray[np.int64]
    top_requirement: Largest
    top_shortfall: Largest
    keep: int


@dataclass(frozen=True, slots=True)
class AccountRows:
    """Which accounts a run holds, and whose they are; lots are exact integers."""

    first: int
    member: NDArray[np.int32]
    offsets: NDArray[np.int64]
    instrument: NDArray[np.int32]
    lots: NDArray[np.int64]


def partial_sums(
    rows: AccountRows,
    margin: Mapping[str, NDArray[np.generic]],
    blocks: Mapping[str, NDArray[np.generic]],
    *,
    members: int,
    instruments: int,
    keep: int,
    by_choice: NDArray[np.bool_] | None = None,
) -> PartialSums:
    """Describe a run of whole blocks by sums over its accounts.

    ``margin`` holds the account arrays and ``blocks`` the block arrays of ``AccountMargin`` by
    name, as they were stored. ``keep`` accounts stay in the lists of the largest. ``by_choice``
    ``(instrument,)`` marks instruments margined by a rule that is ours and not the venue's, none
    when left out; accounts that hold one are counted.
    """
    status = np.asarray(margin["status"])
    layers = np.asarray(margin["margin"], dtype=np.float64)
    requirement = np.asarray(margin["requirement"], dtype=np.float64)
    maintenance = np.asarray(margin["maintenance"], dtype=np.float64)
    equity = np.asarray(margin["equity"], dtype=np.float64)
    excess = np.asarray(margin["excess"], dtype=np.float64)
    known = status != HELD
    unwritten = int(np.count_nonzero(status < 0))
    consistent = np.where(
        known,
        (layers >= 0.0).all(axis=1)
        & (layers.sum(axis=1) == requirement)
        & (maintenance >= 0.0)
        & (equity - requirement == excess),
        np.isnan(requirement) & np.isnan(maintenance) & np.isnan(layers).all(axis=1),
    )
    shortfall = np.where(known, np.maximum(-excess, 0.0), 0.0)
    group = rows.member.astype(np.int64)
    account = np.arange(rows.first, rows.first + len(status), dtype=np.int64)
    instrument = rows.instrument.astype(np.int64)
    held_lots = np.repeat(group, np.diff(rows.offsets)) * instruments + instrument
    with np.errstate(divide="ignore", invalid="ignore"):
        utilisation = np.where(equity > 0.0, requirement / equity, np.inf)
    # Who holds nothing and needs nothing uses nothing.
    utilisation[(equity == 0.0) & (requirement == 0.0)] = 0.0

    def tree(values: NDArray[np.float64]) -> NDArray[np.float64]:
        clean = np.where(known if values.ndim == 1 else known[:, None], values, 0.0)
        rows = [slice(start, stop) for start, stop in block_bounds(0, len(clean))]
        return fold_blocks(np.stack([sum_by_group(clean[r], group[r], members) for r in rows]))

    return PartialSums(
        accounts=len(status),
        held=int(np.count_nonzero(~known)),
        positions=len(rows.instrument),
        unwritten=unwritten,
        inconsistent=int(np.count_nonzero(~consistent)),
        member_margin=tree(layers),
        member_maintenance=tree(maintenance),
        member_equity=tree(equity),
        member_shortfall=tree(shortfall),
        member_accounts=np.bincount(group[known], minlength=members),
        member_accounts_short=np.bincount(group[shortfall > 0.0], minlength=members),
        member_accounts_below_maintenance=np.bincount(
            group[known & (equity < maintenance)], minlength=members
        ),
        accounts_by_choice=int(np.count_nonzero(known & _holds_any(rows, by_choice))),
        member_lots=_sum_lots(held_lots, rows.lots, members * instruments).reshape(members, -1),
        long_lots=_sum_lots(instrument, np.maximum(rows.lots, 0), instruments),
        contribution=fold_blocks(np.asarray(blocks["contribution"], dtype=np.float64)),
        system_loss=fold_blocks(np.asarray(blocks["system_loss"], dtype=np.float64)),
        uncovered_loss=fold_blocks(np.asarray(blocks["uncovered_loss"], dtype=np.float64)),
        accounts_under_water=np.asarray(blocks["accounts_under_water"]).sum(axis=0),
        requirement_count=_count(requirement[known], REQUIREMENT_EDGES),
        utilisation_count=_count(utilisation[known], UTILISATION_EDGES),
        top_requirement=Largest.of(account, np.where(known, requirement, 0.0), keep),
        top_shortfall=Largest.of(account, shortfall, TOP),
        keep=keep,
    )


def merge(left: PartialSums, right: PartialSums) -> PartialSums:
    """Join the sums of two neighbouring runs of blocks, the earlier one first."""
    joined: dict[str, object] = {}
    for field in fields(PartialSums):
        one, other = getattr(left, field.name), getattr(right, field.name)
        if field.name == "keep":
            joined[field.name] = one
        elif isinstance(one, Largest):
            keep = left.keep if field.name == "top_requirement" else TOP
            joined[field.name] = one.merge(other, keep)
        else:
            joined[field.name] = one + other
    return PartialSums(**joined)  # type: ignore[arg-type]  # same fields, joined one by one


def accounts_to_keep(accounts: int) -> int:
    """Return how many of the largest accounts are needed for every share that is reported."""
    return max(100, TOP, -(-accounts // 100))


def concentration(sums: PartialSums) -> NDArray[np.float64]:
    """Return the share of the whole requirement that the largest accounts hold, by ``SHARES``."""
    total = float(sums.member_margin.sum())
    counts = [1, 10, 100, -(-sums.accounts // 100)]
    amounts = [float(sums.top_requirement.amount[:count].sum()) for count in counts]
    return np.array(amounts) / total if total > 0.0 else np.zeros(len(counts))


def weighted_rows(weight: NDArray[np.float64], cube: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return ``weight @ cube``, ``(group, instrument), (instrument, scenario)``, bit for bit.

    A matrix product of a BLAS may differ in its last bits with the number of threads; this is
    the margin kernel's chain of fused multiply-adds in instrument order.
    """
    group, instrument = np.nonzero(weight)
    offsets = np.searchsorted(group, np.arange(len(weight) + 1)).astype(np.int64)
    positions = Positions(
        account_sets=np.arange(len(weight) + 1, dtype=np.int64),
        set_offsets=offsets,
        instrument=instrument.astype(np.int32),
        quantity=weight[group, instrument],
    )
    return account_pnl(positions, np.ascontiguousarray(cube))


def account_arrays(margin: AccountMargin) -> dict[str, NDArray[np.generic]]:
    """Return every array of an ``AccountMargin`` by its name."""
    return {field.name: getattr(margin, field.name) for field in fields(AccountMargin)}


def _holds_any(rows: AccountRows, marked: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
    """Return whether each account holds one of the marked instruments, ``(account,)``."""
    if marked is None:
        return np.zeros(len(rows.offsets) - 1, dtype=np.bool_)
    before = np.concatenate([[0], np.cumsum(marked[rows.instrument])])
    return np.asarray(before[rows.offsets[1:]] > before[rows.offsets[:-1]])


def _count(values: NDArray[np.float64], edges: NDArray[np.float64]) -> NDArray[np.int64]:
    """Count values from each edge up to the next; the last bucket is open."""
    bucket = np.searchsorted(edges, values, side="right") - 1
    return np.bincount(np.maximum(bucket, 0), minlength=len(edges))


def _sum_lots(key: NDArray[np.integer], lots: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Sum integers by key, exactly."""
    sums = np.zeros(size, dtype=np.int64)
    np.add.at(sums, key, lots)
    return sums
