"""What holds of every account of a pool, whatever it claims and owes."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from risk.claims.pool import NO_SCENARIO, PoolAccounts, pool_block
from tests.risk.claims.test_pool import drawn

SEEDS = st.integers(0, 2**32)


def added(accounts: PoolAccounts, account, token, units, market, present=None) -> PoolAccounts:
    """The same accounts, one of which has a claim more."""
    first, last = accounts.claim_offsets[account : account + 2]
    # Claims of one market follow each other.
    at = first + int(np.searchsorted(accounts.market[first:last], market, side="right"))
    offsets = accounts.claim_offsets.copy()
    offsets[account + 1 :] += 1
    return dataclasses.replace(
        accounts,
        claim_offsets=offsets,
        token=np.insert(accounts.token, at, token),
        counted=np.insert(accounts.counted, at, units),
        present=np.insert(accounts.present, at, units if present is None else present),
        market=np.insert(accounts.market, at, market),
    )


@settings(deadline=None)
@given(SEEDS, st.floats(0.0, 1e3), st.integers(-1, 1), st.data())
def test_a_claim_more_never_lowers_credit(seed, units, market, data):
    """Outside of markets, and inside where it is of no higher bonus than what is there."""
    accounts, terms = drawn(seed, 4)
    terms = dataclasses.replace(terms, bonus=np.full_like(terms.bonus, 0.05) * ~terms.is_debt)
    token = data.draw(st.sampled_from(np.flatnonzero(~terms.is_debt).tolist()))
    before = pool_block(accounts, terms)
    after = pool_block(added(accounts, 1, token, units, market), terms)
    tiny = 1e-9 * (1.0 + np.abs(before.credit).max(initial=0.0, where=~accounts.held))
    known = ~accounts.held
    assert (after.credit[known] >= before.credit[known] - tiny).all()
    others = np.flatnonzero(known & (np.arange(4) != 1))
    assert after.credit[others].tobytes() == before.credit[others].tobytes()


@settings(deadline=None)
@given(SEEDS, st.floats(0.0, 1e3), st.integers(-1, 1), st.data())
def test_a_debt_more_never_raises_credit(seed, units, market, data):
    accounts, terms = drawn(seed, 4)
    token = data.draw(st.sampled_from(np.flatnonzero(terms.is_debt).tolist()))
    before = pool_block(accounts, terms)
    after = pool_block(added(accounts, 1, token, units, market), terms)
    known = ~accounts.held
    tiny = 1e-9 * (1.0 + np.abs(before.credit).max(initial=0.0, where=known))
    assert (after.credit[known] <= before.credit[known] + tiny).all()
    assert (after.health[known] <= before.health[known]).all()


@settings(deadline=None)
@given(SEEDS, st.integers(-1, 1))
def test_what_is_there_and_does_not_count_helps_the_health_alone(seed, market):
    """A claim that is not proven keeps its market's position healthy, and adds nothing itself."""
    accounts, terms = drawn(seed, 4)
    token = int(np.flatnonzero(~terms.is_debt)[0])
    before = pool_block(accounts, terms)
    more = pool_block(added(accounts, 1, token, 0.0, market, present=10.0), terms)
    known = ~accounts.held
    assert (more.health[known] >= before.health[known]).all()
    if market < 0:
        assert more.credit[known].tobytes() == before.credit[known].tobytes()


@settings(deadline=None)
@given(SEEDS)
def test_requirements_are_losses(seed):
    accounts, terms = drawn(seed, 8)
    block = pool_block(accounts, terms)
    known = ~accounts.held
    assert (block.requirement[known] >= 0.0).all()
    assert (block.requirement_alone[known] >= 0.0).all()
    none = known & (block.requirement == 0.0)
    assert (block.binding_scenario[none] == NO_SCENARIO).all()
    assert (block.credit_then[none] == block.credit[none]).all()
    for name in ("value", "credit", "requirement", "requirement_alone", "health", "credit_then"):
        assert np.isnan(getattr(block, name)[~known]).all(), name


@settings(deadline=None)
@given(SEEDS)
def test_collateral_that_stands_still_asks_for_nothing(seed):
    """Where no state moves a unit's credit or value, the requirement is that of the positions."""
    accounts, terms = drawn(seed, 8)
    still = dataclasses.replace(
        terms,
        value=np.repeat(terms.value[:, :1], terms.value.shape[1], axis=1),
        credit=np.repeat(terms.credit[:, :1], terms.credit.shape[1], axis=1),
    )
    block = pool_block(accounts, still)
    assert block.requirement.tobytes() == block.requirement_alone.tobytes()
    assert block.binding_scenario.tobytes() == block.binding_alone.tobytes()
    assert block.credit_then.tobytes() == block.credit.tobytes()


@settings(deadline=None)
@given(SEEDS)
def test_without_claims_the_requirement_is_that_of_the_positions(seed):
    accounts, terms = drawn(seed, 8)
    bare = dataclasses.replace(
        accounts,
        claim_offsets=np.zeros(9, np.int64),
        token=accounts.token[:0],
        counted=accounts.counted[:0],
        present=accounts.present[:0],
        market=accounts.market[:0],
    )
    block = pool_block(bare, terms)
    assert block.requirement.tobytes() == block.requirement_alone.tobytes()
    known = ~accounts.held
    assert (block.credit[known] == 0.0).all()
    assert np.isinf(block.health[known]).all()


@settings(deadline=None)
@given(SEEDS)
def test_the_weight_of_a_scenario_scales_what_it_asks(seed):
    """Of one scenario alone; at weight 0 it is reported and asks for nothing."""
    accounts, terms = drawn(seed, 8, scenarios=1)
    asked = {
        weight: pool_block(accounts, dataclasses.replace(terms, weight=np.array([weight])))
        for weight in (0.0, 0.5, 1.0)
    }
    known = ~accounts.held
    assert (asked[0.0].requirement[known] == 0.0).all()
    half, whole = asked[0.5].requirement[known], asked[1.0].requirement[known]
    assert (2.0 * half).tobytes() == whole.tobytes()
    assert asked[0.0].credit_by_state.tobytes() == asked[1.0].credit_by_state.tobytes()


@pytest.mark.parametrize(
    ("name", "rows", "said"),
    [
        ("token", 6, "token rows .* not all within 0 to 5"),
        ("instrument", 5, "instrument rows .* not all within 0 to 4"),
        ("market", 2, "market rows .* not all within -1 to 1"),
        ("market", -2, "market rows .* not all within -1 to 1"),
    ],
)
def test_rows_of_other_datasets_are_refused(name, rows, said):
    accounts, terms = drawn(5, 8)
    changed = getattr(accounts, name).copy()
    changed[0] = rows
    with pytest.raises(ValueError, match=said):
        pool_block(dataclasses.replace(accounts, **{name: changed}), terms)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"weight": np.ones(3)}, "do not pair with"),
        ({"is_debt": np.zeros(2, np.bool_)}, "not of the same tokens"),
        ({"value": np.full((6, 8), np.nan)}, "value of a token is not a finite number"),
        ({"credit": np.full((6, 8), -1.0)}, "credit of a token is not a finite number"),
    ],
)
def test_terms_that_cannot_be_are_refused(change, said):
    _, terms = drawn(5, 1)
    with pytest.raises(ValueError, match=said):
        dataclasses.replace(terms, **change)
