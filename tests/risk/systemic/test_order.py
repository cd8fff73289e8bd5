"""The order of liquidation: whose turn it is, by hand and against slow twins."""

import doctest

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from risk.kernels.sums import UNIT
from risk.systemic import order
from risk.systemic.cascade import LiquidationRules, cascade_round
from risk.systemic.order import Waiting, counts, has_turn, wait_in_line
from risk.systemic.stressed import Liquidated, StressedAccounts
from tests.risk.systemic.test_cascade import cases, grown, part_closed, part_of

lots = st.integers(0, 20)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 1), st.integers(0, 3), lots, lots),
        max_size=8,
    ),
    st.tuples(*[st.integers(1, 40)] * 4),
    st.integers(0, 8),
)
def test_turns_are_those_of_the_twin_and_a_cut_line_has_the_same(rows, capacity, cut):
    scenario, score, *units = (np.array(one) for one in zip(*rows, strict=True)) if rows else (
        np.zeros(0, int) for _ in range(4)
    )  # fmt: skip
    line = Waiting(scenario, np.arange(len(rows))[::-1], score.astype(float), np.stack(units, 1))
    limits = np.array(capacity).reshape(2, 2)
    expected = np.zeros(len(rows), np.bool_)
    for one in range(2):
        before = np.zeros(2, int)
        places = [place for place in range(len(rows)) if scenario[place] == one]
        for place in sorted(places, key=lambda at: (-score[at], line.account[at])):
            mine = line.units[place]
            expected[place] = all(before[c] < limits[c, one] for c in range(2) if mine[c])
            before += mine
    np.testing.assert_array_equal(has_turn(line, limits), expected)
    parts = [line.take(np.arange(len(rows)) < cut), line.take(np.arange(len(rows)) >= cut)]
    some = Waiting.joined([part.take(counts(part, limits)) for part in parts])
    found = some.take(has_turn(some, limits))
    assert sorted(found.account.tolist()) == sorted(line.account[expected].tolist())


@settings(max_examples=40, deadline=None)
@given(cases(), st.sampled_from(["largest_deficit", "riskiest"]))
def test_who_has_to_sell_is_who_the_round_closes(case, how):
    book, cubes, notional, active, rules, options = case
    rules = rules.model_copy(update={"order": how, "capacity": 0.1})
    unit, scenarios = options["unit"], cubes[0].shape[1]
    coin = (np.arange(len(notional)) % 2).astype(np.int16)
    state = cascade_round(
        book, Liquidated.nobody(len(book), scenarios), cubes[0], notional, active, rules, unit
    ).state
    line = wait_in_line(book, state, cubes[1], notional, active, rules, unit, coin, 2, first=40)
    expected = []
    for a in range(len(book)):
        rows = range(book.offsets[a], book.offsets[a + 1])
        if book.group[a] < 0 or not len(rows):
            continue
        sizes = [abs(book.quantity[p]) * notional[book.instrument[p]] for p in rows]
        gross = sum(sizes, 0.0)
        for s in np.flatnonzero(active).tolist():
            remaining, cash = (one[a] for one in state.of(s))
            pnl = 0.0
            for p in rows:
                pnl += book.quantity[p] * cubes[1][book.instrument[p], s]
            has = book.equity[a] + cash + remaining * pnl
            needs = remaining * (book.maintenance[a] * grown(book, rows, unit, s))
            if remaining <= 0.0 or has >= needs:
                continue
            if rules.backstop > 0.0 and has < rules.backstop * needs:
                continue
            part = part_closed(rules, has, needs, rules.fee * remaining * gross, remaining)
            by_coin = np.zeros(2)
            for p, size in zip(rows, sizes, strict=True):
                by_coin[coin[book.instrument[p]]] += size
            score = needs - has
            if how == "riskiest":
                score = np.inf if needs <= 0.0 else score / needs
            units = np.rint(part * by_coin / UNIT).astype(int).tolist()
            expected.append((40 + a, s, score, *units))
    found = zip(line.account, line.scenario, line.score, *line.units.T, strict=True)
    assert sorted(found) == sorted(expected)


def test_who_has_no_turn_waits_and_a_cut_changes_nothing():
    # Both hold 10 of 100 and are below by 10 and by 30; only the second has its turn.
    book = StressedAccounts(
        np.array([0, 1, 2]), np.zeros(2, np.int32), np.full(2, 10.0), np.array([120.0, 100.0]),
        np.full(2, 100.0), np.zeros(2, np.int32),
    )  # fmt: skip
    rules = LiquidationRules(closing="all", fee=0.0, order="largest_deficit", capacity=0.5)
    given = (np.array([[-3.0]]), np.array([100.0]), np.ones(1, np.bool_), rules)
    coin = np.zeros(1, np.int16)
    line = wait_in_line(book, Liquidated.nobody(2, 1), *given, None, coin, 1)
    assert line.score.tolist() == [10.0, 30.0]
    turn = has_turn(line, np.array([[900_000]]))
    assert line.account[turn].tolist() == [1]
    whose = (line.account[turn], line.scenario[turn])
    done = cascade_round(book, Liquidated.nobody(2, 1), *given, turn=whose)
    assert done.sold.tolist() == [[1000.0]]
    assert [done.state.of(0)[0].tolist(), done.liquidated.tolist()] == [[1.0, 0.0], [1]]
    parts = [part_of(book, at, at + 1) for at in (0, 1)]
    lines = [
        wait_in_line(one, Liquidated.nobody(1, 1), *given, None, coin, 1, first=at)
        for at, one in enumerate(parts)
    ]
    joined = Waiting.joined(lines)
    assert joined.account.tolist() == line.account.tolist()
    assert joined.units.tolist() == line.units.tolist()


def test_the_example_holds():
    found = doctest.testmod(order)
    assert (found.attempted > 0, found.failed) == (True, 0)


@pytest.mark.parametrize("how", ["largest_deficit", "riskiest"])
def test_an_order_has_a_capacity(how):
    with pytest.raises(ValueError, match="give a capacity with any order but"):
        LiquidationRules(order=how)
