"""Every reader of files from outside as a function of bytes, and the valid files to start from."""

import io
import json
import re
import tempfile
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from importlib import resources
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from risk.claims.moves import MoveProblem
from risk.claims.rules import parse_pool_rules
from risk.methodology import parse_methodology
from risk.proofs.anchors import Trusted
from risk.proofs.outcome import ProofRefused
from risk.sensitivities.simm.parameters import parse_simm
from risk.specification import read_toml
from risk.systemic.plan import parse_stress_plan
from risk.systemic.waterfall import parse_waterfall
from storage.book import Book
from storage.dataset.manifest import parse_manifest
from storage.intake import layout
from storage.intake.book import import_book
from storage.intake.claims import import_claims
from storage.intake.layout import InputTable
from storage.intake.market import import_market
from storage.market import Market, sample_market
from storage.quarantine import DatasetRefused
from workers.conformance.vector_file import read_vectors
from workers.proofs import judge_file

ROOT = Path(__file__).parents[2]
AS_OF = datetime(2024, 1, 8, 11, 19, 41, tzinfo=UTC)
EXAMPLE_ROWS = 12


def refused(error: Exception) -> bool:
    """Tell whether an error is one that a user is told in a sentence, and no fault of ours."""
    named = ValueError | OSError | DatasetRefused | ProofRefused
    return isinstance(error, named) and not isinstance(error, RecursionError)


def read_rules(parse: Callable[[str], object]) -> Callable[[bytes], object]:
    """Return a reader of a file of rules."""
    return lambda content: parse(content.decode())


def read_tables(
    inputs: tuple[InputTable, ...],
    suffix: str,
    good: Callable[[], Mapping[str, bytes]],
    run: Callable[[Path, Path], object],
) -> Callable[[bytes], object]:
    """Return a reader of one file among good ones: the first byte says which it is."""

    def read(content: bytes) -> object:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name) / "in"
            folder.mkdir()
            for dataset, rows in good().items():
                (folder / f"{dataset}.csv").write_bytes(rows)
            if content:
                spoilt = inputs[content[0] % len(inputs)].name
                (folder / f"{spoilt}.csv").unlink(missing_ok=True)
                (folder / f"{spoilt}{suffix}").write_bytes(content[1:])
            return run(folder, Path(name) / "out")

    return read


def as_inputs(
    inputs: tuple[InputTable, ...], suffix: str, good: Callable[[], Mapping[str, bytes]]
) -> Callable[[], list[bytes]]:
    """Return what gives the good files as ``read_tables`` takes them."""

    def files() -> list[bytes]:
        rows = good()
        return [
            bytes([number]) + (rows[table.name] if suffix == ".csv" else _parquet(rows[table.name]))
            for number, table in enumerate(inputs)
            if table.name in rows
        ]

    return files


def _parquet(rows: bytes) -> bytes:
    names = rows.decode().partition("\n")[0].replace('"', "").split(",")
    options = pacsv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()))
    buffer = io.BytesIO()
    pq.write_table(pacsv.read_csv(io.BytesIO(rows), convert_options=options), buffer)
    return buffer.getvalue()


@cache
def _shown(page: str, folder: str) -> Mapping[str, bytes]:
    """Return the files that a page of the documents shows, by dataset."""
    text = (ROOT / "docs" / page).read_text()
    found = re.findall(rf"`{folder}/(\w+)\.csv`\n\n```csv\n(.*?)```", text, re.DOTALL)
    return {name: content.encode() for name, content in found}


def _desk() -> Mapping[str, bytes]:
    return _shown("importing.md", "desk")


def _pool() -> Mapping[str, bytes]:
    return _shown("claims.md", "pool")


@cache
def _market() -> Mapping[str, bytes]:
    market = sample_market()
    prices = market.prices()
    recent = prices.filter(pc.less_equal(prices["timestamp"], pa.scalar(market.as_of)))
    tables = {"quotes": market.quotes().slice(0, EXAMPLE_ROWS), "prices": recent}
    eth = tables["prices"].filter(pc.equal(recent["underlying"], "ETH"))
    tables["prices"] = eth.slice(eth.num_rows - EXAMPLE_ROWS)
    files = {}
    for name, table in tables.items():
        buffer = io.BytesIO()
        pacsv.write_csv(table, buffer)
        files[name] = buffer.getvalue()
    return files


def _block(page: str, language: str) -> Callable[[], list[bytes]]:
    def first() -> list[bytes]:
        text = (ROOT / "docs" / page).read_text()
        found = re.search(rf"^```{language}\n(.*?)^```$", text, re.M | re.S)
        assert found is not None
        return [found[1].encode()]

    return first


def _shipped(package: str, beginning: str = "") -> Callable[[], list[bytes]]:
    return lambda: [
        entry.read_bytes()
        for entry in sorted(resources.files(package).iterdir(), key=lambda entry: entry.name)
        if entry.name.endswith(".toml") and entry.name.startswith(beginning)
    ]


@cache
def _example_book() -> Book:
    folder = Path(tempfile.mkdtemp(prefix="margincube-fuzz-"))
    for dataset, rows in _desk().items():
        (folder / f"{dataset}.csv").write_bytes(rows)
    import_book(folder, folder / "book", as_of=AS_OF)
    return Book.open(folder / "book")


def _in_file(name: str, read: Callable[[Path], object]) -> Callable[[bytes], object]:
    """Return a reader of a file of that name."""

    def written(content: bytes) -> object:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / name
            path.write_bytes(content)
            return read(path)

    return written


@cache
def _trusted() -> Trusted:
    return Trusted.model_validate(read_toml(_block("proofs.md", "toml")()[0].decode()))


def _base() -> str:
    return _shipped("risk.methodologies", "margincube-portfolio")()[0].decode()


def _vectors() -> list[bytes]:
    content = json.loads((ROOT / "tests" / "golden" / "margin_vectors.json").read_text())
    content["vectors"] = content["vectors"][:2]
    return [json.dumps(content).encode()]


def _manifest() -> list[bytes]:
    return [(_example_book().path / "manifest.json").read_bytes()]


BOOK = layout.BOOK_INPUTS
MARKET = layout.MARKET_INPUTS
CLAIMS = layout.CLAIM_INPUTS


def _book_of(source: Path, target: Path) -> object:
    return import_book(source, target, as_of=AS_OF, one_sided=True, merge_duplicates=True)


def _market_of(source: Path, target: Path) -> object:
    return import_market(source, target, as_of=AS_OF)


def _claims_of(source: Path, target: Path) -> object:
    return import_claims(_example_book(), source, target)


READERS: Mapping[str, Callable[[bytes], object]] = {
    "methodology": read_rules(lambda text: parse_methodology(text).layers),
    "events": read_rules(lambda text: parse_methodology(_base(), text)),
    "pool": read_rules(parse_pool_rules),
    "stress": read_rules(parse_stress_plan),
    "waterfall": read_rules(parse_waterfall),
    "simm": read_rules(parse_simm),
    "moves": read_rules(lambda text: MoveProblem.model_validate(read_toml(text, Decimal))),
    "trusted": read_rules(lambda text: Trusted.model_validate(read_toml(text))),
    "holding": _in_file("holding.json", lambda path: judge_file(path, _trusted())),
    "vectors": _in_file("vectors.json", read_vectors),
    "book-manifest": lambda content: parse_manifest(content, Path("book"), Book.kind),
    "market-manifest": _in_file("manifest.json", lambda path: Market.open(path.parent)),
    "book-csv": read_tables(BOOK, ".csv", _desk, _book_of),
    "book-parquet": read_tables(BOOK, ".parquet", _desk, _book_of),
    "market-csv": read_tables(MARKET, ".csv", _market, _market_of),
    "market-parquet": read_tables(MARKET, ".parquet", _market, _market_of),
    "claims-csv": read_tables(CLAIMS, ".csv", _pool, _claims_of),
    "claims-parquet": read_tables(CLAIMS, ".parquet", _pool, _claims_of),
}
"""What reads one file from outside, by its name."""

SEEDS: Mapping[str, Callable[[], list[bytes]]] = {
    "methodology": _shipped("risk.methodologies", "margincube"),
    "events": _shipped("risk.methodologies", "events"),
    "pool": _shipped("risk.methodologies.pool"),
    "stress": _shipped("risk.methodologies.stress"),
    "waterfall": _shipped("risk.systemic.waterfalls"),
    "simm": _shipped("risk.sensitivities.parameters"),
    "moves": _block("moves.md", "toml"),
    "trusted": _block("proofs.md", "toml"),
    "holding": _block("proofs.md", "json"),
    "vectors": _vectors,
    "book-manifest": _manifest,
    "market-manifest": lambda: [json.dumps(sample_market().manifest).encode()],
    "book-csv": as_inputs(BOOK, ".csv", _desk),
    "book-parquet": as_inputs(BOOK, ".parquet", _desk),
    "market-csv": as_inputs(MARKET, ".csv", _market),
    "market-parquet": as_inputs(MARKET, ".parquet", _market),
    "claims-csv": as_inputs(CLAIMS, ".csv", _pool),
    "claims-parquet": as_inputs(CLAIMS, ".parquet", _pool),
}
"""The valid files that each of them starts from."""
