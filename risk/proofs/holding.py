"""What a claimant hands in for one holding, and what it shows."""

from dataclasses import dataclass

from eth_hash.auto import keccak

from risk.claims.tokens import Standing
from risk.proofs.anchors import COIN, Trusted
from risk.proofs.outcome import ProofOutcome, ProofRefused
from risk.proofs.ownership import (
    Attestation,
    Ownership,
    Place,
    check_attestation,
    check_ownership,
)
from risk.proofs.state import Account, check_account, check_slot
from risk.proofs.storage_slots import balance_slot
from risk.proofs.trie import EMPTY_ROOT

COIN_DECIMALS = 18


@dataclass(frozen=True, slots=True)
class SlotAnswer:
    """One storage slot of an answer: its value and the nodes that prove it."""

    slot: int
    value: int
    nodes: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer of ``eth_getProof``."""

    address: bytes
    account: Account
    nodes: tuple[bytes, ...]
    slots: tuple[SlotAnswer, ...]


@dataclass(frozen=True, slots=True)
class Quantity:
    """A decimal number, exactly: ``digits`` over 10 to the power of ``places``."""

    digits: int
    places: int

    def units(self, decimals: int) -> int | None:
        """Return it in the smallest units of a token, or None where it is no whole number of them.

        >>> Quantity(125, 1).units(6), Quantity(125, 1).units(0)
        (12500000, None)
        """
        units, rest = divmod(self.digits * 10**decimals, 10**self.places)
        return None if rest else units


@dataclass(frozen=True, slots=True)
class Claimed:
    """What is claimed: that an owner's quantity of a token backs an account of the pool."""

    account: str
    owner: bytes
    token: bytes
    quantity: Quantity
    decimals: int


@dataclass(frozen=True, slots=True)
class Holding:
    """One holding as it was handed in; without ``claimed`` it is the answer of a node alone."""

    chain: int | None
    height: int | None
    claimed: Claimed | None
    answer: Answer | None
    ownership: Ownership | None
    attestation: Attestation | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a holding came to: its outcome, where it was seen, and how well the claim is shown.

    ``root`` names the owner's balance that it rests on and ``proof`` the place in the state that
    shows it, in 16 bytes each; empty where nothing was shown. ``height`` is the block of that
    state, None where no state was read.
    """

    outcome: ProofOutcome
    where: str
    standing: Standing
    root: bytes = b""
    proof: bytes = b""
    height: int | None = None


def identity(chain: int, address: bytes, of: bytes) -> bytes:
    """Return 16 bytes that name an address or a slot ``of`` a contract on a chain.

    >>> len(identity(1, bytes(20), b""))
    16
    """
    return keccak(chain.to_bytes(8, "big") + address + of)[:16]


def check_answer(state_root: bytes, answer: Answer) -> list[ProofOutcome]:
    """Return the outcome of the account, then of each of its slots.

    Raises:
        ProofRefused: one of them does not hold.
    """
    account = check_account(state_root, answer.address, answer.account, answer.nodes)
    there = account is ProofOutcome.PROVEN
    storage_root = answer.account.storage_root if there else EMPTY_ROOT
    return [
        account,
        *(check_slot(storage_root, one.slot, one.value, one.nodes) for one in answer.slots),
    ]


def judge(holding: Holding, trusted: Trusted) -> Verdict:
    """Return what a holding shows under what a pool trusts; nothing is refused without a name.

    A proof that does not hold is refused, and no attestation mends it. A balance proven without
    its owner's signature counts as attested where an attestor vouches for it.
    """
    try:
        return _judge(holding, trusted)
    except ProofRefused as refused:
        return Verdict(refused.outcome, refused.where, Standing.STATED)


def _judge(holding: Holding, trusted: Trusted) -> Verdict:
    claimed = holding.claimed
    if holding.answer is None:
        if holding.attestation is None or claimed is None:
            return Verdict(ProofOutcome.STATED, "neither proof nor attestation", Standing.STATED)
        return _attested(holding, claimed, holding.attestation, trusted)
    anchor = trusted.anchor(holding.chain, holding.height)
    if claimed is None:
        outcome = check_answer(anchor.state_root, holding.answer)[0]
        return Verdict(outcome, _place(holding.answer.address), Standing.STATED)
    holder = claimed.owner if claimed.token == COIN else claimed.token
    if holding.answer.address != holder:
        raise ProofRefused(
            ProofOutcome.ADDRESS_DIFFERS,
            f"it is of {_place(holding.answer.address)}, the holding is at {_place(holder)}",
        )
    units = _units(claimed, anchor.chain, trusted)
    check_answer(anchor.state_root, holding.answer)
    if claimed.token == COIN:
        kept, of = holding.answer.account.balance, b""
    else:
        token = trusted.token(anchor.chain, claimed.token)
        slot = balance_slot(token.slot, claimed.owner, token.layout)
        kept, of = _value(holding.answer, slot), slot.to_bytes(32, "big")
    if kept != units:
        raise ProofRefused(
            ProofOutcome.VALUE_DIFFERS, f"the balance is {kept} units, claimed are {units}"
        )
    outcome = ProofOutcome.PROVEN if units else ProofOutcome.EMPTY_PROVEN
    standing = Standing.PROVEN
    if holding.ownership is not None:
        place = Place(trusted.pool, trusted.epoch, anchor.chain)
        check_ownership(holding.ownership, claimed.owner, claimed.account, place)
    elif holding.attestation is not None:
        standing = _attested(holding, claimed, holding.attestation, trusted).standing
    else:
        raise ProofRefused(ProofOutcome.SIGNATURE_MISSING, f"owner 0x{claimed.owner.hex()}")
    return Verdict(
        outcome,
        _place(holder),
        standing,
        identity(anchor.chain, claimed.token, claimed.owner),
        identity(anchor.chain, holder, of),
        anchor.height,
    )


def _attested(
    holding: Holding, claimed: Claimed, attestation: Attestation, trusted: Trusted
) -> Verdict:
    """Return the verdict on a holding that an attestor vouches for."""
    if holding.chain is None:
        raise ProofRefused(ProofOutcome.MALFORMED, "an attested holding names its chain")
    attestor = trusted.attestor(attestation.attestor)
    check_attestation(
        attestation, attestor.address, Place(trusted.pool, trusted.epoch, holding.chain)
    )
    units = _units(claimed, holding.chain, trusted)
    signed = (attestation.owner, attestation.account, attestation.token, attestation.units)
    if signed != (claimed.owner, claimed.account, claimed.token, units):
        raise ProofRefused(
            ProofOutcome.VALUE_DIFFERS,
            f"{attestation.attestor} attests {attestation.units} units for account "
            f"{attestation.account!r}, claimed are {units} for {claimed.account!r}",
        )
    root = identity(holding.chain, claimed.token, claimed.owner)
    return Verdict(ProofOutcome.ATTESTED, f"by {attestor.name}", Standing.ATTESTED, root)


def _units(claimed: Claimed, chain: int, trusted: Trusted) -> int:
    """Return what is claimed in the token's smallest units."""
    coin = claimed.token == COIN
    decimals = COIN_DECIMALS if coin else trusted.token(chain, claimed.token).decimals
    if claimed.decimals != decimals:
        raise ProofRefused(
            ProofOutcome.DECIMALS_DIFFER,
            f"claimed with {claimed.decimals}, {_place(claimed.token)} has {decimals}",
        )
    units = claimed.quantity.units(decimals)
    if units is None:
        raise ProofRefused(
            ProofOutcome.DECIMALS_DIFFER, f"the quantity has more than {decimals} decimals"
        )
    return units


def _value(answer: Answer, slot: int) -> int:
    """Return the proven value of a slot."""
    for one in answer.slots:
        if one.slot == slot:
            return one.value
    raise ProofRefused(ProofOutcome.KEY_DIFFERS, f"the balance is in slot {slot:#066x}")


def _place(address: bytes) -> str:
    return "the chain's coin" if address == COIN else f"0x{address.hex()}"
