"""Where a token contract keeps a balance or an allowance.

Sources: Solidity documentation, "Layout of State Variables in Storage" (key, then slot); Vyper
hashes the slot first.
"""

from typing import Literal

from eth_hash.auto import keccak

Layout = Literal["solidity", "vyper"]

SLOTS = 1 << 256


def mapping_slot(slot: int, key: bytes, layout: Layout = "solidity") -> int:
    """Return the slot of ``key``, up to 32 bytes, in the mapping at ``slot``.

    Raises:
        ValueError: the slot or the key does not fit in 32 bytes.

    >>> owner = bytes.fromhex("f04a5cc80b1e94c69b48f5ee68a08cd2f09a7c3e")
    >>> f"{mapping_slot(3, owner):064x}"[:16]
    '1f8193c3f94e8840'
    """
    if not 0 <= slot < SLOTS or len(key) > 32:
        raise ValueError(
            f"slot {slot:#x} with a key of {len(key)} bytes; allowed is a slot below 2^256 and a "
            "key of up to 32 bytes"
        )
    at, padded = slot.to_bytes(32, "big"), key.rjust(32, b"\0")
    return int.from_bytes(keccak(padded + at if layout == "solidity" else at + padded), "big")


def balance_slot(slot: int, owner: bytes, layout: Layout = "solidity") -> int:
    """Return the slot of an owner's balance, where ``slot`` is that of the token's balances.

    >>> balance_slot(3, bytes(20)) == mapping_slot(3, bytes(32))
    True
    """
    return mapping_slot(slot, owner, layout)


def allowance_slot(slot: int, owner: bytes, spender: bytes, layout: Layout = "solidity") -> int:
    """Return the slot of what ``spender`` may take of an owner's balance, a mapping of mappings.

    >>> allowance_slot(4, b"a", b"b") == mapping_slot(mapping_slot(4, b"a"), b"b")
    True
    """
    return mapping_slot(mapping_slot(slot, owner, layout), spender, layout)
