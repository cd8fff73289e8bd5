"""From accounts to the pool: partial sums that merge, in the shape of ``fold_blocks``."""

from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from risk.aggregation import TOP, Largest
from risk.claims.pool import excess
from risk.summation import block_bounds, fold_blocks

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

POOLED, HELD = 0, 1
"""Status of an account of a pool."""

HEALTH_EDGES = np.array([0.0, 0.8, 0.9, 1.0, 1.05, 1.1, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0])
"""Where buckets of health factors begin; the last has no end, and accounts without debt none."""

BLOCK_SUMS = (
    "quantity",
    "credit_by_state",
    "credit_by_token",
    "credit_by_use",
    "credit_by_standing",
    "called_alone",
    "value_by_outcome",
)
BLOCK_COUNTS = ("accounts_below_alone", "liquidatable", "claims_by_outcome")
ACCOUNT_SUMS = (
    "value",
    "credit",
    "position_value",
    "requirement",
    "requirement_alone",
    "requirement_margined",
    "collateral_in_book",
)

UNLIKE, SMALL = 10.0, 1_000.0
"""Claims worth more than so many times the collateral that they stand for are not its like.

Of less collateral than ``SMALL``, USD, it takes as many times that. A quantity in base units, not
in units of its token, is thousands of times too large or more.
"""


@dataclass(frozen=True, slots=True)
class PoolSums:
    """What a run of blocks adds to a pool. ``sums`` of money and units are block trees.

    ``below`` and ``below_alone`` are accounts whose credit and position value are less than what
    they need, see ``risk.claims.pool.excess``, and than their positions alone require;
    ``shortfall`` and ``shortfall_alone`` by how much. ``inconsistent`` rows do not agree with
    themselves, ``unlike`` accounts hold claims that are not the like of their collateral.
    """

    accounts: int
    held: int
    unwritten: int
    inconsistent: int
    claims: int
    counted: int
    below: int
    below_alone: int
    unlike: int
    sums: dict[str, Floats]
    counts: dict[str, Counts]
    health: Counts
    top_shortfall: Largest
    top_change: Largest


def pool_sums(
    first: int,
    accounts: Mapping[str, NDArray[np.generic]],
    blocks: Mapping[str, NDArray[np.generic]],
) -> PoolSums:
    """Describe a run of whole blocks, from the account ``first`` on, by what was stored of it."""
    status = np.asarray(accounts["status"])
    known = status == POOLED
    money = {name: np.asarray(accounts[name], dtype=np.float64) for name in ACCOUNT_SUMS}
    left = np.asarray(accounts["excess"], dtype=np.float64)
    backing = money["credit"] + money["position_value"]
    asked = (money["requirement"], money["requirement_margined"])
    due = excess(money["credit"], money["position_value"], *asked)
    consistent = np.where(
        known,
        (due == left) & (money["requirement"] >= 0.0) & (money["requirement_alone"] >= 0.0),
        np.isnan(left) & np.isnan(money["credit"]),
    )
    missing = np.where(known, np.maximum(-left, 0.0), 0.0)
    alone = np.where(known, np.maximum(money["requirement_alone"] - backing, 0.0), 0.0)
    like = UNLIKE * np.maximum(money["collateral_in_book"], SMALL)
    change = np.where(known, money["requirement"] - money["requirement_alone"], 0.0)
    money |= {"shortfall": missing, "shortfall_alone": alone}
    account = np.arange(first, first + len(status), dtype=np.int64)
    return PoolSums(
        accounts=len(status),
        held=int(np.count_nonzero(~known)),
        unwritten=int(np.count_nonzero(status < 0)),
        inconsistent=int(np.count_nonzero(~consistent)),
        claims=int(np.asarray(accounts["claims"]).sum()),
        counted=int(np.asarray(accounts["counted"]).sum()),
        below=int(np.count_nonzero(missing > 0.0)),
        below_alone=int(np.count_nonzero(alone > 0.0)),
        unlike=int(np.count_nonzero(known & (money["value"] > like))),
        sums={name: _tree(np.where(known, values, 0.0)) for name, values in money.items()}
        | {name: fold_blocks(np.asarray(blocks[name], np.float64)) for name in BLOCK_SUMS},
        counts={name: np.asarray(blocks[name], np.int64).sum(axis=0) for name in BLOCK_COUNTS},
        health=_count_health(np.asarray(accounts["health"], np.float64)[known]),
        top_shortfall=Largest.of(account, missing, TOP),
        top_change=Largest.of(account, change, TOP),
    )


def merge_pool(left: PoolSums, right: PoolSums) -> PoolSums:
    """Join the sums of two neighbouring runs of blocks, the earlier one first."""
    joined: dict[str, object] = {}
    for field in fields(PoolSums):
        one, other = getattr(left, field.name), getattr(right, field.name)
        if isinstance(one, dict):
            joined[field.name] = {name: one[name] + other[name] for name in one}
        elif isinstance(one, Largest):
            joined[field.name] = one.merge(other, TOP)
        else:
            joined[field.name] = one + other
    return PoolSums(**joined)  # type: ignore[arg-type]  # same fields, joined one by one


def _tree(values: Floats) -> Floats:
    """Sum each block account by account, and the blocks as a tree."""
    return fold_blocks(
        np.array([values[start:stop].sum() for start, stop in block_bounds(0, len(values))])
    )


def _count_health(health: Floats) -> Counts:
    """Count accounts with debt by health factor, ``(account,) -> (bucket,)``."""
    owing = health[np.isfinite(health)]
    bucket = np.searchsorted(HEALTH_EDGES, owing, side="right") - 1
    return np.bincount(bucket, minlength=len(HEALTH_EDGES))
