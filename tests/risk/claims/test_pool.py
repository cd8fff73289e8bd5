"""The kernel of the pool against a twin in NumPy, one account after the other."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from risk.claims.markets import market_position
from risk.claims.pool import PoolAccounts, PoolBlock, PoolTerms, left_in_market, pool_block
from risk.summation import BLOCK_ACCOUNTS, fold_blocks

NOWHERE = -1


def drawn(seed, accounts, *, instruments=5, tokens=6, markets=2, scenarios=7) -> tuple[
    PoolAccounts, PoolTerms
]:  # fmt: skip
    """Accounts with up to six claims and four positions; one token in three is a debt."""
    rng = np.random.default_rng(seed)
    is_debt = np.arange(tokens) % 3 == 2
    value = rng.lognormal(0.0, 1.0, (tokens, scenarios + 1))
    ratio = np.where(is_debt, 1.0, rng.uniform(0.5, 1.0, tokens))[:, np.newaxis]
    credit = value * ratio
    credit[~is_debt] *= rng.random((int((~is_debt).sum()), scenarios + 1)) < 0.9
    terms = PoolTerms(
        cube=rng.normal(0.0, 3.0, (instruments, scenarios)),
        weight=rng.choice([0.0, 0.25, 1.0], scenarios),
        value=value,
        credit=credit,
        is_debt=is_debt,
        threshold=rng.uniform(0.4, 0.95, (markets, tokens)) * ~is_debt,
        bonus=rng.uniform(0.0, 0.15, (markets, tokens)) * ~is_debt,
        target_health=float(rng.choice([1.0, 1.05, 1.25])),
        reported=np.unique(rng.integers(0, scenarios + 1, 3)),
    )
    positions, held = rng.integers(0, 5, accounts), rng.integers(0, 7, accounts)
    offsets = np.concatenate([[0], np.cumsum(positions)])
    claim_offsets = np.concatenate([[0], np.cumsum(held)])
    size = int(claim_offsets[-1])
    owner = np.repeat(np.arange(accounts), held)
    market = rng.integers(NOWHERE, markets, size)
    order = np.lexsort((market, owner))
    token = rng.integers(0, tokens, size)
    present = rng.lognormal(0.0, 1.0, size)
    counted = np.where(is_debt[token], present, present * rng.choice([0.0, 0.5, 1.0], size))
    return PoolAccounts(
        offsets=offsets,
        instrument=rng.integers(0, instruments, int(offsets[-1])).astype(np.int32),
        quantity=rng.normal(0.0, 1.0, int(offsets[-1])),
        claim_offsets=claim_offsets,
        token=token.astype(np.int32),
        counted=counted,
        present=present,
        market=market[order].astype(np.int32),
        position_value=rng.normal(0.0, 1.0, accounts),
        held=rng.random(accounts) < 0.1,
    ), terms


def credit_by_state(accounts: PoolAccounts, terms: PoolTerms, claims: slice):
    """What the claims of one account count for in every state, and the health of its markets."""
    token, counted = accounts.token[claims], accounts.counted[claims]
    present, market = accounts.present[claims], accounts.market[claims]
    sign = np.where(terms.is_debt[token], -1.0, 1.0)
    alone = market == NOWHERE
    row = (sign[alone] * counted[alone]) @ terms.credit[token[alone]]
    health = np.inf
    value = float((sign[alone] * counted[alone]) @ terms.value[token[alone], 0])
    for one in np.unique(market[~alone]):
        here = market == one
        position = market_position(
            counted[here], present[here], terms.value[token[here]], terms.credit[token[here]],
            terms.is_debt[token[here]], terms.threshold[one, token[here]],
            terms.bonus[one, token[here]],
        )  # fmt: skip
        row = row + position.left(terms.target_health) - position.unbacked()
        health = min(health, position.health[0])
        mark = float((sign[here] * counted[here]) @ terms.value[token[here], 0])
        value += mark
    return row, value, health


def twin(accounts: PoolAccounts, terms: PoolTerms) -> dict[str, np.ndarray]:
    size, states = len(accounts), terms.credit.shape[1]
    found = {
        name: np.full(size, np.nan)
        for name in ("value", "credit", "requirement", "requirement_alone", "credit_then", "health")
    }
    total = np.zeros(states)
    below, called = np.zeros(len(terms.reported)), np.zeros(len(terms.reported))
    for account in np.flatnonzero(~accounts.held).tolist():
        rows = slice(*accounts.offsets[account : account + 2])
        pnl = accounts.quantity[rows] @ terms.cube[accounts.instrument[rows]]
        claims = slice(*accounts.claim_offsets[account : account + 2])
        row, value, health = credit_by_state(accounts, terms, claims)
        inside = terms.weight * (pnl + row[1:] - row[0])
        outside = terms.weight * pnl
        found["value"][account], found["health"][account] = value, health
        found["credit"][account] = row[0]
        found["requirement"][account] = max(0.0, -inside.min())
        found["requirement_alone"][account] = max(0.0, -outside.min())
        binds = int(inside.argmin()) + 1 if inside.min() < 0.0 else 0
        found["credit_then"][account] = row[binds]
        total += row
        gained = np.concatenate([[0.0], pnl])[terms.reported]
        equity = row[terms.reported] + accounts.position_value[account] + gained
        missing = np.maximum(found["requirement_alone"][account] - equity, 0.0)
        below += missing > 0.0
        called += missing
    return found | {"credit_by_state": total, "below_alone": below, "called_alone": called}


@settings(deadline=None)  # the first call compiles
@given(st.integers(0, 2**32), st.integers(0, 30))
def test_the_kernel_gives_what_the_twin_gives(seed, accounts):
    holders, terms = drawn(seed, accounts)
    block = pool_block(holders, terms)
    for name, numbers in twin(holders, terms).items():
        np.testing.assert_allclose(
            getattr(block, name), numbers, rtol=1e-9, atol=1e-9, err_msg=name
        )


@settings(deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 30))
def test_claims_add_up_to_accounts_and_accounts_to_the_block(seed, accounts):
    holders, terms = drawn(seed, accounts)
    block = pool_block(holders, terms)
    owner = np.repeat(np.arange(accounts), np.diff(holders.claim_offsets))
    added = np.bincount(owner, block.claim_credit, minlength=accounts)
    known = ~holders.held
    np.testing.assert_allclose(added[known], block.credit[known], rtol=1e-9, atol=1e-9)
    by_state = block.credit_by_token.sum(axis=0)
    np.testing.assert_allclose(by_state, block.credit_by_state[terms.reported], atol=1e-9)


@settings(deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 20), st.integers(0, 20))
def test_an_account_has_the_same_bits_in_any_company(seed, before, after):
    holders, terms = drawn(seed, before + after)
    whole = pool_block(holders, terms)
    parts = [holders.between(0, before), holders.between(before, before + after)]
    blocks = [pool_block(part, terms) for part in parts]
    for name in ("value", "credit", "requirement", "requirement_alone", "health", "claim_credit"):
        joined = np.concatenate([getattr(block, name) for block in blocks])
        assert joined.tobytes() == getattr(whole, name).tobytes(), name


def test_sums_over_blocks_have_the_same_bits_in_any_shards():
    accounts = 9 * BLOCK_ACCOUNTS + 100
    holders, terms = drawn(11, accounts, scenarios=3)

    def block(number: int) -> PoolBlock:
        start = number * BLOCK_ACCOUNTS
        return pool_block(holders.between(start, min(start + BLOCK_ACCOUNTS, accounts)), terms)

    sums = np.stack([block(number).credit_by_state for number in range(10)])
    whole = fold_blocks(sums)
    for shard in (1, 2, 4, 8):
        runs = [fold_blocks(sums[start : start + shard]) for start in range(0, 10, shard)]
        assert fold_blocks(np.stack(runs)).tobytes() == whole.tobytes()


@given(
    st.floats(0.0, 1e9), st.floats(0.0, 1e9), st.floats(0.0, 1e9), st.floats(0.0, 0.2),
    st.floats(1.0, 2.0),
)  # fmt: skip
def test_the_rule_of_a_market_is_the_same_in_both_forms(collateral, cover, owed, bonus, target):
    position = dataclasses.replace(
        market_position(
            np.zeros(0), np.zeros(0), np.zeros((0, 1)), np.zeros((0, 1)),
            np.zeros(0, np.bool_), np.zeros(0), np.zeros(0),
        ),
        cover=np.array([cover]), collateral=np.array([collateral]), owed=np.array([owed]),
        bonus=bonus,
    )  # fmt: skip
    left = left_in_market(collateral, cover, owed, bonus, target)
    assert left == pytest.approx(position.left(target).item(), rel=1e-12, abs=1e-9)


def test_debts_outside_of_markets_take_from_everything():
    terms = PoolTerms(
        cube=np.zeros((1, 1)), weight=np.ones(1), value=np.array([[10.0, 5.0], [8.0, 8.0]]),
        credit=np.array([[8.0, 4.0], [8.0, 8.0]]), is_debt=np.array([False, True]),
        threshold=np.zeros((0, 2)), bonus=np.zeros((0, 2)), target_health=1.0,
        reported=np.array([0]),
    )  # fmt: skip
    one = PoolAccounts(
        offsets=np.array([0, 0]), instrument=np.zeros(0, np.int32), quantity=np.zeros(0),
        claim_offsets=np.array([0, 2]), token=np.array([0, 1], np.int32),
        counted=np.array([3.0, 2.0]), present=np.array([3.0, 2.0]),
        market=np.array([-1, -1], np.int32), position_value=np.zeros(1), held=np.zeros(1, bool),
    )  # fmt: skip
    block = pool_block(one, terms)
    assert block.credit.tolist() == [8.0]
    assert block.value.tolist() == [14.0]
    assert block.requirement.tolist() == [12.0]
    assert block.credit_then.tolist() == [-4.0]
