"""The walker against py-trie, and RLP against rlp: the same values, the same refusals."""

import pytest
import rlp as peer
from hypothesis import given
from hypothesis import strategies as st
from trie import HexaryTrie

from risk.proofs.outcome import ProofOutcome, ProofRefused
from risk.proofs.rlp import NotRlp, decode, natural
from risk.proofs.trie import EMPTY_ROOT, value_at

KEYS = st.binary(min_size=1, max_size=3)
VALUES = st.binary(min_size=1, max_size=40)
ITEMS = st.recursive(st.binary(max_size=80), lambda one: st.lists(one, max_size=4), max_leaves=12)


def encoded_proof(trie, key):
    """The nodes that are referred to by hash; shorter ones stand in the node above them."""
    nodes = [peer.encode(node) for node in trie.get_proof(key)]
    return [node for at, node in enumerate(nodes) if not at or len(node) >= 32]


@given(st.dictionaries(KEYS, VALUES, min_size=1, max_size=24), KEYS)
def test_values_and_absences_are_those_of_py_trie(content, asked):
    trie = HexaryTrie({})
    for key, value in content.items():
        trie[key] = value
    for key in {asked, *content}:
        found = value_at(trie.root_hash, key, encoded_proof(trie, key))
        assert found == content.get(key)
        kept = HexaryTrie.get_from_proof(trie.root_hash, key, trie.get_proof(key))
        assert kept == (found or b"")


@given(
    st.dictionaries(st.binary(min_size=32, max_size=32), VALUES, min_size=2, max_size=24), st.data()
)
def test_a_proof_with_any_byte_of_any_node_changed_is_refused(content, data):
    trie = HexaryTrie({})
    for key, value in content.items():
        trie[key] = value
    key = data.draw(st.sampled_from(sorted(content)))
    nodes = encoded_proof(trie, key)
    at = data.draw(st.integers(0, len(nodes) - 1))
    byte = data.draw(st.integers(0, len(nodes[at]) - 1))
    altered = bytearray(nodes[at])
    altered[byte] ^= data.draw(st.integers(1, 255))
    with pytest.raises(ProofRefused) as refused:
        value_at(trie.root_hash, key, [*nodes[:at], bytes(altered), *nodes[at + 1 :]])
    expected = ProofOutcome.NODE_TAMPERED if at else ProofOutcome.ROOT_UNTRUSTED
    assert refused.value.outcome is expected


@given(ITEMS)
def test_rlp_reads_what_its_peer_writes(item):
    assert decode(peer.encode(item)) == item


@given(st.binary(max_size=90))
def test_rlp_reads_what_its_peer_reads_and_refuses_what_it_refuses(data):
    try:
        theirs = peer.decode(data, strict=True)
    except peer.DecodingError:
        with pytest.raises(NotRlp):
            decode(data)
    else:
        assert decode(data) == theirs


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ("", "missing"),
        ("8100", "has a length before it"),
        ("b800", "shortest form"),
        ("b90001aa", "shortest form"),
        ("b8", "shortest form"),
        ("83aabb", "1 bytes are missing"),
        ("8080", "left over"),
        ("c2a0", "missing"),
        ("c1" * 40 + "c0", "are missing"),
        ("ff" + "ff" * 8, "missing"),
    ],
)
def test_rlp_names_what_is_wrong(data, says):
    with pytest.raises(NotRlp, match=says):
        decode(bytes.fromhex(data))


def test_lists_within_lists_end_before_the_stack_does():
    nested = b"\xc0"
    for _ in range(400):
        nested = peer.codec.length_prefix(len(nested), 0xC0) + nested
    with pytest.raises(NotRlp, match="nested more than 16"):
        decode(nested)


@pytest.mark.parametrize("item", [b"\0", b"\0\1", []])
def test_a_number_has_no_zeros_in_front(item):
    with pytest.raises(NotRlp):
        natural(item)


def test_an_empty_trie_has_no_nodes_or_the_empty_one():
    assert value_at(EMPTY_ROOT, b"key", [b"\x80"]) is None
    with pytest.raises(ProofRefused) as refused:
        value_at(EMPTY_ROOT, b"key", [b"\xc0"])
    assert refused.value.outcome is ProofOutcome.NODE_SURPLUS


@pytest.mark.parametrize(
    "node", [[], [b"one"], [b"\x40", b"path"], [[], b"path"], [b"\x20", [b"list"]], b"text" * 10]
)
def test_a_root_that_is_no_node_is_malformed(node):
    """Nobody but the chain itself could plant it; it has a name all the same."""
    from eth_hash.auto import keccak

    encoded = peer.encode(node)
    with pytest.raises(ProofRefused) as refused:
        value_at(keccak(encoded), b"", [encoded])
    assert refused.value.outcome is ProofOutcome.MALFORMED
