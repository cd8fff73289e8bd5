"""Signatures over typed data: an owner signs a holding over to a pool, an attestor vouches for it.

Source: EIP-712. Both name the pool, its epoch and the chain, so that neither serves elsewhere.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from eth_hash.auto import keccak

from risk.proofs.outcome import ProofOutcome, ProofRefused

ORDER = 0xFFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFE_BAAEDCE6_AF48A03B_BFD25E8C_D0364141
"""The order of secp256k1: of s and ORDER - s, which both verify, only the lower is taken."""

DOMAIN_NAME, DOMAIN_VERSION = "margincube", "1"

OWNERSHIP = [
    {"name": "owner", "type": "address"},
    {"name": "account", "type": "string"},
    {"name": "pool", "type": "string"},
    {"name": "epoch", "type": "uint64"},
    {"name": "nonce", "type": "uint256"},
]
ATTESTATION = [
    {"name": "owner", "type": "address"},
    {"name": "account", "type": "string"},
    {"name": "token", "type": "address"},
    {"name": "units", "type": "uint256"},
    {"name": "pool", "type": "string"},
    {"name": "epoch", "type": "uint64"},
]
DOMAIN = [
    {"name": "name", "type": "string"},
    {"name": "version", "type": "string"},
    {"name": "chainId", "type": "uint256"},
]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a signature is valid, and nowhere else."""

    pool: str
    epoch: int
    chain: int


@dataclass(frozen=True, slots=True)
class Ownership:
    """An owner's word that an account of a pool may count on what an address holds."""

    owner: bytes
    account: str
    place: Place
    nonce: int
    signature: bytes


@dataclass(frozen=True, slots=True)
class Attestation:
    """An attestor's word that an owner holds so many of a token's smallest units.

    ``token`` is the contract's address, or 20 zeros for the chain's own coin.
    """

    attestor: str
    owner: bytes
    account: str
    token: bytes
    units: int
    place: Place
    signature: bytes


def ownership_typed_data(owned: Ownership) -> dict[str, Any]:
    """Return what an owner's wallet is asked to sign, as ``eth_signTypedData_v4`` takes it."""
    message = {
        "owner": f"0x{owned.owner.hex()}",
        "account": owned.account,
        "pool": owned.place.pool,
        "epoch": owned.place.epoch,
        "nonce": owned.nonce,
    }
    return _typed("Ownership", OWNERSHIP, owned.place.chain, message)


def attestation_typed_data(attested: Attestation) -> dict[str, Any]:
    """Return what an attestor signs."""
    message = {
        "owner": f"0x{attested.owner.hex()}",
        "account": attested.account,
        "token": f"0x{attested.token.hex()}",
        "units": attested.units,
        "pool": attested.place.pool,
        "epoch": attested.place.epoch,
    }
    return _typed("Attestation", ATTESTATION, attested.place.chain, message)


def _typed(
    name: str, fields: list[dict[str, str]], chain: int, message: dict[str, Any]
) -> dict[str, Any]:
    return {
        "types": {"EIP712Domain": DOMAIN, name: fields},
        "primaryType": name,
        "domain": {"name": DOMAIN_NAME, "version": DOMAIN_VERSION, "chainId": chain},
        "message": message,
    }


def typed_digest(typed_data: Mapping[str, Any]) -> bytes:
    """Return the digest of typed data that is signed."""
    signable = _signable(typed_data)
    return keccak(b"\x19" + signable.version + signable.header + signable.body)


def signer(typed_data: Mapping[str, Any], signature: bytes) -> bytes:
    """Return the address whose key made a signature of 65 bytes: r, s and v.

    Raises:
        ProofRefused: SIGNATURE_INVALID where it is none, or s is the higher of its two forms.
    """
    wallet = _wallet()
    from eth_keys.exceptions import BadSignature
    from eth_utils.exceptions import ValidationError

    if len(signature) != 65:
        raise ProofRefused(
            ProofOutcome.SIGNATURE_INVALID, f"it has {len(signature)} bytes, allowed are 65"
        )
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:64], "big")
    if not (0 < r < ORDER and 0 < s <= ORDER // 2 and signature[64] in (0, 1, 27, 28)):
        raise ProofRefused(
            ProofOutcome.SIGNATURE_INVALID,
            "allowed are r below the order of the curve, s up to half of it and v of 27 or 28",
        )
    try:
        recovered = wallet.Account.recover_message(_signable(typed_data), signature=signature)
    except (BadSignature, ValidationError) as error:
        raise ProofRefused(ProofOutcome.SIGNATURE_INVALID, str(error)) from None
    return bytes.fromhex(recovered[2:])


def check_ownership(owned: Ownership, owner: bytes, account: str, place: Place) -> None:
    """Refuse a signature that is not by ``owner``, for ``account``, here.

    Raises:
        ProofRefused: SIGNER_DIFFERS, SIGNATURE_INVALID or one of SIGNATURE_OTHER_ACCOUNT, _POOL,
            _EPOCH and _CHAIN.
    """
    _check_place(owned.place, place)
    if owned.account != account:
        raise ProofRefused(
            ProofOutcome.SIGNATURE_OTHER_ACCOUNT, f"{owned.account!r}, the holding's is {account!r}"
        )
    if owned.owner != owner:
        raise ProofRefused(
            ProofOutcome.SIGNER_DIFFERS,
            f"0x{owned.owner.hex()} signs, the owner is 0x{owner.hex()}",
        )
    _check_signer(ownership_typed_data(owned), owned.signature, owner)


def check_attestation(attested: Attestation, address: bytes, place: Place) -> None:
    """Refuse an attestation that is not by the attestor's key ``address``, here.

    Raises:
        ProofRefused: SIGNER_DIFFERS, SIGNATURE_INVALID or one of SIGNATURE_OTHER_POOL, _EPOCH and
            _CHAIN.
    """
    _check_place(attested.place, place)
    _check_signer(attestation_typed_data(attested), attested.signature, address)


def _check_place(signed: Place, here: Place) -> None:
    for outcome, theirs, ours in (
        (ProofOutcome.SIGNATURE_OTHER_POOL, signed.pool, here.pool),
        (ProofOutcome.SIGNATURE_OTHER_EPOCH, signed.epoch, here.epoch),
        (ProofOutcome.SIGNATURE_OTHER_CHAIN, signed.chain, here.chain),
    ):
        if theirs != ours:
            raise ProofRefused(outcome, f"it is for {theirs!r}, here is {ours!r}")


def _check_signer(typed_data: Mapping[str, Any], signature: bytes, expected: bytes) -> None:
    found = signer(typed_data, signature)
    if found != expected:
        raise ProofRefused(
            ProofOutcome.SIGNER_DIFFERS,
            f"0x{found.hex()} signed this, expected is 0x{expected.hex()}",
        )


def _signable(typed_data: Mapping[str, Any]) -> Any:
    return _wallet().messages.encode_typed_data(full_message=dict(typed_data))


def _wallet() -> Any:
    """Return ``eth_account``, which takes a second to import and few commands need."""
    limit = sys.getrecursionlimit()
    import eth_account.messages

    # Its py_ecc lifts the limit that keeps readers of nested input from the end of the stack.
    sys.setrecursionlimit(limit)
    return eth_account
