"""Positions in lending markets: against Aave's own numbers, and by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from risk.claims.markets import looped_leverage, market_position, misplaced
from risk.claims.tokens import TokenKind
from risk.protocols import aave
from tests.risk.claims.tokens_made import Made


def position_of(held, owed, *, threshold=0.8, ratio=0.75, bonus=0.05, counted=1.0):
    """One receipt and one debt, a value for each state."""
    states = len(held)
    value = np.array([held, owed], dtype=np.float64)
    credit = value * np.array([[ratio], [1.0]])
    assert value.shape == (2, states)
    return market_position(
        np.array([counted, 1.0]),
        np.array([1.0, 1.0]),
        value,
        credit,
        np.array([False, True]),
        np.array([threshold, 0.0]),
        np.array([bonus, 0.0]),
    )


# aave/aave-utilities, packages/math-utils/src/pool-math.test.ts: a health factor of 1 for
# collateral of 1e17, debt of 5e16 and a threshold of 50 %; of 1.666... for a debt of 3e16.
AAVE = [(1e17, 5e16, 1.0), (1e17, 3e16, 1.66666666666666666667)]


@pytest.mark.parametrize(("collateral", "debt", "factor"), AAVE)
def test_health_is_that_of_aave(collateral, debt, factor):
    assert position_of([collateral], [debt], threshold=0.5).health.item() == pytest.approx(factor)


def test_a_position_without_debt_is_healthy_without_end_and_counts_in_full():
    position = position_of([100.0], [0.0])
    assert position.health.tolist() == [np.inf]
    assert position.left(1.05).tolist() == [75.0]
    assert not position.may_be_liquidated().any()


def test_what_is_left_is_the_stricter_of_two_rules_in_each_state():
    """By hand: receipts of 1,000, then of 700; 400 owed; cover at 0.8, credit at 0.75."""
    position = position_of([1_000.0, 700.0, 500.0], [400.0, 400.0, 400.0])
    assert position.health.tolist() == pytest.approx([2.0, 1.4, 1.0])
    assert position.after_liquidation().tolist() == pytest.approx([330.0, 105.0, 0.0])
    # At a target of 1.25 the parts 1 - 1.25 / health may leave: 0.375, 0.1071..., none.
    kept = [750.0 * 0.375, 525.0 * (1.0 - 1.25 / 1.4), 0.0]
    assert position.withdrawable(1.25).tolist() == pytest.approx(kept)
    assert position.left(1.25).tolist() == pytest.approx([281.25, 56.25, 0.0])
    assert position.left(1.0).tolist() == pytest.approx([330.0, 105.0, 0.0])


def test_bad_debt_takes_nothing_from_the_rest_of_the_account():
    position = position_of([100.0], [400.0])
    assert position.left(1.0).tolist() == [0.0]
    assert position.may_be_liquidated().tolist() == [True]
    assert position.leverage.tolist() == [np.inf]


def test_a_debt_without_collateral_leaves_nothing():
    nothing = market_position(
        np.array([1.0]), np.array([1.0]), np.array([[5.0]]), np.array([[5.0]]),
        np.array([True]), np.zeros(1), np.zeros(1),
    )  # fmt: skip
    assert nothing.health.tolist() == [0.0]
    assert nothing.left(1.0).tolist() == [0.0]


def test_the_market_sees_what_the_pool_does_not_count():
    position = position_of([1_000.0], [400.0], counted=0.6)
    assert position.health.item() == 2.0
    assert position.collateral.item() == pytest.approx(450.0)
    assert position.after_liquidation().item() == pytest.approx(30.0)


amounts = st.floats(0.0, 1e9)


@given(amounts, amounts, st.floats(0.0, 1.0), st.floats(0.0, 1.0), st.floats(0.0, 0.2),
       st.floats(1.0, 2.0))  # fmt: skip
def test_what_may_be_withdrawn_leaves_the_position_on_target(
    held, owed, threshold, ratio, bonus, target
):
    """Taking it out, as Aave counts, the health factor is the target or above."""
    position = position_of([held], [owed], threshold=threshold, ratio=ratio, bonus=bonus)
    left = position.left(target).item()
    assert 0.0 <= left <= position.collateral.item()
    # A debt over a cover that is next to nothing rounds away; money has cents.
    if left > 0.01 and owed > 0.01:
        after = held - position.withdrawable(target).item() / ratio
        reserves = aave.Reserves(np.array([0.0, 0.0]), np.array([threshold, 0.0]))
        factor = aave.health_factor([after, 0.0], [0.0, owed], [1.0, 1.0], reserves)
        assert factor.item() >= target * (1.0 - 1e-6)
        assert left <= max(position.collateral.item() - owed * (1.0 + bonus), 0.0) + 1e-6


@given(amounts, amounts, st.floats(0.0, 1e6))
def test_more_debt_never_leaves_more(held, owed, more):
    less = position_of([held], [owed + more]).left(1.1).item()
    assert less <= position_of([held], [owed]).left(1.1).item()


def test_a_debt_apart_from_its_receipts_is_unbacked_in_every_state():
    apart = position_of([0.0, 0.0], [400.0, 500.0])
    assert apart.unbacked().tolist() == [400.0, 500.0]
    honest = position_of([1_000.0, 100.0], [400.0, 400.0])  # under water in the scenario alone
    assert honest.unbacked().tolist() == [0.0, 0.0]


def test_claims_outside_of_the_market_of_their_token_are_told():
    made = Made().coin("ETH")
    for lender, chain in (("lend", "Ethereum"), ("lend", "Arbitrum"), ("other", "Ethereum")):
        name = f"{lender}-{chain}"
        made.add(f"a-{name}", TokenKind.RECEIPT, [("ETH", 1.0)], protocol=lender, chain=chain)
        made.add(f"d-{name}", TokenKind.DEBT, [("ETH", 1.0)], protocol=lender, chain=chain)
    tokens, names = made.build()
    receipt, debt = (names.token.index(f"{kind}-lend-Ethereum") for kind in "ad")
    elsewhere = [names.token.index(name) for name in ("d-lend-Arbitrum", "d-other-Ethereum")]
    backs = np.zeros((2, len(tokens)), np.bool_)
    backs[0, receipt] = backs[1, names.token.index("a-lend-Arbitrum")] = True
    protocol, chain = tokens.protocol[[receipt, receipt]], tokens.chain[[receipt, elsewhere[0]]]
    cases = [
        (receipt, 0, False), (receipt, -1, True), (receipt, 1, True),
        (debt, 0, False), (debt, 1, True), (debt, -1, False),
        (elsewhere[0], 0, True), (elsewhere[0], 1, False), (elsewhere[1], 0, True),
        (0, -1, False), (0, 0, True),
    ]  # fmt: skip
    token, market, wanted = (np.array(column) for column in zip(*cases, strict=True))
    found = misplaced(tokens, token, market, backs, protocol, chain)
    assert found.tolist() == wanted.tolist()
    none = misplaced(tokens, token, np.full(len(token), -1), backs[:0], protocol[:0], chain[:0])
    assert not none.any()


def test_looping_leads_to_one_over_one_less_the_loan_to_value():
    """Stake, borrow, stake again, turn by turn."""
    for loan_to_value in (0.0, 0.5, 0.8, 0.93):
        held, added = 1.0, 1.0
        for turn in range(1, 200):
            added *= loan_to_value
            held += added
            if turn < 6:
                assert looped_leverage(loan_to_value, turn) == pytest.approx(held)
        assert looped_leverage(loan_to_value) == pytest.approx(held, rel=1e-5)


@pytest.mark.parametrize("loan_to_value", [-0.1, 1.0, float("nan")])
def test_a_loan_of_all_or_more_is_refused(loan_to_value):
    with pytest.raises(ValueError, match="allowed is 0 up to below 1"):
        looped_leverage(loan_to_value)


def test_a_target_below_one_and_amounts_below_zero_are_refused():
    with pytest.raises(ValueError, match=r"target health is 0\.9; allowed is 1 up"):
        position_of([1.0], [1.0]).left(0.9)
    with pytest.raises(ValueError, match=r"value is -1\.0; allowed is a finite number"):
        position_of([1.0], [-1.0])
