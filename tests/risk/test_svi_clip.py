import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from risk.surface.svi import MOST_VARIANCE, clipped_volatility, total_variance

CURVE = np.array([0.04, 0.1, -0.3, 0.0, 0.2])


@settings(deadline=None)
@given(st.floats(1e-3, 1e6), st.floats(1e-3, 1e6), st.floats(1e-6, 2.0))
def test_far_strikes_are_read_where_the_curve_is_believed(strike, forward, years):
    volatility, k = clipped_volatility(strike, forward, years, CURVE)
    width = 4.0 * np.sqrt(0.04 + 0.1 * 0.2)
    assert -width <= k <= width
    variance = total_variance(np.array([k]), CURVE)[0]
    assert volatility**2 * years == pytest.approx(min(variance, MOST_VARIANCE), rel=1e-12)


def test_total_variance_is_capped_and_an_expired_curve_is_flat_at_zero():
    wild = np.array([500.0, 0.0, 0.0, 0.0, 0.1])
    assert clipped_volatility(100.0, 100.0, 1.0, wild)[0] == 12.0
    assert clipped_volatility(100.0, 100.0, 0.0, CURVE)[0] == 0.0


def test_many_strikes_on_many_curves():
    curves = np.stack([CURVE, 2.0 * CURVE])
    both, _ = clipped_volatility(np.array([90.0, 110.0]), 100.0, 0.5, curves)
    alone = [
        clipped_volatility(k, 100.0, 0.5, c)[0] for k, c in zip((90, 110), curves, strict=True)
    ]
    assert both.tolist() == [float(one) for one in alone]


@pytest.mark.parametrize("case", [(0.0, 1.0, CURVE), (1.0, -1.0, CURVE), (1.0, 1.0, -CURVE)])
def test_what_has_no_moneyness_is_refused(case):
    strike, forward, curve = case
    with pytest.raises(ValueError, match="must be positive"):
        clipped_volatility(strike, forward, 1.0, curve)
