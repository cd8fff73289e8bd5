"""Proofs of holdings against py-trie, on one core.

A real answer of Ethereum's: an account eight nodes deep and one slot of its storage, two nodes
deep. Ours reads it out of JSON, walks every node from the root, checks every value that it claims
and refuses what is left over. The peer is py-trie's ``get_from_proof`` on nodes decoded by rlp,
which reads two values and checks no claim. Both begin with the same JSON.

A holding is an account's coins, in a state of a few thousand accounts, with its owner's signature.
The peer is py-trie for the balance and eth-account for the signer, without any other check.
"""

import json
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any, TypeAlias

import rlp
from eth_account import Account as Key
from eth_account.messages import encode_typed_data
from eth_hash.auto import keccak
from trie import HexaryTrie

from infra.bench.kernels import seconds
from risk.proofs.anchors import Trusted
from risk.proofs.hexadecimal import to_bytes
from risk.proofs.holding import check_answer, judge
from risk.proofs.outcome import ProofOutcome
from risk.proofs.ownership import Ownership, Place, ownership_typed_data
from risk.proofs.reading import read_answer, read_holding
from risk.proofs.state import EMPTY_CODE
from risk.proofs.trie import EMPTY_ROOT

GOLDEN = Path("tests") / "golden" / "proofs.json"
ACCOUNTS = 4_096
BALANCE = 5 * 10**18

Contest: TypeAlias = tuple[Callable[[], Any], Callable[[], Any]]
"""The same work by ours and by the peer."""


def run(quick: bool) -> dict[str, dict[str, Any]]:
    """Return proofs verified a second, ours beside the peer."""
    return {
        "proofs": _line(*_answer(), quick, "py-trie get_from_proof, rlp, no claim checked"),
        "holdings_signed": _line(*_holding(), quick, "py-trie and eth-account recover_message"),
    }


def _answer() -> Contest:
    case = json.loads(GOLDEN.read_text())["ethereum_storage"]
    root, text = to_bytes(case["state_root"], 32), json.dumps(case["answer"])
    assert _ours(root, text) == [ProofOutcome.PROVEN] * 2
    assert _peer(root, text) == int(case["answer"]["storageProof"][0]["value"], 16)
    return lambda: _ours(root, text), lambda: _peer(root, text)


def _holding() -> Contest:
    key = Key.from_key(b"\1" * 32)
    addresses = [bytes.fromhex(key.address[2:])]
    addresses += [number.to_bytes(20, "big") for number in range(ACCOUNTS)]
    trie = HexaryTrie({})
    leaf = rlp.encode([1, BALANCE, EMPTY_ROOT, EMPTY_CODE])
    for address in addresses:
        trie[keccak(address)] = leaf
    proof = [f"0x{rlp.encode(one).hex()}" for one in trie.get_proof(keccak(addresses[0]))]
    owned = Ownership(addresses[0], "desk", Place("main", 1, 1), 0, b"")
    typed = ownership_typed_data(owned)
    signed = key.sign_message(encode_typed_data(full_message=typed)).signature
    text = json.dumps(_document(addresses[0], proof, signed.hex()))
    trusted = Trusted.model_validate(_trusted(trie.root_hash))

    def ours() -> ProofOutcome:
        return judge(read_holding(json.loads(text)), trusted).outcome

    def peer() -> str:
        answer = json.loads(text)["answer"]
        _walk(trie.root_hash, to_bytes(answer["address"]), answer["accountProof"])
        return Key.recover_message(encode_typed_data(full_message=typed), signature=signed)

    assert (ours(), peer()) == (ProofOutcome.PROVEN, key.address)
    return ours, peer


def _document(owner: bytes, proof: list[str], signature: str) -> dict[str, Any]:
    address = f"0x{owner.hex()}"
    account = {
        "nonce": "0x1",
        "balance": hex(BALANCE),
        "storageHash": f"0x{EMPTY_ROOT.hex()}",
        "codeHash": f"0x{EMPTY_CODE.hex()}",
    }
    place = {"pool": "main", "epoch": 1, "chainId": 1}
    return {
        "chain": 1,
        "account": "desk",
        "owner": address,
        "quantity": "5",
        "answer": {"address": address, "accountProof": proof, "storageProof": []} | account,
        "ownership": {"owner": address, "account": "desk", "signature": f"0x{signature}"} | place,
    }


def _trusted(root: bytes) -> dict[str, Any]:
    anchor = {
        "chain": 1,
        "height": 1,
        "block_hash": bytes(32),
        "state_root": root,
        "finality": "finalised",
        "time": "2026-01-01T00:00:00Z",
        "signed_off_by": ["bench"],
    }
    moment = {"as_of": anchor["time"], "allowed_skew_seconds": 0}
    return {"pool": "main", "epoch": 1, "anchors": [anchor]} | moment


def _line(
    ours: Callable[[], Any], peer: Callable[[], Any], quick: bool, name: str
) -> dict[str, Any]:
    count = 100 if quick else 1_000

    def many(work: Callable[[], Any]) -> float:
        return seconds(lambda: [work() for _ in range(count)])

    turns = [(many(ours), many(peer)) for _ in range(3 if quick else 7)]
    mine, theirs = (median(times) for times in zip(*turns, strict=True))
    return {
        "ours": count / mine,
        "peer": count / theirs,
        "ratio": theirs / mine,
        "unit": "proofs/s",
        "peer_name": name,
    }


def _ours(root: bytes, text: str) -> list[ProofOutcome]:
    return check_answer(root, read_answer(json.loads(text)))


def _peer(root: bytes, text: str) -> int:
    answer = json.loads(text)
    account = _walk(root, to_bytes(answer["address"]), answer["accountProof"])
    (slot,) = answer["storageProof"]
    _, _, storage_root, _ = rlp.decode(account)
    value = _walk(storage_root, to_bytes(slot["key"]), slot["proof"])
    return int.from_bytes(rlp.decode(value), "big")


def _walk(root: bytes, key: bytes, proof: list[str]) -> bytes:
    nodes = [rlp.decode(bytes.fromhex(node[2:])) for node in proof]
    return bytes(HexaryTrie.get_from_proof(root, keccak(key), nodes))
