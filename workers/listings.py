"""What a synthetic book lists: instruments on invented venues, assets, members."""

from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

import storage.samples
from storage.book import canonical_instruments
from storage.tables import ASSETS, INSTRUMENTS, MEMBERS

# Venues and protocols are invented; chains are real.
INVERSE_VENUE = {"venue": "ORVANE", "protocol": "none", "chain": "none"}
LINEAR_VENUE = {"venue": "TESSARK", "protocol": "none", "chain": "none"}
MIXED_VENUE = {"venue": "BELWICK", "protocol": "none", "chain": "none"}
OPTION_PROTOCOL = {"venue": "QUILLO", "protocol": "quillo"}
OPTION_CHAINS = ("Arbitrum", "Optimism")
SOLANA_PROTOCOL = {"venue": "SANDRIL", "protocol": "sandril", "chain": "Solana"}
ARBITRUM_PROTOCOL = {"venue": "VESPERO", "protocol": "vespero", "chain": "Arbitrum"}

LINEAR_LOT = {"BTC": 1e-4, "ETH": 1e-3, "SOL": 1e-2}
INVERSE_CONTRACT = {"BTC": 10.0, "ETH": 1.0, "SOL": 1.0}
QUANTO = {"ETH": 1e-6, "SOL": 1e-4}
"""BTC paid per USD of price move, for one contract."""

CHAIN_SHARE = {"inverse": 1.0, "linear": 0.3}
"""Open interest in options as a multiple of the real chain's, by settlement; choice."""

PERPETUAL_SHARE = {"ORVANE": 0.8, "TESSARK": 2.0, "BELWICK": 1.2, "SANDRIL": 0.7, "VESPERO": 0.8}
COIN_SHARE = {"BTC": 1.0, "ETH": 0.65, "SOL": 0.3}
SETTLEMENT_SHARE = {"linear": 1.0, "inverse": 0.5, "quanto": 0.1}
"""Relative open interest of perpetuals and spot: the product of the three; choice."""

PROTOCOL_OPTION_EXPIRIES = 3
PROTOCOL_OPTION_DELAY = timedelta(days=3)
"""The options protocol lists the nearest expiries that are further away than the delay."""


def list_instruments(quotes: pa.Table, underlyings: Sequence[str], as_of: datetime) -> pa.Table:
    """Return the instruments of a synthetic book in canonical order.

    Every quoted option as an inverse option; the nearer expiries once more as linear options of
    a protocol; dated futures on the expiries; perpetuals and spot on the coins.
    """
    rows = [*_options(quotes, as_of), *_futures(quotes), *_perpetuals(underlyings)]
    rows += [
        _row(f"{venue['venue']}:{coin}-USD", "spot", "linear", coin, "USD", **venue)
        | {"lot_size": LINEAR_LOT[coin] / 10.0}
        for coin in underlyings
        if coin in LINEAR_LOT
        for venue in (INVERSE_VENUE, LINEAR_VENUE)
    ]
    return canonical_instruments(pa.Table.from_pylist(rows, schema=INSTRUMENTS.schema))


def _row(
    name: str, kind: str, settlement: str, underlying: str, currency: str, **terms: Any
) -> dict[str, Any]:
    return {
        "instrument": name,
        "kind": kind,
        "settlement": settlement,
        "underlying": underlying,
        "settlement_currency": currency,
        "expiry": None,
        "strike": None,
        "option_type": None,
        "multiplier": 1.0,
        "lot_size": 1.0,
    } | terms


def _options(quotes: pa.Table, as_of: datetime) -> Iterable[dict[str, Any]]:
    rows = quotes.to_pylist()
    later = sorted({q["expiry"] for q in rows if q["expiry"] > as_of + PROTOCOL_OPTION_DELAY})
    near = later[:PROTOCOL_OPTION_EXPIRIES]
    for quote in rows:
        coin = quote["underlying"]
        terms = {key: quote[key] for key in ("expiry", "strike", "option_type")}
        name = quote["instrument"]
        yield (
            _row(f"{INVERSE_VENUE['venue']}:{name}", "option", "inverse", coin, coin, **terms)
            | INVERSE_VENUE
        )
        if quote["expiry"] in near:
            chain = OPTION_CHAINS[near.index(quote["expiry"]) % len(OPTION_CHAINS)]
            yield _row(
                f"{OPTION_PROTOCOL['venue']}:{name}", "option", "linear", coin, "USD", **terms
            ) | {**OPTION_PROTOCOL, "chain": chain, "lot_size": 0.01}


def _futures(quotes: pa.Table) -> Iterable[dict[str, Any]]:
    for coin, expiry in sorted({(q["underlying"], q["expiry"]) for q in quotes.to_pylist()}):
        name = f"{coin}-{expiry.day}{expiry:%b%y}".upper()
        yield _row(
            f"{INVERSE_VENUE['venue']}:{name}", "future", "inverse", coin, coin, expiry=expiry
        ) | {**INVERSE_VENUE, "multiplier": INVERSE_CONTRACT.get(coin, 1.0)}
        yield _row(
            f"{LINEAR_VENUE['venue']}:{name}", "future", "linear", coin, "USD", expiry=expiry
        ) | {**LINEAR_VENUE, "lot_size": LINEAR_LOT.get(coin, 1e-3)}


def _perpetuals(underlyings: Sequence[str]) -> Iterable[dict[str, Any]]:
    linear = (LINEAR_VENUE, MIXED_VENUE, SOLANA_PROTOCOL, ARBITRUM_PROTOCOL)
    for coin in (coin for coin in underlyings if coin in LINEAR_LOT):
        for venue in linear:
            name = f"{venue['venue']}:{coin}-PERP"
            yield _row(name, "perpetual", "linear", coin, "USD", **venue) | {
                "lot_size": LINEAR_LOT[coin]
            }
        for venue in (INVERSE_VENUE, MIXED_VENUE):
            name = f"{venue['venue']}:{coin}-PERP-INVERSE"
            yield _row(name, "perpetual", "inverse", coin, coin, **venue) | {
                "multiplier": INVERSE_CONTRACT[coin]
            }
        if coin in QUANTO and "BTC" in underlyings:
            name = f"{MIXED_VENUE['venue']}:{coin}-PERP-QUANTO-BTC"
            yield _row(name, "perpetual", "quanto", coin, "BTC", **MIXED_VENUE) | {
                "multiplier": QUANTO[coin]
            }


# Collateral.

RESERVES = ("aave_v3_reserves_full_2023-10-31.parquet", date(2023, 10, 31))
LENDING = "harrowgate"
"""An invented lending protocol; its haircuts are one less the real liquidation thresholds."""

TOKENS = {
    "WETH": ("ETH", 1.2),
    "WETH.e": ("ETH", 1.2),
    "wstETH": ("ETH", 0.6),
    "rETH": ("ETH", 0.2),
    "cbETH": ("ETH", 0.2),
    "WBTC": ("BTC", 0.8),
    "WBTC.e": ("BTC", 0.4),
    "BTC.b": ("BTC", 0.4),
    "USDC": ("USD", 3.0),
    "USDT": ("USD", 2.0),
    "USDt": ("USD", 2.0),
    "DAI": ("USD", 0.7),
    "DAI.e": ("USD", 0.7),
    "USD": ("USD", 3.0),
    "BTC": ("BTC", 2.0),
    "ETH": ("ETH", 1.5),
    "SOL": ("SOL", 1.0),
}
"""What a token is priced as, and how often it is held where it can be; the second is choice."""

SOL_HAIRCUT = 0.30
"""Choice: the table of reserves has no SOL."""

HOMES = {
    "custody": 0.56,
    "Ethereum": 0.12,
    "Arbitrum": 0.11,
    "Solana": 0.08,
    "Optimism": 0.06,
    "Polygon": 0.04,
    "Avalanche": 0.03,
}
"""Where accounts keep most of their collateral; choice."""


def list_assets(as_of: datetime) -> pa.Table:
    """Return the assets that collateral is held in, with haircuts from real lending parameters.

    Raises:
        ValueError: ``FUTURE_DATA`` where the parameters are later than ``as_of``.
    """
    file, dated = RESERVES
    if as_of.date() < dated:
        raise ValueError(
            f"FUTURE_DATA: collateral parameters are of {dated}, after as_of {as_of.date()}; "
            "generate a book for a later market"
        )
    reserves = pq.read_table(Path(storage.samples.__file__).parent / file).to_pylist()
    haircut: dict[tuple[str, str], float] = {}
    for reserve in reserves:
        usable = reserve["isActive"] and not reserve["isFrozen"] and not reserve["isPaused"]
        if usable and reserve["liquidationThreshold"] > 0 and reserve["symbol"] in TOKENS:
            key = (reserve["symbol"], reserve["network"])
            haircut.setdefault(key, round(1.0 - reserve["liquidationThreshold"] / 1e4, 4))
    rows = [(token, chain, LENDING, cut) for (token, chain), cut in haircut.items()]
    rows += [
        ("USD", "none", "none", 0.0),
        ("BTC", "Btc", "none", haircut["WBTC", "Ethereum"]),
        ("ETH", "Ethereum", "none", haircut["WETH", "Ethereum"]),
        ("USDC", "Ethereum", "none", haircut["USDC", "Ethereum"]),
        ("USDT", "Ethereum", "none", haircut["USDT", "Ethereum"]),
        ("SOL", "Solana", "none", SOL_HAIRCUT),
        ("SOL", "Solana", "sandril", SOL_HAIRCUT),
        ("USDC", "Solana", "sandril", haircut["USDC", "Ethereum"]),
        ("USDC", "Arbitrum", "vespero", haircut["USDC", "Arbitrum"]),
        ("USDC", "Arbitrum", "quillo", haircut["USDC", "Arbitrum"]),
        ("WETH", "Arbitrum", "quillo", haircut["WETH", "Arbitrum"]),
        ("USDC", "Optimism", "quillo", haircut["USDC", "Optimism"]),
        ("WETH", "Optimism", "quillo", haircut["WETH", "Optimism"]),
    ]
    return pa.Table.from_pylist(
        [
            {
                "asset": token,
                "chain": chain,
                "protocol": protocol,
                "underlying": TOKENS[token][0],
                "haircut": cut,
            }
            for token, chain, protocol, cut in sorted(rows)
        ],
        schema=ASSETS.schema,
    )


def asset_shares(assets: pa.Table) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return how likely an account of a home holds each asset, and the shares of the homes.

    Shapes ``(home, asset)`` and ``(home,)``. One holding in five is away from home.
    """
    rows = assets.to_pylist()
    weight = np.array([TOKENS[row["asset"]][1] for row in rows])
    at = ["custody" if row["protocol"] == "none" else row["chain"] for row in rows]
    home = np.array([[place == name for place in at] for name in HOMES])
    here = home * weight
    share = 0.8 * here / here.sum(axis=1, keepdims=True) + 0.2 * weight / weight.sum()
    return share, np.array(list(HOMES.values()))


# Members.

MEMBER_COUNT = 48
FUND_PER_ACCOUNT = 700.0
SMALLEST_FUND = 50_000.0
"""USD; choice: about half a percent of the collateral of the accounts behind a member."""


def list_members(share: NDArray[np.float64], accounts: int) -> pa.Table:
    """Return members whose default fund follows their share of the accounts, ``(member,)``."""
    fund = np.maximum(np.rint(share * accounts * FUND_PER_ACCOUNT / 1e3) * 1e3, SMALLEST_FUND)
    names = [f"CM-{number:02d}" for number in range(1, len(share) + 1)]
    return pa.table({"member": names, "default_fund": fund}).cast(MEMBERS.schema)


def reference_open_interest(instruments: pa.Table, quotes: pa.Table) -> NDArray[np.float64]:
    """Return the real chain's open interest in lots, ``(instrument,)``, zero unless an option."""
    real = dict(
        zip(quotes["instrument"].to_pylist(), quotes["open_interest"].to_pylist(), strict=True)
    )
    share = np.array([CHAIN_SHARE.get(s, 0.0) for s in instruments["settlement"].to_pylist()])
    names = pc.list_element(pc.split_pattern(instruments["instrument"], ":", max_splits=1), 1)
    contracts = np.array([real.get(name, 0.0) for name in names.to_pylist()])
    is_option = pc.equal(instruments["kind"], "option").to_numpy(zero_copy_only=False)
    lots: NDArray[np.float64] = contracts * share * is_option / instruments["lot_size"].to_numpy()
    return lots


def relative_open_interest(instruments: pa.Table) -> NDArray[np.float64]:
    """Return relative notional open interest within a kind, ``(instrument,)``; for non-options."""
    columns = ("venue", "underlying", "settlement")
    shares = (PERPETUAL_SHARE, COIN_SHARE, SETTLEMENT_SHARE)
    result = np.ones(len(instruments))
    for column, share in zip(columns, shares, strict=True):
        result *= [share.get(word, 0.1) for word in instruments[column].to_pylist()]
    return result
