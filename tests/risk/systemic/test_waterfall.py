"""Waterfalls: published orders, exact sums, and who may not be asked."""

import itertools
import math
from fractions import Fraction
from importlib import resources

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from risk.systemic.cover import cover, group_losses
from risk.systemic.waterfall import (
    LayerSpec,
    allocate,
    combine,
    parse_waterfall,
    pro_rata,
    run_waterfall,
)
from tests.risk.systemic.golden import case

SETTINGS = settings(deadline=None, max_examples=200)
MONEY = st.one_of(st.just(0.0), st.floats(0.0, 1e12), st.integers(0, 10**9).map(float))
SHIPPED = sorted(
    entry.name for entry in resources.files("risk.systemic.waterfalls").iterdir() if entry.is_file()
)


def shipped(name):
    return parse_waterfall(resources.files("risk.systemic.waterfalls").joinpath(name).read_text())


@pytest.mark.parametrize("name", ["waterfall_0", "waterfall_2"])
def test_layers_in_the_order_of_the_regulation(name):
    given, expected, tolerance = case(name)
    order = ["im", "df_own", "sitg", "df_mutual", "assessment"]
    layers, left = allocate(given["loss"], [given[layer] for layer in order])
    np.testing.assert_allclose([*layers, left], expected["layers"], **tolerance)


@pytest.mark.parametrize("name", ["waterfall_0", "waterfall_2"])
def test_the_shipped_order_gives_the_same(name):
    given, expected, tolerance = case(name)
    found = run_waterfall(
        shipped("clearing-house-2012.toml"),
        [given["loss"], 0.0, 0.0],
        {
            "margin": [given["im"], 5.0, 5.0],
            "own_fund": [given["df_own"], 0.0, 0.0],
            "own_capital": given["sitg"],
            "mutual_fund": [0.0, 0.3 * given["df_mutual"], 0.7 * given["df_mutual"]],
        },
    )
    np.testing.assert_allclose([*found.layers, found.uncovered], expected["layers"], **tolerance)
    np.testing.assert_allclose(
        found.by_member[3], np.array([0.0, 0.3, 0.7]) * expected["layers"][3], **tolerance
    )


@SETTINGS
@given(st.integers(0, 2**62), st.lists(st.integers(0, 2**60), max_size=8))
def test_whole_units_add_up_exactly(loss, available):
    layers, left = allocate(loss, available)
    assert sum(layers.tolist()) + int(left) == loss
    assert all(0 <= taken <= has for taken, has in zip(layers.tolist(), available, strict=True))


@SETTINGS
@example(68719476737.98763, [1.4957199096679688, 4.2928950133381373e-91])
@given(MONEY, st.lists(MONEY, max_size=8))
def test_floats_add_up_to_the_last_bit(loss, available):
    layers, left = allocate(loss, available)
    exact = sum(map(Fraction, layers.tolist()), Fraction(float(left)))
    # Half a last bit, and what a layer far below it adds where that is a tie.
    assert abs(exact - Fraction(loss)) <= Fraction(math.ulp(loss)) / 2 * (1 + Fraction(1, 2**50))
    assert all(0.0 <= taken <= has for taken, has in zip(layers.tolist(), available, strict=True))
    drawn_in_part = [
        number
        for number, (taken, has) in enumerate(zip(layers.tolist(), available, strict=True))
        if taken < has
    ]
    if drawn_in_part:
        assert not layers[drawn_in_part[0] + 1 :].any()
        assert left == 0.0


def test_what_many_layers_round_is_not_lost():
    """Plain subtraction of a thousand tenths is off by dozens of last bits."""
    layers, left = allocate(1_000.3, [0.1] * 1_000 + [np.inf])
    exact = sum(map(Fraction, layers.tolist()), Fraction(float(left)))
    assert abs(exact - Fraction(1_000.3)) <= Fraction(math.ulp(1_000.3)) / 2
    assert math.fsum(layers) == 1_000.3


@SETTINGS
@given(st.data())
def test_losses_of_a_venue_are_borne_once_each(data):
    members, scenarios = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 3))

    def draw(*shape):
        size = math.prod(shape)
        return np.array(data.draw(st.lists(MONEY, min_size=size, max_size=size))).reshape(shape)

    loss = draw(members, scenarios)
    resources_ = {
        "margin": draw(members),
        "own_fund": draw(members),
        "own_capital": draw(1)[0],
        "mutual_fund": draw(members),
    }
    found = run_waterfall(shipped("clearing-house-2012.toml"), loss, resources_)
    total = loss.sum(axis=0)
    added = np.array(
        [
            math.fsum([*column, left])
            for column, left in zip(found.layers.T, found.uncovered, strict=True)
        ]
    )
    np.testing.assert_allclose(added, total, rtol=4e-16)
    own = np.minimum(loss, (resources_["margin"] + resources_["own_fund"])[:, None])
    np.testing.assert_allclose(found.by_member[:2].sum(axis=0), own, rtol=1e-12)
    failed = loss > 0.0
    assert not found.by_member[3:][:, failed].any()
    np.testing.assert_allclose(
        found.by_member[3:].sum(axis=1), found.layers[3:], rtol=1e-12, atol=1e-300
    )
    assert (found.layers >= 0.0).all()
    covered = (own == loss).all(axis=0)
    assert not found.layers[2:, covered].any()


def test_one_defaulter_s_margin_never_pays_for_another():
    spec = shipped("crypto-venue-2025.toml")
    found = run_waterfall(
        spec,
        [100.0, 10.0],
        {"margin": [60.0, 50.0], "insurance_fund": 25.0, "auto_deleveraging": 5.0},
    )
    assert dict(zip(found.names, found.layers.tolist(), strict=True)) == {
        "margin": 70.0,
        "insurance_fund": 25.0,
        "auto_deleveraging": 5.0,
        "socialised_loss": 10.0,
    }
    assert found.uncovered == 0.0


def test_venues_add_up_to_the_system():
    spec = shipped("crypto-venue-2025.toml")
    house = shipped("clearing-house-2012.toml")
    one = run_waterfall(
        spec, [9.0], {"margin": [4.0], "insurance_fund": 1.0, "auto_deleveraging": 1.0}
    )
    two = run_waterfall(
        house,
        [9.0, 0.0],
        {
            "margin": [3.0, 0.0],
            "own_fund": [0.0, 0.0],
            "own_capital": 1.0,
            "mutual_fund": [0.0, 2.0],
        },
    )
    system = combine([one, two])
    assert system.loss == 18.0
    assert system.named("margin") == 7.0
    assert system.named("assessment") == 2.0
    assert system.layers.sum() + system.uncovered == 18.0


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_waterfalls_have_sources(name):
    spec = shipped(name)
    assert name == f"{spec.name}.toml"
    assert spec.sources
    assert spec.layers


@pytest.mark.parametrize(
    ("words", "layers"),
    [
        ("stand twice", [("margin", "defaulter"), ("margin", "venue")]),
        ("come first", [("fund", "venue"), ("margin", "defaulter")]),
        ("uncovered", [("uncovered", "venue")]),
    ],
)
def test_an_order_that_means_nothing_is_refused(words, layers):
    text = 'name = "x"\neffective = 2025-01-01\ntitle = "x"\nsources = ["x"]\n'
    text += "".join(f'[[layers]]\nname = "{name}"\npayer = "{payer}"\n' for name, payer in layers)
    with pytest.raises(ValidationError, match=words):
        parse_waterfall(text)


def test_switches_that_do_nothing_are_refused():
    with pytest.raises(ValidationError, match="multiple"):
        LayerSpec(name="fund", payer="venue", multiple=2.0)
    with pytest.raises(ValidationError, match="no cap"):
        LayerSpec(name="fund", payer="venue", capped=False)


def test_resources_are_all_there_and_no_others():
    spec = shipped("crypto-venue-2025.toml")
    with pytest.raises(ValueError, match="draws on"):
        run_waterfall(spec, [1.0], {"margin": [1.0]})
    with pytest.raises(ValueError, match="did not default"):
        run_waterfall(
            spec, [1.0], {"margin": [1.0], "insurance_fund": 1.0, "auto_deleveraging": 1.0}, [False]
        )


def test_cover_two_is_of_one_scenario():
    given, expected, _ = case("cover2")
    loss = given["stress_loss_over_im"]
    assert cover(loss, 1).size == expected["cover1"]
    assert cover(loss, 2).size == expected["cover2"] != expected["wrong_mix_scenarios"]
    assert cover(loss, 2).groups == (0, 2)


@SETTINGS
@given(st.data())
def test_cover_n_is_the_largest_of_all_sets_of_groups(data):
    scenarios, groups = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 5))
    flat = data.draw(
        st.lists(st.integers(0, 50), min_size=scenarios * groups, max_size=scenarios * groups)
    )
    loss = np.array(flat, float).reshape(scenarios, groups)
    number = data.draw(st.integers(1, 6))
    sets = list(itertools.combinations(range(groups), min(number, groups)))
    found = cover(loss, number)
    assert found.size == max(row[list(one)].sum() for row in loss for one in sets)
    assert loss[found.scenario, list(found.groups)].sum() == found.size
    assert cover(loss, number + 1).size >= found.size


def test_cover_counts_members_of_one_owner_as_one():
    loss = np.array([[10.0, 9.0, 12.0], [0.0, 0.0, 1.0]])
    owned = group_losses(loss, [0, 0, 1], 2)
    assert cover(loss, 1).size == 12.0
    assert cover(owned, 1).size == 19.0
    with pytest.raises(ValueError, match="surplus counts as 0"):
        cover([[-1.0, 2.0]], 1)


def test_shares_are_pro_rata_to_contributions():
    found = pro_rata([30.0, 8.0], np.array([[1.0, 0.0], [2.0, 4.0]]))
    assert found.tolist() == [[10.0, 0.0], [20.0, 8.0]]
