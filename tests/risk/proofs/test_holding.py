"""Whole holdings: a proof, a signature, an attestation, and each way that one is refused."""

import copy

import pytest

from risk.proofs.anchors import Trusted
from risk.proofs.holding import judge
from risk.proofs.reading import read_holding
from risk.proofs.storage_slots import balance_slot
from tests.risk.proofs.chain import (
    BALANCES,
    CHAIN,
    EMPTY_TOKEN,
    GOLDEN,
    OWNER,
    STRANGER,
    TOKEN,
    Chain,
    address_of,
    attestation,
    changed,
    hexed,
    ownership,
)

BLOCK = GOLDEN["ethereum_block_500000"]


@pytest.fixture(scope="module")
def chain():
    return Chain()


@pytest.fixture(scope="module")
def holding(chain):
    return chain.holding()


@pytest.fixture
def verdict(chain):
    """Judge a document under what the chain's pool trusts, or otherwise."""

    def give(document, **trusted):
        return judge(read_holding(document), chain.judge_by(**trusted))

    return give


def said(found):
    return found.outcome.name, found.standing.name


def test_a_token_balance_with_its_owners_signature_is_proven(verdict, holding):
    assert said(verdict(holding)) == ("PROVEN", "PROVEN")


def test_a_coin_balance_with_its_owners_signature_is_proven(verdict, chain):
    document = chain.holding(token=None, quantity="5", decimals=18)
    assert said(verdict(document)) == ("PROVEN", "PROVEN")


def test_a_balance_of_nothing_is_proven_by_exclusion(verdict, chain):
    nothing = chain.holding(quantity="0", owner=STRANGER)
    assert said(verdict(nothing)) == ("EMPTY_PROVEN", "PROVEN")
    nowhere = chain.holding(token=EMPTY_TOKEN, quantity="0")
    assert said(verdict(nowhere)) == ("EMPTY_PROVEN", "PROVEN")
    absent = chain.holding(token=None, quantity="0", decimals=18, owner=STRANGER)
    assert said(verdict(absent)) == ("EMPTY_PROVEN", "PROVEN")


def test_something_claimed_where_nothing_is_is_refused(verdict, chain):
    for token in (TOKEN, EMPTY_TOKEN):
        document = chain.holding(token=token, quantity="1", owner=STRANGER)
        assert said(verdict(document)) == ("VALUE_DIFFERS", "STATED")


@pytest.mark.parametrize(
    ("fields", "outcome"),
    [
        ({"quantity": "2.500001"}, "VALUE_DIFFERS"),
        ({"quantity": "2.5000001"}, "DECIMALS_DIFFER"),
        ({"decimals": 18}, "DECIMALS_DIFFER"),
        ({"decimals": None}, "DECIMALS_DIFFER"),
        ({"owner": hexed(address_of(STRANGER))}, "KEY_DIFFERS"),
        ({"token": hexed(EMPTY_TOKEN)}, "ADDRESS_DIFFERS"),
        ({"token": None, "decimals": 18}, "ADDRESS_DIFFERS"),
        ({"token": "0x" + "cc" * 20}, "ADDRESS_DIFFERS"),
        ({"chain": 1}, "NO_ROOT"),
        ({"height": 1_233}, "HEIGHT_SKEWED"),
        ({"account": "desk-8"}, "SIGNATURE_OTHER_ACCOUNT"),
        ({"ownership": None}, "SIGNATURE_MISSING"),
        ({"ownership": ownership(pool="other")}, "SIGNATURE_OTHER_POOL"),
        ({"ownership": ownership(epoch=6)}, "SIGNATURE_OTHER_EPOCH"),
        ({"ownership": ownership(chain=CHAIN + 1)}, "SIGNATURE_OTHER_CHAIN"),
        ({"ownership": ownership(by=STRANGER)}, "SIGNER_DIFFERS"),
        ({"ownership": ownership() | {"signature": "0x00"}}, "SIGNATURE_INVALID"),
        ({"answer": None, "ownership": None}, "STATED"),
        ({"answer": None}, "STATED"),
    ],
)
def test_each_way_to_be_refused_has_its_name(verdict, holding, fields, outcome):
    assert said(verdict(changed(holding, **fields))) == (outcome, "STATED")


@pytest.mark.parametrize(
    ("anchor", "outcome"),
    [
        ({"finality": "safe"}, "NOT_FINAL"),
        ({"time": "2026-01-01T00:01:01Z"}, "HEIGHT_SKEWED"),
        ({"time": "2025-12-31T23:58:59Z"}, "HEIGHT_SKEWED"),
        ({"chain": CHAIN + 1}, "NO_ROOT"),
        ({"state_root": hexed(bytes(32))}, "ROOT_UNTRUSTED"),
        ({"header": "0xc0"}, "HEADER_DIFFERS"),
    ],
)
def test_the_anchor_decides_before_the_proof_does(verdict, holding, anchor, outcome):
    assert said(verdict(holding, anchor=anchor)) == (outcome, "STATED")


def test_a_pool_may_ask_for_less_finality(verdict, holding):
    found = verdict(holding, anchor={"finality": "safe"}, needed_finality="safe")
    assert found.outcome.name == "PROVEN"


def test_a_token_that_the_pool_does_not_list_is_refused(verdict, holding):
    assert verdict(holding, tokens=[]).outcome.name == "TOKEN_UNKNOWN"


def test_the_other_order_of_hashing_is_another_slot(verdict, holding):
    token = {"chain": CHAIN, "address": hexed(TOKEN), "decimals": 6, "slot": BALANCES}
    assert verdict(holding, tokens=[token | {"layout": "vyper"}]).outcome.name == "KEY_DIFFERS"


def test_an_attestor_may_vouch_for_what_no_proof_shows(verdict, holding):
    document = changed(holding, answer=None, ownership=None, attestation=attestation())
    assert said(verdict(document)) == ("ATTESTED", "ATTESTED")


def test_a_proven_balance_whose_owner_an_attestor_names_is_attested(verdict, holding):
    document = changed(holding, ownership=None, attestation=attestation())
    assert said(verdict(document)) == ("PROVEN", "ATTESTED")


@pytest.mark.parametrize(
    ("word", "outcome"),
    [
        (attestation(units=2_500_001), "VALUE_DIFFERS"),
        (attestation(pool="other"), "SIGNATURE_OTHER_POOL"),
        (attestation(epoch=8), "SIGNATURE_OTHER_EPOCH"),
        (attestation(chain=1), "SIGNATURE_OTHER_CHAIN"),
        (attestation(by=STRANGER), "SIGNER_DIFFERS"),
        (attestation(name="nobody"), "ATTESTOR_UNKNOWN"),
    ],
)
def test_an_attestation_that_is_not_of_this_is_refused(verdict, holding, word, outcome):
    alone = changed(holding, answer=None, ownership=None, attestation=word)
    assert said(verdict(alone)) == (outcome, "STATED")
    assert said(verdict(alone | {"answer": holding["answer"]})) == (outcome, "STATED")


def test_no_attestation_mends_a_proof_that_does_not_hold(verdict, holding):
    document = copy.deepcopy(holding) | {"attestation": attestation()}
    document["answer"]["accountProof"].pop()
    assert said(verdict(document)) == ("NODE_MISSING", "STATED")


def test_what_a_verdict_rests_on_is_named(verdict, chain, holding):
    token, coin = verdict(holding), verdict(chain.holding(token=None, quantity="5", decimals=18))
    names = {token.root, token.proof, coin.root, coin.proof}
    assert {len(one) for one in names} == {16}
    assert len({token.proof, coin.proof}) == len({token.root, coin.root}) == 2
    assert verdict(changed(holding, ownership=None)).proof == b""
    word = verdict(changed(holding, answer=None, attestation=attestation()))
    assert (word.root, word.proof) == (token.root, b"")


def test_a_real_block_is_trusted_by_its_hash_alone():
    """The header's hash is the published block hash; the root in it proves the real balance."""
    owner = BLOCK["answer"]["address"]
    anchor = {
        "chain": 1,
        "height": BLOCK["height"],
        "block_hash": BLOCK["block_hash"],
        "state_root": BLOCK["state_root"],
        "header": BLOCK["header"],
        "finality": "finalised",
        "time": "2015-11-06T18:01:05Z",
        "signed_off_by": ["operations"],
    }
    pool = {
        "pool": "main",
        "epoch": 1,
        "as_of": anchor["time"],
        "allowed_skew_seconds": 0,
        "anchors": [anchor],
    }
    document = {
        "chain": 1,
        "height": BLOCK["height"],
        "account": "miner",
        "owner": owner,
        "quantity": "45413.577290743065331972",
        "answer": BLOCK["answer"],
    }

    def outcome(**fields):
        trusted = Trusted.model_validate(pool | {"anchors": [anchor | fields]})
        return judge(read_holding(document), trusted).outcome.name

    assert outcome() == "SIGNATURE_MISSING"
    for at in (10, 100, 300, -1):  # in its parent, its state root, its bloom filter, its nonce
        header = bytearray.fromhex(BLOCK["header"][2:])
        header[at] ^= 1
        assert outcome(header=hexed(bytes(header))) == "HEADER_DIFFERS"
    assert outcome(state_root=hexed(bytes(32))) == "HEADER_DIFFERS"
    assert outcome(height=499_999) == "HEADER_DIFFERS"
    assert outcome(time="2015-11-06T18:01:06Z") == "HEADER_DIFFERS"


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"anchors": []}, "at least 1"),
        ({"anchor": {"signed_off_by": []}}, "at least 1"),
        ({"anchor": {"state_root": "0x12"}}, "has 1 bytes, allowed are 32"),
        ({"anchor": {"time": "2026-01-01T00:00:00"}}, "timezone"),
        ({"epoch": -1}, "greater than or equal to 0"),
        ({"colour": "blue"}, "Extra inputs"),
        ({"tokens": [{"chain": 1, "address": hexed(TOKEN), "decimals": 78, "slot": 0}]}, "77"),
        (
            {"tokens": [{"chain": 1, "address": hexed(TOKEN), "decimals": 6, "slot": 0}] * 2},
            "twice; keep one",
        ),
    ],
)
def test_a_file_of_anchors_says_what_is_wrong_in_it(chain, fields, says):
    with pytest.raises(ValueError, match=says):
        chain.judge_by(**fields)


def test_two_anchors_of_one_chain_are_refused(chain):
    trusted = chain.trusted()
    with pytest.raises(ValueError, match="anchors has 10 twice"):
        Trusted.model_validate(trusted | {"anchors": trusted["anchors"] * 2})


def test_a_bare_answer_is_read_under_the_only_anchor(chain, verdict):
    answer = chain.answer(TOKEN, [balance_slot(BALANCES, address_of(OWNER))])
    assert said(verdict(answer)) == ("PROVEN", "STATED")
    assert said(verdict({"jsonrpc": "2.0", "id": 1, "result": answer})) == ("PROVEN", "STATED")
    trusted = chain.trusted()
    second = trusted["anchors"][0] | {"chain": 1}
    two = Trusted.model_validate(trusted | {"anchors": [*trusted["anchors"], second]})
    assert judge(read_holding(answer), two).outcome.name == "NO_ROOT"
