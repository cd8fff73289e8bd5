"""A few claims on a few tokens, small enough to be read."""

from datetime import timedelta

import numpy as np
import pyarrow as pa

from storage import tables
from storage.claims import References

NO_PROOF = bytes(16)


def small_references(as_of):
    """Six tokens: USD, ETH on its chain, its wrapped and lent forms, a bridged one, a debt."""

    def table(declared, *rows):
        return pa.Table.from_pylist(
            [dict(zip(declared.schema.names, row, strict=True)) for row in rows],
            schema=declared.schema,
        )

    now = as_of - timedelta(seconds=12)
    return References(
        tokens=table(
            tables.TOKENS,
            ("ETH", "Ethereum", "none", "none", "coin", "ETH", 18),
            ("USD", "none", "none", "none", "cash", "USD", 2),
            ("WETH", "Arbitrum", "none", "keelway", "bridged", None, 18),
            ("WETH", "Ethereum", "none", "none", "wrapped", None, 18),
            ("debtWETH", "Ethereum", "harrowgate", "none", "debt", None, 18),
            ("hWETH", "Ethereum", "harrowgate", "none", "receipt", None, 18),
        ),
        recipes=table(tables.RECIPES, (2, 0, 1.0), (3, 0, 1.0), (4, 3, 1.07), (5, 3, 1.05)),
        feeds=table(
            tables.FEEDS,
            ("ETH", 2222.19, 2221.0, now, now, 3600.0),
            ("USD", 1.0, 1.0, now, now, 86400.0),
        ),
        chains=table(
            tables.CHAINS,
            ("none", 0, 0, 0, as_of, 0.0),
            ("Arbitrum", 167_000_000, 166_999_000, 166_995_904, now, 0.26),
            ("Ethereum", 18_962_000, 18_961_968, 18_961_928, now, 12.0),
        ),
        markets=table(tables.MARKETS, ("harrowgate", "Ethereum", "main")),
        market_terms=table(tables.MARKET_TERMS, (0, 5, 0.8, 0.83, 0.05)),
    )


def root(number):
    """Sixteen bytes that name a deposit."""
    return (number + 1).to_bytes(16, "big")


def claim_table(accounts, *, first=0):
    """One to three claims of each account, of every kind that there is."""
    rows = []
    for account in range(first, first + accounts):
        here = [(1, -1)] if account % 3 == 0 else [(0, -1), (2, -1)]
        if account % 4 == 0:
            here += [(4, 0), (5, 0)]
        for place, (token, market) in enumerate(here):
            chain = token != 1
            rows.append(
                {
                    "account": account,
                    "token": token,
                    "quantity": 1.0 + account % 7 + place,
                    "encumbered": 0.5 * (account % 2),
                    "market": market,
                    "root": root(8 * account + place),
                    "proof": root(8 * account + place) if chain else NO_PROOF,
                    "height": {1: 0, 2: 166_995_904}.get(token, 18_961_928),
                    "standing": 0 if chain else 1,
                    "backing": -1,
                }
            )
    return pa.Table.from_pylist(rows, schema=tables.CLAIMS.schema)


def write(path, book, *, cut=None, planted=None, **changed):
    """Claims of a book in batches of ``cut`` accounts; columns may be changed by row."""
    from storage.claims import ClaimsWriter

    table = claim_table(book.accounts)
    for name, values in changed.items():
        column = table[name].to_pylist()
        for row, value in values.items():
            column[row] = value
        position = table.schema.get_field_index(name)
        cells = pa.array(column, table.schema.field(name).type)
        table = table.set_column(position, table.schema.field(name), cells)
    owner = table["account"].to_numpy()
    cut = cut or book.accounts
    with ClaimsWriter(path, path.name, book, small_references(book.as_of)) as writer:
        for start in range(0, book.accounts, cut):
            stop = min(start + cut, book.accounts)
            low, high = np.searchsorted(owner, [start, stop]).tolist()
            writer.append(stop - start, table.slice(low, high - low))
        return writer.close({"made": "by hand"}, planted=planted)
