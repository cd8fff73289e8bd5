import numpy as np
import pytest

from risk.claims.credit import token_findings
from risk.claims.findings import (
    PRECEDENCE,
    bit,
    claim_grounds,
    counted_quantity,
    final_part,
    outcomes,
    own_findings,
    present_quantity,
    seconds_of,
)
from risk.claims.lookthrough import look_through
from risk.claims.tokens import REASONS, Outcome, Snapshot, TokenKind
from tests.risk.claims.claims_made import claims_of
from tests.risk.claims.rules_made import feeds_of, rules_of, snapshot_of
from tests.risk.claims.tokens_made import Made


def ground(made=None, rules=None, snapshot=None):
    tokens, names = (made or market()).build()
    rules = rules or rules_of()
    bits = token_findings(tokens, names, feeds_of(names), rules, look_through(tokens))
    return claim_grounds(tokens, names, snapshot or snapshot_of(names), rules, bits), names


def market():
    return (
        Made()
        .coin("ETH")
        .cash()
        .add("aETH", TokenKind.RECEIPT, [("ETH", 1.0)], protocol="lend")
        .add("owed", TokenKind.DEBT, [("ETH", 1.0)], protocol="lend")
        .add("ring", TokenKind.SHARE, [("ring", 1.0)])
        .add("odd", TokenKind.WRAPPED, [("ETH", 1.0)], chain="Nowhere")
    )


def outcome_of(row, rules=None):
    grounds, names = ground(rules=rules)
    claims = claims_of(names, {"token": "ETH", "quantity": 10.0} | row)
    return Outcome(int(outcomes(own_findings(claims, grounds))[0]))


CASES = [
    ({}, Outcome.COUNTED),
    ({"encumbered": 9.0}, Outcome.COUNTED),
    ({"encumbered": 10.0}, Outcome.ENCUMBERED),
    ({"quantity": 0.0}, Outcome.ENCUMBERED),
    ({"height": 81}, Outcome.COUNTED),  # safe, not final: counts in part
    ({"height": 90}, Outcome.COUNTED),
    ({"height": 91}, Outcome.NOT_FINAL),
    ({"height": 100}, Outcome.NOT_FINAL),
    ({"height": 101}, Outcome.HEIGHT_SKEWED),
    ({"height": 50}, Outcome.COUNTED),  # 30 blocks of 2 seconds before the final one
    ({"height": 49}, Outcome.HEIGHT_SKEWED),
    ({"root": [0, 0]}, Outcome.NO_ROOT),
    ({"root": [0, 7]}, Outcome.COUNTED),
    ({"token": "ring"}, Outcome.RECIPE_CYCLE),
    ({"token": "odd"}, Outcome.NOT_LISTED),
    ({"token": "USD", "height": 0}, Outcome.COUNTED),
    ({"token": "owed", "height": 100, "root": [0, 0], "standing": 2}, Outcome.COUNTED),
]


@pytest.mark.parametrize(("row", "outcome"), CASES)
def test_each_claim_has_the_outcome_of_what_it_lacks(row, outcome):
    assert outcome_of(row) == outcome


STANDINGS = [
    ("proven", 0, [1, 1], Outcome.COUNTED),
    ("proven", 0, [0, 0], Outcome.NOT_PROVEN),  # said to be proven, and shows no proof
    ("proven", 1, [1, 1], Outcome.NOT_PROVEN),
    ("attested", 1, [0, 0], Outcome.COUNTED),
    ("attested", 0, [0, 0], Outcome.NOT_PROVEN),
    ("attested", 2, [1, 1], Outcome.NOT_PROVEN),
    ("stated", 2, [0, 0], Outcome.COUNTED),
]


@pytest.mark.parametrize(("needs", "standing", "proof", "outcome"), STANDINGS)
def test_the_policy_asks_for_a_standing_by_kind(needs, standing, proof, outcome):
    rules = rules_of(standings=[{"kinds": ["coin"], "needs": needs}])
    assert outcome_of({"standing": standing, "proof": proof}, rules) == outcome
    other = {"standing": standing, "proof": proof, "token": "aETH"}
    assert outcome_of(other, rules) == Outcome.COUNTED


def test_the_later_of_two_finalities_holds():
    """The chain says 20 blocks, the rules say more."""
    chain = {"chain": "Ethereum", "finality_blocks": 25}
    rules = rules_of(chains=[chain], finality={"unsafe": 0.0, "safe": 0.0, "finalised": 1.0})
    assert outcome_of({"height": 75}, rules) == Outcome.COUNTED
    assert outcome_of({"height": 76}, rules) == Outcome.NOT_FINAL


def test_what_counts_is_free_and_final_and_a_debt_is_owed_in_full():
    grounds, names = ground()
    rows = [
        {"token": "ETH", "quantity": 10.0, "encumbered": 4.0},
        {"token": "ETH", "quantity": 10.0, "encumbered": 4.0, "height": 85},
        {"token": "ETH", "quantity": 10.0, "height": 99},
        {"token": "aETH", "quantity": 5.0, "encumbered": 5.0},
        {"token": "owed", "quantity": 3.0, "height": 99},
        {"token": "ETH", "quantity": 7.0, "root": [0, 0]},
    ]
    claims = claims_of(names, *rows)
    outcome = outcomes(own_findings(claims, grounds))
    assert counted_quantity(claims, grounds, outcome).tolist() == [6.0, 3.0, 0.0, 0.0, 3.0, 0.0]
    assert present_quantity(claims, outcome).tolist() == [10.0, 10.0, 0.0, 5.0, 3.0, 0.0]
    assert final_part(claims, grounds).tolist() == [1.0, 0.5, 0.0, 1.0, 1.0, 1.0]
    assert seconds_of(claims, grounds).tolist() == [40.0, 30.0, 2.0, 40.0, 2.0, 40.0]


def test_several_findings_are_all_kept_and_the_first_in_precedence_is_the_outcome():
    grounds, names = ground()
    claims = claims_of(names, {"token": "ring", "quantity": 0.0, "root": [0, 0], "height": 100})
    found = own_findings(claims, grounds)
    lacks = [one for one in Outcome if found[0] & bit(one)]
    assert set(lacks) == {
        Outcome.RECIPE_CYCLE,
        Outcome.ENCUMBERED,
        Outcome.NO_ROOT,
        Outcome.NOT_FINAL,
    }
    assert outcomes(found).tolist() == [Outcome.RECIPE_CYCLE]


def test_every_outcome_has_a_place_and_a_sentence():
    assert {Outcome.COUNTED, *PRECEDENCE} == set(Outcome) == set(REASONS)
    assert len(PRECEDENCE) == len(set(PRECEDENCE))


def test_a_snapshot_of_other_chains_is_refused():
    one = np.zeros(1, np.int64)
    with pytest.raises(ValueError, match="1 chains, the dataset names 3"):
        ground(snapshot=Snapshot(one, one, one, np.zeros(1), np.zeros(1)))
