"""Netting sets: every position in exactly one, cut where the rules say."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from risk.netting import NETTING_KEYS, netting_sets


@settings(deadline=None, max_examples=100)
@given(
    accounts=st.lists(
        st.tuples(st.integers(0, 2), st.lists(st.integers(0, 9), max_size=8, unique=True)),
        max_size=6,
    ),
    settlement=st.lists(st.integers(0, 3), min_size=10, max_size=10).map(sorted),
)
def test_sets_are_those_of_a_walk_over_the_positions(accounts, settlement):
    held = [sorted(rows) for _, rows in accounts]
    offsets = np.cumsum([0, *map(len, held)]).astype(np.int64)
    instrument = np.array([row for rows in held for row in rows], dtype=np.int32)
    key = np.array([key for key, _ in accounts], dtype=np.int8)
    account_sets, set_offsets = netting_sets(offsets, instrument, key, np.array(settlement))

    expected = []
    for (code, _), rows in zip(accounts, held, strict=True):
        groups = []
        for row in rows:
            what = {"position": row, "settlement_currency": settlement[row], "account": None}
            name = what[NETTING_KEYS[code]]
            if not groups or groups[-1][0] != name:
                groups.append((name, []))
            groups[-1][1].append(row)
        expected.append([group for _, group in groups])
    found = [
        [
            instrument[set_offsets[n] : set_offsets[n + 1]].tolist()
            for n in range(account_sets[a], account_sets[a + 1])
        ]
        for a in range(len(accounts))
    ]
    assert found == expected


def test_an_account_without_positions_has_no_set_wherever_it_lies():
    empty = netting_sets(
        np.zeros(3, dtype=np.int64), np.zeros(0, np.int32), np.ones(2, np.int8), np.array([0])
    )
    assert [array.tolist() for array in empty] == [[0, 0, 0], [0]]
    around = netting_sets(
        np.array([0, 0, 2, 2, 3, 3]),
        np.array([0, 1, 0], np.int32),
        np.full(5, 2, np.int8),
        np.array([0, 1]),
    )
    assert [array.tolist() for array in around] == [[0, 0, 1, 1, 2, 2], [0, 2, 3]]


def test_positions_that_are_not_grouped_are_refused_and_neighbours_are_not_confused():
    settlement = np.array([0, 1])
    back = np.array([1, 0], np.int32)
    with pytest.raises(ValueError, match="position 1 goes back"):
        netting_sets(np.array([0, 2]), back, np.array([1], np.int8), settlement)
    account_sets, _ = netting_sets(np.array([0, 1, 2]), back, np.ones(2, np.int8), settlement)
    assert account_sets.tolist() == [0, 1, 2]
