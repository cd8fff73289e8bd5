"""Which claims of a dataset count, and how many units of each token the pool has by that."""

from dataclasses import dataclass
from functools import partial
from operator import add

import numpy as np
from numpy.typing import NDArray

from risk.claims.credit import token_findings
from risk.claims.findings import (
    Bits,
    Grounds,
    bit,
    claim_grounds,
    counted_quantity,
    outcomes,
    own_findings,
    present_quantity,
    seconds_of,
)
from risk.claims.graph import Shared, shared_findings
from risk.claims.markets import misplaced
from risk.claims.tokens import Claims, Outcome
from risk.summation import BLOCK_ACCOUNTS, block_bounds, fold_blocks, sum_by_group
from storage.claims import ClaimSlice
from workers.engine import FoldEngine
from workers.pool.plan import PoolPlan
from workers.shards import SHARD_BLOCKS, cut

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Counted:
    """What the claims of a whole dataset come to, ``(claim,)`` but for the last.

    ``outcome`` is an ``Outcome``, ``units`` what counts and of a debt what is owed, ``present``
    what a lending market sees. ``account`` is the row of the holder, ``shared`` who counts one
    thing with whom. ``totals`` ``(token,)`` are the units that count, a block tree. ``misplaced``
    ``(account,)`` marks who has a claim outside of the market that it belongs to, and is held back.
    """

    outcome: NDArray[np.int8]
    units: Floats
    present: Floats
    account: NDArray[np.int32]
    shared: Shared
    totals: Floats
    misplaced: NDArray[np.bool_]

    @property
    def by_outcome(self) -> NDArray[np.int64]:
        """How many claims have each outcome, ``(outcome,)``."""
        return np.bincount(self.outcome, minlength=len(Outcome))


def count_claims(plan: PoolPlan, engine: FoldEngine) -> Counted:
    """Decide for every claim of the dataset whether it counts, and add up what does.

    Raises:
        ValueError: a debt that cannot be valued, or a backing that is no claim.
    """
    held, references = plan.claims.claim_slice(0, plan.book.accounts), plan.references
    claims, grounds = as_claims(held), grounds_of(plan)
    own = own_findings(claims, grounds)
    shared = _shared(plan, claims, grounds, own)
    outcome = outcomes(own | shared.found)
    units = counted_quantity(claims, grounds, outcome)
    leaves = []
    for run in cut(plan.book.accounts, SHARD_BLOCKS * BLOCK_ACCOUNTS):
        offsets = held.offsets[run.start : run.stop + 1]
        rows = slice(offsets[0], offsets[-1])
        of_run = (
            offsets - offsets[0],
            held.token[rows],
            np.where(grounds.owed[held.token[rows]], 0.0, units[rows]),
        )
        leaves.append(partial(_units_by_token, *of_run, len(references.tokens)))
    account = np.repeat(np.arange(plan.book.accounts, dtype=np.int32), np.diff(held.offsets))
    return Counted(
        outcome=outcome,
        units=units,
        present=present_quantity(claims, outcome),
        account=account,
        shared=shared,
        totals=engine.reduce(leaves, add),
        misplaced=np.bincount(
            account[_misplaced(plan, claims)], minlength=plan.book.accounts
        ).astype(np.bool_),
    )


def grounds_of(plan: PoolPlan) -> Grounds:
    """Return what the claims of a run are held against.

    Raises:
        ValueError: a debt that cannot be valued.
    """
    references = plan.references
    tokens, names = references.tokens, references.names
    found = token_findings(tokens, names, references.feeds, plan.rules, plan.found)
    return claim_grounds(tokens, names, references.snapshot, plan.rules, found)


def as_claims(held: ClaimSlice) -> Claims:
    """Return claims as they were read as the mathematics has them."""
    return Claims(
        offsets=held.offsets,
        token=held.token,
        quantity=held.quantity,
        encumbered=held.encumbered,
        market=held.market,
        root=held.root,
        proof=held.proof,
        height=held.height,
        standing=held.standing,
        backing=held.backing,
    )


def _shared(plan: PoolPlan, claims: Claims, grounds: Grounds, own: Bits) -> Shared:
    """Return who counts one thing twice, among claims that would count but for being old.

    A claim that nothing shows cannot take the place of one that is proven by naming its root.
    """
    lacking = own & ~np.uint16(bit(Outcome.HEIGHT_SKEWED))
    free = (lacking == 0) & ~grounds.owed[claims.token]
    policy = plan.rules.policy
    return shared_findings(
        claims.root,
        claims.proof,
        claims.backing,
        free=free,
        seconds=seconds_of(claims, grounds),
        chain=grounds.chain[claims.token],
        skew_seconds=policy.skew_seconds,
        double_count=policy.double_count,
    )


def _units_by_token(
    offsets: NDArray[np.int64], token: NDArray[np.int32], units: Floats, tokens: int
) -> Floats:
    """Return the units of a run of whole blocks by token, the blocks added up as a tree."""
    blocks = []
    for start, stop in block_bounds(0, len(offsets) - 1):
        rows = slice(offsets[start], offsets[stop])
        blocks.append(sum_by_group(units[rows], token[rows].astype(np.int64), tokens))
    return fold_blocks(np.stack(blocks))


def _misplaced(plan: PoolPlan, claims: Claims) -> NDArray[np.bool_]:
    """Return which claims are written outside of the market that their token belongs to."""
    references, markets, terms = plan.references, plan.tables.markets, plan.tables.market_terms
    backs = np.zeros((len(markets), len(references.tokens)), dtype=np.bool_)
    backs[terms["market"].to_numpy(), terms["token"].to_numpy()] = True
    names = references.names
    protocol = [names.protocol.index(name) for name in markets["protocol"].to_pylist()]
    chain = [names.chain.index(name) for name in markets["chain"].to_pylist()]
    return misplaced(
        references.tokens,
        claims.token,
        claims.market,
        backs,
        np.array(protocol, dtype=np.int32),
        np.array(chain, dtype=np.int32),
    )
