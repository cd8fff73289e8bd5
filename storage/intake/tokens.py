"""Tokens, recipes, feeds, chains and lending markets from outside: what claims point to."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from storage import tables
from storage.claims.references import (
    NAMED_BY,
    RECIPE_UNITS,
    References,
    beyond_look_through,
    recipe_rows,
)
from storage.intake import checks
from storage.intake.cells import Booleans
from storage.intake.checks import Check, Rows
from storage.intake.quotes import price_checks
from storage.intake.references import (
    PAIRING,
    Lookup,
    decimals_differ,
    find,
    index_of,
    joined,
    refuse_key_spellings,
    rows_of,
)
from storage.tables import NONE

TOKEN_KEY = tables.TOKENS.key
OF_KEY = ("of", "of_chain", "of_protocol", "of_bridge")
MARKET_KEY = tables.MARKETS.key
BACKS_KEY = ("token", "chain", "token_protocol", "token_bridge")
EXACT = 2.0**53
TOLD_SKEW = timedelta(minutes=1)
"""How far apart the instants of two chains may be, or as far as either's block time."""

LARGEST_SKEW = timedelta(hours=1)
"""How far apart they may be at most."""


@dataclass(frozen=True, slots=True)
class TokenRows:
    """The tables that claims point to as they were read; None where there is no file."""

    tokens: Rows
    recipes: Rows | None
    feeds: Rows
    chains: Rows | None
    markets: Rows | None

    def read(self) -> list[Rows]:
        """Return those that were there."""
        every = (self.tokens, self.recipes, self.feeds, self.chains, self.markets)
        return [rows for rows in every if rows is not None]


@dataclass(frozen=True, slots=True)
class TokenIntake:
    """Accepted tables, and the names that claims look up in them."""

    references: References
    tokens: Lookup
    markets: Lookup


def take_tokens(rows: TokenRows, as_of: datetime) -> TokenIntake:
    """Check everything that claims point to, and return what is accepted.

    What points to a row that is set aside is set aside too, however many recipes lie between.
    """
    feeds, feed_names = _take_feeds(rows.feeds, as_of)
    chains, chain_names = _take_chains(rows.chains, as_of)
    _check_tokens(rows.tokens, feed_names, chain_names)
    token, of = _check_recipes(rows.recipes, rows.tokens)
    _set_aside_along_recipes(rows.tokens, rows.recipes, token, of)
    tokens, lookup = _accepted(rows.tokens, tables.TOKENS, TOKEN_KEY)
    recipes = _recipe_table(rows.recipes, lookup, token, of)
    markets, terms, market_lookup = _take_markets(rows.markets, tokens, lookup, chain_names)
    references = References(tokens, recipes, feeds, chains, markets, terms)
    return TokenIntake(references, lookup, market_lookup)


def whole(values: NDArray[np.float64]) -> Booleans:
    """Return which numbers are whole, not negative and exact."""
    with np.errstate(invalid="ignore"):
        return np.asarray((values >= 0.0) & (values < EXACT) & (np.floor(values) == values))


def _late(rows: Rows, column: str, as_of: datetime) -> Check:
    latest = int(pa.scalar(as_of, tables.TIMESTAMP).value)
    return Check(
        "FUTURE_DATA", column, lambda _: rows.instant(column) > latest, severity="quarantine"
    )


def _timeless(column: str) -> Check:
    return Check("FEED_TIME", column, lambda rows: ~rows.has(column))


def _unnamed(column: str) -> Check:
    code, kinds = NAMED_BY[column]
    return Check(code, column, lambda rows: rows.is_in("kind", *kinds) & rows.is_in(column, NONE))


def _take_feeds(rows: Rows, as_of: datetime) -> tuple[pa.Table, Lookup]:
    checks.refuse_spellings(rows, "asset")
    checks.refuse_duplicates(rows, rows.text["asset"], "asset")
    times = ("oracle_time", "market_time")
    checks.apply(
        [
            *price_checks("oracle"),
            *price_checks("market"),
            *(_timeless(name) for name in times),
            *(_late(rows, name, as_of) for name in times),
            Check(
                "NUMBER_INVALID",
                "heartbeat",
                lambda r: ~(r.number("heartbeat") > 0.0),
                allowed="seconds, above 0",
            ),
        ],
        rows,
    )
    return _accepted(rows, tables.FEEDS, ("asset",))


def _take_chains(rows: Rows | None, as_of: datetime) -> tuple[pa.Table, Lookup]:
    nothing = {"chain": NONE, "height": 0, "safe": 0, "finalised": 0, "time": as_of}
    first = pa.Table.from_pylist([nothing | {"block_time": 0.0}], schema=tables.CHAINS.schema)
    none = pa.array([NONE])
    if rows is None:
        return first, Lookup(none, np.zeros(1, np.int32))
    checks.refuse_spellings(rows, "chain")
    checks.refuse_duplicates(rows, rows.text["chain"], "chain")
    height, safe, final = (rows.number(name) for name in ("height", "safe", "finalised"))
    ordered = whole(height) & whole(safe) & whole(final) & (final <= safe) & (safe <= height)
    reserved = "a chain; what is on none has no heights"
    checks.apply(
        [
            Check("CHAIN_HEIGHTS", "chain", lambda r: r.is_in("chain", NONE), allowed=reserved),
            Check("CHAIN_HEIGHTS", "height", lambda _: ~ordered),
            Check(
                "NUMBER_INVALID",
                "block_time",
                lambda r: ~(r.number("block_time") > 0.0),
                allowed="seconds, above 0",
            ),
            _late(rows, "time", as_of),
        ],
        rows,
    )
    _check_skew(rows)
    table, names = _accepted(rows, tables.CHAINS, ("chain",))
    row = np.where(names.row >= 0, names.row + 1, -1).astype(np.int32)
    everything = Lookup(pa.concat_arrays([none, names.names]), np.append(np.int32(0), row))
    return pa.concat_tables([first, table]).combine_chunks(), everything


def _check_skew(rows: Rows) -> None:
    """Tell which chains were read well before the latest one; refuse what lies too far apart."""
    good = rows.good()
    if not len(good):
        return
    seconds = rows.instant("time") / 1e6
    latest = good[np.argmax(seconds[good])]
    behind = seconds[latest] - seconds
    block = rows.number("block_time")
    told = np.maximum(np.maximum(block, block[latest]), TOLD_SKEW.total_seconds())
    ahead = rows.text["chain"][int(latest)]
    seen = pa.array([f"{late:.0f} seconds before {ahead}" for late in behind.tolist()], pa.string())
    skewed = (behind > told) & ~rows.bad
    too_far = skewed & (behind > LARGEST_SKEW.total_seconds())
    rows.flag("SNAPSHOT_SKEW", "time", skewed & ~too_far, values=seen)
    limit = f"at most {LARGEST_SKEW} apart"
    rows.flag("SNAPSHOT_SKEW", "time", too_far, values=seen, severity="refuse", allowed=limit)


def _check_tokens(rows: Rows, feeds: Lookup, chains: Lookup) -> None:
    keys = joined(rows, TOKEN_KEY)
    checks.refuse_duplicates(rows, keys, "token")
    find(rows, "chain", rows.text["chain"], chains, "UNKNOWN_CHAIN", ("chain",))
    refuse_key_spellings(rows, keys, "token")
    base = rows.is_in("kind", "cash", "coin")
    named = rows.has("asset")
    decimals = rows.number("decimals")
    out_of_range = ~(whole(decimals) & (decimals <= 36.0))
    checks.apply(
        [
            Check(
                "TERMS_MISMATCH",
                "asset",
                lambda _: named & ~base & rows.has("kind"),
                allowed="an asset for cash and coins only",
                action="leave the asset empty; the recipe says what the token stands for",
            ),
            Check("UNKNOWN_FEED", "asset", lambda _: base & ~named),
            *(_unnamed(column) for column in NAMED_BY),
            Check(
                "DECIMALS_MISMATCH",
                "decimals",
                lambda _: out_of_range,
                allowed="0 to 36",
                severity="quarantine",
            ),
            Check(
                "DECIMALS_MISMATCH",
                "decimals",
                lambda rows: decimals_differ(rows, "token"),
                severity="quarantine",
            ),
        ],
        rows,
    )
    asset = index_of(rows.text["asset"], feeds.names)
    known = np.append(feeds.row, np.int32(-1))[asset]
    rows.flag("REFERENCE_QUARANTINED", "asset", base & (asset >= 0) & (known < 0) & ~rows.bad)
    rows.flag("UNKNOWN_FEED", "asset", base & (asset < 0) & ~rows.bad)


def _check_recipes(rows: Rows | None, tokens: Rows) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return which rows of the file of tokens each recipe row joins, -1 where there is none."""
    if rows is None:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    known = joined(tokens, TOKEN_KEY)
    keys, others = joined(rows, TOKEN_KEY), joined(rows, OF_KEY)
    token, of = index_of(keys, known), index_of(others, known)
    rows.flag("UNKNOWN_TOKEN", "token", (token < 0) & ~rows.bad)
    rows.flag("UNKNOWN_TOKEN", "of", (of < 0) & ~rows.bad)
    checks.refuse_duplicates(rows, pc.binary_join_element_wise(keys, others, PAIRING), "of")
    units = rows.number("units")
    low, high = RECIPE_UNITS
    debt = np.append(tokens.is_in("kind", "debt"), False)
    checks.apply(
        [
            Check("RECIPE_SELF", "of", lambda _: (token == of) & (token >= 0)),
            Check("RECIPE_UNITS", "units", lambda _: ~((units >= low) & (units <= high))),
            Check("RECIPE_DEBT", "of", lambda _: debt[of]),
        ],
        rows,
    )
    return token, of


def _set_aside_along_recipes(
    tokens: Rows, recipes: Rows | None, token: NDArray[np.int64], of: NDArray[np.int64]
) -> None:
    """Set aside tokens whose recipe is missing or bad, and all that stands for them."""
    sound = np.zeros(0, np.bool_) if recipes is None else ~recipes.bad
    count = np.bincount(token[sound], minlength=len(tokens))
    needed = np.array([recipe_rows(kind) for kind in tokens.text["kind"].to_pylist()], np.int64)
    broken = np.zeros(len(tokens), np.bool_)
    broken[token[~sound & (token >= 0)]] = True
    tokens.flag("REFERENCE_QUARANTINED", "token", broken & ~tokens.bad)
    missing = (count == 0) & (needed > 0) & ~tokens.bad
    tokens.flag("WRAPPER_UNKNOWN", "token", missing)
    tokens.flag("RECIPE_ROWS", "token", (count != needed) & ~tokens.bad)
    if recipes is None:
        return
    stands_for = defaultdict(list)
    for outer, inner in zip(token[sound].tolist(), of[sound].tolist(), strict=True):
        stands_for[inner].append(outer)
    beyond = beyond_look_through(
        len(tokens), token[sound], of[sound], recipes.number("units")[sound]
    )
    tokens.flag("LOOK_THROUGH_RANGE", "token", beyond & ~tokens.bad)
    aside = _reached(np.flatnonzero(tokens.bad).tolist(), stands_for, np.ones(len(tokens), int))
    tokens.flag("REFERENCE_QUARANTINED", "token", aside & ~tokens.bad)
    # A circle of what is held counts for nothing; nobody knows what a circle of debts costs.
    ends = _reached(np.flatnonzero(needed == 0).tolist(), stands_for, needed)
    tokens.flag("RECIPE_DEBT", "token", tokens.is_in("kind", "debt") & ~ends & ~tokens.bad)
    gone = np.append(tokens.bad, False)
    recipes.flag("REFERENCE_QUARANTINED", "token", (gone[token] | gone[of]) & ~recipes.bad)


def _reached(
    start: list[int], stands_for: Mapping[int, list[int]], needed: NDArray[np.int64]
) -> Booleans:
    """Return the tokens where one starts, and those of which ``needed`` parts are reached."""
    found = np.zeros(len(needed), np.bool_)
    found[start] = True
    missing = needed.tolist()
    left = list(start)
    while left:
        for outer in stands_for.get(left.pop(), ()):
            missing[outer] -= 1
            if missing[outer] == 0 and not found[outer]:
                found[outer] = True
                left.append(outer)
    return found


def _recipe_table(
    rows: Rows | None, tokens: Lookup, token: NDArray[np.int64], of: NDArray[np.int64]
) -> pa.Table:
    if rows is None:
        return tables.RECIPES.schema.empty_table()
    good = rows.good()
    columns = [tokens.row[token[good]], tokens.row[of[good]], rows.number("units")[good]]
    table = pa.table([pa.array(column) for column in columns], schema=tables.RECIPES.schema)
    return table.sort_by([("token", "ascending"), ("of", "ascending")]).combine_chunks()


def _take_markets(
    rows: Rows | None, listed: pa.Table, tokens: Lookup, chains: Lookup
) -> tuple[pa.Table, pa.Table, Lookup]:
    """Return the markets, the terms of the tokens that back debts there, and their names."""
    if rows is None:
        empty = tables.MARKETS.schema.empty_table(), tables.MARKET_TERMS.schema.empty_table()
        return *empty, Lookup(pa.array([], pa.string()), np.zeros(0, np.int32))
    find(rows, "chain", rows.text["chain"], chains, "UNKNOWN_CHAIN", ("chain",))
    backs = find(rows, "token", joined(rows, BACKS_KEY), tokens, "UNKNOWN_TOKEN", BACKS_KEY)
    owed = np.append(np.array(pc.equal(listed["kind"], "debt"), np.bool_), False)
    keys = joined(rows, MARKET_KEY)
    refuse_key_spellings(rows, keys, "market")
    both = pc.binary_join_element_wise(keys, joined(rows, BACKS_KEY), PAIRING)
    checks.refuse_duplicates(rows, both, "token")
    ltv, threshold, bonus = (
        rows.number(name)
        for name in ("loan_to_value", "liquidation_threshold", "liquidation_bonus")
    )
    ordered = (ltv >= 0.0) & (ltv <= threshold) & (threshold <= 1.0)
    checks.apply(
        [
            Check(
                "MARKET_TERMS",
                "token",
                lambda _: owed[backs],
                allowed="a token that is held; debts are what it backs",
            ),
            Check("MARKET_TERMS", "loan_to_value", lambda _: ~ordered),
            Check("MARKET_TERMS", "liquidation_bonus", lambda _: ~((bonus >= 0.0) & (bonus < 1.0))),
        ],
        rows,
    )
    good = pa.array(rows.good())
    names = pa.table([rows.text[name].take(good) for name in MARKET_KEY], names=MARKET_KEY)
    markets = names.group_by(list(MARKET_KEY)).aggregate([]).select(list(MARKET_KEY))
    markets = markets.sort_by([(name, "ascending") for name in MARKET_KEY])
    markets = markets.cast(tables.MARKETS.schema).combine_chunks()
    accepted = pc.binary_join_element_wise(
        *(markets[name].combine_chunks() for name in MARKET_KEY), PAIRING
    )
    distinct = pc.unique(keys)
    lookup = Lookup(distinct, rows_of(distinct, accepted, np.zeros(len(distinct), np.bool_)))
    market = index_of(keys.take(good), accepted).astype(np.int32)
    columns = [market, *(values[rows.good()] for values in (backs, ltv, threshold, bonus))]
    terms = pa.table([pa.array(column) for column in columns], schema=tables.MARKET_TERMS.schema)
    order = [("market", "ascending"), ("token", "ascending")]
    return markets, terms.sort_by(order).combine_chunks(), lookup


def _accepted(rows: Rows, declared: tables.Table, key: tuple[str, ...]) -> tuple[pa.Table, Lookup]:
    """Return the accepted rows as a declared table in order of their key, and their names."""
    good = pa.array(rows.good())
    columns = []
    for column in declared.columns:
        if column.name in rows.instants:
            values = pa.array(rows.instant(column.name)).cast(column.type)
        elif column.name in rows.numbers:
            values = pa.array(rows.number(column.name))
        else:
            values = rows.text[column.name]
        values = values.take(good)
        if column.nullable:
            values = pc.if_else(pc.equal(values, ""), None, values)
        columns.append(values.cast(column.type))
    table = pa.table(columns, schema=declared.schema)
    table = table.sort_by([(name, "ascending") for name in key]).combine_chunks()
    names = joined(rows, key)
    kept = pc.binary_join_element_wise(*(table[name].combine_chunks() for name in key), PAIRING)
    return table, Lookup(names, rows_of(names, kept, rows.bad))
