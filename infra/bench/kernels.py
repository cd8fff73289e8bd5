"""The margin kernels against scipy's sparse product and NumPy's reductions, on one core.

The peer is what one writes without a kernel: positions as a CSR matrix times the dense cube, then
a minimum or a partition per row. It runs twice: as that one expression over the whole book, and,
in the lines named ``_batched``, in batches of accounts small enough for its P&L to stay in the
caches, at the batch size that serves it best. Both sides are of one precision and both
are checked against each other before a clock runs. Times are CPU seconds of this process, medians
of rounds that take turns, so that a neighbour on the machine slows both alike.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from risk.kernels import (
    Positions,
    expected_shortfall_sets,
    margin_block,
    screened_worst_loss,
    worst_loss,
)
from risk.measures import Measure, age_units

LEVEL = 0.975
DECAY = 0.9927
HELD = 10
BATCHES = (32, 128, 512, 2048)
PEER = "scipy CSR @ cube, numpy"


@dataclass(frozen=True, slots=True)
class Case:
    """A synthetic book of one netting set an account, and a cube."""

    positions: Positions
    cube: NDArray[np.float64]

    @property
    def multiply_adds(self) -> int:
        return len(self.positions.quantity) * self.cube.shape[1]

    def batches(self, accounts: int) -> list[Any]:
        """Return the book as CSR matrices of so many accounts."""
        offsets = self.positions.set_offsets
        cut = range(0, self.positions.sets, accounts)
        return [self._matrix(offsets[first : first + accounts + 1]) for first in cut]

    def _matrix(self, offsets: NDArray[np.int64]) -> Any:
        held = slice(offsets[0], offsets[-1])
        parts = (
            self.positions.quantity[held],
            self.positions.instrument[held],
            (offsets - offsets[0]).astype(np.int32),
        )
        return sparse.csr_matrix(parts, shape=(len(offsets) - 1, len(self.cube)))


def case(accounts: int, instruments: int, scenarios: int) -> Case:
    """Return accounts of ``HELD`` positions each, every instrument as likely as any other."""
    rng = np.random.default_rng(20240108)
    chosen = np.sort(rng.integers(0, instruments, (accounts, HELD)), axis=1)
    positions = Positions(
        account_sets=np.arange(accounts + 1),
        set_offsets=np.arange(accounts + 1) * HELD,
        instrument=chosen.ravel().astype(np.int32),
        quantity=rng.normal(0.0, 10.0, accounts * HELD),
    )
    return Case(positions, rng.normal(0.0, 50.0, (instruments, scenarios)))


def peer_worst_loss(pnl: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(-pnl.min(axis=1))


def peer_expected_shortfall(pnl: NDArray[np.float64]) -> NDArray[np.float64]:
    mass = pnl.shape[1] * (1.0 - LEVEL)
    whole = math.floor(mass + 1e-9)
    pnl.partition((whole - 1, whole), axis=1)
    tail = pnl[:, :whole].sum(axis=1) + (mass - whole) * pnl[:, whole]
    return np.asarray(-tail / mass)


def peer_by_age(pnl: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return expected shortfall by age: sorted rows, weights cumulated to the mass of the tail."""
    units = age_units(pnl.shape[1], DECAY).astype(np.float64)
    mass = (1.0 - LEVEL) * units.sum()
    order = np.argsort(pnl, axis=1)
    held = units[order]
    before = np.cumsum(held, axis=1) - held
    part = np.clip(mass - before, 0.0, held)
    tail = (part * np.take_along_axis(pnl, order, axis=1)).sum(axis=1)
    return np.asarray(-tail / mass)


def peer_block_by_age(pnl: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    """Return what margin by age needs of a batch, less the split by instrument."""
    lost, left = np.maximum(0.0, -pnl).sum(axis=0), pnl + 1_000.0
    return (
        lost,
        np.maximum(0.0, -left).sum(axis=0),
        (left < 0.0).sum(axis=0),
        peer_by_age(pnl),
    )


def peer_block(pnl: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    """Return what margin needs of a batch, less the split by instrument."""
    lost, left = np.maximum(0.0, -pnl).sum(axis=0), pnl + 1_000.0
    return (
        lost,
        np.maximum(0.0, -left).sum(axis=0),
        (left < 0.0).sum(axis=0),
        peer_worst_loss(pnl),
        peer_expected_shortfall(pnl),
    )


def seconds(work: Callable[[], Any]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def compare(
    sample: Case,
    ours: Callable[[], Any],
    reduce: Callable[[Any], Any],
    rounds: int,
    number: type[np.floating[Any]] = np.float64,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Time ours and both peers in turns, whole and batched; rates in G multiply-adds/s."""
    cube = sample.cube.astype(number)

    def peer(batches: list[Any]) -> None:
        for batch in batches:
            reduce(batch @ cube)

    cuts = {
        accounts: [batch.astype(number) for batch in sample.batches(accounts)]
        for accounts in BATCHES
    }
    few = {accounts: cut[: max(1, 2048 // accounts)] for accounts, cut in cuts.items()}
    trials = {
        accounts: min(seconds(lambda c=cut: peer(c)) for _ in range(3))
        for accounts, cut in few.items()
    }
    best = min(trials, key=lambda accounts: trials[accounts])
    whole = [batch.astype(number) for batch in sample.batches(sample.positions.sets)]
    turns = [
        (seconds(ours), seconds(lambda: peer(whole)), seconds(lambda: peer(cuts[best])))
        for _ in range(rounds)
    ]
    mine, plain, batched = (median(times) for times in zip(*turns, strict=True))
    return (
        _line(sample, mine, plain, f"{PEER}, the whole book in one product"),
        _line(sample, mine, batched, f"{PEER}, {best} accounts a batch"),
    )


def _line(sample: Case, mine: float, theirs: float, peer: str) -> dict[str, Any]:
    return {
        "ours": sample.multiply_adds / mine / 1e9,
        "peer": sample.multiply_adds / theirs / 1e9,
        "ratio": theirs / mine,
        "unit": "G multiply-adds/s",
        "peer_name": peer,
    }


def check(sample: Case) -> None:
    """Raise where the two sides differ on the first accounts."""
    few = Positions(
        sample.positions.account_sets[:513],
        sample.positions.set_offsets[:513],
        sample.positions.instrument[: 512 * HELD],
        sample.positions.quantity[: 512 * HELD],
    )
    pnl = sample.batches(512)[0] @ sample.cube
    np.testing.assert_allclose(worst_loss(few, sample.cube)[0], peer_worst_loss(pnl), rtol=1e-10)
    screened = screened_worst_loss(few, sample.cube)[0]
    np.testing.assert_allclose(screened, peer_worst_loss(pnl), rtol=1e-4)
    scenarios = sample.cube.shape[1]
    by_age = Measure("by_age", "expected_shortfall", 0, scenarios, LEVEL, age_decay=DECAY)
    block = margin_block(few, np.zeros(512), sample.cube, np.ones(scenarios), [by_age])
    np.testing.assert_allclose(block.value[:, 0], peer_by_age(pnl), rtol=1e-10)
    # The last, because the peer reorders its sample.
    np.testing.assert_allclose(
        expected_shortfall_sets(few, sample.cube, LEVEL), peer_expected_shortfall(pnl), rtol=1e-10
    )


def lines_of(sample: Case, rounds: int) -> dict[str, dict[str, Any]]:
    """Return each kernel's line for one book and cube."""
    positions, cube = sample.positions, sample.cube
    weight, equity = np.ones(cube.shape[1]), np.full(positions.accounts, 1_000.0)
    measures = (
        Measure("expected_shortfall", "expected_shortfall", 0, cube.shape[1], LEVEL),
        Measure("worst_loss", "worst_loss", 0, cube.shape[1]),
    )
    by_age = Measure("by_age", "expected_shortfall", 0, cube.shape[1], LEVEL, age_decay=DECAY)
    contests: dict[str, tuple[Any, ...]] = {
        "worst_loss_f64": (lambda: worst_loss(positions, cube), peer_worst_loss),
        "worst_loss_f32": (
            lambda: screened_worst_loss(positions, cube),
            peer_worst_loss,
            np.float32,
        ),
        "es_f64": (
            lambda: expected_shortfall_sets(positions, cube, LEVEL),
            peer_expected_shortfall,
        ),
        "margin_block_f64": (
            lambda: margin_block(positions, equity, cube, weight, measures),
            peer_block,
        ),
        "margin_by_age_f64": (
            lambda: margin_block(positions, equity, cube, weight, [by_age]),
            peer_block_by_age,
        ),
    }
    check(sample)
    margin_block(positions, equity, cube, weight, measures)  # compile before the clock runs
    lines = {}
    for name, contest in contests.items():
        lines[name], lines[f"{name}_batched"] = compare(sample, *contest[:2], rounds, *contest[2:])
    return lines


def run(quick: bool) -> dict[str, dict[str, Any]]:
    """Return the lines of the benchmark by name."""
    if quick:
        return lines_of(case(8_192, 500, 1_000), rounds=3)
    large = lines_of(case(40_960, 930, 1_500), rounds=5)
    return lines_of(case(102_400, 500, 1_000), rounds=5) | {
        f"{name}_large_cube": line for name, line in large.items()
    }
