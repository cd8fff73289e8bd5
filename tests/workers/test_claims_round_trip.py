"""Generated claims, written to files as others would, come in again as the very same bytes."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from storage import tables
from storage.claims import Claims
from storage.intake.claims import import_claims
from storage.market import sample_market
from workers.claims.generate import generate_claims

TOKEN_KEY = tables.TOKENS.key


@pytest.fixture(scope="module")
def book(synthetic_book):
    return synthetic_book(5_000)


@pytest.fixture(scope="module")
def claims(book, tmp_path_factory):
    return generate_claims(tmp_path_factory.mktemp("c") / "claims", book, 2, sample_market())


def named(table, rows, columns, prefix=""):
    """Columns of the rows that other rows point to."""
    return {
        (prefix + name if name != "token" or not prefix else prefix.removesuffix("_")): table[
            name
        ].take(rows)
        for name in columns
    }


def identities(words):
    texts = pa.array([words[row].tobytes().hex() for row in range(len(words))])
    return pc.if_else(pc.equal(texts, "0" * 32), "", texts)


def write_files(folder, claims, book):
    folder.mkdir()
    references = claims.references()
    tokens, recipes, markets = references.tokens, references.recipes, references.markets
    terms = references.market_terms
    held = claims.claim_slice(0, claims.accounts)
    names = book.account_table(0, book.accounts, ["account"])["account"].combine_chunks()
    market = pa.array(held.market, mask=held.market < 0)
    claim = pa.array([f"c{row}" for row in range(claims.claims)])
    files = {
        "tokens": tokens,
        "recipes": pa.table(
            named(tokens, recipes["token"], TOKEN_KEY)
            | named(tokens, recipes["of"], TOKEN_KEY, "of_")
            | {"units": recipes["units"]}
        ),
        "feeds": references.feeds,
        "chains": references.chains.slice(1),
        "markets": pa.table(
            named(markets, terms["market"], tables.MARKETS.key)
            | {"token": tokens["token"].take(terms["token"])}
            | {
                f"token_{name}": tokens[name].take(terms["token"])
                for name in ("protocol", "bridge")
            }
            | {name: terms[name] for name in terms.column_names[2:]}
        ),
        "claims": pa.table(
            {"account": names.take(pa.array(claims.columns(["account"])["account"]))}
            | named(tokens, pa.array(held.token), TOKEN_KEY)
            | {
                "quantity": [
                    np.format_float_positional(value, trim="0") for value in held.quantity
                ],
                "encumbered": held.encumbered,
                "market": markets["market"].take(market),
                "market_protocol": markets["protocol"].take(market),
                "root": identities(held.root),
                "proof": identities(held.proof),
                "height": held.height,
                "standing": pa.array(tables.STANDINGS).take(pa.array(held.standing)),
                "claim": claim,
                "backing": claim.take(pa.array(held.backing, mask=held.backing < 0)),
            }
        ),
    }
    for name, table in files.items():
        # Decimals are 16 bits wide in a dataset, which files from outside may not be.
        narrow = "decimals" in table.column_names
        table = table.set_column(6, "decimals", table[6].cast(pa.int64())) if narrow else table
        pq.write_table(table, folder / f"{name}.parquet")
    return folder


def test_what_goes_out_comes_in_again(claims, book, tmp_path):
    folder = write_files(tmp_path / "files", claims, book)
    report = import_claims(book, folder, tmp_path / "back")
    assert dict(report.counts) == {}
    back = Claims.open(report.path)
    assert back.manifest["parts"] == claims.manifest["parts"]
    assert back.manifest["files"] == claims.manifest["files"]
