"""What a run will take: projected before anything is priced, refused where it does not fit.

The projection is an upper bound within a small factor. Its constants were measured: what each
kind of process takes before it works, and what arrays a task has for a position, a netting set
and an account while it margins them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workers.memory.limits import Room
from workers.shards import SHARD_BLOCKS

MB = 1_000_000

LEADER = 520 * MB
"""The process that plans, folds and publishes, with every library in it."""

SERVER = 220 * MB
"""Prefect's server."""

RAY = 420 * MB
"""Ray's own processes on one machine."""

WORKER = 250 * MB
"""What a worker process has for itself before its first task."""

LIBRARIES = 160 * MB
"""What a worker process shares with its like: libraries, and the object store."""

COMPILING = 130 * MB
"""Compiling the kernels, which one process does and the others wait for."""


class TooLargeForMemory(ValueError):
    """A plan that does not fit into the memory that it may take."""


@dataclass(frozen=True, slots=True)
class Work:
    """What the memory of a run depends on; ``accounts`` and ``positions`` are ``(block,)``.

    ``nested`` says that the methodology sorts positions by underlying, expiry and strike too, and
    ``earlier`` that what is held is compared with an earlier run, whose numbers are kept.
    """

    accounts: NDArray[np.int64]
    positions: NDArray[np.int64]
    instruments: int
    scenarios: int
    measures: int
    layers: int
    nested: bool = False
    earlier: bool = False
    threads: int = 1

    @property
    def cube(self) -> int:
        """Bytes of the cube."""
        return 8 * self.instruments * self.scenarios

    def task(self, blocks: int) -> int:
        """Return what the largest margin task allocates where shards have so many blocks.

        Each position costs its row as read, sorted and filtered, and at worst a netting set of
        its own; each account its result arrays and a copy on their way to storage; each block
        its sums. The cube is shared, and counted in each worker, whose pages it is among.
        """
        position = 140 + 24 + 14 * self.measures + 90 * self.nested + 60 * self.earlier
        account = 200 + 3 * self._account_row + (100 + self._account_row) * self.earlier
        block = 16 * (self.instruments + 3 * self.scenarios)
        arrays = _largest(position * self.positions + account * self.accounts + block, blocks)
        cubes = 2 * self.cube if self.earlier else self.cube
        return cubes + arrays + 200 * self.threads * self.scenarios

    def fold(self) -> int:
        """Return what reading a run of blocks back and adding it up allocates."""
        rows = 80 * self.positions + (150 + 3 * self._account_row) * self.accounts
        return _largest(rows + 24 * (self.instruments + 3 * self.scenarios), SHARD_BLOCKS)

    @property
    def _account_row(self) -> int:
        return 8 * (self.layers + self.measures + 7)


@dataclass(frozen=True, slots=True)
class Projection:
    """What a run takes at its peak, bytes: its largest worker process, and all its processes."""

    per_worker: int
    total: int

    def told(self, rooms: Sequence[Room]) -> dict[str, Any]:
        """Return it beside what could be taken, bytes, as a manifest has it."""
        return {
            "projected_per_worker": self.per_worker,
            "projected_total": self.total,
            "limit": sum(room.limit.size for room in rooms),
            "limit_of": ", ".join(sorted({room.limit.of for room in rooms})),
        }


def project(work: Work, blocks: int, rooms: Sequence[Room]) -> Projection:
    """Return what a run takes whose shards have so many blocks, over all rooms.

    >>> from workers.memory.limits import Limit
    >>> block = np.full(16, 4_096)
    >>> work = Work(block, 10 * block, instruments=900, scenarios=1_500, measures=3, layers=3)
    >>> here = Room(Limit(8_000 * MB, "machine"), workers=2, processes=True)
    >>> found = project(work, 16, [here])
    >>> found.per_worker // MB, found.total // MB
    (721, 2323)
    """
    total = sum(_need(work, blocks, room) for room in rooms)
    if any(room.processes for room in rooms):
        return Projection(WORKER + LIBRARIES + COMPILING + work.task(blocks), total)
    return Projection(total - SERVER, total)


def fitting_blocks(work: Work, rooms: Sequence[Room], blocks: int, *, asked: bool) -> int:
    """Return the blocks in a shard: so many where that fits, else fewer unless they were asked for.

    Raises:
        TooLargeForMemory: with what is needed, what there is, and the smaller plan that fits.
    """
    if all(_fits(work, blocks, room) for room in rooms):
        return blocks
    smaller = _halved_until_fits(work, blocks, rooms)
    if smaller is not None and not asked:
        return smaller
    tight = next(room for room in rooms if not _fits(work, blocks if asked else 1, room))
    raise TooLargeForMemory(_refusal(work, blocks if asked else 1, smaller, tight))


def _need(work: Work, blocks: int, room: Room) -> int:
    """Return what a run takes in one room."""
    tasks, folds = room.workers * work.task(blocks), room.folding * work.fold()
    # The run ends on several arrays of the size of the cube.
    leader = LEADER + SERVER + COMPILING + 6 * work.cube if room.folding else 0
    if not room.processes:
        return leader + max(tasks, folds)
    # Two waves of tasks may have a cube in the object store; a leader has the libraries anyway.
    beside = RAY if room.folding else LIBRARIES + COMPILING
    return leader + folds + beside + 2 * work.cube + room.workers * WORKER + tasks


def _fits(work: Work, blocks: int, room: Room) -> bool:
    return _need(work, blocks, room) <= room.limit.size


def _halved_until_fits(work: Work, blocks: int, rooms: Sequence[Room]) -> int | None:
    """Return the blocks in a shard that fit, by halves of so many; none if not even one does."""
    while not all(_fits(work, blocks, room) for room in rooms):
        if blocks == 1:
            return None
        blocks //= 2
    return blocks


def _refusal(work: Work, blocks: int, smaller: int | None, room: Room) -> str:
    """Say what a plan needs, what there is, and which plan fits."""
    need = f"needs {_gb(_need(work, blocks, room))}"
    left = f"the {room.limit.of} leaves {_gb(room.limit.size)}"
    if not room.workers:
        return f"the process that leads the run {need}; {left}: end what else is running there"
    said = (
        f"in {_counted(_shards(work, blocks), 'shard')} the run {need}, {_gb(work.task(blocks))} "
        f"of them for each of {_counted(room.workers, 'task')} at once; {left}"
    )
    if smaller is not None:
        return f"{said}; --shards {_shards(work, smaller)} fits"
    for workers in range(max(room.workers, room.folding) - 1, 0, -1):
        fewer = _with_workers(room, workers)
        fitting = _halved_until_fits(work, blocks, [fewer])
        if fitting is not None:
            how = f"--workers {workers}" if room.folding else f"a node of {workers} cores"
            return f"{said}; {how} with --shards {_shards(work, fitting)} fits"
    alone = _gb(_need(work, 1, _with_workers(room, 1)))
    return (
        f"{said}; even one block of accounts in one worker needs {alone}: "
        f"give the {room.limit.of} that much, or end what else is running there"
    )


def _with_workers(room: Room, most: int) -> Room:
    return replace(room, workers=min(room.workers, most), folding=min(room.folding, most))


def _largest(by_block: NDArray[np.int64], blocks: int) -> int:
    """Return the largest sum over the runs of so many blocks that shards are."""
    if not len(by_block):
        return 0
    return int(np.add.reduceat(by_block, np.arange(0, len(by_block), blocks)).max())


def _shards(work: Work, blocks: int) -> int:
    return math.ceil(len(work.accounts) / blocks)


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def _gb(size: int) -> str:
    return f"{size / 1e9:.2f} GB"
