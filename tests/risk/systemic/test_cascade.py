"""A round of a liquidation cascade against a slow twin, by hand, and what must hold of any."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from risk.kernels.sums import UNIT
from risk.systemic.cascade import CLOSING, LiquidationRules, cascade_round
from risk.systemic.requirement import UnitMaintenance
from risk.systemic.settlement import settle
from risk.systemic.stressed import Liquidated, StressedAccounts


def rounded(amount):
    return np.rint(amount / UNIT) * UNIT


def part_closed(rules, equity, required, fee, remaining):
    """What of the first positions a rule closes, from its words."""
    if rules.closing == "all" or equity <= 0.0:
        return remaining
    if rules.closing == "slice":
        return min(rules.slice, remaining)
    # equity - c fee = target (1 - c) required, for the part c of what remains
    freed = rules.target * required - fee
    part = (rules.target * required - equity) / freed if freed > 0.0 else 1.0
    return min(max(part * remaining, rules.slice), remaining)


def grown(accounts, rows, unit, scenario):
    """What the maintenance of an account has grown to, 1 at first."""
    if unit is None:
        return 1.0
    before, now = 0.0, 0.0
    for p in rows:
        side, size = int(accounts.quantity[p] <= 0.0), abs(accounts.quantity[p])
        before += size * unit.first[side, accounts.instrument[p]]
        now += size * unit.now[side, accounts.instrument[p], scenario]
    return now / before if before > 0.0 else 1.0


def twin_round(accounts, remaining, cash, cube, notional, active, rules, unit, at_bankruptcy):
    """The same round with every account in the state, ``(account, scenario)``."""
    sold, taken, handed = np.zeros(cube.shape), *np.zeros((2, 2, *cube.shape))
    liquidated = np.zeros(cube.shape[1], dtype=int)
    remaining, cash = remaining.copy(), cash.copy()
    for a in range(len(accounts)):
        rows = range(accounts.offsets[a], accounts.offsets[a + 1])
        if accounts.group[a] < 0 or not len(rows):
            continue
        gross = 0.0
        for p in rows:
            gross += abs(accounts.quantity[p]) * notional[accounts.instrument[p]]
        for s in np.flatnonzero(active):
            pnl = 0.0
            for p in rows:
                pnl += accounts.quantity[p] * cube[accounts.instrument[p], s]
            left = remaining[a, s]
            equity = accounts.equity[a] + cash[a, s] + left * pnl
            required = left * (accounts.maintenance[a] * grown(accounts, rows, unit, s))
            if left <= 0.0 or equity >= required:
                continue
            vault = rules.backstop > 0.0 and equity < rules.backstop * required
            fee = 0.0 if vault else rules.fee * left * gross
            part = left if vault else part_closed(rules, equity, required, fee, left)
            had = 0.0
            if vault and at_bankruptcy and gross > 0.0:
                had = cash[a, s] + left * pnl + max(accounts.equity[a], 0.0)
                cash[a, s] = -max(accounts.equity[a], 0.0)
            elif vault:
                cash[a, s] += left * pnl
            else:
                cash[a, s] += part * pnl - rules.fee * part * gross
            remaining[a, s] = left - part
            liquidated[s] += 1
            for p in rows:
                i, side = accounts.instrument[p], int(accounts.quantity[p] <= 0.0)
                size = rounded(part * accounts.quantity[p] * notional[i])
                if not vault:
                    sold[i, s] += size
                    continue
                taken[side, i, s] += size
                if had != 0.0:
                    share = abs(accounts.quantity[p]) * notional[i] / gross
                    handed[side, i, s] += rounded(had * share)
    return remaining, cash, sold, taken, handed, liquidated


def dense(state, accounts, scenarios):
    remaining, cash = np.ones((accounts, scenarios)), np.zeros((accounts, scenarios))
    some = np.flatnonzero(state.row >= 0)
    remaining[some], cash[some] = state.remaining[state.row[some]], state.cash[state.row[some]]
    return remaining, cash


money = st.floats(-1e6, 1e6, allow_nan=False).map(lambda x: round(x, 2))


@st.composite
def cases(draw):
    accounts, instruments = draw(st.integers(1, 6)), draw(st.integers(1, 4))
    scenarios = draw(st.integers(1, 4))
    counts = draw(st.lists(st.integers(0, 4), min_size=accounts, max_size=accounts))
    held = sum(counts)

    def array(elements, *shape):
        size = int(np.prod(shape))
        values = draw(st.lists(elements, min_size=size, max_size=size))
        return np.array(values, dtype=np.float64).reshape(shape)

    book = StressedAccounts(
        offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        instrument=array(st.integers(0, instruments - 1), held).astype(np.int32),
        quantity=array(st.floats(-50, 50).map(lambda x: round(x, 3)), held),
        equity=array(money, accounts),
        maintenance=array(st.floats(0, 1e5), accounts),
        group=array(st.integers(-1, 2), accounts).astype(np.int32),
    )
    rules = LiquidationRules(
        closing=draw(st.sampled_from(CLOSING)),
        slice=draw(st.sampled_from([0.1, 0.5, 1.0])),
        target=draw(st.sampled_from([1.0, 1.05, 2.0])),
        fee=draw(st.sampled_from([0.0, 0.01])),
        backstop=draw(st.sampled_from([0.0, 2.0 / 3.0])),
    )
    cubes = [array(money, instruments, scenarios) / 100.0 for _ in range(3)]
    active = array(st.booleans(), scenarios).astype(np.bool_)
    units = st.floats(0.0, 1e3).map(lambda x: round(x, 3))
    unit = UnitMaintenance(array(units, 2, instruments), array(units, 2, instruments, scenarios))
    how = {"unit": draw(st.sampled_from([None, unit])), "at_bankruptcy": draw(st.booleans())}
    return book, cubes, array(st.floats(1.0, 1e4), instruments), active, rules, how


@settings(max_examples=150, deadline=None)
@given(cases())
def test_three_rounds_are_those_of_the_twin(case):
    book, cubes, notional, active, rules, how = case
    scenarios = cubes[0].shape[1]
    state = Liquidated.nobody(len(book), scenarios)
    remaining, cash = dense(state, len(book), scenarios)
    for cube in cubes:
        found = cascade_round(book, state, cube, notional, active, rules, **how)
        *twin, sold, taken, handed, liquidated = twin_round(
            book, remaining, cash, cube, notional, active, rules, **how
        )
        remaining, cash = twin
        state = found.state
        mine = dense(state, len(book), scenarios)
        np.testing.assert_array_equal(mine[0], remaining)
        np.testing.assert_array_equal(mine[1], cash)
        np.testing.assert_array_equal(found.sold, sold)
        np.testing.assert_array_equal(found.taken, taken)
        np.testing.assert_array_equal(found.handed, handed)
        np.testing.assert_array_equal(found.liquidated, liquidated)
        assert (found.sold[:, ~active] == 0.0).all()
        assert ((remaining >= 0.0) & (remaining <= 1.0)).all()


@settings(max_examples=60, deadline=None)
@given(cases(), st.integers(0, 6))
def test_how_accounts_are_cut_changes_no_bit(case, cut):
    book, cubes, notional, active, rules, how = case
    cut = min(cut, len(book))
    scenarios = cubes[0].shape[1]
    whole = cascade_round(
        book, Liquidated.nobody(len(book), scenarios), cubes[0], notional, active, rules, **how
    )
    lost = settle(book, whole.state, cubes[1], 3)
    parts = [part_of(book, 0, cut), part_of(book, cut, len(book))]
    halves = [
        cascade_round(
            one, Liquidated.nobody(len(one), scenarios), cubes[0], notional, active, rules, **how
        )
        for one in parts
    ]
    losses = [settle(one, half.state, cubes[1], 3) for one, half in zip(parts, halves, strict=True)]
    for name in ("sold", "taken", "handed", "liquidated"):
        summed = sum(getattr(half, name) for half in halves)
        np.testing.assert_array_equal(getattr(whole, name), summed)
    for name in ("lost", "uncovered", "defaulted", "touched"):
        summed = sum(getattr(one, name) for one in losses)
        np.testing.assert_array_equal(getattr(lost, name), summed)


def part_of(book, start, stop):
    rows = slice(book.offsets[start], book.offsets[stop])
    return StressedAccounts(
        book.offsets[start : stop + 1] - rows.start,
        book.instrument[rows],
        book.quantity[rows],
        book.equity[start:stop],
        book.maintenance[start:stop],
        book.group[start:stop],
    )


def one_account(quantity, equity, maintenance):
    return StressedAccounts(
        offsets=np.array([0, 1]),
        instrument=np.zeros(1, np.int32),
        quantity=np.array([quantity]),
        equity=np.array([equity]),
        maintenance=np.array([maintenance]),
        group=np.zeros(1, np.int32),
    )


def step(book, fall, rules, state=None):
    state = state or Liquidated.nobody(len(book), 1)
    active = np.ones(1, np.bool_)
    return cascade_round(book, state, np.array([[-fall]]), np.array([100.0]), active, rules)


def test_equity_is_restored_to_its_target_by_hand():
    # 10 contracts of 100, equity 120, maintenance 100; a fall of 3 leaves 90, below 100. With a
    # target of 1.2 and a fee of 1 %: 90 - 10 c = 120 (1 - c), so c = 30 / 110.
    rules = LiquidationRules(closing="to_target", slice=0.1, target=1.2, fee=0.01)
    found = step(one_account(10.0, 120.0, 100.0), 3.0, rules)
    closed = 30.0 / 110.0
    assert found.state.remaining[0, 0] == pytest.approx(1.0 - closed)
    assert found.state.cash[0, 0] == pytest.approx(-30.0 * closed - 10.0 * closed)
    assert found.sold[0, 0] == pytest.approx(1000.0 * closed, abs=UNIT)
    equity = 120.0 + found.state.cash[0, 0] - 30.0 * (1.0 - closed)
    assert equity == pytest.approx(1.2 * 100.0 * (1.0 - closed))
    again = step(one_account(10.0, 120.0, 100.0), 3.0, rules, found.state)
    assert again.liquidated.tolist() == [0]


def test_a_vault_takes_what_is_far_below_and_nothing_is_sold():
    rules = LiquidationRules(closing="all", fee=0.01, backstop=2.0 / 3.0)
    found = step(one_account(10.0, 120.0, 100.0), 6.0, rules)  # equity 60, two thirds are 66.67
    assert found.taken.tolist() == [[[1000.0]], [[0.0]]]
    assert found.sold.tolist() == [[0.0]]
    assert found.state.cash.tolist() == [[-60.0]]


def test_without_a_vault_even_what_is_under_water_is_sold():
    rules = LiquidationRules(closing="to_target", fee=0.01, backstop=0.0)
    found = step(one_account(10.0, 120.0, 100.0), 13.0, rules)  # equity is -10
    assert found.taken.tolist() == [[[0.0]], [[0.0]]]
    assert found.sold.tolist() == [[1000.0]]
    assert found.state.cash.tolist() == [[-140.0]]


def test_losses_are_at_the_prices_of_closing_and_beyond_equity_by_group():
    rules = LiquidationRules(closing="all", fee=0.0)
    book = one_account(10.0, 50.0, 40.0)
    state = step(book, 8.0, rules).state
    for later in (1.0, 30.0):
        losses = settle(book, state, np.array([[-later]]), groups=2)
        assert losses.lost.tolist() == [80.0]
        assert losses.uncovered.tolist() == [[30.0], [0.0]]
        assert losses.defaulted.tolist() == [[1], [0]]
        assert losses.touched.tolist() == [1]


def test_an_account_without_positions_is_never_hit():
    flat = StressedAccounts(
        offsets=np.array([0, 0]),
        instrument=np.zeros(0, np.int32),
        quantity=np.zeros(0),
        equity=np.array([-5.0]),
        maintenance=np.array([10.0]),
        group=np.zeros(1, np.int32),
    )
    found = step(flat, 50.0, LiquidationRules())
    assert found.liquidated.tolist() == [0]
    losses = settle(flat, found.state, np.array([[-50.0]]), groups=1)
    assert (losses.lost.sum(), losses.uncovered.sum(), losses.touched.sum()) == (0.0, 0.0, 0)


@settings(max_examples=40, deadline=None)
@given(cases(), st.lists(st.floats(0.0, 0.9), min_size=2, max_size=6).map(sorted))
def test_a_more_severe_fall_never_lowers_the_loss_of_longs(case, falls):
    """Linear, without a vault, and where selling moves no price: a jump and one round."""
    book, _, notional, _, rules, _ = case
    longs = dataclasses.replace(book, quantity=np.abs(book.quantity))
    closing = "all" if rules.closing == "to_target" else rules.closing
    rules = rules.model_copy(update={"backstop": 0.0, "closing": closing})
    cube = -notional[:, np.newaxis] * np.array(falls)
    nobody = Liquidated.nobody(len(longs), len(falls))
    done = cascade_round(longs, nobody, cube, notional, np.ones(len(falls), np.bool_), rules)
    for state in (nobody, done.state):
        losses = settle(longs, state, cube, 3)
        assert (np.diff(losses.lost) >= 0.0).all()
        assert (np.diff(losses.uncovered, axis=1) >= 0.0).all()
        assert (np.diff(losses.touched) >= 0).all()
