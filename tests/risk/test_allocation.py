"""Allocations sum to the whole, and are what the theory says where it says something."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from risk.allocation import (
    aumann_shapley,
    euler_allocation,
    incremental_allocation,
    pointwise,
    scenario_share,
    stand_alone,
    with_without,
)
from risk.measures import Measure, expected_shortfall, value_at_risk

# The first call compiles, and machines are shared.
SETTINGS = settings(deadline=None, max_examples=60)

SCENARIOS = 12
WORST = Measure("worst", "worst_loss", 0, SCENARIOS)
MEASURES = (
    WORST,
    Measure("part", "worst_loss", 3, 9),
    Measure("es", "expected_shortfall", 0, SCENARIOS, 0.7),
    Measure("es_part", "expected_shortfall", 2, 11, 0.8),
    Measure("var", "value_at_risk", 0, SCENARIOS, 0.75),
    Measure("var_between", "value_at_risk", 0, SCENARIOS, 0.75, "linear"),
)

# Whole numbers tie often, which is where an allocation can go wrong.
pnl_of_one = st.integers(1, 5).flatmap(
    lambda legs: arrays(np.float64, (legs, SCENARIOS), elements=st.integers(-3, 3).map(float))
)
quantities = st.lists(st.integers(-4, 4).map(float), min_size=5, max_size=5).map(np.array)
weights = arrays(np.float64, SCENARIOS, elements=st.sampled_from([0.25, 0.5, 1.0]))


def measured(pnl, weight, measure):
    """The measure of one row of P&L, by its definition."""
    rows = slice(measure.start, measure.stop)
    if measure.kind == "worst_loss":
        return float((-pnl * weight)[rows].max())
    if measure.kind == "expected_shortfall":
        return expected_shortfall(pnl[rows], measure.level)
    return value_at_risk(pnl[rows], measure.level, measure.convention)


def layered(pnl, weight, notional):
    """A margin as rule books have it: stacked measures, a minimum, a charge that bends."""

    def requirement(quantity):
        whole = quantity @ pnl
        base = max(0.0, measured(whole, weight, MEASURES[2]))
        stress = max(0.0, measured(whole, weight, WORST) - base)
        short = np.maximum(-quantity, 0.0) @ notional
        minimum = max(0.0, 0.1 * float(short) - base - stress)
        return base + stress + minimum + 0.01 * float(np.abs(quantity) @ notional)

    return pointwise(requirement)


def close(amount, whole):
    return amount.sum() == pytest.approx(whole, rel=1e-9, abs=1e-9)


@SETTINGS
@given(pnl_of_one, quantities, weights, st.sampled_from(MEASURES))
def test_euler_sums_to_the_measure(pnl, quantity, weight, measure):
    legs = pnl * quantity[: len(pnl), None]
    amount = euler_allocation(legs, weight, measure)
    whole = legs.sum(axis=0)
    assert close(amount, measured(whole, weight, measure))
    share = scenario_share(whole, weight, measure)
    assert (share >= 0.0).all()
    assert -(share @ whole) == pytest.approx(measured(whole, weight, measure), abs=1e-12)


@SETTINGS
@given(pnl_of_one, quantities, st.sampled_from(MEASURES), st.randoms())
def test_euler_knows_no_order(pnl, quantity, measure, random):
    """Neither that of the legs nor that of the scenarios, however they tie."""
    legs = pnl * quantity[: len(pnl), None]
    weight = np.ones(SCENARIOS)
    order = list(range(len(legs)))
    columns = list(range(measure.start, measure.stop))
    random.shuffle(order)
    random.shuffle(columns)
    rest = [*range(measure.start), *columns, *range(measure.stop, SCENARIOS)]
    amount = euler_allocation(legs, weight, measure)
    shuffled = euler_allocation(legs[order][:, rest], weight, measure)
    assert shuffled == pytest.approx(amount[order], abs=1e-12)


def test_scenarios_that_tie_share_between_legs_that_mirror():
    legs = np.array([[-1.0, 0.0, 1.0], [0.0, -1.0, 1.0]])
    worst = Measure("worst", "worst_loss", 0, 3)
    assert euler_allocation(legs, np.ones(3), worst).tolist() == [0.5, 0.5]


def test_a_hedge_is_given_less_than_nothing():
    legs = np.array([[-10.0, 8.0], [6.0, -5.0]])
    worst = Measure("worst", "worst_loss", 0, 2)
    assert euler_allocation(legs, np.ones(2), worst).tolist() == [10.0, -6.0]


@SETTINGS
@given(pnl_of_one, quantities, weights)
def test_the_numerical_ray_sums_to_the_whole_of_a_layered_requirement(pnl, quantity, weight):
    legs = len(pnl)
    requirement = layered(pnl, weight, np.arange(1.0, legs + 1.0))
    held = quantity[:legs]
    whole = float(requirement(held[None])[0])
    found = aumann_shapley(requirement, held)
    assert close(found.amount, whole)
    assert abs(found.residual) <= 1e-9 * max(1.0, whole)


@SETTINGS
@given(pnl_of_one, quantities)
def test_the_numerical_ray_is_eulers_where_the_slope_is_one(pnl, quantity):
    """Without ties at the worst, every allocation by slope is the same."""
    pnl = pnl + np.linspace(0.0, 0.5, pnl.size).reshape(pnl.shape) ** 2
    held = np.where(quantity == 0.0, 1.0, quantity)[: len(pnl)]
    whole = np.sort(held @ pnl)
    weight = np.ones(SCENARIOS)
    requirement = pointwise(lambda q: measured(q @ pnl, weight, WORST))
    if whole[1] - whole[0] < 1e-2:
        return
    found = aumann_shapley(requirement, held)
    assert found.amount == pytest.approx(
        euler_allocation(pnl * held[:, None], weight, WORST), rel=1e-8, abs=1e-8
    )


@SETTINGS
@given(pnl_of_one, quantities, weights, st.randoms())
def test_incremental_sums_to_the_whole_in_any_order(pnl, quantity, weight, random):
    legs = len(pnl)
    order = list(range(legs))
    random.shuffle(order)
    requirement = layered(pnl, weight, np.ones(legs))
    held = quantity[:legs]
    amount = incremental_allocation(requirement, held, order)
    assert close(amount, float(requirement(held[None])[0]))
    first = order[0]
    assert amount[first] == pytest.approx(stand_alone(requirement, held)[first], abs=1e-12)
    last = order[-1]
    assert amount[last] == pytest.approx(with_without(requirement, held)[last], abs=1e-9)


@SETTINGS
@given(pnl_of_one, quantities)
def test_netting_never_costs(pnl, quantity):
    """Of a subadditive measure: with-without is at most stand-alone."""
    weight = np.ones(SCENARIOS)
    requirement = pointwise(lambda q: max(0.0, measured(q @ pnl, weight, WORST)))
    held = quantity[: len(pnl)]
    alone = stand_alone(requirement, held)
    assert (with_without(requirement, held) <= alone + 1e-9).all()
    assert alone.sum() >= requirement(held[None])[0] - 1e-9


def test_a_curved_requirement_is_integrated_exactly_by_enough_nodes():
    """Of (sum q)^3 each leg is given its share of the sum; two nodes are exact for a square."""
    held = np.array([1.0, 2.0, -0.5])
    cubic = pointwise(lambda quantity: float(quantity.sum() ** 3))
    found = aumann_shapley(cubic, held, nodes=2)
    assert found.amount == pytest.approx(held / held.sum() * held.sum() ** 3, rel=1e-7)
    assert abs(found.residual) < 1e-6


def test_a_jump_is_reported_as_what_no_slope_saw():
    fee = pointwise(lambda quantity: 7.0 * float(np.abs(quantity).sum() > 1.0))
    found = aumann_shapley(fee, np.array([3.0, 3.0]))
    assert found.amount.tolist() == [3.5, 3.5]
    assert found.residual == 7.0


def test_what_no_legs_require_belongs_to_no_leg():
    with_floor = pointwise(lambda quantity: 100.0 + float(np.abs(quantity).sum()))
    held = np.array([2.0, -3.0])
    for amount in (
        aumann_shapley(with_floor, held).amount,
        incremental_allocation(with_floor, held),
        stand_alone(with_floor, held),
    ):
        assert amount == pytest.approx([2.0, 3.0], rel=1e-9)


def test_the_mean_over_all_orders_is_the_game_of_shapley():
    """Three legs by hand: the mean of the incremental allocations is fair between the mirrored."""
    net = pointwise(lambda quantity: float(abs(quantity.sum())))
    held = np.array([2.0, 2.0, -1.0])
    orders = list(itertools.permutations(range(3)))
    mean = np.mean([incremental_allocation(net, held, order) for order in orders], axis=0)
    assert mean == pytest.approx([5 / 3, 5 / 3, -1 / 3])


@pytest.mark.parametrize("order", [[0], [0, 0], [0, 2]])
def test_an_order_that_is_none_is_refused(order):
    net = pointwise(lambda quantity: float(abs(quantity.sum())))
    with pytest.raises(ValueError, match="each of the 2 legs once"):
        incremental_allocation(net, np.ones(2), order)


def test_no_node_is_refused():
    with pytest.raises(ValueError, match="nodes is 0"):
        aumann_shapley(pointwise(lambda quantity: 0.0), np.ones(2), nodes=0)


def test_no_legs_are_given_nothing():
    nothing = pointwise(lambda quantity: 0.0)
    assert len(aumann_shapley(nothing, np.zeros(0)).amount) == 0
    assert len(incremental_allocation(nothing, np.zeros(0))) == 0
