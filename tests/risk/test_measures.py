import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from risk.measures import CONVENTIONS, expected_shortfall, tail_mass, value_at_risk

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "quantiles.json").read_text())
CASES = {case["id"]: case for case in GOLDEN["cases"]}
SAMPLES = {name: np.array(values) for name, values in GOLDEN["samples"].items()}

# The published cases name a convention by their own words; these are numpy's for the same.
CONVENTION = {
    "quantile_inverted_cdf_100": "inverted_cdf",
    "quantile_inverted_cdf_123": "inverted_cdf",
    "quantile_interpolated_inverted_cdf_123": "interpolated_inverted_cdf",
    "quantile_weibull_100": "weibull",
    "quantile_hazen_100": "hazen",
    "quantile_hazen_123": "hazen",
    "quantile_linear_123": "linear",
    "quantile_excel_literal": "linear",
}


@pytest.mark.parametrize("name", CONVENTION)
def test_published_quantiles(name):
    case = CASES[name]
    inputs = case["inputs"]
    losses = SAMPLES[inputs["sample"]] if "sample" in inputs else np.array(inputs["x"], dtype=float)
    found = value_at_risk(-losses, inputs["level"], CONVENTION[name])
    assert found == pytest.approx(case["expected"]["quantile"], abs=case["tolerance"])


def test_published_expected_shortfall_is_neither_of_the_two_simple_means():
    case = CASES["es_conventions_123"]
    found = expected_shortfall(-SAMPLES["strata_123"], 0.95)
    assert found == pytest.approx(case["expected"]["es_acerbi_tasche"], abs=1e-10)
    assert abs(found - case["expected"]["es_mean_ge"]) > 1e-4
    assert abs(found - case["expected"]["es_mean_gt"]) > 1e-4


@pytest.mark.parametrize("name", [name for name in CASES if "_var_es_" in name])
def test_large_samples_approach_the_closed_forms(name):
    case = CASES[name]
    level, count = case["inputs"]["level"], 400_000
    law = stats.t(case["inputs"]["nu"]) if "nu" in case["inputs"] else stats.norm()
    pnl = law.ppf((np.arange(count) + 0.5) / count)
    assert value_at_risk(pnl, level) == pytest.approx(case["expected"]["var"], rel=1e-3)
    assert expected_shortfall(pnl, level) == pytest.approx(case["expected"]["es"], rel=1e-3)


@pytest.mark.parametrize("convention", CONVENTIONS)
@given(
    losses=st.lists(st.integers(-50, 50), min_size=2, max_size=60),
    percent=st.integers(1, 99),
)
@settings(deadline=None, max_examples=40)
def test_every_convention_agrees_with_numpy(convention, losses, percent):
    losses = np.array(losses, dtype=float)
    level = percent / 100
    if len(losses) * (100 - percent) < 100:
        with pytest.raises(ValueError, match="TAIL_BEYOND_SAMPLE"):
            value_at_risk(-losses, level, convention)
        return
    # numpy places the sample in binary, so where n q is whole its rank can be one off.
    near = [np.quantile(losses, level + step, method=convention) for step in (-1e-9, 0.0, 1e-9)]
    found = value_at_risk(-losses, level, convention)
    assert min(near) - 1e-6 <= found <= max(near) + 1e-6


@given(
    pnl=st.lists(st.integers(-9, 9), min_size=1, max_size=40),
    percent=st.integers(1, 99),
)
@settings(deadline=None, max_examples=60)
def test_expected_shortfall_is_the_integral_of_the_quantile(pnl, percent):
    pnl = np.array(pnl, dtype=float)
    count = len(pnl)
    if count * (100 - percent) < 100:
        return
    # The inverted cdf is constant between multiples of 1/n; in units of 1/(100 n) all is whole.
    steps = np.sort(-pnl)[np.arange(percent * count, 100 * count) // 100]
    assert expected_shortfall(pnl, percent / 100) == pytest.approx(steps.mean(), abs=1e-9)


def test_a_tail_of_whole_scenarios_stays_whole():
    assert tail_mass(1000, 0.975) == 25
    assert tail_mass(100, 0.99) == 1
    assert tail_mass(250, 0.99) == 2.5


@pytest.mark.parametrize("measure", [value_at_risk, expected_shortfall])
def test_levels_that_are_refused(measure):
    pnl = np.zeros(100)
    with pytest.raises(ValueError, match=r"LEVEL_RANGE.*did you mean 0\.99\?"):
        measure(pnl, 99)
    with pytest.raises(ValueError, match="LEVEL_RANGE"):
        measure(pnl, 0.0)
    with pytest.raises(ValueError, match=r"TAIL_BEYOND_SAMPLE.*at least 10000 scenarios"):
        measure(pnl, 0.9999)
    with pytest.raises(ValueError, match="TAIL_BEYOND_SAMPLE"):
        measure(np.zeros(0), 0.95)


def test_an_unknown_convention_is_named_with_those_there_are():
    with pytest.raises(ValueError, match=r"'type7'.*linear"):
        value_at_risk(np.zeros(10), 0.5, "type7")
