"""The statistical rule books that ship, on the history that ships."""

import numpy as np
import pytest

from risk.margin import measures_of
from risk.measures import expected_shortfall, value_at_risk
from risk.statistics.lognormal import forward_risk_factors
from storage.market import sample_market
from workers.methodologies import load_methodology
from workers.scenarios import _history, build_scenarios

BOOKS = {
    "historical-var-2026-01": ("base",),
    "historical-es-2026-01": ("base",),
    "age-weighted-es-2026-01": ("base",),
    "stressed-es-2026-01": ("base",),
    "stressed-floor-es-2026-01": ("base", "stressed_floor"),
    "scaled-var-2026-01": ("base",),
    "lognormal-es-2026-01": ("base",),
}
END = np.datetime64("2025-12-12T18:00")


@pytest.fixture(scope="module")
def market():
    return sample_market()


def closes(market, hours, coin):
    """Closes of a coin every so many hours back from the end, oldest first."""
    times, prices = _history(market.prices(), market.underlyings)
    times, prices = times[coin], prices[coin]
    wanted = np.arange(END, times[0], -np.timedelta64(hours, "h"))[::-1]
    row = np.minimum(np.searchsorted(times, wanted), len(times) - 1)
    return np.where(times[row] == wanted, prices[row], np.nan)


@pytest.mark.parametrize("name", BOOKS)
def test_every_rule_book_reads_the_history_that_ships(market, name):
    methodology = load_methodology(name).methodology
    assert methodology.layers == BOOKS[name]
    assert methodology.sources
    assert methodology.not_verified
    assert methodology.venue is None
    scenarios = build_scenarios(market, methodology)
    for measure in measures_of(methodology, scenarios["origin"].values.tolist()):
        assert measure.stop - measure.start > 400


def asked_of(market, name, coin):
    """What the base layer asks of a unit of notional, long and short, by readable measures."""
    methodology = load_methodology(name).methodology
    scenarios = build_scenarios(market, methodology)
    price = scenarios["price"].values[:, coin]
    asked = []
    for pnl in (price, -price):
        total = 0.0
        for one in measures_of(methodology, scenarios["origin"].values.tolist()):
            inside = pnl[one.start : one.stop]
            value = (
                value_at_risk(inside, one.level, one.convention, one.age_decay)
                if one.kind == "value_at_risk"
                else expected_shortfall(inside, one.level, one.age_decay)
            )
            total += one.weight * value
        asked.append(total)
    return asked


@pytest.mark.parametrize("coin", [0, 1, 2])
def test_what_the_rule_books_ask_of_one_coin(market, coin):
    """Age looks at calm months at the end, stress at the wild year; both as the words say."""
    plain = asked_of(market, "historical-es-2026-01", coin)
    aged = asked_of(market, "age-weighted-es-2026-01", coin)
    stressed = asked_of(market, "stressed-es-2026-01", coin)
    quantile = asked_of(market, "historical-var-2026-01", coin)
    for side in (0, 1):
        assert aged[side] < plain[side] < stressed[side]
        assert 0.85 * plain[side] < quantile[side] < plain[side]


@pytest.mark.parametrize("coin", [0, 1, 2])
def test_the_square_root_asks_up_to_a_tenth_too_much(market, coin):
    """On every window of the sample, by coin and side; docs/method.md has the numbers."""
    hourly = np.log(closes(market, 1, coin))
    day, two = hourly[24:] - hourly[:-24], hourly[48:] - hourly[:-48]
    day, two = day[~np.isnan(day)], two[~np.isnan(two)]
    for side in (1.0, -1.0):
        scaled = side * np.expm1(np.sqrt(2.0) * day)
        right = side * np.expm1(two)
        for measure, level in ((value_at_risk, 0.99), (expected_shortfall, 0.975)):
            assert 1.0 < measure(scaled, level) / measure(right, level) < 1.09
    assert 0.95 < two.var() / (2.0 * day.var()) < 0.99


def test_the_lognormal_moves_are_the_closed_forms_at_the_volatilities_named(market):
    methodology = load_methodology("lognormal-es-2026-01").methodology
    for coin, name in enumerate(market.underlyings):
        move = np.diff(np.log(closes(market, 24, coin)))
        move = move[~np.isnan(move)]
        variance = (move[:30] ** 2).mean()
        for one in move:
            variance = 0.94 * variance + 0.06 * one * one
        volatility = round(float(np.sqrt(365.0 * variance)), 4)
        factors = forward_risk_factors(0.025, 2.0 / 365.0, 0.0, volatility)
        down, up = methodology.scan.underlying[name].prices
        assert (-down, up) == pytest.approx((factors.long, factors.short), abs=1e-9)
