"""Margin, its split by instrument and the system's stress for a block of accounts, in one pass."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from risk.kernels.compilation import compiled, kernel
from risk.kernels.plan import planned
from risk.kernels.positions import Positions, checked, read_only
from risk.kernels.registers import Registers, host_registers
from risk.kernels.rows import set_pnl
from risk.kernels.selection import workspace
from risk.kernels.sums import (
    TOGETHER,
    UNIT,
    Sums,
    add_accounts,
    contribute,
    no_sums,
    require_exact,
)
from risk.kernels.tails import attain, loss_of, tail_memory
from risk.kernels.units import LONG, SHORT, UnitMeasures, is_one_position, unit_measures
from risk.kernels.vectors import MASK
from risk.measures import Measure

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class BlockMargin:
    """What a block of accounts leaves behind; its account by scenario P&L is never kept.

    ``value`` ``(set, measure)``: a loss is positive, a gain in every scenario negative.
    ``binding_scenario`` ``(set, measure)``: where it is attained; for expected shortfall the
    worst scenario of the tail. ``contribution`` ``(instrument,)``: Euler split of the sum over
    sets of the largest binding measure, or weighted sum of measures, where that is a loss.
    ``system_loss``, ``uncovered_loss`` and ``accounts_under_water`` ``(scenario,)``: sums over
    accounts of ``max(0, -pnl)`` and ``max(0, -(equity + pnl))``, and the number with
    ``equity + pnl < 0``. Terms of the sums of money are rounded to ``risk.kernels.sums.UNIT``: one
    for a measure of a set and a position, one for an account and a scenario. The sums are exact.
    """

    value: NDArray[np.float64]
    binding_scenario: NDArray[np.int32]
    contribution: NDArray[np.float64]
    system_loss: NDArray[np.float64]
    uncovered_loss: NDArray[np.float64]
    accounts_under_water: NDArray[np.int64]


@compiled
def _contribute(
    tail: Any, m: int, mass: float, share: float, cube: Floats, instrument: Any, quantity: Any,
    start: int, stop: int, contribution: Floats, gross: Floats,
) -> None:  # fmt: skip
    """Split a share of measure ``m`` of a set over its positions; add it to their instruments."""
    for p in range(start, stop):
        cells = cube[instrument[p]]
        total = 0.0
        for k in range(tail.number[m]):
            total += tail.weights[m, k] * cells[tail.scenarios[m, k]]
        contribute(-share * quantity[p] * total / mass, instrument[p], contribution, gross)


@compiled
def _largest(plan: Any, value: Any) -> Any:
    """Return the largest sum of binding measures that are added up, and the measures it is of.

    Zero, of no measures, where none of them is a loss.
    """
    largest, total, opened, begin, end = 0.0, 0.0, 0, 0, 0
    for m in range(plan.kind.size):
        if not plan.joins[m]:
            total, opened = 0.0, m
        total += plan.share[m] * value[m]
        if plan.closes[m] and total > largest:
            largest, begin, end = total, opened, m + 1
    return largest, begin, end


@compiled
def _measure_one_position(
    plan: Any, units: Any, instrument: int, quantity: float, value: Any, binding: Any,
    contribution: Floats, gross: Floats,
) -> None:  # fmt: skip
    """Measure a set of one position: its size times what one contract comes to."""
    side, size = (SHORT, -quantity) if quantity < 0.0 else (LONG, quantity)
    for m in range(plan.kind.size):
        value[m] = size * units.value[instrument, side, m]
        binding[m] = units.binding_scenario[instrument, side, m]
    largest, _, _ = _largest(plan, value)
    contribute(largest, instrument, contribution, gross)


@compiled
def _measure_row(
    registers: Any, plan: Any, row: Floats, cube: Floats, instrument: Any, quantity: Any,
    start: int, stop: int, tail: Any, work: Any, value: Any, binding: Any,
    contribution: Floats, gross: Floats,
) -> None:  # fmt: skip
    """Measure a set whose P&L over all scenarios is ``row``."""
    for m in range(plan.kind.size):
        binding[m] = attain(registers, plan, m, row, tail, work)
        value[m] = loss_of(tail, m, plan.mass[m])
    _, begin, end = _largest(plan, value)
    for m in range(begin, end):
        _contribute(
            tail, m, plan.mass[m], plan.share[m], cube, instrument, quantity, start, stop,
            contribution, gross,
        )  # fmt: skip


@kernel
def _block(
    registers: Any, account_sets: Any, set_offsets: Any, instrument: Any, quantity: Any,
    equity: Any, cube: Any, plan: Any, units: Any, tail: Any, work: Any, rows: Any, backing: Any,
    value: Any, binding: Any, sums: Any,
) -> None:  # fmt: skip
    """Fill ``value``, ``binding`` and ``sums``, account after account.

    ``rows`` holds the P&L of ``TOGETHER`` accounts and, last, that of one netting set.
    """
    scenarios, accounts = cube.shape[1], account_sets.size - 1
    contribution, gross = sums.contribution, sums.gross
    for account in range(accounts):
        together = account % TOGETHER
        whole, backing[together] = rows[together], equity[account] / UNIT
        first, last = account_sets[account], account_sets[account + 1]
        set_pnl(registers, cube, instrument, quantity, set_offsets[first], set_offsets[last], whole)
        for n in range(first, last):
            start, stop = set_offsets[n], set_offsets[n + 1]
            if is_one_position(start, stop, quantity):
                _measure_one_position(
                    plan, units, instrument[start], quantity[start], value[n], binding[n],
                    contribution, gross,
                )  # fmt: skip
                continue
            row = whole
            if last - first > 1:
                row = rows[TOGETHER]
                set_pnl(registers, cube, instrument, quantity, start, stop, row)
            _measure_row(
                registers, plan, row, cube, instrument, quantity, start, stop, tail, work,
                value[n], binding[n], contribution, gross,
            )  # fmt: skip
        if together == TOGETHER - 1:
            add_accounts(rows, backing, scenarios, sums)
    if accounts % TOGETHER > 0:
        for k in range(accounts % TOGETHER, TOGETHER):
            backing[k] = 0.0
            for s in range(scenarios):
                rows[k, s] = 0.0
        add_accounts(rows, backing, scenarios, sums)


def margin_block(
    positions: Positions,
    equity: Floats,
    cube: Floats,
    weight: Floats,
    measures: Sequence[Measure],
    units: UnitMeasures | None = None,
) -> BlockMargin:
    """Measure every netting set of a block of accounts, and add up what its accounts lose.

    Shapes ``(account,), (instrument, scenario), (scenario,)``; all money in the reporting
    currency, P&L gain positive. ``weight`` scales the P&L where a worst loss is taken; value at
    risk and expected shortfall read it unscaled. The scenario of least weighted P&L wins, the
    first of equals; a set of one position has that of its instrument. An account's P&L is one
    chain of fused multiply-adds over its positions, in their order. The bits do not depend on the
    processor, on other accounts or, of the sums, on the order of accounts.

    ``units`` of a whole book, by ``unit_measures``, may serve all its blocks.

    Raises:
        ValueError: shapes that do not agree, a measure that ``planned`` refuses, or sums that
            ``require_exact`` refuses.

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
    return run_block(host_registers(), positions, equity, cube, weight, measures, units)


def run_block(
    registers: Registers,
    positions: Positions,
    equity: Floats,
    cube: Floats,
    weight: Floats,
    measures: Sequence[Measure],
    units: UnitMeasures | None = None,
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
    plan = planned(measures, weight)
    if units is None:
        units = unit_measures(positions, cube, weight, measures, registers)
    longest = int((plan.stop - plan.start).max(initial=0))
    value = np.zeros((positions.sets, len(measures)))
    binding = np.zeros(value.shape, dtype=np.int32)
    sums = no_sums(instruments, scenarios)
    _block(
        registers,
        positions.account_sets, positions.set_offsets, positions.instrument, positions.quantity,
        read_only(equity, np.float64), cube,
        plan, units, tail_memory(len(measures), longest), workspace(registers, scenarios, plan),
        np.zeros((TOGETHER + 1, scenarios + MASK)), np.zeros(TOGETHER),
        value, binding, sums,
    )  # fmt: skip
    return block_margin(value, binding, sums)


def block_margin(value: Floats, binding: NDArray[np.int32], sums: Sums) -> BlockMargin:
    """Return what a kernel left behind, its sums in reporting currency.

    Raises:
        ValueError: SUM_TOO_LARGE, as ``require_exact``.
    """
    require_exact("contribution", UNIT * sums.gross)
    block = BlockMargin(
        value=value,
        binding_scenario=binding,
        contribution=UNIT * sums.contribution,
        system_loss=UNIT * sums.system_loss,
        uncovered_loss=UNIT * sums.uncovered_loss,
        accounts_under_water=sums.accounts_under_water,
    )
    require_exact("system_loss", block.system_loss)
    require_exact("uncovered_loss", block.uncovered_loss)
    return block
