"""A scan of scenarios over nested positions: sets into units, units into accounts, in one pass.

A set's P&L is transformed before it is summed into its unit, and a unit's before its worst is
taken, so neither is a plain sum; the account's P&L without any of it feeds the system's sums.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from risk.kernels.block import BlockMargin, block_margin
from risk.kernels.compilation import compiled, kernel
from risk.kernels.positions import Positions, checked, read_only
from risk.kernels.registers import host_registers
from risk.kernels.rows import set_pnl
from risk.kernels.sums import TOGETHER, UNIT, add_accounts, contribute, no_sums
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


@compiled
def _add_set(
    positive: float, negative: float, weight: Floats, row: Floats, unit: Floats, whole: Floats
) -> None:
    """Add a set's P&L to its account's, and what of it counts to its unit's.

    The value of the set stands behind its scenarios.
    """
    scenarios = unit.size
    value = row[scenarios]
    if positive == 1.0 and negative == 1.0:
        for s in range(scenarios):
            whole[s] += row[s]
            unit[s] += row[s] * weight[s]
    else:
        for s in range(scenarios):
            worth = value + row[s]
            factor = positive if worth >= 0.0 else negative
            whole[s] += row[s]
            unit[s] += (worth * factor - value) * weight[s]


@compiled
def _turn(
    positive: float, negative: float, weight: Floats, row: Floats, value: float, rotated: Any,
    turned: Floats,
) -> None:  # fmt: skip
    """Take what a set loses either way in the scenarios that rotate smiles, from their sums."""
    for k in range(rotated.size):
        worth = value + row[rotated[k]]
        counted = worth * (positive if worth >= 0.0 else negative)
        turned[k] -= abs((counted - value) * weight[rotated[k]])


@compiled
def _worse(row: Floats, basis: Any) -> float:
    """Return the worse P&L of the two basis moves, zero where both gain."""
    up, down = row[basis[0]], row[basis[1]]
    worse = up if up < down else down
    return worse if worse < 0.0 else 0.0


@compiled
def _worst(tables: Any, first: int, unit: Floats, span: Any, damped: bool) -> int:
    """Pull a unit's P&L to zero in place and return its worst scenario, the first of equals.

    The scenarios of the scan are ``span[0]`` up to ``span[1]``.
    """
    if damped:
        dampener = tables.dampener[first]
        for s in range(span[0], span[1]):
            pnl, pull = unit[s], dampener[s]
            if pull > 0.0:
                unit[s] = pnl - pull if pnl > pull else (pnl + pull if pnl < -pull else 0.0)
    # Four minima at once, for a chain of comparisons waits for itself.
    one, two, three, four = np.inf, np.inf, np.inf, np.inf
    whole = span[0] + (span[1] - span[0]) // 4 * 4
    for s in range(span[0], whole, 4):
        one = unit[s] if unit[s] < one else one
        two = unit[s + 1] if unit[s + 1] < two else two
        three = unit[s + 2] if unit[s + 2] < three else three
        four = unit[s + 3] if unit[s + 3] < four else four
    lowest = min(min(one, two), min(three, four))
    for s in range(whole, span[1]):
        lowest = unit[s] if unit[s] < lowest else lowest
    for s in range(span[0], span[1]):
        if unit[s] == lowest:
            return s
    return int(span[0])


@compiled
def _split_worst(
    tables: Any, worst: int, share: float, row: Floats, value: float, instrument: Any,
    quantity: Any, cube: Floats, start: int, stop: int, contribution: Floats, gross: Floats,
) -> None:  # fmt: skip
    """Split a set's P&L in a scenario over its positions, as losses."""
    first = instrument[start]
    worth = value + row[worst]
    counted = tables.positive[first] if worth >= 0.0 else tables.negative[first]
    turn = share * tables.weight[worst]
    if tables.role[worst] == ROTATED and worth * counted - value > 0.0:
        turn = -turn
    for p in range(start, stop):
        own = tables.value[instrument[p]]
        moved = (own + cube[instrument[p], worst]) * counted - own
        contribute(-turn * quantity[p] * moved, instrument[p], contribution, gross)


@compiled
def _split_basis(
    scale: float, basis: Any, row: Floats, instrument: Any, quantity: Any, cube: Floats,
    start: int, stop: int, contribution: Floats, gross: Floats,
) -> None:  # fmt: skip
    """Split a set's basis loss over its positions."""
    scenario = basis[0] if row[basis[0]] <= row[basis[1]] else basis[1]
    if row[scenario] < 0.0:
        for p in range(start, stop):
            amount = -scale * quantity[p] * cube[instrument[p], scenario]
            contribute(amount, instrument[p], contribution, gross)


@kernel
def _scan(
    registers: Any, account_units: Any, unit_sets: Any, set_offsets: Any, instrument: Any,
    quantity: Any, equity: Any, cube: Any, tables: Any, basis: Any, span: Any, rotated: Any,
    damped: Any, factor: float, rows: Any, sets: Any, backing: Any, value: Any, binding: Any,
    sums: Any,
) -> None:  # fmt: skip
    """Fill ``value``, ``binding`` and ``sums``, account after account.

    ``cube`` holds the value of one contract behind its scenarios. ``sets`` holds the P&L of the
    sets of a unit, and ``rows`` that of ``TOGETHER`` accounts, a unit and its rotations.
    """
    scenarios, accounts = sums.system_loss.size, account_units.size - 1
    unit, turned, weight = rows[TOGETHER][:scenarios], rows[TOGETHER + 1], tables.weight
    contribution, gross = sums.contribution, sums.gross
    for account in range(accounts):
        together = account % TOGETHER
        whole, backing[together] = rows[together][:scenarios], equity[account] / UNIT
        whole[:] = 0.0
        for u in range(account_units[account], account_units[account + 1]):
            unit[:] = 0.0
            turned[:] = 0.0
            contingency, begin = 0.0, unit_sets[u]
            for n in range(begin, unit_sets[u + 1]):
                start, row = set_offsets[n], sets[n - begin]
                set_pnl(registers, cube, instrument, quantity, start, set_offsets[n + 1], row)
                first = instrument[start]
                positive, negative = tables.positive[first], tables.negative[first]
                _add_set(positive, negative, weight, row, unit, whole)
                if rotated.size > 0:
                    _turn(positive, negative, weight, row, row[scenarios], rotated, turned)
                if basis[0] >= 0:
                    contingency += tables.basis[first] * _worse(row, basis)
            for k in range(rotated.size):
                unit[rotated[k]] = turned[k]
            first = instrument[set_offsets[begin]]
            worst = _worst(tables, first, unit, span, damped)
            by_basis = contingency < unit[worst]
            value[u] = 0.0 - (contingency if by_basis else unit[worst])
            binding[u] = basis[0] if by_basis else worst
            if value[u] > 0.0:
                share = factor * value[u] / (value[u] + tables.dampener[first, worst])
                for n in range(begin, unit_sets[u + 1]):
                    start, stop, row = set_offsets[n], set_offsets[n + 1], sets[n - begin]
                    if by_basis:
                        _split_basis(
                            factor * tables.basis[instrument[start]], basis, row, instrument,
                            quantity, cube, start, stop, contribution, gross,
                        )  # fmt: skip
                    else:
                        _split_worst(
                            tables, worst, share, row, row[scenarios], instrument, quantity,
                            cube, start, stop, contribution, gross,
                        )  # fmt: skip
        if together == TOGETHER - 1:
            add_accounts(rows, backing, scenarios, sums)
    if accounts % TOGETHER > 0:
        for k in range(accounts % TOGETHER, TOGETHER):
            backing[k] = 0.0
            rows[k, :] = 0.0
        add_accounts(rows, backing, scenarios, sums)


def scan_block(
    nested: Nested,
    quantity: Floats,
    instrument: NDArray[np.int32],
    equity: Floats,
    cube: Floats,
    tables: ScanTables,
    factor: float = 1.0,
) -> BlockMargin:
    """Scan every unit of a block of accounts, and add up what its accounts lose.

    ``instrument`` and ``quantity`` ``(position,)`` are in the order of ``nested``; ``equity`` is
    ``(account,)`` and ``cube`` ``(instrument, scenario)``, P&L gain positive. In the result
    ``value`` and ``binding_scenario`` are ``(unit, 1)``; a unit that gains in every scenario has
    a negative value. The contribution splits each unit's loss, times ``factor``, over its
    instruments: the gradient of the scan, scaled where a dampener makes the scan less than
    proportional.

    Raises:
        ValueError: positions that do not fit the cube, an empty unit or set, tables that are not
            of the cube's shape or scan no scenario, or sums that ``require_exact`` refuses.
    """
    _check(nested, quantity, instrument, equity, cube, tables)
    instruments, scenarios = cube.shape
    units = len(nested.unit_sets) - 1
    up, down = np.flatnonzero(tables.role == BASIS_UP), np.flatnonzero(tables.role == BASIS_DOWN)
    basis = (int(up[0]), int(down[0])) if len(up) and len(down) else (-1, -1)
    cells = np.flatnonzero(tables.role <= ROTATED)
    if not len(cells) or cells[-1] - cells[0] + 1 != len(cells):
        raise ValueError(
            f"{len(cells)} scenarios of the scan are no contiguous run of at least one"
        )
    registers = host_registers()
    whole = registers.lanes * registers.accumulators
    wide = _padded(np.column_stack([cube, tables.value]), whole)
    most = int(np.diff(nested.unit_sets).max(initial=1))
    value, binding = np.zeros((units, 1)), np.zeros((units, 1), dtype=np.int32)
    sums = no_sums(instruments, scenarios)
    _scan(
        registers,
        read_only(nested.account_units, np.int64),
        read_only(nested.unit_sets, np.int64),
        read_only(nested.set_offsets, np.int64),
        read_only(instrument, np.int32),
        read_only(quantity, np.float64),
        read_only(equity, np.float64),
        read_only(wide, np.float64),
        ScanTables(*(read_only(table, table.dtype.type) for table in tables)),
        basis,
        (int(cells[0]), int(cells[-1]) + 1),
        np.flatnonzero(tables.role == ROTATED),
        bool((tables.dampener > 0.0).any()),
        factor,
        np.zeros((TOGETHER + 2, wide.shape[1] + MASK)),
        np.zeros((most, wide.shape[1] + MASK)),
        np.zeros(TOGETHER),
        value[:, 0],
        binding[:, 0],
        sums,
    )
    return block_margin(value, binding, sums)


def _padded(cells: Floats, to: int) -> Floats:
    """Return rows filled up with zeros to whole registers, so that a row is one pass."""
    lacking = -cells.shape[1] % to
    return np.pad(cells, ((0, 0), (0, lacking)))


def _check(
    nested: Nested,
    quantity: Floats,
    instrument: NDArray[np.int32],
    equity: Floats,
    cube: Floats,
    tables: ScanTables,
) -> None:
    """Refuse what would read outside the arrays."""
    checked(Positions(nested.unit_sets, nested.set_offsets, instrument, quantity), cube)
    for name, offsets in (("unit_sets", nested.unit_sets), ("set_offsets", nested.set_offsets)):
        if (np.diff(offsets) < 1).any():
            row = int(np.flatnonzero(np.diff(offsets) < 1)[0])
            raise ValueError(f"{name} has nothing in entry {row}; units and sets hold positions")
    units = nested.account_units
    if len(units) != len(equity) + 1 or units[0] != 0 or units[-1] != len(nested.unit_sets) - 1:
        raise ValueError(
            f"account_units must cut {len(nested.unit_sets) - 1} units into {len(equity)} accounts"
        )
    instruments, scenarios = cube.shape
    by_instrument, both = (instruments,), (instruments, scenarios)
    wanted = ((scenarios,),) * 2 + (by_instrument,) * 4 + (both,)
    for name, shape in zip(ScanTables._fields, wanted, strict=True):
        found = getattr(tables, name).shape
        if found != shape:
            raise ValueError(f"table {name} has shape {found}; that of the cube asks {shape}")
