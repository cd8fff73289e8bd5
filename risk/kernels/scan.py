"""A scan of scenarios over nested positions: sets into units, units into accounts, in one pass.

A set's P&L is transformed before it is summed into its unit, and a unit's before its worst is
taken, so neither is a plain sum; the account's P&L without any of it feeds the system's sums.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from risk.kernels.block import BlockMargin
from risk.kernels.compilation import compiled, kernel
from risk.kernels.positions import read_only
from risk.kernels.registers import host_registers
from risk.kernels.rows import set_pnl
from risk.kernels.vectors import MASK
from risk.nesting import Nested

Floats = NDArray[np.float64]

SCANNED, ROTATED, BASIS_UP, BASIS_DOWN, REPORTED = range(5)
"""What a scenario is to a scan: a move, a rotation of smiles, a basis move, or only reported."""


class ScanTables(NamedTuple):
    """What the kernel of a scan knows of scenarios and instruments.

    ``role`` and ``weight`` ``(scenario,)``. ``value`` ``(instrument,)`` is that of one contract,
    ``positive`` and ``negative`` the discounts of its set by the sign of the set's value, and
    ``basis`` what its set's basis loss is multiplied by. ``dampener`` ``(instrument, scenario)``
    is what pulls the P&L of its unit to zero.
    """

    role: NDArray[np.int8]
    weight: Floats
    value: Floats
    positive: Floats
    negative: Floats
    basis: Floats
    dampener: Floats


class _Sums(NamedTuple):
    contribution: Floats
    system: Floats
    uncovered: Floats
    under_water: NDArray[np.int64]


@compiled
def _add_set(
    tables: Any, first: int, value: float, row: Floats, scenarios: int, basis: Any, unit: Floats
) -> float:
    """Add a set's transformed P&L to its unit's, and return its basis loss as a negative number."""
    positive, negative = tables.positive[first], tables.negative[first]
    if positive == 1.0 and negative == 1.0:
        for s in range(scenarios):
            pnl = row[s] * tables.weight[s]
            unit[s] += -abs(pnl) if tables.role[s] == ROTATED else pnl
    else:
        for s in range(scenarios):
            worth = value + row[s]
            counted = worth * (positive if worth >= 0.0 else negative)
            pnl = (counted - value) * tables.weight[s]
            unit[s] += -abs(pnl) if tables.role[s] == ROTATED else pnl
    if basis[0] < 0 or tables.basis[first] == 0.0:
        return 0.0
    worse = min(row[basis[0]], row[basis[1]])
    return tables.basis[first] * worse if worse < 0.0 else 0.0


@compiled
def _worst(tables: Any, first: int, unit: Floats, scenarios: int) -> int:
    """Transform a unit's P&L in place and return its worst scenario, the first of equals."""
    dampener = tables.dampener[first]
    worst, lowest = -1, np.inf
    for s in range(scenarios):
        pnl = unit[s]
        pull = dampener[s]
        if pull > 0.0:
            pnl = pnl - pull if pnl > pull else (pnl + pull if pnl < -pull else 0.0)
        unit[s] = pnl
        if tables.role[s] <= ROTATED and pnl < lowest:
            worst, lowest = s, pnl
    return worst


@compiled
def _split_worst(
    tables: Any, worst: int, share: float, instrument: Any, quantity: Any, cube: Floats,
    start: int, stop: int, contribution: Floats,
) -> None:  # fmt: skip
    """Split a set's P&L in a scenario over its positions, as losses."""
    first = instrument[start]
    value, change = 0.0, 0.0
    for p in range(start, stop):
        value += quantity[p] * tables.value[instrument[p]]
        change += quantity[p] * cube[instrument[p], worst]
    worth = value + change
    counted = tables.positive[first] if worth >= 0.0 else tables.negative[first]
    turn = share * tables.weight[worst]
    if tables.role[worst] == ROTATED and worth * counted - value > 0.0:
        turn = -turn
    for p in range(start, stop):
        own = tables.value[instrument[p]]
        moved = (own + cube[instrument[p], worst]) * counted - own
        contribution[instrument[p]] -= turn * quantity[p] * moved


@compiled
def _split_basis(
    tables: Any, basis: Any, instrument: Any, quantity: Any, cube: Floats,
    start: int, stop: int, contribution: Floats,
) -> None:  # fmt: skip
    """Split a set's basis loss over its positions."""
    up, down = 0.0, 0.0
    for p in range(start, stop):
        up += quantity[p] * cube[instrument[p], basis[0]]
        down += quantity[p] * cube[instrument[p], basis[1]]
    if min(up, down) < 0.0:
        scenario = basis[0] if up <= down else basis[1]
        scale = tables.basis[instrument[start]]
        for p in range(start, stop):
            contribution[instrument[p]] -= scale * quantity[p] * cube[instrument[p], scenario]


@kernel
def _scan(
    registers: Any, account_units: Any, unit_sets: Any, set_offsets: Any, instrument: Any,
    quantity: Any, equity: Any, cube: Any, tables: Any, basis: Any, rows: Any,
    value: Any, binding: Any, sums: Any,
) -> None:  # fmt: skip
    scenarios = cube.shape[1]
    row, unit, whole = rows[0], rows[1], rows[2]
    for account in range(account_units.size - 1):
        for s in range(scenarios):
            whole[s] = 0.0
        for u in range(account_units[account], account_units[account + 1]):
            for s in range(scenarios):
                unit[s] = 0.0
            contingency = 0.0
            for n in range(unit_sets[u], unit_sets[u + 1]):
                start, stop = set_offsets[n], set_offsets[n + 1]
                set_pnl(registers, cube, instrument, quantity, start, stop, row)
                worth = 0.0
                for p in range(start, stop):
                    worth += quantity[p] * tables.value[instrument[p]]
                contingency += _add_set(
                    tables, instrument[start], worth, row, scenarios, basis, unit
                )
                for s in range(scenarios):
                    whole[s] += row[s]
            first = set_offsets[unit_sets[u]]
            worst = _worst(tables, instrument[first], unit, scenarios)
            by_basis = contingency < unit[worst]
            value[u] = 0.0 - (contingency if by_basis else unit[worst])
            binding[u] = basis[0] if by_basis else worst
            if value[u] > 0.0:
                share = value[u] / (value[u] + tables.dampener[instrument[first], worst])
                for n in range(unit_sets[u], unit_sets[u + 1]):
                    start, stop = set_offsets[n], set_offsets[n + 1]
                    if by_basis:
                        _split_basis(
                            tables, basis, instrument, quantity, cube, start, stop,
                            sums.contribution,
                        )  # fmt: skip
                    else:
                        _split_worst(
                            tables, worst, share, instrument, quantity, cube, start, stop,
                            sums.contribution,
                        )  # fmt: skip
        for s in range(scenarios):
            pnl = whole[s]
            left = pnl + equity[account]
            sums.system[s] -= pnl if pnl < 0.0 else 0.0
            sums.uncovered[s] -= left if left < 0.0 else 0.0
            sums.under_water[s] += 1 if left < 0.0 else 0


def scan_block(
    nested: Nested,
    quantity: Floats,
    instrument: NDArray[np.int32],
    equity: Floats,
    cube: Floats,
    tables: ScanTables,
) -> BlockMargin:
    """Scan every unit of a block of accounts, and add up what its accounts lose.

    ``instrument`` and ``quantity`` ``(position,)`` are in the order of ``nested``; ``equity`` is
    ``(account,)`` and ``cube`` ``(instrument, scenario)``, P&L gain positive. In the result
    ``value`` and ``binding_scenario`` are ``(unit, 1)``; a unit that gains in every scenario has
    a negative value. The contribution splits each unit's loss over its instruments: the gradient
    of the scan, scaled where a dampener makes the scan less than proportional.
    """
    instruments, scenarios = cube.shape
    units = len(nested.unit_sets) - 1
    up, down = np.flatnonzero(tables.role == BASIS_UP), np.flatnonzero(tables.role == BASIS_DOWN)
    basis = (int(up[0]), int(down[0])) if len(up) and len(down) else (-1, -1)
    block = BlockMargin(
        value=np.zeros((units, 1)),
        binding_scenario=np.zeros((units, 1), dtype=np.int32),
        contribution=np.zeros(instruments),
        system_loss=np.zeros(scenarios),
        uncovered_loss=np.zeros(scenarios),
        accounts_under_water=np.zeros(scenarios, dtype=np.int64),
    )
    _scan(
        host_registers(),
        read_only(nested.account_units, np.int64),
        read_only(nested.unit_sets, np.int64),
        read_only(nested.set_offsets, np.int64),
        read_only(instrument, np.int32),
        read_only(quantity, np.float64),
        read_only(equity, np.float64),
        read_only(cube, np.float64),
        tables,
        basis,
        np.zeros((3, scenarios + MASK)),
        block.value[:, 0],
        block.binding_scenario[:, 0],
        _Sums(
            block.contribution,
            block.system_loss,
            block.uncovered_loss,
            block.accounts_under_water,
        ),
    )
    return block
