import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from risk.forwards import forward_ratio, parity
from risk.pricing.black76 import black76
from risk.surface.arbitrage import WIDE_GRID, check_arbitrage
from risk.surface.calibration import Slices, _bounds, _Problem, _to_free, calibrate
from risk.surface.chain import Quotes, fit_chain
from risk.surface.surface import Surface
from risk.surface.svi import durrleman, total_variance

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "svi.json").read_text())["vectors"]

VOGT = np.array([-0.0410, 0.1331, 0.3060, 0.3586, 0.4153])
"""A curve with a butterfly arbitrage, in the order a, b, rho, m, sigma.

Gatheral and Jacquier (2014), example 3.1, credited there to Axel Vogt.
"""

CALM = np.array(
    [
        [0.003, 0.020, -0.10, 0.00, 0.06],
        [0.010, 0.080, -0.20, -0.02, 0.15],
        [0.060, 0.150, -0.25, -0.05, 0.40],
        [0.200, 0.250, -0.30, -0.10, 0.70],
    ]
)
YEARS = np.array([0.02, 0.08, 0.3, 1.0])
"""Four expiries without arbitrage."""


@pytest.mark.parametrize("vector", GOLDEN, ids=[vector["id"] for vector in GOLDEN])
def test_golden_volatilities(vector):
    given_, expected = vector["inputs"], vector["expected"]
    parameters = np.array([given_[name] for name in ("a", "b", "rho", "m", "sigma")])
    clip = 4.0 * np.sqrt(given_["a"] + given_["b"] * given_["sigma"])
    k = np.clip(np.log(given_["strike"] / given_["forward"]), -clip, clip)
    tolerance = vector["tolerance"]["abs"]
    if "k_clipped" in expected:
        assert k == pytest.approx(expected["k_clipped"], abs=tolerance)
    volatility = np.sqrt(total_variance(np.array([k]), parameters)[0] / given_["tau"])
    assert volatility == pytest.approx(expected["vol"], abs=tolerance), vector


def slow_variance(k, a, b, rho, m, sigma):
    return a + b * (rho * (k - m) + ((k - m) ** 2 + sigma**2) ** 0.5)


@settings(deadline=None, max_examples=50)
@given(
    st.lists(
        st.tuples(
            st.floats(-0.1, 1.0),
            st.floats(0.0, 1.0),
            st.floats(-0.99, 0.99),
            st.floats(-1.0, 1.0),
            st.floats(0.01, 2.0),
        ),
        min_size=1,
        max_size=4,
    ),
    st.lists(st.floats(-3.0, 3.0), min_size=1, max_size=6),
)
def test_total_variance_is_the_formula(parameters, points):
    found = total_variance(np.array([points] * len(parameters)), np.array(parameters))
    slow = [[slow_variance(k, *row) for k in points] for row in parameters]
    assert found == pytest.approx(np.array(slow), rel=1e-12, abs=1e-14)


@pytest.mark.parametrize("parameters", [*CALM, VOGT])
def test_durrleman_is_the_density_of_the_price(parameters):
    """The second difference of Black-76 in strike is g exp(-d2^2/2) / (K sqrt(2 pi w))."""
    strike = np.exp(np.linspace(-0.6, 1.0, 33))
    step = 1e-4 * strike

    def call(k):
        volatility = np.sqrt(total_variance(np.log(k), parameters))
        return black76(1.0, k, volatility, 1.0, True)

    density = (call(strike + step) - 2.0 * call(strike) + call(strike - step)) / step**2
    k = np.log(strike)
    variance = total_variance(k, parameters)
    second = -k / np.sqrt(variance) - 0.5 * np.sqrt(variance)
    predicted = durrleman(k, parameters) * np.exp(-0.5 * second**2)
    predicted /= strike * np.sqrt(2.0 * np.pi * variance)
    assert density == pytest.approx(predicted, rel=2e-4, abs=2e-6)


def test_a_curve_that_is_not_positive_has_no_density():
    assert durrleman(np.zeros(1), np.array([-0.1, 0.0, 0.0, 0.0, 0.1])).tolist() == [-np.inf]


def test_butterfly_violation_is_found_where_it_is():
    check = check_arbitrage(VOGT[None])
    assert check.butterfly_free.tolist() == [False]
    assert not check.free
    assert check.density[0] < -0.01
    assert 0.5 < check.density_at[0] < 1.5


def test_calendar_violation_is_found_at_its_expiry():
    crossed = CALM.copy()
    crossed[2, 0] -= 0.105
    check = check_arbitrage(crossed)
    assert check.calendar_free.tolist() == [True, True, False, True]
    assert check_arbitrage(CALM).free


def test_wings_that_cross_beyond_the_grid_are_found():
    level, steep = [1.0, 0.30, 0.0, 0.0, 0.1], [1.5, 0.20, 0.0, 0.0, 0.1]
    check = check_arbitrage(np.array([level, steep]))
    assert check.calendar_free.all()
    assert not check.wings
    assert not check.free
    assert not check_arbitrage(np.array([[4.0, 1.5, 0.5, 0.0, 1.0]])).wings


def slices_of(parameters, seed=0, noise=0.0, points=25):
    spread = np.sqrt(total_variance(np.zeros((len(parameters), 1)), parameters))
    k = spread * np.linspace(-2.5, 2.5, points)
    variance = total_variance(k, parameters)
    variance *= 1.0 + noise * np.random.default_rng(seed).normal(size=variance.shape)
    return Slices(k, variance, 1e3 / variance)


def test_calibration_recovers_curves_without_arbitrage():
    slices = slices_of(CALM)
    found = calibrate(slices)
    variance = total_variance(slices.log_moneyness, found)
    assert variance == pytest.approx(slices.variance, rel=2e-3)
    assert check_arbitrage(found).free


def test_calibration_gives_the_same_bits_again():
    slices = slices_of(CALM, seed=3, noise=0.01)
    assert calibrate(slices).tobytes() == calibrate(slices).tobytes()


@pytest.mark.parametrize("seed", range(6))
def test_calibration_of_noisy_quotes_is_free_of_arbitrage(seed):
    found = calibrate(slices_of(CALM, seed=seed, noise=0.05, points=12))
    check = check_arbitrage(found)
    assert check.free, (check.density, check.calendar)


def test_quotes_with_arbitrage_are_given_a_surface_without():
    crossed = CALM.copy()
    crossed[2, 0] -= 0.105
    assert not check_arbitrage(crossed).free
    assert check_arbitrage(calibrate(slices_of(crossed))).free
    assert check_arbitrage(calibrate(slices_of(VOGT[None]))).free


def test_refinement_knows_its_derivatives():
    """Gradient against central differences of the cost, penalties active in part."""
    crossed = CALM.copy()
    crossed[2, 0] -= 0.105
    crossed[3] = VOGT
    slices = slices_of(CALM, noise=0.05)
    level = total_variance(np.zeros((4, 1)), CALM)[:, 0]
    problem = _Problem(slices, level, WIDE_GRID, 1e2)
    lowest, highest = _bounds(level)
    free = np.clip(_to_free(crossed), lowest * 1.01, highest * 0.99)
    gradient = problem.step(free).gradient
    for row in range(4):
        for column in range(5):
            step = 1e-6 * max(abs(free[row, column]), 1e-2)
            up, down = free.copy(), free.copy()
            up[row, column] += step
            down[row, column] -= step
            slope = (problem.cost(up) - problem.cost(down)) / (2.0 * step)
            assert 2.0 * gradient[row, column] == pytest.approx(slope, rel=1e-4, abs=1e-2)


def test_too_few_quotes_are_refused():
    with pytest.raises(ValueError, match="SURFACE_THIN: an expiry has 5 quotes, 6 are needed"):
        calibrate(slices_of(CALM, points=5))


SURFACE = Surface(YEARS, CALM, np.full(4, -1.0), np.full(4, 1.0))


def test_surface_is_its_curves_at_their_expiries():
    k = np.linspace(-2.0, 2.0, 9)
    for row, years in enumerate(YEARS):
        volatility, outside = SURFACE.volatility(k, np.full(9, years))
        assert volatility**2 * years == pytest.approx(total_variance(k, CALM[row]), rel=1e-12)
        assert outside.tolist() == (np.abs(k) > 1.0).tolist()


@settings(deadline=None, max_examples=60)
@given(
    st.floats(-2.5, 2.5),
    st.lists(st.floats(0.001, 3.0), min_size=2, max_size=12, unique=True).map(sorted),
)
def test_total_variance_never_falls_with_time(k, years):
    times = np.array(years)
    volatility, outside = SURFACE.volatility(np.full(len(times), k), times)
    assert (np.diff(volatility**2 * times) >= -1e-14).all()
    assert outside.tolist() == [abs(k) > 1.0 or not YEARS[0] <= t <= YEARS[-1] for t in years]


# ---- chains --------------------------------------------------------------------------------


def quotes_of(strikes, tick=1e-9, years=YEARS, parameters=CALM):
    """Marks of a chain priced off ``parameters``, calls and puts at the strikes of each expiry."""
    parts = []
    for row, listed in enumerate(strikes):
        forward = 100.0 * np.exp(0.05 * years[row])
        strike = np.repeat(np.asarray(listed, dtype=float), 2)
        call = np.tile([True, False], len(listed))
        volatility = np.sqrt(total_variance(np.log(strike / forward), parameters[row]) / years[row])
        mark = black76(forward, strike, volatility, years[row], call)
        columns = (mark, np.full(len(strike), forward), strike, call, np.full(len(strike), row))
        parts.append(columns)
    mark, forward, strike, call, expiry = (
        np.concatenate(part) for part in zip(*parts, strict=True)
    )
    return Quotes(
        np.round(mark / tick) * tick,
        forward,
        strike,
        call.astype(np.bool_),
        expiry.astype(np.int64),
        np.full(len(mark), tick),
        np.asarray(years, dtype=float),
    )


FULL = [np.linspace(70, 140, 15), np.linspace(60, 180, 15), np.linspace(50, 220, 15)]


def test_a_whole_chain_is_fitted():
    fit = fit_chain(quotes_of([*FULL, np.linspace(40, 300, 15)]))
    assert fit.method == ["svi"] * 4
    assert fit.fitted.sum() == 60
    assert np.abs(fit.mark_error).max() < 2e-4
    assert fit.check.free
    for row, known in enumerate(fit.parities):
        assert known.forward == pytest.approx(fit.forward[row], rel=1e-8)
        assert known.discount == pytest.approx(1.0, rel=1e-7)


def test_a_thin_expiry_says_what_was_used():
    fit = fit_chain(quotes_of([FULL[0], [95.0, 105.0], FULL[2], np.linspace(40, 300, 15)]))
    assert fit.method == ["svi", "interpolated", "svi", "svi"]
    assert len(fit.surface.parameters) == 3
    thin = quotes_of([FULL[0], [95.0, 105.0], FULL[2]]).expiry == 1
    assert np.abs(fit.mark_error[: len(thin)][thin]).max() < 0.02
    assert not fit.fitted[: len(thin)][thin].any()


def test_a_thin_chain_is_flat_and_an_empty_one_has_no_surface():
    fit = fit_chain(quotes_of([[95.0, 105.0], [100.0], [1e4], [100.0]], tick=1e-3))
    assert fit.method == ["flat", "flat", "interpolated", "flat"]
    assert (fit.surface.parameters[:, 1] == 0.0).all()
    near = np.sqrt(total_variance(np.zeros(1), CALM[3])[0])
    assert fit.surface.volatility(np.zeros(1), np.ones(1))[0] == pytest.approx(near, rel=0.02)
    worthless = fit_chain(quotes_of([[1e4], [1e4], [1e4], [1e4]], tick=1e-3))
    assert worthless.surface is None
    assert worthless.method == ["interpolated"] * 4
    nothing = fit_chain(
        Quotes(*(np.zeros(0, dtype=d) for d in ("f8", "f8", "f8", "?", "i8", "f8", "f8")))
    )
    assert nothing.surface is None
    assert nothing.method == []


def test_a_coarse_tick_does_not_bend_the_curve():
    """Marks far from the money, of one or two ticks, carry little weight."""
    strikes = [*FULL, np.linspace(30, 420, 40)]
    fit = fit_chain(quotes_of(strikes, tick=1e-2))
    near = np.abs(fit.model - fit.implied)[fit.implied > 0.0]
    assert np.median(near) < 2e-3
    assert np.quantile(np.abs(fit.mark_error), 0.99) < 3e-4


# ---- forwards ------------------------------------------------------------------------------


def test_parity_finds_forward_and_discount():
    strike = np.linspace(50, 150, 11)
    call = 0.97 * black76(103.0, strike, 0.6, 0.5, True)
    put = 0.97 * black76(103.0, strike, 0.6, 0.5, False)
    found = parity(call, put, strike)
    assert found.forward == pytest.approx(103.0, rel=1e-12)
    assert found.discount == pytest.approx(0.97, rel=1e-12)
    assert parity(call[:1], put[:1], strike[:1]).pairs == 1
    assert parity(call[:1], put[:1], strike[:1]).forward == 0.0


def test_forward_rate_is_held_between_expiries():
    known = np.array([0.5, 1.0])
    ratio = np.exp(np.array([0.5 * 0.10, 1.0 * 0.08]))
    found = forward_ratio(np.array([0.0, 0.25, 0.5, 0.75, 1.0, 2.0]), known, ratio)
    assert np.log(found) == pytest.approx([0.0, 0.025, 0.05, 0.065, 0.08, 0.16], rel=1e-12)
    assert forward_ratio(np.array([0.3]), np.zeros(0), np.zeros(0)).tolist() == [1.0]


def test_the_wide_grid_covers_twenty_times_the_forward():
    assert WIDE_GRID[0] == -3.0
    assert WIDE_GRID[-1] == 3.0
    assert np.abs(WIDE_GRID).min() < 1e-12
