"""Rules of a small pool, and prices to go with them, for the tests of claims."""

from typing import Any

import numpy as np

from risk.claims.lookthrough import look_through
from risk.claims.rules import PoolRules
from risk.claims.scenarios import Moves, scenario_moves
from risk.claims.tokens import Feeds, Snapshot, TokenNames, Tokens

SOURCE = "made for a test"


def rules_of(**changes: Any) -> PoolRules:
    """Rules in which ETH keeps 0.8, BTC 0.75 and USDC 0.9 of their value, and USD all."""
    document: dict[str, Any] = {
        "name": "small",
        "version": "1",
        "effective": "2026-01-01",
        "title": "a small pool",
        "sources": [SOURCE],
        "policy": {
            "origins": ["grid"],
            "double_count": "none",
            "skew_seconds": 60.0,
            "target_health": 1.0,
        },
        "finality": {"unsafe": 0.0, "safe": 0.5, "finalised": 1.0},
        "feeds": {"heartbeats": 1.0, "market_seconds": 60.0, "deviation": 0.05},
        "assets": [
            {"assets": [asset], "follows": follows, "tiers": [{"haircut": haircut}]}
            for asset, follows, haircut in (
                ("USD", "cash", 0.0),
                ("ETH", "ETH", 0.2),
                ("BTC", "BTC", 0.25),
                ("USDC", "cash", 0.1),
            )
        ],
        "chains": [
            {"chain": chain, "finality_blocks": 10} for chain in ("Ethereum", "Arbitrum", "Btc")
        ],
        "bridges": [bridge("span"), bridge("toll")],
        "protocols": [{"protocols": ["lend", "stake"], "haircut": 0.0}],
    }
    document |= changes
    for name in ("policy", "finality", "feeds"):
        document[name] = {"source": SOURCE} | document[name]
    for name in ("assets", "tokens", "chains", "bridges", "protocols", "scenarios", "standings"):
        document[name] = [{"source": SOURCE} | one for one in document.get(name, [])]
    return PoolRules.model_validate(document)


def bridge(name: str, **changes: Any) -> dict[str, Any]:
    return {
        "bridges": [name],
        "verification": "native",
        "haircut": 0.0,
        "cap": 1e15,
        "asset_cap": 1e15,
    } | changes


def scenario(name: str = "failure", **what: Any) -> dict[str, Any]:
    return {"name": name, "title": name, "weight": 1.0} | what


PRICES = {"USD": 1.0, "ETH": 2_000.0, "BTC": 40_000.0, "USDC": 1.0}


def feeds_of(names: TokenNames, **changes: dict[str, float]) -> Feeds:
    """Fresh feeds at ``PRICES``, both prices alike, but for what is changed by asset."""
    columns = {
        "oracle": PRICES,
        "market": PRICES,
        "oracle_age": {},
        "market_age": {},
        "heartbeat": {},
    }
    usual = {"oracle_age": 10.0, "market_age": 10.0, "heartbeat": 60.0}
    return Feeds(
        **{
            column: np.array(
                [
                    changes.get(column, {}).get(asset, by_asset.get(asset, usual.get(column, 1.0)))
                    for asset in names.asset
                ]
            )
            for column, by_asset in columns.items()
        }
    )


def snapshot_of(names: TokenNames, height: int = 100) -> Snapshot:
    """All chains at one height, 20 blocks of 2 seconds before it final, 10 safe."""
    size = len(names.chain)
    return Snapshot(
        height=np.full(size, height),
        safe=np.full(size, height - 10),
        finalised=np.full(size, height - 20),
        age=np.zeros(size),
        block_time=np.full(size, 2.0),
    )


def moves_of(tokens: Tokens, names: TokenNames, rules: PoolRules, **price: list[float]) -> Moves:
    """Moves of the market by coin, one list for each, and those of the rules after them."""
    coins = ["BTC", "ETH"]
    count = max((len(moves) for moves in price.values()), default=0)
    table = np.array([price.get(coin, [0.0] * count) for coin in coins]).T.reshape(count, 2)
    market = [f"market-{number}" for number in range(count)]
    return scenario_moves(
        tokens, names, look_through(tokens), rules, market, coins, table, np.ones(count)
    )
