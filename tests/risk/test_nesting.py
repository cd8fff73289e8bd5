"""The order in which portfolios nest, against groups that are made one position at a time."""

import itertools
from collections import defaultdict

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from risk.instruments import Kind
from risk.nesting import nest
from risk.netting import NETTING_KEYS
from risk.scan.specification import ScanSpec
from tests.risk.books import CASH, IN_BTC, instruments_of, order_of, random_holdings, universe

INSTRUMENTS, CURRENCY = universe()
ORDER = order_of(INSTRUMENTS, CURRENCY)
PLAIN = {"cells": [[0.1, "none"]], "maintenance_factor": 1.0}
BASIS = {"up": 0.1, "down": -0.1, "add": 1.0, "per_year": 0.0}
SCANS = {
    "no scan": None,
    "sums": ScanSpec.model_validate(PLAIN),
    "sets": ScanSpec.model_validate(PLAIN | {"basis": BASIS}),
    "by currency": ScanSpec.model_validate(PLAIN | {"unit": "underlying_settlement"}),
}


def groups_of(instruments, currency, holdings, keys, name):
    """Return what lies together at each level, as sets of positions, by the words of the page."""
    scan = SCANS[name]
    levels = {level: defaultdict(set) for level in ("unit", "expiry", "set", "strike")}
    for account, key in enumerate(keys):
        for p in range(holdings.offsets[account], holdings.offsets[account + 1]):
            row = int(holdings.instrument[p])
            pays = int(currency[row])
            unit = (account, int(instruments.underlying[row]))
            if key == "position":
                unit += (p,)
            elif key == "settlement_currency" or name == "by currency":
                unit += (pays,)
            option = bool(instruments.kind[row] == Kind.OPTION)
            expiry = (*unit, float(instruments.time_to_expiry[row]))
            levels["unit"][unit].add(p)
            levels["expiry"][expiry].add(p)
            levels["set"][unit if scan and not scan.reads_sets else (*expiry, option)].add(p)
            levels["strike"][(*expiry, option, float(instruments.strike[row]))].add(p)
    return {level: {frozenset(one) for one in found.values()} for level, found in levels.items()}


def by_label(nested, level):
    found = defaultdict(set)
    for p, label in zip(nested.order.tolist(), nested.labels(level).tolist(), strict=True):
        found[label].add(p)
    return {frozenset(one) for one in found.values()}


def by_offsets(order, *levels):
    """Return the groups that nested offsets cut, the innermost last."""
    edges = levels[-1]
    for outer in reversed(levels[:-1]):
        edges = edges[outer]
    return [frozenset(order[a:b].tolist()) for a, b in itertools.pairwise(edges)]


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**32),
    keys=st.lists(st.sampled_from(NETTING_KEYS), min_size=8, max_size=8),
    name=st.sampled_from([*SCANS]),
)
def test_what_nets_or_is_charged_together_lies_together(seed, keys, name):
    holdings = random_holdings(seed, len(INSTRUMENTS))
    key = np.array([NETTING_KEYS.index(one) for one in keys], dtype=np.int8)
    nested = nest(holdings.offsets, holdings.instrument, key, ORDER, SCANS[name])
    wanted = groups_of(INSTRUMENTS, CURRENCY, holdings, keys, name)
    assert sorted(nested.order.tolist()) == list(range(len(holdings.instrument)))
    for level, groups in wanted.items():
        assert by_label(nested, level) == groups, level
        # A group is a run: its label comes once.
        labels = nested.labels(level)
        assert np.count_nonzero(np.diff(labels, prepend=-1)) == len(groups), level
    order, units, sets = nested.order, nested.unit_sets, nested.set_offsets
    assert set(by_offsets(order, sets)) == wanted["set"]
    assert set(by_offsets(order, units, sets)) == wanted["unit"]
    whole = by_offsets(order, nested.account_units, units, sets)
    assert whole == [
        frozenset(range(a, b))
        for a, b in zip(holdings.offsets[:-1], holdings.offsets[1:], strict=True)
    ]
    owner = np.repeat(np.arange(8), np.diff(holdings.offsets))
    assert nested.account.tolist() == owner.tolist()
    assert nested.unit_account.tolist() == [
        int(owner[min(one)]) for one in by_offsets(order, units, sets)
    ]
    assert [
        int(order[p]) in one
        for p, one in zip(nested.unit_first, by_offsets(order, units, sets), strict=True)
    ]


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 2**32), start=st.integers(0, 8), stop=st.integers(0, 8))
def test_a_run_of_accounts_is_what_it_would_be_by_itself(seed, start, stop):
    start, stop = sorted((start, stop))
    holdings = random_holdings(seed, len(INSTRUMENTS))
    offsets = holdings.offsets
    nested = nest(offsets, holdings.instrument, holdings.margin_mode, ORDER)
    part, rows = nested.accounts(start, stop)
    alone = nest(
        offsets[start : stop + 1] - offsets[start],
        holdings.instrument[offsets[start] : offsets[stop]],
        holdings.margin_mode[start:stop],
        ORDER,
    )
    assert (part.order - offsets[start]).tolist() == alone.order.tolist()
    assert np.array_equal(nested.order[rows], part.order)
    for name in ("account", "account_units", "unit_sets", "set_offsets"):
        assert getattr(part, name).tolist() == getattr(alone, name).tolist(), name
    for level in ("unit", "expiry", "set", "strike"):
        one, other = part.labels(level), alone.labels(level)
        assert np.array_equal(np.diff(one) != 0, np.diff(other) != 0), level


def test_a_portfolio_by_hand():
    # Two calls and a put of one expiry, a perpetual, a future, and a perpetual that pays coin.
    option = {"kind": Kind.OPTION, "time_to_expiry": 0.1}
    instruments = instruments_of(
        [
            option | {"strike": 90.0, "is_call": True},
            option | {"strike": 90.0},
            option | {"strike": 110.0, "is_call": True},
            {},
            {"kind": Kind.FUTURE, "time_to_expiry": 0.1},
            {},
        ]
    )
    order = order_of(instruments, [CASH] * 5 + [IN_BTC])
    offsets, held = np.array([0, 6]), np.arange(6, dtype=np.int32)

    def groups(key, level, scan=SCANS["sets"]):
        nested = nest(offsets, held, np.array([NETTING_KEYS.index(key)], np.int8), order, scan)
        return sorted(sorted(one) for one in by_label(nested, level))

    assert groups("account", "unit") == [[0, 1, 2, 3, 4, 5]]
    assert groups("account", "unit", SCANS["by currency"]) == [[0, 1, 2, 3, 4], [5]]
    assert groups("settlement_currency", "unit") == [[0, 1, 2, 3, 4], [5]]
    assert groups("position", "unit") == [[0], [1], [2], [3], [4], [5]]
    assert groups("account", "expiry") == [[0, 1, 2, 4], [3, 5]]
    assert groups("account", "set") == [[0, 1, 2], [3, 5], [4]]
    assert groups("account", "set", SCANS["sums"]) == [[0, 1, 2, 3, 4, 5]]
    assert groups("account", "strike") == [[0, 1], [2], [3, 5], [4]]
    assert groups("position", "strike") == [[0], [1], [2], [3], [4], [5]]


def test_no_positions_at_all():
    nested = nest(np.array([0, 0, 0]), np.zeros(0, np.int32), np.zeros(2, np.int8), ORDER)
    assert nested.account_units.tolist() == [0, 0, 0]
    assert nested.unit_sets.tolist() == nested.set_offsets.tolist() == [0]
    assert nested.labels("unit").size == nested.labels("expiry").size == 0
