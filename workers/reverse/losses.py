"""What members' accounts lose over what they had, in many shocks at once, nobody closed."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from risk.revaluation import revalue
from risk.scenarios.moves import shocks_from
from risk.systemic.prices import Ground
from risk.systemic.settlement import settle
from risk.systemic.stressed import Liquidated
from workers.engine import Engine
from workers.memory import process_peak_bytes
from workers.shards import Shard
from workers.stress.tasks import StressInputs, accounts_of

Floats = NDArray[np.float64]

SHOCKS_TOGETHER = 64
"""Shocks that go through the book in one pass: their cube stays in a core's cache."""


@dataclass(frozen=True, slots=True)
class ShockInputs:
    """What every pass shares: the book with its margin run, and the market."""

    stress: StressInputs
    ground: Ground


@dataclass(frozen=True, slots=True)
class ShockItem:
    """Some shocks, as moves ``(point, factor)``, and the shards that go through them."""

    start: int
    moves: Floats
    shards: tuple[Shard, ...]


@dataclass(frozen=True, slots=True)
class ShockResult:
    """What is lost in them, ``(point, member)``, USD."""

    start: int
    uncovered: Floats
    peak_bytes: int


def lose(inputs: ShockInputs, item: ShockItem) -> ShockResult:
    """Revalue the instruments in some shocks, and go through the accounts once."""
    ground, stress = inputs.ground, inputs.stress
    shocks = shocks_from(item.moves)
    cube = revalue(ground.instruments, ground.market, shocks, ground.tenor)
    uncovered = np.zeros((stress.groups, len(item.moves)))
    for shard in item.shards:
        state = Liquidated.nobody(shard.stop - shard.start, len(item.moves))
        uncovered += settle(accounts_of(stress, shard), state, cube, stress.groups).uncovered
    return ShockResult(item.start, uncovered.T, process_peak_bytes())


@dataclass(frozen=True, slots=True)
class MemberLosses:
    """Losses over equity by member of any batch of moves; ``told`` of the shocks that were tried.

    ``scale`` is what a sample stands for: all accounts over those of its shards. Sums over accounts
    are exact, so neither engine nor shards change a bit.
    """

    engine: Engine
    inputs: ShockInputs
    shards: tuple[Shard, ...]
    scale: float = 1.0
    told: Callable[[int], None] = lambda shocks: None

    def __call__(self, moves: Floats) -> Floats:
        """Return losses over equity, ``(point, factor) -> (point, member)``, USD."""
        starts = range(0, len(moves), SHOCKS_TOGETHER)
        # Few shocks keep all workers busy only where each goes through a part of the book.
        parts = min(len(self.shards), -(-self.engine.workers // max(len(starts), 1)))
        items = [
            ShockItem(start, moves[start : start + SHOCKS_TOGETHER], self.shards[part::parts])
            for start in starts
            for part in range(parts)
        ]
        found = np.zeros((len(moves), self.inputs.stress.groups))
        # One item is done here sooner than it is sent.
        results = (
            self.engine.map(lose, self.inputs, items)
            if len(items) > 1
            else (lose(self.inputs, item) for item in items)
        )
        for result in results:
            found[result.start : result.start + len(result.uncovered)] += result.uncovered
        self.told(len(moves))
        return self.scale * found

    def of(self, told: Callable[[int], None]) -> "MemberLosses":
        """Return the same losses, with somebody else told."""
        return replace(self, told=told)
