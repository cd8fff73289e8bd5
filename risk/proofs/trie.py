"""The value at a key of a Merkle-Patricia trie, read along a proof from a trusted root.

Source: Ethereum Yellow Paper, appendix D.
"""

from collections.abc import Sequence

from eth_hash.auto import keccak

from risk.proofs.outcome import ProofOutcome, ProofRefused
from risk.proofs.rlp import Item, NotRlp, decode

EMPTY_NODE = b"\x80"
EMPTY_ROOT = keccak(EMPTY_NODE)
"""The root of a trie that holds nothing."""

BRANCHES = 16


def value_at(
    root: bytes,
    key: bytes,
    nodes: Sequence[bytes],
    unrooted: ProofOutcome = ProofOutcome.ROOT_UNTRUSTED,
) -> bytes | None:
    """Return the value at ``key`` in the trie under ``root``, or None where none can be.

    ``nodes`` are the encoded nodes from the root down to where the path ends, and no others.

    Raises:
        ProofRefused: ``unrooted`` where the first node is not the root, else NODE_MISSING,
            NODE_TAMPERED, NODE_SURPLUS or MALFORMED.

    >>> value_at(EMPTY_ROOT, b"any", []) is None
    True
    """
    if root == EMPTY_ROOT:
        # Some nodes answer with the empty node, others with no node at all.
        if list(nodes) not in ([], [EMPTY_NODE]):
            raise ProofRefused(ProofOutcome.NODE_SURPLUS, "an empty trie")
        return None
    path, position, used = key.hex(), 0, 0
    reference: Item = root
    while True:
        if isinstance(reference, bytes):
            node = _node(reference, nodes, used, unrooted)
            used += 1
        else:  # a node shorter than its hash stands in the node above it
            node = reference
        value: Item
        if len(node) == BRANCHES + 1:
            if position == len(path):
                value = node[BRANCHES]
                break
            reference = node[int(path[position], BRANCHES)]
            position += 1
        elif len(node) == 2:
            stretch, ends = _stretch(node[0], used)
            if ends:
                value = node[1] if path[position:] == stretch else b""
                break
            if path.startswith(stretch, position):
                reference = node[1]
                position += len(stretch)
            else:
                reference = b""
        else:
            raise ProofRefused(
                ProofOutcome.MALFORMED, f"node {used} has {len(node)} items, allowed are 2 and 17"
            )
        if reference == b"":
            value = b""
            break
    if used != len(nodes):
        raise ProofRefused(
            ProofOutcome.NODE_SURPLUS, f"the path ends at node {used} of {len(nodes)}"
        )
    if not isinstance(value, bytes):
        raise ProofRefused(ProofOutcome.MALFORMED, f"the value in node {used} is a list")
    return value or None


def _node(
    reference: bytes, nodes: Sequence[bytes], used: int, unrooted: ProofOutcome
) -> list[Item]:
    """Return the next node decoded, which must be the one whose hash is ``reference``."""
    if used == len(nodes):
        raise ProofRefused(ProofOutcome.NODE_MISSING, f"after {used} nodes")
    if keccak(nodes[used]) != reference:
        outcome = ProofOutcome.NODE_TAMPERED if used else unrooted
        raise ProofRefused(outcome, f"node {used + 1} of {len(nodes)}")
    try:
        node = decode(nodes[used])
    except NotRlp as error:
        raise ProofRefused(ProofOutcome.MALFORMED, f"node {used + 1}, {error}") from None
    if isinstance(node, bytes):
        raise ProofRefused(ProofOutcome.MALFORMED, f"node {used + 1} is not a list")
    return node


def _stretch(compact: Item, number: int) -> tuple[str, bool]:
    """Return a stretch of path in hexadecimal digits, and whether the path ends with it."""
    digits = compact.hex() if isinstance(compact, bytes) else ""
    if digits[:1] in ("1", "3"):
        return digits[1:], digits[0] == "3"
    if digits[:2] in ("00", "20"):
        return digits[2:], digits[0] == "2"
    raise ProofRefused(ProofOutcome.MALFORMED, f"node {number} has no path")
