import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from risk.pricing import black_scholes_merton as bsm

SETTINGS = settings(deadline=None, max_examples=60)
GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "options.json").read_text())
NAMES = ("spot", "strike", "rate", "dividend", "volatility", "years")
TERMS = st.tuples(
    st.floats(1.0, 1e4),
    st.floats(0.3, 3.0),
    st.floats(-0.1, 0.3),
    st.floats(-0.1, 0.3),
    st.floats(0.05, 2.0),
    st.floats(0.02, 3.0),
    st.booleans(),
)


def golden(name):
    table = GOLDEN[name]
    return [dict(zip(table["columns"], row, strict=True)) for row in table["rows"]]


@pytest.mark.parametrize("case", golden("haug_prices"), ids=lambda c: f"{c['value']}")
def test_haug_prices(case):
    expected = case.pop("value")
    assert bsm.value(**case) == pytest.approx(expected, abs=GOLDEN["haug_prices"]["tolerance"])


@pytest.mark.parametrize("case", golden("haug_greeks"), ids=lambda c: c["greek"])
def test_haug_greeks(case):
    greek, expected = case.pop("greek"), case.pop("value")
    found = getattr(bsm.greeks(**case), greek)
    assert found == pytest.approx(expected, abs=GOLDEN["haug_greeks"]["tolerance"])


@SETTINGS
@given(TERMS)
def test_greeks_are_the_slopes_of_the_value(terms):
    *numbers, is_call = terms
    case = dict(zip(NAMES, numbers, strict=True)) | {"is_call": is_call}
    case["strike"] *= case["spot"]
    found = bsm.greeks(**case)

    def slope(name, step):
        up, down = dict(case), dict(case)
        up[name] += step
        down[name] -= step
        return (bsm.value(**up) - bsm.value(**down)) / (2.0 * step)

    scale = case["spot"]
    assert found.delta == pytest.approx(slope("spot", 1e-5 * scale), abs=1e-6)
    assert found.vega == pytest.approx(slope("volatility", 1e-5), abs=1e-5 * scale)
    assert found.rho == pytest.approx(slope("rate", 1e-5), abs=1e-6 * scale)
    assert found.dividend_rho == pytest.approx(slope("dividend", 1e-5), abs=1e-6 * scale)
    assert -found.theta == pytest.approx(slope("years", 1e-6), abs=1e-4 * scale)
    bump = 1e-4 * scale
    up, down = dict(case, spot=scale + bump), dict(case, spot=scale - bump)
    gamma = (bsm.greeks(**up).delta - bsm.greeks(**down).delta) / (2.0 * bump)
    assert found.gamma * scale == pytest.approx(gamma * scale, rel=1e-3, abs=1e-3)


@SETTINGS
@given(TERMS)
def test_put_call_parity(terms):
    spot, moneyness, rate, dividend, volatility, years, _ = terms
    strike = spot * moneyness
    call, put = (bsm.value(spot, strike, rate, dividend, volatility, years, c) for c in (1, 0))
    parity = spot * np.exp(-dividend * years) - strike * np.exp(-rate * years)
    assert call - put == pytest.approx(parity, abs=1e-9 * max(spot, strike))


def test_edges_are_intrinsic_and_finite():
    for volatility, years in ((0.0, 1.0), (0.5, 0.0)):
        found = bsm.greeks(110.0, [100.0, 110.0, 120.0], 0.0, 0.0, volatility, years, True)
        assert found.value.tolist() == [10.0, 0.0, 0.0]
        assert found.gamma.tolist() == [0.0, 0.0, 0.0]
        for field in ("delta", "vega", "theta", "rho", "dividend_rho", "elasticity"):
            assert np.isfinite(getattr(found, field)).all()


@pytest.mark.parametrize("name", NAMES)
def test_what_is_not_finite_is_refused_by_name(name):
    case = dict.fromkeys(NAMES, 1.0) | {name: np.nan, "is_call": True}
    with pytest.raises(ValueError, match=name):
        bsm.value(**case)
