"""The tables that claims point to: tokens and what they stand for, prices, chains, markets."""

from dataclasses import dataclass, fields
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from storage import tables
from storage.claims.layout import CLAIMS, ClaimsRefused
from storage.dataset.rules import conform, every, in_range, numbers, unique
from storage.tables import NONE, Table

NAMED_BY = {
    "bridge": ("BRIDGE_MISSING", ("bridged",)),
    "protocol": ("PROTOCOL_MISSING", ("receipt", "share", "staked", "liquidity")),
}
"""Kinds of tokens that must name a bridge or a protocol, and what it is called if they do not."""

MOST_QUANTITY = 1e18
"""Units of a token in one claim, at most."""

RECIPE_UNITS = 1e-12, 1e12
"""Units that one unit of a token stands for, at least and at most."""

LOOK_THROUGH = 1e-24, 1e24
"""Units of base assets that one unit of a token comes to, at least of each and at most of all."""

DECLARED = {
    "tokens": tables.TOKENS,
    "recipes": tables.RECIPES,
    "feeds": tables.FEEDS,
    "chains": tables.CHAINS,
    "markets": tables.MARKETS,
    "market_terms": tables.MARKET_TERMS,
}
"""Each table of ``References`` by its name."""


@dataclass(frozen=True, slots=True)
class References:
    """Tables that claims and each other's rows point to, in the order that they are kept in."""

    tokens: pa.Table
    recipes: pa.Table
    feeds: pa.Table
    chains: pa.Table
    markets: pa.Table
    market_terms: pa.Table

    def conformed(self) -> "References":
        """Return the tables with exactly the declared columns.

        Raises:
            ClaimsRefused: a column is missing, of another type, or null where it must not be.
        """
        return References(
            **{
                one.name: conform(getattr(self, one.name), DECLARED[one.name], CLAIMS)
                for one in fields(self)
            }
        )

    def check(self, as_of: datetime) -> None:
        """Refuse tables that break a rule that credit depends on.

        Raises:
            ClaimsRefused: the message starts with the code of the fault.
        """
        for one in fields(self):
            _in_order(getattr(self, one.name), DECLARED[one.name])
        _check_tokens(self.tokens, self.feeds, self.chains)
        _check_recipes(self.recipes, self.tokens)
        _check_feeds(self.feeds, as_of)
        _check_chains(self.chains, as_of)
        _check_markets(self)


def _in_order(table: pa.Table, declared: Table) -> None:
    unique(table, declared, CLAIMS)
    if declared is tables.CHAINS and (not len(table) or table["chain"][0].as_py() != NONE):
        raise ClaimsRefused(f"UNKNOWN_CHAIN: the first row of chains must be {NONE!r}")
    expected = table.sort_by([(name, "ascending") for name in declared.key])
    if declared is tables.CHAINS:
        # The name of no chain comes first, so that its row is the same everywhere.
        first = pc.equal(table["chain"], NONE)
        expected = pa.concat_tables(
            [table.filter(first), expected.filter(pc.not_equal(expected["chain"], NONE))]
        )
    keys = list(declared.key)
    if expected.select(keys).combine_chunks() != table.select(keys).combine_chunks():
        raise ClaimsRefused(f"SORT_ORDER: {declared.name} are not sorted by {', '.join(keys)}")


def _check_tokens(tokens: pa.Table, feeds: pa.Table, chains: pa.Table) -> None:
    _one_of(tokens, "kind", tables.TOKEN_KINDS, "ENUM_UNKNOWN")
    _one_of(tokens, "chain", chains["chain"].to_pylist(), "UNKNOWN_CHAIN")
    base = _is_base(tokens)
    priced = pc.is_in(tokens["asset"], value_set=feeds["asset"].combine_chunks())
    _every_row(tokens, pc.or_(priced, pc.invert(base)), "UNKNOWN_FEED", "asset", "one of the feeds")
    bare = pc.or_(pc.is_null(tokens["asset"]), base)
    _every_row(tokens, bare, "TERMS_MISMATCH", "asset", "an asset for cash and coins only")
    for column, (code, kinds) in NAMED_BY.items():
        named = pc.not_equal(tokens[column], NONE)
        bound = pc.is_in(tokens["kind"], value_set=pa.array(kinds))
        _every_row(
            tokens,
            pc.or_(named, pc.invert(bound)),
            code,
            column,
            f"a {column} for {', '.join(kinds)} tokens",
        )
    decimals = numbers(tokens, "decimals")
    allowed = (decimals >= 0) & (decimals <= 36)
    every(allowed, "DECIMALS_MISMATCH", "tokens.decimals", decimals, "0 to 36", CLAIMS)


def _check_recipes(recipes: pa.Table, tokens: pa.Table) -> None:
    size = len(tokens)
    in_range(recipes, "token", size, "recipes", CLAIMS)
    in_range(recipes, "of", size, "recipes", CLAIMS)
    token, of, units = (numbers(recipes, name) for name in ("token", "of", "units"))
    every(token != of, "RECIPE_SELF", "recipes.of", of, "another token", CLAIMS)
    allowed = (units >= RECIPE_UNITS[0]) & (units <= RECIPE_UNITS[1])
    every(allowed, "RECIPE_UNITS", "recipes.units", units, "1e-12 to 1e12", CLAIMS)
    kinds = tokens["kind"].to_pylist()
    owed = np.array([kind == "debt" for kind in kinds], np.bool_)
    every(~owed[of], "RECIPE_DEBT", "recipes.of", of, "a token that is held", CLAIMS)
    needed = np.array([recipe_rows(kind) for kind in kinds], np.int64)
    count = np.bincount(token, minlength=size)
    every(count == needed, "RECIPE_ROWS", "recipes: rows of tokens", count, _ROWS_RULE, CLAIMS)
    within = ~beyond_look_through(size, token, of, units)
    names = np.array(tokens["token"].to_pylist(), object)
    rule = "1e-24 to 1e24 units of base assets for one of a token"
    every(within, "LOOK_THROUGH_RANGE", "tokens.token", names, rule, CLAIMS)


def recipe_rows(kind: str) -> int:
    """Return how many rows the recipe of a token of that kind has.

    >>> [recipe_rows(kind) for kind in ("coin", "receipt", "liquidity")]
    [0, 1, 2]
    """
    return {"cash": 0, "coin": 0, "liquidity": 2}.get(kind, 1)


def beyond_look_through(
    tokens: int, token: NDArray[np.int64], of: NDArray[np.int64], units: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Return which tokens are the first on their way to leave ``LOOK_THROUGH``, ``(token,)``.

    ``token``, ``of`` and ``units`` are ``(part,)``. What rests on such a token, or on a circle, is
    not looked at.

    >>> part, of = np.array([1, 2, 3]), np.array([0, 1, 2])
    >>> beyond_look_through(4, part, of, np.array([1e12, 1e12, 1e12])).tolist()
    [False, False, False, True]
    """
    users: dict[int, list[tuple[int, float]]] = {}
    for outer, inner, each in zip(token.tolist(), of.tolist(), units.tolist(), strict=True):
        users.setdefault(inner, []).append((outer, each))
    missing = np.bincount(token, minlength=tokens).tolist()
    least, most = ([base if count else 1.0 for count in missing] for base in (np.inf, 0.0))
    beyond = np.zeros(tokens, np.bool_)
    settled = [row for row, count in enumerate(missing) if not count]
    for inner in settled:  # grows while it is read
        for outer, each in users.get(inner, ()):
            least[outer] = min(least[outer], each * least[inner])
            most[outer] += each * most[inner]
            missing[outer] -= 1
            if not missing[outer]:
                beyond[outer] = least[outer] < LOOK_THROUGH[0] or most[outer] > LOOK_THROUGH[1]
                settled += [] if beyond[outer] else [outer]
    return beyond


_ROWS_RULE = "none for cash and coins, two for liquidity, one for others"


def _check_feeds(feeds: pa.Table, as_of: datetime) -> None:
    for name in ("oracle", "market", "heartbeat"):
        value = numbers(feeds, name)
        allowed = np.isfinite(value) & (value > 0.0)
        every(allowed, "PRICE_NON_POSITIVE", f"feeds.{name}", value, "> 0", CLAIMS)
    for name in ("oracle_time", "market_time"):
        _not_after(feeds, name, as_of)


def _check_chains(chains: pa.Table, as_of: datetime) -> None:
    height, safe, final = (numbers(chains, name) for name in ("height", "safe", "finalised"))
    allowed = (final >= 0) & (final <= safe) & (safe <= height)
    every(allowed, "CHAIN_HEIGHTS", "chains.height", height, "finalised <= safe <= height", CLAIMS)
    # Blocks that take no time would let what is read at an old one look as if it were new.
    block_time = numbers(chains, "block_time")
    allowed = np.isfinite(block_time) & (block_time > 0.0)
    allowed[0] = block_time[0] == 0.0
    rule = "> 0, and 0 for none"
    every(allowed, "CHAIN_HEIGHTS", "chains.block_time", block_time, rule, CLAIMS)
    _not_after(chains, "time", as_of)


def _check_markets(references: References) -> None:
    markets, terms = references.markets, references.market_terms
    _one_of(markets, "chain", references.chains["chain"].to_pylist(), "UNKNOWN_CHAIN")
    in_range(terms, "market", len(markets), "market_terms", CLAIMS)
    in_range(terms, "token", len(references.tokens), "market_terms", CLAIMS)
    token = numbers(terms, "token")
    held = np.array(pc.not_equal(references.tokens["kind"], "debt"), np.bool_)[token]
    every(held, "MARKET_TERMS", "market_terms.token", token, "a token that is held", CLAIMS)
    ltv, threshold, bonus = (
        numbers(terms, name)
        for name in ("loan_to_value", "liquidation_threshold", "liquidation_bonus")
    )
    allowed = (ltv >= 0.0) & (ltv <= threshold) & (threshold <= 1.0)
    rule = "0 <= loan_to_value <= liquidation_threshold <= 1"
    every(allowed, "MARKET_TERMS", "market_terms.loan_to_value", ltv, rule, CLAIMS)
    allowed = (bonus >= 0.0) & (bonus < 1.0)
    every(allowed, "MARKET_TERMS", "market_terms.liquidation_bonus", bonus, "0 to 1", CLAIMS)


def _is_base(tokens: pa.Table) -> pa.ChunkedArray:
    return pc.is_in(tokens["kind"], value_set=pa.array(["cash", "coin"]))


def _one_of(table: pa.Table, column: str, words: list[str] | tuple[str, ...], code: str) -> None:
    known = pc.is_in(table[column], value_set=pa.array(words, pa.string()))
    _every_row(table, known, code, column, f"one of {', '.join(words)}")


def _not_after(table: pa.Table, column: str, as_of: datetime) -> None:
    known = pc.less_equal(table[column], pa.scalar(as_of, tables.TIMESTAMP))
    _every_row(table, known, "FUTURE_DATA", column, f"not after {as_of.isoformat()}")


def _every_row(
    table: pa.Table, allowed: pa.ChunkedArray, code: str, column: str, rule: str
) -> None:
    row = pc.index(allowed, False).as_py()
    if row >= 0:
        seen = table[column][row].as_py()
        raise ClaimsRefused(f"{code}: {column} {seen!r} in row {row}; allowed is {rule}")
