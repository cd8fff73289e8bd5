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


class ChainHalt(Specification):
    """Chains that stand still for so many rounds."""

    chains: Names
    rounds: Rounds


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
