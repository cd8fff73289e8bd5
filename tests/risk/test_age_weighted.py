"""Scenarios that count by age: published numbers, an exact twin, and the kernel against both."""

import dataclasses
import json
import re
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from risk.allocation import euler_allocation, scenario_share
from risk.explanation import binding_scenarios
from risk.kernels import Positions, margin_block
from risk.kernels import plan as plans
from risk.kernels.block import run_block
from risk.kernels.registers import Registers
from risk.kernels.sums import UNIT
from risk.measures import (
    Measure,
    age_units,
    aged_tail_mass,
    expected_shortfall,
    value_at_risk,
)

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "age_weighted.json").read_text())
CASES = {case["id"]: case for case in GOLDEN["cases"]}
RANKED = [name for name, case in CASES.items() if "losses" in case]
DECAYS = [1.0, 0.999, 0.9927, 0.97, 0.5]


def sample_of(case):
    """The P&L of a case: its losses at their places, oldest first, and small gains elsewhere."""
    pnl = np.linspace(1.0, 2.0, case["scenarios"])
    for place, loss in case["losses"].items():
        pnl[int(place) - 1] = -loss
    return pnl


def one_set(pnl):
    """A book of one contract, and the cube in which it has this P&L."""
    book = Positions(np.array([0, 1]), np.array([0, 1]), np.zeros(1, dtype=np.int32), np.ones(1))
    return book, np.zeros(1), np.asarray(pnl, dtype=float)[None, :], np.ones(len(pnl))


def by_kernel(pnl, *measures):
    return margin_block(*one_set(pnl), measures).value[0].tolist()


def whole(kind, n, level, decay, **changes):
    return Measure(kind, kind, 0, n, level, age_decay=decay, **changes)


def twin(pnl, level, decay):
    """Quantile and shortfall in exact fractions, from the definition; equals in their order."""
    n = len(pnl)
    weight = [Fraction(decay) ** (n - 1 - k) for k in range(n)]
    tail = sum(weight) * (1 - Fraction(str(level)))
    reached, lost, quantile = Fraction(0), Fraction(0), None
    for k in sorted(range(n), key=lambda k: (pnl[k], k)):
        share = min(weight[k], max(Fraction(0), tail - reached))
        lost -= share * Fraction(float(pnl[k]))
        reached += weight[k]
        if quantile is None and reached > tail:
            quantile = -pnl[k]
    return float(quantile), float(lost / tail)


def refusal(n, level, decay):
    """Why a tail is refused, or nothing where it is not."""
    try:
        aged_tail_mass(age_units(n, decay), level)
    except ValueError as why:
        return str(why)
    return None


@pytest.mark.parametrize("name", RANKED)
def test_published_weights(name):
    case = CASES[name]
    units = age_units(case["scenarios"], case["decay"])
    for place, weight in case["weights"].items():
        digits = 5 if name.startswith("hull") else 4
        assert round(units[int(place) - 1] / units.sum(), digits) == weight


@pytest.mark.parametrize("name", ["hull_995", "hull_99"])
def test_published_shortfalls_to_the_dollar(name):
    case = CASES[name]
    pnl, level, decay = sample_of(case), case["level"], case["decay"]
    n = len(pnl)
    found = by_kernel(
        pnl,
        whole("value_at_risk", n, level, decay),
        whole("expected_shortfall", n, level, decay),
    )
    readable = value_at_risk(pnl, level, age_decay=decay), expected_shortfall(pnl, level, decay)
    for quantile, shortfall in (found, readable):
        assert quantile == case["value_at_risk"]
        assert shortfall == pytest.approx(case["expected_shortfall"], abs=case["tolerance"])


@pytest.mark.parametrize("name", ["brw_initial", "brw_25_days_later"])
def test_the_inverted_cdf_is_the_nearer_of_the_losses_that_the_text_interpolates(name):
    case = CASES[name]
    found = value_at_risk(sample_of(case), case["level"], age_decay=case["decay"])
    assert found == case["value_at_risk"]
    assert found < case["interpolated"] < case["before"]


def test_published_rule_of_weights():
    case = CASES["strata_weights"]
    units = age_units(case["scenarios"], case["decay"])
    share = units / units.sum()
    assert share[0] == pytest.approx(case["first"], rel=1e-12)
    assert share[-1] == pytest.approx(case["last"], rel=1e-12)
    np.testing.assert_allclose(share[:-1] / share[1:], case["decay"], rtol=1e-12)


@given(n=st.integers(1, 3000), decay=st.floats(0.01, 1.0))
@settings(deadline=None, max_examples=50)
def test_weights_sum_exactly_in_any_order(n, decay):
    units = age_units(n, decay)
    assert len(units) == n
    assert units[-1] == 2 ** (53 - n.bit_length())
    assert (np.diff(units) >= 0).all()
    assert sum(units.tolist()) < 2**53
    assert units.astype(float)[::-1].sum() == sum(units.tolist())


@given(
    pnl=st.lists(st.integers(-9, 9), min_size=1, max_size=40),
    percent=st.integers(1, 99),
    decay=st.sampled_from([1.0, 0.5, 0.75, 0.9375]),
)
@settings(deadline=None, max_examples=200)
def test_measures_are_those_of_exact_fractions(pnl, percent, decay):
    pnl, level = np.array(pnl, dtype=float), percent / 100
    n = len(pnl)
    if refusal(n, level, decay) is not None:
        return
    quantile, shortfall = twin(pnl, level, decay)
    found = by_kernel(
        pnl,
        whole("value_at_risk", n, level, decay),
        whole("expected_shortfall", n, level, decay),
    )
    for left, right in (
        (found[0], quantile),
        (found[1], shortfall),
        (value_at_risk(pnl, level, age_decay=decay), quantile),
        (expected_shortfall(pnl, level, decay), shortfall),
    ):
        assert left == pytest.approx(right, rel=1e-11, abs=1e-11)


def random_case(seed, scenarios, ties):
    rng = np.random.default_rng(seed)
    legs = int(rng.integers(1, 5))
    cube = rng.standard_t(2, (4, scenarios))
    if ties:
        cube = rng.integers(-2, 3, (4, scenarios)).astype(float)
    book = Positions(
        np.array([0, 1]),
        np.array([0, legs]),
        rng.integers(0, 4, legs).astype(np.int32),
        # Powers of two, so that a product is exact and a row is the same however it is summed.
        rng.choice([-4.0, -2.0, -1.0, 0.0, 1.0, 2.0, 4.0], legs),
    )
    return book, cube


@given(
    seed=st.integers(0, 2**32 - 1),
    scenarios=st.integers(1, 700),
    decay=st.sampled_from(DECAYS),
    level=st.sampled_from([0.5, 0.9, 0.975, 0.99]),
    ties=st.booleans(),
)
@settings(deadline=None, max_examples=150)
def test_the_kernel_is_the_readable_measure_with_its_scenarios(seed, scenarios, decay, level, ties):
    book, cube = random_case(seed, scenarios, ties)
    start = seed % scenarios
    n = scenarios - start
    measures = [
        Measure(kind, kind, start, scenarios, level, age_decay=decay)
        for kind in ("expected_shortfall", "value_at_risk")
    ]
    why = refusal(n, level, decay)
    if why is not None:
        with pytest.raises(ValueError, match=re.escape(why)):
            margin_block(book, np.zeros(1), cube, np.ones(scenarios), measures)
        return
    row = sum(q * cube[i] for i, q in zip(book.instrument, book.quantity, strict=True))
    legs = np.array([q * cube[i] for i, q in zip(book.instrument, book.quantity, strict=True)])
    for measure in measures:
        block = margin_block(book, np.zeros(1), cube, np.ones(scenarios), [measure])
        if measure.kind == "expected_shortfall":
            expected = expected_shortfall(row[start:], level, decay)
        else:
            expected = value_at_risk(row[start:], level, age_decay=decay)
        assert block.value[0, 0] == pytest.approx(expected, rel=1e-11, abs=1e-11)
        tail = binding_scenarios(row, np.ones(scenarios), measure)
        assert sum(one.weight for one in tail) == pytest.approx(1.0, rel=1e-12)
        assert -sum(one.weight * one.pnl for one in tail) == pytest.approx(expected, abs=1e-10)
        assert block.binding_scenario[0, 0] == tail[0].scenario
        split = euler_allocation(legs, np.ones(scenarios), measure)
        assert split.sum() == pytest.approx(expected, rel=1e-9, abs=1e-9)
        if expected > 0.0:
            # Each position is off by half a unit at most.
            off = len(book.quantity) * UNIT / 2
            assert block.contribution.sum() == pytest.approx(expected, rel=1e-9, abs=off + 1e-9)


def test_scenarios_that_tie_share_by_age():
    pnl = np.array([-1.0, -1.0, 0.0, 5.0])
    measure = whole("expected_shortfall", 4, 0.5, 0.5)
    share = scenario_share(pnl, np.ones(4), measure)
    assert share[:2].tolist() == pytest.approx([1 / 7.5, 2 / 7.5])
    assert share.sum() == pytest.approx(1.0)


@given(seed=st.integers(0, 2**32 - 1), scenarios=st.integers(2, 900), ties=st.booleans())
@settings(deadline=None, max_examples=60)
def test_equal_ages_give_the_bits_of_the_unweighted_measures(seed, scenarios, ties):
    book, cube = random_case(seed, scenarios, ties)
    depth = 1 + seed % (scenarios - 1)
    level = round(1 - depth / scenarios - 5e-5, 4)
    if not 0.0 < level < 1.0:
        return
    names = ("expected_shortfall", "value_at_risk")
    equal = [whole(kind, scenarios, level, 1.0) for kind in names]
    plain = [whole(kind, scenarios, level, None) for kind in names]
    for one, other in zip(equal, plain, strict=True):
        left = margin_block(book, np.zeros(1), cube, np.ones(scenarios), [one])
        right = margin_block(book, np.zeros(1), cube, np.ones(scenarios), [other])
        assert left.value.tobytes() == right.value.tobytes()
        assert left.binding_scenario.tobytes() == right.binding_scenario.tobytes()
        np.testing.assert_allclose(left.contribution, right.contribution, rtol=1e-14, atol=1e-14)


def fixed_block(registers=None):
    rng = np.random.default_rng(11)
    held = rng.integers(1, 9, 200)
    book = Positions(
        np.arange(201),
        np.concatenate([[0], np.cumsum(held)]),
        rng.integers(0, 12, held.sum()).astype(np.int32),
        rng.integers(-3, 4, held.sum()).astype(float),
    )
    cube = rng.standard_t(3, (12, 640))
    cube[:, :200] = np.round(cube[:, :200])
    measures = [
        Measure("old", "expected_shortfall", 0, 640, 0.975, age_decay=0.99, weight=0.75),
        Measure("p", "expected_shortfall", 99, 500, 0.9, age_decay=0.9, weight=0.25, joins=True),
        Measure("v", "value_at_risk", 0, 640, 0.95, age_decay=0.97, binds=False),
        Measure("w", "worst_loss", 500, 640),
    ]  # fmt: skip
    call = (book, rng.normal(1.0, 2.0, 200), cube, np.ones(640), measures)
    return run_block(registers, *call) if registers else margin_block(*call)


def assert_same_bits(one, other):
    for field in dataclasses.fields(one):
        left, right = getattr(one, field.name), getattr(other, field.name)
        assert left.tobytes() == right.tobytes(), field.name


@pytest.mark.parametrize(
    "registers",
    [
        pytest.param(Registers(lanes=2, accumulators=3), marks=pytest.mark.slow),
        pytest.param(Registers(lanes=1, accumulators=4), marks=pytest.mark.slow),
        pytest.param(Registers(lanes=8, accumulators=12), marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_every_width_of_registers_gives_the_same_bits(registers):
    assert_same_bits(fixed_block(registers), fixed_block())


@pytest.mark.parametrize("part", [0.3, 0.6, 1.0])
def test_where_the_tail_is_looked_for_shows_in_no_bit(monkeypatch, part):
    found = fixed_block()

    def another(units, reach):
        newest = max(int(part * len(units)), 1)
        depth = min(int(-(-reach // units[newest - 1])), newest)
        return (newest, depth) if depth * units[newest - 1] >= reach else (len(units), len(units))

    monkeypatch.setattr(plans, "enough", another)
    assert_same_bits(fixed_block(), found)


@given(n=st.integers(1, 900), decay=st.floats(0.05, 1.0), level=st.floats(0.01, 0.999))
@settings(deadline=None, max_examples=100)
def test_the_scenarios_that_are_enough_are_enough(n, decay, level):
    units = age_units(n, decay)
    held = units[units > 0][::-1]
    reach = max(int(units.sum() * (1.0 - level)), 1)
    newest, depth = plans.enough(held, reach)
    assert 1 <= depth <= newest <= len(held)
    assert np.sort(held[:newest])[:depth].sum() >= reach


def test_a_clustered_tail_is_still_exact():
    pnl = np.concatenate([[-1e9], -1.0 - np.arange(998) * 2.0**-52, [5.0]])
    for level in (0.975, 0.6, 0.1):
        found = by_kernel(
            pnl,
            whole("expected_shortfall", 1000, level, 0.999),
            whole("value_at_risk", 1000, level, 0.999),
        )
        assert found[0] == pytest.approx(expected_shortfall(pnl, level, 0.999), rel=1e-12)
        assert found[1] == value_at_risk(pnl, level, age_decay=0.999)


@given(
    pnl=st.lists(st.floats(-1e6, 1e6), min_size=20, max_size=60),
    decay=st.sampled_from([1.0, 0.99, 0.95]),
    factor=st.sampled_from([0.5, 2.0, 3.0]),
)
@settings(deadline=None, max_examples=60)
def test_shortfall_is_no_less_than_the_quantile_and_both_scale(pnl, decay, factor):
    pnl = np.array(pnl)
    quantile = value_at_risk(pnl, 0.8, age_decay=decay)
    shortfall = expected_shortfall(pnl, 0.8, decay)
    assert shortfall >= quantile - 1e-6
    assert expected_shortfall(factor * pnl, 0.8, decay) == pytest.approx(factor * shortfall)
    assert value_at_risk(factor * pnl, 0.8, age_decay=decay) == pytest.approx(factor * quantile)


@given(
    legs=st.lists(st.lists(st.integers(-9, 9), min_size=30, max_size=30), min_size=2, max_size=2),
    decay=st.sampled_from([1.0, 0.97, 0.9]),
)
@settings(deadline=None, max_examples=60)
def test_netting_never_costs(legs, decay):
    one, other = np.array(legs, dtype=float)
    apart = expected_shortfall(one, 0.8, decay) + expected_shortfall(other, 0.8, decay)
    assert expected_shortfall(one + other, 0.8, decay) <= apart + 1e-9


def test_a_loss_weighs_less_as_it_ages():
    recent, old = np.zeros(500), np.zeros(500)
    recent[-3], old[3] = -1.0, -1.0
    assert expected_shortfall(recent, 0.975, 0.99) > 20 * expected_shortfall(old, 0.975, 0.99) > 0


def test_what_is_refused():
    with pytest.raises(ValueError, match=r"DECAY_RANGE: decay 1.5 is not in \(0, 1\]"):
        age_units(10, 1.5)
    with pytest.raises(ValueError, match=r"1000 weighted by age are worth 65\.6667"):
        expected_shortfall(np.zeros(1000), 0.99, 0.97)
    with pytest.raises(ValueError, match=r"LEVEL_RANGE.*did you mean 0\.99"):
        value_at_risk(np.zeros(1000), 99, age_decay=0.999)
    with pytest.raises(ValueError, match=r"'hazen' is of equal weights"):
        value_at_risk(np.zeros(1000), 0.9, "hazen", 0.99)
    with pytest.raises(ValueError, match=r"'hazen' is of equal weights"):
        by_kernel(np.zeros(9), whole("value_at_risk", 9, 0.5, 0.99, convention="hazen"))
    with pytest.raises(ValueError, match="a worst loss does not count scenarios by age"):
        by_kernel(np.zeros(9), whole("worst_loss", 9, 0.0, 0.99))
