"""Whose turn it is over all shards, where a round takes only so much."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from risk.kernels.sums import UNIT
from risk.systemic.order import Waiting, counts, has_turn, wait_in_line
from workers.engine import Engine
from workers.memory import process_peak_bytes
from workers.stress.tasks import StressInputs, StressItem, accounts_of

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


LARGEST_EXACT = 2**53
"""The largest whole number up to which floats are exact; as a capacity, no limit at all."""


@dataclass(frozen=True, slots=True)
class OrderInputs:
    """What every task shares that looks who has to sell.

    ``coin`` is ``(instrument,)``, ``capacity`` ``(coin, scenario)`` what a round takes, in units.
    """

    stress: StressInputs
    coin: NDArray[np.int16]
    capacity: Integers


@dataclass(frozen=True, slots=True)
class OrderResult:
    """Who of a shard may come to his turn, and how many have to sell, ``(scenario,)``."""

    index: int
    line: Waiting
    below: Integers
    peak_bytes: int


def wait_shard(inputs: OrderInputs, item: StressItem) -> OrderResult:
    """Find who of a shard has to sell, and leave out who does not count."""
    shared, shard = inputs.stress, item.shard
    line = wait_in_line(
        accounts_of(shared, shard), item.state, shared.cube, shared.notional, shared.active,
        shared.rules, shared.unit, inputs.coin, len(inputs.capacity), shard.start,
    )  # fmt: skip
    below = np.bincount(line.scenario, minlength=shared.cube.shape[1])
    kept = line.take(counts(line, inputs.capacity))
    return OrderResult(shard.index, kept, below, process_peak_bytes())


def turns(
    engine: Engine,
    inputs: StressInputs,
    items: list[StressItem],
    coin: NDArray[np.int16],
    there: Floats,
    told: Callable[[int], None],
) -> tuple[list[StressItem], Integers]:
    """Return the shards with whose turn it is, and how many wait, ``(scenario,)``.

    ``there`` ``(coin, scenario)`` is the volume that is there in a day, USD.
    """
    if inputs.rules.capacity is None:
        return items, np.zeros(inputs.cube.shape[1], dtype=np.int64)
    units = np.rint(inputs.rules.capacity * there / UNIT)
    capacity = np.minimum(units, LARGEST_EXACT).astype(np.int64)
    shared = OrderInputs(inputs, coin, np.maximum(capacity, 1))
    lines, below = [], np.zeros(inputs.cube.shape[1], dtype=np.int64)
    for result in engine.map(wait_shard, shared, items):
        lines.append(result.line)
        below += result.below
        told(items[result.index].shard.stop - items[result.index].shard.start)
    line = Waiting.joined(lines)
    line = line.take(has_turn(line, shared.capacity))
    after = []
    for item in items:
        own = (line.account >= item.shard.start) & (line.account < item.shard.stop)
        turn = (line.account[own] - item.shard.start, line.scenario[own])
        after.append(replace(item, turn=turn))
    return after, below - np.bincount(line.scenario, minlength=len(below))
