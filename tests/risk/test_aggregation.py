"""From accounts to members and the system: partial sums against a walk over the accounts."""

import dataclasses
import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from risk.aggregation import (
    REQUIREMENT_EDGES,
    TOP,
    UTILISATION_EDGES,
    AccountRows,
    Largest,
    PartialSums,
    accounts_to_keep,
    concentration,
    merge,
    partial_sums,
    weighted_rows,
)
from risk.margin import HELD, MARGINED
from risk.summation import BLOCK_ACCOUNTS, sum_by_group

MEMBERS, INSTRUMENTS, SCENARIOS = 3, 4, 5


def random_accounts(seed, accounts):
    """Account and block arrays as they are stored, in general position, a few held."""
    rng = np.random.default_rng(seed)
    held = rng.random(accounts) < 0.1
    layers = np.where(
        rng.random((accounts, 3)) < 0.3, 0.0, rng.exponential(1.0, (accounts, 3)) * 1e4
    )
    equity = rng.normal(1e4, 1e4, accounts)
    equity[rng.random(accounts) < 0.1] = 0.0
    layers[held], equity[held] = np.nan, np.nan
    count = rng.integers(0, 4, accounts)
    lots = rng.integers(-(2**52), 2**52, count.sum())
    rows = AccountRows(
        first=0,
        member=rng.integers(0, MEMBERS, accounts).astype(np.int32),
        offsets=np.concatenate([[0], np.cumsum(count)]).astype(np.int64),
        instrument=rng.integers(0, INSTRUMENTS, count.sum()).astype(np.int32),
        lots=lots,
    )
    requirement = layers.sum(axis=1)
    margin = {
        "margin": layers,
        "requirement": requirement,
        "maintenance": requirement * rng.uniform(0.5, 1.0, accounts),
        "equity": equity,
        "excess": equity - requirement,
        "status": np.where(held, HELD, MARGINED).astype(np.int8),
    }
    number = -(-accounts // BLOCK_ACCOUNTS)
    blocks = {
        "contribution": rng.normal(size=(number, INSTRUMENTS)) * 1e6,
        "system_loss": rng.exponential(1e6, (number, SCENARIOS)),
        "uncovered_loss": rng.exponential(1e3, (number, SCENARIOS)),
        "accounts_under_water": rng.integers(0, 9, (number, SCENARIOS)),
    }
    return rows, margin, blocks


def sums_of(rows, margin, blocks, keep=100, by_choice=None):
    return partial_sums(
        *(rows, margin, blocks),
        members=MEMBERS,
        instruments=INSTRUMENTS,
        keep=keep,
        by_choice=by_choice,
    )


def part(rows, margin, blocks, start, stop):
    """The accounts ``start:stop``, whole blocks of them, as a worker reads them."""
    inside = slice(rows.offsets[start], rows.offsets[stop])
    within = slice(start // BLOCK_ACCOUNTS, -(-stop // BLOCK_ACCOUNTS))
    return (
        AccountRows(
            start,
            rows.member[start:stop],
            rows.offsets[start : stop + 1] - rows.offsets[start],
            rows.instrument[inside],
            rows.lots[inside],
        ),
        {name: values[start:stop] for name, values in margin.items()},
        {name: values[within] for name, values in blocks.items()},
    )


def assert_same_bits(one, other):
    for field in dataclasses.fields(PartialSums):
        ours, theirs = getattr(one, field.name), getattr(other, field.name)
        if isinstance(ours, Largest):
            assert ours.account.tolist() == theirs.account.tolist(), field.name
            assert ours.amount.tobytes() == theirs.amount.tobytes(), field.name
        else:
            assert np.asarray(ours).tobytes() == np.asarray(theirs).tobytes(), field.name


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**32), accounts=st.integers(1, 300))
def test_sums_are_those_of_a_walk_over_the_accounts(seed, accounts):
    rows, margin, blocks = random_accounts(seed, accounts)
    by_choice = np.arange(INSTRUMENTS) % 3 == 0
    found = sums_of(rows, margin, blocks, by_choice=by_choice)
    layers, equity = np.zeros((MEMBERS, 3)), np.zeros(MEMBERS)
    maintenance, below, ours = np.zeros(MEMBERS), [0] * MEMBERS, 0
    shortfall, count, short = np.zeros(MEMBERS), [0] * MEMBERS, [0] * MEMBERS
    net = [[0] * INSTRUMENTS for _ in range(MEMBERS)]
    long = [0] * INSTRUMENTS
    use, need = np.zeros(len(UTILISATION_EDGES)), np.zeros(len(REQUIREMENT_EDGES))
    for account in range(accounts):
        member = int(rows.member[account])
        for at in range(rows.offsets[account], rows.offsets[account + 1]):
            net[member][rows.instrument[at]] += int(rows.lots[at])
            long[rows.instrument[at]] += max(0, int(rows.lots[at]))
        if margin["status"][account] == HELD:
            continue
        required, backing = margin["requirement"][account], margin["equity"][account]
        layers[member] += margin["margin"][account]
        equity[member] += backing
        maintenance[member] += margin["maintenance"][account]
        below[member] += backing < margin["maintenance"][account]
        held = rows.instrument[rows.offsets[account] : rows.offsets[account + 1]]
        ours += bool((held % 3 == 0).any())
        shortfall[member] += max(0.0, required - backing)
        count[member] += 1
        short[member] += required > backing
        if backing > 0.0:
            ratio = required / backing
        else:
            ratio = np.inf if required > 0.0 or backing < 0.0 else 0.0
        use[[n for n, edge in enumerate(UTILISATION_EDGES) if edge <= ratio][-1]] += 1
        need[[n for n, edge in enumerate(REQUIREMENT_EDGES) if edge <= required][-1]] += 1
    # One block: sums in the order of accounts are the same to the last bit.
    assert found.member_margin.tobytes() == layers.tobytes()
    assert found.member_equity.tobytes() == equity.tobytes()
    assert found.member_maintenance.tobytes() == maintenance.tobytes()
    assert found.member_accounts_below_maintenance.tolist() == below
    assert found.accounts_by_choice == ours
    assert found.member_shortfall.tobytes() == shortfall.tobytes()
    assert found.member_accounts.tolist() == count
    assert found.member_accounts_short.tolist() == short
    assert found.member_lots.tolist() == net
    assert found.long_lots.tolist() == long
    assert found.utilisation_count.tolist() == use.tolist()
    assert found.requirement_count.tolist() == need.tolist()
    assert found.accounts == accounts
    assert found.held == accounts - sum(count)
    assert (found.unwritten, found.inconsistent) == (0, 0)
    known = np.flatnonzero(margin["status"] != HELD)
    ranked = sorted(known, key=lambda row: (-margin["requirement"][row], row))
    ranked = [row for row in ranked if margin["requirement"][row] > 0.0]
    assert found.top_requirement.account.tolist() == ranked[:100]
    assert len(found.top_shortfall.account) == min(TOP, sum(short))


@pytest.mark.parametrize("run", [1, 2, 4])
def test_merging_aligned_runs_gives_the_bits_of_the_whole(run):
    accounts = 6 * BLOCK_ACCOUNTS + 77
    whole = random_accounts(9, accounts)
    length = run * BLOCK_ACCOUNTS
    level = [
        sums_of(*part(*whole, start, min(start + length, accounts)))
        for start in range(0, accounts, length)
    ]
    while len(level) > 1:
        pairs = [merge(*level[at : at + 2]) for at in range(0, len(level) // 2 * 2, 2)]
        level = pairs + level[len(level) // 2 * 2 :]
    assert_same_bits(level[0], sums_of(*whole))


@pytest.mark.parametrize(
    ("change", "unwritten", "inconsistent"),
    [
        ({"status": -128}, 1, 1),
        ({"requirement": 1.0}, 0, 1),
        ({"excess": 0.125}, 0, 1),
        ({"requirement": np.nan}, 0, 1),
        ({"equity": np.nan}, 0, 1),
        ({"margin": -1.0}, 0, 1),
        ({"maintenance": -1.0}, 0, 1),
        ({"maintenance": np.nan}, 0, 1),
    ],
    ids=str,
)
def test_an_account_that_is_lost_or_changed_is_counted(change, unwritten, inconsistent):
    rows, margin, blocks = random_accounts(4, 50)
    row = int(np.flatnonzero(margin["status"] == MARGINED)[3])
    for name, value in change.items():
        margin[name][row] = value
    if "status" in change:
        # What an array holds before it is written.
        for name in ("margin", "requirement", "maintenance", "equity", "excess"):
            margin[name][row] = np.nan
    found = sums_of(rows, margin, blocks)
    assert (found.unwritten, found.inconsistent) == (unwritten, inconsistent)


def test_a_held_account_with_a_number_is_inconsistent():
    rows, margin, blocks = random_accounts(4, 50)
    row = int(np.flatnonzero(margin["status"] == HELD)[0])
    margin["requirement"][row] = 0.0
    assert sums_of(rows, margin, blocks).inconsistent == 1


def test_lots_are_exact_beyond_what_a_float_holds():
    lots = np.array([2**53 - 1, 1, -(2**53 - 1), 3], dtype=np.int64)
    rows, margin, blocks = random_accounts(1, 1)
    rows = AccountRows(0, np.zeros(1, np.int32), np.array([0, 4]), np.zeros(4, np.int32), lots)
    margin = {name: values[:1] for name, values in margin.items()}
    many = functools.reduce(merge, [sums_of(rows, margin, blocks)] * 512)
    assert many.member_lots[0, 0] == 512 * 4
    assert many.long_lots[0] == 512 * (2**53 + 3)


def test_the_largest_are_in_order_and_ties_go_to_the_earlier_account():
    one = Largest.of(np.array([1, 5, 9]), np.array([2.0, 2.0, 0.0]), 3)
    assert one.account.tolist() == [1, 5]
    few = Largest.of(np.array([1, 3, 5, 9]), np.array([1.0, 2.0, 3.0, 2.0]), 2)
    assert few.account.tolist() == [5, 3]
    both = one.merge(Largest.of(np.array([7, 8]), np.array([2.0, 3.0]), 3), 3)
    assert both.account.tolist() == [8, 1, 5]


def test_concentration_is_of_the_whole_requirement():
    rows, margin, blocks = random_accounts(2, 250)
    found = concentration(sums_of(rows, margin, blocks, accounts_to_keep(250)))
    required = np.sort(np.nan_to_num(margin["requirement"]))[::-1]
    expected = [required[:count].sum() / required.sum() for count in (1, 10, 100, 3)]
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    nobody = dataclasses.replace(
        sums_of(rows, margin, blocks), member_margin=np.zeros((MEMBERS, 3))
    )
    assert concentration(nobody).tolist() == [0.0] * 4


def test_rows_weighted_by_groups_are_a_matrix_product():
    rng = np.random.default_rng(3)
    weight = np.where(rng.random((6, 8)) < 0.5, 0.0, rng.normal(size=(6, 8)))
    weight[2] = 0.0
    cube = rng.normal(size=(8, 30))
    np.testing.assert_allclose(weighted_rows(weight, cube), weight @ cube, rtol=1e-12, atol=1e-12)
    assert not weighted_rows(weight, cube)[2].any()
    assert sum_by_group(np.array([1.0, 2.0, 4.0]), np.array([1, 1, 0]), 3).tolist() == [4, 3, 0]
