"""Prices of a round, and what contracts come to at them, by hand."""

import math

import numpy as np
import pytest

from risk.revaluation import VolatilityTenor
from risk.scenarios.shocks import Shocks
from risk.systemic.plan import parse_stress_plan
from risk.systemic.prices import Ground, cube_at, price_factor, unit_now
from risk.systemic.requirement import MaintenanceRules
from tests.risk.books import instruments_of, market_of
from tests.workers.stressed import SMALL_PLAN

# A tenth of a coin at 100 falls by a fifth, and by a tenth of what is left.
PERPETUAL = instruments_of([{"multiplier": 0.1}])
GROUND = Ground(
    PERPETUAL,
    market_of(PERPETUAL),
    VolatilityTenor(),
    delta=np.ones(1),
    volume=np.array([400.0, 1.0]),
    volatility=np.array([0.05, 0.05]),
)
FALL = Shocks(np.array([[-0.2, 0.0]]), *np.zeros((3, 1, 2)))
LEFT = np.array([[0.9], [1.0]])


def test_a_contract_loses_by_the_shock_and_by_what_was_sold():
    assert cube_at(GROUND, FALL, LEFT).tolist() == [[pytest.approx(0.1 * (72.0 - 100.0))]]


def test_what_was_sold_leaves_less_of_the_price_of_its_coin_alone():
    plan = parse_stress_plan(SMALL_PLAN)  # a coefficient of 0.8, an exponent of one half
    left = price_factor(np.array([[50.0]]), GROUND, np.array([0.5]), plan)
    assert left[:, 0].tolist() == pytest.approx([math.exp(-0.8 * 0.05 * math.sqrt(0.25)), 1.0])


def test_maintenance_of_a_contract_is_a_move_of_its_coin():
    rules = MaintenanceRules(scan=0.1, minimum=0.02, source="made up")
    unit = unit_now(GROUND, rules, FALL, LEFT, cube_at(GROUND, FALL, LEFT))
    assert unit.first[:, 0].tolist() == pytest.approx([1.0, 1.0])
    assert unit.now[:, 0, 0].tolist() == pytest.approx([0.72, 0.72])
