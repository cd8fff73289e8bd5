"""Credits between underlyings, against loops over accounts and by hand."""

from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from risk.scan.credits import netting_pools, spread_credit


def one_pool(units, pairs):
    """Credit the units of one account, ``(underlying, loss, delta)``, pair after pair."""
    lost, delta = defaultdict(float), defaultdict(float)
    for underlying, loss, gain in units:
        lost[underlying] += loss
        delta[underlying] += gain
    left, credit = dict(delta), 0.0
    for one, other, rate in pairs:
        a, b = left.get(one, 0.0), left.get(other, 0.0)
        if not (a > 0.0 > b or b > 0.0 > a):
            continue
        spread = min(abs(a), abs(b))
        credit += rate * sum(lost[name] * spread / abs(delta[name]) for name in (one, other))
        left[one] -= spread if a > 0.0 else -spread
        left[other] -= spread if b > 0.0 else -spread
    return credit


UNIT = st.tuples(
    st.integers(0, 3), st.floats(0.0, 1e6), st.one_of(st.just(0.0), st.floats(-1e6, 1e6))
)
PAIRS = st.lists(
    st.tuples(st.sampled_from([(0, 1), (1, 2), (0, 2), (2, 3)]), st.floats(0.0, 1.0)),
    unique_by=lambda pair: pair[0],
).map(lambda found: [(*codes, rate) for codes, rate in found])


@settings(deadline=None, max_examples=150)
@given(accounts=st.lists(st.lists(UNIT, max_size=6), min_size=1, max_size=4), pairs=PAIRS)
def test_credits_are_the_twins_and_never_above_the_losses(accounts, pairs):
    units = [(pool, *unit) for pool, held in enumerate(accounts) for unit in held]
    if not units:
        return
    pool, underlying, loss, delta = (np.array(column) for column in zip(*units, strict=True))
    found = spread_credit(pool, underlying, loss, delta, pairs)
    assert len(found) == pool.max() + 1
    for number, credit in enumerate(found.tolist()):
        own = [unit for at, *unit in units if at == number]
        assert credit == pytest.approx(one_pool(own, pairs), rel=1e-9, abs=1e-9)
        assert 0.0 <= credit <= loss[pool == number].sum() + 0.0


def test_a_spread_by_hand():
    # Long 100 of one coin that loses 30, short 40 of another that loses 8: 40 of each is spread.
    pool, coins = np.zeros(2, dtype=np.int64), np.array([0, 1])
    loss, delta = np.array([30.0, 8.0]), np.array([100.0, -40.0])
    assert spread_credit(pool, coins, loss, delta, [(0, 1, 0.5)]).tolist() == [0.5 * (12.0 + 8.0)]
    assert spread_credit(pool, coins, loss, np.abs(delta), [(0, 1, 0.5)]).tolist() == [0.0]
    assert spread_credit(pool, coins, loss, delta, [(1, 2, 0.5)]).tolist() == [0.0]


def test_pairs_are_taken_in_their_order_from_what_is_left():
    pool, coins = np.zeros(3, dtype=np.int64), np.array([0, 1, 2])
    loss, delta = np.array([10.0, 6.0, 6.0]), np.array([100.0, -60.0, -60.0])
    # 60 of the second coin, and the 40 that are left for the third.
    found = spread_credit(pool, coins, loss, delta, [(0, 1, 1.0), (0, 2, 0.5)])
    assert found.tolist() == pytest.approx([6.0 + 6.0 + 0.5 * (4.0 + 4.0)])


def test_only_what_nets_is_credited():
    account = np.array([0, 0, 1, 1, 2, 2, 3])
    currency = np.array([4, 4, 4, 5, 4, 5, 4])
    found = netting_pools(account, currency, np.array([0, 1, 2, 1], np.int8))
    together = [[int(a == b) for b in found] for a in found]
    assert together == [
        [1, 0, 0, 0, 0, 0, 0],
        [0, 1, 0, 0, 0, 0, 0],
        [0, 0, 1, 0, 0, 0, 0],
        [0, 0, 0, 1, 0, 0, 0],
        [0, 0, 0, 0, 1, 1, 0],
        [0, 0, 0, 0, 1, 1, 0],
        [0, 0, 0, 0, 0, 0, 1],
    ]
    assert sorted(set(found.tolist())) == list(range(found.max() + 1))
    assert netting_pools(account[:0], currency[:0], np.zeros(0, np.int8)).size == 0
