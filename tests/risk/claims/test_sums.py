"""Sums of a pool: the same bits in any aligned cut, and what does not agree with itself is told."""

import dataclasses
import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from risk.aggregation import Largest
from risk.claims.sums import (
    ACCOUNT_SUMS,
    BLOCK_COUNTS,
    BLOCK_SUMS,
    HEALTH_EDGES,
    HELD,
    PoolSums,
    merge_pool,
    pool_sums,
)
from risk.summation import BLOCK_ACCOUNTS

UNWRITTEN = np.iinfo(np.int8).min


def stored(seed, blocks, last=BLOCK_ACCOUNTS):
    """Random rows as a run stores them; a tenth of the accounts is held back."""
    rng = np.random.default_rng(seed)
    accounts = (blocks - 1) * BLOCK_ACCOUNTS + last
    held = rng.random(accounts) < 0.1
    money = {name: np.where(held, np.nan, rng.lognormal(6, 2, accounts)) for name in ACCOUNT_SUMS}
    by_account = money | {
        "excess": money["credit"] + money["position_value"] - money["requirement"],
        "health": np.where(held, np.nan, rng.choice([0.85, 1.02, 1.7, 42.0, np.inf], accounts)),
        "claims": rng.integers(1, 9, accounts),
        "counted": rng.integers(0, 2, accounts),
        "status": held.astype(np.int8),
    }
    by_block = {name: rng.lognormal(9, 3, (blocks, 3)) for name in BLOCK_SUMS}
    by_block |= {name: rng.integers(0, 100, (blocks, 3)) for name in BLOCK_COUNTS}
    return by_account, by_block


def cut(by_account, by_block, start, stop):
    accounts = slice(start * BLOCK_ACCOUNTS, stop * BLOCK_ACCOUNTS)
    return pool_sums(
        start * BLOCK_ACCOUNTS,
        {name: values[accounts] for name, values in by_account.items()},
        {name: values[start:stop] for name, values in by_block.items()},
    )


def as_tree(runs):
    """Neighbours joined, then neighbours of those, as a fold engine does."""
    while len(runs) > 1:
        runs = [functools.reduce(merge_pool, runs[at : at + 2]) for at in range(0, len(runs), 2)]
    return runs[0]


def bits(sums):
    """Every number of the sums as bytes, by name."""
    found = {}
    for field in dataclasses.fields(PoolSums):
        value = getattr(sums, field.name)
        if isinstance(value, dict):
            found |= {f"{field.name}.{name}": one.tobytes() for name, one in value.items()}
        elif isinstance(value, Largest):
            found[field.name] = value.account.tobytes() + value.amount.tobytes()
        else:
            found[field.name] = np.asarray(value).tobytes()
    return found


@pytest.mark.parametrize("blocks", [1, 3, 8, 11])
def test_any_aligned_cut_gives_the_same_bits(blocks):
    rows = stored(blocks, blocks, last=700)
    whole = bits(cut(*rows, 0, blocks))
    for length in (1, 2, 4, 8):
        runs = [cut(*rows, at, min(at + length, blocks)) for at in range(0, blocks, length)]
        assert bits(as_tree(runs)) == whole, length


def test_an_order_that_is_not_the_tree_differs_in_the_last_bits():
    """The data is such that a merge from left to right is told from the tree."""
    rows = stored(8, 8)
    runs = [cut(*rows, at, at + 1) for at in range(8)]
    assert bits(functools.reduce(merge_pool, runs)) != bits(as_tree(runs))


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**32))
def test_sums_are_those_of_numpy(seed):
    by_account, by_block = stored(seed, 1, last=300)
    sums = cut(by_account, by_block, 0, 1)
    known = by_account["status"] != HELD
    excess = by_account["excess"][known]
    alone = (by_account["credit"] + by_account["position_value"]) - by_account["requirement_alone"]
    assert (sums.accounts, sums.held) == (300, int((~known).sum()))
    assert (sums.unwritten, sums.inconsistent) == (0, 0)
    assert sums.claims == by_account["claims"].sum()
    assert sums.counted == by_account["counted"].sum()
    assert sums.below == (excess < 0.0).sum()
    assert sums.below_alone == (alone[known] < 0.0).sum()
    for name in ACCOUNT_SUMS:
        np.testing.assert_allclose(sums.sums[name], np.nansum(by_account[name]), rtol=1e-12)
    np.testing.assert_allclose(sums.sums["shortfall"], -excess[excess < 0.0].sum(), rtol=1e-9)
    for name in (*BLOCK_SUMS, *BLOCK_COUNTS):
        kept = sums.sums if name in BLOCK_SUMS else sums.counts
        np.testing.assert_array_equal(kept[name], by_block[name][0])
    health = by_account["health"][known]
    finite = health[np.isfinite(health)]
    edges = np.append(HEALTH_EDGES, np.inf)
    assert sums.health.tolist() == np.histogram(finite, edges)[0].tolist()
    worst = np.argmin(np.where(known, by_account["excess"], np.inf))
    assert sums.top_shortfall.account[0] == worst


@pytest.mark.parametrize(
    ("name", "value"),
    [("excess", 1.0), ("requirement", -1.0), ("requirement_alone", -1.0), ("credit", np.nan)],
)
def test_a_row_that_does_not_agree_with_itself_is_told(name, value):
    by_account, by_block = stored(1, 1, last=50)
    row = int(np.flatnonzero(by_account["status"] == 0)[0])
    by_account[name][row] = value
    assert cut(by_account, by_block, 0, 1).inconsistent == 1


def test_a_held_account_with_money_is_told():
    by_account, by_block = stored(2, 1, last=50)
    row = int(np.flatnonzero(by_account["status"] == HELD)[0])
    by_account["credit"][row] = 5.0
    assert cut(by_account, by_block, 0, 1).inconsistent == 1


def test_rows_that_were_never_written_are_told():
    by_account, by_block = stored(3, 1, last=50)
    by_account["status"][[4, 9]] = UNWRITTEN
    assert cut(by_account, by_block, 0, 1).unwritten == 2
