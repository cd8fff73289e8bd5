"""The tables that synthetic claims are written with, and the menu that they are drawn from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
from numpy.typing import NDArray

import storage.samples
from risk.synthetic.claims import ClaimMenu
from risk.synthetic.lending import Lending
from storage import tables
from storage.book import Book
from storage.claims import NONE, References
from storage.market import Market
from workers.claims.lending import STAKING_MARKET, TERMS, LendingMarket, list_markets
from workers.claims.listings import DOLLARS, LENDING, Listing, list_tokens
from workers.listings import RESERVES

FINALITY = "chains_finality.csv"

HEIGHTS = {
    "Arbitrum": 167_600_000,
    "Avalanche": 40_200_000,
    "Base": 9_000_000,
    "Bsc": 35_100_000,
    "Btc": 824_800,
    "Ethereum": 18_962_000,
    "Optimism": 114_600_000,
    "Polygon": 52_100_000,
    "Solana": 240_500_000,
}
"""Heights of the chains of the synthetic claims; choice, about those of January 2024."""

BITCOIN_FINALITY = 6
"""Blocks; choice, for the table of finality has none."""

SAFE = 0.5
"""A block is safe after this part of the way to its finality; choice."""

SKEWED = timedelta(days=1)
"""How much older than the others a skewed claim was read; choice."""

ORACLE_AGE = timedelta(minutes=10)
MARKET_AGE = timedelta(seconds=30)
HEARTBEATS = {"BTC": 3600.0, "ETH": 3600.0, "SOL": 3600.0}
"""Seconds between two answers of an oracle, a day for dollars; choice."""
DAY = 86_400.0

STALE = {"LUSD": timedelta(days=3)}
"""Feeds that have not answered for longer than their heartbeat; choice."""
SPREADS = {"BTC": -4e-4, "ETH": 5e-4, "SOL": -8e-4, "USDC": 1e-4, "USDT": -5e-4, "DAI": 2e-4}
"""How far the price where an asset trades is from its oracle's; choice."""
DEVIATING = {"FRAX": -0.04}
"""The same, for feeds that deviate."""

AT_HOME = 0.55
"""Part of a holding that stays on the chain where the book has it; choice."""

QUANTITY_DIGITS = 8
"""Most decimals of a quantity, for every float of that size holds them."""


@dataclass(frozen=True, slots=True)
class ClaimGround:
    """What synthetic claims of a book are drawn from, and the tables they are written with."""

    menu: ClaimMenu
    references: References


def prepare_claims(book: Book, market: Market) -> ClaimGround:
    """Return what the claims of a book are drawn from.

    Raises:
        ValueError: ``ASOF_MISMATCH`` where book and market are not of one instant,
            ``FUTURE_DATA`` where the lending terms are later, ``UNDERLYING_UNKNOWN`` where the
            market has no price of a coin.
    """
    if book.as_of != market.as_of:
        raise ValueError(
            f"ASOF_MISMATCH: book {book.name} is of {book.as_of.isoformat()}, market "
            f"{market.name} of {market.as_of.isoformat()}; both must be of one instant"
        )
    if book.as_of.date() < RESERVES[1]:
        raise ValueError(
            f"FUTURE_DATA: terms of lending markets are of {RESERVES[1]}, after as_of "
            f"{book.as_of.date()}; generate claims for a later book"
        )
    answers = oracle_answers()
    prices = {"USD": 1.0} | {coin: quote.price for coin, quote in market.index.items()}
    prices |= {asset: answers[asset] for asset in DOLLARS}
    rates = {token: answers[token] / answers["WETH"] for token in ("wstETH", "rETH", "cbETH")}
    rates["sDAI"] = answers["sDAI"] / answers["DAI"]
    listing = list_tokens(prices, rates)
    markets = list_markets(listing)
    underlyings = book.assets()["underlying"].to_pylist()
    for coin in sorted(set(underlyings) - {u for one in listing.tokens for u in one.underlyings}):
        if listing.base(coin, NONE, QUANTITY_DIGITS, coin, 1.0) is None:
            raise ValueError(
                f"UNDERLYING_UNKNOWN: collateral is priced as {coin}, of which the market has no "
                f"index price; it has {sorted(market.index)}"
            )
    order = sorted(range(len(listing.tokens)), key=lambda row: listing.tokens[row].key)
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    markets = sorted(markets, key=lambda one: (one.chain, one.name))
    references = References(
        tokens=_token_table(listing, order),
        recipes=_recipe_table(listing, rank),
        feeds=_feed_table(listing, prices, book.as_of),
        chains=chain_table(book.as_of),
        markets=_market_table(markets),
        market_terms=_terms_table(markets, rank),
    )
    return ClaimGround(_menu(book, listing, order, rank, markets, prices, references), references)


def oracle_answers() -> dict[str, float]:
    """Return the oracle's answers in the lending terms of Ethereum, USD by symbol."""
    rows = pq.read_table(_sample(TERMS)).to_pylist()
    return {
        row["symbol"]: row["oracleLatestAnswer"] / 10.0 ** (row["oracleDecimals"] or 8.0)
        for row in rows
        if row["network"] == "Ethereum"
    }


def chain_table(as_of: datetime) -> pa.Table:
    """Return where each chain stands at an instant: real finality, heights by choice."""
    found = pacsv.read_csv(_sample(FINALITY)).to_pylist()
    rules = {row["chain"]: row for row in found}
    rows = [(NONE, 0, 0, 0, as_of, 0.0)]
    for chain, height in HEIGHTS.items():
        blocks = rules[chain]["finality_blocks"]
        blocks = BITCOIN_FINALITY if blocks is None else blocks
        block_time = rules[chain]["block_time_ms"] / 1e3
        made = as_of - timedelta(seconds=0.5 * block_time)
        rows.append((chain, height, height - int(SAFE * blocks), height - blocks, made, block_time))
    return _table(tables.CHAINS, rows)


def _token_table(listing: Listing, order: Sequence[int]) -> pa.Table:
    tokens = [listing.tokens[row] for row in order]
    return _table(tables.TOKENS, [(*one.key, one.kind, one.asset, one.decimals) for one in tokens])


def _recipe_table(listing: Listing, rank: NDArray[np.int64]) -> pa.Table:
    rows = [
        (int(rank[row]), int(rank[part]), units)
        for row, one in enumerate(listing.tokens)
        for part, units in one.parts
    ]
    return _table(tables.RECIPES, sorted(rows))


def _feed_table(listing: Listing, prices: Mapping[str, float], as_of: datetime) -> pa.Table:
    rows = []
    for asset in sorted({one.asset for one in listing.tokens if one.asset}):
        away = SPREADS.get(asset, 0.0) + DEVIATING.get(asset, 0.0)
        rows.append(
            (
                asset,
                prices[asset],
                prices[asset] * (1.0 + away),
                as_of - ORACLE_AGE - STALE.get(asset, timedelta()),
                as_of - MARKET_AGE,
                HEARTBEATS.get(asset, DAY),
            )
        )
    return _table(tables.FEEDS, rows)


def _market_table(markets: Sequence[LendingMarket]) -> pa.Table:
    return _table(tables.MARKETS, [(LENDING, one.chain, one.name) for one in markets])


def _terms_table(markets: Sequence[LendingMarket], rank: NDArray[np.int64]) -> pa.Table:
    rows = [
        (number, int(rank[one.receipt]), one.loan_to_value, one.threshold, one.bonus)
        for number, market in enumerate(markets)
        for one in market.reserves
    ]
    return _table(tables.MARKET_TERMS, sorted(rows))


def _menu(
    book: Book,
    listing: Listing,
    order: Sequence[int],
    rank: NDArray[np.int64],
    markets: Sequence[LendingMarket],
    prices: Mapping[str, float],
    references: References,
) -> ClaimMenu:
    tokens = [listing.tokens[row] for row in order]
    chains = {row["chain"]: row for row in references.chains.to_pylist()}
    assets = book.assets().to_pylist()
    share = [_shares(one["underlying"], one["chain"], listing, order) for one in assets]
    plain, away = (_row(listing, "USDC", chain) for chain in ("Ethereum", "Arbitrum"))
    return ClaimMenu(
        price=np.array([prices[one["underlying"]] for one in assets]),
        share=np.array(share).reshape(len(assets), len(tokens)),
        value=np.array([one.value for one in tokens]),
        digits=np.array([min(one.decimals, QUANTITY_DIGITS) for one in tokens]),
        height=np.array([chains[one.chain]["finalised"] for one in tokens]),
        anchored=np.array([one.chain != NONE for one in tokens]),
        wraps=np.array([one.kind in ("receipt", "share") for one in tokens]),
        lending=_lending(markets, rank, len(tokens)),
        plain=int(rank[plain]),
        away=int(rank[away]),
        looped=np.flatnonzero([one.token.startswith("ring") for one in tokens]),
        head=chains["Ethereum"]["height"],
        skewed=_too_old(chains["Ethereum"]),
        away_skewed=_too_old(chains["Arbitrum"]),
    )


def _row(listing: Listing, token: str, chain: str) -> int:
    row = listing.find(token, chain)
    assert row is not None, f"{token} on {chain} is always listed"
    return row


def _too_old(chain: Mapping[str, Any]) -> int:
    """Return a block of a chain that is older than the final one by far more than is allowed."""
    return int(chain["finalised"] - SKEWED.total_seconds() / chain["block_time"])


def _shares(
    underlying: str, chain: str, listing: Listing, order: Sequence[int]
) -> NDArray[np.float64]:
    """Return how likely a claim of a holding is on each token, ``(token,)``."""
    tokens = [listing.tokens[row] for row in order]
    held = np.array([one.held * (underlying in one.underlyings) for one in tokens])
    here = held * np.array([one.chain == chain for one in tokens])
    if not here.any():
        return np.asarray(held / held.sum())
    return np.asarray(AT_HOME * here / here.sum() + (1.0 - AT_HOME) * held / held.sum())


def _lending(markets: Sequence[LendingMarket], rank: NDArray[np.int64], tokens: int) -> Lending:
    pledged, borrowed, threshold = (np.zeros((len(markets), tokens)) for _ in range(3))
    for number, market in enumerate(markets):
        for one in market.reserves:
            pledged[number, rank[one.receipt]] = one.pledged
            threshold[number, rank[one.receipt]] = one.threshold
            borrowed[number, rank[one.debt]] = one.borrowed
    return Lending(
        weight=np.array([one.weight for one in markets]),
        looped=np.array([one.name == STAKING_MARKET for one in markets], np.bool_),
        pledged=pledged,
        borrowed=borrowed,
        threshold=threshold,
    )


def _table(declared: tables.Table, rows: Sequence[tuple[object, ...]]) -> pa.Table:
    names = declared.schema.names
    return pa.Table.from_pylist(
        [dict(zip(names, row, strict=True)) for row in rows], schema=declared.schema
    )


def _sample(name: str) -> Path:
    return Path(storage.samples.__file__).parent / name
