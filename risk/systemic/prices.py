"""Prices of a round, and contracts at them: the part of the shock that came, and what was sold."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from risk.instruments import Instruments, MarketState, unit_notional
from risk.revaluation import VolatilityTenor, revalue
from risk.scenarios.shocks import SHOCKS, Shocks
from risk.systemic.impact import price_after
from risk.systemic.plan import StressPlan
from risk.systemic.pressure import delta_sold
from risk.systemic.requirement import MaintenanceRules, UnitMaintenance, unit_maintenance

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Ground:
    """What prices come from in every round; ``delta`` is of a unit of notional, ``(instrument,)``.

    ``volume`` and ``volatility`` are those of each coin, ``(coin,)``.
    """

    instruments: Instruments
    market: MarketState
    tenor: VolatilityTenor
    delta: Floats
    volume: Floats
    volatility: Floats


def price_factor(total: Floats, ground: Ground, depth: Floats, plan: StressPlan) -> Floats:
    """Return what is left of each price after all that was sold, ``(coin, scenario)``."""
    coins = len(ground.volume)
    sold = delta_sold(total, ground.delta, ground.instruments.underlying, coins)
    return price_after(
        plan.impact, 1.0, sold, ground.volume[:, np.newaxis], ground.volatility[:, np.newaxis],
        depth,
    )  # fmt: skip


def cube_at(ground: Ground, shocks: Shocks, factor: Floats) -> Floats:
    """Return P&L of one contract at shocked prices times a factor, ``(instrument, scenario)``."""
    price = (1.0 + shocks.price) * factor.T - 1.0
    return revalue(ground.instruments, ground.market, replace(shocks, price=price), ground.tenor)


def unit_at(
    ground: Ground, rules: MaintenanceRules, shocks: Shocks, factor: Floats, cube: Floats
) -> Floats:
    """Return the maintenance of one contract by itself, ``(side, instrument, scenario)``."""
    coin = (1.0 + shocks.price) * factor.T
    notional = np.stack(
        [unit_notional(ground.instruments, ground.market.index * one) for one in coin], axis=1
    )
    down, up = (
        cube_at(ground, shocks, factor * (1.0 + move)) for move in (-rules.scan, rules.scan)
    )
    return unit_maintenance(rules, down, cube, up, notional)


def unit_now(
    ground: Ground, rules: MaintenanceRules, shocks: Shocks, factor: Floats, cube: Floats
) -> UnitMaintenance:
    """Return the maintenance of one contract at first prices and at those of the round."""
    still = Shocks(*(np.zeros_like(shocks.price[:1]) for _ in SHOCKS))
    whole = np.ones((len(ground.volume), 1))
    first = unit_at(ground, rules, still, whole, cube_at(ground, still, whole))
    return UnitMaintenance(first[..., 0], unit_at(ground, rules, shocks, factor, cube))
