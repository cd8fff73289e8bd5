"""Import a market: option quotes and hourly prices, checked row by row, written whole."""

import os
import shutil
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from storage import tables
from storage.intake import checks, layout
from storage.intake.arbitrage import check_arbitrage
from storage.intake.checks import Rows
from storage.intake.folder import DatasetCount, Progress
from storage.intake.history import MarketLimits, check_history
from storage.intake.oracles import agrees, check_oracles
from storage.intake.quotes import (
    check_index_units,
    check_levels,
    check_parity,
    levels,
    price_checks,
    quote_checks,
    set_swapped_aside,
    unit_check,
)
from storage.intake.rows import Batch, from_table, locate, read_table
from storage.market import IndexPrice, MarketInvalid, write_market
from storage.quarantine import Finding, Findings

QUARANTINE = "quarantine.parquet"


@dataclass(frozen=True, slots=True)
class MarketReport:
    """What became of a market: every row that came in is accepted or in quarantine."""

    path: Path
    as_of: datetime
    datasets: tuple[DatasetCount, ...]
    counts: Mapping[str, int]  # findings by code, exact
    findings: pa.Table
    seconds: float


def check_market(
    quotes: pa.Table,
    prices: pa.Table,
    as_of: datetime,
    limits: MarketLimits | None = None,
    indexes: Mapping[str, IndexPrice] | None = None,
) -> tuple[pa.Table, pa.Table, Findings]:
    """Return the quotes and prices that can be believed, and what was found.

    Args:
        quotes: columns of ``storage.tables.QUOTES``, optionally ``volatility`` (annual fraction)
            and ``price_unit``.
        prices: columns of ``storage.tables.PRICES``, optionally ``price_unit``.
        as_of: the valuation instant, with a zone.
        limits: what prices may do; the defaults suit hourly closes of coins.
        indexes: index prices that do not come from ``prices``.

    Raises:
        DatasetRefused: a dataset cannot be used.
    """
    findings = Findings()
    read = [
        checks.read(from_table(table, declared, findings), declared, findings)
        for table, declared in ((quotes, layout.QUOTES), (prices, layout.PRICES))
    ]
    _check(read[0], read[1], as_of, limits or MarketLimits(), indexes or {})
    clean_quotes, clean_prices = (
        _accepted(rows, declared)
        for rows, declared in zip(read, (tables.QUOTES, tables.PRICES), strict=True)
    )
    return clean_quotes, clean_prices, findings


def import_market(
    source: Path | str,
    target: Path | str,
    *,
    as_of: datetime,
    limits: MarketLimits | None = None,
    indexes: Mapping[str, IndexPrice] | None = None,
    progress: Progress | None = None,
) -> MarketReport:
    """Read ``quotes`` and ``prices`` (CSV or Parquet), check every row and write the market.

    What is in quarantine is written beside the accepted rows, as ``quarantine.parquet``.

    Raises:
        DatasetRefused: a dataset cannot be used; nothing was written.
        MarketInvalid: there is something at the target.
    """
    started = time.perf_counter()
    folder, path = Path(source), Path(target)
    findings = Findings()
    if as_of.tzinfo is None:
        findings.add(Finding.of("TZ_MISSING", "market", field="as_of", value=as_of.isoformat()))
    files = [locate(folder, table, findings) for table in layout.MARKET_INPUTS]
    findings.raise_if_refused()
    as_of = as_of.astimezone(UTC)
    read = []
    for file, table in zip(files, layout.MARKET_INPUTS, strict=True):
        assert file is not None
        read.append(checks.read(Batch(read_table(file, table, findings), 1), table, findings))
        if progress is not None:
            progress(table.name, len(read[-1]))
    quotes, prices = read
    _check(quotes, prices, as_of, limits or MarketLimits(), indexes or {})
    table = findings.table()
    _write(path, quotes, prices, as_of, indexes, table)
    counts = tuple(
        DatasetCount(rows.layout.name, len(rows), int((~rows.bad).sum()), int(rows.bad.sum()))
        for rows in read
    )
    seconds = time.perf_counter() - started
    return MarketReport(path, as_of, counts, findings.counts(), table, seconds)


def _write(
    path: Path,
    quotes: Rows,
    prices: Rows,
    as_of: datetime,
    indexes: Mapping[str, IndexPrice] | None,
    quarantine: pa.Table,
) -> None:
    """Write the market with its quarantine beside its place, then move both there at once."""
    path = path.absolute()
    if path.exists():
        raise MarketInvalid(f"{path} exists; a market is never overwritten: choose another path")
    path.parent.mkdir(parents=True, exist_ok=True)
    working = Path(tempfile.mkdtemp(prefix=f".{path.name}.writing-", dir=path.parent))
    try:
        market = write_market(
            working / path.name,
            _accepted(quotes, tables.QUOTES),
            _accepted(prices, tables.PRICES),
            as_of,
            indexes,
        )
        if quarantine.num_rows:
            pq.write_table(quarantine, market.path / QUARANTINE)
        os.rename(market.path, path)
    finally:
        shutil.rmtree(working, ignore_errors=True)


def _accepted(rows: Rows, declared: tables.Table) -> pa.Table:
    good = pa.array(rows.good())
    columns = []
    for column in declared.columns:
        if column.name in rows.numbers:
            values = pa.array(rows.number(column.name))
        elif column.name in rows.instants:
            values = pa.array(rows.instant(column.name)).cast(tables.TIMESTAMP)
        else:
            values = rows.text[column.name]
        columns.append(values.take(good))
    return pa.table(columns, schema=declared.schema)


def _check(
    quotes: Rows,
    prices: Rows,
    as_of: datetime,
    limits: MarketLimits,
    indexes: Mapping[str, IndexPrice],
) -> None:
    """Check both datasets, each by itself and against each other."""
    findings = quotes.findings
    checks.refuse_spellings(prices, "underlying")
    checks.apply([*price_checks("close"), unit_check()], prices)
    check_oracles(prices, limits)
    check_history(prices, as_of, limits, set(indexes), agrees(prices, limits))
    checks.refuse_spellings(quotes, "instrument")
    checks.refuse_duplicates(quotes, quotes.text["instrument"], "instrument")
    level = levels(prices, as_of, indexes)
    set_swapped_aside(quotes, level, limits)
    checks.apply(quote_checks(quotes, as_of, limits), quotes)
    check_levels(quotes, level, limits)
    check_index_units(prices, level, indexes)
    check_parity(quotes, limits)
    check_arbitrage(quotes, limits)
    for rows in (quotes, prices):
        if rows.bad.all() and not findings.refused:
            value = f"all {len(rows):,} rows are in quarantine: {dict(findings.counts())}"
            findings.add(Finding.of("EMPTY_INPUT", rows.layout.name, value=value))
    findings.raise_if_refused()
