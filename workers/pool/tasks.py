"""The wide task of a collateral run: a shard of accounts, valued with their claims."""

import functools
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from risk.claims.pool import PoolAccounts, PoolBlock, PoolTerms, excess, pool_block
from risk.claims.tokens import Outcome, Standing
from risk.claims.uses import shares_of_use
from risk.summation import BLOCK_ACCOUNTS, block_bounds, sum_by_group
from storage.book import Book
from storage.claims import Claims, ClaimSlice
from storage.objects import S3Folder
from storage.rows import StoredRows
from storage.staging import Fork
from workers.memory import process_peak_bytes
from workers.shards import Shard
from workers.tasks import TaskResult

Floats = NDArray[np.float64]
Arrays = dict[str, NDArray[np.generic]]

FROM_MARGIN = ("requirement", "collateral_value")
"""Arrays of the margin run that are kept beside what the pool comes to."""


@dataclass(frozen=True, slots=True)
class PoolInputs:
    """What every task of a collateral run shares.

    ``margin`` are the accounts of the margin run. ``outcome``, ``counted`` and ``present`` are
    ``(claim,)`` over the whole dataset: whether a claim counts, the units that count, and those
    that a debt rests on. ``misplaced`` is ``(account,)``: who has a claim outside of the market
    that it belongs to. ``priced``, ``lot_size``, ``position_value``, ``notional`` and ``venue`` are
    ``(instrument,)``: contracts in a lot, and of one contract its market value, its size in USD and
    where it trades, of ``venues`` in all.
    """

    book: Path | S3Folder
    book_digest: str
    claims: Path | S3Folder
    claims_digest: str
    margin: StoredRows
    terms: PoolTerms
    outcome: NDArray[np.int8]
    counted: Floats
    present: Floats
    misplaced: NDArray[np.bool_]
    priced: NDArray[np.bool_]
    lot_size: Floats
    position_value: Floats
    notional: Floats
    venue: NDArray[np.int64]
    venues: int


@dataclass(frozen=True, slots=True)
class PoolTask:
    """What tasks share, and where they write."""

    inputs: PoolInputs
    fork: Fork


def pool_shard(task: PoolTask, shard: Shard) -> TaskResult:
    """Value a shard of accounts with their claims and write its rows to their own chunks."""
    started = time.perf_counter()
    accounts, blocks = pool_arrays(task.inputs, shard)
    task.fork.write("accounts", accounts, shard.start)
    task.fork.write("blocks", blocks, shard.start // BLOCK_ACCOUNTS)
    busy = time.perf_counter() - started
    return TaskResult(task.fork, shard, shard.stop - shard.start, 0, busy, process_peak_bytes())


def pool_arrays(inputs: PoolInputs, shard: Shard) -> tuple[Arrays, Arrays]:
    """Value a shard of accounts with their claims; return its arrays by account and by block."""
    book, claims = _open(inputs.book, inputs.book_digest, inputs.claims, inputs.claims_digest)
    written = claims.claim_slice(shard.start, shard.stop)
    margined = inputs.margin.between(shard.start, shard.stop, list(FROM_MARGIN))
    accounts = read_accounts(inputs, book, claims, written, shard)
    by_account: list[Arrays] = []
    by_block: list[Arrays] = []
    for start, stop in block_bounds(0, len(accounts)):
        part = accounts.between(start, stop)
        found = pool_block(part, inputs.terms)
        rows = slice(accounts.claim_offsets[start], accounts.claim_offsets[stop])
        outcome = inputs.outcome[written.first : written.first + len(written.token)][rows]
        stored = {name: values[start:stop] for name, values in margined.items()}
        by_account.append(_account_arrays(part, found, outcome, stored))
        sums = _claim_sums(inputs, part, found, outcome, written, rows)
        by_block.append(_block_arrays(found) | sums | _use_sums(inputs, part, found))
    joined = {name: np.concatenate([one[name] for one in by_account]) for name in by_account[0]}
    stacked = {name: np.stack([one[name] for one in by_block]) for name in by_block[0]}
    return joined, stacked


def read_accounts(
    inputs: PoolInputs, book: Book, claims: Claims, written: ClaimSlice, shard: Shard
) -> PoolAccounts:
    """Read positions and claims of a run of accounts; who has a row set aside is held back."""
    positions = book.position_slice(shard.start, shard.stop)
    accounts = shard.stop - shard.start
    owner = np.repeat(np.arange(accounts), np.diff(positions.offsets))
    unpriced = np.bincount(owner[~inputs.priced[positions.instrument]], minlength=accounts) > 0
    quantity = positions.lots * inputs.lot_size[positions.instrument]
    worth = quantity * inputs.position_value[positions.instrument]
    rows = slice(written.first, written.first + len(written.token))
    return PoolAccounts(
        offsets=positions.offsets,
        instrument=positions.instrument,
        quantity=quantity,
        claim_offsets=written.offsets,
        token=written.token,
        counted=inputs.counted[rows],
        present=inputs.present[rows],
        market=written.market,
        position_value=sum_by_group(worth, owner, accounts),
        held=book.held(shard.start, shard.stop)
        | claims.held(shard.start, shard.stop)
        | inputs.misplaced[shard.start : shard.stop]
        | unpriced,
    )


def _account_arrays(
    accounts: PoolAccounts,
    found: PoolBlock,
    outcome: NDArray[np.int8],
    margined: Arrays,
) -> Arrays:
    counts = (outcome == Outcome.COUNTED).astype(np.int64)
    running = np.concatenate([[0], np.cumsum(counts)])
    margin, in_book = (
        np.where(accounts.held, np.nan, np.asarray(margined[name], np.float64))
        for name in FROM_MARGIN
    )
    return {
        "value": found.value,
        "credit": found.credit,
        "position_value": np.where(accounts.held, np.nan, accounts.position_value),
        "requirement": found.requirement,
        "requirement_alone": found.requirement_alone,
        "requirement_margined": margin,
        "collateral_in_book": in_book,
        "excess": excess(found.credit, accounts.position_value, found.requirement, margin),
        "credit_then": found.credit_then,
        "binding_scenario": found.binding_scenario,
        "binding_alone": found.binding_alone,
        "health": found.health,
        "claims": np.diff(accounts.claim_offsets).astype(np.int32),
        "counted": np.diff(running[accounts.claim_offsets]).astype(np.int32),
        "status": accounts.held.astype(np.int8),
    }


def _block_arrays(found: PoolBlock) -> Arrays:
    return {
        "credit_by_state": found.credit_by_state,
        "credit_by_token": found.credit_by_token,
        "accounts_below_alone": found.below_alone,
        "called_alone": found.called_alone,
        "liquidatable": found.liquidatable,
    }


def _claim_sums(
    inputs: PoolInputs,
    accounts: PoolAccounts,
    found: PoolBlock,
    outcome: NDArray[np.int8],
    written: ClaimSlice,
    rows: slice,
) -> Arrays:
    """Return sums over the claims of accounts that are not held back."""
    margined = np.repeat(~accounts.held, np.diff(accounts.claim_offsets))
    token, tokens = accounts.token.astype(np.int64), len(inputs.terms.credit)
    counted = np.where(margined, accounts.counted, 0.0)
    credit = np.where(margined, found.claim_credit, 0.0)
    fetched = written.quantity[rows] * inputs.terms.value[accounts.token, 0]
    kind = outcome.astype(np.int64)
    held_back = np.where(margined & ~inputs.terms.is_debt[accounts.token], fetched, 0.0)
    standing = written.standing[rows].astype(np.int64)
    return {
        "quantity": sum_by_group(counted, token, tokens),
        "credit_by_standing": sum_by_group(credit, standing, len(Standing)),
        "claims_by_outcome": np.bincount(kind, minlength=len(Outcome)),
        "value_by_outcome": sum_by_group(held_back, kind, len(Outcome)),
    }


def _use_sums(inputs: PoolInputs, accounts: PoolAccounts, found: PoolBlock) -> Arrays:
    """Return credit by token and by the venue that needs it, the last column what is free."""
    share = shares_of_use(
        np.where(accounts.held, 0.0, found.credit),
        np.where(accounts.held, 0.0, found.requirement),
        np.repeat(np.arange(len(accounts)), np.diff(accounts.offsets)),
        inputs.venue[accounts.instrument],
        np.abs(accounts.quantity) * inputs.notional[accounts.instrument],
        inputs.venues,
    )
    keeper = np.repeat(np.arange(len(accounts)), np.diff(accounts.claim_offsets))
    per_claim = np.where(accounts.held[keeper], 0.0, found.claim_credit)
    shared = per_claim[:, None] * share[keeper]
    token = accounts.token.astype(np.int64)
    return {"credit_by_use": sum_by_group(shared, token, len(inputs.terms.credit))}


@functools.lru_cache(maxsize=1)
def _open(
    book: Path | S3Folder, book_digest: str, claims: Path | S3Folder, claims_digest: str
) -> tuple[Book, Claims]:
    opened, held = Book.open(book), Claims.open(claims)
    for dataset, digest in ((opened, book_digest), (held, claims_digest)):
        if dataset.digest != digest:
            raise ValueError(
                f"{dataset!r} has digest {dataset.digest[:12]}, the run was planned on "
                f"{digest[:12]}; inputs must not change under a run"
            )
    return opened, held
