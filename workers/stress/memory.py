"""What a stress run will take, projected before its first round, and refused where too much."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from risk.summation import BLOCK_ACCOUNTS
from risk.systemic.insulation import InsulationSpec
from risk.systemic.plan import StressPlan
from risk.systemic.systems import SYSTEMS
from storage.book import Book
from storage.claims import Claims
from workers.memory import Projection, Room, TooLargeForMemory
from workers.memory.projection import COMPILING, LEADER, LIBRARIES, RAY, SERVER, WORKER
from workers.pool.memory import CLAIM_LED, CLAIM_TASK
from workers.shards import Shard
from workers.stress.tasks import KEPT_SHARDS

KEPT_POSITION, KEPT_ACCOUNT = 16, 32
"""Bytes of a position and of an account that a process keeps from round to round."""

READ_POSITION, READ_ACCOUNT = 140, 100
"""Bytes of a position and of an account of the shard that is read."""

STATE = 2 * 8
"""Bytes of an account that was liquidated, in one scenario: what remains, and its cash."""

COPIES = 3
"""Of a shard's state that are there at once: as it came, as it is, and on its way."""

LIQUIDATED = 0.5
"""The part of all accounts that is allowed for as liquidated in some scenario of a batch."""

IN_LINE = 64
"""Bytes of a position, while it is told in one scenario whether it stands in line."""

CLAIM_HELD = 16
"""Bytes of a claim that every machine is given: what of it is there, and what is owed."""

ARRANGED_POSITION, ARRANGED_ACCOUNT, ARRANGEMENT = 220, 300, 16
"""Bytes while margin systems are compared: of a position and an account of the shard, and of an
account in each arrangement."""

CUBES = 12
"""Arrays of the size of the cube in a round: the cube, and what is added up by instrument."""


@dataclass(frozen=True, slots=True)
class StressSize:
    """What the memory of a stress run depends on; ``shard_*`` are of its largest shard.

    ``deleveraging`` says that accounts stand in line, by position and by scenario. ``claims`` are
    there with a collateral run, ``arrangements`` of margin where they are compared, in ``compared``
    scenarios, by a rule book with a cube of ``margin_cube`` bytes.
    """

    accounts: int
    positions: int
    shards: int
    shard_accounts: int
    shard_positions: int
    instruments: int
    batch: int
    deleveraging: bool
    claims: int = 0
    shard_claims: int = 0
    members: int = 1
    arrangements: int = 0
    compared: int = 0
    margin_cube: int = 0

    @property
    def cube(self) -> int:
        """Bytes of P&L of one contract in a batch of scenarios."""
        return 8 * self.instruments * self.batch

    @property
    def state(self) -> int:
        """Bytes of what became of all accounts."""
        return int(self.accounts * (8 + LIQUIDATED * STATE * self.batch))

    @property
    def task(self) -> int:
        """Bytes that a process has for its largest task, without the shards that it keeps."""
        state = self.shard_accounts * (8 + LIQUIDATED * STATE * self.batch)
        read = READ_POSITION * self.shard_positions + READ_ACCOUNT * self.shard_accounts
        line = 0
        if self.deleveraging:
            line = IN_LINE * self.shard_positions + 16 * self.batch * self.shard_accounts
        placed = CLAIM_TASK * self.shard_claims
        cascade = int(COPIES * state) + max(read, line, placed) + CUBES * self.cube
        return max(cascade, read + self.arranged)

    @property
    def arranged(self) -> int:
        """Bytes of margin systems that are compared over the largest shard, 0 where none are."""
        if not self.arrangements:
            return 0
        sums = 8 * self.arrangements * self.members * self.compared
        account = ARRANGED_ACCOUNT + ARRANGEMENT * self.arrangements
        return (
            ARRANGED_POSITION * self.shard_positions
            + account * self.shard_accounts
            + self.margin_cube
            + 2 * 8 * self.instruments * self.compared
            + 3 * sums
        )

    @property
    def kept(self) -> int:
        """Bytes of the shards that a process keeps: in time each may have read the whole book."""
        part = min(KEPT_SHARDS, self.shards) / self.shards
        return int(part * (KEPT_POSITION * self.positions + KEPT_ACCOUNT * self.accounts))


def project_stress(size: StressSize, rooms: Sequence[Room]) -> Projection:
    """Return what a stress run takes at its peak over all rooms; the first has the leader.

    Raises:
        TooLargeForMemory: with what is needed, what there is, and what would help.

    >>> from workers.memory import Limit
    >>> MB = 1_000_000
    >>> size = StressSize(1_000_000, 11_500_000, 16, 65_536, 750_000, 912, 32, False)
    >>> found = project_stress(size, [Room(Limit(8_000 * MB, "machine"), 2, processes=True)])
    >>> found.per_worker // MB, found.total // MB
    (922, 3375)
    """
    total = sum(_need(size, room, leads=number == 0) for number, room in enumerate(rooms))
    for number, room in enumerate(rooms):
        need = _need(size, room, leads=number == 0)
        if need > room.limit.size:
            raise TooLargeForMemory(
                f"in batches of {size.batch} scenarios a stress of {size.accounts:,} accounts "
                f"needs {need / 1e9:.2f} GB, {size.state / 1e9:.2f} GB of them for what becomes of "
                f"accounts; the {room.limit.of} leaves {room.limit.size / 1e9:.2f} GB; use a "
                "smaller --batch, more --shards or fewer --workers"
            )
    if any(room.processes for room in rooms):
        return Projection(WORKER + LIBRARIES + COMPILING + size.task + size.kept, total)
    return Projection(total - SERVER, total)


def _need(size: StressSize, room: Room, *, leads: bool) -> int:
    """Return what a run takes in one room; processes of a machine keep shards of their own."""
    need = room.workers * size.task + CLAIM_HELD * size.claims
    if room.processes and room.workers:
        need += RAY + LIBRARIES + COMPILING + room.workers * (WORKER + size.kept)
    elif room.workers:
        need += size.kept
    if leads:
        need += LEADER + SERVER + COMPILING + 2 * size.state + CUBES * size.cube
        need += CLAIM_LED * size.claims
    return need


def size_of(
    book: Book, plan: StressPlan, shards: Sequence[Shard], instruments: int, batch: int
) -> StressSize:
    """Return what the memory of a run depends on, in batches of so many scenarios."""
    blocks = book.block_positions()
    starts = np.array([shard.start for shard in shards])
    return StressSize(
        accounts=book.accounts,
        positions=int(blocks.sum()),
        shards=len(shards),
        shard_accounts=max(shard.stop - shard.start for shard in shards),
        shard_positions=int(np.add.reduceat(blocks, starts // BLOCK_ACCOUNTS).max()),
        instruments=instruments,
        batch=batch,
        deleveraging=plan.deleveraging is not None,
    )


def with_claims(size: StressSize, claims: Claims, shards: Sequence[Shard]) -> StressSize:
    """Return the size with claims, which say in whose custody collateral is."""
    first = [claims.first_claim(shard.start) for shard in shards]
    most = int(np.diff([*first, claims.claims]).max())
    return replace(size, claims=claims.claims, shard_claims=most)


def with_insulation(
    size: StressSize, spec: InsulationSpec, layers: int, scenarios: int, compared: int, members: int
) -> StressSize:
    """Return the size with margin systems that are compared in so many scenarios.

    ``layers`` and ``scenarios`` are of the rule book and the cube that accounts were margined by.
    """
    return replace(
        size,
        arrangements=len(SYSTEMS) + layers + 3 * len(spec.walls),
        compared=compared,
        members=members,
        margin_cube=8 * size.instruments * scenarios,
    )


def fitting_batch(size: StressSize, rooms: Sequence[Room]) -> int:
    """Return the scenarios that go together: those of the size, or by halves as many as fit.

    Raises:
        TooLargeForMemory: not even one scenario at a time fits.
    """
    while True:
        try:
            project_stress(size, rooms)
        except TooLargeForMemory:
            if size.batch == 1:
                raise
            size = replace(size, batch=size.batch // 2)
        else:
            return size.batch
