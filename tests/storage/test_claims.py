"""Claims on disk: what was written comes back, whole or not at all."""

import pickle
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from storage.claims import (
    Claims,
    ClaimsDamaged,
    ClaimsError,
    ClaimsExist,
    ClaimsMissing,
    ClaimsRefused,
    ClaimsWriter,
)
from storage.claims.references import DECLARED
from tests.storage.claims_cases import claim_table, root, small_references, write

ACCOUNTS = 9_000  # three blocks, the last one short


@pytest.fixture(scope="module")
def book(synthetic_book):
    return synthetic_book(ACCOUNTS)


@pytest.fixture(scope="module")
def claims(book, tmp_path_factory):
    return write(tmp_path_factory.mktemp("claims") / "c", book, planted={"root_twice": [[1, 2]]})


@pytest.mark.parametrize(
    ("start", "stop"),
    [(0, 9_000), (0, 1), (4_095, 4_097), (5_000, 9_000), (17, 17), (9_000, 9_000)],
)
def test_slices_hold_what_was_written(claims, start, stop):
    expected = claim_table(ACCOUNTS)
    owner = expected["account"].to_numpy()
    low, high = np.searchsorted(owner, [start, stop]).tolist()
    found = claims.claim_slice(start, stop)
    assert found.first == low
    counts = np.bincount(owner[low:high] - start, minlength=stop - start)
    assert np.diff(found.offsets).tolist() == counts.tolist()
    for name in ("token", "quantity", "encumbered", "market", "height", "standing", "backing"):
        values = getattr(found, name)
        assert values.dtype == expected[name].type.to_pandas_dtype()
        assert values.tolist() == expected[name].slice(low, high - low).to_pylist()
    for name in ("root", "proof"):
        values = getattr(found, name)
        assert values.shape == (high - low, 2)
        assert values.tobytes() == b"".join(expected[name].slice(low, high - low).to_pylist())


def test_columns_are_those_of_slices(claims):
    found = claims.columns(("root", "account", "backing"), 4_000, 8_200)
    part = claims.claim_slice(4_000, 8_200)
    assert set(found) == {"root", "account", "backing"}
    assert (found["root"] == part.root).all()
    assert (found["backing"] == part.backing).all()
    assert (
        found["account"].tolist()
        == np.repeat(np.arange(4_000, 8_200), np.diff(part.offsets)).tolist()
    )
    assert claims.columns(["account"], 0, 3)["account"].tolist() == [0] * 3 + [1] * 2 + [2] * 2
    assert len(claims.columns(["root"])["root"]) == claims.claims


def test_the_bytes_do_not_depend_on_the_batches(claims, book, tmp_path):
    again = write(tmp_path / "again", book, cut=1_777, planted={"root_twice": [[1, 2]]})
    assert again.digest == claims.digest


def test_references_come_back(claims, book):
    expected = small_references(book.as_of)
    found = claims.references()
    for name in ("tokens", "recipes", "feeds", "chains", "markets", "market_terms"):
        assert getattr(found, name) == getattr(expected, name)


def test_claims_know_their_book(claims, book):
    assert claims.book_digest == book.digest
    assert claims.as_of == book.as_of
    assert claims.accounts == ACCOUNTS
    assert claims.planted == {"root_twice": [[1, 2]]}
    assert pickle.loads(pickle.dumps(claims)).digest == claims.digest


def test_claims_of_another_book_are_refused(claims, book, synthetic_book):
    claims.require_book(book)
    with pytest.raises(ClaimsError, match=r"^BOOK_MISMATCH: claims c are of the book"):
        claims.require_book(synthetic_book(300))


def test_a_changed_byte_is_found(claims, book, tmp_path):
    broken = write(tmp_path / "broken", book)
    file = broken.path / "claims" / "part-00000.parquet"
    content = bytearray(file.read_bytes())
    content[len(content) // 3] ^= 1
    file.write_bytes(content)
    with pytest.raises(ClaimsDamaged, match=r"claims/part-00000\.parquet changed"):
        broken.verify()
    with pytest.raises(ClaimsDamaged, match=r"part-00000\.parquet cannot be read"):
        broken.claim_slice(0, ACCOUNTS)
    claims.verify()


def test_a_file_that_is_gone_or_cut_is_named(book, tmp_path):
    broken = write(tmp_path / "broken", book)
    (broken.path / "feeds.parquet").unlink()
    with pytest.raises(ClaimsDamaged, match=r"lacks feeds\.parquet"):
        Claims.open(broken.path)
    with pytest.raises(ClaimsMissing, match="margincube claims generate"):
        Claims.open(tmp_path / "nowhere")


def test_nothing_is_left_of_claims_that_were_not_finished(book, tmp_path):
    with ClaimsWriter(tmp_path / "c", "c", book, small_references(book.as_of)) as writer:
        writer.append(10, claim_table(10))
    assert list(tmp_path.iterdir()) == []


def test_claims_are_never_overwritten(claims, book):
    with pytest.raises(ClaimsExist, match="never overwritten"):
        write(claims.path, book)


@pytest.mark.parametrize(
    ("column", "value", "code"),
    [
        ("quantity", -1.0, "QUANTITY_NEGATIVE"),
        ("quantity", float("nan"), "QUANTITY_NEGATIVE"),
        ("quantity", 2e18, "QUANTITY_RANGE"),
        ("encumbered", 100.0, "ENCUMBERED_RANGE"),
        ("encumbered", -0.5, "ENCUMBERED_RANGE"),
        ("token", 6, "UNKNOWN_TOKEN"),
        ("market", 1, "UNKNOWN_MARKET"),
        ("market", -2, "UNKNOWN_MARKET"),
        ("standing", 3, "UNKNOWN_STANDING"),
        ("height", 167_000_001, "HEIGHT_ABOVE_HEAD"),
        ("backing", 1_000_000, "UNKNOWN_BACKING"),
        ("backing", 5, "UNKNOWN_BACKING"),
        ("backing", -2, "UNKNOWN_BACKING"),
        ("root", bytes(16), "ROOT_MISSING"),
        ("account", 0, "SORT_ORDER"),
        ("account", ACCOUNTS, "UNKNOWN_ACCOUNT"),
    ],
)
def test_rows_that_break_a_rule_are_refused(book, tmp_path, column, value, code):
    with pytest.raises(ClaimsRefused, match=f"^{code}"):
        write(tmp_path / "c", book, **{column: {5: value}})
    assert list(tmp_path.iterdir()) == []


def test_every_account_must_come(book, tmp_path):
    with ClaimsWriter(tmp_path / "c", "c", book, small_references(book.as_of)) as writer:
        writer.append(10, claim_table(10))
        with pytest.raises(ClaimsRefused, match=r"^UNKNOWN_ACCOUNT: claims of 10 accounts"):
            writer.close()


@pytest.mark.parametrize(
    ("table", "column", "row", "value", "code"),
    [
        ("tokens", "kind", 0, "aToken", "ENUM_UNKNOWN"),
        ("tokens", "chain", 0, "Mars", "UNKNOWN_CHAIN"),
        ("tokens", "asset", 0, "BTC", "UNKNOWN_FEED"),
        ("tokens", "asset", 2, "ETH", "TERMS_MISMATCH"),
        ("tokens", "decimals", 0, -1, "DECIMALS_MISMATCH"),
        ("tokens", "bridge", 2, "none", "BRIDGE_MISSING"),
        ("tokens", "protocol", 5, "none", "PROTOCOL_MISSING"),
        ("tokens", "token", 2, "ETHER", "SORT_ORDER"),
        ("tokens", "kind", 5, "liquidity", "RECIPE_ROWS"),
        ("recipes", "of", 0, 2, "RECIPE_SELF"),
        ("recipes", "of", 0, 9, "UNKNOWN_OF"),
        ("recipes", "of", 0, 4, "RECIPE_DEBT"),
        ("market_terms", "token", 0, 4, "MARKET_TERMS"),
        ("recipes", "units", 0, 0.0, "RECIPE_UNITS"),
        ("recipes", "units", 0, 1e13, "RECIPE_UNITS"),
        ("recipes", "units", 0, float("nan"), "RECIPE_UNITS"),
        ("feeds", "oracle", 0, 0.0, "PRICE_NON_POSITIVE"),
        ("feeds", "market", 0, float("inf"), "PRICE_NON_POSITIVE"),
        ("feeds", "heartbeat", 0, -1.0, "PRICE_NON_POSITIVE"),
        ("chains", "safe", 1, 166_000_000, "CHAIN_HEIGHTS"),
        ("chains", "block_time", 1, 0.0, "CHAIN_HEIGHTS"),
        ("chains", "block_time", 0, 1.0, "CHAIN_HEIGHTS"),
        ("chains", "chain", 0, "nil", "UNKNOWN_CHAIN"),
        ("market_terms", "loan_to_value", 0, 0.9, "MARKET_TERMS"),
        ("market_terms", "liquidation_bonus", 0, 1.05, "MARKET_TERMS"),
        ("markets", "chain", 0, "Mars", "UNKNOWN_CHAIN"),
    ],
)
def test_references_that_break_a_rule_are_refused(book, tmp_path, table, column, row, value, code):
    references = small_references(book.as_of)
    changed = getattr(references, table).to_pylist()
    changed[row][column] = value
    replaced = pa.Table.from_pylist(changed, schema=DECLARED[table].schema)
    with pytest.raises(ClaimsRefused, match=f"^{code}"):
        ClaimsWriter(tmp_path / "c", "c", book, replace(references, **{table: replaced}))


def test_recipes_that_multiply_beyond_reason_are_refused(book, tmp_path):
    """A wrapped receipt for a bridged coin, each a trillion of what it stands for."""
    references = small_references(book.as_of)
    rows = [(2, 0, 1e12), (3, 5, 1e12), (4, 3, 1.07), (5, 2, 1e12)]
    recipes = pa.Table.from_pylist(
        [dict(zip(("token", "of", "units"), row, strict=True)) for row in rows],
        schema=DECLARED["recipes"].schema,
    )
    wrong = replace(references, recipes=recipes)
    with pytest.raises(ClaimsRefused, match=r"^LOOK_THROUGH_RANGE: tokens\.token WETH in row 3"):
        ClaimsWriter(tmp_path / "c", "c", book, wrong)


def test_roots_are_told_apart(claims):
    roots = claims.columns(["root"])["root"]
    assert len(np.unique(roots.view("V16"))) == claims.claims
    assert roots[0].tobytes() == root(0)
