"""EIP-712: the published digest and signer, and signatures that serve nowhere but where signed."""

import pytest
from eth_account import Account as Key
from eth_account.messages import encode_typed_data
from eth_hash.auto import keccak

from risk.proofs.outcome import ProofRefused
from risk.proofs.ownership import (
    ORDER,
    Ownership,
    Place,
    check_ownership,
    ownership_typed_data,
    signer,
    typed_digest,
)
from tests.risk.proofs.chain import CHAIN, OWNER, STRANGER, address_of, sign

# EIP-712, the example of the text and its test file Example.js: the key is keccak256("cow").
MAIL = {
    "types": {
        "EIP712Domain": [
            {"name": "name", "type": "string"},
            {"name": "version", "type": "string"},
            {"name": "chainId", "type": "uint256"},
            {"name": "verifyingContract", "type": "address"},
        ],
        "Person": [{"name": "name", "type": "string"}, {"name": "wallet", "type": "address"}],
        "Mail": [
            {"name": "from", "type": "Person"},
            {"name": "to", "type": "Person"},
            {"name": "contents", "type": "string"},
        ],
    },
    "primaryType": "Mail",
    "domain": {
        "name": "Ether Mail",
        "version": "1",
        "chainId": 1,
        "verifyingContract": "0xCcCCccccCCCCcCCCCCCcCcCccCcCCCcCcccccccC",
    },
    "message": {
        "from": {"name": "Cow", "wallet": "0xCD2a3d9F938E13CD947Ec05AbC7FE734Df8DD826"},
        "to": {"name": "Bob", "wallet": "0xbBbBBBBbbBBBbbbBbbBbbbbBBbBbbbbBbBbbBBbB"},
        "contents": "Hello, Bob!",
    },
}
MAIL_DIGEST = "be609aee343fb3c4b28e1df9e632fca64fcfaede20f02e86244efddf30957bd2"
MAIL_SIGNER = "cd2a3d9f938e13cd947ec05abc7fe734df8dd826"
MAIL_SIGNATURE = (
    "4355c47d63924e8a72e509b65029052eb6c299d53a04e167c5775fd466751c9d"
    "07299936d304c153f6443dfa05f40ff007d72911b6f72307f996231605b915621c"
)

OWNER_ADDRESS = address_of(OWNER)
HERE = Place("main", 7, CHAIN)


def signed(place=HERE, *, account="desk-7", owner=OWNER_ADDRESS, by=OWNER):
    unsigned = Ownership(owner, account, place, 1, b"")
    return Ownership(owner, account, place, 1, bytes(sign(by, ownership_typed_data(unsigned))))


def resigned(owned, signature):
    return Ownership(owned.owner, owned.account, owned.place, owned.nonce, signature)


def refusal(owned, **expected):
    wanted = {"owner": OWNER_ADDRESS, "account": "desk-7", "place": HERE} | expected
    with pytest.raises(ProofRefused) as refused:
        check_ownership(owned, **wanted)
    return refused.value.outcome.name


def test_the_digest_and_the_signer_of_the_published_mail():
    assert typed_digest(MAIL).hex() == MAIL_DIGEST
    assert signer(MAIL, bytes.fromhex(MAIL_SIGNATURE)).hex() == MAIL_SIGNER


def test_the_published_key_signs_the_mail_as_published():
    key = Key.from_key(keccak(b"cow"))
    assert key.sign_message(encode_typed_data(full_message=MAIL)).signature.hex() == MAIL_SIGNATURE


def test_an_owner_signs_for_an_account_of_a_pool():
    check_ownership(signed(), OWNER_ADDRESS, "desk-7", HERE)


@pytest.mark.parametrize(
    ("place", "outcome"),
    [
        (Place("other", 7, CHAIN), "SIGNATURE_OTHER_POOL"),
        (Place("main", 6, CHAIN), "SIGNATURE_OTHER_EPOCH"),
        (Place("main", 7, CHAIN + 1), "SIGNATURE_OTHER_CHAIN"),
    ],
)
def test_a_signature_serves_in_no_other_place(place, outcome):
    elsewhere = signed(place)
    assert refusal(elsewhere) == outcome
    # Written over with this place, it is no longer what the owner signed.
    relabelled = Ownership(
        elsewhere.owner, elsewhere.account, HERE, elsewhere.nonce, elsewhere.signature
    )
    assert refusal(relabelled) == "SIGNER_DIFFERS"


def test_a_signature_serves_no_other_account_and_no_other_owner():
    assert refusal(signed(account="desk-8")) == "SIGNATURE_OTHER_ACCOUNT"
    assert refusal(signed(owner=address_of(STRANGER), by=STRANGER)) == "SIGNER_DIFFERS"
    assert refusal(signed(by=STRANGER)) == "SIGNER_DIFFERS"
    # The owner's own key, under a statement that names somebody else as the owner.
    assert refusal(signed(owner=address_of(STRANGER), by=OWNER)) == "SIGNER_DIFFERS"


def test_the_other_form_of_a_signature_is_refused_though_it_verifies():
    owned = signed()
    r, s, v = owned.signature[:32], owned.signature[32:64], owned.signature[64]
    high = r + (ORDER - int.from_bytes(s, "big")).to_bytes(32, "big") + bytes([55 - v])
    unsafe = Key.recover_message(
        encode_typed_data(full_message=ownership_typed_data(owned)), signature=high
    )
    assert address_of(OWNER).hex() == unsafe[2:].lower()
    assert refusal(resigned(owned, high)) == "SIGNATURE_INVALID"


def test_both_spellings_of_the_last_byte_are_taken():
    owned = signed()
    spelt = owned.signature[:64] + bytes([owned.signature[64] - 27])
    check_ownership(resigned(owned, spelt), OWNER_ADDRESS, "desk-7", HERE)


@pytest.mark.parametrize(
    "signature",
    [
        b"",
        bytes(65),
        bytes([1] * 64),
        bytes([0xFF] * 65),
        (1).to_bytes(32, "big") * 2 + bytes([29]),
        ORDER.to_bytes(32, "big") + (1).to_bytes(32, "big") + bytes([27]),
        (5).to_bytes(32, "big") + (1).to_bytes(32, "big") + bytes([27]),
    ],
)
def test_what_is_no_signature_is_refused(signature):
    """The last has an r that is no point of the curve."""
    assert refusal(resigned(signed(), signature)) == "SIGNATURE_INVALID"
