"""What a claim by itself is found to lack: standing, finality, a root, a price, a free quantity.

Findings are bits, one for each ``Outcome``, so that a claim may have several. Debts have none: what
is owed is always counted.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from risk.claims.rules import PoolRules
from risk.claims.tokens import Claims, Outcome, Snapshot, Standing, TokenKind, TokenNames, Tokens

Floats = NDArray[np.float64]
Bits = NDArray[np.uint16]

PRECEDENCE = (
    Outcome.RECIPE_CYCLE,
    Outcome.BACKING_CYCLE,
    Outcome.BACKING_TWICE,
    Outcome.PROOF_TWICE,
    Outcome.ROOT_TWICE,
    Outcome.HEIGHT_SKEWED,
    Outcome.NOT_FINAL,
    Outcome.NO_ROOT,
    Outcome.NOT_PROVEN,
    Outcome.NOT_LISTED,
    Outcome.STALE_PRICE,
    Outcome.PRICE_DEVIATES,
    Outcome.ENCUMBERED,
)
"""Of several findings the one that is a claim's outcome: what says most of how it came about."""

BACKS_A_DEBT = (Outcome.COUNTED, Outcome.ENCUMBERED, Outcome.NOT_LISTED)
"""Outcomes of claims that are there beyond doubt and have a price: a debt rests on them."""


NO_CHAIN = 0
"""The row of the chain "none"."""


def bit(outcome: Outcome) -> int:
    """Return the bit of an outcome; that a claim counts is no bit.

    >>> bit(Outcome.COUNTED), bit(Outcome.ROOT_TWICE), bit(Outcome.PROOF_TWICE)
    (0, 1, 2)
    """
    return 0 if outcome == Outcome.COUNTED else 1 << (outcome - 1)


def outcomes(found: Bits) -> NDArray[np.int8]:
    """Return the outcome of each claim from its findings, ``(claim,) -> (claim,)``.

    >>> outcomes(np.array([0, 1, 3], np.uint16)).tolist()
    [0, 1, 2]
    """
    table = np.zeros(1 << max(Outcome), dtype=np.int8)
    pattern = np.arange(len(table))
    for outcome in reversed(PRECEDENCE):
        table[pattern & bit(outcome) > 0] = outcome
    return np.asarray(table[found])


@dataclass(frozen=True, slots=True)
class Grounds:
    """What claims are held against: ``(token,)``, but for the chains, ``(chain,)``.

    ``owed``: whether the token is a debt. ``found``: findings on the token itself. ``needed``: the
    worst standing that counts. ``final``, ``safe``, ``head``: heights; ``age`` and ``block_time``:
    seconds. ``parts`` of a claim count where it is not safe, safe, and final.
    """

    owed: NDArray[np.bool_]
    found: Bits
    needed: NDArray[np.int8]
    chain: NDArray[np.int32]
    final: NDArray[np.int64]
    safe: NDArray[np.int64]
    head: NDArray[np.int64]
    age: Floats
    block_time: Floats
    parts: tuple[float, float, float]
    skew_seconds: float


def claim_grounds(
    tokens: Tokens,
    names: TokenNames,
    snapshot: Snapshot,
    rules: PoolRules,
    found: Bits,
) -> Grounds:
    """Return what the claims of a dataset are held against.

    ``found`` ``(token,)`` are the findings on each token, of ``token_findings``. A block is final
    when the chain says so and as many blocks are built on it as the rules ask for, whichever is
    later.

    Raises:
        ValueError: the snapshot is not of the chains that are named.
    """
    if len(snapshot.height) != len(names.chain):
        raise ValueError(
            f"the snapshot has {len(snapshot.height)} chains, the dataset names "
            f"{len(names.chain)}; give where each of them stood"
        )
    blocks = {rule.chain: rule.finality_blocks for rule in rules.chains}
    asked = np.array([blocks.get(chain, 0) for chain in names.chain], dtype=np.int64)
    needed = np.array([rules.needed(kind) for kind in TokenKind], dtype=np.int8)
    final = np.minimum(snapshot.finalised, snapshot.height - asked)
    finality = rules.finality
    return Grounds(
        owed=tokens.kind == TokenKind.DEBT,
        found=found,
        needed=needed[tokens.kind],
        chain=tokens.chain,
        final=final,
        safe=np.maximum(np.minimum(snapshot.safe, snapshot.height), final),
        head=snapshot.height,
        age=snapshot.age,
        block_time=snapshot.block_time,
        parts=(finality.unsafe, finality.safe, finality.finalised),
        skew_seconds=rules.policy.skew_seconds,
    )


def seconds_of(claims: Claims, grounds: Grounds) -> Floats:
    """Return how long before the dataset's time each claim was read, seconds, ``(claim,)``."""
    chain = grounds.chain[claims.token]
    behind = (grounds.head[chain] - claims.height) * grounds.block_time[chain]
    return np.asarray(grounds.age[chain] + behind)


def final_part(claims: Claims, grounds: Grounds) -> Floats:
    """Return which part of each claim counts by the state of its block, ``(claim,)``."""
    chain = grounds.chain[claims.token]
    unsafe, safe, final = grounds.parts
    found = np.where(claims.height <= grounds.safe[chain], safe, unsafe)
    found = np.where(claims.height <= grounds.final[chain], final, found)
    # What lies on no chain has no block, and a debt is owed before its block is final.
    return np.where((chain == NO_CHAIN) | grounds.owed[claims.token], 1.0, found)


def shown_standing(claims: Claims) -> NDArray[np.int8]:
    """Return how each claim is known; what is said to be proven and shows no proof is stated."""
    unproven = (claims.standing == Standing.PROVEN) & ~_is_named(claims.proof)
    return np.where(unproven, Standing.STATED, claims.standing).astype(np.int8)


def own_findings(claims: Claims, grounds: Grounds) -> Bits:
    """Return what each claim by itself is found to lack, ``(claim,)``.

    A claim is skewed that was read long before its chain's last final block, or on a chain whose
    latest block was seen too long ago.
    """
    found = grounds.found[claims.token].copy()
    chain = grounds.chain[claims.token]
    standing = shown_standing(claims)
    behind = (grounds.final[chain] - claims.height) * grounds.block_time[chain]
    skewed = (claims.height > grounds.head[chain]) | (behind > grounds.skew_seconds)
    skewed |= grounds.age[chain] > grounds.skew_seconds
    for outcome, where in (
        (Outcome.ENCUMBERED, ~(claims.quantity > claims.encumbered)),
        (Outcome.NOT_PROVEN, standing > grounds.needed[claims.token]),
        (Outcome.NOT_FINAL, final_part(claims, grounds) == 0.0),
        (Outcome.HEIGHT_SKEWED, skewed & (chain != NO_CHAIN)),
        (Outcome.NO_ROOT, ~_is_named(claims.root)),
    ):
        found[where] |= np.uint16(bit(outcome))
    found[grounds.owed[claims.token]] = 0
    return found


def _is_named(words: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Return which rows are not all zero, ``(claim, 2) -> (claim,)``."""
    return np.asarray((words[:, 0] | words[:, 1]) != 0)


def counted_quantity(claims: Claims, grounds: Grounds, outcome: NDArray[np.int8]) -> Floats:
    """Return the units of each claim that count, and of each debt that is owed, ``(claim,)``."""
    free = (claims.quantity - claims.encumbered) * final_part(claims, grounds)
    counted = np.where(outcome == Outcome.COUNTED, free, 0.0)
    return np.where(grounds.owed[claims.token], claims.quantity, counted)


def present_quantity(claims: Claims, outcome: NDArray[np.int8]) -> Floats:
    """Return the units of each claim that a debt rests on, ``(claim,)``.

    What is pledged elsewhere, or in an asset of which no rule speaks, still backs a debt in its
    market. What the policy asks a better standing of, what may not be there or not stay there, and
    what has no good price does not: nobody's word lifts the health of a position.
    """
    there = np.isin(outcome, BACKS_A_DEBT)
    return np.where(there, claims.quantity, 0.0)
