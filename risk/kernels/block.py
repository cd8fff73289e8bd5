"""Margin, its split by instrument and the system's stress for a block of accounts, in one pass."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from risk.kernels.compilation import compiled
from risk.kernels.plan import EXPECTED_SHORTFALL, VALUE_AT_RISK, WORST_LOSS, planned
from risk.kernels.positions import Positions, checked, read_only
from risk.kernels.registers import Registers, host_registers
from risk.kernels.rows import set_pnl
from risk.kernels.tails import gather_tail, least_weighted, statistic_place, weigh_tail
from risk.measures import Measure

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class BlockMargin:
    """What a block of accounts leaves behind; its account by scenario P&L is never kept.

    ``value`` ``(set, measure)``: a loss is positive, a gain in every scenario negative.
    ``binding_scenario`` ``(set, measure)``: where it is attained; for expected shortfall the
    worst scenario of the tail. ``contribution`` ``(instrument,)``: Euler split of the sum over
    sets of the largest binding measure, where that is a loss. ``system_loss``,
    ``uncovered_loss`` and ``accounts_under_water`` ``(scenario,)``: sums over accounts of
    ``max(0, -pnl)`` and ``max(0, -(equity + pnl))``, and the number with ``equity + pnl < 0``.
    """

    value: NDArray[np.float64]
    binding_scenario: NDArray[np.int32]
    contribution: NDArray[np.float64]
    system_loss: NDArray[np.float64]
    uncovered_loss: NDArray[np.float64]
    accounts_under_water: NDArray[np.int64]


class _Plan(NamedTuple):
    """``risk.kernels.plan.Plan`` in the form that numba takes."""

    kind: NDArray[np.int64]
    start: NDArray[np.int64]
    stop: NDArray[np.int64]
    depth: NDArray[np.int64]
    mass: Floats
    blend: Floats
    binds: NDArray[np.bool_]
    weight: Floats


class _Attained(NamedTuple):
    """The scenarios at which each measure of one set is attained, ``(measure, scenario)``."""

    values: Floats
    scenarios: NDArray[np.int32]
    weights: Floats
    number: NDArray[np.int64]


@compiled
def _attain(plan: Any, m: int, row: Floats, attained: Any) -> int:
    """Find the scenarios and weights of measure ``m``, and return the one that names it."""
    start, stop = plan.start[m], plan.stop[m]
    values, scenarios = attained.values[m], attained.scenarios[m]
    weights = attained.weights[m]
    if plan.kind[m] == WORST_LOSS:
        worst = least_weighted(row, plan.weight, start, stop)
        values[0], scenarios[0], weights[0] = row[worst], worst, plan.weight[worst]
        attained.number[m] = 1
        return worst
    found = gather_tail(row, start, stop, plan.depth[m], values, scenarios)
    if plan.kind[m] == VALUE_AT_RISK:
        depth, blend = plan.depth[m], plan.blend[m]
        place = statistic_place(values, found, depth)
        worse = statistic_place(values, found, depth - 1) if blend > 0.0 else place
        pair = (values[place], values[worse])
        where = (scenarios[place], scenarios[worse])
        values[0], scenarios[0], weights[0] = pair[0], where[0], 1.0 - blend
        values[1], scenarios[1], weights[1] = pair[1], where[1], blend
        attained.number[m] = 2 if blend > 0.0 else 1
        return where[1] if blend > 0.5 else where[0]
    attained.number[m] = weigh_tail(values, scenarios, found, plan.mass[m], weights)
    worst = 0
    for k in range(attained.number[m]):
        if values[k] < values[worst]:
            worst = k
    return scenarios[worst]


@compiled
def _loss(plan: Any, m: int, attained: Any) -> float:
    """Return measure ``m`` from the scenarios at which it is attained."""
    total = 0.0
    for k in range(attained.number[m]):
        total += attained.weights[m, k] * attained.values[m, k]
    return 0.0 - total / plan.mass[m]


@compiled
def _contribute(
    plan: Any, m: int, attained: Any, cube: Floats, instrument: Any, quantity: Any,
    start: int, stop: int, contribution: Floats,
) -> None:  # fmt: skip
    """Split measure ``m`` of a set over its positions and add it to their instruments."""
    for p in range(start, stop):
        cells = cube[instrument[p]]
        total = 0.0
        for k in range(attained.number[m]):
            total += attained.weights[m, k] * cells[attained.scenarios[m, k]]
        contribution[instrument[p]] -= quantity[p] * total / plan.mass[m]


@compiled
def _block(
    registers: Any, account_sets: Any, set_offsets: Any, instrument: Any, quantity: Any,
    equity: Any, cube: Any, plan: Any, attained: Any,
    value: Any, binding: Any, contribution: Any, system: Any, uncovered: Any, under: Any,
) -> None:  # fmt: skip
    scenarios = cube.shape[1]
    row, account_row = np.zeros(scenarios), np.zeros(scenarios)
    for account in range(account_sets.size - 1):
        account_row[:] = 0.0
        for n in range(account_sets[account], account_sets[account + 1]):
            start, stop = set_offsets[n], set_offsets[n + 1]
            set_pnl(registers, cube, instrument, quantity, start, stop, row)
            largest, binds = 0.0, -1
            for m in range(plan.kind.size):
                binding[n, m] = _attain(plan, m, row, attained)
                value[n, m] = _loss(plan, m, attained)
                if plan.binds[m] and value[n, m] > largest:
                    largest, binds = value[n, m], m
            if binds >= 0:
                _contribute(
                    plan, binds, attained, cube, instrument, quantity, start, stop, contribution
                )
            for s in range(scenarios):
                account_row[s] += row[s]
        for s in range(scenarios):
            loss = 0.0 - account_row[s]
            beyond = loss - equity[account]
            system[s] += max(0.0, loss)
            uncovered[s] += max(0.0, beyond)
            under[s] += beyond > 0.0


def margin_block(
    positions: Positions,
    equity: Floats,
    cube: Floats,
    weight: Floats,
    measures: Sequence[Measure],
) -> BlockMargin:
    """Measure every netting set of a block of accounts, and add up what its accounts lose.

    Shapes ``(account,), (instrument, scenario), (scenario,)``; all money in the reporting
    currency, P&L gain positive. ``weight`` scales the P&L where a worst loss is taken; value at
    risk and expected shortfall read it unscaled. The scenario of least weighted P&L wins, the
    first of equals. An account's P&L is the sum of its sets', in their order; sums over accounts
    are taken in their order. The bits do not depend on the processor or on other accounts.

    Raises:
        ValueError: shapes that do not agree, or a measure that ``planned`` refuses.

    >>> book = Positions(
    ...     account_sets=np.array([0, 1]), set_offsets=np.array([0, 2]),
    ...     instrument=np.array([0, 1], dtype=np.int32), quantity=np.array([1.0, -2.0]),
    ... )
    >>> cube = np.array([[-10.0, 0.0, 10.0], [-8.0, 1.0, 4.0]])
    >>> worst = Measure("worst", "worst_loss", 0, 3)
    >>> block = margin_block(book, np.array([1.0]), cube, np.ones(3), [worst])
    >>> block.value.tolist(), block.binding_scenario.tolist(), block.contribution.tolist()
    ([[2.0]], [[1]], [0.0, 2.0])
    >>> block.system_loss.tolist(), block.uncovered_loss.tolist()
    ([0.0, 2.0, 0.0], [0.0, 1.0, 0.0])
    """
    return run_block(host_registers(), positions, equity, cube, weight, measures)


def run_block(
    registers: Registers,
    positions: Positions,
    equity: Floats,
    cube: Floats,
    weight: Floats,
    measures: Sequence[Measure],
) -> BlockMargin:
    """Do what ``margin_block`` does on registers of a given shape."""
    positions, cube = checked(positions, cube)
    instruments, scenarios = cube.shape
    for name, array, length in (
        ("equity", equity, positions.accounts),
        ("weight", weight, scenarios),
    ):
        if array.shape != (length,):
            raise ValueError(f"{name} has shape {array.shape}, allowed is ({length},)")
    plan = planned(measures, scenarios)
    longest = int((plan.stop - plan.start).max(initial=0)) + 2
    attained = _Attained(
        np.empty((len(measures), longest)),
        np.empty((len(measures), longest), dtype=np.int32),
        np.empty((len(measures), longest)),
        np.zeros(len(measures), dtype=np.int64),
    )
    block = BlockMargin(
        value=np.zeros((positions.sets, len(measures))),
        binding_scenario=np.zeros((positions.sets, len(measures)), dtype=np.int32),
        contribution=np.zeros(instruments),
        system_loss=np.zeros(scenarios),
        uncovered_loss=np.zeros(scenarios),
        accounts_under_water=np.zeros(scenarios, dtype=np.int64),
    )
    _block(
        registers,
        positions.account_sets, positions.set_offsets, positions.instrument, positions.quantity,
        read_only(equity, np.float64), cube,
        _Plan(plan.kind, plan.start, plan.stop, plan.depth, plan.mass, plan.blend, plan.binds,
              read_only(weight, np.float64)),
        attained,
        block.value, block.binding_scenario, block.contribution,
        block.system_loss, block.uncovered_loss, block.accounts_under_water,
    )  # fmt: skip
    return block
