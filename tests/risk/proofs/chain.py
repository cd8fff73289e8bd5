"""A small chain made with py-trie: its state, its answers to eth_getProof, and keys that sign."""

import copy
import json
from pathlib import Path

import rlp
from eth_account import Account as Key
from eth_account.messages import encode_typed_data
from eth_hash.auto import keccak
from trie import HexaryTrie

from risk.proofs.anchors import Trusted
from risk.proofs.ownership import (
    Attestation,
    Ownership,
    Place,
    attestation_typed_data,
    ownership_typed_data,
)
from risk.proofs.state import EMPTY_ACCOUNT
from risk.proofs.storage_slots import balance_slot
from risk.proofs.trie import EMPTY_ROOT

GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "proofs.json").read_text())
CHAIN, HEIGHT, TIME = 10, 1_234, "2026-01-01T00:00:00Z"
TOKEN, EMPTY_TOKEN = bytes([0xAA] * 20), bytes([0xBB] * 20)
BALANCES = 9
DECIMALS = 6
OWNER, ATTESTOR, STRANGER = (Key.from_key(bytes([number] * 32)) for number in (1, 2, 3))


def address_of(key):
    return bytes.fromhex(key.address[2:])


def hexed(data):
    return f"0x{data.hex()}"


def trie_of(values):
    """A trie of hashed keys."""
    trie = HexaryTrie({})
    for key, value in values.items():
        trie[keccak(key)] = value
    return trie


def proof_of(trie, key):
    """The nodes that a chain's node answers with."""
    if trie.root_hash == EMPTY_ROOT:
        return []
    return [rlp.encode(node) for node in trie.get_proof(keccak(key))]


class Chain:
    """Accounts with coins, and one token with balances."""

    def __init__(self, holders=40):
        owner = address_of(OWNER)
        others = [bytes([number]) + bytes(19) for number in range(1, holders)]
        self.balances = {owner: 2_500_000} | {one: 10**6 + n for n, one in enumerate(others)}
        self.storage = {
            balance_slot(BALANCES, one).to_bytes(32, "big"): value
            for one, value in self.balances.items()
        }
        self.slots = trie_of({key: rlp.encode(value) for key, value in self.storage.items()})
        code = keccak(b"code")
        self.accounts = {TOKEN: (1, 0, self.slots.root_hash, code)}
        self.accounts |= {EMPTY_TOKEN: (1, 0, EMPTY_ROOT, code)}
        self.accounts |= {owner: (3, 5 * 10**18, EMPTY_ROOT, EMPTY_ACCOUNT.code_hash)}
        self.accounts |= {
            one: (0, 10**18 + n, EMPTY_ROOT, EMPTY_ACCOUNT.code_hash)
            for n, one in enumerate(others)
        }
        self.state = trie_of({key: rlp.encode(value) for key, value in self.accounts.items()})

    @property
    def root(self):
        return self.state.root_hash

    def answer(self, address, slots=()):
        """The answer to eth_getProof, as JSON."""
        empty = (0, 0, EMPTY_ROOT, EMPTY_ACCOUNT.code_hash)
        nonce, balance, storage, code = self.accounts.get(address, empty)
        trie = self.slots if address == TOKEN else HexaryTrie({})
        return {
            "address": hexed(address),
            "nonce": hex(nonce),
            "balance": hex(balance),
            "storageHash": hexed(storage),
            "codeHash": hexed(code),
            "accountProof": [hexed(one) for one in proof_of(self.state, address)],
            "storageProof": [self._slot(trie, slot) for slot in slots],
        }

    def _slot(self, trie, slot):
        key = slot.to_bytes(32, "big")
        value = self.storage.get(key, 0) if trie is self.slots else 0
        return {
            "key": hexed(key),
            "value": hex(value),
            "proof": [hexed(one) for one in proof_of(trie, key)],
        }

    def trusted(self, **changed):
        """What a pool trusts of this chain, as the file of anchors says it."""
        anchor = {
            "chain": CHAIN,
            "height": HEIGHT,
            "block_hash": hexed(bytes(32)),
            "state_root": hexed(self.root),
            "finality": "finalised",
            "time": TIME,
            "signed_off_by": ["operations"],
        }
        anchor |= changed.pop("anchor", {})
        tokens = [
            {"chain": CHAIN, "address": hexed(one), "decimals": DECIMALS, "slot": BALANCES}
            for one in (TOKEN, EMPTY_TOKEN)
        ]
        return {
            "pool": "main",
            "epoch": 7,
            "as_of": TIME,
            "allowed_skew_seconds": 60,
            "anchors": [anchor],
            "tokens": tokens,
            "attestors": [{"name": "auditor", "address": ATTESTOR.address}],
        } | changed

    def judge_by(self, **changed):
        return Trusted.model_validate(self.trusted(**changed))

    def holding(self, *, token=TOKEN, quantity="2.5", decimals=DECIMALS, owner=OWNER):
        """A holding that is in order: a proof, and the owner's signature."""
        held_by = address_of(owner)
        document = {
            "chain": CHAIN,
            "height": HEIGHT,
            "account": "desk-7",
            "owner": hexed(held_by),
            "quantity": quantity,
            "decimals": decimals,
            "answer": self.answer(
                token or held_by, [balance_slot(BALANCES, held_by)] * bool(token)
            ),
            "ownership": ownership(owner),
        }
        return document | ({"token": hexed(token)} if token else {})


def sign(key, typed_data):
    return key.sign_message(encode_typed_data(full_message=typed_data)).signature


def ownership(key=OWNER, *, by=None, account="desk-7", pool="main", epoch=7, chain=CHAIN):
    """An owner's signature as a document has it."""
    owned = Ownership(address_of(key), account, Place(pool, epoch, chain), 1, b"")
    return {
        "owner": hexed(owned.owner),
        "account": account,
        "pool": pool,
        "epoch": epoch,
        "chainId": chain,
        "nonce": 1,
        "signature": hexed(sign(by or key, ownership_typed_data(owned))),
    }


def attestation(
    units=2_500_000,
    *,
    by=ATTESTOR,
    name="auditor",
    account="desk-7",
    pool="main",
    epoch=7,
    chain=CHAIN,
):
    """An attestor's signature as a document has it."""
    word = Attestation(
        name, address_of(OWNER), account, TOKEN, units, Place(pool, epoch, chain), b""
    )
    return {
        "attestor": name,
        "owner": hexed(word.owner),
        "account": word.account,
        "token": hexed(TOKEN),
        "units": str(units),
        "pool": pool,
        "epoch": epoch,
        "chainId": chain,
        "signature": hexed(sign(by, attestation_typed_data(word))),
    }


def changed(document, **fields):
    """A copy with other fields, or without those that are None."""
    copied = copy.deepcopy(document) | fields
    return {name: value for name, value in copied.items() if value is not None}
