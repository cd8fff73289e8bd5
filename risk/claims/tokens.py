"""What a claims dataset is made of, as arrays: tokens and recipes, feeds, chains, claims."""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Rows = NDArray[np.int32]

NO_MARKET = -1
"""The market of a claim that lies in none."""

NO_BACKING = -1
"""The backing of a claim that is no receipt for another claim."""


class TokenKind(IntEnum):
    """What a token is: cash and coins are base assets, the others stand for something."""

    CASH = 0
    COIN = 1
    RECEIPT = 2
    SHARE = 3
    STAKED = 4
    WRAPPED = 5
    BRIDGED = 6
    LIQUIDITY = 7
    DEBT = 8


BASE_KINDS = (TokenKind.CASH, TokenKind.COIN)
"""Kinds without a recipe."""


class Standing(IntEnum):
    """How a claim is known, the best first."""

    PROVEN = 0
    ATTESTED = 1
    STATED = 2


class Outcome(IntEnum):
    """Whether a claim counts, and the reason where it does not."""

    COUNTED = 0
    ROOT_TWICE = 1
    PROOF_TWICE = 2
    BACKING_TWICE = 3
    BACKING_CYCLE = 4
    RECIPE_CYCLE = 5
    HEIGHT_SKEWED = 6
    NOT_FINAL = 7
    STALE_PRICE = 8
    PRICE_DEVIATES = 9
    NOT_PROVEN = 10
    ENCUMBERED = 11
    NO_ROOT = 12
    NOT_LISTED = 13


REASONS = {
    Outcome.COUNTED: "it counts",
    Outcome.ROOT_TWICE: "another claim rests on the same deposit",
    Outcome.PROOF_TWICE: "another claim is shown by the same proof",
    Outcome.BACKING_TWICE: "it is a receipt for a claim that is pledged as well, or the reverse",
    Outcome.BACKING_CYCLE: "its receipts lead round in a circle, so nothing is at their end",
    Outcome.RECIPE_CYCLE: "what its token stands for leads round in a circle",
    Outcome.HEIGHT_SKEWED: "it was seen at another time than the snapshot allows",
    Outcome.NOT_FINAL: "its chain may still take the block back",
    Outcome.STALE_PRICE: "a price of what it stands for is too old",
    Outcome.PRICE_DEVIATES: "two prices of what it stands for lie too far apart",
    Outcome.NOT_PROVEN: "the policy asks for a better standing of such a token",
    Outcome.ENCUMBERED: "all of it is pledged elsewhere",
    Outcome.NO_ROOT: "it does not name the deposit that it rests on",
    Outcome.NOT_LISTED: "no rule names its asset, chain, bridge or protocol",
}
"""One sentence for each outcome."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """Tokens and their recipes.

    ``kind``, ``asset``, ``chain``, ``protocol``, ``bridge`` are ``(token,)``: a ``TokenKind``, the
    row of the base asset of cash and coins (-1 for the rest), and rows of the lists of names, of
    which 0 is "none". ``recipe_offsets`` ``(token+1,)`` cuts ``recipe_token`` and ``recipe_units``
    ``(part,)``: what one unit of a token stands for. A liquidity token has two parts.
    """

    kind: NDArray[np.int8]
    asset: Rows
    chain: Rows
    protocol: Rows
    bridge: Rows
    recipe_offsets: NDArray[np.int64]
    recipe_token: Rows
    recipe_units: Floats

    def __len__(self) -> int:
        return len(self.kind)

    def parts(self, token: int) -> tuple[Rows, Floats]:
        """Return what one unit of a token stands for: tokens and units, ``(part,)`` each."""
        rows = slice(self.recipe_offsets[token], self.recipe_offsets[token + 1])
        return self.recipe_token[rows], self.recipe_units[rows]

    def __post_init__(self) -> None:
        require_tokens(self)


@dataclass(frozen=True, slots=True)
class TokenNames:
    """Names of the rows that ``Tokens`` point at; the first chain, protocol, bridge is "none"."""

    token: tuple[str, ...]
    asset: tuple[str, ...]
    chain: tuple[str, ...]
    protocol: tuple[str, ...]
    bridge: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Feeds:
    """Two prices of each base asset in the reporting currency, and their age, ``(asset,)``.

    Ages and ``heartbeat``, how often the oracle is due to answer, are in seconds.
    """

    oracle: Floats
    market: Floats
    oracle_age: Floats
    market_age: Floats
    heartbeat: Floats

    def __post_init__(self) -> None:
        for name in ("oracle", "market", "oracle_age", "market_age", "heartbeat"):
            values = getattr(self, name)
            refused = ~((values >= 0.0) & (values < np.inf))
            if refused.any():
                row = int(np.flatnonzero(refused)[0])
                raise ValueError(
                    f"feed {row}: {name} is {values[row]}; allowed is a finite number of 0 up; "
                    "leave assets without a feed out of the dataset"
                )


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Where each chain stood, ``(chain,)``; the first chain is "none".

    ``height`` is the latest block seen, ``safe`` and ``finalised`` are heights too; ``age`` is the
    seconds from the latest block to the dataset's time, ``block_time`` those between two blocks.
    """

    height: NDArray[np.int64]
    safe: NDArray[np.int64]
    finalised: NDArray[np.int64]
    age: Floats
    block_time: Floats


@dataclass(frozen=True, slots=True)
class Claims:
    """Claims in the order of their accounts.

    ``offsets`` ``(account+1,)``, ``root`` and ``proof`` ``(claim, 2)``, the rest ``(claim,)``.
    ``quantity`` and ``encumbered`` are units of the token, 0 or more; in a debt token the quantity
    is what is owed. ``market`` is the lending market or -1, ``backing`` the row in the whole
    dataset of the claim that this one is a receipt for, or -1. An all-zero proof is none.
    """

    offsets: NDArray[np.int64]
    token: Rows
    quantity: Floats
    encumbered: Floats
    market: Rows
    root: NDArray[np.uint64]
    proof: NDArray[np.uint64]
    height: NDArray[np.int64]
    standing: NDArray[np.int8]
    backing: NDArray[np.int64]

    @property
    def accounts(self) -> int:
        """Number of accounts."""
        return len(self.offsets) - 1

    def __len__(self) -> int:
        return len(self.token)


def require_tokens(tokens: Tokens) -> None:
    """Refuse tokens whose recipes do not fit their kinds.

    Raises:
        ValueError: a row, a number of parts or units outside what is allowed.
    """
    parts = np.diff(tokens.recipe_offsets)
    if len(parts) != len(tokens) or tokens.recipe_offsets[0] != 0 or (parts < 0).any():
        raise ValueError(
            f"recipe_offsets {tokens.recipe_offsets[:3].tolist()}... must climb from 0 over "
            f"{len(tokens)} tokens"
        )
    named = len(tokens.recipe_token)
    if tokens.recipe_offsets[-1] != named or len(tokens.recipe_units) != named:
        raise ValueError(f"recipes end at {tokens.recipe_offsets[-1]}, but have {named} parts")
    base = np.isin(tokens.kind, BASE_KINDS)
    wanted = np.where(base, 0, np.where(tokens.kind == TokenKind.LIQUIDITY, 2, 1))
    for wrong, said in (
        ((tokens.kind < 0) | (tokens.kind > max(TokenKind)), "is of no known kind"),
        (parts != wanted, "has the wrong number of parts in its recipe: 0 for cash and coins, 2 "
                          "for liquidity, 1 for the rest"),
        (base != (tokens.asset >= 0), "needs a base asset where it is cash or a coin, and only "
                                      "there"),
    ):  # fmt: skip
        if wrong.any():
            raise ValueError(f"token {int(np.flatnonzero(wrong)[0])} {said}")
    owner = np.repeat(np.arange(len(tokens)), parts)
    beyond = (tokens.recipe_token < 0) | (tokens.recipe_token >= len(tokens))
    if beyond.any():
        row = int(np.flatnonzero(beyond)[0])
        raise ValueError(
            f"token {owner[row]} stands for token {tokens.recipe_token[row]}; allowed are rows "
            f"0 to {len(tokens) - 1}"
        )
    refused = ~((tokens.recipe_units > 0.0) & (tokens.recipe_units < np.inf))
    if refused.any():
        row = int(np.flatnonzero(refused)[0])
        raise ValueError(
            f"token {owner[row]} stands for {tokens.recipe_units[row]} units; allowed is a finite "
            "number above 0"
        )
    on_debt = tokens.kind[tokens.recipe_token] == TokenKind.DEBT
    if on_debt.any():
        row = int(np.flatnonzero(on_debt)[0])
        raise ValueError(
            f"token {owner[row]} stands for debt token {tokens.recipe_token[row]}; what is owed "
            "can be held by nobody, write the debt as a claim of its own"
        )
