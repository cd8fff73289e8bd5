"""Measures that are added up in one layer, each times its weight."""

import json
import re
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from risk.kernels import Positions, margin_block, stack_accounts
from risk.kernels.sums import UNIT
from risk.margin import measures_of, stack_layers
from risk.measures import Measure, expected_shortfall
from risk.methodology import parse_methodology

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "age_weighted.json").read_text())
FOLDER = resources.files("risk.methodologies")
STRESSED = (FOLDER / "stressed-es-2026-01.toml").read_text()
FLOOR = (FOLDER / "stressed-floor-es-2026-01.toml").read_text()
AGED = (FOLDER / "age-weighted-es-2026-01.toml").read_text()
ORIGIN = ["historical"] * 60 + ["episode"] * 4 + ["stressed"] * 50 + ["event"] * 2


def test_the_published_mean_of_two_margins():
    case = GOLDEN["stressed_weight"]
    measures = measures_of(parse_methodology(STRESSED), ORIGIN)
    assert [(one.start, one.stop, one.weight, one.joins) for one in measures] == [
        (0, 60, 0.75, False),
        (64, 114, 0.25, True),
    ]
    value = np.array([[current, case["stressed"]] for current in case["current"]], dtype=float)
    assert stack_layers(value, measures).tolist() == [[margin] for margin in case["margin"]]


def test_a_floor_is_a_layer_of_its_own():
    methodology = parse_methodology(FLOOR)
    assert methodology.layers == ("base", "stressed_floor")
    value = np.array([[100.0, 180.0], [100.0, 110.0], [-5.0, 50.0], [-5.0, -9.0]])
    found = stack_layers(value, measures_of(methodology, ORIGIN))
    assert found.tolist() == [[100.0, 44.0], [100.0, 0.0], [0.0, 40.0], [0.0, 0.0]]
    np.testing.assert_allclose(
        found.sum(axis=1), np.maximum(0.0, np.maximum(value[:, 0], 0.8 * value[:, 1]))
    )


def test_a_gain_in_one_part_counts_against_a_loss_in_the_other():
    measures = measures_of(parse_methodology(STRESSED), ORIGIN)
    assert stack_layers(np.array([[-10.0, 40.0], [10.0, -40.0]]), measures).tolist() == [
        [2.5],
        [0.0],
    ]


@given(seed=st.integers(0, 2**32 - 1), share=st.sampled_from([0.1, 0.25, 0.5, 1.0]))
@settings(deadline=None, max_examples=60)
def test_the_kernel_splits_the_larger_of_weighted_sums(seed, share):
    rng = np.random.default_rng(seed)
    scenarios, accounts = 120, 6
    held = rng.integers(1, 5, accounts)
    book = Positions(
        np.arange(accounts + 1),
        np.concatenate([[0], np.cumsum(held)]),
        rng.integers(0, 5, held.sum()).astype(np.int32),
        rng.normal(0.0, 3.0, held.sum()),
    )
    cube = rng.standard_t(3, (5, scenarios))
    measures = [
        Measure("h", "expected_shortfall", 0, 70, 0.9, weight=1.0 - 0.5 * share),
        Measure("s", "expected_shortfall", 70, 100, 0.9, weight=share, joins=True),
        Measure("o", "worst_loss", 0, 100, binds=False),
        Measure("w", "worst_loss", 100, scenarios, weight=0.5),
    ]
    block = margin_block(book, np.zeros(accounts), cube, np.ones(scenarios), measures)
    layers = stack_layers(block.value, measures)
    assert layers.shape == (accounts, 2)
    assert (layers >= 0.0).all()
    # Each position is off by half a unit at most for each of two measures that are added up.
    off = 2 * len(book.quantity) * UNIT / 2
    assert block.contribution.sum() == pytest.approx(layers.sum(), rel=1e-9, abs=off + 1e-9)
    found = (block.value, block.binding_scenario)
    named = stack_accounts(np.arange(accounts + 1), *found, measures).binding_scenario
    for account in range(accounts):
        legs = slice(book.set_offsets[account], book.set_offsets[account + 1])
        row = book.quantity[legs] @ cube[book.instrument[legs]]
        parts = [
            measures[0].weight * expected_shortfall(row[:70], 0.9),
            share * expected_shortfall(row[70:100], 0.9),
        ]
        worst = 0.5 * -row[100:].min()
        asked = max(0.0, sum(parts), worst)
        assert layers[account].sum() == pytest.approx(asked, rel=1e-9, abs=1e-9)
        if asked == 0.0:
            assert named[account] == -1
        elif worst > sum(parts):
            assert named[account] == 100 + row[100:].argmin()
        else:
            part = slice(0, 70) if parts[0] >= parts[1] else slice(70, 100)
            assert named[account] == part.start + row[part].argmin()


def test_a_decay_by_day_becomes_one_by_window():
    (measure,) = measures_of(parse_methodology(AGED), ORIGIN)
    assert measure.age_decay == pytest.approx(0.995 ** (35 / 24), rel=1e-15)
    daily = AGED.replace("step_hours = 35", "step_hours = 24")
    (measure,) = measures_of(parse_methodology(daily), ORIGIN)
    assert measure.age_decay == 0.995


@pytest.mark.parametrize(
    ("text", "old", "new", "message"),
    [
        (AGED, "age_decay = 0.995", "age_decay = 1.5", "age_decay"),
        (AGED, "age_decay = 0.995", "age_decay = 0.0", "age_decay"),
        (AGED, '["historical"]', '["episode"]', "age_decay is of a value_at_risk or expected"),
        (AGED, '"expected_shortfall"\norigins', '"worst_loss"\norigins', "this is a worst_loss"),
        (AGED, "age_decay", 'convention = "hazen"\nage_decay', "'hazen' is of equal weights"),
        (STRESSED, "weight = 0.25\n", "", "each need a weight to be added up in layer 'base'"),
        (STRESSED, "weight = 0.25", "weight = 0.0", "weight"),
        (STRESSED, 'weight = 0.25\nlayer = "base"', "weight = 0.25", "name the layer"),
        (STRESSED, "[stressed]\n", "[stress]\n", "stress"),
        (STRESSED, "end = 2021-03-05T00:00:00Z", "end = 2021-03-05T00:00:00", "TZ_MISSING"),
        (STRESSED, "end = 2021-03-05T00:00:00Z", "end = 2019-03-05T00:00:00Z", "not before"),
        (FLOOR, '"stressed_floor"', '"base"', "each need a weight"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(text, old, new, message):
    assert old in text
    with pytest.raises(ValueError, match=re.escape(message)):
        parse_methodology(text.replace(old, new, 1))


def test_windows_of_stress_need_a_history():
    start, end = STRESSED.index("[historical]"), STRESSED.index("[stressed]")
    with pytest.raises(ValueError, match=r"give \[historical\]"):
        parse_methodology(STRESSED[:start] + STRESSED[end:])
