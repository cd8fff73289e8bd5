"""The layer for the disagreement of models: what it is of, and what it refuses."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from risk.model_risk import ModelRiskSpec, spread_of_models
from tests.risk.books import market_of, random_holdings, universe
from tests.risk.engine import engine_of, rules_of

INSTRUMENTS, CURRENCY = universe()
MARKET = market_of(INSTRUMENTS)
SHORTFALL = {"kind": "expected_shortfall", "origins": ["historical"], "level": 0.9}
TABLES = {
    "historical": {
        "holding_period_hours": 48,
        "step_hours": 35,
        "start": "2022-01-01T00:00:00Z",
        "end": "2023-01-01T00:00:00Z",
        "volatility_half_life_hours": 96.0,
    },
    "measures": [
        SHORTFALL | {"name": "plain", "layer": "base"},
        SHORTFALL | {"name": "by_age", "age_decay": 0.97},
        SHORTFALL | {"name": "deeper", "level": 0.95},
        SHORTFALL | {"name": "recent", "age_decay": 0.99},
        {"name": "grid", "kind": "worst_loss", "origins": ["historical"]},
        {"name": "worst", "kind": "worst_loss", "origins": ["historical"]},
    ],
    "maintenance_factor": 0.8,
}
MODELS = {
    "layer": "model_risk",
    "models": ["plain", "by_age", "recent"],
    "initial": 0.5,
    "maintenance": 0.25,
}
BUFFER = {"layer": "buffer", "initial": 0.5, "maintenance": 0.5}


def engine(**tables):
    return engine_of(rules_of(**(TABLES | tables)), INSTRUMENTS, CURRENCY, MARKET)


@given(seed=st.integers(0, 2**32 - 1), spread=st.sampled_from(["range", "standard_deviation"]))
@settings(deadline=None, max_examples=20)
def test_the_layer_is_a_share_of_the_spread_and_stacks_before_buffers(seed, spread):
    holdings = random_holdings(seed, len(INSTRUMENTS), accounts=12)
    plain = engine().margin(holdings)
    found = engine(model_risk=MODELS | {"spread": spread}, buffers=[BUFFER]).margin(holdings)
    estimates = plain.risk_measure[:, [0, 1, 3]]
    twin = [
        max(row) - min(row)
        if spread == "range"
        else (sum((one - sum(row) / 3) ** 2 for one in row) / 3) ** 0.5
        for row in estimates.tolist()
    ]
    base = plain.margin[:, 0]
    assert np.array_equal(found.margin[:, 0], base, equal_nan=True)
    np.testing.assert_allclose(found.margin[:, 1], 0.5 * np.array(twin), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(found.margin[:, 2], 0.5 * found.margin[:, :2].sum(axis=1))
    kept = 1.5 * (plain.maintenance + 0.25 * np.array(twin))
    np.testing.assert_allclose(found.maintenance, kept, rtol=1e-9)
    assert (found.margin[~np.isnan(found.requirement)] >= 0.0).all()


def test_models_that_agree_ask_for_nothing():
    spec = ModelRiskSpec.model_validate(MODELS | {"models": ["a", "b"]})
    assert spread_of_models(np.full((3, 2), 7.0), spec).tolist() == [0.0] * 3


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"models": ["plain", "median"]}, r"models \['median'\] are no measures"),
        ({"models": ["plain", "deeper"]}, "expected_shortfall at 0.9, .* at 0.95"),
        ({"models": ["grid", "worst"]}, "a value at risk or an expected shortfall of one level"),
        ({"models": ["plain"]}, "at least 2 items"),
        ({"models": ["plain", "plain"]}, "must differ"),
        ({"maintenance": 0.75}, "maintenance 0.75 is above initial 0.5"),
        ({"initial": -0.1}, "greater than or equal to 0"),
        ({"spread": "variance"}, "'range' or 'standard_deviation'"),
        ({"layer": "base"}, r"layer names \['base', 'base'\] must differ"),
    ],
)
def test_what_is_no_ensemble_is_refused(change, said):
    with pytest.raises(ValueError, match=said):
        rules_of(**TABLES, model_risk=MODELS | change)
