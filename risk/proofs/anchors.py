"""What a pool trusts: the block that it reads each chain at, its tokens and its attestors."""

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Annotated, Any, Literal, Self

from eth_hash.auto import keccak
from pydantic import AwareDatetime, BeforeValidator, Field, model_validator

from risk.claims.rules import NONE
from risk.proofs.hexadecimal import to_bytes
from risk.proofs.outcome import ProofOutcome, ProofRefused
from risk.proofs.rlp import NotRlp, decode, natural
from risk.proofs.storage_slots import SLOTS, Layout
from risk.specification import Name, NonNegative, Specification

Finality = Literal["unsafe", "safe", "finalised"]
FINALITY: tuple[Finality, ...] = ("unsafe", "safe", "finalised")
"""How final a block is, the least first."""

COIN = bytes(20)
"""Stands for the chain's own coin where a token's address is asked for."""

HEADER_FIELDS = 15
"""Fields of the first headers; later ones have more, after these."""
STATE_ROOT, HEIGHT, TIMESTAMP = 3, 8, 11
DECIMALS = 77
"""No 256-bit number has more digits."""


def _spelt(length: int | None) -> BeforeValidator:
    def read(given: Any) -> bytes:
        return given if isinstance(given, bytes) else to_bytes(given, length)

    return BeforeValidator(read)


Hash = Annotated[bytes, _spelt(32)]
Address = Annotated[bytes, _spelt(20)]
Chain = Annotated[int, Field(ge=1, lt=1 << 64)]
"""The number of EIP-155 that signatures and wallets know a chain by."""


class Anchor(Specification):
    """A block of one chain that somebody answers for, and the root of the state after it."""

    chain: Chain
    height: Annotated[int, Field(ge=0)]
    block_hash: Hash
    state_root: Hash
    finality: Finality
    time: AwareDatetime
    signed_off_by: Annotated[tuple[Name, ...], Field(min_length=1)]
    header: Annotated[bytes, _spelt(None)] | None = None

    def check_header(self) -> None:
        """Refuse a header that is not the trusted block's, or says otherwise than the anchor.

        Raises:
            ProofRefused: HEADER_DIFFERS.
        """
        if self.header is None:
            return
        if keccak(self.header) != self.block_hash:
            raise self._differs(f"its hash is 0x{keccak(self.header).hex()}")
        header = read_header(self.header)
        for name, found in (
            ("state_root", header.state_root),
            ("height", header.height),
            ("time", header.timestamp),
        ):
            said = int(self.time.timestamp()) if name == "time" else getattr(self, name)
            if said != found:
                shown = f"0x{found.hex()}" if isinstance(found, bytes) else found
                raise self._differs(f"its {name} is {shown}")

    def _differs(self, what: str) -> ProofRefused:
        return ProofRefused(
            ProofOutcome.HEADER_DIFFERS, f"chain {self.chain}, height {self.height}, {what}"
        )


@dataclass(frozen=True, slots=True)
class Header:
    """What of a block's header decides a proof; ``timestamp`` in seconds since 1970."""

    state_root: bytes
    height: int
    timestamp: int


def read_header(encoded: bytes) -> Header:
    """Return what a header says; that it is the right one only its hash tells.

    Raises:
        ProofRefused: HEADER_DIFFERS where it is no header.
    """
    try:
        item = decode(encoded)
        if isinstance(item, bytes) or len(item) < HEADER_FIELDS:
            raise NotRlp(f"a header has {HEADER_FIELDS} fields or more")
        root = item[STATE_ROOT]
        if not isinstance(root, bytes) or len(root) != 32:
            raise NotRlp("a state root has 32 bytes")
        return Header(root, natural(item[HEIGHT]), natural(item[TIMESTAMP]))
    except NotRlp as error:
        raise ProofRefused(ProofOutcome.HEADER_DIFFERS, f"{error}") from None


TokenName = tuple[str, str, str, str]
"""What claims name a token by: symbol, chain, protocol and bridge."""


class ChainNames(Specification):
    """What claims call a chain, and the coin of its own."""

    chain: Chain
    name: Name
    coin: Name | None = None


class Token(Specification):
    """A token contract, where it keeps its balances, and what claims call it."""

    chain: Chain
    address: Address
    decimals: Annotated[int, Field(ge=0, le=DECIMALS)]
    slot: Annotated[int, Field(ge=0, lt=SLOTS)]
    layout: Layout = "solidity"
    token: Name | None = None
    protocol: Name = NONE
    bridge: Name = NONE


class Attestor(Specification):
    """Somebody whose word counts, by the key that they sign with."""

    name: Name
    address: Address


class Trusted(Specification):
    """All that the proofs of one pool and epoch are judged by."""

    pool: Name
    epoch: Annotated[int, Field(ge=0, lt=1 << 64)]
    as_of: AwareDatetime
    allowed_skew_seconds: NonNegative
    needed_finality: Finality = "finalised"
    anchors: Annotated[tuple[Anchor, ...], Field(min_length=1)]
    chains: tuple[ChainNames, ...] = ()
    tokens: tuple[Token, ...] = ()
    attestors: tuple[Attestor, ...] = ()

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        keys: tuple[tuple[str, Sequence[Hashable]], ...] = (
            ("anchors", [one.chain for one in self.anchors]),
            ("chains", [one.chain for one in self.chains]),
            ("names of tokens", self._named_tokens()),
            ("tokens", [(one.chain, f"0x{one.address.hex()}") for one in self.tokens]),
            ("attestors", [one.name for one in self.attestors]),
        )
        for what, names in keys:
            counted = Counter(names).most_common(1)
            if counted and counted[0][1] > 1:
                twice = counted[0][0]
                raise ValueError(f"{what} has {twice} twice; keep one of them")
        return self

    def _named_tokens(self) -> list[tuple[int | str, ...]]:
        coins = [(one.chain, one.coin, NONE, NONE) for one in self.chains if one.coin]
        named = [
            (one.chain, one.token, one.protocol, one.bridge) for one in self.tokens if one.token
        ]
        return [*coins, *named]

    def anchor(self, chain: int | None, height: int | None) -> Anchor:
        """Return the anchor that a proof of a chain, at a height, must be read under.

        A proof that names no chain is read under the only anchor there is.

        Raises:
            ProofRefused: NO_ROOT, HEADER_DIFFERS, NOT_FINAL or HEIGHT_SKEWED.
        """
        if chain is None and len(self.anchors) > 1:
            raise ProofRefused(ProofOutcome.NO_ROOT, "the proof names no chain")
        found = next((one for one in self.anchors if chain in (None, one.chain)), None)
        if found is None:
            raise ProofRefused(ProofOutcome.NO_ROOT, f"chain {chain} has no anchor")
        found.check_header()
        if FINALITY.index(found.finality) < FINALITY.index(self.needed_finality):
            raise ProofRefused(
                ProofOutcome.NOT_FINAL,
                f"chain {found.chain}, height {found.height} is {found.finality}, the pool "
                f"demands {self.needed_finality}",
            )
        apart = _seconds(self.as_of, found.time)
        if apart > self.allowed_skew_seconds:
            raise ProofRefused(
                ProofOutcome.HEIGHT_SKEWED,
                f"chain {found.chain}, height {found.height} is {apart:g} s off, the pool allows "
                f"{self.allowed_skew_seconds:g} s",
            )
        if height is not None and height != found.height:
            raise ProofRefused(
                ProofOutcome.HEIGHT_SKEWED,
                f"the proof is at height {height} of chain {found.chain}, the anchor at "
                f"{found.height}",
            )
        return found

    def token(self, chain: int, address: bytes) -> Token:
        """Return what the pool knows of a token.

        Raises:
            ProofRefused: TOKEN_UNKNOWN.
        """
        found = self._listed.get((chain, address))
        if found is None:
            raise ProofRefused(ProofOutcome.TOKEN_UNKNOWN, f"0x{address.hex()} on chain {chain}")
        return found

    def name_of(self, chain: int, address: bytes) -> TokenName | None:
        """Return what claims call a token, or at 20 zeros a chain's coin; None where unsaid."""
        named = next((one for one in self.chains if one.chain == chain), None)
        if named is None:
            return None
        if address == COIN:
            return (named.coin, named.name, NONE, NONE) if named.coin else None
        token = self._listed.get((chain, address))
        if token is None or token.token is None:
            return None
        return token.token, named.name, token.protocol, token.bridge

    @cached_property
    def _listed(self) -> dict[tuple[int, bytes], Token]:
        return {(one.chain, one.address): one for one in self.tokens}

    def attestor(self, name: str) -> Attestor:
        """Return an attestor by name.

        Raises:
            ProofRefused: ATTESTOR_UNKNOWN.
        """
        for one in self.attestors:
            if one.name == name:
                return one
        raise ProofRefused(ProofOutcome.ATTESTOR_UNKNOWN, repr(name))


def _seconds(one: datetime, other: datetime) -> float:
    return abs((one - other).total_seconds())
