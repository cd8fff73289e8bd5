from datetime import UTC, datetime, timedelta
from importlib import resources

import numpy as np
import pyarrow.compute as pc
import pytest

from risk.methodology import parse_methodology
from risk.scenarios.historical import EPISODES
from risk.scenarios.shocks import SHOCKS, shocks_of
from risk.scenarios.specification import EventSpec
from storage.market import sample_market
from workers.scenarios import build_scenarios

FALLS = [
    ("2020-03-12", "BTC", -0.25),
    ("2020-03-12", "ETH", -0.30),
    ("2021-05-19", "ETH", -0.30),
    ("2022-06-13", "ETH", -0.20),
    ("2022-11-09", "SOL", -0.40),
    ("2025-10-10", "SOL", -0.20),
]
"""Days known for their falls, and a fall that a window over the day must show."""


@pytest.fixture(scope="module")
def methodology():
    files = resources.files("risk.methodologies")
    return parse_methodology(
        (files / "margincube-portfolio-2026-01.toml").read_text(),
        (files / "events-2026-01.toml").read_text(),
    )


@pytest.fixture(scope="module")
def scenarios(methodology):
    return build_scenarios(sample_market(), methodology)


def test_axes_and_attributes(scenarios, methodology):
    assert dict(scenarios.sizes)["underlying"] == 3
    assert scenarios.underlying.values.tolist() == ["BTC", "ETH", "SOL"]
    origin = scenarios.origin.values.tolist()
    order = ("historical", "episode", "grid", "event")
    historical, episode, grid, event = (origin.count(name) for name in order)
    assert origin == [name for name in order for _ in range(origin.count(name))]
    assert 0 < episode <= 2 * 3 * len(EPISODES)
    assert historical >= 1_000
    assert grid == 35
    assert event == len(methodology.events) == 8
    assert len(set(scenarios.scenario.values)) == len(origin)
    for name in SHOCKS:
        assert scenarios[name].attrs["units"] == "1"
        assert scenarios[name].dims == ("scenario", "underlying")
        assert np.isfinite(scenarios[name].values).all()
    assert scenarios.attrs["market"] == sample_market().digest
    assert scenarios.attrs["holding_period_hours"] == 48
    assert len(scenarios.attrs["history_gaps"]) == 10
    assert shocks_of(scenarios).price.flags.c_contiguous


@pytest.mark.parametrize(("day", "coin", "fall"), FALLS)
def test_known_days_are_there_with_their_size(scenarios, day, coin, fall):
    morning = np.datetime64(day)
    over = (scenarios.window_start.values < morning + np.timedelta64(1, "D")) & (
        scenarios.window_end.values > morning
    )
    assert over.any()
    assert scenarios.price.sel(underlying=coin).values[over].min() < fall


@pytest.mark.parametrize("coin", ["BTC", "ETH", "SOL"])
def test_the_worst_window_is_the_closes_of_the_sample(scenarios, coin):
    prices = sample_market().prices()
    rows = prices.filter(pc.equal(prices["underlying"], coin))
    close = dict(zip(rows["timestamp"].to_pylist(), rows["close"].to_pylist(), strict=True))
    historical = scenarios.isel(scenario=scenarios.origin.values == "episode")
    worst = historical.isel(scenario=int(historical.price.sel(underlying=coin).values.argmin()))
    end = datetime.fromisoformat(str(worst.window_end.values)).replace(tzinfo=UTC)
    expected = close[end] / close[end - timedelta(hours=48)] - 1.0
    assert worst.price.sel(underlying=coin).item() == pytest.approx(expected, rel=1e-12)
    named = "November 2022" if coin == "SOL" else "March 2020 crash"
    assert named in worst.label.item()


def test_volatility_moves_with_the_price(scenarios):
    historical = scenarios.isel(scenario=scenarios.window_start.notnull().values)
    crash = historical.isel(scenario=int(historical.price.sel(underlying="BTC").values.argmin()))
    assert (crash.volatility.values > 1.0).all()
    size = np.abs(historical.price.values)
    for column in range(3):
        large = size[:, column] > np.quantile(size[:, column], 0.95)
        change = historical.volatility.values[:, column]
        assert np.median(change[large]) > 0.05
        assert np.median(change[~large]) < 0.0


def test_coins_are_proxied_before_they_were_listed_and_only_then(scenarios):
    listed = np.datetime64("2020-08-11T07")
    before = scenarios.window_start.values < listed
    proxied = scenarios.proxied
    assert not proxied.sel(underlying=["BTC", "ETH"]).values.any()
    assert proxied.sel(underlying="SOL").values[before].all()
    after = proxied.sel(underlying="SOL").values & ~before
    assert after.sum() <= 2
    (rule,) = scenarios.attrs["proxy"]
    assert rule.startswith("SOL: ")
    assert "log move of ETH" in rule
    assert not proxied.values[np.isin(scenarios.origin.values, ["grid", "event"])].any()


def test_an_event_may_not_take_the_name_of_a_cell(methodology):
    clash = EventSpec(name="price -16% vol +50%", label="", shocks={})
    changed = methodology.model_copy(update={"events": (clash,)})
    with pytest.raises(ValueError, match="DUPLICATE_SCENARIO"):
        build_scenarios(sample_market(), changed)


def test_shipped_events_differ_from_the_grid_in_more_than_price(methodology):
    names = {event.name for event in methodology.events}
    assert len(names) == len(methodology.events)
    assert any("perpetual_basis" in event.shocks for event in methodology.events)
    assert any("forward_basis" in event.shocks for event in methodology.events)
    assert any("price" not in event.shocks for event in methodology.events)
