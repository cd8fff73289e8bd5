from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from risk.scenarios.events import event_scenarios
from risk.scenarios.grid import grid_scenarios
from risk.scenarios.historical import _weighted_variance, historical_scenarios
from risk.scenarios.shocks import shocks_of
from risk.scenarios.specification import EventSpec, GridSpec, HistoricalSpec

EXTREMES = (-0.66, -0.33, 0.50, 1.00, 2.00, 3.00, 4.00, 5.00)
PARADEX_WEIGHTS = (0.24, 0.48, 0.32, 0.16, 0.08, 0.0533, 0.04, 0.032)
"""Weights of the extreme moves: docs.paradex.trade/risk/portfolio-margin, range 16 %."""

GRID = GridSpec(
    price_range=0.16, buckets=4, volatility_up=0.5, volatility_down=0.25, extreme_moves=EXTREMES
)


def test_grid_is_the_published_lattice():
    grid = grid_scenarios(["BTC", "ETH"], GRID)
    shocks = shocks_of(grid)
    assert shocks.price.shape == (27 + 8, 2)
    assert np.array_equal(shocks.price[:, 0], shocks.price[:, 1])
    prices = sorted(set(np.round(shocks.price[:27, 0], 12)))
    assert prices == [-0.16, -0.12, -0.08, -0.04, 0.0, 0.04, 0.08, 0.12, 0.16]
    assert sorted(set(shocks.volatility[:27, 0])) == [-0.25, 0.0, 0.5]
    assert (grid.weight[:27] == 1.0).all()
    # Published to whole percents where they are above ten, and to two places below.
    assert grid.weight.values[27:] == pytest.approx(PARADEX_WEIGHTS, rel=1.1e-2)
    assert (shocks.volatility[27:] == 0.5).all()
    assert "price -16% vol +50%" in grid.scenario.values
    assert set(grid.origin.values) == {"grid"}
    assert not shocks.perpetual_basis.any()
    assert not shocks.forward_basis.any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"price_range": 0.0}, "price_range is 0"),
        ({"extreme_moves": (0.1,)}, r"\[0.1\] lie within"),
    ],
)
def test_grid_refuses(change, message):
    with pytest.raises(ValueError, match=message):
        grid_scenarios(["BTC"], GRID.model_copy(update=change))


def test_events_take_the_default_and_pass_over_absent_coins():
    event = EventSpec(
        name="x",
        label="y",
        shocks={
            "price": {"BTC": -0.1, "DOGE": -0.9, "default": -0.5},
            "perpetual_basis": {"default": -0.02},
        },
    )
    events = event_scenarios(["BTC", "ETH"], [event])
    assert events.price.values.tolist() == [[-0.1, -0.5]]
    assert events.perpetual_basis.values.tolist() == [[-0.02, -0.02]]
    assert not events.volatility.values.any()
    assert (events.weight == 1.0).all()


def test_no_events_is_an_empty_axis():
    assert event_scenarios(["BTC"], []).price.shape == (0, 1)


def test_event_without_a_size_for_a_coin_is_refused_by_name():
    event = EventSpec(name="half told", label="", shocks={"volatility": {"BTC": 1.0}})
    with pytest.raises(ValueError, match=r"SCENARIO_INCOMPLETE.*'half told'.*\['ETH'\]"):
        event_scenarios(["BTC", "ETH"], [event])


def test_event_with_an_unknown_shock_is_refused():
    with pytest.raises(ValueError, match=r"unknown shocks \['prize'\]"):
        EventSpec(name="x", label="", shocks={"prize": {"default": 0.1}})
    slipped = EventSpec.model_construct(name="x", label="", shocks={"prize": {"default": 0.1}})
    with pytest.raises(ValueError, match=r"unknown shocks \['prize'\]"):
        event_scenarios(["BTC"], [slipped])


def test_two_events_of_one_name_are_refused():
    event = EventSpec(name="x", label="", shocks={})
    with pytest.raises(ValueError, match="DUPLICATE_SCENARIO"):
        event_scenarios(["BTC"], [event, event])


# ---- history -------------------------------------------------------------------------------

BEGIN = np.datetime64("2016-01-01T00", "s")


def walk(seed, hours, volatility=0.01, driver=None, beta=0.0):
    moves = np.random.default_rng(seed).normal(0.0, volatility, hours - 1)
    if driver is not None:
        moves += beta * np.diff(np.log(driver))
    return 100.0 * np.exp(np.concatenate(([0.0], np.cumsum(moves))))


def hourly(count, first=BEGIN):
    return first + np.arange(count) * np.timedelta64(1, "h")


def spec(hours, holding=48, step=36, half_life=24.0):
    start = datetime(2016, 1, 1, tzinfo=UTC)
    return HistoricalSpec(
        holding_period_hours=holding,
        step_hours=step,
        start=start,
        end=start + timedelta(hours=hours - 1),
        volatility_half_life_hours=half_life,
    )


def test_windows_are_the_closes_at_their_ends():
    hours = 2_000
    a, b = walk(1, hours), walk(2, hours)
    times = hourly(hours)
    found = historical_scenarios(["A", "B"], [times, times], [a, b], spec(hours))
    count = (hours - 1 - 48) // 36 + 1
    assert found.price.shape == (count, 2)
    for row in (0, 7, count - 1):
        first, last = 36 * row, 36 * row + 48
        assert found.window_start.values[row] == times[first]
        assert found.window_end.values[row] == times[last]
        assert found.price.values[row, 0] == pytest.approx(a[last] / a[first] - 1, rel=1e-12)
        assert found.price.values[row, 1] == pytest.approx(b[last] / b[first] - 1, rel=1e-12)
    assert not found.proxied.values.any()
    assert found.scenario.values[0] == "48h to 2016-01-03T00:00"
    assert found.attrs["proxy"] == []
    assert found.attrs["history_gaps"] == []


def slow_variance(closes, hours, half_life):
    """The recursion as it is written in books, an hour at a time."""
    decay = 0.5 ** (1.0 / half_life)
    squared = []
    for before, after, gap in zip(closes[:-1], closes[1:], hours, strict=True):
        squared += [(np.log(after / before) ** 2 / gap, k == gap - 1) for k in range(gap)]
    variance = np.mean([value for value, _ in squared[: max(round(half_life), 1)]])
    out = [variance]
    for value, at_close in squared:
        variance = decay * variance + (1.0 - decay) * value
        if at_close:
            out.append(variance)
    return np.array(out)


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.floats(-0.3, 0.3), min_size=2, max_size=120),
    st.integers(1, 5),
    st.floats(0.5, 400.0),
)
def test_weighted_variance_is_the_recursion(moves, gap, half_life):
    closes = 50.0 * np.exp(np.concatenate(([0.0], np.cumsum(moves))))
    hours = np.where(np.arange(len(moves)) % 7 == 3, gap, 1)
    fast = _weighted_variance(closes, hours, half_life)
    assert fast == pytest.approx(slow_variance(closes, hours, half_life), rel=1e-10, abs=1e-18)


def test_volatility_shock_is_zero_when_nothing_changes_and_two_when_moves_triple():
    hours = 6_000
    signs = np.where(np.arange(hours - 1) % 2 == 0, 1.0, -1.0)
    steady = 100.0 * np.exp(np.concatenate(([0.0], np.cumsum(0.01 * signs))))
    size = np.where(np.arange(hours - 1) < 3_000, 0.01, 0.03)
    louder = 100.0 * np.exp(np.concatenate(([0.0], np.cumsum(size * signs))))
    times = hourly(hours)
    found = historical_scenarios(
        ["A", "B"], [times, times], [steady, louder], spec(hours, holding=480, step=480)
    )
    assert np.abs(found.volatility.values[:, 0]).max() < 1e-12
    across = (found.window_start.values <= times[3_000]) & (found.window_end.values >= times[3_300])
    assert across.sum() == 1
    assert found.volatility.values[across, 1] == pytest.approx(2.0, abs=2e-3)


def test_a_coin_listed_late_takes_its_reference_and_says_so():
    hours, late = 12_000, 2_000
    driver, other = walk(3, hours), walk(4, hours)
    coin = walk(5, hours, volatility=0.002, driver=driver, beta=1.5)
    times = hourly(hours)
    found = historical_scenarios(
        ["OTHER", "DRIVER", "LATE"],
        [times, times, times[late:]],
        [other, driver, coin[late:]],
        spec(hours),
    )
    proxied = found.proxied.values[:, 2]
    assert proxied[:50].all()
    assert not proxied[60:].any()
    assert not found.proxied.values[:, :2].any()
    shared = ~proxied
    moves = np.log1p(found.price.values)
    slope = (moves[shared, 1] @ moves[shared, 2]) / (moves[shared, 1] @ moves[shared, 1])
    assert slope == pytest.approx(1.5, abs=0.02)
    assert moves[proxied, 2] == pytest.approx(slope * moves[proxied, 1], rel=1e-10)
    assert np.array_equal(found.volatility.values[proxied, 2], found.volatility.values[proxied, 1])
    (rule,) = found.attrs["proxy"]
    assert rule.startswith(f"LATE: {slope:.4f} times the log move of DRIVER")


def test_a_missing_hour_is_named_and_only_its_windows_are_proxied():
    hours = 8_000
    driver = walk(6, hours)
    coin = walk(7, hours, driver=driver, beta=1.0)
    times = hourly(hours)
    keep = np.ones(hours, dtype=bool)
    keep[[36 * 10, 36 * 10 + 1, 500]] = False  # the start of window 10, and an hour inside one
    found = historical_scenarios(
        ["DRIVER", "COIN"], [times, times[keep]], [driver, coin[keep]], spec(hours)
    )
    assert np.flatnonzero(found.proxied.values[:, 1]).tolist() == [10]
    assert found.attrs["history_gaps"] == [
        "COIN 2016-01-15T23:00: 2 h missing",
        "COIN 2016-01-21T19:00: 1 h missing",
    ]


def test_short_and_broken_histories_are_refused_by_name():
    hours = 6_000
    times, a, b = hourly(hours), walk(8, hours), walk(9, hours)
    with pytest.raises(ValueError, match=r"SHORT_HISTORY: no coin has.*A 80 of 164"):
        historical_scenarios(["A"], [times[:2_900]], [a[:2_900]], spec(5_950))
    with pytest.raises(ValueError, match="SHORT_HISTORY: the period starts"):
        historical_scenarios(["A"], [times[100:]], [a[100:]], spec(hours))
    with pytest.raises(ValueError, match="SHORT_HISTORY: B has 27 windows, 100 are needed"):
        historical_scenarios(["A", "B"], [times, times[5_000:]], [a, b[5_000:]], spec(hours))
    with pytest.raises(ValueError, match="SHORT_HISTORY: B has 0 windows"):
        historical_scenarios(["A", "B"], [times, times[:0]], [a, b[:0]], spec(hours))
    with pytest.raises(ValueError, match=r"SHORT_HISTORY.*holds no window of 48 hours"):
        historical_scenarios(["A"], [times], [a], spec(40))
    twice = times.copy()
    twice[50] = twice[49]
    with pytest.raises(ValueError, match="HISTORY_DUP: A has 2016-01-03T01:00:00"):
        historical_scenarios(["A"], [twice], [a], spec(hours))
    odd = times.copy()
    odd[50] += np.timedelta64(10, "m")
    with pytest.raises(ValueError, match="HISTORY_GRID: A at 2016-01-03T02:10:00"):
        historical_scenarios(["A"], [odd], [a], spec(hours))
    with pytest.raises(ValueError, match="A: a close is not a positive number"):
        historical_scenarios(["A"], [times], [np.where(np.arange(hours) == 5, 0.0, a)], spec(hours))
