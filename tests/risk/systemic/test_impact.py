"""Impact: the published law, and what must hold of any."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from risk.systemic.impact import ImpactSpec, liquidation_cost, price_after, relative_impact
from tests.risk.systemic.golden import case

SETTINGS = settings(deadline=None, max_examples=100)
LAWS = st.one_of(
    st.builds(
        ImpactSpec,
        coefficient=st.floats(0.1, 3.0),
        exponent=st.floats(0.4, 0.7),
        source=st.just("drawn"),
    ),
    st.builds(
        ImpactSpec,
        form=st.just("linear"),
        coefficient=st.floats(0.1, 3.0),
        source=st.just("drawn"),
    ),
)
QUANTITY = st.floats(0.0, 1e9)


def test_the_square_root_law():
    given, expected, tolerance = case("sqrt_impact")
    law = ImpactSpec(coefficient=given["Y"], source="vector")
    found = relative_impact(law, given["q_over_adv"], 1.0, given["sigma_daily"])
    np.testing.assert_allclose(found, expected["cost"], **tolerance)


@SETTINGS
@given(LAWS, QUANTITY, QUANTITY, st.floats(0.01, 1.0), st.floats(0.0, 3.0))
def test_more_sold_or_less_depth_never_costs_less(law, one, other, factor, sigma):
    small, large = sorted([one, other])
    assert relative_impact(law, small, 1e4, sigma) <= relative_impact(law, large, 1e4, sigma)
    calm, stressed = (price_after(law, 50.0, large, 1e4, sigma, depth) for depth in (1.0, factor))
    assert 0.0 <= stressed <= calm <= 50.0
    assert price_after(law, 50.0, -large, 1e4, sigma, factor) >= 50.0
    cheap, dear = (liquidation_cost(law, q, 50.0, 1e4, sigma) for q in (small, large))
    assert 0.0 <= cheap <= dear <= 50.0 * large


@SETTINGS
@given(LAWS, st.lists(st.floats(0.0, 1e6), min_size=1, max_size=5))
def test_slices_end_at_the_price_of_the_whole(law, slices):
    prices = price_after(law, 100.0, np.cumsum(slices), 1e5, 0.05)
    whole = price_after(law, 100.0, sum(slices), 1e5, 0.05)
    np.testing.assert_allclose(prices[-1], whole, rtol=1e-12)
    assert (np.diff(prices) <= 0.0).all()


def test_instruments_and_scenarios_are_broadcast():
    law = ImpactSpec(exponent=0.6, source="choice")
    sold = np.array([[1.0, 2.0], [0.0, -3.0], [5.0, 5.0]])
    volume, sigma = np.array([[10.0], [20.0], [30.0]]), np.array([[0.1], [0.2], [0.3]])
    depth = np.array([1.0, 0.02])
    found = relative_impact(law, sold, volume, sigma, depth)
    for instrument, scenario in np.ndindex(3, 2):
        q = sold[instrument, scenario]
        against = abs(q) / (volume[instrument, 0] * depth[scenario])
        alone = np.sign(q) * sigma[instrument, 0] * against**0.6
        assert found[instrument, scenario] == pytest.approx(alone, rel=1e-14)


@pytest.mark.parametrize(
    ("form", "exponent"), [("power", 0.3), ("power", 0.8), ("power", 1.0), ("linear", 0.5)]
)
def test_an_exponent_of_another_form_is_refused(form, exponent):
    with pytest.raises(ValidationError, match="exponent"):
        ImpactSpec(form=form, exponent=exponent, source="test")


@pytest.mark.parametrize(
    ("words", "change"),
    [
        ("quantity", {"quantity": np.nan}),
        ("volume", {"volume": 0.0}),
        ("volatility", {"volatility": -0.1}),
        ("depth_factor", {"depth_factor": 0.0}),
        ("depth_factor", {"depth_factor": 1.5}),
    ],
)
def test_what_is_no_market_is_refused(words, change):
    good = {"quantity": 1.0, "volume": 1.0, "volatility": 0.1, "depth_factor": 1.0}
    with pytest.raises(ValueError, match=words):
        relative_impact(ImpactSpec(source="test"), **(good | change))
