"""Winners that close against what a cascade left bankrupt: by hand, and what must hold of any."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from risk.kernels.sums import UNIT
from risk.systemic.cascade import LiquidationRules, cascade_round
from risk.systemic.deleveraging import RANKINGS, Candidates, DeleveragingSpec, deleverage
from risk.systemic.requirement import UnitMaintenance
from risk.systemic.settlement import settle
from risk.systemic.stressed import Liquidated, StressedAccounts, gains
from risk.systemic.winners import (
    Bankrupt,
    Line,
    agreed,
    closed,
    given_up,
    left_by_accounts,
    left_by_vault,
    line_up,
)

ONE = np.ones(1, np.bool_)


def held_by(rows, equity, maintenance=None, group=None):
    """Accounts by what each holds: (instrument, quantity) after (instrument, quantity)."""
    flat = [one for row in rows for one in row]
    return StressedAccounts(
        offsets=np.cumsum([0, *map(len, rows)]),
        instrument=np.array([one for one, _ in flat], np.int32),
        quantity=np.array([size for _, size in flat], np.float64),
        equity=np.asarray(equity, np.float64),
        maintenance=np.zeros(len(rows)) if maintenance is None else np.asarray(maintenance, float),
        group=np.zeros(len(rows), np.int32) if group is None else np.asarray(group, np.int32),
    )


def test_a_bankrupt_long_is_closed_against_shorts_by_hand():
    # A is long 10 of 100 with an equity of 200 and a maintenance of 50; after a fall of 25 it owes
    # 50 and is taken over at bankruptcy, where it has nothing: 10 contracts lack 50 at 75. B is
    # short 4 on 100, C short 6 on 300; both gain 25 a contract. ZUBR: 25 % times leverage, 300 over
    # 200 and 450 over 450, so B is first: it closes 4 and gives up 20, C the other 6 and 30.
    book = held_by(
        [[(0, 10.0)], [(0, -4.0)], [(0, -6.0)], []], [200.0, 100.0, 300.0, 9.0], [50] * 4
    )
    cube, notional = np.array([[-25.0]]), np.array([100.0])
    rules = LiquidationRules(backstop=2.0 / 3.0)
    done = cascade_round(
        book, Liquidated.nobody(4, 1), cube, notional, ONE, rules, at_bankruptcy=True
    )
    assert done.taken[:, 0, 0].tolist() == [1000.0, 0.0]
    assert done.handed[:, 0, 0].tolist() == [-50.0, 0.0]
    assert done.state.cash.tolist() == [[-200.0]]
    bankrupt = left_by_accounts(done.taken, done.handed)
    line = line_up(book, done.state, cube, notional, bankrupt, "zubr")
    assert line.account.tolist() == [1, 2]
    assert line.score.tolist() == pytest.approx([0.25 * 1.5, 0.25])
    units = closed(line, bankrupt)
    assert (UNIT * units).tolist() == [400.0, 600.0]
    money = given_up(line, units, bankrupt)
    assert money.tolist() == [20.0, 30.0]
    state = done.state.less(line.account, line.scenario, money)
    assert gains(book, state, cube)[:, 0].tolist() == [-200.0, 80.0, 120.0, 0.0]
    # Nobody owes anything any more, and what all have gained still sums to zero.
    assert settle(book, state, cube, 1).uncovered.tolist() == [[0.0]]


def test_who_had_something_left_at_the_backstop_loses_it_to_winners():
    book = held_by([[(0, 10.0)], [(0, -10.0)]], [270.0, 100.0], [50.0, 0.0])
    cube, notional = np.array([[-25.0]]), np.array([100.0])
    done = cascade_round(
        book, Liquidated.nobody(2, 1), cube, notional, ONE, LiquidationRules(backstop=0.5),
        at_bankruptcy=True,
    )  # fmt: skip
    bankrupt = left_by_accounts(done.taken, done.handed)
    line = line_up(book, done.state, cube, notional, bankrupt, "zubr")
    assert given_up(line, closed(line, bankrupt), bankrupt).tolist() == [-20.0]


def test_a_vault_closes_its_whole_book_once_it_lost_more_than_its_means():
    # Longs of 600 and shorts of 200 in one instrument, shorts of 100 in another; it lost 90.
    taken = np.array([[[600.0], [0.0]], [[-200.0], [-100.0]]])
    pnl = np.array([[[-70.0], [0.0]], [[-5.0], [-15.0]]])
    assert not left_by_vault(taken, pnl, 90.0).units.any()
    found = left_by_vault(taken, pnl, 40.0)
    assert (UNIT * found.units)[..., 0].tolist() == [[400.0, 0.0], [0.0, 100.0]]
    assert (found.units * found.lacking * UNIT).sum() == pytest.approx(50.0)
    assert found.lacking[0, 0, 0] == found.lacking[1, 1, 0] == pytest.approx(0.1)


def test_winners_pay_for_what_is_lacking_in_all_by_hand():
    # Longs of 10 lack 50 and shorts of 10, against which nobody stands, gained 30: the vault lacks
    # 20. B and C, who would give up 20 and 30, give up 8 and 12.
    taken = np.array([[[1000.0], [0.0]], [[0.0], [-1000.0]]])
    pnl = np.array([[[-50.0], [0.0]], [[0.0], [30.0]]])
    book = held_by([[(0, -4.0)], [(0, -6.0)]], [100.0, 300.0])
    cube = np.array([[-25.0], [-3.0]])
    bankrupt = left_by_accounts(taken, pnl)
    state = Liquidated.nobody(2, 1)
    line = line_up(book, state, cube, np.full(2, 100.0), bankrupt, "zubr")
    asked = given_up(line, closed(line, bankrupt), bankrupt)
    assert asked.tolist() == [20.0, 30.0]
    assert agreed(line, asked, np.array([20.0])).tolist() == [8.0, 12.0]
    assert agreed(line, asked, np.array([50.0])).tolist() == [20.0, 30.0]
    # Who is given something keeps it, and the others pay for that.
    assert agreed(line, np.array([-10.0, 30.0]), np.array([0.0])).tolist() == [-10.0, 10.0]
    # Where nobody pays, a vault gives no more than it gained in all.
    assert agreed(line, np.array([-10.0, -30.0]), np.array([-20.0])).tolist() == [-5.0, -15.0]


def test_a_winner_gives_up_no_more_than_it_has_by_hand():
    # A is long 10 of 100 on 200 and owes 550 after a fall to 25. B is short 4 on 10 and C short 6
    # on 900: they gain 75 a contract, and are asked for 55 of it. B lost 200 elsewhere, has 110
    # left and is asked for 220: it gives all it has, and the vault is left with the other 110.
    book = held_by(
        [[(0, 10.0)], [(0, -4.0), (1, 4.0)], [(0, -6.0)]], [200.0, 10.0, 900.0], [50, 0, 0]
    )
    cube, notional = np.array([[-75.0], [-50.0]]), np.full(2, 100.0)
    done = cascade_round(
        book, Liquidated.nobody(3, 1), cube, notional, ONE, LiquidationRules(backstop=0.5),
        at_bankruptcy=True,
    )  # fmt: skip
    bankrupt = left_by_accounts(done.taken, done.handed)
    line = line_up(book, done.state, cube, notional, bankrupt, "zubr")
    asked = given_up(line, closed(line, bankrupt), bankrupt)
    assert dict(zip(line.account.tolist(), asked.tolist(), strict=True)) == {1: 220.0, 2: 330.0}
    found = agreed(line, asked, np.array([550.0]))
    assert dict(zip(line.account.tolist(), found.tolist(), strict=True)) == {1: 110.0, 2: 330.0}
    state = done.state.less(line.account, line.scenario, found)
    assert settle(book, state, cube, 1).uncovered.tolist() == [[0.0]]


def test_maintenance_in_the_ranking_is_that_of_the_end():
    # Binance ranks by maintenance over what there is: a short's that doubles, doubles its score.
    book = held_by([[(0, -4.0)]], [100.0], [30.0])
    bankrupt = left_by_accounts(np.array([[[400.0]], [[0.0]]]), np.array([[[-10.0]], [[0.0]]]))
    unit = UnitMaintenance(np.array([[1.0], [3.0]]), np.array([[[9.0]], [[6.0]]]))
    plain, grown = (
        line_up(
            book, Liquidated.nobody(1, 1), np.array([[-25.0]]), np.array([100.0]), bankrupt,
            "binance", unit=one,
        ).score
        for one in (None, unit)
    )  # fmt: skip
    assert plain.tolist() == pytest.approx([1.0 * 30.0 / 200.0])
    assert grown.tolist() == pytest.approx([2.0 * plain[0]])


money = st.floats(-1e4, 1e6).map(lambda x: round(x, 2))


@st.composite
def cases(draw):
    instruments, scenarios = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    accounts = draw(st.integers(1, 7))
    one = st.tuples(st.integers(0, instruments - 1), st.integers(-40, 40).map(lambda x: x / 4.0))
    rows = draw(
        st.lists(
            st.lists(one, max_size=3, unique_by=lambda x: x[0]), min_size=accounts,
            max_size=accounts,
        )
    )  # fmt: skip
    equity = draw(st.lists(money, min_size=accounts, max_size=accounts))
    group = draw(st.lists(st.integers(-1, 1), min_size=accounts, max_size=accounts))

    def cells(elements, *shape):
        size = int(np.prod(shape))
        values = draw(st.lists(elements, min_size=size, max_size=size))
        return np.array(values).reshape(shape)

    book = held_by(rows, equity, np.full(accounts, 30.0), group)
    shape = (2, instruments, scenarios)
    units = cells(st.integers(0, 3_000).map(lambda x: x / UNIT), *shape).astype(np.int64)
    bankrupt = Bankrupt(units, cells(st.floats(-0.1, 0.4), *shape))
    cube = cells(st.floats(-60.0, 90.0).map(lambda x: round(x, 1)), instruments, scenarios)
    state = Liquidated.nobody(accounts, scenarios)
    if draw(st.booleans()):
        rules = LiquidationRules(closing="slice", slice=0.3)
        every = np.ones(scenarios, np.bool_)
        state = cascade_round(book, state, cube, np.full(instruments, 100.0), every, rules).state
    return book, state, cube, np.full(instruments, 100.0), bankrupt


@settings(max_examples=60, deadline=None)
@given(cases())
def test_contracts_sum_to_what_they_did_and_only_who_holds_some_is_hit(case):
    book, state, cube, notional, bankrupt = case
    line = line_up(book, state, cube, notional, bankrupt, "bitmex")
    units = closed(line, bankrupt)
    assert (units <= line.units).all()
    value = book.equity[:, np.newaxis] + gains(book, state, cube)
    room = np.zeros_like(bankrupt.units)
    for scenario in range(cube.shape[1]):
        left = state.of(scenario)[0]
        for account in range(len(book)):
            if value[account, scenario] <= 0.0 or book.group[account] < 0:
                continue
            for p in range(book.offsets[account], book.offsets[account + 1]):
                size = int(np.rint(left[account] * abs(book.quantity[p]) * 100.0 / UNIT))
                room[int(book.quantity[p] > 0.0), book.instrument[p], scenario] += size
    found = np.zeros_like(bankrupt.units)
    np.add.at(found, (line.side, line.instrument, line.scenario), units)
    # All that is bankrupt finds its other side, as far as there is one.
    np.testing.assert_array_equal(found, np.minimum(bankrupt.units, room))
    for account, side, what in zip(line.account, line.side, line.instrument, strict=True):
        mine = slice(book.offsets[account], book.offsets[account + 1])
        at = mine.start + int(np.flatnonzero(book.instrument[mine] == what)[0])
        assert np.sign(book.quantity[at]) == (-1.0, 1.0)[side]


@settings(max_examples=60, deadline=None)
@given(cases())
def test_deleveraging_makes_nobody_bankrupt_and_no_shortfall_larger(case):
    book, state, cube, notional, bankrupt = case
    line = line_up(book, state, cube, notional, bankrupt, "bitmex")
    units = closed(line, bankrupt)
    # What is taken over is one vault, so that what it lacks is the sum over its positions.
    lacking = np.rint(bankrupt.units * bankrupt.lacking).sum(axis=(0, 1)) * UNIT
    found = agreed(line, given_up(line, units, bankrupt), lacking)
    before = settle(book, state, cube, 2).uncovered.sum(axis=0)
    after = settle(book, state.less(line.account, line.scenario, found), cube, 2).uncovered
    assert (after.sum(axis=0) <= before).all()
    net = np.bincount(line.scenario, found, cube.shape[1])
    vault = np.maximum(lacking - net, 0.0)
    shortfall = after.sum(axis=0) + vault + np.maximum(net, 0.0)
    assert (shortfall <= before + np.maximum(lacking, 0.0)).all()
    assert ((net <= np.maximum(lacking, 0.0)) & (net >= np.minimum(lacking, 0.0))).all()


@settings(max_examples=40, deadline=None)
@given(cases(), st.integers(0, 7), st.sampled_from(sorted(RANKINGS)))
def test_how_accounts_are_cut_changes_nobody_who_is_hit(case, cut, ranking):
    book, state, cube, notional, bankrupt = case
    cut = min(cut, len(book))
    whole = line_up(book, state, cube, notional, bankrupt, ranking)
    parts = []
    for start, stop in ((0, cut), (cut, len(book))):
        rows = slice(book.offsets[start], book.offsets[stop])
        part = StressedAccounts(
            book.offsets[start : stop + 1] - rows.start, book.instrument[rows],
            book.quantity[rows], book.equity[start:stop], book.maintenance[start:stop],
            book.group[start:stop],
        )  # fmt: skip
        own = Liquidated(state.row[start:stop], state.remaining, state.cash)
        parts.append(line_up(part, own, cube, notional, bankrupt, ranking, start))

    def hits(line):
        units = closed(line, bankrupt)
        lost = given_up(line, units, bankrupt)
        columns = (line.scenario, line.side, line.instrument, line.account, units, lost)
        return sorted(row for row in zip(*map(np.ndarray.tolist, columns), strict=True) if row[4])

    assert hits(whole) == hits(Line.joined(parts[::-1]))


@settings(max_examples=40, deadline=None)
@given(cases(), st.sampled_from(sorted(RANKINGS)))
def test_a_line_is_that_of_deleveraging_in_one_instrument(case, ranking):
    book, state, cube, notional, bankrupt = case
    line = line_up(book, state, cube, notional, bankrupt, ranking)
    units = closed(line, bankrupt)
    remaining, cash = state.of(0)
    value = book.equity + gains(book, state, cube)[:, 0]
    for what in range(len(notional)):
        for side in (0, 1):
            wanted = int(bankrupt.units[side, what, 0])
            rows = np.flatnonzero(book.instrument == what)
            owner = np.searchsorted(book.offsets, rows, side="right") - 1
            some = (book.group[owner] >= 0) & (value[owner] > 0.0) & (book.quantity[rows] != 0.0)
            rows, owner = rows[some], owner[some]
            size = np.rint(remaining[owner] * book.quantity[rows] * 100.0 / UNIT).astype(np.int64)
            mark, lot = 100.0 + cube[what, 0], UNIT / 100.0
            candidates = Candidates(
                account=owner, quantity=size, entry=np.full(len(rows), 100.0),
                bankruptcy=mark - value[owner] / np.where(size == 0, 1.0, size * lot),
                account_value=value[owner], wallet=(book.equity + cash)[owner],
                maintenance=remaining[owner] * 30.0, mark=mark, lot=lot,
            )  # fmt: skip
            spec = DeleveragingSpec(ranking=ranking, source="the same")
            signed = wanted if side == 0 else -wanted
            slow = deleverage(spec, candidates, signed, 100.0, 100.0)
            mine = (line.side == side) & (line.instrument == what) & (line.scenario == 0)
            fast = np.zeros(len(book), np.int64)
            np.add.at(fast, line.account[mine], units[mine])
            expected = np.zeros(len(book), np.int64)
            np.add.at(expected, owner, np.abs(slow.change))
            np.testing.assert_array_equal(fast, expected)


@settings(max_examples=40, deadline=None)
@given(cases())
def test_gains_are_those_of_the_slow_twin(case):
    book, state, cube, *_ = case
    found = gains(book, state, cube)
    for scenario in range(cube.shape[1]):
        remaining, cash = state.of(scenario)
        for account in range(len(book)):
            pnl = 0.0
            for p in range(book.offsets[account], book.offsets[account + 1]):
                pnl += book.quantity[p] * cube[book.instrument[p], scenario]
            assert found[account, scenario] == cash[account] + remaining[account] * pnl
