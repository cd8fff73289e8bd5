"""What exhausts a layer is what leaves something for those behind it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from risk.systemic.bearing import bear_losses
from risk.systemic.exhaustion import drawn, exhaustion, layers_to_exhaust
from risk.systemic.plan import parse_stress_plan
from tests.workers.stressed import SMALL_PLAN
from workers.stress.request import load_plan

PLAN = parse_stress_plan(
    SMALL_PLAN.replace(
        '[[layers]]\nname = "socialised_loss"',
        '[[layers]]\nname = "assessments"\npayer = "survivors"\nresource = "default_fund"\n'
        'multiple = 2.0\n\n[[layers]]\nname = "socialised_loss"',
    )
)
AMOUNTS = st.lists(st.integers(0, 2_000_000), min_size=4, max_size=4)


def test_resources_add_up_in_the_order_of_the_plan():
    fund = [100_000.0, 200_000.0]
    found = [exhaustion(PLAN, name, fund) for name in layers_to_exhaust(PLAN)]
    assert [(one.name, one.resource, one.times) for one in found] == [
        ("insurance_fund", 1_000_000.0, 0.0),
        ("mutual_fund", 1_300_000.0, 1.0),
        ("assessments", 1_900_000.0, 3.0),
    ]


@settings(deadline=None, max_examples=200)
@given(AMOUNTS, AMOUNTS, st.sampled_from(layers_to_exhaust(PLAN)))
def test_a_layer_is_exhausted_where_one_behind_it_bears(uncovered, fund, layer):
    """Against the waterfall itself."""
    owed = np.array(uncovered, dtype=float)
    borne = bear_losses(PLAN, owed[:, np.newaxis], [0.0], fund)
    behind = borne.layers[borne.names.index(layer) + 1 :].sum() + borne.unborne.sum()
    if not sum(fund) and layer != "insurance_fund":
        return
    found = exhaustion(PLAN, layer, fund)
    over = drawn(owed, fund, found.times).sum() - found.resource
    assert max(over, 0.0) == pytest.approx(behind, abs=1e-6)


def test_what_winners_give_up_is_no_resource():
    plan = load_plan("margincube-deleveraging-2026-01").plan
    layers = layers_to_exhaust(plan)
    assert layers == ["insurance_fund", "own_capital", "mutual_fund", "assessments"]
    with pytest.raises(ValueError, match="no layer 'auto_deleveraging' that can be exhausted"):
        exhaustion(plan, "auto_deleveraging", [1.0])


def test_what_cannot_be_exhausted_is_refused():
    for name in ("socialised_loss", "own_contribution", "luck"):
        with pytest.raises(ValueError, match=f"no layer '{name}' that can be exhausted; it has"):
            exhaustion(PLAN, name, [1.0])
    empty = PLAN.model_copy(update={"insurance_fund": 0.0})
    with pytest.raises(ValueError, match="'insurance_fund' of plan small has nothing"):
        exhaustion(empty, "insurance_fund", [1.0])
