"""Documents from anybody: every field that is not as described is refused by its name."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from risk.proofs.hexadecimal import NotHexadecimal, to_bytes, to_number
from risk.proofs.holding import Quantity
from risk.proofs.outcome import ProofRefused
from risk.proofs.reading import LARGEST_NODE, LONGEST_PROOF, MOST_SLOTS, read_answer, read_holding
from tests.risk.proofs.chain import GOLDEN, Chain, hexed

ANSWER = GOLDEN["ethereum_storage"]["answer"]
SLOT = ANSWER["storageProof"][0]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda one: st.lists(one, max_size=3) | st.dictionaries(st.text(max_size=8), one, max_size=3),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def holding():
    return Chain().holding()


def refusal(document, read=read_answer):
    with pytest.raises(ProofRefused) as refused:
        read(document)
    return refused.value.outcome.name, refused.value.where


@pytest.mark.parametrize("document", [None, [], 1, "text", 1.5, True])
def test_a_document_is_an_object(document):
    assert refusal(document, read_holding)[0] == "MALFORMED"
    assert refusal(document)[0] == "MALFORMED"


@pytest.mark.parametrize("field", sorted(ANSWER))
@pytest.mark.parametrize("value", [None, 1, {}, [1], "0x", "text", "0xzz", "0x" + "1" * 67])
def test_each_field_of_an_answer_is_checked(field, value):
    name, where = refusal(ANSWER | {field: value})
    assert name == "MALFORMED"
    assert where.startswith(field)


@pytest.mark.parametrize("field", sorted(ANSWER))
def test_each_field_of_an_answer_is_needed(field):
    document = {name: value for name, value in ANSWER.items() if name != field}
    read = read_holding if field == "accountProof" else read_answer
    assert refusal(document, read)[0] == "MALFORMED"


@pytest.mark.parametrize("field", sorted(SLOT))
@pytest.mark.parametrize("value", [None, 1, {}, [1], "0x", "0xg", "0x" + "1" * 65])
def test_each_field_of_a_slot_is_checked(field, value):
    name, where = refusal(ANSWER | {"storageProof": [SLOT | {field: value}]})
    assert name == "MALFORMED"
    assert where.startswith(f"storageProof[0].{field}")


def test_hexadecimal_cut_short_is_refused():
    node = ANSWER["accountProof"][0]
    cut = ANSWER | {"accountProof": [node[:-1], *ANSWER["accountProof"][1:]]}
    name, where = refusal(cut)
    assert name == "MALFORMED"
    assert "is not 0x and an even number of hexadecimal digits" in where
    assert len(where) < 200


def test_what_is_too_large_has_its_own_name():
    nodes = ["0x80"] * (LONGEST_PROOF + 1)
    assert refusal(ANSWER | {"accountProof": nodes})[0] == "TOO_LARGE"
    node = hexed(bytes(LARGEST_NODE + 1))
    assert refusal(ANSWER | {"accountProof": [node]})[0] == "TOO_LARGE"
    assert refusal(ANSWER | {"storageProof": [SLOT] * (MOST_SLOTS + 1)})[0] == "TOO_LARGE"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("chain", "1"),
        ("chain", True),
        ("chain", -1),
        ("chain", 1.0),
        ("height", 1 << 64),
        ("account", ""),
        ("account", "a" * 101),
        ("account", "\ud800"),
        ("account", "a\x1b[31m"),
        ("account", 7),
        ("owner", "0x12"),
        ("token", "USDC"),
        ("quantity", 2.5),
        ("quantity", "-1"),
        ("quantity", "1e3"),
        ("quantity", "1."),
        ("quantity", "1" * 79),
        ("decimals", "6"),
        ("answer", []),
        ("ownership", "0x"),
        ("attestation", []),
    ],
)
def test_each_field_of_a_holding_is_checked(holding, field, value):
    name, where = refusal(holding | {field: value}, read_holding)
    assert name == "MALFORMED"
    assert field in where or field in ("answer", "ownership", "attestation")


@pytest.mark.parametrize("field", ["owner", "account", "pool", "epoch", "chainId", "signature"])
def test_each_field_of_a_signature_is_needed(holding, field):
    signed = {name: value for name, value in holding["ownership"].items() if name != field}
    assert refusal(holding | {"ownership": signed}, read_holding) == (
        "MALFORMED",
        f"ownership.{field} is missing",
    )


@given(JSON, st.sampled_from(["accountProof", "storageProof", "balance", "result", "address"]))
def test_whatever_is_in_a_field_has_a_named_outcome(value, field):
    where = ""
    try:
        read_holding(ANSWER | {field: value})
    except ProofRefused as refused:
        where = refused.where
    assert len(where) < 400


@given(JSON)
def test_whatever_is_handed_in_has_a_named_outcome(value):
    with pytest.raises(ProofRefused):
        read_holding(value)
    json.dumps(value)


@given(st.integers(0, 10**30), st.integers(0, 20), st.integers(0, 20))
def test_a_quantity_is_whole_units_or_none(digits, places, decimals):
    units = Quantity(digits, places).units(decimals)
    if units is None:
        assert digits * 10**decimals % 10**places
    else:
        assert units * 10**places == digits * 10**decimals


@given(st.binary(max_size=40))
def test_bytes_are_read_as_they_are_written(data):
    assert to_bytes(hexed(data)) == to_bytes("0x" + data.hex().upper(), len(data)) == data


@pytest.mark.parametrize("text", ["0X12", "12", "0x 1", "0x1_1", "0x+1", "0x１2", "0x12\n"])
def test_hexadecimal_is_spelt_in_one_way(text):
    with pytest.raises(NotHexadecimal):
        to_bytes(text)
    with pytest.raises(NotHexadecimal):
        to_number(text)
