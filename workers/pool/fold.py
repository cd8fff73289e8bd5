"""The fold of a collateral run: stored shards become the sums of one pool."""

from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from risk.claims.sums import PoolSums, merge_pool, pool_sums
from risk.summation import BLOCK_ACCOUNTS
from storage.array_digest import run_digests
from storage.rows import StoredRows
from workers.engine import FoldEngine
from workers.fold import IncompleteRun
from workers.shards import SHARD_BLOCKS, Shard, cut


@dataclass(frozen=True, slots=True)
class FoldedPool:
    """A run of blocks as it was read back: its sums, and the ``run_digests`` of its accounts."""

    sums: PoolSums
    digests: dict[str, bytes]


def fold_pool(
    accounts: int, stored: StoredRows, blocks: StoredRows, engine: FoldEngine
) -> FoldedPool:
    """Fold a staged run over aligned runs of blocks; the bits do not depend on the engine."""
    runs = cut(accounts, SHARD_BLOCKS * BLOCK_ACCOUNTS)
    folded: FoldedPool = engine.reduce([partial(_leaf, stored, blocks, run) for run in runs], _join)
    return folded


def _leaf(stored: StoredRows, blocks: StoredRows, run: Shard) -> FoldedPool:
    accounts = stored.between(run.start, run.stop)
    within = blocks.between(run.start // BLOCK_ACCOUNTS, -(-run.stop // BLOCK_ACCOUNTS))
    digests = {name: run_digests(values) for name, values in accounts.items()}
    return FoldedPool(pool_sums(run.start, accounts, within), digests)


def _join(left: FoldedPool, right: FoldedPool) -> FoldedPool:
    digests = {name: digest + right.digests[name] for name, digest in left.digests.items()}
    return FoldedPool(merge_pool(left.sums, right.sums), digests)


def require_whole_pool(
    sums: PoolSums,
    *,
    accounts: int,
    claims: int,
    by_outcome: NDArray[np.int64],
) -> None:
    """Refuse a run that lost or changed anything on its way to storage.

    ``by_outcome`` is how many claims of the whole dataset have each outcome.

    Raises:
        IncompleteRun: an account or a claim is missing, or stored numbers do not agree.
    """
    problems = lacking(sums, accounts=accounts, claims=claims, by_outcome=by_outcome)
    if problems:
        raise IncompleteRun("; ".join(problems) + "; nothing is published, run it again")


def lacking(
    sums: PoolSums, *, accounts: int, claims: int, by_outcome: NDArray[np.int64]
) -> list[str]:
    """Return what is missing of a run, or does not agree; nothing where it is whole."""
    problems = []
    if sums.accounts != accounts or sums.claims != claims:
        problems.append(
            f"{sums.accounts} accounts and {sums.claims} claims were folded, the inputs have "
            f"{accounts} and {claims}"
        )
    if sums.unwritten:
        problems.append(f"{sums.unwritten} accounts were never written")
    if sums.inconsistent:
        problems.append(f"{sums.inconsistent} accounts do not agree with themselves")
    folded = sums.counts["claims_by_outcome"]
    if not np.array_equal(folded, by_outcome):
        problems.append(
            f"claims by outcome {folded.tolist()} were folded, {by_outcome.tolist()} were found"
        )
    if not np.isclose(sums.sums["credit"], sums.sums["credit_by_state"][0], rtol=1e-9, atol=0.01):
        problems.append("credit by account and credit by state do not sum to the same")
    return problems
