"""Auto-deleveraging: published rankings, whole lots, and who is never hit."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from risk.systemic.deleveraging import (
    RANKINGS,
    Candidates,
    DeleveragingSpec,
    binance_score,
    bitmex_score,
    bluefin_score,
    deleverage,
    hyperliquid_score,
    whole_shares,
    zubr_score,
)
from tests.risk.systemic.golden import case

SETTINGS = settings(deadline=None, max_examples=150)
SIDE = {"long": 1.0, "short": -1.0}
SIZES = st.one_of(st.integers(0, 9), st.integers(0, 10**9), st.integers(0, 10**17))
ALLOCATIONS = ("queue", "pro_rata", "risk_aware")


def spec(ranking="bitmex", allocation="queue", fill="bankruptcy"):
    return DeleveragingSpec(ranking=ranking, allocation=allocation, fill=fill, source="test")


@st.composite
def crowds(draw):
    size = draw(st.integers(1, 12))

    def column(values):
        return np.array(draw(st.lists(values, min_size=size, max_size=size)))

    quantity = column(st.integers(-50, 50)).astype(np.int64)
    entry = column(st.sampled_from([80.0, 95.0, 100.0, 120.0]))
    value = column(st.sampled_from([-5.0, 10.0, 300.0, 4_000.0]))
    return Candidates(
        account=draw(st.permutations(range(size)).map(np.array)),
        quantity=quantity,
        entry=entry,
        bankruptcy=np.where(quantity > 0, 60.0, 150.0),
        account_value=value,
        wallet=value - quantity * (100.0 - entry),
        maintenance=0.01 * np.abs(quantity) * 100.0,
        mark=100.0,
    )


def test_the_table_of_zubr():
    given, expected, tolerance = case("adl_zubr_table")
    score = zubr_score(given["pnl_pct"], given["leverage"])
    np.testing.assert_allclose(score, expected["score"], **tolerance)
    place = np.empty(len(score), int)
    place[np.argsort(-score, kind="stable")] = np.arange(1, len(score) + 1)
    assert place.tolist() == expected["order"]


def test_bitmex():
    given, expected, tolerance = case("adl_bitmex_linear")
    side, entry, mark, bankruptcy = zip(*given["positions"], strict=True)
    found = bitmex_score([SIDE[one] for one in side], entry, mark, bankruptcy)
    np.testing.assert_allclose(found, expected["score"], **tolerance)


def test_bluefin():
    given, expected, tolerance = case("adl_bluefin")
    side, entry, mark, ratio, least = zip(*given["rows"], strict=True)
    found = bluefin_score([SIDE[one] for one in side], entry, mark, ratio, least)
    np.testing.assert_allclose(found, expected["score"], **tolerance)


def test_binance():
    given, expected, tolerance = case("adl_binance_forum")
    maintenance = given["margin_ratio"] * (given["wallet"] + given["profit"])
    found = binance_score(given["profit"], given["wallet"], maintenance)
    np.testing.assert_allclose(found, expected["score"], **tolerance)
    assert binance_score([-5.0, 1.0], [10.0, -3.0], [1.0, 1.0]).tolist() == [0.0, 0.0]


def test_hyperliquid():
    """(120 / 100) x (240 / 80)."""
    assert hyperliquid_score(100.0, 120.0, 240.0, 80.0) == pytest.approx(3.6, rel=1e-15)


@pytest.mark.parametrize("ranking", RANKINGS)
@pytest.mark.parametrize("allocation", ALLOCATIONS)
@SETTINGS
@given(crowd=crowds(), bankrupt=st.integers(-300, 300))
def test_contracts_still_sum_to_zero_and_nobody_else_is_hit(ranking, allocation, crowd, bankrupt):
    found = deleverage(spec(ranking, allocation), crowd, bankrupt, 101.0, 99.0)
    after = crowd.quantity + found.change
    assert after.sum() + found.unfilled == crowd.quantity.sum() + bankrupt
    assert (np.abs(after) <= np.abs(crowd.quantity)).all()
    assert (after * crowd.quantity >= 0).all()
    hit = found.change != 0
    assert (np.sign(crowd.quantity[hit]) == -np.sign(bankrupt)).all()
    assert (crowd.account_value[hit] > 0.0).all()
    assert not found.change[crowd.quantity == 0].any()
    if found.unfilled:
        open_rows = (np.sign(after) == -np.sign(bankrupt)) & (crowd.account_value > 0.0)
        assert not open_rows.any()


@pytest.mark.parametrize("allocation", ALLOCATIONS)
@SETTINGS
@given(crowd=crowds(), bankrupt=st.integers(-300, 300), data=st.data())
def test_the_order_of_rows_does_not_matter(allocation, crowd, bankrupt, data):
    shuffled = np.array(data.draw(st.permutations(range(len(crowd.account)))))
    columns = (
        "account",
        "quantity",
        "entry",
        "bankruptcy",
        "account_value",
        "wallet",
        "maintenance",
    )
    other = replace(crowd, **{name: getattr(crowd, name)[shuffled] for name in columns})
    rule = spec("zubr", allocation)
    one = deleverage(rule, crowd, bankrupt, 101.0, 99.0).change
    assert np.array_equal(one[shuffled], deleverage(rule, other, bankrupt, 101.0, 99.0).change)


def pair(quantities):
    size = len(quantities)
    return Candidates(
        account=np.arange(size),
        quantity=np.array(quantities),
        entry=np.full(size, 120.0),
        bankruptcy=np.full(size, 150.0),
        account_value=np.full(size, 1_000.0),
        wallet=np.full(size, 800.0),
        maintenance=np.full(size, 10.0),
        mark=90.0,
    )


def test_ties_go_to_the_lower_account():
    crowd = pair([-4, -4, -4])
    assert deleverage(spec(), crowd, 6, 95.0, 96.0).change.tolist() == [4, 2, 0]
    reversed_rows = replace(crowd, account=np.array([2, 1, 0]))
    assert deleverage(spec(), reversed_rows, 6, 95.0, 96.0).change.tolist() == [0, 2, 4]
    even = deleverage(spec(allocation="pro_rata"), crowd, 7, 95.0, 96.0).change
    assert even.tolist() == [3, 2, 2]


def test_a_fill_at_the_bankruptcy_price_takes_the_shortfall_and_no_more():
    """A long of 6 bankrupt at 95, the mark at 90: 30 are missing, and 30 are given up."""
    found = deleverage(spec(), pair([-4, -4, 9, 0]), 6, 95.0, 96.0)
    assert found.haircut.tolist() == [20.0, 10.0, 0.0, 0.0]
    assert found.overshoot(30.0) == 1.0
    previous = deleverage(spec(fill="previous_mark"), pair([-4, -4, 9, 0]), 6, 95.0, 96.0)
    assert previous.overshoot(30.0) == pytest.approx(36.0 / 30.0)
    short = deleverage(spec(), replace(pair([4, 4]), mark=100.0), -6, 95.0, 96.0)
    assert short.haircut.sum() == pytest.approx(30.0)


def test_size_times_leverage_takes_more_of_the_leveraged():
    crowd = replace(pair([-10, -10]), account_value=np.array([100.0, 300.0]))
    found = deleverage(spec(allocation="risk_aware"), crowd, 8, 95.0, 96.0)
    assert found.change.tolist() == [6, 2]
    capped = deleverage(spec(allocation="risk_aware"), crowd, 16, 95.0, 96.0)
    assert capped.change.tolist() == [10, 6]


@SETTINGS
@given(st.data())
def test_whole_shares_add_up_and_are_next_to_the_proportion(data):
    size = data.draw(st.integers(1, 8))
    room = np.array(data.draw(st.lists(SIZES, min_size=size, max_size=size)))
    weight = np.array(
        data.draw(
            st.lists(st.one_of(st.just(0.0), st.floats(0.01, 1e6)), min_size=size, max_size=size)
        )
    )
    total = data.draw(st.integers(0, int(room.sum())))
    share = whole_shares(total, weight, room, np.arange(size))
    assert share.sum() == total
    assert ((share >= 0) & (share <= room)).all()
    ideal = total * weight / weight.sum() if weight.sum() > 0.0 else room + 1.0
    if (ideal <= room).all():
        assert (np.abs(share - ideal) < 1.0 + 1e-6 + 1e-14 * ideal).all()


def test_a_rule_of_one_s_own_is_another_name():
    rankings = {**RANKINGS, "largest": lambda crowd: crowd.notional}
    found = deleverage(spec("largest"), pair([-3, -5]), 4, 95.0, 96.0, rankings)
    assert found.change.tolist() == [0, 4]
    with pytest.raises(ValueError, match="ranking is 'largest'"):
        deleverage(spec("largest"), pair([-3, -5]), 4, 95.0, 96.0)


def test_parts_of_lots_and_prices_of_nothing_are_refused():
    with pytest.raises(ValueError, match="whole lots"):
        deleverage(spec(), replace(pair([-1]), quantity=np.array([-1.5])), 1, 95.0, 96.0)
    with pytest.raises(ValueError, match=r"bankruptcy price is 0\.0"):
        deleverage(spec(), pair([-1]), 1, 0.0, 96.0)
