"""Lending markets of the synthetic claims: real terms and indices, an invented protocol."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

import storage.samples
from workers.claims.listings import LENDING, VAULTS, Listing

TERMS = "aave_v3_reserves_full_2023-10-31.parquet"
INDICES = "aave_v3_reserves_2026-08-22.parquet"
"""The indices are later than the terms; they are taken for their size, not for their date."""

CHAINS = {"Ethereum": 0.4, "Arbitrum": 0.2, "Optimism": 0.12, "Polygon": 0.14, "Avalanche": 0.1}
"""Chains with a market and how often accounts choose it; choice."""

STAKING_MARKET = "staking"
STAKING_TERMS = (0.90, 0.93, 0.01)
"""Loan to value, threshold and bonus of the market for staking with borrowed coins: those of Aave
v3's category of assets correlated with ETH on 2023-10-31."""
STAKING_WEIGHT = 0.04

PLEDGED = {
    "WETH": 1.2, "WETH.e": 1.2, "wstETH": 0.8, "rETH": 0.2, "cbETH": 0.2, "WBTC": 0.8,
    "WBTC.e": 0.3, "BTC.b": 0.4, "USDC": 0.8, "USDT": 0.4, "USDt": 0.4, "DAI": 0.3, "DAI.e": 0.3,
}  # fmt: skip
BORROWED = {
    "USDC": 2.0, "USDT": 1.2, "USDt": 1.2, "DAI": 0.6, "DAI.e": 0.6, "WETH": 0.8, "WETH.e": 0.5,
    "WBTC": 0.2,
}  # fmt: skip
"""How often a token is pledged or borrowed where it can be; choice."""


@dataclass(frozen=True, slots=True)
class Reserve:
    """A token of a lending market: its receipt and debt, rows of the listing, and its terms."""

    receipt: int
    debt: int
    loan_to_value: float
    threshold: float
    bonus: float
    pledged: float
    borrowed: float


@dataclass(frozen=True, slots=True)
class LendingMarket:
    """One market with its reserves and how often accounts choose it."""

    chain: str
    name: str
    weight: float
    reserves: tuple[Reserve, ...]


def list_markets(listing: Listing) -> list[LendingMarket]:
    """List the receipts and debts of every market, and return the markets."""
    indices = {
        (row["network"], row["symbol"]): (row["liquidity_index"], row["variable_borrow_index"])
        for row in _sample(INDICES)
    }
    markets = []
    for chain, weight in CHAINS.items():
        reserves = []
        for terms in _usable(chain):
            symbol = terms["symbol"]
            index = indices.get((chain.lower(), symbol), (1.0, 1.0))
            rows = _receipt_and_debt(listing, symbol, chain, index)
            if rows is None:
                continue
            reserves.append(
                Reserve(
                    *rows,
                    loan_to_value=terms["ltv"] / 1e4,
                    threshold=terms["liquidationThreshold"] / 1e4,
                    bonus=round(terms["liquidationBonus"] / 1e4 - 1.0, 4),
                    pledged=PLEDGED[symbol],
                    borrowed=BORROWED.get(symbol, 0.0) * terms["borrowingEnabled"],
                )
            )
        if any(reserve.borrowed for reserve in reserves):
            markets.append(LendingMarket(chain, "main", weight, tuple(reserves)))
    staking = _staking(listing)
    return [*markets, staking] if staking else markets


def _usable(chain: str) -> Iterator[dict[str, Any]]:
    """Yield the terms of the reserves of a chain that back debts, one for each symbol."""
    seen = set()
    for row in _sample(TERMS):
        usable = row["isActive"] and not row["isFrozen"] and not row["isPaused"]
        known = row["network"] == chain and row["symbol"] in PLEDGED and row["symbol"] not in seen
        if usable and known and row["liquidationThreshold"] > 0:
            seen.add(row["symbol"])
            yield row


def _receipt_and_debt(
    listing: Listing, symbol: str, chain: str, index: tuple[float, float], prefix: str = ""
) -> tuple[int, int] | None:
    """List a receipt and a debt of a token: its scaled balances, times an index each."""
    row = listing.find(symbol, chain)
    supplied, owed = index
    receipt = listing.of(f"h{prefix}{symbol}", "receipt", row, supplied, protocol=LENDING)
    debt = listing.of(f"debt{prefix}{symbol}", "debt", row, owed, protocol=LENDING)
    if receipt is None or debt is None:
        return None
    if symbol == "USDC" and chain == "Ethereum" and not prefix:
        # A vault of receipts: three recipes down to the coin.
        listing.of("tvhUSDC", "share", receipt, 1.02, protocol=VAULTS, held=0.3)
    return receipt, debt


def _staking(listing: Listing) -> LendingMarket | None:
    chain, reserves = "Ethereum", []
    for symbol, pledged, borrowed in (("wstETH", 1.0, 0.0), ("WETH", 0.0, 1.0)):
        rows = _receipt_and_debt(listing, symbol, chain, (1.0, 1.02), "s")
        if rows is None:
            return None
        reserves.append(Reserve(*rows, *STAKING_TERMS, pledged, borrowed))
    return LendingMarket(chain, STAKING_MARKET, STAKING_WEIGHT, tuple(reserves))


def _sample(name: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(
        Path(storage.samples.__file__).parent / name
    ).to_pylist()
    return rows
