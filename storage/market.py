"""A market: quotes, price history and index prices at one instant, as a folder on disk.

The folder holds ``quotes.parquet``, ``prices.parquet`` and ``manifest.json``, which names the
instant, the index price of every coin and the digest of both files. It is written whole and
never changed.
"""

import hashlib
import io
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from storage.digest import json_digest
from storage.json_text import require_shallow
from storage.tables import PRICES, QUOTES, Table

FORMAT = "margincube-market"
FORMAT_VERSION = 1
SAMPLE = "eth_options_2024_01_08"
"""Name of the market that is shipped with the package."""


class MarketInvalid(ValueError):
    """A market folder that cannot be used as it is."""


@dataclass(frozen=True, slots=True)
class IndexPrice:
    """The price of one coin at the market's instant, and where it comes from."""

    price: float  # USD per coin
    timestamp: datetime  # when it was observed, never after the market's instant
    source: str

    def age_seconds(self, as_of: datetime) -> float:
        """Return how old the observation is at ``as_of``."""
        return (as_of - self.timestamp).total_seconds()


@dataclass(frozen=True)
class Market:
    """An opened market folder; tables are read when asked for, and their digests checked."""

    path: Path
    name: str
    as_of: datetime
    index: Mapping[str, IndexPrice]
    digest: str
    manifest: Mapping[str, Any]

    @classmethod
    def open(cls, path: str | Path) -> "Market":
        """Return the market in a folder.

        Raises:
            MarketInvalid: the folder has no manifest, or one of another format.

        >>> market = sample_market()
        >>> market.as_of.isoformat(), market.underlyings
        ('2024-01-08T11:19:41+00:00', ['BTC', 'ETH', 'SOL'])
        """
        folder = Path(path)
        try:
            text = (folder / "manifest.json").read_text()
            require_shallow(text)
            manifest = json.loads(text)
        except FileNotFoundError:
            raise MarketInvalid(
                f"{folder} is not a market: it has no manifest.json; write one with write_market"
            ) from None
        except ValueError as error:
            raise MarketInvalid(f"{folder / 'manifest.json'} is not JSON: {error}") from None
        try:
            return cls._of(folder, manifest)
        except MarketInvalid:
            raise
        except (ValueError, KeyError, TypeError, AttributeError) as fault:
            raise MarketInvalid(
                f"{folder / 'manifest.json'} is no manifest of a market ({fault!r}); write the "
                "market again"
            ) from fault

    @classmethod
    def _of(cls, folder: Path, manifest: Any) -> "Market":
        found = (manifest.get("format"), manifest.get("format_version"))
        if found != (FORMAT, FORMAT_VERSION):
            raise MarketInvalid(
                f"{folder} has format {found}, this version reads {(FORMAT, FORMAT_VERSION)}"
            )
        index = {
            coin: IndexPrice(
                entry["price"], datetime.fromisoformat(entry["timestamp"]), entry["source"]
            )
            for coin, entry in manifest["index"].items()
        }
        return cls(
            path=folder,
            name=manifest["name"],
            as_of=datetime.fromisoformat(manifest["as_of"]),
            index=index,
            digest=_digest(manifest),
            manifest=manifest,
        )

    @property
    def underlyings(self) -> list[str]:
        """Every coin that has an index price, in alphabetical order."""
        return sorted(self.index)

    def quotes(self) -> pa.Table:
        """Return the option quotes, columns of ``storage.tables.QUOTES``."""
        return self._quotes

    def prices(self) -> pa.Table:
        """Return the hourly closes, columns of ``storage.tables.PRICES``."""
        return self._prices

    @cached_property
    def _quotes(self) -> pa.Table:
        return self._read("quotes.parquet", QUOTES)

    @cached_property
    def _prices(self) -> pa.Table:
        return self._read("prices.parquet", PRICES)

    def _read(self, file: str, declared: Table) -> pa.Table:
        try:
            content = (self.path / file).read_bytes()
        except FileNotFoundError:
            raise MarketInvalid(f"{self.path} lacks {file}, which its manifest names") from None
        expected = self.manifest["files"][file]["sha256"]
        found = hashlib.sha256(content).hexdigest()
        if found != expected:
            raise MarketInvalid(
                f"{self.path / file} has sha256 {found[:16]}…, its manifest says {expected[:16]}…; "
                "the file was changed after the market was written: write the market again"
            )
        table = pq.read_table(io.BytesIO(content))
        check_schema(table, declared, str(self.path / file))
        return table


def check_schema(table: pa.Table, declared: Table, where: str) -> None:
    """Raise ``MarketInvalid`` with the differences unless a table has the declared columns."""
    found = {field.name: field.type for field in table.schema}
    wanted = {column.name: column.type for column in declared.columns}
    differences = [f"{name} is missing" for name in wanted if name not in found]
    differences += [f"{name} is not declared" for name in found if name not in wanted]
    differences += [
        f"{name} is {found[name]}, declared {kind}"
        for name, kind in wanted.items()
        if name in found and found[name] != kind
    ]
    if differences:
        raise MarketInvalid(f"SCHEMA_DRIFT: {where}: {'; '.join(differences)}")


def sample_market() -> Market:
    """Return the shipped market: the ETH option chain of 2024-01-08 and six years of hours."""
    return Market.open(Path(__file__).parent / "samples" / SAMPLE)


def write_market(
    path: str | Path,
    quotes: pa.Table,
    prices: pa.Table,
    as_of: datetime,
    indexes: Mapping[str, IndexPrice] | None = None,
) -> Market:
    """Write a market folder whole and return it opened.

    A coin of ``prices`` that ``indexes`` does not name takes its last close at or before
    ``as_of``: what came later is history for scenarios and never a price at the instant.

    Raises:
        MarketInvalid: the folder exists; a table lacks a declared column; ``as_of`` has no zone;
            an index price is not positive or is later than ``as_of``; or a coin has neither an
            index price nor a close at or before ``as_of``.
    """
    folder = Path(path)
    if folder.exists():
        raise MarketInvalid(f"{folder} exists; a market is never overwritten: choose another path")
    if as_of.tzinfo is None:
        raise MarketInvalid(f"TZ_MISSING: as_of {as_of} has no zone; give it in UTC")
    check_schema(quotes, QUOTES, "quotes")
    check_schema(prices, PRICES, "prices")
    as_of = as_of.astimezone(UTC)
    quotes = quotes.sort_by(
        [(name, "ascending") for name in ("underlying", "expiry", "strike", "option_type")]
    )
    prices = prices.sort_by([("underlying", "ascending"), ("timestamp", "ascending")])
    index = _complete_index(quotes, prices, as_of, dict(indexes or {}))
    folder.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        manifest = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "name": folder.name,
            "as_of": as_of.isoformat(),
            "index": {
                coin: {
                    "price": index[coin].price,
                    "timestamp": index[coin].timestamp.astimezone(UTC).isoformat(),
                    "source": index[coin].source,
                }
                for coin in sorted(index)
            },
            "files": {
                "quotes.parquet": _write_table(
                    staging / "quotes.parquet", quotes.cast(QUOTES.schema)
                ),
                "prices.parquet": _write_table(
                    staging / "prices.parquet", prices.cast(PRICES.schema)
                ),
            },
        }
        (staging / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")
        staging.chmod(0o755)
        os.rename(staging, folder)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    return Market.open(folder)


def _complete_index(
    quotes: pa.Table, prices: pa.Table, as_of: datetime, given: dict[str, IndexPrice]
) -> dict[str, IndexPrice]:
    for coin, entry in given.items():
        if not 0.0 < entry.price < float("inf"):
            raise MarketInvalid(f"the index price of {coin} is {entry.price}; it must be positive")
        if entry.timestamp > as_of:
            raise MarketInvalid(
                f"the index price of {coin} was observed at {entry.timestamp.isoformat()}, "
                f"after as_of {as_of.isoformat()}; use one that was known by then"
            )
    known = prices.filter(pc.less_equal(prices["timestamp"], pa.scalar(as_of, PRICES_TIMESTAMP)))
    coins = set(pc.unique(prices["underlying"]).to_pylist())
    coins |= set(pc.unique(quotes["underlying"]).to_pylist())
    for coin in sorted(coins - set(given)):
        history = known.filter(pc.equal(known["underlying"], coin))
        if history.num_rows == 0:
            raise MarketInvalid(
                f"{coin} has no close at or before as_of {as_of.isoformat()}; "
                "give its index price in indexes"
            )
        last = history.slice(history.num_rows - 1)
        given[coin] = IndexPrice(
            last["close"][0].as_py(), last["timestamp"][0].as_py(), "last hourly close"
        )
    return given


def _write_table(path: Path, table: pa.Table) -> dict[str, Any]:
    text = [field.name for field in table.schema if pa.types.is_string(field.type)]
    encodings = {
        field.name: "DELTA_BINARY_PACKED"
        if pa.types.is_timestamp(field.type)
        else "BYTE_STREAM_SPLIT"
        for field in table.schema
        if field.name not in text
    }
    pq.write_table(
        table,
        path,
        compression="zstd",
        compression_level=19,
        use_dictionary=text,
        column_encoding=encodings,
    )
    return {
        "rows": table.num_rows,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }


def _digest(manifest: Mapping[str, Any]) -> str:
    """Return the digest of everything in a market except its name."""
    content = {key: value for key, value in manifest.items() if key != "name"}
    return json_digest(content)


PRICES_TIMESTAMP = PRICES.schema.field("timestamp").type
