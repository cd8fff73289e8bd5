"""The tables of a claims dataset as the arrays that the rules of a pool are computed from."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from risk.claims.tokens import Feeds, Snapshot, TokenKind, TokenNames, Tokens
from storage.claims import NONE, References

Rows = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class PoolReferences:
    """What claims point to: tokens, prices, chains, and the lending markets by name."""

    tokens: Tokens
    names: TokenNames
    feeds: Feeds
    snapshot: Snapshot
    markets: tuple[str, ...]


def references_of(tables: References, as_of: datetime) -> PoolReferences:
    """Return the tables of a claims dataset as arrays; ages are from ``as_of`` back."""
    tokens, feeds, chains = tables.tokens, tables.feeds, tables.chains
    assets = tuple(feeds["asset"].to_pylist())
    names = TokenNames(
        token=tuple(tokens["token"].to_pylist()),
        asset=assets,
        chain=tuple(chains["chain"].to_pylist()),
        protocol=_with_none(
            [*tokens["protocol"].to_pylist(), *tables.markets["protocol"].to_pylist()]
        ),
        bridge=_with_none(tokens["bridge"].to_pylist()),
    )
    parts = np.bincount(tables.recipes["token"].to_numpy(), minlength=len(tokens))
    return PoolReferences(
        tokens=Tokens(
            kind=np.array(
                [TokenKind[kind.upper()] for kind in tokens["kind"].to_pylist()], np.int8
            ),
            asset=_rows(tokens["asset"].to_pylist(), assets),
            chain=_rows(tokens["chain"].to_pylist(), names.chain),
            protocol=_rows(tokens["protocol"].to_pylist(), names.protocol),
            bridge=_rows(tokens["bridge"].to_pylist(), names.bridge),
            recipe_offsets=np.concatenate([[0], np.cumsum(parts)]).astype(np.int64),
            recipe_token=tables.recipes["of"].to_numpy(),
            recipe_units=tables.recipes["units"].to_numpy(),
        ),
        names=names,
        feeds=Feeds(
            oracle=feeds["oracle"].to_numpy(),
            market=feeds["market"].to_numpy(),
            oracle_age=_age(feeds, "oracle_time", as_of),
            market_age=_age(feeds, "market_time", as_of),
            heartbeat=feeds["heartbeat"].to_numpy(),
        ),
        snapshot=Snapshot(
            height=chains["height"].to_numpy(),
            safe=chains["safe"].to_numpy(),
            finalised=chains["finalised"].to_numpy(),
            age=_age(chains, "time", as_of),
            block_time=chains["block_time"].to_numpy(),
        ),
        markets=tuple(
            f"{row['protocol']} {row['market']} on {row['chain']}"
            for row in tables.markets.to_pylist()
        ),
    )


def _with_none(names: Iterable[str]) -> tuple[str, ...]:
    """Return the names once each, that of none first."""
    return (NONE, *sorted(set(names) - {NONE}))


def _rows(names: Iterable[str | None], known: tuple[str, ...]) -> Rows:
    row = {name: at for at, name in enumerate(known)}
    return np.array([-1 if name is None else row[name] for name in names], dtype=np.int32)


def _age(table: pa.Table, column: str, as_of: datetime) -> NDArray[np.float64]:
    then = table[column].to_numpy().astype("datetime64[us]")
    now = np.datetime64(as_of.replace(tzinfo=None), "us")
    return np.asarray((now - then) / np.timedelta64(1, "s"), dtype=np.float64)
