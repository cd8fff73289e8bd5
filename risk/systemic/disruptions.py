"""What a scenario breaks beside prices: pegs, bridges, oracles, chains.

A depeg and the failure of a bridge are moves of collateral: what is held in the named assets, on
the named chains or protocols, is worth so much less from the start. An oracle that errs shows a
wrong price for some rounds, in which accounts are found and closed by it; then the right one comes
back. A chain that halts keeps what is on it: accounts with positions there wait to be closed, and
collateral there does not count, for some rounds.
"""

from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from risk.claims.lookthrough import LookThrough, once
from risk.claims.tokens import TokenKind, TokenNames, Tokens
from risk.specification import Specification

Names = Annotated[tuple[str, ...], Field(min_length=1)]
Rounds = Annotated[int, Field(ge=1, le=1000)]


class CollateralMove(Specification):
    """Collateral of some assets, chains and protocols moves by a fraction, -1 if it is lost.

    What is left out is not asked for. Of a bridge that fails, ``move`` is its recovery less one.
    """

    assets: Names | None = None
    chains: Names | None = None
    protocols: Names | None = None
    move: Annotated[float, Field(ge=-1.0, le=0.0)]

    @model_validator(mode="after")
    def _of_something(self) -> "CollateralMove":
        if self.assets is None and self.chains is None and self.protocols is None:
            raise ValueError("a move of collateral names nothing; give assets, chains or protocols")
        return self

    @property
    def words(self) -> str:
        """Say what moves, and by how much."""
        named = (("assets", self.assets), ("chains", self.chains), ("protocols", self.protocols))
        meant = ", ".join(f"{what} {' '.join(names)}" for what, names in named if names is not None)
        return f"collateral ({meant}) moves by {100.0 * self.move:g} %"

    def matches(self, asset: str, chain: str, protocol: str) -> bool:
        """Tell whether an asset is meant.

        >>> CollateralMove(assets=("USDC",), chains=("Solana",), move=-0.1).matches(
        ...     "USDC", "Arbitrum", "none"
        ... )
        False
        """
        asked = ((self.assets, asset), (self.chains, chain), (self.protocols, protocol))
        return all(names is None or name in names for names, name in asked)


class OracleError(Specification):
    """The price that is shown of some coins over the right one, less one, for so many rounds."""

    error: Annotated[dict[str, Annotated[float, Field(gt=-1.0)]], Field(min_length=1)]
    rounds: Rounds

    @property
    def words(self) -> str:
        """Say which prices are wrong, by how much and for how long."""
        off = ", ".join(f"{coin} {100.0 * by:+g} %" for coin, by in self.error.items())
        return f"the oracle shows {off} for {self.rounds} rounds"


class ChainHalt(Specification):
    """Chains that stand still for so many rounds."""

    chains: Names
    rounds: Rounds

    @property
    def words(self) -> str:
        """Say what stands still, and for how long."""
        return f"{', '.join(self.chains)} stands still for {self.rounds} rounds"


def collateral_factors(
    moves: tuple[CollateralMove, ...], assets: list[tuple[str, str, str]]
) -> NDArray[np.float64]:
    """Return what is left of a unit of each asset, chain and protocol, ``(asset,)``.

    Moves of one asset come one after the other.

    Raises:
        ValueError: a move means none of the assets.

    >>> fall = CollateralMove(assets=("USDC",), move=-0.1)
    >>> gone = CollateralMove(chains=("Solana",), move=-0.5)
    >>> known = [("USDC", "Solana", "none"), ("USDC", "none", "none"), ("SOL", "Solana", "none")]
    >>> collateral_factors((fall, gone), known).round(9).tolist()
    [0.45, 0.9, 0.5]
    """
    left = np.ones(len(assets))
    for one in moves:
        meant = np.array([one.matches(*asset) for asset in assets], dtype=np.bool_)
        if not meant.any():
            raise ValueError(
                f"a move of collateral of {one.model_dump(exclude_none=True)} means no asset of "
                f"the book; it has {sorted({asset for asset, _, _ in assets})} on "
                f"{sorted({chain for _, chain, _ in assets})}"
            )
        left[meant] *= 1.0 + one.move
    return left


def token_factors(
    moves: tuple[CollateralMove, ...], tokens: Tokens, names: TokenNames, found: LookThrough
) -> NDArray[np.float64]:
    """Return what each token of claims keeps by itself of what it stands for, ``(token,)``.

    A token is meant by its own chain and protocol, and by its own name or that of the one base
    asset that it comes to. What stands for a token that is meant falls with it and is not meant
    once more. Debts are never meant: what is owed stays.

    Raises:
        ValueError: a move means none of the tokens.
    """
    kept = np.ones(len(tokens))
    base = [
        names.asset[found.asset[start]] if stop == start + 1 else None
        for start, stop in zip(found.offsets[:-1], found.offsets[1:], strict=True)
    ]
    for one in moves:
        meant = np.zeros(len(tokens), dtype=np.bool_)
        for token in np.flatnonzero(tokens.kind != TokenKind.DEBT).tolist():
            lies = names.chain[tokens.chain[token]], names.protocol[tokens.protocol[token]]
            known = {names.token[token], base[token] or names.token[token]}
            meant[token] = any(one.matches(name, *lies) for name in known)
        if not meant.any():
            raise ValueError(
                f"a move of collateral of {one.model_dump(exclude_none=True)} means no token of "
                f"the claims; it has chains {sorted(names.chain)} and protocols "
                f"{sorted(names.protocol)}; name what claims have, or leave the collateral run out"
            )
        kept[once(tokens, found, meant)] *= 1.0 + one.move
    return kept
