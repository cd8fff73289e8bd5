"""Health of accounts: thresholds, calls, and which change made the difference."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from risk.health import (
    AccountHealth,
    Cause,
    DueHours,
    HealthSpec,
    account_health,
    call_amount,
    change_cause,
    due_hours,
    margin_ratio,
)

# The first call compiles, and machines are shared.
SETTINGS = settings(deadline=None, max_examples=60)

SPEC = HealthSpec(warning_ratio=1.25, target_ratio=1.1)

money = st.floats(-1e9, 1e9).map(lambda value: round(value, 2))
requirement = st.floats(0.0, 1e9).map(lambda value: round(value, 2))


@st.composite
def accounts(draw, most=20):
    size = draw(st.integers(1, most))
    equity = np.array(draw(st.lists(money, min_size=size, max_size=size)))
    initial = np.array(draw(st.lists(requirement, min_size=size, max_size=size)))
    part = np.array(draw(st.lists(st.floats(0.0, 1.0), min_size=size, max_size=size)))
    return equity, initial, initial * part


def slow_health(equity, initial, maintenance, spec):
    """One account, threshold by threshold."""
    if equity < 0.0:
        return AccountHealth.BANKRUPT
    if equity < maintenance:
        return AccountHealth.LIQUIDATION
    if equity < initial:
        return AccountHealth.MARGIN_CALL
    if equity < spec.warning_ratio * initial:
        return AccountHealth.WARNING
    return AccountHealth.HEALTHY


@SETTINGS
@given(accounts())
def test_health_is_that_of_the_slow_twin(sample):
    health = account_health(*sample, SPEC)
    assert health.tolist() == [slow_health(*row, SPEC) for row in zip(*sample, strict=True)]


@SETTINGS
@given(accounts(), st.floats(0.0, 1e9))
def test_more_equity_is_never_worse(sample, deposit):
    equity, initial, maintenance = sample
    before = account_health(equity, initial, maintenance, SPEC)
    after = account_health(equity + deposit, initial, maintenance, SPEC)
    assert (after <= before).all()
    called = call_amount(equity, initial, before, SPEC)
    assert (call_amount(equity + deposit, initial, after, SPEC) <= called).all()


@SETTINGS
@given(accounts(), st.integers(-20, 20))
def test_the_currency_does_not_matter(sample, power):
    scale = 2.0**power
    health = account_health(*sample, SPEC)
    scaled = [values * scale for values in sample]
    assert account_health(*scaled, SPEC).tolist() == health.tolist()
    amount = call_amount(sample[0], sample[1], health, SPEC)
    assert call_amount(scaled[0], scaled[1], health, SPEC).tolist() == (amount * scale).tolist()


@SETTINGS
@given(accounts())
def test_a_call_that_is_met_reaches_the_target(sample):
    equity, initial, maintenance = sample
    health = account_health(equity, initial, maintenance, SPEC)
    amount = call_amount(equity, initial, health, SPEC)
    called = health >= AccountHealth.MARGIN_CALL
    assert (amount >= 0.0).all()
    assert (amount[~called] == 0.0).all()
    target = SPEC.target_ratio * initial
    assert equity[called] + amount[called] == pytest.approx(target[called], rel=1e-12, abs=1e-6)


@SETTINGS
@given(accounts(), accounts(most=1))
def test_a_cause_is_named_exactly_where_health_changed(sample, other):
    after = tuple(np.resize(values, len(sample[0])) for values in other)
    cause = change_cause(sample, after, SPEC)
    changed = account_health(*sample, SPEC) != account_health(*after, SPEC)
    assert ((cause != Cause.NONE) == changed).all()


@pytest.mark.parametrize(
    ("after", "cause"),
    [
        ((100.0, 50.0, 40.0), Cause.NONE),
        ((45.0, 50.0, 40.0), Cause.EQUITY),
        ((100.0, 110.0, 90.0), Cause.REQUIREMENT),
        ((45.0, 110.0, 90.0), Cause.BOTH),
        ((45.0, 110.0, 42.0), Cause.EITHER),
    ],
)
def test_the_cause_is_a_counterfactual(after, cause):
    before = tuple(np.array([value]) for value in (100.0, 50.0, 40.0))
    found = change_cause(before, tuple(np.array([value]) for value in after), HealthSpec())
    assert Cause(found[0]) is cause


def test_a_threshold_that_is_just_met_is_met():
    hundred, eighty = np.full(4, 100.0), np.full(4, 80.0)
    health = account_health(np.array([125.0, 100.0, 80.0, 0.0]), hundred, eighty, SPEC)
    assert health.tolist() == [
        AccountHealth.HEALTHY,
        AccountHealth.WARNING,
        AccountHealth.MARGIN_CALL,
        AccountHealth.LIQUIDATION,
    ]


def test_nothing_held_and_nothing_owed_is_healthy():
    nothing = np.zeros(1)
    assert account_health(nothing, nothing, nothing, SPEC).tolist() == [AccountHealth.HEALTHY]
    assert margin_ratio(nothing, nothing).tolist() == [np.inf]


def test_due_hours_follow_the_health():
    spec = HealthSpec(due_hours=DueHours(margin_call=8.0, liquidation=1.0, bankrupt=0.5))
    every = np.array([*AccountHealth], dtype=np.int8)
    assert due_hours(every, spec).tolist() == [np.inf, np.inf, 8.0, 1.0, 0.5]


@pytest.mark.parametrize(
    ("field", "said"),
    [
        ({"warning_ratio": 0.9}, "greater than or equal to 1"),
        ({"target_ratio": 0.5}, "greater than or equal to 1"),
        ({"warning": 1.2}, "Extra inputs"),
        ({"due_hours": {"margin_call": 1.0, "liquidation": 2.0}}, "the sooner it is due"),
        ({"due_hours": {"bankrupt": -1.0}}, "greater than or equal to 0"),
    ],
)
def test_a_rule_that_cannot_be_meant_is_refused(field, said):
    with pytest.raises(ValidationError, match=said):
        HealthSpec.model_validate(field)


@pytest.mark.parametrize(
    ("equity", "initial", "said"),
    [
        (np.nan, 1.0, "equity is nan at row 0"),
        (np.inf, 1.0, "equity is inf at row 0"),
        (1.0, -1.0, "initial is -1.0 at row 0.*0 or more"),
        (1.0, np.nan, "initial is nan"),
    ],
)
def test_what_is_no_amount_is_refused(equity, initial, said):
    with pytest.raises(ValueError, match=said):
        account_health(np.array([equity]), np.array([initial]), np.zeros(1), SPEC)
