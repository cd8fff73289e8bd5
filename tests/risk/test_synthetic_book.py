"""Synthetic accounts follow the distributions they are said to follow, and makers balance them."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm, spearmanr

from risk.synthetic import (
    Profile,
    Universe,
    Vaults,
    draw_clients,
    draw_makers,
    maker_count,
    maker_flow,
)
from risk.synthetic.accounts import account_value, draw_accounts, member_shares
from risk.synthetic.collateral import draw_backing
from risk.synthetic.makers import GROUP
from risk.synthetic.positions import Drawn, draw_positions, merge, position_limits
from risk.synthetic.solvency import opening_margin, shrink
from risk.synthetic.stream import Purpose, stream

# Statistics of 19,337 accounts auto-deleveraged on 2025-10-10: account value in USD.
MEASURED_LOG_MEAN, MEASURED_LOG_DEVIATION = 7.08945, 2.87892
MEASURED_HILL_TOP_1 = 0.815189
MEASURED_SHARE_TOP_1 = 0.817832
MEASURED_RANK_CORRELATION = 0.75809

PROFILE = Profile()
MEMBERS = member_shares(48)


def universe(instruments=60, seed=3, target=100_000):
    """Some instruments of every group: options first, as gains need not be real."""
    rng = np.random.default_rng(seed)
    group = np.sort(np.arange(instruments) % 5).astype(np.int8)
    notional = np.where(group == 0, 2000.0, rng.uniform(5.0, 50.0, instruments))
    price = np.array([-0.4, -0.1, 0.1, 0.4])
    delta = np.where(group < 2, rng.uniform(-1.0, 1.0, instruments), 1.0)
    return Universe(
        group=group,
        settlement=np.sort(rng.integers(0, 3, instruments)).astype(np.int32),
        is_call=delta > 0.0,
        notional=notional,
        value=np.where(group < 2, 0.05, (group == 4) * 1.0) * notional,
        gain=(delta * notional)[:, None] * price,
        short_charge=np.where(group < 2, 0.02 * notional, 0.0),
        target=np.full(instruments, target),
        reference=np.where(group < 2, rng.integers(0, 50, instruments) * 100.0, 0.0),
    )


VAULTS = Vaults(
    price=np.array([1.0, 2222.0, 44_000.0]),
    haircut=np.array([0.0, 0.17, 0.22]),
    share=np.array([[0.8, 0.1, 0.1], [0.2, 0.4, 0.4]]),
    home=np.array([0.7, 0.3]),
)


@pytest.fixture(scope="module")
def accounts():
    return draw_accounts(200_000, MEMBERS, PROFILE, np.random.default_rng(11))


# Sizes.


def test_body_is_lognormal_as_measured(accounts):
    logs = np.log(accounts.value)
    assert logs.mean() == pytest.approx(MEASURED_LOG_MEAN, abs=0.03)
    assert logs.std() == pytest.approx(MEASURED_LOG_DEVIATION, abs=0.03)
    for level in (0.05, 0.25, 0.5, 0.75, 0.95):
        expected = PROFILE.value_log_mean + PROFILE.value_log_deviation * norm.ppf(level)
        assert np.quantile(logs, level) == pytest.approx(expected, abs=0.06)


def test_tail_is_pareto_as_measured(accounts):
    ordered = np.sort(accounts.value)[::-1]
    tail = len(ordered) // 100
    hill = 1.0 / np.log(ordered[:tail] / ordered[tail]).mean()
    # The cap bends the far tail a little inwards.
    assert hill == pytest.approx(MEASURED_HILL_TOP_1, abs=0.05)
    share = ordered[:tail].sum() / ordered.sum()
    assert share == pytest.approx(MEASURED_SHARE_TOP_1, abs=0.04)
    assert ordered[0] <= PROFILE.largest_value
    assert (ordered == PROFILE.largest_value).sum() == 0


@given(st.lists(st.floats(-6.0, 8.0), min_size=2, max_size=30))
@settings(deadline=None, max_examples=60)
def test_value_rises_with_the_draw(draws):
    value = account_value(np.sort(np.array(draws)), PROFILE)
    assert (np.diff(value) >= 0.0).all()
    assert (value > 0.0).all()
    assert (value <= PROFILE.largest_value * (1.0 + 1e-12)).all()


def test_members_differ_and_all_have_accounts(accounts):
    count = np.bincount(accounts.member, minlength=48)
    assert count.min() > 0
    assert count.max() > 8 * count.min()
    large = np.bincount(accounts.member[accounts.size_class >= 3], minlength=48) / count
    assert large.max() > 3 * large.min()


def test_modes_and_views(accounts):
    modes = np.bincount(accounts.mode, minlength=3) / len(accounts.mode)
    assert modes == pytest.approx([0.55, 0.30, 0.15], abs=0.02)
    large = accounts.mode[accounts.size_class == 4]
    assert (large == 2).mean() > 3 * modes[2]
    assert 0.60 < (accounts.view > 0).mean() < 0.75


# Positions.


def test_positions_of_a_block():
    world = universe()
    limits = position_limits(world, 100_000, PROFILE)
    few = draw_accounts(4096, MEMBERS, PROFILE, np.random.default_rng(5))
    drawn = draw_positions(few, world, limits, PROFILE, np.random.default_rng(6))
    key = drawn.owner * len(world) + drawn.instrument
    assert (np.diff(key) > 0).all()
    assert (drawn.lots != 0).all()
    assert set(world.group[drawn.instrument]) == set(range(5))
    each = np.abs(drawn.lots) * world.notional[drawn.instrument]
    gross = np.bincount(drawn.owner, each, 4096)
    # Half a lot of rounding per draw is the most that positions exceed what was wanted.
    assert (gross <= few.gross + few.count * world.notional.max()).all()


def test_only_what_has_a_target_is_traded():
    world = universe()
    target = np.where(np.arange(len(world)) % 3, world.target, 0) * (world.group != 1)
    narrow = Universe(
        **{name: getattr(world, name) for name in Universe.__slots__} | {"target": target}
    )
    few = draw_accounts(2000, MEMBERS, PROFILE, np.random.default_rng(5))
    limits = position_limits(narrow, 2000, PROFILE)
    drawn = draw_positions(few, narrow, limits, PROFILE, np.random.default_rng(6))
    assert set(drawn.instrument) == set(np.flatnonzero(target))


@given(data=st.data())
@settings(deadline=None, max_examples=40)
def test_merge_matches_a_dictionary(data):
    size = data.draw(st.integers(0, 40))
    numbers = [
        data.draw(st.lists(st.integers(low, high), min_size=size, max_size=size))
        for low, high in ((0, 3), (0, 4), (-3, 3))
    ]
    expected: dict[tuple[int, int], int] = {}
    for owner, item, lots in zip(*numbers, strict=True):
        expected[owner, item] = expected.get((owner, item), 0) + lots
    owner, item, lots = (np.array(values, dtype=np.int64) for values in numbers)
    merged = merge(owner, item.astype(np.int32), lots, 5)
    found = dict(zip(zip(merged.owner, merged.instrument, strict=True), merged.lots, strict=True))
    assert found == {key: lots for key, lots in expected.items() if lots}
    assert list(found) == sorted(found)


# Solvency.


def slow_margin(drawn, mode, world):
    """Opening margin account by account, as a person would write it."""
    margin = []
    for account, how in enumerate(mode):
        rows = np.flatnonzero(drawn.owner == account)
        sets: dict[object, np.ndarray] = {}
        short = 0.0
        for row in rows:
            item, lots = drawn.instrument[row], drawn.lots[row]
            key = (row, int(world.settlement[item]), "all")[how]
            sets[key] = sets.get(key, 0.0) + lots * world.gain[item]
            short += max(-lots, 0) * world.short_charge[item]
        margin.append(max(sum(max(-gain.min(), 0.0) for gain in sets.values()), short))
    return np.array(margin)


@given(seed=st.integers(0, 1000))
@settings(deadline=None, max_examples=25)
def test_opening_margin_matches_the_slow_one_and_shrink_keeps_within_use(seed):
    rng = np.random.default_rng(seed)
    world = universe(20, seed)
    drawn = merge(
        rng.integers(0, 9, 50), rng.integers(0, 20, 50).astype(np.int32),
        rng.integers(-900, 900, 50), 20,
    )  # fmt: skip
    mode = rng.integers(0, 3, 10).astype(np.int8)
    margin, value = opening_margin(drawn, mode, world)
    np.testing.assert_allclose(margin, slow_margin(drawn, mode, world), rtol=1e-12, atol=1e-9)

    isolated = np.zeros(10, dtype=np.int8)
    collateral, use = rng.uniform(1e3, 1e6, 10), rng.uniform(0.1, 0.9, 10)
    kept = shrink(drawn, isolated, collateral, use, world)
    margin, value = opening_margin(kept, isolated, world)
    lots = np.bincount(drawn.owner, np.abs(drawn.lots), 10)
    assert (np.bincount(kept.owner, np.abs(kept.lots), 10) <= lots).all()
    # Rounding towards zero may take away a long option that paid for a short one.
    slack = np.bincount(drawn.owner, world.notional[drawn.instrument], 10)
    assert (margin <= use * (collateral + value) + slack).all()


def test_most_accounts_can_carry_their_opening_margin_and_rank_correlation_is_as_measured():
    world = universe(200, target=10_000_000)
    limits = position_limits(world, 100_000, PROFILE)
    value, gross, over = [], [], []
    for block in range(4):
        rng = stream(1, Purpose.CLIENTS, block)
        few = draw_accounts(4096, MEMBERS, PROFILE, rng)
        backing = draw_backing(4096, VAULTS, rng)
        drawn = draw_positions(few, world, limits, PROFILE, rng)
        kept = shrink(drawn, few.mode, few.value * backing.counts, few.use, world)
        margin, marks = opening_margin(kept, few.mode, world)
        value.append(few.value)
        each = np.abs(kept.lots) * world.notional[kept.instrument]
        gross.append(np.bincount(kept.owner, each, 4096))
        over.append(margin > few.value * backing.counts + marks)
    value, gross, over = map(np.concatenate, (value, gross, over))
    assert 0.003 < over.mean() < 0.04
    held = gross > 0
    correlation = spearmanr(value[held], gross[held])[0]
    assert correlation == pytest.approx(MEASURED_RANK_CORRELATION, abs=0.05)


# Collateral.


def test_backing_adds_up():
    backing = draw_backing(1000, VAULTS, np.random.default_rng(0))
    np.testing.assert_allclose(np.bincount(backing.owner, backing.part), 1.0, rtol=1e-12)
    assert (np.diff(backing.owner * 3 + backing.asset) > 0).all()
    worth = np.full(1000, 1e6)
    quantity = backing.quantity(worth, VAULTS.price)
    total = np.bincount(backing.owner, quantity * VAULTS.price[backing.asset])
    np.testing.assert_allclose(total, worth, rtol=1e-8)
    counted = quantity * VAULTS.price[backing.asset] * (1.0 - VAULTS.haircut[backing.asset])
    np.testing.assert_allclose(np.bincount(backing.owner, counted), worth * backing.counts)


# Streams and blocks.


def block_of(number, seed=1, count=300):
    world = universe()
    limits = position_limits(world, 10_000, PROFILE)
    return draw_clients(seed, number, count, world, limits, VAULTS, MEMBERS, PROFILE)


def same(one, other):
    return all(
        np.array_equal(a, b)
        for a, b in (
            (one.member, other.member),
            (one.positions.lots, other.positions.lots),
            (one.positions.instrument, other.positions.instrument),
            (one.quantity, other.quantity),
        )
    )


def test_a_block_is_a_function_of_its_address():
    assert same(block_of(5), block_of(5))
    assert not same(block_of(5), block_of(6))
    assert not same(block_of(5), block_of(5, seed=2))


def test_first_accounts_of_a_block():
    whole, part = block_of(2), block_of(2).first(120)
    assert len(part) == 120
    np.testing.assert_array_equal(part.mode, whole.mode[:120])
    rows = whole.positions.owner < 120
    np.testing.assert_array_equal(part.positions.lots, whole.positions.lots[rows])
    held = whole.collateral_owner < 120
    np.testing.assert_array_equal(part.quantity, whole.quantity[held])


@pytest.mark.parametrize("seed", [-1, 1 << 64])
def test_seed_out_of_range(seed):
    with pytest.raises(ValueError, match="seed"):
        stream(seed, Purpose.CLIENTS, 0)


def test_streams_do_not_overlap():
    draws = [
        tuple(stream(3, purpose, number).integers(0, 1 << 62, 4))
        for purpose, number in itertools.product(Purpose, range(50))
    ]
    assert len(set(draws)) == len(draws)


# Market makers.


@given(
    makers=st.sampled_from([1, 2, 3, 7, GROUP - 1, GROUP, GROUP + 1, 2 * GROUP + 5]),
    seed=st.integers(0, 100),
)
@settings(deadline=None, max_examples=25)
def test_makers_hold_the_other_side_to_the_last_lot(makers, seed):
    world = universe(30)
    rng = np.random.default_rng(seed)
    long, short = rng.integers(0, 4000, (2, 30))
    long[:5], short[3:8] = 0, 0
    flow, scale = maker_flow(long, short, makers, world)
    net, bought = np.zeros(30, dtype=np.int64), np.zeros(30, dtype=np.int64)
    count = 0
    for block in draw_makers(seed, makers, flow, world, VAULTS, MEMBERS, PROFILE):
        np.add.at(net, block.positions.instrument, block.positions.lots)
        np.add.at(bought, block.positions.instrument, np.maximum(block.positions.lots, 0))
        count += len(block)
        assert (block.mode == 2).all()
    assert count == makers
    np.testing.assert_array_equal(net, short - long)
    if makers > 1:
        known = world.reference > 0.0
        wanted = np.rint(world.reference * scale)
        clients = np.maximum(long, short)
        expected = np.where(known, np.maximum(wanted, clients), clients)
        np.testing.assert_array_equal(long + bought, expected)


def test_makers_are_well_backed():
    world = universe(30)
    flow, _ = maker_flow(np.full(30, 9000), np.full(30, 5000), 20, world)
    (block,) = draw_makers(1, 20, flow, world, VAULTS, MEMBERS, PROFILE)
    margin, value = opening_margin(block.positions, block.mode, world)
    price = VAULTS.price * (1.0 - VAULTS.haircut)
    backed = np.bincount(block.collateral_owner, block.quantity * price[block.asset], 20)
    assert (backed + value > 1.4 * margin).all()


def test_maker_count_leaves_room_for_clients():
    assert [maker_count(n, PROFILE) for n in (1, 2, 3, 6, 6000, 1_000_000)] == [0, 1, 1, 3, 3, 500]


def test_nothing_to_draw():
    nothing = Drawn(*(np.zeros(0, dtype=kind) for kind in (np.int64, np.int32, np.int64)))
    margin, value = opening_margin(nothing, np.zeros(2, dtype=np.int8), universe())
    assert margin.tolist() == value.tolist() == [0.0, 0.0]
