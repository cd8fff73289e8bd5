import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from risk.liquidation import (
    cross_margin_liquidation_price,
    line_crossing,
    liquidation_range,
)
from risk.schedule_margin import schedule_margin
from risk.tiers import marginal_charge

SETTINGS = settings(deadline=None, max_examples=60)
AMOUNTS = st.floats(-1e6, 1e6)


def test_the_price_that_a_public_issue_worked_out():
    """TorchTrade/torchtrade, issue 344: 99/0.996; without the other positions it was 95.38."""
    found = cross_margin_liquidation_price(5.0, 100.0, 1.0, 0.004, 4.0)
    assert found.price == pytest.approx(99.0 / 0.996, rel=1e-14)
    assert found.side == -1


@SETTINGS
@given(
    st.lists(st.tuples(st.floats(-100.0, 100.0), st.floats(0.001, 0.2)), min_size=1, max_size=4),
    st.floats(-1e5, 1e5),
    st.floats(1.0, 1e4),
    st.floats(0.0, 1e4),
)
def test_health_is_zero_at_the_liquidation_price(positions, equity, mark, other):
    sizes, rates = (np.array(column) for column in zip(*positions, strict=True))
    found = cross_margin_liquidation_price(equity, mark, sizes, rates, other)
    price = float(found.price)
    if found.side == 0 or price == 0.0:
        return

    def health(at):
        return equity + (sizes * (at - mark)).sum() - (np.abs(sizes) * at * rates).sum() - other

    scale = abs(equity) + other + np.abs(sizes).sum() * (mark + price)
    assert health(price) == pytest.approx(0.0, abs=1e-12 * scale)
    assert (health(0.5 * price) < health(price)) == (found.side == -1)


@SETTINGS
@given(AMOUNTS, AMOUNTS)
def test_a_line_is_healthy_on_the_side_that_is_told(constant, slope):
    found = line_crossing(constant, slope)
    assert 0.0 <= found.price < np.inf
    assert abs(int(found.side)) == abs(int(np.sign(slope)))
    for at in (0.5, 2.0, 1e9):
        health = constant + slope * at
        below = found.side == -1 and at < found.price
        above = found.side == 1 and at > found.price
        if abs(health) > 1e-9 * (abs(constant) + abs(slope * at)) and slope != 0.0:
            assert (health < 0.0) == (below or above)


def test_a_crossing_beyond_every_number_is_never_reached():
    found = line_crossing([-1.0, 1.0], [5e-324, -5e-324])
    assert (found.price.tolist(), found.side.tolist()) == ([0.0, 0.0], [1, -1])


def test_a_position_that_no_price_can_liquidate():
    covered = cross_margin_liquidation_price(1_000.0, 100.0, 5.0, 0.01)
    assert (covered.price.item(), covered.side.item()) == (0.0, -1)
    hedged = cross_margin_liquidation_price(10.0, 100.0, [1.0, -1.0], [0.0, 0.0])
    assert (hedged.price.item(), hedged.side.item()) == (0.0, 0)


def slow_range(health, price):
    grid = np.linspace(0.0, 4.0 * price, 400_001)
    bad = health(grid) < 0.0
    below, above = grid[bad & (grid < price)], grid[bad & (grid > price)]
    return (below.max() if len(below) else 0.0), (above.min() if len(above) else np.inf)


@SETTINGS
@given(
    st.lists(st.floats(-5.0, 5.0), min_size=2, max_size=2),
    st.lists(st.floats(20.0, 300.0), min_size=2, max_size=2, unique=True),
    st.floats(1.0, 300.0),
)
def test_the_range_of_a_bent_health_against_a_scan(slopes, bends, reserve):
    def health(prices):
        bent = sum(
            slope * (np.maximum(prices, bend) - max(100.0, bend))
            for slope, bend in zip(slopes, bends, strict=True)
        )
        return reserve + bent - 0.02 * (prices - 100.0)

    found = liquidation_range(health, 100.0, bends)
    below, above = slow_range(health, 100.0)
    assert found.below == pytest.approx(below, abs=0.01)
    if found.above < 390.0:
        assert found.above == pytest.approx(above, abs=0.01)
    else:
        assert above > 389.0


def test_tiers_of_maintenance_bend_the_health_of_a_short():
    """Ten short at 100 with 300 of equity; 5 % up to a notional of 1,100 and 10 % beyond."""

    def health(prices):
        needed = marginal_charge(10.0 * prices, [1_100.0, 1e9], [0.05, 0.10])
        return 300.0 + 10.0 * (100.0 - prices) - needed

    found = liquidation_range(health, 100.0, [110.0])
    assert found.below == 0.0
    assert found.above == pytest.approx((1_300.0 + 55.0) / 11.0)


def test_an_account_that_is_liquidated_already_is_refused():
    with pytest.raises(ValueError, match="liquidated already"):
        liquidation_range(lambda p: p - 101.0, 100.0)
    with pytest.raises(ValueError, match="price is 0"):
        liquidation_range(lambda p: p, 0.0)


@SETTINGS
@given(st.lists(st.floats(0.0, 1e7), min_size=1, max_size=5))
def test_marginal_tiers_against_a_walk_through_them(amounts):
    ends, rates = [1e6, 5e6, 1e7], [0.0075, 0.0175, 0.025]

    def slow(amount):
        charge, lower = 0.0, 0.0
        for end, rate in zip(ends, rates, strict=True):
            charge += rate * max(0.0, min(amount, end) - lower)
            lower = end
        return charge + rates[-1] * max(0.0, amount - ends[-1])

    assert marginal_charge(amounts, ends, rates) == pytest.approx([slow(one) for one in amounts])


@pytest.mark.parametrize(
    ("amount", "ends", "rates", "sentence"),
    [
        (-1.0, [1.0], [0.1], "amount is -1"),
        (1.0, [2.0, 1.0], [0.1, 0.2], "must rise"),
        (1.0, [1.0], [0.1, 0.2], "one length"),
    ],
)
def test_tiers_are_checked(amount, ends, rates, sentence):
    with pytest.raises(ValueError, match=sentence):
        marginal_charge(amount, ends, rates)


@SETTINGS
@given(st.lists(st.tuples(st.floats(0, 1e6), st.floats(0, 0.15), AMOUNTS), max_size=6))
def test_schedule_margin_lies_between_its_gross_part_and_the_whole(trades):
    columns = zip(*trades, strict=True) if trades else ([], [], [])
    found = schedule_margin(*(list(column) for column in columns))
    assert 0.0 <= found.net_to_gross <= 1.0 + 1e-12
    assert 0.4 * found.gross_margin <= found.margin * (1 + 1e-12)
    assert found.margin <= found.gross_margin * (1 + 1e-12)


def test_schedule_terms_are_checked():
    with pytest.raises(ValueError, match="shapes differ"):
        schedule_margin([1.0], [0.1, 0.1], [1.0])
    with pytest.raises(ValueError, match="rates 0 or more"):
        schedule_margin([1.0], [-0.1], [1.0])
