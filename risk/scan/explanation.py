"""A scan of one account in plain NumPy that keeps every number, set by set."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from risk.kernels.scan import BASIS_DOWN, BASIS_UP, ROTATED, ScanTables
from risk.nesting import Nested

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ScannedSet:
    """One set of a unit: its positions, its value, its P&L and what of it counts."""

    positions: NDArray[np.int64]  # rows of the portfolio
    value: float
    pnl: Floats  # (scenario,)
    counted: Floats  # (scenario,), discounted, weighted, rotations as losses
    basis_loss: float


@dataclass(frozen=True, slots=True)
class ScannedUnit:
    """One unit: what its sets count for together, and the worst of it.

    ``pnl`` ``(scenario,)`` is after the dampener. ``worst`` is the row of the binding
    scenario, or -1 where the basis contingency binds; ``loss`` is negative where all gain.
    """

    sets: list[ScannedSet]
    pnl: Floats
    basis_loss: float
    worst: int
    loss: float


def scan_units(
    nested: Nested,
    instrument: NDArray[np.int32],
    quantity: Floats,
    cube: Floats,
    tables: ScanTables,
) -> list[ScannedUnit]:
    """Return the units of a portfolio as the scan sees them.

    ``instrument`` and ``quantity`` ``(position,)`` are in the portfolio's own order.
    """
    units = []
    for first, last in zip(nested.unit_sets[:-1], nested.unit_sets[1:], strict=True):
        sets = [
            _scan_set(
                nested.order[nested.set_offsets[n] : nested.set_offsets[n + 1]],
                *(instrument, quantity, cube, tables),
            )
            for n in range(first, last)
        ]
        row = int(instrument[sets[0].positions[0]])
        units.append(_unit(sets, tables, tables.dampener[row]))
    return units


def _scan_set(
    held: NDArray[np.int64],
    instrument: NDArray[np.int32],
    quantity: Floats,
    cube: Floats,
    tables: ScanTables,
) -> ScannedSet:
    rows = instrument[held]
    pnl = quantity[held] @ cube[rows]
    value = float(quantity[held] @ tables.value[rows])
    worth = value + pnl
    discount = np.where(worth >= 0.0, tables.positive[rows[0]], tables.negative[rows[0]])
    counted = (worth * discount - value) * tables.weight
    counted = np.where(tables.role == ROTATED, -np.abs(counted), counted)
    basis = np.isin(tables.role, (BASIS_UP, BASIS_DOWN))
    worse = min(0.0, float(pnl[basis].min(initial=0.0)))
    return ScannedSet(held, value, pnl, counted, -float(tables.basis[rows[0]]) * worse)


def _unit(sets: list[ScannedSet], tables: ScanTables, dampener: Floats) -> ScannedUnit:
    total = np.sum([one.counted for one in sets], axis=0)
    pnl = np.sign(total) * np.maximum(np.abs(total) - dampener, 0.0)
    scanned = np.flatnonzero(tables.role <= ROTATED)
    worst = int(scanned[np.argmin(pnl[scanned])])
    basis_loss = sum(one.basis_loss for one in sets)
    if basis_loss > -pnl[worst]:
        return ScannedUnit(sets, pnl, basis_loss, -1, basis_loss)
    return ScannedUnit(sets, pnl, basis_loss, worst, -float(pnl[worst]))
