"""Fire sales against the matrices of the papers, plain loops and a grid of prices."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from risk.systemic.clearing import Debt, clear
from risk.systemic.fire_sales import (
    capital_ratio_sales,
    greatest_price,
    leverage_targeting,
    overlap,
    threshold_sales,
)

SETTINGS = settings(deadline=None, max_examples=100)


@st.composite
def books(draw):
    holders, assets = draw(st.integers(1, 4)), draw(st.integers(1, 3))
    flat = draw(
        st.lists(st.floats(1.0, 100.0), min_size=holders * assets, max_size=holders * assets)
    )
    held = np.array(flat).reshape(holders, assets)
    ratio = draw(st.lists(st.floats(0.02, 0.9), min_size=holders, max_size=holders))
    shock = draw(st.lists(st.floats(0.0, 0.3), min_size=assets, max_size=assets))
    depth = draw(st.lists(st.floats(100.0, 1e4), min_size=assets, max_size=assets))
    return held, held.sum(axis=1) * np.array(ratio), np.array(shock), np.array(depth)


def test_two_banks_with_one_asset_by_hand():
    """Loss 4.5 each, 8 times that sold by each, 72 in all at 0.001: a fall of 7.2 % of 180."""
    found = leverage_targeting([[90.0], [90.0]], [10.0, 10.0], [0.05], [0.001])
    np.testing.assert_allclose(found.sold, [[36.0], [36.0]])
    np.testing.assert_allclose(found.price_fall, [0.072])
    np.testing.assert_allclose(found.second_loss, [6.48, 6.48])
    assert found.aggregate_vulnerability == pytest.approx(0.648)


@SETTINGS
@given(books(), st.floats(1e-9, 1e-4))
def test_vulnerability_is_that_of_the_matrices(book, slope):
    """AV = 1' A M L M' B A M F / E of Greenwood, Landier and Thesmar, where nobody is wiped out."""
    held, equity, shock, _ = book
    shock = shock * min(1.0, 0.99 * (equity / np.maximum(held @ shock, 1e-12)).min())
    size = held.sum(axis=1)
    a, b = np.diag(size), np.diag((size - equity) / equity)
    m, impact = held / size[:, None], slope * np.eye(held.shape[1])
    chain = a @ m @ impact @ m.T @ b @ a @ m @ shock
    found = leverage_targeting(held, equity, shock, slope)
    assert found.aggregate_vulnerability == pytest.approx(chain.sum() / equity.sum(), rel=1e-9)
    assert found.systemicness.sum() == pytest.approx(found.aggregate_vulnerability, rel=1e-9)
    np.testing.assert_allclose(found.indirect_vulnerability, chain / equity, rtol=1e-9, atol=1e-300)


def test_gains_lead_to_purchases_and_ruin_to_the_sale_of_all():
    assert (leverage_targeting([[90.0]], [10.0], [-0.05], [0.001]).sold < 0.0).all()
    found = leverage_targeting([[90.0]], [10.0], [0.2], [0.001])
    np.testing.assert_allclose(found.sold, [[72.0]])


@SETTINGS
@given(books(), st.floats(5.0, 30.0), st.floats(0.6, 1.0))
def test_threshold_sales_are_those_of_plain_loops(book, limit, part):
    held, equity, shock, depth = book
    target = 1.0 + (limit - 1.0) * part
    price = [1.0 - s for s in shock]
    left = held.tolist()
    own = [
        e - sum(q * s for q, s in zip(row, shock, strict=True))
        for e, row in zip(equity, left, strict=True)
    ]
    # Whether equity that rounds to nothing is any, the order of a sum decides.
    assume(min(map(abs, own)) > 1e-9)
    rounds = 0
    while True:
        sales = []
        for row, e in zip(left, own, strict=True):
            value = sum(q * p for q, p in zip(row, price, strict=True))
            wanted = 0.0
            if e > 0.0 and value > limit * e:
                wanted = min(1.0, (value - target * e) / value)
            sales.append([wanted * q for q in row])
        if sum(map(sum, sales)) <= 1e-9 * held.sum():
            break
        rounds += 1
        lower = [p * np.exp(-sum(row[k] for row in sales) / depth[k]) for k, p in enumerate(price)]
        for i, row in enumerate(sales):
            for k, sold in enumerate(row):
                left[i][k] -= sold
                own[i] -= (left[i][k] + sold / 2.0) * (price[k] - lower[k])
        price = lower
    found = threshold_sales(held, 0.0, equity, shock, depth, limit, target)
    assert found.rounds == rounds
    np.testing.assert_allclose(found.price, price, rtol=1e-9)
    np.testing.assert_allclose(found.equity, own, rtol=1e-7, atol=1e-7)
    assert (found.fire_sale_loss >= -1e-9).all()


def test_nobody_sells_within_the_bound():
    """A gain or a small loss forces nothing: this is what tells it from leverage targets."""
    found = threshold_sales([[100.0]], [0.0], [10.0], [0.005], [100.0], 15.0, 10.0)
    assert found.rounds == 0
    assert not found.sold.any()
    np.testing.assert_allclose(found.price, [0.995])


def test_insolvent_and_illiquid_are_told_apart():
    held, fixed = [[10.0], [10.0]], [0.0, 90.0]
    found = threshold_sales(held, fixed, [0.4, 4.0], [0.05], [1e9], 20.0, 15.0)
    assert found.insolvent.tolist() == [True, False]
    assert found.illiquid.tolist() == [False, True]


def test_overlap_is_the_first_order_loss():
    held, depth = np.array([[3.0, 1.0], [2.0, 0.0]]), np.array([1e6, 2e6])
    fall = 1.0 - np.exp(-held[1] / depth)
    np.testing.assert_allclose(overlap(held, depth)[0, 1], held[0] @ fall, rtol=1e-5)


@SETTINGS
@given(
    st.lists(st.floats(1.0, 10.0), min_size=1, max_size=4),
    st.floats(0.0, 0.15),
    st.floats(0.05, 0.4),
)
def test_the_greatest_price_is_the_first_of_a_grid_from_above(quantity, slope, ratio):
    held = np.array(quantity)
    cash, debt = 0.1 * held, 0.95 * held

    def sales(price):
        return capital_ratio_sales(price, held, cash, debt, ratio).sum()

    def price(sold):
        return np.exp(-slope * sold)

    found = float(greatest_price(sales, price, tolerance=1e-10))
    assert found == pytest.approx(float(price(sales(found))), abs=1e-8)
    above = np.linspace(found, 1.0, 500)[1:-1]
    excess = np.array([p - price(sales(p)) for p in above])
    assert (excess > -1e-8).all()


def test_prices_and_clearing_have_one_fixed_point():
    """A default takes a creditor's capital, which sells, which lowers what the debtor can pay."""
    quantity, cash, debt = np.array([10.0, 10.0]), np.array([0.0, 0.5]), np.array([9.0, 8.0])
    claims = np.array([[0.0, 2.0], [0.0, 0.0]])

    def sales(price, received):
        owed = debt + claims.sum(axis=1)
        return capital_ratio_sales(price, quantity, cash + received, owed, 0.5).sum()

    def cleared(price):
        return sales(price, clear(price * quantity + cash, Debt(claims, debt)).received)

    def price_at(sold):
        return np.exp(-0.005 * sold)

    joint = greatest_price(cleared, price_at)
    at_face_value = greatest_price(lambda price: sales(price, claims.sum(axis=0)), price_at)
    assert joint < at_face_value - 1e-3
    assert joint == pytest.approx(float(price_at(cleared(joint))), abs=1e-10)
