"""A book comes back as it was written, whole or not at all, and says what is wrong with it."""

import itertools
import json
import os
import pickle
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage import tables
from storage.book import (
    BLOCK_ACCOUNTS,
    PART_ACCOUNTS,
    AccountUnknown,
    Book,
    BookDamaged,
    BookExists,
    BookMissing,
    BookRefused,
    BookWriter,
    canonical_instruments,
)

AS_OF = datetime(2024, 1, 8, 11, 19, 41, tzinfo=UTC)


def instrument(name, kind="perpetual", currency="USD", **terms):
    row = dict.fromkeys(tables.INSTRUMENTS.schema.names)
    row |= {"instrument": name, "kind": kind, "settlement": "linear", "underlying": "ETH"}
    row |= {"settlement_currency": currency, "multiplier": 1.0, "lot_size": 0.1}
    return row | {"venue": "V", "protocol": "none", "chain": "none"} | terms


def references():
    instruments = canonical_instruments(
        pa.Table.from_pylist(
            [instrument(f"P{i}") for i in range(5)], schema=tables.INSTRUMENTS.schema
        )
    )
    members = pa.table({"member": ["one", "two"], "default_fund": [1e6, 2e6]})
    assets = pa.table(
        {
            "asset": ["USD", "ETH"],
            "chain": ["none", "Ethereum"],
            "protocol": ["none", "none"],
            "underlying": ["USD", "ETH"],
            "haircut": [0.0, 0.17],
        }
    )
    return (
        instruments,
        members.cast(tables.MEMBERS.schema),
        assets.cast(tables.ASSETS.schema),
    )


def holdings(count, seed=1, first=0):
    """Accounts [first, first+count) of a book; each pair of accounts is balanced."""
    rng = np.random.default_rng(seed)
    names = [f"A-{i:07d}" for i in range(first, first + count)]
    accounts = pa.table(
        {
            "account": names,
            "member": rng.integers(0, 2, count).astype(np.int32),
            "margin_mode": rng.integers(0, 3, count).astype(np.int8),
        }
    )
    held = rng.random((count, 5)) < 0.4
    held[1::2] = held[: count // 2 * 2 : 2]
    held[count // 2 * 2 :] = False
    lots = rng.integers(1, 100, (count, 5))
    lots[1::2] = -lots[: count // 2 * 2 : 2]
    account, item = np.nonzero(held)
    positions = pa.table(
        {
            "account": (account + first).astype(np.int32),
            "instrument": item.astype(np.int32),
            "lots": lots[held],
        }
    )
    owns = rng.random((count, 2)) < 0.6
    account, item = np.nonzero(owns)
    collateral = pa.table(
        {
            "account": (account + first).astype(np.int32),
            "asset": item.astype(np.int32),
            "quantity": rng.lognormal(5.0, 2.0, len(item)),
        }
    )
    return (
        accounts.cast(tables.ACCOUNTS.schema),
        positions.cast(tables.POSITIONS.schema),
        collateral.cast(tables.COLLATERAL.schema),
    )


def cut(holding, start, stop):
    """The part of holdings that belongs to accounts [start, stop) (rows counted from zero)."""
    accounts, *rest = holding
    pieces = [accounts.slice(start, stop - start)]
    for table in rest:
        account = table["account"].to_numpy()
        lo, hi = np.searchsorted(account, [start, stop])
        pieces.append(table.slice(lo, hi - lo))
    return pieces


def write(path, holding, cuts=(), **closing):
    bounds = [0, *cuts, len(holding[0])]
    with BookWriter(path, "test", AS_OF, *references()) as writer:
        for start, stop in itertools.pairwise(bounds):
            writer.append(*(cut(holding, start, stop) if cuts else holding))
        return writer.close(**closing)


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    holding = holdings(PART_ACCOUNTS + BLOCK_ACCOUNTS + 100)
    return write(tmp_path_factory.mktemp("large") / "book", holding), holding


@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_any_run_of_accounts_reads_back_as_written(large, data):
    book, (accounts, positions, collateral) = large
    edges = st.sampled_from(
        [0, 1, BLOCK_ACCOUNTS - 1, BLOCK_ACCOUNTS, PART_ACCOUNTS - 1, PART_ACCOUNTS]
    ) | st.integers(0, book.accounts)
    start, stop = sorted((data.draw(edges), data.draw(edges)))
    assert book.account_table(start, stop).equals(accounts.slice(start, stop - start))
    for table, got, values in (
        (positions, book.position_slice(start, stop), ("instrument", "lots")),
        (collateral, book.collateral_slice(start, stop), ("asset", "quantity")),
    ):
        account = table["account"].to_numpy()
        expected = np.searchsorted(account, np.arange(start, stop + 1))
        np.testing.assert_array_equal(got.offsets, expected - expected[0])
        for name in values:
            np.testing.assert_array_equal(
                getattr(got, name), table[name].to_numpy()[expected[0] : expected[-1]]
            )
            assert getattr(got, name).dtype == table.schema.field(name).type.to_pandas_dtype()


def test_manifest_totals_and_layout(large):
    book, (accounts, positions, collateral) = large
    assert (book.accounts, book.positions) == (len(accounts), len(positions))
    assert book.manifest["collateral"] == len(collateral)
    assert book.blocks == 18
    assert book.as_of == AS_OF
    lots, row = positions["lots"].to_numpy(), positions["instrument"].to_numpy()
    expected = [int(lots[(row == i) & (lots > 0)].sum()) for i in range(5)]
    assert book.manifest["long_lots"] == expected
    parts = book.manifest["parts"]
    assert [part["accounts"] for part in parts] == [PART_ACCOUNTS, BLOCK_ACCOUNTS + 100]
    assert parts[1]["first_account"] == "A-0065536"
    assert parts[1]["last_account"] == "A-0069731"
    assert sorted(os.listdir(book.path.parent)) == ["book"]
    book.verify()


def test_positions_of_each_block_are_counted(large):
    book, (_, positions, _) = large
    block = positions["account"].to_numpy() // BLOCK_ACCOUNTS
    expected = np.bincount(block, minlength=book.blocks)
    np.testing.assert_array_equal(book.block_positions(), expected)
    assert len(np.unique(expected)) > 1


def files(path):
    return {p.relative_to(path): p.read_bytes() for p in path.rglob("*") if p.is_file()}


def test_bytes_do_not_depend_on_the_batches(tmp_path):
    holding = holdings(2 * BLOCK_ACCOUNTS + 10)
    one = write(tmp_path / "one", holding)
    for name, cuts in (("few", (5000,)), ("many", range(1, 8200, 333)), ("empty", (0, 0, 1, 8202))):
        assert files(write(tmp_path / name, holding, cuts).path) == files(one.path)


def test_digest_is_of_the_content(tmp_path):
    holding = holdings(50)
    one = write(tmp_path / "one", holding, source="here")
    same = write(tmp_path / "same", holding, source="there")
    other = write(tmp_path / "other", holdings(50, seed=2))
    assert one.digest == same.digest != other.digest


def test_account_row_and_suggestion(large):
    book, _ = large
    for row in (0, 1, 4095, 4096, PART_ACCOUNTS - 1, PART_ACCOUNTS, book.accounts - 1):
        assert book.account_row(f"A-{row:07d}") == row
    for wrong, right in (
        ("a-0000017", "A-0000017"),
        (" A-0065536 ", "A-0065536"),
        ("A-17", "A-0000017"),
        ("A-00065537", "A-0065537"),
        ("A-000001O", "A-0000010"),
    ):
        with pytest.raises(AccountUnknown, match=rf"did you mean '{right[:-1]}.'\?") as caught:
            book.account_row(wrong)
        assert str(caught.value).startswith(f"no account {wrong!r} in book 'test' of 69,732")
    with pytest.raises(KeyError, match="no account 'zebra'"):
        book.account_row("zebra")


def test_a_book_travels_by_pickle(large):
    book, _ = large
    again = pickle.loads(pickle.dumps(book))
    assert again.digest == book.digest
    assert len(again.account_table(0, 3)) == 3


def test_bounds_are_named(large):
    book, _ = large
    with pytest.raises(ValueError, match=r"\[5, 69733\) asked of a book of 69732"):
        book.position_slice(5, 69733)


def test_held_and_quarantine(tmp_path):
    held = pa.table({"account": [7, 3, 7], "code": ["B", "A", "A"]})
    held = held.cast(pa.schema([("account", pa.int32()), ("code", pa.string())]))
    quarantine = pa.table({"code": ["A"], "value": ["x"]})
    book = write(tmp_path / "book", holdings(10), held=held, quarantine=quarantine)
    assert np.flatnonzero(book.held(0, 10)).tolist() == [3, 7]
    assert np.flatnonzero(book.held(4, 9)).tolist() == [3]
    assert book.held_reasons().to_pylist() == [
        {"account": 3, "code": "A"},
        {"account": 7, "code": "A"},
    ]
    assert book.quarantine().equals(quarantine)
    assert (book.manifest["held"], book.manifest["quarantined"]) == (2, 1)
    plain = write(tmp_path / "plain", holdings(10))
    assert not plain.held(0, 10).any()
    assert len(plain.quarantine()) == 0


def test_a_book_without_positions(tmp_path):
    accounts, positions, collateral = holdings(3)
    book = write(tmp_path / "book", (accounts, positions.slice(0, 0), collateral.slice(0, 0)))
    assert book.position_slice(0, 3).offsets.tolist() == [0, 0, 0, 0]
    assert book.collateral_slice(1, 1).offsets.tolist() == [0]
    assert book.collateral_slice(1, 1).quantity.dtype == np.float64
    assert len(book.account_table(2, 2)) == 0


# What the writer refuses.


def refused(tmp_path, code, **changed):
    names = ("accounts", "positions", "collateral")
    batch = dict(zip(names, holdings(6), strict=True)) | changed
    with pytest.raises(BookRefused, match=f"^{code}: ") as caught:
        write(tmp_path / "book", tuple(batch.values()))
    assert os.listdir(tmp_path) == []
    return str(caught.value)


def swap(table, column, row, value):
    values = table[column].to_pylist()
    values[row] = value
    field = table.schema.field(column)
    index = table.schema.get_field_index(column)
    return table.set_column(index, field, pa.array(values, field.type))


def test_unbalanced_open_interest(tmp_path):
    accounts, positions, collateral = holdings(6)
    lots = positions["lots"][0].as_py()
    lame = swap(positions, "lots", 0, lots + 3)
    message = refused(tmp_path, "UNBALANCED_OI", positions=lame)
    name = f"P{positions['instrument'][0].as_py()}"
    assert f"{{'{name}': 3}}" in message
    book = write(tmp_path / "book", (accounts, lame, collateral), one_sided=True)
    assert book.manifest["imbalance"] == {name: 3}


def test_refusals(tmp_path):
    accounts, positions, collateral = holdings(6)
    names = accounts["account"].to_pylist()
    refused(tmp_path, "DUPLICATE_KEY", accounts=swap(accounts, "account", 1, names[0]))
    refused(tmp_path, "SORT_ORDER", accounts=swap(accounts, "account", 1, "a"))
    refused(tmp_path, "UNKNOWN_MEMBER", accounts=swap(accounts, "member", 1, 2))
    refused(tmp_path, "UNKNOWN_MARGIN_MODE", accounts=swap(accounts, "margin_mode", 1, 3))
    refused(tmp_path, "UNKNOWN_INSTRUMENT", positions=swap(positions, "instrument", -1, 5))
    refused(tmp_path, "UNKNOWN_ACCOUNT", positions=swap(positions, "account", -1, 6))
    refused(tmp_path, "UNKNOWN_ASSET", collateral=swap(collateral, "asset", 0, -1))
    refused(tmp_path, "DUPLICATE_KEY", positions=pa.concat_tables([positions[:1], positions]))
    refused(tmp_path, "SORT_ORDER", positions=positions.take([*range(1, len(positions)), 0]))
    refused(tmp_path, "OVERFLOW", positions=swap(positions, "lots", 0, 1 << 53))
    for bad in (-1.0, float("nan"), float("inf")):
        broken = swap(collateral, "quantity", 0, bad)
        refused(tmp_path, "COLLATERAL_NEGATIVE", collateral=broken)
    refused(tmp_path, "SCHEMA_DRIFT", accounts=accounts.drop_columns("member"))
    wrong = positions.set_column(2, "lots", positions["lots"].cast(pa.int32()))
    assert "lots is int32, declared int64" in refused(tmp_path, "SCHEMA_DRIFT", positions=wrong)
    nothing = {"positions": positions[:0], "collateral": collateral[:0]}
    refused(tmp_path, "EMPTY_INPUT", accounts=accounts[:0], **nothing)


def test_a_refused_batch_leaves_the_writer_as_it_was(tmp_path):
    holding = holdings(6)
    with BookWriter(tmp_path / "book", "test", AS_OF, *references()) as writer:
        with pytest.raises(BookRefused):
            writer.append(holding[0], swap(holding[1], "account", -1, 6), holding[2])
        assert writer.accounts == 0
        assert not writer.net_lots.any()
        writer.append(*holding)
        book = writer.close()
    assert book.digest == write(tmp_path / "same", holding).digest


@pytest.mark.parametrize(
    ("code", "table", "column", "value"),
    [
        ("MULTIPLIER", 0, "multiplier", 0.0),
        ("MULTIPLIER", 0, "lot_size", float("nan")),
        ("SORT_ORDER", 0, "instrument", "P9"),
        ("DUPLICATE_KEY", 0, "instrument", "P1"),
        ("ENUM_UNKNOWN", 0, "kind", "swap"),
        ("DUPLICATE_KEY", 1, "member", "two"),
        ("DEFAULT_FUND", 1, "default_fund", -1.0),
        ("HAIRCUT_RANGE", 2, "haircut", 1.01),
    ],
)
def test_reference_tables_are_checked(tmp_path, code, table, column, value):
    given = list(references())
    given[table] = swap(given[table], column, 0, value)
    with pytest.raises(BookRefused, match=f"^{code}: "):
        BookWriter(tmp_path / "book", "t", AS_OF, *given)
    assert os.listdir(tmp_path) == []


def test_as_of_needs_a_zone(tmp_path):
    with pytest.raises(BookRefused, match="TZ_MISSING"):
        BookWriter(tmp_path / "book", "t", AS_OF.replace(tzinfo=None), *references())


def test_canonical_order_of_instruments():
    march, june = (datetime(2024, month, 29, 8, tzinfo=UTC) for month in (3, 6))
    option = {"kind": "option", "strike": 2000.0, "option_type": "put", "expiry": june}
    rows = [
        instrument("g", **option),
        instrument("f", **option | {"option_type": "call"}),
        instrument("e", **option | {"strike": 900.0}),
        instrument("d", **option | {"expiry": march, "strike": 3000.0}),
        instrument("c2", "perpetual"),
        instrument("c1", "perpetual"),
        instrument("b", "future", expiry=march),
        instrument("a", "spot"),
        instrument("Z", "perpetual", underlying="BTC"),
        instrument("Y", "perpetual", currency="ETH"),
    ]
    table = canonical_instruments(pa.Table.from_pylist(rows, schema=tables.INSTRUMENTS.schema))
    assert table["instrument"].to_pylist() == ["Y", "Z", "a", "b", "c1", "c2", "d", "e", "f", "g"]


# Whole or not at all.


def test_an_existing_book_is_refused(tmp_path):
    write(tmp_path / "book", holdings(4))
    with pytest.raises(BookExists, match="exists"):
        write(tmp_path / "book", holdings(4))


def test_a_book_that_appears_while_writing_is_kept(tmp_path):
    holding = holdings(4)
    with BookWriter(tmp_path / "book", "late", AS_OF, *references()) as writer:
        writer.append(*holding)
        early = write(tmp_path / "book", holdings(6))
        with pytest.raises(BookExists, match="appeared"):
            writer.close()
    assert Book.open(early.path).accounts == 6
    assert os.listdir(tmp_path) == ["book"]


def test_a_killed_writer_leaves_no_book_and_its_rest_is_swept(tmp_path):
    script = (
        "import os, signal, sys; sys.path.insert(0, 'tests/storage'); import test_book as t\n"
        "from pathlib import Path\n"
        "w = t.BookWriter(Path(sys.argv[1]), 'x', t.AS_OF, *t.references())\n"
        "w.append(*t.holdings(5000)); os.kill(os.getpid(), signal.SIGKILL)"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path / "book")], cwd=root)
    assert done.returncode == -9
    (left,) = os.listdir(tmp_path)
    assert left.startswith(".book.writing-")
    with pytest.raises(BookMissing, match="no book at"):
        Book.open(tmp_path / "book")
    with pytest.raises(BookMissing, match=r"holds no manifest\.json"):
        Book.open(tmp_path / left)
    write(tmp_path / "book", holdings(4))
    assert os.listdir(tmp_path) == ["book"]


def test_a_living_writer_is_not_swept(tmp_path):
    with BookWriter(tmp_path / "book", "t", AS_OF, *references()) as writer:
        writer.append(*holdings(4))
        with BookWriter(tmp_path / "book", "t", AS_OF, *references()):
            pass
        assert writer.close().accounts == 4


# Damage.


@pytest.fixture
def damaged(large, tmp_path):
    shutil.copytree(large[0].path, tmp_path / "book")
    return tmp_path / "book"


def test_missing_and_truncated_files(damaged):
    part = damaged / "positions" / "part-00001.parquet"
    data = part.read_bytes()
    part.write_bytes(data[:-1])
    with pytest.raises(BookDamaged, match=r"part-00001\.parquet has \d+ bytes"):
        Book.open(damaged)
    part.unlink()
    with pytest.raises(BookDamaged, match=r"lacks positions/part-00001\.parquet"):
        Book.open(damaged)


@pytest.mark.parametrize("file", ["positions", "collateral", "accounts"])
def test_a_changed_byte_is_never_read_as_a_number(damaged, file):
    book = Book.open(damaged)
    part = damaged / file / "part-00000.parquet"
    data = bytearray(part.read_bytes())
    data[len(data) // 3] ^= 4
    part.write_bytes(data)
    with pytest.raises(BookDamaged, match=rf"{file}/part-00000\.parquet changed since"):
        book.verify()
    read = {"accounts": book.account_table, "positions": book.position_slice}
    with pytest.raises(BookDamaged, match=r"part-00000\.parquet cannot be read"):
        read.get(file, book.collateral_slice)(0, book.accounts)


def test_an_altered_manifest(damaged):
    manifest = damaged / "manifest.json"
    text = manifest.read_text()
    manifest.write_text(text.replace('"accounts": 69732', '"accounts": 69731'))
    with pytest.raises(BookDamaged, match="does not match its own digest"):
        Book.open(damaged)
    manifest.write_text(text[:100])
    with pytest.raises(BookDamaged, match="is no manifest"):
        Book.open(damaged)
    manifest.write_text(json.dumps({"format": 99}))
    with pytest.raises(ValueError, match="format 99"):
        Book.open(damaged)
