"""How long a run takes, what it needs and what it costs, from accounts, positions and cores.

Constants are fitted to measured runs, stage by stage, and each is a price of one thing: a position
under a scenario, an account, a shard, a start. Nothing here is measured; ``measure`` does that.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from workers.margin_run import CHECKPOINT_SHARDS
from workers.shards import shard_length

Point = dict[str, Any]
"""One measured run: what it was of, its seconds by stage, its bytes."""

STAGES = ("start", "prepare", "price cube", "margin", "fold", "verify")
NODE_CORES = 16
"""Cores of one machine, which is all that a fold on threads can use; choice."""


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be run, and on how many cores; ``shards`` as the program cuts them if None."""

    accounts: int
    positions: int
    scenarios: int
    instruments: int
    cores: int
    shards: int | None = None

    @property
    def shard_accounts(self) -> int:
        """Accounts in the largest shard."""
        return min(self.accounts, shard_length(self.accounts, self.shards))

    @property
    def shard_count(self) -> int:
        return math.ceil(self.accounts / self.shard_accounts)

    @property
    def rounds(self) -> int:
        """Shards that the busiest core does: a wave of shards waits for its last one."""
        wave = max(CHECKPOINT_SHARDS, 2 * self.cores)
        whole, rest = divmod(self.shard_count, wave)
        return whole * math.ceil(wave / self.cores) + math.ceil(rest / self.cores)

    @property
    def longest(self) -> float:
        """The share of all work that the busiest core does."""
        return min(1.0, self.rounds * self.shard_accounts / self.accounts)

    @property
    def fold_cores(self) -> int:
        return min(self.cores, NODE_CORES)


@dataclass(frozen=True, slots=True)
class Constants:
    """What things cost: seconds of one core, and bytes."""

    start: float
    prepare: float
    prepare_account: float
    price: float
    price_cell: float
    margin: float
    margin_position_scenario: float
    margin_account: float
    margin_shard: float
    commit_shard: float
    fold: float
    fold_account: float
    verify: float
    verify_account: float
    memory: float
    memory_worker: float
    memory_account: float
    book_account: float
    run: float
    run_account: float


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a job will take: wall seconds by stage, bytes, and core-hours while it runs."""

    seconds: dict[str, float]
    memory_bytes: float
    disk_bytes: float
    core_hours: float

    @property
    def wall(self) -> float:
        """Wall seconds of all stages.

        >>> Prediction({"start": 9.0, "margin": 1.0}, 0.0, 0.0, 0.0).wall
        10.0
        """
        return sum(self.seconds.values())

    def cost(self, price_per_core_hour: float) -> float:
        """Money for the cores, in the currency of the price."""
        return self.core_hours * price_per_core_hour


def predict(constants: Constants, job: Job) -> Prediction:
    """Predict a job. Memory is that of all processes if they are on one machine."""
    of = constants
    margin_busy = (
        of.margin_position_scenario * job.positions * job.scenarios
        + of.margin_account * job.accounts
        + of.margin_shard * job.shard_count
    )
    cells = job.instruments * job.scenarios
    seconds = {
        "start": of.start,
        "prepare": of.prepare + of.prepare_account * job.accounts,
        "price cube": of.price + of.price_cell * cells / job.cores,
        "margin": of.margin + margin_busy * job.longest + of.commit_shard * job.shard_count,
        "fold": of.fold + of.fold_account * job.accounts / job.fold_cores,
        "verify": of.verify + of.verify_account * job.accounts,
    }
    return Prediction(
        seconds=seconds,
        memory_bytes=of.memory + of.memory_worker * job.cores + of.memory_account * job.accounts,
        disk_bytes=of.run + (of.book_account + of.run_account) * job.accounts,
        core_hours=job.cores * sum(seconds.values()) / 3600.0,
    )


def job_of(point: Point) -> Job:
    """Return the job that a point was measured on."""
    return Job(
        **{name: point[name] for name in ("accounts", "positions", "scenarios", "instruments")},
        cores=point["cores"],
        shards=point["shards"],
    )


def fit(points: Sequence[Point]) -> Constants:
    """Fit the constants to measured runs, each non-negative, by relative least squares.

    Raises:
        ValueError: fewer than three points.
    """
    if len(points) < 3:
        raise ValueError(f"{len(points)} points were given; the model needs three and more")
    jobs = [job_of(point) for point in points]
    ones = [1.0] * len(jobs)
    accounts = [float(job.accounts) for job in jobs]
    shards = [float(job.shard_count) for job in jobs]

    def of_stage(name: str, *terms: Sequence[float]) -> list[float]:
        return _weighted(np.array([point["seconds"][name] for point in points]), terms)

    busy = _weighted(
        np.array([point["margin_busy"] for point in points]),
        ([float(job.positions * job.scenarios) for job in jobs], accounts, shards),
    )
    # What is left of the margin stage when the busiest core is done: commits.
    left = np.array(
        [
            max(0.0, point["seconds"]["margin"] - point["margin_busy"] * job.longest)
            for point, job in zip(points, jobs, strict=True)
        ]
    )
    scale = np.array([point["seconds"]["margin"] for point in points])
    cells = [job.instruments * job.scenarios / job.cores for job in jobs]
    folded = [job.accounts / job.fold_cores for job in jobs]
    workers = [float(job.cores) for job in jobs]

    def of_bytes(name: str, *terms: Sequence[float]) -> list[float]:
        return _weighted(np.array([float(point[name]) for point in points]), terms)

    return Constants(
        float(np.median([point["seconds"]["start"] for point in points])),
        *of_stage("prepare", ones, accounts),
        *of_stage("price cube", ones, cells),
        *_margin(busy, _weighted(left, (ones, shards), scale)),
        *of_stage("fold", ones, folded),
        *of_stage("verify", ones, accounts),
        *of_bytes("peak_memory_bytes", ones, workers, accounts),
        *of_bytes("book_bytes", accounts),
        *of_bytes("run_bytes", ones, accounts),
    )


def _margin(busy: list[float], left: list[float]) -> tuple[float, ...]:
    """Return the constants of the margin stage in the order of ``Constants``."""
    return left[0], *busy, left[1]


def _weighted(
    seen: NDArray[np.float64],
    terms: Sequence[Sequence[float]],
    scale: NDArray[np.float64] | None = None,
) -> list[float]:
    """Return non-negative weights of terms that come nearest to what was seen, relative to it."""
    scale = np.maximum(seen if scale is None else scale, 1e-9)
    columns = np.array(terms, dtype=np.float64).T
    unit = columns.max(axis=0)  # seconds by cell and by run differ by ten orders
    found, _ = nnls(columns / unit / scale[:, None], seen / scale)
    weights: list[float] = (found / unit).tolist()
    return weights
