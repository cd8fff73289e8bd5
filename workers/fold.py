"""The fold: stored shards become sums by member, venue, protocol, chain and underlying."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from risk.aggregation import (
    REQUIREMENT_EDGES,
    SHARES,
    TOP,
    UTILISATION_EDGES,
    AccountRows,
    Largest,
    PartialSums,
    accounts_to_keep,
    concentration,
    merge,
    partial_sums,
    weighted_rows,
)
from risk.instruments import Instruments, unit_notional
from risk.summation import BLOCK_ACCOUNTS, sum_by_group
from storage.array_digest import run_digests
from storage.arrays import FOLDS, GROUPS
from storage.book import Book
from storage.rows import StoredRows
from workers.engine import FoldEngine
from workers.shards import SHARD_BLOCKS, Shard, cut


class IncompleteRun(RuntimeError):
    """What was written is not whole or does not agree with itself; nothing is published."""


@dataclass(frozen=True, slots=True)
class FoldInputs:
    """What the fold reads: the book, and the run as staged.

    ``by_choice`` ``(instrument,)`` marks what is margined by a rule that is not the venue's.
    """

    book: Book
    accounts: StoredRows
    blocks: StoredRows
    members: int
    instruments: int
    by_choice: NDArray[np.bool_] | None = None


@dataclass(frozen=True, slots=True)
class Folded:
    """A run of blocks as it was read back: its sums, and the ``run_digests`` of its accounts."""

    sums: PartialSums
    digests: dict[str, bytes]


def fold_run(inputs: FoldInputs, engine: FoldEngine) -> Folded:
    """Fold a staged run over aligned runs of blocks; the bits do not depend on the engine."""
    runs = cut(inputs.book.accounts, SHARD_BLOCKS * BLOCK_ACCOUNTS)
    folded: Folded = engine.reduce([partial(_fold_leaf, inputs, run) for run in runs], _join)
    return folded


def _join(left: Folded, right: Folded) -> Folded:
    """Join two neighbouring runs, the earlier one first."""
    digests = {name: digest + right.digests[name] for name, digest in left.digests.items()}
    return Folded(merge(left.sums, right.sums), digests)


def _fold_leaf(inputs: FoldInputs, run: Shard) -> Folded:
    book = inputs.book
    positions = book.position_slice(run.start, run.stop)
    rows = AccountRows(
        first=run.start,
        member=book.account_table(run.start, run.stop, ["member"])["member"].to_numpy(),
        offsets=positions.offsets,
        instrument=positions.instrument,
        lots=positions.lots,
    )
    blocks = (run.start // BLOCK_ACCOUNTS, -(-run.stop // BLOCK_ACCOUNTS))
    accounts = inputs.accounts.between(run.start, run.stop)
    sums = partial_sums(
        rows,
        accounts,
        inputs.blocks.between(*blocks),
        members=inputs.members,
        instruments=inputs.instruments,
        keep=accounts_to_keep(book.accounts),
        by_choice=inputs.by_choice,
    )
    return Folded(sums, {name: run_digests(values) for name, values in accounts.items()})


def require_whole(sums: PartialSums, book: Book, cube: NDArray[np.float64]) -> None:
    """Refuse a run that lost or changed anything on its way to storage.

    Raises:
        IncompleteRun: an account, a sum over a block or a cell of the cube is missing or
            unwritten, stored layers do not sum to their stored requirement, or the lots of an
            instrument do not net to zero.
    """
    problems = lacking(sums, book, cube)
    if problems:
        raise IncompleteRun("; ".join(problems) + "; the run stays unpublished, run it again")


def lacking(sums: PartialSums, book: Book, cube: NDArray[np.float64]) -> list[str]:
    """Return what is missing of a run, or does not agree; nothing where it is whole."""
    problems = []
    if sums.accounts != book.accounts or sums.positions != book.positions:
        problems.append(
            f"{sums.accounts} accounts and {sums.positions} positions were folded, the book has "
            f"{book.accounts} and {book.positions}"
        )
    if sums.unwritten:
        problems.append(f"{sums.unwritten} accounts were never written")
    if sums.inconsistent:
        problems.append(f"{sums.inconsistent} accounts do not agree with themselves")
    of_blocks = (sums.contribution, sums.system_loss, sums.uncovered_loss)
    if not all(np.isfinite(values).all() for values in of_blocks):
        problems.append("sums over blocks of accounts were never written")
    if not np.isfinite(cube).all():
        row = int(np.flatnonzero(~np.isfinite(cube).all(axis=1))[0])
        problems.append(f"the cube holds no number for instrument row {row}")
    if not book.manifest.get("one_sided", False) and np.any(sums.member_lots.sum(axis=0)):
        row = int(np.flatnonzero(sums.member_lots.sum(axis=0))[0])
        problems.append(f"positions in instrument row {row} do not net to zero")
    return problems


def fold_dataset(
    sums: PartialSums,
    inputs: FoldInputs,
    *,
    instruments: Instruments,
    index: NDArray[np.float64],
    cube: NDArray[np.float64],
    lot_size: NDArray[np.float64],
    labels: dict[str, Sequence[str]],
) -> xr.Dataset:
    """Return the folds of a run as a labelled dataset, the variables of ``storage.arrays``."""
    table = inputs.book.instruments()
    members = inputs.book.members()["member"].to_pylist()
    long_contracts = sums.long_lots * lot_size
    notional = long_contracts * unit_notional(instruments, index)
    transfer = np.abs(cube) * long_contracts[:, None]
    values: dict[str, Any] = {
        "loss": sums.system_loss,
        "uncovered": sums.uncovered_loss,
        "under_water": sums.accounts_under_water,
        "member_pnl": weighted_rows(sums.member_lots * lot_size, cube),
        "member_margin": sums.member_margin,
        "member_maintenance": sums.member_maintenance,
        "member_equity": sums.member_equity,
        "member_shortfall": sums.member_shortfall,
        "member_accounts": sums.member_accounts,
        "member_accounts_short": sums.member_accounts_short,
        "member_accounts_below_maintenance": sums.member_accounts_below_maintenance,
        "requirement_count": sums.requirement_count,
        "utilisation_count": sums.utilisation_count,
        "concentration": concentration(sums),
    }
    coords: dict[str, Any] = {
        "scenario": list(labels["scenario"]),
        "layer": list(labels["layer"]),
        "member": members,
        "requirement_bucket": REQUIREMENT_EDGES,
        "utilisation_bucket": UTILISATION_EDGES,
        "top_share": list(SHARES),
    }
    for group in GROUPS:
        names, code = np.unique(table[group].to_numpy(zero_copy_only=False), return_inverse=True)
        coords[group] = names.tolist()
        values[f"{group}_requirement"] = sum_by_group(sums.contribution, code, len(names))
        values[f"{group}_open_interest"] = sum_by_group(notional, code, len(names))
        membership = (code == np.arange(len(names))[:, None]).astype(np.float64)
        values[f"{group}_transfer"] = weighted_rows(membership, transfer)
    values |= _largest(inputs, "requirement", sums.top_requirement)
    values |= _largest(inputs, "shortfall", sums.top_shortfall)
    return xr.Dataset(
        {
            variable.name: (
                variable.dims,
                np.asarray(values[variable.name], dtype=variable.dtype),
                {"units": variable.unit, "long_name": variable.meaning},
            )
            for variable in FOLDS
        },
        coords=coords,
    )


def _largest(inputs: FoldInputs, what: str, largest: Largest) -> dict[str, Any]:
    """Return rows, amounts and the names of the largest accounts."""
    rows, book = largest.account[:TOP], inputs.book
    members = book.members()["member"].to_pylist()
    found: dict[int, tuple[str, str, float, float]] = {}
    for block in np.unique(rows // BLOCK_ACCOUNTS).tolist():
        first = block * BLOCK_ACCOUNTS
        end = min(first + BLOCK_ACCOUNTS, book.accounts)
        named = book.account_table(first, end, ["account", "member"])
        stored = inputs.accounts.between(first, end, ("requirement", "equity"))
        for row in rows[rows // BLOCK_ACCOUNTS == block].tolist():
            at = row - first
            found[row] = (
                named["account"][at].as_py(),
                members[named["member"][at].as_py()],
                stored["requirement"][at].item(),
                stored["equity"][at].item(),
            )
    values: dict[str, Any] = {
        f"top_{what}_account": rows,
        f"top_{what}_amount": largest.amount[:TOP],
    }
    for column, name in enumerate(("name", "member", "requirement", "equity")):
        values[f"top_{what}_{name}"] = [found[row][column] for row in rows.tolist()]
    return values
