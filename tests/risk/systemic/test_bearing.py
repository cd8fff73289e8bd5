"""Who bears the losses of a stress scenario: by hand, and what must hold of any losses."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from risk.kernels.sums import UNIT
from risk.systemic.bearing import bear_losses
from risk.systemic.plan import parse_stress_plan
from tests.workers.stressed import SMALL_PLAN


@pytest.fixture(scope="module")
def plan():
    return parse_stress_plan(SMALL_PLAN).model_copy(update={"insurance_fund": 30.0})


def test_layers_by_hand(plan):
    # Contributions of 10, 20 and 40. A's accounts owe 100: it defaults, pays 10 and leaves 90. B's
    # owe 5, which B pays, and 15 of its 20 are left. The vault lost 25. 115 come to the insurance
    # fund, which has 30; B and C have 15 and 40 for the rest of 85; 30 are taken from who gained.
    borne = bear_losses(plan, [[100.0], [5.0], [0.0]], [25.0], [10.0, 20.0, 40.0])
    assert borne.names == ("own_contribution", "insurance_fund", "mutual_fund", "socialised_loss")
    assert borne.loss.tolist() == [130.0]
    assert borne.layers[:, 0].tolist() == [15.0, 30.0, 55.0, 30.0]
    assert borne.by_member[0, :, 0].tolist() == [10.0, 5.0, 0.0]
    assert borne.by_member[2, :, 0].tolist() == pytest.approx([0.0, 15.0, 40.0], abs=1e-9)
    assert borne.beyond[:, 0].tolist() == [90.0, 0.0, 0.0]
    assert borne.defaulted[:, 0].tolist() == [True, False, False]
    assert borne.unborne.tolist() == [0.0]


def test_a_member_who_can_pay_does_not_default_and_nobody_helps(plan):
    borne = bear_losses(plan, [[10.0], [0.0]], [0.0], [10.0, 20.0])
    assert borne.layers[:, 0].tolist() == [10.0, 0.0, 0.0, 0.0]
    assert not borne.defaulted.any()


money = st.floats(0.0, 1e9).map(lambda x: round(x, 2))


@settings(max_examples=200, deadline=None)
@given(
    st.integers(1, 5).flatmap(
        lambda members: st.tuples(
            st.lists(st.tuples(money, money), min_size=members, max_size=members),
            st.lists(money, min_size=members, max_size=members),
        )
    ),
    st.tuples(money, money),
    money,
)
def test_layers_add_up_and_nobody_pays_more_than_he_has(plan, amounts, vault, insurance):
    uncovered, fund = (np.array(one) for one in amounts)
    uncovered, vault = (np.floor(one / UNIT) * UNIT for one in (uncovered, np.array(vault)))
    rules = plan.model_copy(update={"insurance_fund": insurance})
    borne = bear_losses(rules, uncovered, vault, fund)
    np.testing.assert_array_equal(borne.loss, uncovered.sum(axis=0) + vault)
    np.testing.assert_array_equal(borne.layers.sum(axis=0) + borne.unborne, borne.loss)
    assert (borne.layers >= 0.0).all()
    assert (borne.layers[1] <= insurance).all()
    paid = borne.by_member[[0, 2]].sum(axis=0)
    assert (paid <= fund[:, np.newaxis] * (1.0 + 1e-12)).all()
    assert (borne.by_member[2][borne.defaulted] == 0.0).all()
    np.testing.assert_array_equal(borne.defaulted, borne.beyond > 0.0)
    # Nobody's winnings are taken while a contribution or the insurance fund has something left.
    taken = borne.layers[3] > 0.0
    assert (borne.layers[1][taken] == np.floor(insurance / UNIT) * UNIT).all()
