"""Windows of a period of stress, and moves scaled to a margin period of risk."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from risk.scenarios.historical import historical_scenarios
from risk.scenarios.specification import HistoricalSpec, StressedSpec
from risk.scenarios.stressed import stressed_scenarios

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "age_weighted.json").read_text())
BEGIN = datetime(2016, 1, 1, tzinfo=UTC)
HOURS = 3_000


def history():
    """Two coins of independent hourly moves, and one of them thrice as wild for a while."""
    rng = np.random.default_rng(4)
    scale = np.where((np.arange(HOURS - 1) > 1_000) & (np.arange(HOURS - 1) < 1_800), 0.03, 0.01)
    times = np.datetime64("2016-01-01T00", "s") + np.arange(HOURS) * np.timedelta64(1, "h")
    moves = rng.normal(0.0, 1.0, (2, HOURS - 1)) * scale
    closes = [100.0 * np.exp(np.concatenate(([0.0], np.cumsum(one)))) for one in moves]
    return ["A", "B"], [times, times], closes


def spec(**changes):
    return HistoricalSpec(
        **{
            "holding_period_hours": 24,
            "step_hours": 35,
            "start": BEGIN,
            "end": BEGIN + timedelta(hours=HOURS - 1),
            "volatility_half_life_hours": 24.0,
        }
        | changes
    )


@pytest.mark.parametrize("days", GOLDEN["square_root_of_time"]["days"])
def test_log_moves_are_scaled_by_the_square_root_of_time(days):
    case = GOLDEN["square_root_of_time"]
    plain = historical_scenarios(*history(), spec())
    scaled = historical_scenarios(*history(), spec(margin_period_of_risk_hours=24 * days))
    factor = case["scaled"][case["days"].index(days)] / case["one_day"]
    for shock in ("price", "volatility"):
        before, after = plain[shock].values, scaled[shock].values
        np.testing.assert_allclose(np.log1p(after), factor * np.log1p(before), atol=1e-12)
    assert (scaled["price"].values > -1.0).all()
    assert scaled["scenario"].values.tolist() == plain["scenario"].values.tolist()
    assert scaled["label"].values[0].endswith(f", scaled to {24 * days} h")
    assert scaled.attrs["margin_period_of_risk_hours"] == 24 * days
    assert plain.attrs["margin_period_of_risk_hours"] == 24


def test_a_window_of_the_margin_period_itself_is_left_alone():
    plain = historical_scenarios(*history(), spec())
    same = historical_scenarios(*history(), spec(margin_period_of_risk_hours=24))
    assert same["price"].values.tobytes() == plain["price"].values.tobytes()


def test_windows_of_stress_are_those_of_the_history_at_their_own_step():
    stressed = StressedSpec(
        start=BEGIN + timedelta(hours=1_000), end=BEGIN + timedelta(hours=1_800), step_hours=7
    )
    found = stressed_scenarios(*history(), spec(), stressed)
    names, times, (a, _) = history()
    assert found.sizes["scenario"] == (800 - 24) // 7 + 1
    assert set(found["origin"].values) == {"stressed"}
    for row in (0, 5, found.sizes["scenario"] - 1):
        first = 1_000 + 7 * row
        assert found["window_start"].values[row] == times[0][first]
        assert found["price"].values[row, 0] == pytest.approx(a[first + 24] / a[first] - 1.0)
    assert found["scenario"].values[0].startswith("stressed 24h to ")
    assert found["label"].values[0].endswith(", stressed")
    whole = historical_scenarios(names, times, history()[2], spec())
    assert found["price"].values.std() > 1.5 * whole["price"].values.std()


def test_stress_is_scaled_as_the_history_is():
    period = StressedSpec(
        start=BEGIN + timedelta(hours=1_000), end=BEGIN + timedelta(hours=1_800), step_hours=7
    )
    plain = stressed_scenarios(*history(), spec(), period)
    scaled = stressed_scenarios(*history(), spec(margin_period_of_risk_hours=96), period)
    before, after = plain["price"].values, scaled["price"].values
    np.testing.assert_allclose(np.log1p(after), 2.0 * np.log1p(before), atol=1e-12)


def test_a_period_outside_the_history_is_refused():
    outside = StressedSpec(start=BEGIN - timedelta(days=1), end=BEGIN + timedelta(9), step_hours=7)
    with pytest.raises(ValueError, match="must lie in that of the history"):
        stressed_scenarios(*history(), spec(), outside)
