"""Bad input in the files of a book: each fault is provoked in real files and has its named outcome.

Tests are named by the code they provoke. Every fault is provoked in CSV and in Parquet where the
format can hold it.
"""

import copy
import shutil
import unicodedata
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest

from storage.book import AccountUnknown, Book, BookExists
from storage.intake.book import ImportReport, import_book
from storage.quarantine import CODES, DatasetRefused, Finding, Severity

AS_OF = datetime(2024, 1, 8, 11, 19, 41, tzinfo=UTC)
COINS = ("BTC", "ETH", "SOL", "USDC")
Rows = dict[str, list[dict[str, str]]]

OPTION = {
    "instrument": "ETH-26JUL24-2500-C",
    "kind": "option",
    "settlement": "inverse",
    "underlying": "ETH",
    "settlement_currency": "ETH",
    "expiry": "2024-07-26T08:00:00Z",
    "strike": "2500",
    "option_type": "call",
    "multiplier": "1",
    "lot_size": "0.1",
    "venue": "v",
    "protocol": "none",
    "chain": "none",
}
PERPETUAL = OPTION | {
    "instrument": "ETH-PERP",
    "kind": "perpetual",
    "expiry": "",
    "strike": "",
    "option_type": "",
    "multiplier": "10",
    "lot_size": "1",
}
SPOT = PERPETUAL | {
    "instrument": "ETH",
    "kind": "spot",
    "settlement": "linear",
    "settlement_currency": "USD",
    "multiplier": "1",
    "lot_size": "0.0001",
}
GOOD: Rows = {
    "instruments": [OPTION, PERPETUAL, SPOT],
    "members": [{"member": "M1", "default_fund": "1000000"}],
    "accounts": [
        {"account": "carol", "member": "M1", "margin_mode": "isolated"},
        {"account": "alice", "member": "M1", "margin_mode": "portfolio"},
        {"account": "bob", "member": "M1", "margin_mode": "cross"},
    ],
    "positions": [
        {"account": "bob", "instrument": "ETH-PERP", "quantity": "-3"},
        {"account": "alice", "instrument": "ETH-26JUL24-2500-C", "quantity": "1.5"},
        {"account": "alice", "instrument": "ETH-PERP", "quantity": "3"},
        {"account": "bob", "instrument": "ETH-26JUL24-2500-C", "quantity": "-1.5"},
        {"account": "alice", "instrument": "ETH", "quantity": "0.25"},
    ],
    "assets": [
        {
            "asset": "USD",
            "chain": "none",
            "protocol": "none",
            "underlying": "USD",
            "haircut": "0",
        },
        {
            "asset": "USDC",
            "chain": "ethereum",
            "protocol": "aave",
            "underlying": "USDC",
            "haircut": "0.02",
        },
    ],
    "collateral": [
        {
            "account": "alice",
            "asset": "USDC",
            "chain": "ethereum",
            "protocol": "aave",
            "quantity": "5000.25",
        },
        {
            "account": "bob",
            "asset": "USD",
            "chain": "none",
            "protocol": "none",
            "quantity": "100",
        },
    ],
}


@pytest.fixture
def rows() -> Rows:
    return copy.deepcopy(GOOD)


class Importer:
    """Writes rows as files of one format and imports them."""

    def __init__(self, folder: Path, suffix: str) -> None:
        self.folder = folder
        self.suffix = suffix
        self.source = folder / "source"
        self.target = folder / "book"

    def write(self, rows: Rows) -> None:
        self.source.mkdir(exist_ok=True)
        for dataset, content in rows.items():
            names = list(content[0])
            table = pa.table(
                {name: pa.array([row.get(name, "") for row in content]) for name in names}
            )
            path = self.source / f"{dataset}{self.suffix}"
            if self.suffix == ".csv":
                pacsv.write_csv(table, path)
            else:
                pq.write_table(table, path)

    def __call__(self, rows: Rows | None = None, **options: Any) -> ImportReport:
        if rows is not None:
            self.write(rows)
        settings: dict[str, Any] = {"as_of": AS_OF, "market_underlyings": COINS} | options
        report = import_book(self.source, self.target, **settings)
        reconcile(report)
        return report

    def refused(self, code: str, rows: Rows | None = None, **options: Any) -> str:
        """Import, check that it is refused by the code and that nothing was written."""
        with pytest.raises(DatasetRefused) as refusal:
            self(rows, **options)
        refusals = [finding for finding in refusal.value.findings if finding.severity == "refuse"]
        assert code in {finding.code for finding in refusals}
        assert not self.target.exists()
        assert [path.name for path in self.folder.iterdir()] == ["source"]
        message = str(refusal.value)
        for part in (code, "allowed:", "do:"):
            assert part in message
        return message


@pytest.fixture(params=[".csv", ".parquet"])
def importer(tmp_path: Path, request: pytest.FixtureRequest) -> Importer:
    return Importer(tmp_path, request.param)


@pytest.fixture
def csv_importer(tmp_path: Path) -> Importer:
    return Importer(tmp_path, ".csv")


@pytest.fixture
def parquet_importer(tmp_path: Path) -> Importer:
    return Importer(tmp_path, ".parquet")


def reconcile(report: ImportReport) -> None:
    """Check that every row and every contract is accounted for, in the report and in the book."""
    for count in report.datasets:
        assert count.rows == count.accepted + count.quarantined
    for row in report.instruments.to_pylist():
        for side in ("long", "short"):
            parts = [Fraction(row[f"{side}_{end}"]) for end in ("in", "accepted", "quarantined")]
            assert parts[0] == parts[1] + parts[2]
    book = Book.open(report.path)
    book.verify()
    accepted = {count.dataset: count.accepted for count in report.datasets}
    assert book.accounts == accepted["accounts"]
    assert int(book.held(0, book.accounts).sum()) == report.held_accounts
    lots = book.position_slice(0, book.accounts)
    instruments = book.instruments()
    size = dict(zip(*(instruments[c].to_pylist() for c in ("instrument", "lot_size")), strict=True))
    expected = {row["instrument"]: row for row in report.instruments.to_pylist()}
    for number, name in enumerate(instruments["instrument"].to_pylist()):
        mine = lots.lots[lots.instrument == number].tolist()
        lot = Fraction(repr(size[name]))
        assert sum(n for n in mine if n > 0) * lot == Fraction(expected[name]["long_accepted"])
        assert -sum(n for n in mine if n < 0) * lot == Fraction(expected[name]["short_accepted"])


def found(report: ImportReport, code: str, severity: Severity = "quarantine") -> list[Finding]:
    """Return the findings of a code, each complete and so severe."""
    table = report.findings.filter(pc.equal(report.findings["code"].cast(pa.string()), code))
    findings = [Finding(**row) for row in table.to_pylist()]
    assert len(findings) == report.counts.get(code, 0)
    for finding in findings:
        assert finding.severity == severity
        assert finding.allowed
        assert finding.action
        assert finding.dataset
    return findings


def held(report: ImportReport) -> dict[str, str]:
    """Return why each held account is held."""
    book = Book.open(report.path)
    names = book.account_table(0, book.accounts)["account"].to_pylist()
    reasons = book.held_reasons().to_pylist()
    return {names[row["account"]]: row["code"] for row in reasons}


def change(rows: Rows, dataset: str, row: int, **cells: str) -> Rows:
    rows[dataset][row] |= cells
    return rows


def test_good_book(importer: Importer, rows: Rows) -> None:
    report = importer(rows)
    assert report.counts == {}
    assert report.held_accounts == 0
    book = Book.open(report.path)
    accounts = book.account_table(0, 3)
    assert accounts["account"].to_pylist() == ["alice", "bob", "carol"]
    assert accounts["margin_mode"].to_pylist() == [2, 1, 0]
    names = book.instruments()["instrument"].to_pylist()
    assert names == ["ETH-PERP", "ETH-26JUL24-2500-C", "ETH"]
    positions = book.position_slice(0, 3)
    assert positions.offsets.tolist() == [0, 3, 5, 5]
    assert positions.lots.tolist() == [3, 15, 2500, -3, -15]
    collateral = book.collateral_slice(0, 3)
    assert collateral.quantity.tolist() == [5000.25, 100.0]
    assert book.assets()["asset"].to_pylist() == ["USD", "USDC"]


def test_both_formats_give_the_same_book(tmp_path: Path, rows: Rows) -> None:
    digests = set()
    for suffix in (".csv", ".parquet"):
        folder = tmp_path / suffix
        folder.mkdir()
        digests.add(Book.open(Importer(folder, suffix)(rows).path).digest)
    assert len(digests) == 1


def test_typed_parquet_is_read_like_text(parquet_importer: Importer, rows: Rows) -> None:
    parquet_importer.write(rows)
    source = parquet_importer.source
    positions = pq.read_table(source / "positions.parquet")
    quantity = pa.array(
        [Decimal(row["quantity"]) for row in rows["positions"]], pa.decimal128(20, 4)
    )
    positions = positions.set_column(2, "quantity", quantity)
    positions = positions.set_column(
        0, "account", positions["account"].dictionary_encode().combine_chunks()
    )
    pq.write_table(positions, source / "positions.parquet")
    instruments = pq.read_table(source / "instruments.parquet")
    expiry = pa.array([datetime(2024, 7, 26, 8, tzinfo=UTC), None, None], pa.timestamp("ms", "UTC"))
    instruments = instruments.set_column(5, "expiry", expiry)
    lot_size = pa.array([0.1, 1.0, 0.0001])
    pq.write_table(instruments.set_column(9, "lot_size", lot_size), source / "instruments.parquet")
    report = parquet_importer()
    assert report.counts == {}
    assert Book.open(report.path).position_slice(0, 3).lots.tolist() == [3, 15, 2500, -3, -15]


def test_existing_book_is_never_overwritten(csv_importer: Importer, rows: Rows) -> None:
    csv_importer(rows)
    with pytest.raises(BookExists):
        csv_importer(rows)


@pytest.mark.parametrize(
    ("expiry", "code"),
    [
        ("2024-01-05T08:00:00Z", "EXPIRED_OPEN"),  # B9
        ("2024-01-08T11:19:41Z", "EXPIRY_AT_AS_OF"),  # B10
        ("2024-01-08T20:00:00+09:00", "EXPIRY_TZ"),  # B11: 11:00 UTC, but the clock showed 20:00
        ("1721980800000", "TIME_UNIT"),  # B13: milliseconds
        ("1721980800", "TIME_UNIT"),
        ("56537-05-01T08:00:00Z", "TIME_UNIT"),
        ("1970-01-20T22:19:40Z", "TIME_UNIT"),
        ("2024-02-30T08:00:00Z", "TIME_INVALID"),
        ("26JUL24", "TIME_INVALID"),
        ("", "TERMS_MISMATCH"),
    ],
)
def test_b09_to_b13_expiry(importer: Importer, rows: Rows, expiry: str, code: str) -> None:
    report = importer(change(rows, "instruments", 0, expiry=expiry))
    (finding,) = found(report, code)
    assert finding.dataset == "instruments"
    assert finding.row == "ETH-26JUL24-2500-C"
    assert finding.value == expiry
    assert len(found(report, "REFERENCE_QUARANTINED")) == 2
    assert held(report) == dict.fromkeys(["alice", "bob"], "REFERENCE_QUARANTINED")


def test_b11_zone_of_a_timestamp_is_respected(parquet_importer: Importer, rows: Rows) -> None:
    parquet_importer.write(rows)
    path = parquet_importer.source / "instruments.parquet"
    tokyo = timezone(timedelta(hours=9))
    expiry = pa.array([datetime(2024, 7, 26, 17, tzinfo=tokyo), None, None])
    table = pq.read_table(path)
    pq.write_table(table.set_column(5, "expiry", expiry.cast(pa.timestamp("ns", "+09:00"))), path)
    book = Book.open(parquet_importer().path)
    assert book.instruments()["expiry"][1].as_py() == datetime(2024, 7, 26, 8, tzinfo=UTC)


@pytest.mark.parametrize("expiry", ["2024-07-26T08:00:00", "2024-07-26", "2024-07-26 08:00"])
def test_b12_naive_timestamp(importer: Importer, rows: Rows, expiry: str) -> None:
    message = importer.refused("TZ_MISSING", change(rows, "instruments", 0, expiry=expiry))
    assert expiry in message


def test_b12_naive_timestamp_column(parquet_importer: Importer, rows: Rows) -> None:
    parquet_importer.write(rows)
    path = parquet_importer.source / "instruments.parquet"
    expiry = pa.array([datetime(2024, 7, 26, 8), None, None], pa.timestamp("us"))  # noqa: DTZ001 the fault
    pq.write_table(pq.read_table(path).set_column(5, "expiry", expiry), path)
    parquet_importer.refused("TZ_MISSING")


def test_b12_naive_as_of(csv_importer: Importer, rows: Rows) -> None:
    csv_importer.refused("TZ_MISSING", rows, as_of=AS_OF.replace(tzinfo=None))


def test_b13_integer_timestamp_column(parquet_importer: Importer, rows: Rows) -> None:
    parquet_importer.write(rows)
    path = parquet_importer.source / "instruments.parquet"
    expiry = pa.array([1721980800000, None, None], pa.int64())
    pq.write_table(pq.read_table(path).set_column(5, "expiry", expiry), path)
    assert found(parquet_importer(), "TIME_UNIT")[0].value == "1721980800000"


def test_b20_claim_counted_twice(importer: Importer, rows: Rows) -> None:
    for row in rows["collateral"]:
        row["claim"] = "eth:0xabc:3"
    message = importer.refused("DOUBLE_COUNT_COLLATERAL", rows)
    assert "eth:0xabc:3" in message
    rows["collateral"][1]["claim"] = ""
    assert importer(rows).counts == {}


def test_b22_token_decimals(importer: Importer, rows: Rows) -> None:
    for row in rows["assets"]:
        row["decimals"] = ""
    rows["assets"][1]["decimals"] = "18"
    message = importer.refused("DECIMALS_MISMATCH", rows)
    assert "18" in message
    rows["assets"][1]["decimals"] = "6"
    assert importer(rows).counts == {}


def test_b23_unknown_instrument(importer: Importer, rows: Rows) -> None:
    report = importer(change(rows, "positions", 0, instrument="ETH-PREP"))
    (finding,) = found(report, "UNKNOWN_INSTRUMENT")
    assert (finding.value, finding.row, finding.line) == ("ETH-PREP", "bob / ETH-PREP", 1)
    assert held(report) == {"bob": "UNKNOWN_INSTRUMENT"}
    # What is missing in the balance is in quarantine, so it is recorded and not refused.
    assert len(found(report, "UNBALANCED_OI", "warn")) == 1


def test_b24_unknown_account(importer: Importer, rows: Rows) -> None:
    report = importer(change(rows, "collateral", 0, account="dave"))
    (finding,) = found(report, "UNKNOWN_ACCOUNT")
    assert (finding.dataset, finding.value) == ("collateral", "dave")
    report_counts = {count.dataset: count.quarantined for count in report.datasets}
    assert report_counts["collateral"] == 1


def test_b24_unknown_account_in_positions_stays_in_totals(importer: Importer, rows: Rows) -> None:
    report = importer(change(rows, "positions", 0, account="dave"))
    assert found(report, "UNKNOWN_ACCOUNT")[0].dataset == "positions"
    perpetual = report.instruments.to_pylist()[1]
    assert perpetual["short_in"] == perpetual["short_quarantined"] == "3"
    assert "UNBALANCED_OI" not in report.counts


def test_unknown_asset_holds_the_account(importer: Importer, rows: Rows) -> None:
    report = importer(change(rows, "collateral", 0, chain="base"))
    assert found(report, "UNKNOWN_ASSET")[0].row == "alice / USDC / base / aave"
    assert held(report) == {"alice": "UNKNOWN_ASSET"}


def test_unknown_member_sets_the_account_aside(importer: Importer, rows: Rows) -> None:
    rows["positions"] = [row for row in rows["positions"] if row["account"] != "carol"]
    report = importer(change(rows, "accounts", 0, member="M9"))
    assert found(report, "UNKNOWN_MEMBER")[0].row == "carol"


@pytest.mark.parametrize("dataset", ["accounts", "instruments", "members", "assets"])
def test_b25_duplicate_key(importer: Importer, rows: Rows, dataset: str) -> None:
    rows[dataset].append(dict(rows[dataset][0]))
    message = importer.refused("DUPLICATE_KEY", rows)
    assert message.count("sha256") == 2


@pytest.mark.parametrize(
    "spelling",
    ["Alice", "ALICE", "alice ", " alice", "ａlice", unicodedata.normalize("NFD", "alicé")],
)
def test_b26_same_account_spelled_differently(
    importer: Importer, rows: Rows, spelling: str
) -> None:
    if "\u0301" in spelling:
        rows["accounts"][1]["account"] = "alicé"
        for dataset in ("positions", "collateral"):
            for row in rows[dataset]:
                row["account"] = row["account"].replace("alice", "alicé")
    rows["accounts"].append({"account": spelling, "member": "M1", "margin_mode": "cross"})
    importer.refused("KEY_NORMALISATION", rows)


def test_b26_account_spelled_differently_in_another_file(importer: Importer, rows: Rows) -> None:
    message = importer.refused("KEY_NORMALISATION", change(rows, "positions", 0, account="BOB"))
    assert "BOB" in message


def test_b27_duplicate_position_lines(importer: Importer, rows: Rows) -> None:
    rows["positions"] += [
        {"account": "bob", "instrument": "ETH-PERP", "quantity": "-2"},
        {"account": "alice", "instrument": "ETH-PERP", "quantity": "2"},
    ]
    message = importer.refused("DUPLICATE_KEY", rows)
    assert "bob / ETH-PERP" in message
    report = importer(rows, merge_duplicates=True)
    assert len(found(report, "DUPLICATE_MERGED", "warn")) == 2
    assert Book.open(report.path).position_slice(0, 3).lots.tolist() == [5, 15, 2500, -5, -15]


def test_b27_duplicate_collateral_lines(importer: Importer, rows: Rows) -> None:
    rows["collateral"].append(dict(rows["collateral"][1]))
    importer.refused("DUPLICATE_KEY", rows)
    report = importer(rows, merge_duplicates=True)
    assert Book.open(report.path).collateral_slice(0, 3).quantity.tolist() == [5000.25, 200.0]


def test_b28_unbalanced(importer: Importer, rows: Rows) -> None:
    change(rows, "positions", 0, quantity="-1")
    message = importer.refused("UNBALANCED_OI", rows)
    assert "ETH-PERP" in message
    assert "2 contracts" in message
    assert "in quarantine" not in message
    (warned,) = found(importer(rows, one_sided=True), "UNBALANCED_OI", "warn")
    assert "one-sided" not in warned.action


def test_b28_a_refusal_counts_what_is_in_quarantine_too(importer: Importer, rows: Rows) -> None:
    for position in rows["positions"]:
        position |= {"side": "long", "quantity": position["quantity"].lstrip("-")}
    change(rows, "positions", 0, side="shrot")
    change(rows, "positions", 3, side="short")
    message = importer.refused("UNBALANCED_OI", rows)
    assert "rows in quarantine as well: 1 ENUM_UNKNOWN in positions" in message


@pytest.mark.parametrize(
    "quantity",
    ["9007199254740992", "9223372036854775808", "340282366920938463463374607431768211456"],
)
def test_b29_overflow(importer: Importer, rows: Rows, quantity: str) -> None:
    change(rows, "positions", 0, quantity=f"-{quantity}")
    change(rows, "positions", 2, quantity=quantity)
    importer.refused("OVERFLOW", rows)
    change(rows, "positions", 2, quantity="1")
    importer.refused("OVERFLOW", rows, one_sided=True)


def test_b29_largest_quantity_is_exact(importer: Importer, rows: Rows) -> None:
    change(rows, "positions", 0, quantity="-9007199254740991")
    change(rows, "positions", 2, quantity="9007199254740991")
    lots = Book.open(importer(rows).path).position_slice(0, 3).lots
    assert lots[0] == 9007199254740991


def test_b29_floats_beyond_their_exact_range(parquet_importer: Importer, rows: Rows) -> None:
    parquet_importer.write(rows)
    path = parquet_importer.source / "positions.parquet"
    quantity = pa.array([-(2.0**53), 1.5, 2.0**53, -1.5, 0.25])
    pq.write_table(pq.read_table(path).set_column(2, "quantity", quantity), path)
    parquet_importer.refused("OVERFLOW")
    quantity = pa.array([-(2.0**53 - 1), 1.5, 2.0**53 - 1, -1.5, 0.25])
    pq.write_table(pq.read_table(path).set_column(2, "quantity", quantity), path)
    assert Book.open(parquet_importer().path).position_slice(0, 1).lots[0] == 2**53 - 1


@pytest.mark.parametrize("kind", [pa.int32(), pa.float32(), pa.int16(), pa.float16()])
def test_b30_narrow_column(parquet_importer: Importer, rows: Rows, kind: pa.DataType) -> None:
    parquet_importer.write(rows)
    path = parquet_importer.source / "positions.parquet"
    quantity = pa.array(np.array([-3, 0, 3, 0, 0], kind.to_pandas_dtype()))
    pq.write_table(pq.read_table(path).set_column(2, "quantity", quantity), path)
    assert str(kind) in parquet_importer.refused("DTYPE_NARROW")


@pytest.mark.parametrize("quantity", ["1.55", "0.05", "1.50000000000000000000000001"])
def test_b31_lot_size(importer: Importer, rows: Rows, quantity: str) -> None:
    change(rows, "positions", 1, quantity=quantity)
    change(rows, "positions", 3, quantity=f"-{quantity}")
    report = importer(rows)
    assert [finding.value for finding in found(report, "LOT_SIZE")] == [quantity, f"-{quantity}"]
    assert held(report) == dict.fromkeys(["alice", "bob"], "LOT_SIZE")


@pytest.mark.parametrize(
    ("row", "cells"),
    [
        (1, {"settlement": ""}),
        (1, {"settlement": "linear"}),  # but it pays ETH
        (1, {"settlement_currency": "USD"}),  # but inverse pays the underlying
        (1, {"settlement": "quanto"}),  # but it pays the underlying
        (2, {"settlement": "inverse"}),
    ],
)
def test_b32_contract_type(importer: Importer, rows: Rows, row: int, cells: dict[str, str]) -> None:
    importer.refused("CONTRACT_TYPE", change(rows, "instruments", row, **cells))


def test_b32_contract_type_column_is_required(importer: Importer, rows: Rows) -> None:
    for row in rows["instruments"]:
        del row["settlement"]
    importer.refused("CONTRACT_TYPE", rows)


def test_b33_multiplier_against_reference_data(importer: Importer, rows: Rows) -> None:
    rows["reference"] = [
        {"instrument": "ETH-PERP", "multiplier": "1"},
        {"instrument": "ETH-26JUL24-2500-C", "multiplier": "1"},
    ]
    report = importer(rows)
    (finding,) = found(report, "MULTIPLIER")
    assert (finding.row, finding.value) == ("ETH-PERP", "10")
    assert held(report) == dict.fromkeys(["alice", "bob"], "REFERENCE_QUARANTINED")


@pytest.mark.parametrize("multiplier", ["0", "-10"])
def test_b33_multiplier_not_positive(importer: Importer, rows: Rows, multiplier: str) -> None:
    report = importer(change(rows, "instruments", 1, multiplier=multiplier))
    assert found(report, "MULTIPLIER")[0].value == multiplier


@pytest.mark.parametrize("currency", ["", "EUR"])
def test_b34_currency_unknown(importer: Importer, rows: Rows, currency: str) -> None:
    report = importer(change(rows, "instruments", 2, settlement_currency=currency))
    assert found(report, "CCY_UNKNOWN")[0].value == currency
    assert held(report) == {"alice": "REFERENCE_QUARANTINED"}


@pytest.mark.parametrize("underlying", ["", "EUR"])
def test_b34_collateral_currency_unknown(importer: Importer, rows: Rows, underlying: str) -> None:
    report = importer(change(rows, "assets", 1, underlying=underlying))
    assert found(report, "CCY_UNKNOWN")[0].dataset == "assets"
    assert held(report) == {"alice": "REFERENCE_QUARANTINED"}


@pytest.mark.parametrize("underlying", ["", "DOGE"])
def test_underlying_without_a_price(importer: Importer, rows: Rows, underlying: str) -> None:
    change(rows, "instruments", 2, underlying=underlying)
    assert found(importer(rows), "UNDERLYING_UNKNOWN")[0].value == underlying


def test_b35_peg_assumed(importer: Importer, rows: Rows) -> None:
    change(rows, "assets", 1, underlying="USD")
    importer.refused("PEG_ASSUMED", rows)
    assert found(importer(rows, pegs=["USDC"]), "PEG_ACCEPTED", "warn")


def test_b51_collateral_negative(importer: Importer, rows: Rows) -> None:
    report = importer(change(rows, "collateral", 1, quantity="-100"))
    assert found(report, "COLLATERAL_NEGATIVE")[0].value == "-100"
    assert held(report) == {"bob": "COLLATERAL_NEGATIVE"}


@pytest.mark.parametrize("haircut", ["2", "-0.1", "1.0000001"])
def test_b52_haircut_range(importer: Importer, rows: Rows, haircut: str) -> None:
    assert haircut in importer.refused("HAIRCUT_RANGE", change(rows, "assets", 1, haircut=haircut))


def test_b69_dust_is_kept_to_the_last_lot(csv_importer: Importer, rows: Rows) -> None:
    """Every account holds one lot, half of them long; one short too few is found among them."""
    rows["accounts"] = [
        {"account": f"a{number}", "member": "M1", "margin_mode": "cross"} for number in range(4_000)
    ]
    rows["positions"] = [
        {"account": f"a{number}", "instrument": "ETH-PERP", "quantity": "-1" if number % 2 else "1"}
        for number in range(4_000)
    ]
    rows["collateral"] = [rows["collateral"][0] | {"account": "a0", "quantity": "0.000001"}]
    report = csv_importer(rows)
    assert report.counts == {}
    lots = Book.open(report.path).position_slice(0, 4_000).lots
    assert (len(lots), int(lots.sum()), int(np.abs(lots).sum())) == (4_000, 0, 4_000)
    rows["positions"].pop()
    shutil.rmtree(report.path)
    csv_importer.refused("UNBALANCED_OI", rows)


def test_b58_column_missing(importer: Importer, rows: Rows) -> None:
    for row in rows["positions"]:
        del row["quantity"]
    assert "no column quantity" in importer.refused("SCHEMA_DRIFT", rows)


@pytest.mark.parametrize(
    ("dataset", "old", "new"),
    [
        ("positions", "quantity", "quantitiy"),
        ("accounts", "account", "Account"),
        ("instruments", "venue", "venues"),
    ],
)
def test_b58_column_renamed(
    importer: Importer, rows: Rows, dataset: str, old: str, new: str
) -> None:
    rows[dataset] = [
        {(new if name == old else name): cell for name, cell in row.items()}
        for row in rows[dataset]
    ]
    message = importer.refused("SCHEMA_DRIFT", rows)
    assert f"rename {new} to {old}" in message


def test_b58_column_added(importer: Importer, rows: Rows) -> None:
    for row in rows["accounts"]:
        row["favourite_colour"] = "blue"
    report = importer(rows)
    (finding,) = found(report, "SCHEMA_ADDED", "warn")
    assert finding.field == "favourite_colour"


def test_b58_column_retyped(parquet_importer: Importer, rows: Rows) -> None:
    parquet_importer.write(rows)
    path = parquet_importer.source / "accounts.parquet"
    names = pa.array([7, 8, 9], pa.int64())
    pq.write_table(pq.read_table(path).set_column(0, "account", names), path)
    assert "int64" in parquet_importer.refused("SCHEMA_DRIFT")


def test_b58_column_twice(csv_importer: Importer, rows: Rows) -> None:
    csv_importer.write(rows)
    path = csv_importer.source / "members.csv"
    path.write_text("member,default_fund,member\nM1,1,M1\n")
    assert "twice: member" in csv_importer.refused("SCHEMA_DRIFT")


def test_b58_other_delimiter(csv_importer: Importer, rows: Rows) -> None:
    csv_importer.write(rows)
    (csv_importer.source / "members.csv").write_text("member;default_fund\nM1;1\n")
    assert "commas" in csv_importer.refused("SCHEMA_DRIFT")


@pytest.mark.parametrize(
    ("dataset", "column", "word"),
    [
        ("instruments", "kind", "swap"),
        ("instruments", "settlement", "INVERSE"),
        ("instruments", "option_type", "C"),
        ("accounts", "margin_mode", "span"),
    ],
)
def test_b59_enum_drift(
    importer: Importer, rows: Rows, dataset: str, column: str, word: str
) -> None:
    report = importer(change(rows, dataset, 0, **{column: word}))
    (finding,) = found(report, "ENUM_UNKNOWN")
    assert (finding.dataset, finding.field, finding.value) == (dataset, column, word)


def test_b59_side_drift(importer: Importer, rows: Rows) -> None:
    for row in rows["positions"]:
        row["side"] = "short" if row["quantity"].startswith("-") else "long"
        row["quantity"] = row["quantity"].lstrip("-")
    report = importer(rows)
    assert Book.open(report.path).position_slice(0, 3).lots.tolist() == [3, 15, 2500, -3, -15]
    rows["positions"][0]["side"] = "BUY_TO_CLOSE"
    importer.target = importer.folder / "second"
    report = importer(rows, one_sided=True)
    assert found(report, "ENUM_UNKNOWN")[0].value == "BUY_TO_CLOSE"
    assert held(report) == {"bob": "ENUM_UNKNOWN"}


def test_b60_sign_convention(importer: Importer, rows: Rows) -> None:
    for row in rows["positions"]:
        row["quantity"] = row["quantity"].lstrip("-")
    importer.refused("SIGN_CONVENTION", rows)
    assert found(importer(rows, one_sided=True), "SIGN_CONVENTION", "warn")


def test_b60_signed_quantity_with_a_side(importer: Importer, rows: Rows) -> None:
    for row in rows["positions"]:
        row["side"] = "long"
    importer.refused("SIGN_CONVENTION", rows)


@pytest.mark.parametrize("dataset", ["instruments", "accounts", "positions", "assets"])
def test_b61_no_rows(importer: Importer, rows: Rows, dataset: str) -> None:
    importer.write(rows)
    path = importer.source / f"{dataset}{importer.suffix}"
    if importer.suffix == ".csv":
        for content in ("", "\n", ",".join(rows[dataset][0]), ",".join(rows[dataset][0]) + "\n"):
            path.write_text(content)
            importer.refused("EMPTY_INPUT")
    else:
        pq.write_table(pq.read_table(path).slice(0, 0), path)
        importer.refused("EMPTY_INPUT")


def test_b61_every_account_in_quarantine(importer: Importer, rows: Rows) -> None:
    for row in rows["accounts"]:
        row["margin_mode"] = "span"
    importer.refused("EMPTY_INPUT", rows)


def test_b61_missing_file(importer: Importer, rows: Rows) -> None:
    importer.write(rows)
    (importer.source / f"collateral{importer.suffix}").unlink()
    assert "collateral" in importer.refused("DATASET_MISSING")


def test_b61_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(DatasetRefused, match="DATASET_MISSING"):
        import_book(tmp_path / "nowhere", tmp_path / "book", as_of=AS_OF)


@pytest.mark.parametrize(
    "name", ["=HYPERLINK(1)", "+1", "@x", "a\x00b", "a\u200bb", "a\ufeff", "a\n"]
)
def test_b62_unclean_name(importer: Importer, rows: Rows, name: str) -> None:
    rows["accounts"].append({"account": name, "member": "M1", "margin_mode": "cross"})
    report = importer(rows)
    (finding,) = found(report, "ENCODING")
    assert (finding.dataset, finding.line) == ("accounts", 4)


def test_b62_not_utf8(csv_importer: Importer, rows: Rows) -> None:
    csv_importer.write(rows)
    path = csv_importer.source / "accounts.csv"
    path.write_bytes(path.read_bytes() + b"Jos\xe9,M1,cross\n")
    (finding,) = found(csv_importer(), "ENCODING")
    assert (finding.value, finding.line) == ("Jos\\xe9", 4)


def test_b62_utf16(csv_importer: Importer, rows: Rows) -> None:
    csv_importer.write(rows)
    path = csv_importer.source / "accounts.csv"
    path.write_text(path.read_text(), encoding="utf-16")
    csv_importer.refused("ENCODING")


def test_b62_byte_order_mark_is_harmless(csv_importer: Importer, rows: Rows) -> None:
    csv_importer.write(rows)
    path = csv_importer.source / "accounts.csv"
    path.write_text(path.read_text(), encoding="utf-8-sig")
    assert csv_importer().counts == {}


def test_b62_leading_zeros_are_kept(importer: Importer, rows: Rows) -> None:
    rows["accounts"] += [
        {"account": name, "member": "M1", "margin_mode": "cross"} for name in ("007", "07", "7")
    ]
    book = Book.open(importer(rows).path)
    assert book.account_table(0, 3)["account"].to_pylist() == ["007", "07", "7"]


@pytest.mark.parametrize(
    "quantity", ["1,5", "1.234,50", "1,234.50", "1 234", "1'234", "(3)", "3-", "1.5E+05", "1.2.3"]
)
def test_b63_number_format(importer: Importer, rows: Rows, quantity: str) -> None:
    message = importer.refused("NUMBER_FORMAT", change(rows, "positions", 0, quantity=quantity))
    assert quantity in message


@pytest.mark.parametrize(
    ("dataset", "column"),
    [("instruments", "multiplier"), ("collateral", "quantity"), ("assets", "haircut")],
)
def test_b63_decimal_comma(importer: Importer, rows: Rows, dataset: str, column: str) -> None:
    importer.refused("NUMBER_FORMAT", change(rows, dataset, 0, **{column: "0,05"}))


def test_b63_decimal_comma_without_quotes(csv_importer: Importer, rows: Rows) -> None:
    csv_importer.write(rows)
    path = csv_importer.source / "positions.csv"
    path.write_text(path.read_text() + "alice,ETH-PERP,1,5\n")
    message = csv_importer.refused("ROW_SHAPE")
    assert "row 6" in message
    assert "4 cells where the header has 3" in message


@pytest.mark.parametrize("quantity", ["", "abc", "nan", "inf", "--3", "0x10", "٣"])
def test_quantity_that_is_no_number(importer: Importer, rows: Rows, quantity: str) -> None:
    report = importer(change(rows, "positions", 0, quantity=quantity))
    assert found(report, "NUMBER_INVALID")[0].value == quantity
    assert held(report) == {"bob": "NUMBER_INVALID"}
    assert len(found(report, "UNBALANCED_OI", "warn")) == 1


@pytest.mark.parametrize(
    ("row", "cells"),
    [
        (0, {"strike": ""}),
        (0, {"strike": "0"}),
        (0, {"option_type": ""}),
        (1, {"expiry": "2024-07-26T08:00:00Z"}),
        (1, {"strike": "2500"}),
        (1, {"option_type": "call"}),
        (1, {"kind": "future"}),
        (0, {"settlement": "quanto", "settlement_currency": "BTC"}),
    ],
)
def test_terms_that_do_not_fit_the_kind(
    importer: Importer, rows: Rows, row: int, cells: dict[str, str]
) -> None:
    report = importer(change(rows, "instruments", row, **cells))
    assert found(report, "TERMS_MISMATCH")[0].row == rows["instruments"][row]["instrument"]


def test_members_are_derived_without_a_file(importer: Importer, rows: Rows) -> None:
    del rows["members"]
    report = importer(rows)
    assert found(report, "MEMBERS_DERIVED", "warn")
    members = Book.open(report.path).members()
    assert members.to_pylist() == [{"member": "M1", "default_fund": 0.0}]


@pytest.mark.parametrize(
    "damage", [lambda b: b[:-20], lambda b: b[: len(b) // 2], lambda b: b"PAR1"]
)
def test_damaged_parquet(
    parquet_importer: Importer, rows: Rows, damage: Callable[[bytes], bytes]
) -> None:
    parquet_importer.write(rows)
    path = parquet_importer.source / "positions.parquet"
    path.write_bytes(damage(path.read_bytes()))
    parquet_importer.refused("DATASET_UNREADABLE")


def test_several_problems_are_told_at_once(csv_importer: Importer, rows: Rows) -> None:
    change(rows, "assets", 1, haircut="2")
    change(rows, "instruments", 1, settlement="")
    rows["accounts"].append(dict(rows["accounts"][0]))
    message = csv_importer.refused("HAIRCUT_RANGE", rows)
    assert "CONTRACT_TYPE" in message
    assert "DUPLICATE_KEY" in message


def test_quarantine_is_in_the_book(importer: Importer, rows: Rows) -> None:
    report = importer(change(rows, "collateral", 1, quantity="-100"))
    kept = Book.open(report.path).quarantine()
    assert kept.select(report.findings.column_names).to_pylist() == report.findings.to_pylist()
    assert set(kept["code"].to_pylist()) <= set(CODES)


def test_an_account_whose_own_row_is_bad_is_counted_and_found_by_name(
    importer: Importer, rows: Rows
) -> None:
    change(rows, "accounts", 2, margin_mode="crosss")
    change(rows, "positions", 4, quantity="0.25001")
    importer(rows)
    book = Book.open(importer.target)
    assert (book.accounts, book.left_out) == (2, 1)
    with pytest.raises(
        AccountUnknown, match=r"'bob' is not in .* in quarantine: ENUM_UNKNOWN, acc"
    ):
        book.account_row("bob")
    with pytest.raises(AccountUnknown, match="no account 'dave'"):
        book.account_row("dave")
    (alices,) = book.findings_of("alice")
    assert (alices["code"], alices["value"]) == ("LOT_SIZE", "0.25001")
    assert {one["dataset"] for one in book.findings_of("bob")} == {
        "accounts",
        "positions",
        "collateral",
    }
    assert book.findings_of("ali") == []
