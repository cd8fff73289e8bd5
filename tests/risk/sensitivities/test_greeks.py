"""Sensitivities of one contract against bumped revaluations and 50-digit closed forms."""

from dataclasses import replace
from importlib import resources

import mpmath as mp
import numpy as np
import pytest

from risk.instruments import Instruments, Kind, MarketState, Settlement
from risk.revaluation import VolatilityTenor, contract_value, revalue
from risk.scenarios.shocks import Shocks
from risk.sensitivities.greeks import tenor_shares, unit_sensitivities
from risk.sensitivities.specification import parse_greeks, risk_factors
from tests.risk.exact import truth

TEXT = (
    resources.files("risk.methodologies") / "sensitivities" / "margincube-greeks-2026-01.toml"
).read_text()
COINS = ("BTC", "ETH", "SOL")
FACTORS = risk_factors(parse_greeks(TEXT), COINS)
INDEX = np.array([44_000.0, 2_222.19, 95.0])
STILL = VolatilityTenor(minimum_volatility=0.0)

# kind, settlement, underlying, paid in, multiplier, forward, strike, call, years, volatility
LINEAR, INVERSE, QUANTO = Settlement.LINEAR, Settlement.INVERSE, Settlement.QUANTO
CONTRACTS = {
    "spot": (Kind.SPOT, LINEAR, 0, -1, 2.0, 0.0, 0.0, False, 0.0, 0.0),
    "linear future": (Kind.FUTURE, LINEAR, 1, -1, 0.1, 2300.0, 0.0, False, 0.5, 0.0),
    "linear perpetual": (Kind.PERPETUAL, LINEAR, 2, -1, 1.0, 95.1, 0.0, False, 0.0, 0.0),
    "inverse future": (Kind.FUTURE, INVERSE, 0, 0, 10.0, 45_000.0, 0.0, False, 0.3, 0.0),
    "inverse perpetual": (Kind.PERPETUAL, INVERSE, 1, 1, 1.0, 2221.0, 0.0, False, 0.0, 0.0),
    "quanto": (Kind.FUTURE, QUANTO, 1, 0, 1e-6, 2250.0, 0.0, False, 0.2, 0.0),
    "quanto in itself": (Kind.PERPETUAL, QUANTO, 1, 1, 0.01, 2222.0, 0.0, False, 0.0, 0.0),
    "linear call": (Kind.OPTION, LINEAR, 1, -1, 1.0, 2250.0, 2400.0, True, 0.1, 0.6),
    "linear put": (Kind.OPTION, LINEAR, 2, -1, 5.0, 96.0, 80.0, False, 0.02, 1.1),
    "inverse call": (Kind.OPTION, INVERSE, 0, 0, 0.1, 45_500.0, 40_000.0, True, 0.4, 0.55),
    "inverse put": (Kind.OPTION, INVERSE, 1, 1, 1.0, 2300.0, 2800.0, False, 1.4, 0.7),
}
NAMES = list(CONTRACTS)
COLUMNS = [np.array(column) for column in zip(*CONTRACTS.values(), strict=True)]


def book():
    kind, settlement, underlying, coin, multiplier, forward, strike, call, years, vol = COLUMNS
    instruments = Instruments(
        kind=kind.astype(np.int8),
        settlement=settlement.astype(np.int8),
        underlying=underlying.astype(np.int16),
        settlement_underlying=coin.astype(np.int16),
        multiplier=multiplier.astype(np.float64),
        strike=strike,
        is_call=call.astype(np.bool_),
        time_to_expiry=years,
    )
    priced = np.ones(len(kind), dtype=np.bool_)
    return instruments, MarketState(INDEX, forward.astype(np.float64), vol, priced)


def gain(price, volatility=0.0, only=None):
    """P&L of every contract when its underlying, or ``only`` one of them, moves."""
    instruments, market = book()
    moved = np.zeros((1, len(COINS)))
    moved[0, slice(None) if only is None else only] = price
    still = np.zeros_like(moved)
    vols = np.full_like(moved, volatility)
    tenor = replace(STILL, short_power=0.0, long_power=0.0)
    return revalue(instruments, market, Shocks(moved, vols, still, still), tenor)[:, 0]


def own_gain(price):
    """P&L of every contract when its own underlying moves and no other."""
    underlying = COLUMNS[2]
    return np.select([underlying == u for u in range(3)], [gain(price, only=u) for u in range(3)])


def found():
    return unit_sensitivities(*book(), FACTORS)


def test_delta_is_the_slope_of_the_revaluation():
    h = 1e-4
    slope = (own_gain(h) - own_gain(-h)) / (2 * h)
    np.testing.assert_allclose(found().delta, slope, rtol=2e-5, atol=1e-9)


def test_vega_is_the_slope_in_volatility_points():
    instruments, market = book()
    h = 1e-3
    up = contract_value(instruments, replace(market, volatility=market.volatility + h))
    down = contract_value(instruments, replace(market, volatility=market.volatility - h))
    option = instruments.kind == Kind.OPTION
    result = found()
    slope = np.where(option, (up - down) / (2 * h), 0.0)
    np.testing.assert_allclose(result.vega, 0.01 * slope, rtol=2e-4, atol=1e-12)
    relative = (gain(0.0, 1e-4) - gain(0.0, -1e-4)) / 2e-4
    np.testing.assert_allclose(result.relative_vega, relative, rtol=1e-5, atol=1e-9)
    np.testing.assert_allclose(result.relative_vega, 100 * result.vega * market.volatility)


def test_curvature_is_what_full_revaluation_loses_beyond_delta():
    result = found()
    weight = FACTORS.delta_weight[COLUMNS[2].astype(int)]
    pairs = ((1.0, result.curvature_up), (-1.0, result.curvature_down))
    for sign, curvature in pairs:
        moved = np.array(
            [own_gain(sign * w)[row] for row, w in enumerate(weight)],
        )
        expected = sign * weight * result.delta - moved
        np.testing.assert_allclose(curvature, expected, rtol=1e-9, atol=1e-7)


def test_only_options_and_a_quanto_paid_in_itself_are_curved():
    result = found()
    curved = {
        name
        for name, up, down in zip(NAMES, result.curvature_up, result.curvature_down, strict=True)
        if up != 0.0 or down != 0.0
    }
    assert curved == {n for n in NAMES if "call" in n or "put" in n} | {"quanto in itself"}
    options = [n for n, name in enumerate(NAMES) if "call" in name or "put" in name]
    assert (result.curvature_up[options] < 0.0).all(), "a long option gains from a large move"


@pytest.mark.parametrize("name", [n for n in NAMES if "call" in n or "put" in n])
def test_option_greeks_meet_fifty_digits(name):
    _, settlement, coin, _, size, forward, strike, call, years, vol = CONTRACTS[name]
    unit = size * (INDEX[coin] / forward if settlement == INVERSE else 1.0)

    def value(f, v):
        return truth(f, strike, v, years, call)

    with mp.workdps(40):
        slope = mp.diff(lambda f: value(f, vol), mp.mpf(forward), h=mp.mpf("1e-9"))
        vega = mp.diff(lambda v: value(forward, v), mp.mpf(vol), h=mp.mpf("1e-9"))
    row, result = NAMES.index(name), found()
    assert result.delta[row] == pytest.approx(float(unit * forward * slope), rel=1e-12)
    assert result.vega[row] == pytest.approx(float(0.01 * unit * vega), rel=1e-12)
    assert result.relative_vega[row] == pytest.approx(float(vol * unit * vega), rel=1e-12)
    weight = float(FACTORS.delta_weight[coin])
    for sign, curvature in ((1, result.curvature_up), (-1, result.curvature_down)):
        moved = value(forward * (1 + sign * weight), vol) - value(forward, vol)
        expected = unit * (sign * weight * forward * slope - moved)
        assert curvature[row] == pytest.approx(float(expected), rel=1e-9)


def test_delta_one_by_hand():
    delta = dict(zip(NAMES, found().delta, strict=True))
    assert delta["spot"] == 2.0 * 44_000.0
    assert delta["linear future"] == 0.1 * 2300.0
    assert delta["linear perpetual"] == 95.1
    assert delta["inverse future"] == pytest.approx(10.0 * 44_000.0 / 45_000.0, rel=1e-15)
    assert delta["quanto"] == pytest.approx(1e-6 * 2250.0 * 44_000.0, rel=1e-15)


def test_vega_is_shared_between_the_vertices_around_the_expiry():
    years = np.array([7, 30, 90, 180, 365]) / 365
    expiry = np.array([0.0, 3.0, 7.0, 60.0, 90.0, 200.0, 365.0, 900.0]) / 365
    vertex, share = tenor_shares(expiry, years)
    assert vertex.tolist() == [0, 0, 0, 1, 2, 3, 3, 3]
    np.testing.assert_allclose(share, [0, 0, 0, 0.5, 0, 20 / 185, 1, 1], atol=1e-12)


def test_a_row_without_price_has_no_sensitivity():
    instruments, market = book()
    priced = market.priced.copy()
    priced[[0, 7, 9]] = False
    lost = replace(instruments, underlying=np.where(priced, instruments.underlying, -1))
    hidden = replace(market, priced=priced, forward=np.where(priced, market.forward, 0.0))
    result = unit_sensitivities(lost, hidden, FACTORS)
    for name in ("delta", "vega", "relative_vega", "curvature_up", "curvature_down"):
        values = getattr(result, name)
        assert (values[~priced] == 0.0).all()
        assert (values[priced] == getattr(found(), name)[priced]).all()
    assert result.underlying.min() == 0


def test_an_input_out_of_range_is_refused():
    instruments, market = book()
    with pytest.raises(ValueError, match="volatility"):
        unit_sensitivities(instruments, replace(market, volatility=-market.volatility), FACTORS)
