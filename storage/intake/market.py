"""Import a market: option quotes and hourly prices, checked row by row, written whole."""

import os
import shutil
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from storage import tables
from storage.intake import checks, layout
from storage.intake.book import DatasetCount, Progress
from storage.intake.cells import Booleans
from storage.intake.checks import Check, Rows
from storage.intake.history import MarketLimits, check_history
from storage.intake.rows import Batch, from_table, locate, read_table
from storage.market import IndexPrice, MarketInvalid, write_market
from storage.quarantine import Finding, Findings

QUARANTINE = "quarantine.parquet"
UNIT = "USD"
_NEAR_POWER = 0.1  # of a decade


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
    checks.apply([*_price_checks("close"), _unit_check(prices)], prices)
    check_history(prices, as_of, limits, set(indexes))
    checks.refuse_spellings(quotes, "instrument")
    checks.refuse_duplicates(quotes, quotes.text["instrument"], "instrument")
    checks.apply(_quote_checks(quotes, as_of, limits), quotes)
    level = _levels(prices, as_of, indexes)
    _check_levels(quotes, level, limits)
    _check_index_units(prices, level, indexes)
    _check_parity(quotes, limits)
    for rows in (quotes, prices):
        if rows.bad.all() and not findings.refused:
            value = f"all {len(rows):,} rows are in quarantine: {dict(findings.counts())}"
            findings.add(Finding.of("EMPTY_INPUT", rows.layout.name, value=value))
    findings.raise_if_refused()


def _price_checks(column: str) -> list[Check]:
    return [
        Check("PRICE_MISSING", column, lambda rows: np.isnan(rows.number(column))),
        Check("PRICE_NOT_FINITE", column, lambda rows: np.isinf(rows.number(column))),
        Check("PRICE_NON_POSITIVE", column, lambda rows: rows.number(column) <= 0.0),
    ]


def _unit_check(rows: Rows) -> Check:
    return Check(
        "UNIT_MISMATCH",
        "price_unit",
        lambda rows: ~rows.is_in("price_unit", UNIT),
        allowed=f"{UNIT} in every row",
    )


def _quote_checks(rows: Rows, as_of: datetime, limits: MarketLimits) -> list[Check]:
    instant = int(as_of.timestamp() * 1_000_000)
    expiry, quoted = rows.instant("expiry"), rows.instant("timestamp")
    mark, forward = rows.number("mark"), rows.number("forward")
    strike = rows.number("strike")
    volatility = rows.number("volatility")
    oldest = instant - int(limits.stale_after.total_seconds() * 1_000_000)
    with np.errstate(invalid="ignore", divide="ignore"):
        most = np.where(rows.is_in("option_type", "put"), strike / forward, 1.0)
    above = (mark > most) & np.isfinite(mark) & ~rows.bad
    mostly = above.sum() * 2 > (~rows.bad).sum()
    return [
        Check("PRICE_MISSING", "mark", lambda _: np.isnan(mark)),
        Check("PRICE_NOT_FINITE", "mark", lambda _: np.isinf(mark)),
        Check("PRICE_NON_POSITIVE", "mark", lambda _: mark < 0.0, allowed="0 or more"),
        *_price_checks("forward"),
        Check("TERMS_MISMATCH", "strike", lambda _: ~(strike > 0.0)),
        Check("NUMBER_INVALID", "open_interest", lambda r: r.number("open_interest") < 0.0),
        _unit_check(rows),
        Check(
            "UNIT_MISMATCH",
            "mark",
            lambda _: above,
            severity="refuse" if mostly else "quarantine",
            allowed="coins: a call is worth at most 1, a put at most strike/forward",
            action="divide marks in USD by the forward",
        ),
        Check("FUTURE_DATA", "timestamp", lambda _: quoted > instant),
        Check("STALE_PRICE", "timestamp", lambda _: quoted < oldest),
        Check("EXPIRED_OPEN", "expiry", lambda _: expiry < instant),
        Check("EXPIRY_AT_AS_OF", "expiry", lambda _: expiry == instant),
        Check("VOL_NEGATIVE", "volatility", lambda _: volatility < 0.0),
        Check("VOL_UNIT", "volatility", lambda _: volatility > limits.largest_volatility),
        Check("VOL_ZERO", "volatility", lambda _: volatility == 0.0),
    ]


def _levels(
    prices: Rows, as_of: datetime, indexes: Mapping[str, IndexPrice]
) -> dict[str, tuple[float, float]]:
    """Return the last close at or before the instant of every underlying, and its index price."""
    instant = int(as_of.timestamp() * 1_000_000)
    time = prices.instant("timestamp")
    index = prices.good()
    index = index[time[index] <= instant]
    index = index[np.argsort(time[index], kind="stable")]
    names = prices.text["underlying"].take(pa.array(index)).to_pylist()
    last: dict[str, float] = dict(zip(names, prices.number("close")[index].tolist(), strict=True))
    known = {name: entry.price for name, entry in indexes.items()}
    # Where one of the two is not there, the other stands for both.
    return {name: ((known | last)[name], (last | known)[name]) for name in {*last, *known}}


def _check_levels(
    quotes: Rows, level: Mapping[str, tuple[float, float]], limits: MarketLimits
) -> None:
    """Compare the forwards of quotes with the index: another unit refuses, a stray is set aside."""
    quotes.flag(
        "UNDERLYING_UNKNOWN", "underlying", ~quotes.is_in("underlying", *level) & ~quotes.bad
    )
    names = np.array(quotes.text["underlying"].to_pylist(), object)
    for name, (_, index) in level.items():
        rows = np.flatnonzero((names == name) & ~quotes.bad)
        if not len(rows):
            continue
        ratio = quotes.number("forward")[rows] / index
        power = _power_of_ten(float(np.median(ratio)))
        if power:
            quotes.findings.add(
                Finding.of(
                    "UNIT_MISMATCH",
                    "quotes",
                    name,
                    "forward",
                    f"the median forward is 10^{power} times the price {index:g}",
                )
            )
            continue
        stray = np.zeros(len(quotes), np.bool_)
        stray[rows] = np.abs(np.log(ratio)) > np.log(limits.forward_factor)
        limit = f"within a factor of {limits.forward_factor:g} of the price {index:g}"
        quotes.flag("PRICE_JUMP", "forward", stray, allowed=limit)


def _check_index_units(
    prices: Rows, level: Mapping[str, tuple[float, float]], indexes: Mapping[str, IndexPrice]
) -> None:
    for name in indexes:
        close, index = level[name]
        power = _power_of_ten(close / index)
        if power:
            prices.findings.add(
                Finding.of(
                    "UNIT_MISMATCH",
                    "prices",
                    name,
                    "close",
                    f"the last close {close:g} is 10^{power} times the index price {index:g}",
                )
            )


def _power_of_ten(ratio: float) -> int:
    """Return the power of ten that a ratio is near to, 0 for none."""
    decades = float(np.log10(ratio))
    power = round(decades)
    return power if abs(decades - power) < _NEAR_POWER else 0


def _check_parity(rows: Rows, limits: MarketLimits) -> None:
    """Warn where call less put differs from one less strike over forward, in coins."""
    good = rows.good()
    if not len(good):
        return
    underlying = np.asarray(rows.text["underlying"].dictionary_encode().indices)[good]
    strike = rows.number("strike")[good]
    key = np.stack([underlying.astype(np.int64), rows.instant("expiry")[good], strike.view("i8")])
    _, pair = np.unique(key, axis=1, return_inverse=True)
    pair = pair.ravel()
    call = rows.is_in("option_type", "call")[good]
    marks = {
        side: _by_pair(pair, rows.number("mark")[good], call == side) for side in (True, False)
    }
    broken = (
        marks[True] - marks[False] - (1.0 - strike / rows.number("forward")[good])[_first(pair)]
    )
    wrong = np.flatnonzero(np.abs(broken) > limits.parity)
    mask = np.zeros(len(rows), np.bool_)
    mask[good[np.isin(pair, wrong) & call]] = True
    seen = np.full(len(rows), "", object)
    seen[good] = [f"off by {size:.4f} of the forward" for size in broken[pair].tolist()]
    limit = f"within {limits.parity:g} of the forward"
    rows.flag("PARITY", "mark", mask, values=pa.array(seen, pa.string()), allowed=limit)


def _by_pair(
    pair: NDArray[np.int64], mark: NDArray[np.float64], chosen: Booleans
) -> NDArray[np.float64]:
    result = np.full(int(pair.max()) + 1, np.nan)
    result[pair[chosen]] = mark[chosen]
    return result


def _first(pair: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.asarray(np.unique(pair, return_index=True)[1])
