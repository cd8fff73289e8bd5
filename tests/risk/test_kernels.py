"""Kernels against their slow twins in plain NumPy."""

import dataclasses
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from risk.kernels import (
    Positions,
    account_pnl,
    expected_shortfall_sets,
    margin_block,
    unit_measures,
    worst_loss,
)
from risk.kernels.block import run_block
from risk.kernels.registers import Registers
from risk.kernels.sums import LIMIT, UNIT, require_exact
from risk.kernels.tiles import tile_memory
from risk.measures import Measure, expected_shortfall, quantile_position, tail_mass, value_at_risk


def random_book(rng, accounts, instruments, most=4):
    sets = rng.integers(0, 3, accounts)
    held = rng.integers(0, most + 1, sets.sum())
    account_sets = np.concatenate([[0], np.cumsum(sets)])
    set_offsets = np.concatenate([[0], np.cumsum(held)])
    instrument = rng.integers(0, instruments, held.sum()).astype(np.int32)
    return Positions(account_sets, set_offsets, instrument, rng.normal(0, 3, held.sum()))


def whole_numbers(positions, rng):
    """Quantities that make every sum exact, so that equals are equal and order does not show."""
    quantity = rng.integers(-2, 3, len(positions.quantity)).astype(float)
    return dataclasses.replace(positions, quantity=quantity)


def set_pnl(positions, cube):
    rows = np.zeros((positions.sets, cube.shape[1]))
    for n in range(positions.sets):
        for p in range(positions.set_offsets[n], positions.set_offsets[n + 1]):
            rows[n] += positions.quantity[p] * cube[positions.instrument[p]]
    return rows


def attained(measure, row, weight):
    """Return scenarios, their weights, the mass and the scenario that names the measure."""
    pnl = row[measure.start : measure.stop]
    order = np.argsort(pnl, kind="stable")
    if measure.kind == "worst_loss":
        worst = int(np.argmin(pnl * weight[measure.start : measure.stop]))
        scenarios, shares, mass = [worst], [weight[measure.start + worst]], 1.0
        named = worst
    elif measure.kind == "value_at_risk":
        rank, share = quantile_position(len(pnl), measure.level, measure.convention)
        scenarios = [order[len(pnl) - rank]]
        shares, mass = [1.0 - share], 1.0
        if share > 0.0:
            scenarios.append(order[len(pnl) - rank - 1])
            shares.append(share)
        named = scenarios[1] if share > 0.5 else scenarios[0]
    else:
        mass = float(tail_mass(len(pnl), measure.level))
        whole = int(mass)
        part = [mass - whole] if mass > whole else []
        scenarios, shares = order[: whole + len(part)], [1.0] * whole + part
        named = order[0]
    return np.array(scenarios) + measure.start, np.array(shares), mass, named + measure.start


def rounded(amount):
    """To the nearest multiple of the unit, the even one of two as near."""
    return np.round(amount / UNIT) * UNIT


def slow_block(positions, equity, cube, weight, measures):
    rows = set_pnl(positions, cube)
    value = np.zeros((positions.sets, len(measures)))
    binding = np.zeros(value.shape, dtype=int)
    contribution = np.zeros(len(cube))
    for n, row in enumerate(rows):
        largest, split = 0.0, None
        for m, measure in enumerate(measures):
            scenarios, shares, mass, binding[n, m] = attained(measure, row, weight)
            value[n, m] = -(shares * row[scenarios]).sum() / mass
            if measure.binds and value[n, m] > largest:
                largest, split = value[n, m], (scenarios, shares / mass)
        if split is not None:
            for p in range(positions.set_offsets[n], positions.set_offsets[n + 1]):
                i = positions.instrument[p]
                lost = -positions.quantity[p] * (cube[i, split[0]] * split[1]).sum()
                contribution[i] += rounded(lost)
    pnl = np.array(
        [rows[positions.account_sets[a] : positions.account_sets[a + 1]].sum(axis=0)
         for a in range(positions.accounts)]
    ).reshape(positions.accounts, cube.shape[1])  # fmt: skip
    left = pnl + equity[:, None]
    return {
        "value": value,
        "binding_scenario": binding,
        "contribution": contribution,
        "system_loss": rounded(np.maximum(0.0, -pnl)).sum(axis=0),
        "uncovered_loss": rounded(np.maximum(0.0, -left)).sum(axis=0),
        "accounts_under_water": (left < 0.0).sum(axis=0),
    }


def some_measures(rng, scenarios):
    start = int(rng.integers(0, scenarios))
    stop = int(rng.integers(start + 1, scenarios + 1))
    level = 1 - float(rng.integers(1, stop - start + 1)) / (stop - start) + 1e-4
    level = round(min(max(level, 0.01), 1 - 1 / (stop - start)), 4)
    measures = [
        Measure("worst", "worst_loss", start, stop),
        Measure("worst_of_all", "worst_loss", 0, scenarios, binds=bool(rng.integers(2))),
    ]
    if 0.0 < level < 1.0 and (stop - start) * (1 - level) > 1.001:
        measures += [
            Measure("tail", "expected_shortfall", start, stop, level),
            Measure("quantile", "value_at_risk", start, stop, level),
            Measure("between", "value_at_risk", start, stop, level, "hazen"),
        ]
    return [measures[k] for k in rng.permutation(len(measures))]


def assert_same_bits(one, other):
    for field in dataclasses.fields(one):
        left, right = getattr(one, field.name), getattr(other, field.name)
        assert left.dtype == right.dtype
        assert left.tobytes() == right.tobytes(), field.name


@given(seed=st.integers(0, 2**32 - 1), scenarios=st.integers(1, 400))
@settings(deadline=None, max_examples=60)
def test_a_block_agrees_with_its_slow_twin(seed, scenarios):
    rng = np.random.default_rng(seed)
    positions = random_book(rng, int(rng.integers(0, 9)), 6)
    cube = rng.standard_t(2, (6, scenarios))
    weight = np.where(rng.random(scenarios) < 0.8, 1.0, 0.35)
    equity = rng.normal(2, 4, positions.accounts)
    measures = some_measures(rng, scenarios)
    block = margin_block(positions, equity, cube, weight, measures)
    for name, expected in slow_block(positions, equity, cube, weight, measures).items():
        np.testing.assert_allclose(getattr(block, name), expected, rtol=1e-10, atol=1e-10)
    binds = [m for m, measure in enumerate(measures) if measure.binds]
    total = np.maximum(0.0, block.value[:, binds].max(axis=1, initial=0.0)).sum()
    # Each position of a set is off by half a unit at most.
    off = len(positions.quantity) * UNIT / 2
    assert block.contribution.sum() == pytest.approx(total, rel=1e-9, abs=off + 1e-9)


@given(seed=st.integers(0, 2**32 - 1), scenarios=st.integers(1, 400), kinds=st.integers(1, 4))
@settings(deadline=None, max_examples=60)
def test_ties_are_exact(seed, scenarios, kinds):
    rng = np.random.default_rng(seed)
    positions = whole_numbers(random_book(rng, 8, 6), rng)
    cube = rng.integers(-kinds, kinds + 1, (6, scenarios)).astype(float)
    equity = rng.integers(-3, 4, positions.accounts).astype(float)
    weight = np.where(rng.random(scenarios) < 0.8, 1.0, 0.5)
    measures = some_measures(rng, scenarios)
    block = margin_block(positions, equity, cube, weight, measures)
    slow = slow_block(positions, equity, cube, weight, measures)
    np.testing.assert_array_equal(block.binding_scenario, slow["binding_scenario"])
    np.testing.assert_array_equal(block.system_loss, slow["system_loss"])
    np.testing.assert_array_equal(block.accounts_under_water, slow["accounts_under_water"])
    np.testing.assert_allclose(block.value, slow["value"], rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(block.contribution, slow["contribution"], rtol=1e-12, atol=1e-12)


@given(
    seed=st.integers(0, 2**32 - 1),
    scenarios=st.integers(1, 700),
    spread=st.sampled_from([0.0, 1.0, 1e-300, 1e12]),
)
@settings(deadline=None, max_examples=60)
def test_the_bare_kernels_agree_with_the_readable_measures(seed, scenarios, spread):
    rng = np.random.default_rng(seed)
    positions = random_book(rng, 5, 4)
    cube = rng.normal(0, 1, (4, scenarios)) * spread
    cube[:, rng.integers(0, scenarios)] *= 1e9  # one outlier, as a crash is
    pnl = set_pnl(positions, cube)
    loss, scenario = worst_loss(positions, cube)
    np.testing.assert_allclose(loss, -pnl.min(axis=1), rtol=1e-9, atol=spread * 1e-9)
    at_worst = pnl[np.arange(len(pnl)), scenario]
    np.testing.assert_allclose(at_worst, -loss, rtol=1e-9, atol=spread * 1e-9)
    depth = int(rng.integers(1, scenarios + 1))
    level = 1 - depth / scenarios
    level = round(level - 5e-6, 5)
    if 0.0 < level < 1.0:
        expected = [expected_shortfall(row, level) for row in pnl]
        found = expected_shortfall_sets(positions, cube, level)
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=spread * 1e-9)


def fixed_book(accounts=300, instruments=20, scenarios=333):
    rng = np.random.default_rng(7)
    positions = random_book(rng, accounts, instruments, most=9)
    cube = rng.normal(0, 1, (instruments, scenarios))
    cube[:, :60] = np.round(cube[:, :60])
    weight = np.where(np.arange(scenarios) < 300, 1.0, 0.4)
    equity = rng.normal(1, 2, accounts)
    measures = [
        Measure("tail", "expected_shortfall", 0, 250, 0.975),
        Measure("deep", "expected_shortfall", 0, 250, 0.3),
        Measure("quantile", "value_at_risk", 0, 250, 0.99, "hazen", binds=False),
        Measure("stress", "worst_loss", 250, scenarios),
    ]
    return positions, equity, cube, weight, measures


def part_of(positions, start, stop):
    first, last = positions.account_sets[start], positions.account_sets[stop]
    begin, end = positions.set_offsets[first], positions.set_offsets[last]
    return Positions(
        positions.account_sets[start : stop + 1] - first,
        positions.set_offsets[first : last + 1] - begin,
        positions.instrument[begin:end],
        positions.quantity[begin:end],
    )


@pytest.mark.parametrize(
    "registers",
    [
        Registers(lanes=2, accumulators=3),
        pytest.param(Registers(lanes=1, accumulators=4), marks=pytest.mark.slow),
        pytest.param(Registers(lanes=2, accumulators=12), marks=pytest.mark.slow),
        pytest.param(Registers(lanes=8, accumulators=12), marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_every_width_of_registers_gives_the_same_bits(registers):
    book = fixed_book()
    assert_same_bits(run_block(registers, *book), margin_block(*book))


@pytest.mark.parametrize("scenarios", [1, 5, 47, 48, 49, 96, 97, 143, 144, 145])
def test_tiles_find_the_first_least_of_any_number_of_scenarios(scenarios):
    positions, _, cube, _, _ = fixed_book(scenarios=scenarios)
    positions = whole_numbers(positions, np.random.default_rng(scenarios))
    pnl = set_pnl(positions, np.round(cube))
    loss, scenario = worst_loss(positions, np.round(cube))
    np.testing.assert_array_equal(loss, -pnl.min(axis=1))
    np.testing.assert_array_equal(scenario, pnl.argmin(axis=1))
    assert not np.signbit(loss[loss == 0.0]).any()


@pytest.mark.parametrize(
    "registers",
    [
        Registers(lanes=1, accumulators=4),
        Registers(lanes=2, accumulators=3),
        Registers(lanes=8, accumulators=12),
        pytest.param(Registers(lanes=2, accumulators=12), marks=pytest.mark.slow),
        pytest.param(Registers(lanes=4, accumulators=12), marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_tiles_of_every_width_give_the_bits_of_whole_rows(registers):
    positions, _, cube, _, _ = fixed_book()
    each = dataclasses.replace(positions, account_sets=np.arange(positions.sets + 1))
    rows = account_pnl(each, cube)
    loss, scenario = worst_loss(positions, cube, registers)
    assert loss.tobytes() == (0.0 - rows.min(axis=1)).tobytes()
    np.testing.assert_array_equal(scenario, rows.argmin(axis=1))


def test_tiles_read_nothing_of_other_sets_and_other_threads():
    positions, _, cube, _, _ = fixed_book()
    loss, scenario = worst_loss(positions, cube)
    for cut in (0, 1, 123, 299, 300):
        parts = [worst_loss(part_of(positions, a, b), cube) for a, b in ((0, cut), (cut, 300))]
        assert np.concatenate([part[0] for part in parts]).tobytes() == loss.tobytes()
        assert np.concatenate([part[1] for part in parts]).tobytes() == scenario.tobytes()
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: worst_loss(positions, cube), range(12)):
            assert found[0].tobytes() == loss.tobytes()
            assert found[1].tobytes() == scenario.tobytes()


def test_a_tile_starts_on_a_line_of_the_cache():
    for instruments in (1, 7, 500):
        tile = tile_memory(Registers(lanes=4, accumulators=12), instruments)
        assert tile.shape == (instruments, 48)
        assert tile.ctypes.data % 64 == 0


def test_any_cut_of_the_accounts_gives_the_same_bits_per_account():
    positions, equity, cube, weight, measures = fixed_book()
    whole = margin_block(positions, equity, cube, weight, measures)
    for cut in (0, 1, 123, 299, 300):
        parts = [
            margin_block(part_of(positions, a, b), equity[a:b], cube, weight, measures)
            for a, b in ((0, cut), (cut, 300))
        ]
        for name in ("value", "binding_scenario"):
            joined = np.concatenate([getattr(part, name) for part in parts])
            assert joined.tobytes() == getattr(whole, name).tobytes()
        under = sum(part.accounts_under_water for part in parts)
        np.testing.assert_array_equal(under, whole.accounts_under_water)


def test_threads_share_nothing():
    book = fixed_book()
    alone = margin_block(*book)
    with ThreadPoolExecutor(4) as pool:
        for block in pool.map(lambda _: margin_block(*book), range(12)):
            assert_same_bits(block, alone)


def test_sums_are_those_of_rounded_terms_to_the_bit():
    """P&L from the very chains, so that nothing but the sums is compared."""
    positions, equity, cube, weight, measures = fixed_book()
    block = margin_block(positions, equity, cube, weight, measures)
    pnl = account_pnl(positions, cube)
    left = equity[:, None] + pnl
    assert block.system_loss.tolist() == rounded(np.maximum(0.0, -pnl)).sum(axis=0).tolist()
    assert block.uncovered_loss.tolist() == rounded(np.maximum(0.0, -left)).sum(axis=0).tolist()


def test_half_a_unit_goes_to_the_even_one_and_does_not_move_the_water_line():
    cube = UNIT * np.array([[-0.5, -1.5, -2.5, 0.5, -0.25]])
    one = Positions(np.array([0, 1]), np.array([0, 1]), np.zeros(1, np.int32), np.ones(1))
    measure = Measure("w", "worst_loss", 0, 5)
    block = margin_block(one, np.zeros(1), cube, np.ones(5), [measure])
    assert (block.system_loss / UNIT).tolist() == [0.0, 2.0, 2.0, 0.0, 0.0]
    assert (block.uncovered_loss / UNIT).tolist() == [0.0, 2.0, 2.0, 0.0, 0.0]
    assert block.accounts_under_water.tolist() == [1, 1, 1, 0, 1]
    assert (block.contribution / UNIT).tolist() == [2.0]
    assert (block.value / UNIT).tolist() == [[2.5]]


SUMS = ("contribution", "system_loss", "uncovered_loss", "accounts_under_water")


def of_accounts(positions, accounts):
    """The same book with its accounts in another order, or without some of them."""
    parts = [part_of(positions, account, account + 1) for account in accounts]
    sets = np.concatenate([[0], *(np.diff(part.account_sets) for part in parts)]).cumsum()
    held = np.concatenate([[0], *(np.diff(part.set_offsets) for part in parts)]).cumsum()
    return Positions(
        sets,
        held,
        np.concatenate([np.zeros(0, np.int32), *(part.instrument for part in parts)]),
        np.concatenate([np.zeros(0), *(part.quantity for part in parts)]),
    )


@given(seed=st.integers(0, 2**32 - 1), scenarios=st.integers(1, 200), size=st.integers(-6, 6))
@settings(deadline=None, max_examples=60)
def test_no_order_of_accounts_changes_a_bit_of_the_sums(seed, scenarios, size):
    """Nor does it to take some of them away and add them again, whatever they were summed with."""
    rng = np.random.default_rng(seed)
    number = int(rng.integers(1, 30))
    positions, equity = random_book(rng, number, 6), rng.normal(0, 10.0**size, number)
    cube, weight = rng.standard_t(2, (6, scenarios)) * 10.0**size, np.ones(scenarios)
    measures = some_measures(rng, scenarios)

    def sums(accounts):
        return margin_block(
            of_accounts(positions, accounts), equity[accounts], cube, weight, measures
        )

    order = rng.permutation(number)
    whole, other = sums(np.arange(number)), sums(order)
    cut = int(rng.integers(0, number + 1))
    some, rest = sums(order[:cut]), sums(np.sort(order[cut:]))
    for name in SUMS:
        bits = getattr(whole, name).tobytes()
        assert getattr(other, name).tobytes() == bits, name
        left = getattr(whole, name) - getattr(some, name)
        assert left.tobytes() == getattr(rest, name).tobytes(), name
        assert (left + getattr(some, name)).tobytes() == bits, name


@pytest.mark.parametrize(
    ("quantity", "equity", "name"),
    [
        ([1.0, 1.0], LIMIT, "contribution"),
        ([1.0, -1.0], LIMIT, "contribution"),
        ([0.0, 0.0], -LIMIT, "uncovered_loss"),
    ],
)
def test_sums_too_large_to_be_exact_are_refused(quantity, equity, name):
    """Contributions of either sign count, for they may be added in any order."""
    two = Positions(np.arange(3), np.arange(3), np.zeros(2, np.int32), np.array(quantity))
    cube = np.array([[-LIMIT / 2, LIMIT / 2]])
    measure = Measure("w", "worst_loss", 0, 2)
    with pytest.raises(ValueError, match=f"SUM_TOO_LARGE: {name} comes to 8,796,093,022,208"):
        margin_block(two, np.array([equity, 0.0]), cube, np.ones(2), [measure])
    below = margin_block(two, np.zeros(2), cube * (1 - 2.0**-50), np.ones(2), [measure])
    assert below.system_loss.max() < LIMIT


def test_losses_too_large_to_be_exact_are_refused_where_nothing_is_margined():
    one = Positions(np.arange(2), np.arange(2), np.zeros(1, np.int32), np.ones(1))
    cube = np.array([[1.0, -LIMIT]])
    with pytest.raises(ValueError, match="SUM_TOO_LARGE: system_loss comes to 8,796,093,022,208"):
        margin_block(one, np.zeros(1), cube, np.ones(2), [Measure("w", "worst_loss", 0, 1)])


@pytest.mark.parametrize("wrong", [LIMIT, -LIMIT, np.inf, np.nan])
def test_what_is_no_exact_sum_is_refused(wrong):
    require_exact("loss", np.array([0.0, LIMIT - UNIT, UNIT - LIMIT]))
    require_exact("loss", np.zeros((0, 3)))
    with pytest.raises(ValueError, match="SUM_TOO_LARGE: loss comes to"):
        require_exact("loss", np.array([1.0, wrong]))


def test_a_reordered_book_changes_no_account_by_the_company_it_keeps():
    positions, _, cube, _, _ = fixed_book()
    alone = [account_pnl(part_of(positions, a, a + 1), cube)[0] for a in range(positions.accounts)]
    assert account_pnl(positions, cube).tobytes() == np.array(alone).tobytes()


def test_an_empty_book_an_empty_account_and_an_empty_set():
    cube, weight = np.ones((2, 5)), np.ones(5)
    nobody = Positions(np.zeros(1, int), np.zeros(1, int), np.zeros(0, int), np.zeros(0))
    block = margin_block(nobody, np.zeros(0), cube, weight, [Measure("w", "worst_loss", 0, 5)])
    assert block.value.shape == (0, 1)
    assert not block.system_loss.any()
    quiet = Positions(np.array([0, 0, 1]), np.array([0, 0]), np.zeros(0, int), np.zeros(0))
    measures = [
        Measure("w", "worst_loss", 0, 5),
        Measure("e", "expected_shortfall", 0, 5, 0.5),
        Measure("v", "value_at_risk", 1, 5, 0.5),
    ]
    block = margin_block(quiet, np.array([-1.0, 0.0]), cube, weight, measures)
    assert block.value.tolist() == [[0.0, 0.0, 0.0]]
    assert block.binding_scenario.tolist() == [[0, 0, 3]]
    assert block.uncovered_loss.tolist() == [1.0] * 5
    assert block.accounts_under_water.tolist() == [1] * 5
    assert not np.signbit(block.value).any()


def test_a_long_clustered_tail_is_still_exact():
    cube = np.concatenate([[-1e9], -1.0 - np.arange(998) * 2.0**-52, [5.0]])[None, :]
    book = Positions(np.array([0, 1]), np.array([0, 1]), np.zeros(1, int), np.ones(1))
    for level in (0.975, 0.6, 0.1):
        found = expected_shortfall_sets(book, cube, level)[0]
        assert found == pytest.approx(expected_shortfall(cube[0], level), rel=1e-13)
    measure = Measure("v", "value_at_risk", 0, 1000, 0.95)
    block = margin_block(book, np.zeros(1), cube, np.ones(1000), [measure])
    assert block.value[0, 0] == value_at_risk(cube[0], 0.95)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"instrument": np.array([0, 2])}, "instruments 0..2 are not all rows of a cube of 2"),
        ({"quantity": np.ones(3)}, "do not pair"),
        ({"set_offsets": np.array([0, 1])}, "set_offsets must run from 0 to 2"),
        ({"account_sets": np.array([0, 2])}, "account_sets must run from 0 to 1"),
    ],
)
def test_positions_that_do_not_fit_are_refused(change, message):
    good = Positions(np.array([0, 1]), np.array([0, 2]), np.array([0, 1]), np.ones(2))
    with pytest.raises(ValueError, match=message):
        worst_loss(dataclasses.replace(good, **change), np.zeros((2, 4)))


def test_measures_that_do_not_fit_are_refused():
    book, cube = fixed_book()[0], np.zeros((20, 10))

    def block(measure, weight=np.ones(10), equity=np.zeros(300)):  # noqa: B008 - never written to
        return margin_block(book, equity, cube, weight, [measure])

    worst = Measure("w", "worst_loss", 0, 10)
    with pytest.raises(ValueError, match="needs at least one of 0:10"):
        block(Measure("w", "worst_loss", 4, 11))
    with pytest.raises(ValueError, match="TAIL_BEYOND_SAMPLE"):
        block(Measure("e", "expected_shortfall", 0, 10, 0.99))
    with pytest.raises(ValueError, match="weight has shape"):
        block(worst, weight=np.ones(9))
    with pytest.raises(ValueError, match="equity has shape"):
        block(worst, equity=np.zeros(2))
    with pytest.raises(ValueError, match="at least one"):
        worst_loss(book, np.zeros((20, 0)))


def test_a_set_of_one_position_is_its_size_times_one_contract():
    rng = np.random.default_rng(31)
    cube, weight = rng.standard_t(3, (5, 210)), np.where(rng.random(210) < 0.5, 1.0, 0.4)
    measures = [
        Measure("worst", "worst_loss", 150, 210),
        Measure("tail", "expected_shortfall", 0, 150, 0.95),
        Measure("quantile", "value_at_risk", 0, 150, 0.975, "hazen"),
    ]
    alone = np.arange(6)
    contracts = Positions(alone, alone, np.arange(5, dtype=np.int32), np.ones(5))
    units = unit_measures(contracts, cube, weight, measures)
    for side, sign in enumerate((1.0, -1.0)):
        one = Positions(alone, alone, contracts.instrument, np.full(5, sign))
        twin = slow_block(one, np.zeros(5), cube, weight, measures)
        np.testing.assert_allclose(units.value[:, side], twin["value"], rtol=1e-12)
        assert np.array_equal(units.binding_scenario[:, side], twin["binding_scenario"])
        held = dataclasses.replace(one, quantity=sign * np.array([0.3, 7.0, 1e-9, 2.5, 4e6]))
        block = margin_block(held, np.zeros(5), cube, weight, measures)
        size = np.abs(held.quantity)[:, None]
        assert np.array_equal(block.value, size * units.value[:, side])


def test_units_of_a_whole_book_serve_its_blocks():
    rng = np.random.default_rng(32)
    positions, cube = random_book(rng, 40, 6, most=2), rng.standard_t(2, (6, 90))
    equity, weight = rng.normal(2, 4, 40), np.ones(90)
    measures = [Measure("tail", "expected_shortfall", 0, 90, 0.9)]
    units = unit_measures(positions, cube, weight, measures)
    for a, b in ((0, 13), (13, 40)):
        part = part_of(positions, a, b)
        assert_same_bits(
            margin_block(part, equity[a:b], cube, weight, measures, units),
            margin_block(part, equity[a:b], cube, weight, measures),
        )


def test_an_instrument_that_was_not_measured_shows():
    nothing = Positions(np.array([0]), np.array([0]), np.zeros(0, np.int32), np.zeros(0))
    one = Positions(np.array([0, 1]), np.array([0, 1]), np.zeros(1, np.int32), np.ones(1))
    cube, weight = np.ones((1, 8)), np.ones(8)
    measures = [Measure("worst", "worst_loss", 0, 8)]
    units = unit_measures(nothing, cube, weight, measures)
    assert np.isnan(margin_block(one, np.zeros(1), cube, weight, measures, units).value).all()


@pytest.mark.parametrize("first", [0.9, 0.95])
def test_a_measure_reads_the_tail_of_one_before_it(first):
    """A quantile is the same bits by itself and after an expected shortfall of the same scenarios.

    The second shortfall reaches further than the first, and so is no part of it.
    """
    rng = np.random.default_rng(33)
    positions, cube = whole_numbers(random_book(rng, 30, 6), rng), rng.integers(-9, 9, (6, 240))
    cube = cube.astype(float)
    equity, weight = np.zeros(30), np.ones(240)
    many = [
        Measure("tail", "expected_shortfall", 0, 240, first),
        Measure("quantile", "value_at_risk", 0, 240, 0.96, "hazen"),
        Measure("again", "expected_shortfall", 0, 240, 0.93),
    ]
    together = margin_block(positions, equity, cube, weight, many)
    for m, measure in enumerate(many):
        alone = margin_block(positions, equity, cube, weight, [measure])
        assert together.value[:, m].tobytes() == alone.value[:, 0].tobytes()
        assert np.array_equal(together.binding_scenario[:, m], alone.binding_scenario[:, 0])
