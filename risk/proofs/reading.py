"""Holdings and answers of nodes out of a JSON document, whose every field may be hostile."""

import re
from collections.abc import Callable
from typing import Any, TypeVar

from risk.proofs.anchors import COIN
from risk.proofs.hexadecimal import NotHexadecimal, to_bytes, to_number
from risk.proofs.holding import COIN_DECIMALS, Answer, Claimed, Holding, Quantity, SlotAnswer
from risk.proofs.outcome import ProofOutcome, ProofRefused
from risk.proofs.ownership import Attestation, Ownership, Place
from risk.proofs.state import Account

LONGEST_PROOF = 65
"""Nodes from the root down a path of 64 digits."""
LARGEST_NODE = 1_024
"""Bytes; a branch whose every child is a hash has 532."""
MOST_SLOTS = 1_024
LONGEST_TEXT = 100
LARGEST = 1 << 64

_QUANTITY = re.compile(r"([0-9]{1,78})(?:\.([0-9]{1,77}))?")

Value = TypeVar("Value")


def read_holding(document: Any) -> Holding:
    """Return the holding that a document describes, or the bare answer of a node.

    Raises:
        ProofRefused: MALFORMED or TOO_LARGE, with the field.
    """
    fields = _Fields(document, "")
    if fields.has("result") or fields.has("accountProof"):
        return Holding(None, None, None, read_answer(document), None, None)
    chain = fields.integer("chain")
    claimed = Claimed(
        account=fields.text("account"),
        owner=fields.data("owner", 20),
        token=fields.data("token", 20) if fields.has("token") else COIN,
        quantity=fields.quantity("quantity"),
        decimals=fields.integer("decimals") if fields.has("decimals") else COIN_DECIMALS,
    )
    return Holding(
        chain,
        fields.integer("height") if fields.has("height") else None,
        claimed,
        read_answer(fields.get("answer")) if fields.has("answer") else None,
        _ownership(fields.part("ownership")) if fields.has("ownership") else None,
        _attestation(fields.part("attestation")) if fields.has("attestation") else None,
    )


def read_answer(document: Any) -> Answer:
    """Return an answer of ``eth_getProof``, alone or as the result of a JSON-RPC response.

    Raises:
        ProofRefused: MALFORMED or TOO_LARGE, with the field.
    """
    fields = _Fields(document, "")
    if fields.has("result"):
        fields = fields.part("result")
    slots = tuple(
        SlotAnswer(one.number("key"), one.number("value"), one.nodes("proof"))
        for one in fields.parts("storageProof", MOST_SLOTS)
    )
    return Answer(
        fields.data("address", 20),
        Account(
            fields.number("nonce"),
            fields.number("balance"),
            fields.data("storageHash", 32),
            fields.data("codeHash", 32),
        ),
        fields.nodes("accountProof"),
        slots,
    )


def _ownership(fields: "_Fields") -> Ownership:
    return Ownership(
        fields.data("owner", 20),
        fields.text("account"),
        _place(fields),
        fields.integer("nonce") if fields.has("nonce") else 0,
        fields.data("signature"),
    )


def _attestation(fields: "_Fields") -> Attestation:
    return Attestation(
        fields.text("attestor"),
        fields.data("owner", 20),
        fields.text("account"),
        fields.data("token", 20) if fields.has("token") else COIN,
        fields.units("units"),
        _place(fields),
        fields.data("signature"),
    )


def _place(fields: "_Fields") -> Place:
    return Place(fields.text("pool"), fields.integer("epoch"), fields.integer("chainId"))


class _Fields:
    """The fields of one JSON object; each is read by name and refused by name."""

    def __init__(self, document: Any, within: str) -> None:
        if not isinstance(document, dict):
            raise _malformed(within or "the document", f"is {_kind(document)}, not an object")
        self._document = document
        self._within = within

    def has(self, name: str) -> bool:
        return name in self._document

    def get(self, name: str) -> Any:
        if name not in self._document:
            raise _malformed(self._path(name), "is missing")
        return self._document[name]

    def part(self, name: str) -> "_Fields":
        return _Fields(self.get(name), self._path(name))

    def parts(self, name: str, most: int) -> "list[_Fields]":
        return [
            _Fields(one, f"{self._path(name)}[{at}]")
            for at, one in enumerate(self._list(name, most))
        ]

    def nodes(self, name: str) -> tuple[bytes, ...]:
        texts = self._list(name, LONGEST_PROOF)
        nodes = self._hexadecimal(name, lambda: tuple(map(to_bytes, texts)))
        largest = max(map(len, nodes), default=0)
        if largest > LARGEST_NODE:
            raise ProofRefused(
                ProofOutcome.TOO_LARGE,
                f"{self._path(name)} has a node of {largest} bytes, allowed are {LARGEST_NODE}",
            )
        return nodes

    def data(self, name: str, length: int | None = None) -> bytes:
        value = self.get(name)
        return self._hexadecimal(name, lambda: to_bytes(value, length))

    def number(self, name: str) -> int:
        value = self.get(name)
        return self._hexadecimal(name, lambda: to_number(value))

    def text(self, name: str) -> str:
        value = self.get(name)
        if (
            not isinstance(value, str)
            or not value.isprintable()
            or not 0 < len(value) <= LONGEST_TEXT
        ):
            raise _malformed(
                self._path(name),
                f"is {_kind(value)}, allowed are 1 to {LONGEST_TEXT} printable characters",
            )
        return value

    def integer(self, name: str) -> int:
        value = self.get(name)
        if type(value) is not int or not 0 <= value < LARGEST:
            raise _malformed(
                self._path(name), f"is {_kind(value)}, allowed is a whole number below 2^64"
            )
        return value

    def quantity(self, name: str) -> Quantity:
        value = self.get(name)
        # A JSON number would lose digits on its way through floating point.
        match = _QUANTITY.fullmatch(value) if isinstance(value, str) else None
        if match is None:
            raise _malformed(
                self._path(name), f"is {_kind(value)}, allowed is a decimal number as text"
            )
        whole, fraction = match[1], match[2] or ""
        return Quantity(int(whole + fraction), len(fraction))

    def units(self, name: str) -> int:
        found = self.quantity(name)
        if found.places or found.digits >= LARGEST**4:
            raise _malformed(self._path(name), "is no whole number below 2^256")
        return found.digits

    def _list(self, name: str, most: int) -> list[Any]:
        value = self.get(name)
        if not isinstance(value, list):
            raise _malformed(self._path(name), f"is {_kind(value)}, not a list")
        if len(value) > most:
            raise ProofRefused(
                ProofOutcome.TOO_LARGE,
                f"{self._path(name)} has {len(value)} entries, allowed are {most}",
            )
        return value

    def _hexadecimal(self, name: str, read: Callable[[], Value]) -> Value:
        try:
            return read()
        except NotHexadecimal as error:
            raise _malformed(self._path(name), f"{error}") from None

    def _path(self, name: str) -> str:
        return f"{self._within}.{name}" if self._within else name


def _malformed(field: str, what: str) -> ProofRefused:
    return ProofRefused(ProofOutcome.MALFORMED, f"{field} {what}")


def _kind(value: Any) -> str:
    """Return a short name of what was given."""
    if isinstance(value, str):
        return f"{value[:40]!r}{'...' if len(value) > 40 else ''}"
    if isinstance(value, int | float | None):
        return repr(value) if len(repr(value)) <= 40 else "a long number"
    return "a list" if isinstance(value, list) else "an object"
