"""Accounts and storage slots in the state of a chain, proven against its root.

Source: EIP-1186 (the answer of ``eth_getProof``), Ethereum Yellow Paper, section 4.1.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

from eth_hash.auto import keccak

from risk.proofs.outcome import ProofOutcome, ProofRefused
from risk.proofs.rlp import NotRlp, decode, natural
from risk.proofs.trie import EMPTY_ROOT, value_at

EMPTY_CODE = keccak(b"")
"""The code hash of an account without code."""

ZERO = bytes(32)


@dataclass(frozen=True, slots=True)
class Account:
    """What the state keeps of an address; ``balance`` is in wei."""

    nonce: int
    balance: int
    storage_root: bytes
    code_hash: bytes


EMPTY_ACCOUNT = Account(0, 0, EMPTY_ROOT, EMPTY_CODE)


def account_at(state_root: bytes, address: bytes, nodes: Sequence[bytes]) -> Account | None:
    """Return the account at an address, or None where the proof shows that there is none.

    Raises:
        ProofRefused: the proof does not hold; ROOT_UNTRUSTED where it begins at another root.
    """
    value = value_at(state_root, keccak(address), nodes)
    if value is None:
        return None
    try:
        item = decode(value)
        if isinstance(item, bytes) or len(item) != 4:
            raise NotRlp("an account has 4 fields")
        _, _, storage_root, code_hash = item
        if not (isinstance(storage_root, bytes) and isinstance(code_hash, bytes)):
            raise NotRlp("a hash is a list")
        return Account(natural(item[0]), natural(item[1]), storage_root, code_hash)
    except NotRlp as error:
        raise ProofRefused(ProofOutcome.MALFORMED, f"the account's leaf, {error}") from None


def check_account(
    state_root: bytes, address: bytes, claimed: Account, nodes: Sequence[bytes]
) -> ProofOutcome:
    """Return PROVEN, or EMPTY_PROVEN where there is no account and none is claimed.

    Raises:
        ProofRefused: the proof does not hold, or VALUE_DIFFERS.

    >>> check_account(EMPTY_ROOT, bytes(20), EMPTY_ACCOUNT, []).name
    'EMPTY_PROVEN'
    """
    found = account_at(state_root, address, nodes)
    if found is None:
        claimed = _none_as_empty(claimed)
    there = EMPTY_ACCOUNT if found is None else found
    for field in fields(Account):
        kept, said = getattr(there, field.name), getattr(claimed, field.name)
        if kept != said:
            raise ProofRefused(
                ProofOutcome.VALUE_DIFFERS,
                f"{field.name} of 0x{address.hex()} is {_shown(kept)}, claimed is {_shown(said)}",
            )
    return ProofOutcome.EMPTY_PROVEN if found is None else ProofOutcome.PROVEN


def check_slot(
    storage_root: bytes, slot: int, claimed: int, nodes: Sequence[bytes]
) -> ProofOutcome:
    """Return PROVEN, or EMPTY_PROVEN where the slot holds nothing and nothing is claimed.

    ``storage_root`` is trusted: that of a proven account.

    Raises:
        ProofRefused: the proof does not hold, or VALUE_DIFFERS.

    >>> check_slot(EMPTY_ROOT, 0, 0, []).name
    'EMPTY_PROVEN'
    """
    key = keccak(slot.to_bytes(32, "big"))
    value = value_at(storage_root, key, nodes, ProofOutcome.NODE_TAMPERED)
    try:
        kept = 0 if value is None else natural(decode(value))
    except NotRlp as error:
        raise ProofRefused(ProofOutcome.MALFORMED, f"the leaf of slot {slot:#x}, {error}") from None
    if kept != claimed:
        raise ProofRefused(
            ProofOutcome.VALUE_DIFFERS, f"slot {slot:#x} holds {kept}, claimed is {claimed}"
        )
    return ProofOutcome.PROVEN if kept else ProofOutcome.EMPTY_PROVEN


def _none_as_empty(claimed: Account) -> Account:
    """Return a claim of no account with its hashes spelt as those of an empty one."""
    # Of an account that is not there, some nodes give zeros for both hashes.
    return Account(
        claimed.nonce,
        claimed.balance,
        EMPTY_ROOT if claimed.storage_root == ZERO else claimed.storage_root,
        EMPTY_CODE if claimed.code_hash == ZERO else claimed.code_hash,
    )


def _shown(value: int | bytes) -> str:
    return f"0x{value.hex()}" if isinstance(value, bytes) else str(value)
