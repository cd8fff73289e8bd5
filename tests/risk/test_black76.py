import json
from pathlib import Path

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from risk.pricing.black76 import black76, delta, log_ratio, vega
from tests.risk.exact import truth

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "options.json").read_text())
ROUNDING = 2.0**-52


def golden(name):
    table = GOLDEN[name]
    return [dict(zip(table["columns"], row, strict=True)) for row in table["rows"]]


def merton(is_call, strike, spot, dividend, rate, years, volatility):
    """Black, Scholes and Merton, through Black-76 on the forward."""
    forward = spot * np.exp((rate - dividend) * years)
    return np.exp(-rate * years) * black76(forward, strike, volatility, years, is_call)


def wide_sample(size, seed):
    """Forward, strike, volatility, years, call: seven decades of deviation, all of moneyness."""
    rng = np.random.default_rng(seed)
    forward = np.exp(rng.normal(0.0, 3.0, size))
    years = 10.0 ** rng.uniform(-7, 1.5, size)
    deviation = 10.0 ** rng.uniform(-6, 1.5, size)
    # Half where the value bends, half at any moneyness, however the deviation compares with it.
    bend = np.exp(np.clip(rng.uniform(-9, 9, size) * deviation, -300, 300))
    far = np.exp(rng.normal(0.0, 1.0, size) * 10.0 ** rng.uniform(-6, 1.5, size))
    strike = forward * np.where(np.arange(size) % 2, bend, far)
    return forward, strike, deviation / np.sqrt(years), years, rng.random(size) < 0.5


@pytest.mark.parametrize("case", golden("haug_prices"), ids=lambda c: f"{c['value']}")
def test_haug_prices(case):
    expected = case.pop("value")
    assert merton(**case) == pytest.approx(expected, abs=GOLDEN["haug_prices"]["tolerance"])


@pytest.mark.parametrize("case", golden("haug_greeks"), ids=lambda c: c["greek"])
def test_haug_greeks(case):
    greek, expected = case.pop("greek"), case.pop("value")

    def slope(name, step=1e-5):
        up, down = dict(case), dict(case)
        up[name] += step
        down[name] -= step
        return (merton(**up) - merton(**down)) / (2 * step)

    strike, volatility, years = case["strike"], case["volatility"], case["years"]
    forward = case["spot"] * np.exp((case["rate"] - case["dividend"]) * years)
    spot_delta = delta(forward, strike, volatility, years, case["is_call"])
    spot_delta = spot_delta * np.exp(-case["dividend"] * years)
    if greek == "delta":
        found = spot_delta
    elif greek == "elasticity":
        found = spot_delta * case["spot"] / merton(**case)
    elif greek == "vega":
        found = np.exp(-case["rate"] * years) * vega(forward, strike, volatility, years)
    elif greek == "gamma":
        up, down = dict(case, spot=case["spot"] + 1e-2), dict(case, spot=case["spot"] - 1e-2)
        found = (merton(**up) - 2 * merton(**case) + merton(**down)) / 1e-4
    else:
        by = {"theta": "years", "theta_per_day": "years", "rho": "rate", "dividend_rho": "dividend"}
        sign = {"theta": -1.0, "theta_per_day": -1.0 / 365.0}.get(greek, 1.0)
        found = sign * slope(by[greek])
    assert found == pytest.approx(expected, abs=GOLDEN["haug_greeks"]["tolerance"])


@pytest.mark.parametrize("case", golden("lyra_black76"), ids=lambda c: f"{c['call']:.5g}")
def test_lyra_prices_and_edges(case):
    table = GOLDEN["lyra_black76"]
    years = case["seconds"] / table["year_seconds"]
    for is_call, expected in ((True, case["call"]), (False, case["put"])):
        value = black76(case["forward"], case["strike"], case["volatility"], years, is_call)
        largest = max(case["forward"], case["strike"])
        tolerance = table["tolerance"] + 2 * ROUNDING * largest
        assert abs(case["discount"] * value - expected) <= tolerance


@pytest.mark.parametrize("case", golden("lyra_call_delta"), ids=lambda c: f"{c['delta']:.5g}")
def test_lyra_delta(case):
    years = case["seconds"] / GOLDEN["lyra_black76"]["year_seconds"]
    found = delta(case["forward"], case["strike"], case["volatility"], years, True)
    assert found == pytest.approx(case["delta"], abs=GOLDEN["lyra_call_delta"]["tolerance"])


def test_value_against_fifty_digits():
    forward, strike, volatility, years, is_call = sample = wide_sample(3_000, seed=1)
    value = black76(*sample)
    exact = [truth(*row) for row in zip(*sample, strict=True)]
    error = np.array([float(abs(mp.mpf(v) - e)) for v, e in zip(value, exact, strict=True)])
    assert (error <= 4e-16 * np.maximum(forward, strike)).all()

    # Out of the money the error follows the value down: a few roundings of d on the density.
    out = np.where(is_call, forward < strike, forward > strike)
    low, high = np.minimum(forward, strike), np.maximum(forward, strike)
    deviation = volatility * np.sqrt(years)
    d = log_ratio(low, high) / deviation + 0.5 * deviation
    density = np.exp(-0.5 * d * d) / np.sqrt(2 * np.pi)
    exact_value = np.array([float(e) for e in exact])
    bound = 20 * ROUNDING * (low * density * (1 + abs(d)) + exact_value)
    assert (error[out] <= bound[out] + 1e-290).all()


def test_greeks_against_fifty_digits():
    forward, strike, volatility, years, is_call = sample = wide_sample(600, seed=2)
    found_delta, found_vega = delta(*sample), vega(*sample[:4])
    for i in range(len(forward)):
        with mp.workdps(50):
            root = mp.sqrt(mp.mpf(years[i]))
            deviation = mp.mpf(volatility[i]) * root
            d1 = mp.log(mp.mpf(forward[i]) / mp.mpf(strike[i])) / deviation + deviation / 2
            expected_delta = mp.ncdf(d1) - (0 if is_call[i] else 1)
            expected_vega = mp.mpf(forward[i]) * mp.npdf(d1) * root
            # ln(forward/strike) and the deviation are each rounded before they are divided.
            slack = 8 * ROUNDING * (1 + abs(d1)) * mp.npdf(d1) * (1 + abs(d1))
        assert abs(found_delta[i] - expected_delta) <= slack + 2 * ROUNDING
        relative = slack / max(mp.npdf(d1), mp.mpf(10) ** -300)
        assert abs(found_vega[i] - expected_vega) <= relative * expected_vega + 1e-290


def test_edges():
    assert black76(0.0, 0.0, 1.0, 1.0, True) == 0.0
    assert black76(0.0, 50.0, 1.0, 1.0, [True, False]).tolist() == [0.0, 50.0]
    assert black76(50.0, 0.0, 1.0, 1.0, [True, False]).tolist() == [50.0, 0.0]
    assert black76(120.0, 100.0, 0.0, 1.0, [True, False]).tolist() == [20.0, 0.0]
    assert black76(120.0, 100.0, 5.0, 0.0, [True, False]).tolist() == [20.0, 0.0]
    assert black76(100.0, 100.0, 0.0, 0.0, [True, False]).tolist() == [0.0, 0.0]
    assert black76(100.0, 90.0, 1e9, 1.0, [True, False]).tolist() == [100.0, 90.0]
    assert black76(100.0, 100.0 + 1e-12, 1e-300, 1e-300, True) == 0.0
    assert delta([90.0, 100.0, 110.0], 100.0, 0.0, 1.0, True).tolist() == [0.0, 0.5, 1.0]
    assert delta([90.0, 100.0, 110.0], 100.0, 0.0, 1.0, False).tolist() == [-1.0, -0.5, 0.0]
    assert vega([0.0, 90.0, 110.0], 100.0, 0.0, 1.0).tolist() == [0.0, 0.0, 0.0]


def test_arguments_broadcast():
    value = black76(100.0, np.array([[90.0], [110.0]]), np.array([0.2, 0.4, 0.6]), 0.5, True)
    assert value.shape == (2, 3)
    assert value[1, 2] == black76(100.0, 110.0, 0.6, 0.5, True)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ((-1.0, 100.0, 0.5, 1.0), "forward is -1.0"),
        ((100.0, np.nan, 0.5, 1.0), "strike is nan"),
        ((100.0, 100.0, np.inf, 1.0), "volatility is inf"),
        ((100.0, 100.0, 0.5, -0.1), "time_to_expiry is -0.1"),
    ],
)
def test_out_of_range_is_refused(arguments, named):
    with pytest.raises(ValueError, match=f"{named}; allowed is a finite number of 0 or more"):
        black76(*arguments, True)


positive = st.floats(1e-3, 1e6)


@settings(deadline=None, max_examples=200)
@given(positive, positive, st.floats(0.0, 20.0), st.floats(0.0, 20.0))
def test_bounds_and_parity(forward, strike, volatility, years):
    call, put = black76(forward, strike, volatility, years, [True, False])
    assert max(forward - strike, 0.0) <= call <= forward * (1 + ROUNDING)
    assert max(strike - forward, 0.0) <= put <= strike * (1 + ROUNDING)
    assert call - put == pytest.approx(forward - strike, abs=8 * ROUNDING * max(forward, strike))


@settings(deadline=None, max_examples=200)
@given(positive, positive, st.floats(0.01, 5.0), st.floats(0.001, 5.0), st.floats(0.01, 100.0))
def test_value_scales_with_the_unit_of_money(forward, strike, volatility, years, scale):
    value = black76(forward, strike, volatility, years, True)
    scaled = black76(forward * scale, strike * scale, volatility, years, True)
    assert scaled == pytest.approx(scale * value, abs=1e-14 * scale * max(forward, strike))
