"""The tables of a claims dataset as the arrays that the rules of a pool are computed from."""

import pytest

from risk.claims.tokens import Standing, TokenKind
from storage import tables
from storage.market import sample_market
from workers.claims.generate import generate_claims
from workers.pool.references import references_of


@pytest.fixture(scope="module")
def claims(synthetic_book, tmp_path_factory):
    book = synthetic_book(9_000)
    return generate_claims(tmp_path_factory.mktemp("c") / "claims", book, 6, sample_market())


def test_words_on_disk_are_those_of_the_mathematics():
    assert tuple(kind.name.lower() for kind in TokenKind) == tables.TOKEN_KINDS
    assert tuple(standing.name.lower() for standing in Standing) == tables.STANDINGS


def test_rows_point_at_their_names(claims):
    inputs = references_of(claims.references(), claims.as_of)
    names = inputs.names
    for row, token in enumerate(claims.references().tokens.to_pylist()):
        assert names.token[row] == token["token"]
        assert names.chain[inputs.tokens.chain[row]] == token["chain"]
        assert names.protocol[inputs.tokens.protocol[row]] == token["protocol"]
        assert names.bridge[inputs.tokens.bridge[row]] == token["bridge"]
        asset = inputs.tokens.asset[row]
        assert (names.asset[asset] if asset >= 0 else None) == token["asset"]
    assert names.chain[0] == names.protocol[0] == names.bridge[0] == "none"
