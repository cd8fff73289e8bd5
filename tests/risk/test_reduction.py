"""The way back to health: it suffices, and nothing cheaper of its kind does."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from risk.allocation import pointwise
from risk.reduction import Portfolio, way_back

# The first call compiles, and machines are shared.
SETTINGS = settings(deadline=None, max_examples=60)

SCENARIOS = 6
pnl_of_one = st.integers(1, 4).flatmap(
    lambda legs: arrays(np.float64, (legs, SCENARIOS), elements=st.integers(-5, 5).map(float))
)
lots_of = st.lists(st.integers(-30, 30), min_size=4, max_size=4).map(np.array)


def worst_loss(pnl):
    return lambda quantity: np.maximum(-(quantity @ pnl).min(axis=1), 0.0)


def portfolio(lots, equity, *, lot_size=None, lot_notional=None):
    legs = len(lots)
    return Portfolio(
        lots=np.asarray(lots, dtype=np.int64),
        lot_size=np.ones(legs) if lot_size is None else np.asarray(lot_size),
        lot_notional=np.ones(legs) if lot_notional is None else np.asarray(lot_notional),
        equity=equity,
    )


def every_single(requirement, held):
    """Slow: every whole number of lots of every leg, as (notional, leg, lots)."""
    found = []
    for leg, lots in enumerate(held.lots.tolist()):
        for traded in range(1, abs(lots) + 1):
            left = held.lots.copy()
            left[leg] -= np.sign(lots) * traded
            if held.equity - requirement((left * held.lot_size)[None])[0] >= 0.0:
                found.append((traded * held.lot_notional[leg], leg, traded))
    return sorted(found)


def after(requirement, held, trades):
    quantity = held.lots * held.lot_size
    for trade in trades:
        quantity[trade.leg] += trade.contracts
    return held.equity - requirement(quantity[None])[0]


@SETTINGS
@given(pnl_of_one, lots_of, st.floats(0.0, 100.0), st.sampled_from([[1, 2, 3, 4], [4, 3, 2, 1]]))
def test_the_single_reduction_is_the_cheapest_there_is(pnl, lots, equity, notional):
    """Up to 32 lots the grid is every lot, so nothing can be missed."""
    requirement = worst_loss(pnl)
    legs = len(pnl)
    held = portfolio(lots[:legs], equity, lot_notional=np.array(notional[:legs], dtype=float))
    way = way_back(requirement, held)
    now = after(requirement, held, ())
    if now >= 0.0:
        assert (way.deposit, way.single, way.sequence) == (0.0, None, ())
        return
    assert way.deposit == pytest.approx(-now)
    slow = every_single(requirement, held)
    if not slow:
        assert way.single is None
        return
    assert way.single.notional == slow[0][0]
    assert after(requirement, held, [way.single]) >= 0.0
    assert way.sequence == ()


@SETTINGS
@given(pnl_of_one, lots_of, st.floats(0.0, 5.0))
def test_a_sequence_suffices_and_so_does_the_proportion(pnl, lots, equity):
    requirement = worst_loss(pnl)
    held = portfolio(lots[: len(pnl)], equity)
    way = way_back(requirement, held)
    if way.deposit == 0.0 or way.single is not None:
        return
    # A worst loss is homogeneous: what equity covers is the part that may stay.
    required = equity + way.deposit
    assert way.proportional == pytest.approx(1.0 - equity / required, abs=1e-9)
    if way.sequence:
        assert len(way.sequence) > 1
        assert after(requirement, held, way.sequence) >= 0.0
        assert after(requirement, held, way.sequence[:-1]) < 0.0


def test_one_position_is_sold_by_as_little_as_does():
    way = way_back(worst_loss(np.array([[-10.0]])), portfolio([1_000], 7_500.0))
    assert way.deposit == 2_500.0
    assert (way.single.fraction, way.single.contracts) == (0.25, -250.0)
    assert way.single.released == 2_500.0


def test_lots_are_whole():
    held = portfolio([-7], 50.0, lot_size=[0.1], lot_notional=[33.0])
    way = way_back(worst_loss(np.array([[-100.0, 100.0]])), held)
    assert way.single.contracts == pytest.approx(0.2)
    assert way.single.notional == 66.0
    assert way.single.fraction == 2 / 7


def test_the_cheapest_by_notional_is_not_the_riskiest():
    """A volatile leg releases more for every dollar that is traded."""
    pnl = np.array([[-1.0], [-5.0]])
    held = portfolio([100, 10], 140.0, lot_notional=[10.0, 10.0])
    way = way_back(worst_loss(pnl), held)
    assert (way.single.leg, way.single.notional) == (1, 20.0)


def test_a_hedge_is_closed_only_as_far_as_it_helps():
    """Long loses in the first scenario, short in the second; closing all of either is worse."""
    pnl = np.array([[-10.0, 10.0], [8.0, -16.0]])
    held = portfolio([10, 10], 40.0)
    way = way_back(worst_loss(pnl), held)
    assert way.single.leg == 1
    assert way.single.fraction == 0.2
    closed = held.lots.copy()
    closed[1] = 0
    assert worst_loss(pnl)(closed[None].astype(float))[0] > 40.0


def test_several_are_named_when_no_single_one_suffices():
    pnl = -np.eye(3) * 10.0
    requirement = pointwise(lambda quantity: float((np.abs(quantity) @ np.abs(pnl)).sum()))
    held = portfolio([10, 20, 30], 90.0)
    way = way_back(requirement, held)
    assert way.single is None
    assert [trade.leg for trade in way.sequence] == [2, 1, 0]
    assert way.sequence[-1].fraction == pytest.approx(0.1)
    assert way.proportional == pytest.approx(1.0 - 90.0 / 600.0)


def test_nothing_but_a_deposit_mends_a_negative_equity():
    way = way_back(worst_loss(np.array([[-10.0]])), portfolio([5], -1.0))
    assert way == type(way)(51.0, None, (), None)


def test_legs_that_only_help_together_are_reduced_together():
    """A charge on the matched part: one leg alone turns a hedge into a bet."""
    requirement = pointwise(lambda q: 10.0 * abs(float(q.sum())) + 1.0 * float(np.abs(q).sum()))
    way = way_back(requirement, portfolio([10, -10], 15.0))
    assert (way.single, way.sequence) == (None, ())
    assert way.proportional == pytest.approx(0.25)


def test_an_account_without_positions_can_only_deposit():
    way = way_back(pointwise(lambda quantity: 5.0), portfolio([], 3.0))
    assert (way.deposit, way.single, way.sequence, way.proportional) == (2.0, None, (), None)


def test_a_large_position_is_narrowed_to_the_lot():
    held = portfolio([10**12 + 7], 3.0e12)
    way = way_back(worst_loss(np.array([[-10.0]])), held)
    assert round(-way.single.contracts) == 10**12 + 7 - 3 * 10**11
