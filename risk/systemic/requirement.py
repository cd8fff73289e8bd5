"""Maintenance at the prices of a round: it grows as the maintenance of the contracts held does.

The margin of a portfolio is not computed again in every round. What one contract by itself asks
for is, once for each instrument and side, and the maintenance M of an account follows it:

    M(round) = M x sum |q| u(round) / sum |q| u(first)

with q what it held at first and u, ``unit_maintenance``, the worst loss of one contract when its
coin moves by ``scan`` up or down from the prices of the round, no less than ``minimum`` times its
notional there. A future's is in proportion to its price; that of an option sold short grows as
the option moves into the money.
"""

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from risk.kernels.compilation import compiled
from risk.kernels.positions import read_only
from risk.specification import Specification
from risk.systemic.stressed import StressedAccounts

Floats = NDArray[np.float64]


class MaintenanceRules(Specification):
    """How maintenance follows prices: a move of the coin, and a least part of the notional."""

    scan: Annotated[float, Field(gt=0.0, lt=1.0)]
    minimum: Annotated[float, Field(gt=0.0, le=1.0)]
    source: Annotated[str, Field(min_length=1)]


@dataclass(frozen=True, slots=True)
class UnitMaintenance:
    """What one contract by itself asks for, money: at ``first`` prices and ``now``, in a round.

    ``first`` is ``(side, instrument)``, ``now`` ``(side, instrument, scenario)``; longs, shorts.
    """

    first: Floats
    now: Floats

    def take(self, scenarios: NDArray[np.int64]) -> "UnitMaintenance":
        """Return some of the scenarios."""
        return UnitMaintenance(self.first, self.now[..., scenarios])


def unit_maintenance(
    rules: MaintenanceRules, down: Floats, here: Floats, up: Floats, notional: Floats
) -> Floats:
    """Return the maintenance of one contract by itself, ``(...) -> (side, ...)``.

    ``down``, ``here`` and ``up`` are P&L of one contract with its coin ``scan`` below, at and above
    the prices of the round, ``notional`` its size there.

    >>> rules = MaintenanceRules(scan=0.1, minimum=0.02, source="made up")
    >>> unit_maintenance(rules, np.array([-4.0]), np.array([-3.0]), np.array([9.0]), 100.0).tolist()
    [[2.0], [12.0]]
    """
    least = rules.minimum * notional
    long = np.maximum(np.maximum(here - down, here - up), least)
    short = np.maximum(np.maximum(down - here, up - here), least)
    return np.stack([long, short])


@compiled
def set_growth(
    instrument: Any, quantity: Any, start: int, stop: int, first: Any, now: Any, growth: Floats
) -> None:  # fmt: skip
    """Set a row of scenarios to what the maintenance of an account has grown to, 1 at first."""
    growth[:] = 1.0
    if now.size == 0:
        return
    base = 0.0
    for p in range(start, stop):
        base += abs(quantity[p]) * first[0 if quantity[p] > 0.0 else 1, instrument[p]]
    if base <= 0.0:
        return
    growth[:] = 0.0
    for p in range(start, stop):
        cells = now[0 if quantity[p] > 0.0 else 1, instrument[p]]
        for s in range(growth.size):
            growth[s] += abs(quantity[p]) * cells[s]
    for s in range(growth.size):
        growth[s] /= base


def growth_of(accounts: StressedAccounts, unit: UnitMaintenance | None, scenario: int) -> Floats:
    """Return what the maintenance of accounts has grown to in a scenario, ``(account,)``.

    As ``set_growth``; without a unit it does not grow.
    """
    if unit is None:
        return np.ones(len(accounts))
    owner = np.repeat(np.arange(len(accounts)), np.diff(accounts.offsets))
    side, size = (accounts.quantity <= 0.0).astype(np.int64), np.abs(accounts.quantity)
    base, now = (
        np.bincount(owner, size * one[side, accounts.instrument], len(accounts))
        for one in (unit.first, unit.now[..., scenario])
    )
    return np.divide(now, base, out=np.ones(len(accounts)), where=base > 0.0)


def as_kernels_take(unit: UnitMaintenance | None) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return what ``set_growth`` reads; without a unit maintenance does not grow."""
    first, now = (np.zeros((2, 0)), np.zeros((2, 0, 0))) if unit is None else (unit.first, unit.now)
    return read_only(first, np.float64), read_only(now, np.float64)
