"""Whatever is in the files, an import ends in a report or a refusal, never in another exception."""

import io
import tempfile
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.book import Book
from storage.intake import cells
from storage.intake.book import import_book
from storage.intake.cells import Status
from storage.intake.lots import LOT_LIMIT, to_lots
from storage.intake.market import import_market
from storage.intake.totals import Sums
from storage.quarantine import DatasetRefused

AS_OF = datetime(2024, 1, 8, 11, 19, 41, tzinfo=UTC)
BOOK = {
    "instruments": (
        "instrument,kind,settlement,underlying,settlement_currency,expiry,strike,option_type,"
        "multiplier,lot_size\nP,perpetual,inverse,ETH,ETH,,,,10,1\n"
        "C,option,inverse,ETH,ETH,2024-07-26T08:00:00Z,2500,call,1,0.1\n"
    ),
    "accounts": "account,member,margin_mode\na,M,cross\nb,M,portfolio\n",
    "positions": "account,instrument,quantity\na,P,3\nb,P,-3\na,C,0.5\nb,C,-0.5\n",
    "assets": "asset,chain,protocol,underlying,haircut\nUSD,none,none,USD,0\n",
    "collateral": "account,asset,chain,protocol,quantity\na,USD,none,none,5\n",
}
MARKET = {
    "quotes": (
        "instrument,underlying,expiry,strike,option_type,mark,forward,timestamp,open_interest\n"
        "C,ETH,2024-07-26T08:00:00Z,2500,call,0.05,2250,2024-01-08T11:19:00Z,10\n"
    ),
    "prices": "underlying,timestamp,close\n"
    + "".join(f"ETH,2024-01-08T{hour:02}:00:00Z,{2240 + hour}\n" for hour in range(12)),
}
CELLS = st.one_of(
    st.sampled_from(
        [
            "",
            "a",
            "b",
            "A",
            "P",
            "C",
            "3",
            "-3",
            "0.5",
            "1e-3",
            "1e5",
            "1,5",
            "nan",
            "-inf",
            "Infinity",
            "1e999",
            "2024-07-26T08:00:00Z",
            ".5",
            "2024-07-26",
            "9999999999999999999",
            "-9223372036854775808",
            "0.0000000000000000001",
            "long",
            "call",
            "2024-07-26T08:00:00.123456789Z",
            "2024-13-45T99:99:99Z",
            "2024-07-26T08:00:00+99:99",
            "9999-12-31T23:59:59-23:59",
        ]
    ),
    st.text(max_size=12),
    st.decimals(allow_nan=True, allow_infinity=True).map(str),
    st.floats().map(repr),
)


def outcome(
    files: dict[str, bytes],
    run: Callable[[Path, Path], object],
    others: Mapping[str, bytes] = MappingProxyType({}),
) -> bool:
    """Run an import in a fresh folder; return whether it accepted the files."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = folder / "source"
        source.mkdir()
        for dataset, content in files.items():
            (source / f"{dataset}.csv").write_bytes(content)
        for file, content in others.items():
            (source / file).write_bytes(content)
        try:
            run(source, folder / "target")
        except DatasetRefused as error:
            refusal: DatasetRefused | None = error
        else:
            refusal = None
        assert (folder / "target").exists() == (refusal is None)
        assert refusal is None or (refusal.findings.refused and "allowed:" in str(refusal))
        return refusal is None


def run_book(source: Path, target: Path) -> None:
    report = import_book(source, target, as_of=AS_OF, one_sided=True, merge_duplicates=True)
    assert all(count.rows == count.accepted + count.quarantined for count in report.datasets)
    Book.open(target).verify()


def run_market(source: Path, target: Path) -> None:
    report = import_market(source, target, as_of=AS_OF)
    assert all(count.rows == count.accepted + count.quarantined for count in report.datasets)


IMPORTS = [(BOOK, run_book), (MARKET, run_market)]


@pytest.mark.parametrize(("good", "run"), IMPORTS, ids=["book", "market"])
def test_unspoilt_files_are_accepted(
    good: dict[str, str], run: Callable[[Path, Path], object]
) -> None:
    assert outcome({name: text.encode() for name, text in good.items()}, run)


@pytest.mark.parametrize(("good", "run"), IMPORTS, ids=["book", "market"])
@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_random_bytes(
    good: dict[str, str], run: Callable[[Path, Path], object], data: st.DataObject
) -> None:
    files = {name: text.encode() for name, text in good.items()}
    name = data.draw(st.sampled_from(sorted(files)))
    content = files[name]
    start = data.draw(st.integers(0, len(content)))
    stop = data.draw(st.integers(start, min(len(content), start + 30)))
    files[name] = content[:start] + data.draw(st.binary(max_size=30)) + content[stop:]
    outcome(files, run)


@pytest.mark.parametrize(("good", "run"), IMPORTS, ids=["book", "market"])
@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_random_cells(
    good: dict[str, str], run: Callable[[Path, Path], object], data: st.DataObject
) -> None:
    files = {name: text.encode() for name, text in good.items()}
    name = data.draw(st.sampled_from(sorted(files)))
    header, *lines = good[name].splitlines()
    for _ in range(data.draw(st.integers(1, 4))):
        row = data.draw(st.integers(0, len(lines) - 1))
        row_cells = lines[row].split(",")
        column = data.draw(st.integers(0, len(row_cells) - 1))
        row_cells[column] = '"' + data.draw(CELLS).replace('"', '""').replace(",", ".") + '"'
        lines.append(",".join(row_cells))
    text = "\n".join([header, *lines]) + "\n"
    files[name] = text.encode("utf-8", errors="surrogatepass")
    outcome(files, run)


@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_flipped_bytes_in_parquet(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(BOOK)))
    table = pacsv.read_csv(io.BytesIO(BOOK[name].encode()))
    text = pa.table({n: table[n].cast(pa.string()) for n in table.column_names})
    buffer = io.BytesIO()
    pq.write_table(text, buffer)
    content = bytearray(buffer.getvalue())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    files = {other: rows.encode() for other, rows in BOOK.items() if other != name}
    outcome(files, run_book, {f"{name}.parquet": bytes(content)})


DECIMALS = st.decimals(
    min_value=-(10**25), max_value=10**25, allow_nan=False, allow_infinity=False, places=7
)


@settings(deadline=None, max_examples=100)
@given(
    quantities=st.lists(DECIMALS | st.integers(-(10**6), 10**6), min_size=1, max_size=20),
    lots=st.lists(st.tuples(st.integers(1, 10**6), st.integers(0, 18)), min_size=1, max_size=4),
    seed=st.integers(0, 2**32 - 1),
)
def test_lots_and_sums_are_those_of_exact_fractions(
    quantities: list[object], lots: list[tuple[int, int]], seed: int
) -> None:
    texts = [
        f"{quantity:f}" if hasattr(quantity, "is_nan") else str(quantity) for quantity in quantities
    ]
    instrument = np.random.default_rng(seed).integers(0, len(lots), len(texts))
    read = cells.exact(pa.array(texts))
    assert (read.status == Status.GOOD).all()
    got, fault = to_lots(read, instrument, lots)
    sums = Sums(len(lots))
    sums.add(instrument, read, np.arange(len(texts)))
    for row, text in enumerate(texts):
        size, places = lots[instrument[row]]
        expected = Fraction(text) / Fraction(size, 10**places)
        if expected.denominator != 1:
            assert fault[row] == 1
        elif abs(expected) >= LOT_LIMIT:
            assert fault[row] == 2
        else:
            assert fault[row] == 0
            assert got[row] == expected
    for number in range(len(lots)):
        mine = [Fraction(t) for t, i in zip(texts, instrument, strict=True) if i == number]
        assert sums.net(number) == sum(mine)
        assert sums.side(number, 0) == sum(value for value in mine if value > 0)


@settings(deadline=None, max_examples=100)
@given(st.lists(st.floats() | st.integers() | st.decimals(), min_size=1, max_size=30))
def test_numbers_are_those_of_python(values: list[object]) -> None:
    texts = [str(value) for value in values]
    read = cells.numbers(pa.array(texts))
    for text, value, status in zip(texts, read.values, read.status, strict=True):
        if status == Status.GOOD:
            assert value == float(text)
        else:
            assert not np.isfinite(value)
