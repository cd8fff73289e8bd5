"""What a collateral run will take, projected before a claim is read, and refused where too much."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from risk.summation import BLOCK_ACCOUNTS
from workers.memory import Projection, Room, TooLargeForMemory
from workers.memory.projection import COMPILING, LEADER, LIBRARIES, RAY, SERVER, WORKER
from workers.pool.plan import PoolPlan

CLAIM_LED = 260
"""Bytes of a claim where it is decided whether it counts: all claims in the process that leads."""

CLAIM_SHARED = 17
"""Bytes of a claim that every machine is given: its outcome, what counts, what is there."""

CLAIM_TASK, POSITION_TASK, ACCOUNT_TASK = 250, 140, 350
"""Bytes that a task has for each claim, position and account of its shard."""


@dataclass(frozen=True, slots=True)
class PoolWork:
    """What the memory of a collateral run depends on: its size, and that of its largest shard."""

    claims: int
    shard_claims: int
    shard_positions: int
    shard_accounts: int

    @property
    def task(self) -> int:
        """Bytes that the largest task allocates."""
        return (
            CLAIM_TASK * self.shard_claims
            + POSITION_TASK * self.shard_positions
            + ACCOUNT_TASK * self.shard_accounts
        )


def project_pool(work: PoolWork, rooms: Sequence[Room]) -> Projection:
    """Return what a collateral run takes at its peak over all rooms; the first has the leader.

    Raises:
        TooLargeForMemory: with what is needed, what there is, and what would help.

    >>> from workers.memory import Limit
    >>> MB = 1_000_000
    >>> work = PoolWork(4_200_000, shard_claims=280_000, shard_positions=750_000,
    ...                 shard_accounts=65_536)
    >>> found = project_pool(work, [Room(Limit(8_000 * MB, "machine"), workers=2, processes=True)])
    >>> found.per_worker // MB, found.total // MB
    (737, 3509)
    """
    total = 0
    for number, room in enumerate(rooms):
        need = CLAIM_SHARED * work.claims + room.workers * work.task
        if room.processes and room.workers:
            need += RAY + LIBRARIES + COMPILING + room.workers * WORKER
        if number == 0:
            need += LEADER + SERVER + CLAIM_LED * work.claims
        if need > room.limit.size:
            raise TooLargeForMemory(
                f"a pool of {work.claims:,} claims needs {need / 1e9:.1f} GB here, "
                f"{room.limit.of} leaves {room.limit.size / 1e9:.1f} GB; use fewer --workers or "
                f"more --shards (a task takes {work.task / 1e9:.2f} GB), or a machine with more: "
                f"the {CLAIM_LED * work.claims / 1e9:.1f} GB that decide what counts are in one "
                "process"
            )
        total += need
    return Projection(WORKER + LIBRARIES + COMPILING + work.task, total)


def work_of(plan: PoolPlan) -> PoolWork:
    """Return what the memory of a planned run depends on."""
    starts = np.array([shard.start for shard in plan.shards])
    positions = np.add.reduceat(plan.book.block_positions(), starts // BLOCK_ACCOUNTS)
    first = [plan.claims.first_claim(start) for start in starts.tolist()]
    return PoolWork(
        claims=plan.claims.claims,
        shard_claims=int(np.diff([*first, plan.claims.claims]).max()),
        shard_positions=int(positions.max()),
        shard_accounts=max(shard.stop - shard.start for shard in plan.shards),
    )
