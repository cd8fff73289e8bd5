"""Closed forms of risk against simulation, numerical integration and each other."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2, ncx2, norm

from risk.statistics import delta_gamma, lognormal

SETTINGS = settings(deadline=None, max_examples=60)
SIGMAS = st.floats(0.01, 2.0)
TAILS = st.floats(1e-4, 0.5)


NODES, WEIGHTS = np.polynomial.legendre.leggauss(200)


@SETTINGS
@given(st.floats(-1.0, 1.0), SIGMAS, TAILS, st.booleans())
def test_lognormal_measures_are_integrals_over_the_tail(mu, sigma, tail, is_long):
    sign = 1.0 if is_long else -1.0
    # The tail lies on the low side of a normal variable for X and on its high side for -X.
    z = sign * (norm.ppf(tail) - 10.0 * (1.0 + NODES))
    density = np.exp(-0.5 * z * z) / np.sqrt(2.0 * np.pi)
    expected = -sign * 10.0 * (WEIGHTS * np.exp(mu + sigma * z) * density).sum() / tail
    found = lognormal.expected_shortfall(mu, sigma, tail, is_long)
    assert found == pytest.approx(expected, rel=1e-9)
    quantile = lognormal.value_at_risk(mu, sigma, tail, is_long)
    reached = norm.cdf((np.log(sign * -quantile) - mu) / sigma)
    assert reached == pytest.approx(tail if is_long else 1.0 - tail, rel=1e-9)


@SETTINGS
@given(st.floats(-1.0, 1.0), SIGMAS, TAILS, st.booleans())
def test_a_lognormal_shortfall_is_no_less_than_the_value_at_risk(mu, sigma, tail, is_long):
    worst = lognormal.expected_shortfall(mu, sigma, tail, is_long)
    assert worst >= lognormal.value_at_risk(mu, sigma, tail, is_long) - 1e-12


@SETTINGS
@given(TAILS, st.floats(1e-6, 0.5), st.floats(0.0, 3.0))
def test_risk_factors_lie_where_losses_can(tail, years, sigma):
    found = lognormal.forward_risk_factors(tail, years, 0.0, sigma)
    assert -1e-12 <= found.long <= 1.0
    assert found.short >= -1e-12


def test_levels_rise_and_wrong_ones_are_refused():
    found = lognormal.margin_levels(2_000.0, 0.8007282079881541, (1.2, 1.5, 2.0))
    assert (found.maintenance, found.search, found.initial, found.release) == (
        *(1602, 1922, 2403),
        3204,
    )
    with pytest.raises(ValueError, match="must rise from 1"):
        lognormal.margin_levels(1.0, 1.0, (2.0, 1.5, 3.0))
    with pytest.raises(ValueError, match="0 or more"):
        lognormal.margin_levels(-1.0, 1.0, (1.0, 1.5, 3.0))


@pytest.mark.parametrize("wrong", [{"sigma": -1.0}, {"tail": 0.0}, {"tail": 1.0}, {"mu": np.nan}])
def test_lognormal_parameters_are_checked(wrong):
    given_ = {"mu": 0.0, "sigma": 0.1, "tail": 0.01, "is_long": True} | wrong
    with pytest.raises(ValueError, match=next(iter(wrong))):
        lognormal.value_at_risk(**given_)


@pytest.mark.parametrize("probability", [1e-3, 0.01, 0.3, 0.5, 0.9, 0.99, 0.999])
def test_a_square_has_the_quantiles_of_chi_square(probability):
    square = delta_gamma.quadratic([0.0], [[2.0]], [[1.0]])
    found = delta_gamma.exact_quantile(square, probability)
    assert found == pytest.approx(chi2.ppf(probability, 1), abs=1e-7)
    mirrored = delta_gamma.quadratic([0.0], [[-2.0]], [[1.0]])
    found = delta_gamma.exact_quantile(mirrored, 1.0 - probability)
    assert found == pytest.approx(-chi2.ppf(probability, 1), abs=1e-7)
    shifted = delta_gamma.quadratic([2.0], [[1.0]], [[1.0]])
    found = delta_gamma.exact_quantile(shifted, probability)
    assert found == pytest.approx(0.5 * ncx2.ppf(probability, 1, 4.0) - 2.0, abs=1e-7)


@SETTINGS
@given(st.floats(0.01, 100.0), st.floats(0.001, 0.999))
def test_a_line_has_the_quantiles_of_the_normal(scale, probability):
    line = delta_gamma.quadratic([3.0, -4.0], np.zeros((2, 2)), scale**2 * np.eye(2))
    expected = 5.0 * scale * norm.ppf(probability)
    for quantile in (delta_gamma.exact_quantile, delta_gamma.cornish_fisher_quantile):
        assert quantile(line, probability) == pytest.approx(expected, abs=1e-7 * scale)


def portfolio(seed, size, curve):
    rng = np.random.default_rng(seed)
    root, matrix = rng.normal(size=(size, size)), rng.normal(size=(size, size))
    return rng.normal(size=size), curve * (matrix + matrix.T) / 2.0, root @ root.T / size


@pytest.mark.parametrize(("seed", "size", "curve"), [(1, 2, 1.0), (2, 5, 0.2), (3, 12, 1.0)])
def test_quantiles_against_simulation(seed, size, curve):
    delta, gamma, covariance = portfolio(seed, size, curve)
    found = delta_gamma.quadratic(delta, gamma, covariance)
    rng = np.random.default_rng(seed)
    x = rng.multivariate_normal(np.zeros(size), covariance, 400_000, method="cholesky")
    pnl = x @ delta + 0.5 * np.einsum("si,ij,sj->s", x, gamma, x)
    assert found.cumulant(1) == pytest.approx(pnl.mean(), abs=0.01 * pnl.std())
    assert found.cumulant(2) == pytest.approx(pnl.var(), rel=0.02)
    for probability in (0.01, 0.5, 0.99):
        quantile = delta_gamma.exact_quantile(found, probability)
        assert np.mean(pnl <= quantile) == pytest.approx(probability, abs=0.0025)
        rough = 1.0 - delta_gamma.saddlepoint_tail(found, quantile)
        assert rough == pytest.approx(probability, abs=0.003 if probability != 0.5 else 0.06)


def test_value_at_risk_is_the_loss_of_the_lower_tail():
    short_options = delta_gamma.quadratic([0.0], [[-2.0]], [[1.0]])
    assert delta_gamma.value_at_risk(short_options, 0.99) == pytest.approx(chi2.ppf(0.99, 1))


def test_a_portfolio_without_risk_has_one_quantile():
    flat = delta_gamma.quadratic([0.0], [[0.0]], [[1.0]])
    assert delta_gamma.exact_quantile(flat, 0.99) == 0.0
    assert delta_gamma.cornish_fisher_quantile(flat, 0.99) == 0.0
    with pytest.raises(ValueError, match="certain"):
        delta_gamma.saddlepoint_tail(flat, 1.0)


@pytest.mark.parametrize(
    ("delta", "gamma", "covariance", "sentence"),
    [
        ([1.0, 2.0], [[1.0]], np.eye(2), "gamma has shape"),
        ([1.0, 2.0], [[0.0, 1.0], [0.0, 0.0]], np.eye(2), "gamma is not symmetric"),
        ([1.0, 2.0], np.eye(2), [[1.0, 2.0], [2.0, 1.0]], "negative eigenvalue"),
        ([1.0], [[np.nan]], [[1.0]], "must be finite"),
    ],
)
def test_matrices_are_checked(delta, gamma, covariance, sentence):
    with pytest.raises(ValueError, match=sentence):
        delta_gamma.quadratic(delta, gamma, covariance)
    with pytest.raises(ValueError, match="between 0 and 1"):
        delta_gamma.exact_quantile(delta_gamma.quadratic([1.0], [[0.0]], [[1.0]]), 1.0)
