"""Real answers of Ethereum's nodes under their real roots, and every way to tamper with them."""

import copy

import pytest
from eth_hash.auto import keccak
from hypothesis import given
from hypothesis import strategies as st

from risk.proofs.hexadecimal import to_bytes
from risk.proofs.holding import check_answer
from risk.proofs.outcome import ProofOutcome, ProofRefused
from risk.proofs.reading import read_answer
from risk.proofs.rlp import decode
from risk.proofs.state import check_account, check_slot
from risk.proofs.storage_slots import allowance_slot, mapping_slot
from tests.risk.proofs.chain import GOLDEN, hexed

STORAGE, BLOCK, ABSENT = (
    GOLDEN[name] for name in ("ethereum_storage", "ethereum_block_500000", "ropsten_absent")
)
ETHEREUM = [pytest.param(STORAGE, id="storage"), pytest.param(BLOCK, id="block-500000")]


def root_of(case):
    return to_bytes(case["state_root"], 32)


def outcomes(case, answer=None, root=None):
    return [
        one.name
        for one in check_answer(root or root_of(case), read_answer(answer or case["answer"]))
    ]


def refusal(case, answer, root=None):
    with pytest.raises(ProofRefused) as refused:
        check_answer(root or root_of(case), read_answer(answer))
    return refused.value.outcome.name


def test_a_real_account_and_its_slot_are_proven():
    assert outcomes(STORAGE) == ["PROVEN", "PROVEN"]


def test_a_real_balance_is_proven():
    assert outcomes(BLOCK) == ["PROVEN"]


def test_a_real_absence_is_proven_by_exclusion():
    assert outcomes(ABSENT) == ["EMPTY_PROVEN"]


def test_empty_slots_of_a_real_contract_are_proven_by_exclusion():
    """The root of its storage has two children; every path that begins otherwise ends there."""
    answer = read_answer(STORAGE["answer"])
    root = answer.slots[0].nodes[:1]
    taken = {f"{digit:x}" for digit, child in enumerate(decode(root[0])) if child}
    assert len(taken) == 2
    empty = [n for n in range(40) if keccak(n.to_bytes(32, "big")).hex()[0] not in taken]
    assert len(empty) > 30
    for slot in empty:
        outcome = check_slot(answer.account.storage_root, slot, 0, root)
        assert outcome is ProofOutcome.EMPTY_PROVEN
        with pytest.raises(ProofRefused) as refused:
            check_slot(answer.account.storage_root, slot, 1, root)
        assert refused.value.outcome is ProofOutcome.VALUE_DIFFERS


@pytest.mark.parametrize("case", ETHEREUM)
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("balance", "0x1"),
        ("nonce", "0x7"),
        ("codeHash", hexed(bytes(32))),
        ("storageHash", hexed(bytes([1] * 32))),
    ],
)
def test_another_value_of_the_account_is_refused(case, field, value):
    assert refusal(case, case["answer"] | {field: value}) == "VALUE_DIFFERS"


def test_something_claimed_of_an_account_that_is_not_there_is_refused():
    assert refusal(ABSENT, ABSENT["answer"] | {"balance": "0x1"}) == "VALUE_DIFFERS"


def test_the_hashes_of_no_account_may_be_zeros():
    """Some nodes answer so."""
    zeros = {"storageHash": hexed(bytes(32)), "codeHash": hexed(bytes(32))}
    assert outcomes(ABSENT, ABSENT["answer"] | zeros) == ["EMPTY_PROVEN"]
    assert refusal(BLOCK, BLOCK["answer"] | zeros) == "VALUE_DIFFERS"
    slot = {"key": "0x0", "value": "0x0", "proof": []}
    nothing = ABSENT["answer"] | zeros | {"storageProof": [slot]}
    assert outcomes(ABSENT, nothing) == ["EMPTY_PROVEN", "EMPTY_PROVEN"]
    assert refusal(ABSENT, nothing | {"storageProof": [slot | {"value": "0x1"}]}) == "VALUE_DIFFERS"


def test_another_value_of_the_slot_is_refused():
    answer = copy.deepcopy(STORAGE["answer"])
    answer["storageProof"][0]["value"] = "0x1"
    assert refusal(STORAGE, answer) == "VALUE_DIFFERS"


def test_another_slot_is_refused():
    answer = copy.deepcopy(STORAGE["answer"])
    answer["storageProof"][0]["key"] = "0x1"
    assert refusal(STORAGE, answer) in ("NODE_TAMPERED", "NODE_SURPLUS", "VALUE_DIFFERS")


@pytest.mark.parametrize("case", ETHEREUM)
def test_another_address_is_refused(case):
    answer = case["answer"] | {"address": "0x" + "11" * 20}
    assert refusal(case, answer) == "NODE_TAMPERED"


@pytest.mark.parametrize("case", [*ETHEREUM, pytest.param(ABSENT, id="absent")])
def test_a_foreign_root_is_refused(case):
    for root in (bytes(32), root_of(STORAGE if case is not STORAGE else BLOCK)):
        assert refusal(case, case["answer"], root) == "ROOT_UNTRUSTED"


@pytest.mark.parametrize("case", [*ETHEREUM, pytest.param(ABSENT, id="absent")])
def test_a_proof_without_one_of_its_nodes_is_refused(case):
    proof = case["answer"]["accountProof"]
    for at in range(len(proof)):
        answer = case["answer"] | {"accountProof": proof[:at] + proof[at + 1 :]}
        last = at == len(proof) - 1
        expected = "NODE_MISSING" if last else "NODE_TAMPERED" if at else "ROOT_UNTRUSTED"
        assert refusal(case, answer) == expected


def test_a_proof_in_another_order_is_refused():
    proof = STORAGE["answer"]["accountProof"]
    moved = [proof[0], proof[2], proof[1], *proof[3:]]
    assert refusal(STORAGE, STORAGE["answer"] | {"accountProof": moved}) == "NODE_TAMPERED"
    backwards = STORAGE["answer"] | {"accountProof": proof[::-1]}
    assert refusal(STORAGE, backwards) == "ROOT_UNTRUSTED"


def test_a_proof_with_a_node_too_many_is_refused():
    proof = STORAGE["answer"]["accountProof"]
    answer = STORAGE["answer"] | {"accountProof": [*proof, proof[-1]]}
    assert refusal(STORAGE, answer) == "NODE_SURPLUS"


def test_no_proof_at_all_is_refused():
    assert refusal(STORAGE, STORAGE["answer"] | {"accountProof": []}) == "NODE_MISSING"


@given(st.data())
def test_any_byte_of_any_node_of_a_real_proof_decides(data):
    answer = copy.deepcopy(STORAGE["answer"])
    lists = [answer["accountProof"], answer["storageProof"][0]["proof"]]
    which = data.draw(st.integers(0, 1))
    at = data.draw(st.integers(0, len(lists[which]) - 1))
    node = bytearray(to_bytes(lists[which][at]))
    node[data.draw(st.integers(0, len(node) - 1))] ^= data.draw(st.integers(1, 255))
    lists[which][at] = hexed(bytes(node))
    first = which == 0 and at == 0
    assert refusal(STORAGE, answer) == ("ROOT_UNTRUSTED" if first else "NODE_TAMPERED")


def test_an_account_of_other_fields_is_malformed():
    import rlp

    for fields in (b"text", [1, 2, 3], [b"\0", 1, bytes(32), bytes(32)], [1, 1, [], bytes(32)]):
        leaf = rlp.encode([bytes([0x20]) + keccak(b"a"), rlp.encode(fields)])
        with pytest.raises(ProofRefused) as refused:
            check_account(keccak(leaf), b"a", read_answer(BLOCK["answer"]).account, [leaf])
        assert refused.value.outcome is ProofOutcome.MALFORMED


@pytest.mark.parametrize(
    "case", GOLDEN["mapping_slots"]["cases"], ids=lambda case: case["key"][:10]
)
def test_published_slots_of_mappings(case):
    found = mapping_slot(case["slot"], to_bytes(case["key"], 20), case["layout"])
    assert hexed(found.to_bytes(32, "big")) == case["at"]


def test_vyper_hashes_the_slot_first_and_allowances_are_mappings_of_mappings():
    owner, spender = bytes([1] * 20), bytes([2] * 20)
    slot = (3).to_bytes(32, "big")
    assert mapping_slot(3, owner, "vyper") == int.from_bytes(
        keccak(slot + bytes(12) + owner), "big"
    )
    inner = keccak(bytes(12) + owner + slot)
    assert allowance_slot(3, owner, spender) == int.from_bytes(
        keccak(bytes(12) + spender + inner), "big"
    )
    with pytest.raises(ValueError, match="a key of 33 bytes"):
        mapping_slot(0, bytes(33))
