"""Crossings along a price: against roots that are known, and where there are none."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from risk.liquidation import cross_margin_liquidation_price
from risk.price_path import HIGHEST, nearest_crossings, path_moves

SETTINGS = settings(deadline=None, max_examples=100)


@SETTINGS
@given(st.floats(-0.99, 4.9), st.booleans())
def test_the_root_of_a_line_is_found(root, rising):
    if abs(root) < 1e-3:
        return
    sign = -np.sign(root)
    found = nearest_crossings(lambda move: sign * (move - root))
    one, other = (found.below, found.above) if root < 0 else (found.above, found.below)
    assert one == pytest.approx(root, abs=2e-6)
    assert other is None


def test_a_straddle_is_liquidated_on_both_sides():
    found = nearest_crossings(lambda move: 0.3 - abs(move))
    assert (found.below, found.above) == pytest.approx((-0.3, 0.3), abs=2e-6)


def test_the_nearest_of_two_is_the_one():
    found = nearest_crossings(lambda move: np.cos(4.0 * move))
    assert found.above == pytest.approx(np.pi / 8, abs=2e-6)


def test_what_is_returned_is_on_the_wrong_side():
    found = nearest_crossings(lambda move: 0.3 + move)
    assert 0.3 + found.below < 0.0


def test_an_account_that_is_past_it_has_no_price():
    assert nearest_crossings(lambda move: -1.0 + 10.0 * move) is None


def test_nothing_is_found_beyond_the_ends():
    assert nearest_crossings(lambda move: HIGHEST + 1e-3 - move).above is None
    down, up = path_moves()
    assert (np.diff(down) < 0.0).all()
    assert (np.diff(up) > 0.0).all()
    assert down[-1] > -1.0


@SETTINGS
@given(st.floats(1.0, 90.0), st.floats(-5.0, 5.0), st.floats(0.0, 0.05))
def test_a_linear_position_is_liquidated_where_the_closed_form_says(equity, size, rate):
    closed = cross_margin_liquidation_price(equity, 100.0, size, rate)

    def surplus(move):
        price = 100.0 * (1.0 + move)
        return equity + size * (price - 100.0) - abs(size) * price * rate

    found = nearest_crossings(surplus)
    if surplus(0.0) < 0.0:
        assert found is None
        return
    move = closed.price.item() / 100.0 - 1.0
    side = {-1: found.below, 1: found.above}.get(int(closed.side))
    if side is not None:
        assert side == pytest.approx(move, abs=2e-6)
    elif closed.side:
        assert not -0.999 < move < HIGHEST
