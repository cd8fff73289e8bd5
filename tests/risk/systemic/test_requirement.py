"""Maintenance that follows prices: by hand, for a future and for an option sold short."""

import doctest

import numpy as np
import pytest

import risk.systemic.requirement as requirement
from risk.systemic.cascade import LiquidationRules, cascade_round
from risk.systemic.requirement import MaintenanceRules, UnitMaintenance, unit_maintenance
from risk.systemic.stressed import Liquidated, StressedAccounts

RULES = MaintenanceRules(scan=0.1, minimum=0.02, source="made up")


def account(quantity, equity, maintenance):
    return StressedAccounts(
        np.array([0, 1]), np.zeros(1, np.int32), np.array([quantity]), np.array([equity]),
        np.array([maintenance]), np.zeros(1, np.int32),
    )  # fmt: skip


def test_that_of_a_future_is_in_proportion_to_its_price():
    # One coin at 100, then at 80: a tenth of it is 10, then 8, for longs and shorts alike.
    first = unit_maintenance(RULES, np.array([-10.0]), np.array([0.0]), np.array([10.0]), 100.0)
    now = unit_maintenance(RULES, np.array([-28.0]), np.array([-20.0]), np.array([-12.0]), 80.0)
    assert first.tolist() == [[10.0], [10.0]]
    assert now.tolist() == [[8.0], [8.0]]


def test_an_option_sold_short_asks_for_more_as_it_moves_into_the_money():
    # A call at 120 by what it pays: at 100 neither a tenth up nor down is in the money, and it asks
    # for the least, 2; at 125 a tenth up is 17.5 of it and it has 5: 12.5.
    def pays(price):
        return np.array([max(price - 120.0, 0.0)])

    first = unit_maintenance(RULES, pays(90.0), pays(100.0), pays(110.0), 100.0)
    now = unit_maintenance(RULES, pays(112.5), pays(125.0), pays(137.5), 125.0)
    assert (first[1].item(), now[1].item()) == (2.0, 12.5)
    # Who is long never asks for more than there is to lose, or the least.
    assert (first[0].item(), now[0].item()) == (2.0, 5.0)


def test_an_account_is_closed_that_its_first_maintenance_would_have_kept():
    # Short a call on 20 with a maintenance of 4: 5 are lost, 15 are left. At 4 x 12.5 / 2 = 25 it
    # is below; at 4 it is not.
    book, rules = account(-1.0, 20.0, 4.0), LiquidationRules(closing="all", fee=0.0)
    unit = UnitMaintenance(np.array([[2.0], [2.0]]), np.array([[[5.0]], [[12.5]]]))
    given = (np.array([[5.0]]), np.array([100.0]), np.ones(1, np.bool_), rules)
    stays = cascade_round(book, Liquidated.nobody(1, 1), *given)
    closed = cascade_round(book, Liquidated.nobody(1, 1), *given, unit)
    assert (stays.liquidated.tolist(), closed.liquidated.tolist()) == ([0], [1])
    assert closed.sold.tolist() == [[-100.0]]


def test_to_a_target_of_the_maintenance_of_the_round():
    # 10 contracts, equity 120 and a fall of 3: 90 are left, maintenance went from 100 to 150. With
    # no fee 90 = 1.2 x 150 (1 - c), so half is closed.
    book = account(10.0, 120.0, 100.0)
    unit = UnitMaintenance(np.array([[2.0], [9.0]]), np.array([[[3.0]], [[9.0]]]))
    rules = LiquidationRules(slice=0.1, target=1.2, fee=0.0)
    one = (np.array([[-3.0]]), np.array([100.0]), np.ones(1, np.bool_), rules, unit)
    found = cascade_round(book, Liquidated.nobody(1, 1), *one)
    assert found.state.remaining.tolist() == [[pytest.approx(0.5)]]


def test_the_examples_hold():
    found = doctest.testmod(requirement)
    assert (found.attempted > 0, found.failed) == (True, 0)
