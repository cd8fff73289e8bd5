"""Tokens written down by hand, and at random, for the tests of claims."""

from collections.abc import Sequence

import numpy as np
from hypothesis import strategies as st

from risk.claims.tokens import TokenKind, TokenNames, Tokens

Recipe = Sequence[tuple[str, float]]


class Made:
    """A list of tokens that grows; everything is named, rows are found by name."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, TokenKind, str, str, str, str, Recipe]] = []

    def add(
        self,
        name: str,
        kind: TokenKind,
        recipe: Recipe = (),
        *,
        asset: str = "",
        chain: str = "Ethereum",
        protocol: str = "none",
        bridge: str = "none",
    ) -> "Made":
        self.rows.append((name, kind, asset, chain, protocol, bridge, recipe))
        return self

    def coin(self, name: str, chain: str = "Ethereum") -> "Made":
        return self.add(name, TokenKind.COIN, asset=name, chain=chain)

    def cash(self, name: str = "USD") -> "Made":
        return self.add(name, TokenKind.CASH, asset=name, chain="none")

    def build(self) -> tuple[Tokens, TokenNames]:
        names = [row[0] for row in self.rows]

        def listed(column: int, first: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(
                dict.fromkeys((*first, *(row[column] for row in self.rows if row[column])))
            )

        assets, chains = listed(2, ()), listed(3, ("none",))
        protocols, bridges = listed(4, ("none",)), listed(5, ("none",))
        parts = [part for row in self.rows for part in row[6]]
        tokens = Tokens(
            kind=np.array([row[1] for row in self.rows], dtype=np.int8),
            asset=np.array([assets.index(r[2]) if r[2] else -1 for r in self.rows], np.int32),
            chain=np.array([chains.index(row[3]) for row in self.rows], dtype=np.int32),
            protocol=np.array([protocols.index(row[4]) for row in self.rows], dtype=np.int32),
            bridge=np.array([bridges.index(row[5]) for row in self.rows], dtype=np.int32),
            recipe_offsets=np.cumsum([0, *(len(row[6]) for row in self.rows)]).astype(np.int64),
            recipe_token=np.array([names.index(of) for of, _ in parts], dtype=np.int32),
            recipe_units=np.array([units for _, units in parts], dtype=np.float64),
        )
        return tokens, TokenNames(tuple(names), assets, chains, protocols, bridges)


WRAPPERS = (
    TokenKind.RECEIPT,
    TokenKind.SHARE,
    TokenKind.STAKED,
    TokenKind.WRAPPED,
    TokenKind.BRIDGED,
)


@st.composite
def random_tokens(draw: st.DrawFn, circular: bool = False) -> Tokens:
    """Draw up to a dozen tokens; recipes point backwards, anywhere where they may be circular."""
    bases = draw(st.integers(1, 4))
    others = draw(st.integers(0, 8))
    made = Made()
    for base in range(bases):
        made.coin(f"c{base}")
    names = [f"c{base}" for base in range(bases)] + [f"t{other}" for other in range(others)]
    units = st.sampled_from([0.25, 0.5, 1.0, 1.25, 2.0, 3.0])
    for other in range(others):
        below = names if circular else names[: bases + other]
        kind = draw(st.sampled_from((*WRAPPERS, TokenKind.LIQUIDITY)))
        parts = 2 if kind == TokenKind.LIQUIDITY else 1
        recipe = [(draw(st.sampled_from(below)), draw(units)) for _ in range(parts)]
        made.add(f"t{other}", kind, recipe)
    return made.build()[0]
