"""Import a book from a folder of CSV or Parquet files: checked row by row, written whole."""

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from storage import tables
from storage.book import PART_ACCOUNTS, Book, BookExists, BookWriter
from storage.intake import layout
from storage.intake.folder import (
    DatasetCount,
    FolderReader,
    Progress,
    count_rows,
    locate_all,
)
from storage.intake.holdings import CollateralIntake, Holds, PositionIntake
from storage.intake.instruments import InstrumentIntake, take_instruments
from storage.intake.references import (
    Intake,
    Terms,
    take_accounts,
    take_assets,
    take_members,
)
from storage.quarantine import Finding, Findings


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What became of a book: every row that came in is accepted or in quarantine."""

    path: Path
    name: str
    as_of: datetime
    datasets: tuple[DatasetCount, ...]
    held_accounts: int
    counts: Mapping[str, int]  # findings by code, exact
    instruments: pa.Table  # contracts in, accepted and in quarantine, as exact decimal text
    findings: pa.Table
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """Return the report without its tables, as plain values for JSON."""
        return {
            "path": str(self.path),
            "name": self.name,
            "as_of": self.as_of.isoformat(),
            "datasets": {
                count.dataset: {
                    "rows": count.rows,
                    "accepted": count.accepted,
                    "quarantined": count.quarantined,
                }
                for count in self.datasets
            },
            "held_accounts": self.held_accounts,
            "findings": dict(self.counts),
            "seconds": round(self.seconds, 3),
        }


def import_book(
    source: Path | str,
    target: Path | str,
    *,
    as_of: datetime,
    name: str | None = None,
    market_underlyings: Collection[str] = (),
    pegs: Collection[str] = (),
    progress: Progress | None = None,
    one_sided: bool = False,
    merge_duplicates: bool = False,
) -> ImportReport:
    """Read a folder of files, check every row and write the book.

    Args:
        source: folder with instruments, accounts, positions, collateral and assets, optionally
            members and reference, each as ``.csv`` or ``.parquet``.
        target: folder of the book; must not exist.
        as_of: the instant the positions are of, with a zone.
        name: what people call the book; the name of the target by default.
        market_underlyings: what has a price; where empty, what the instruments are on.
        pegs: coins that may be valued at one dollar; each use is recorded.
        progress: called with a dataset and its rows so far.
        one_sided: the book holds one side of the market, so longs need not equal shorts.
        merge_duplicates: add up lines of one account in one instrument or asset.

    Raises:
        DatasetRefused: a dataset cannot be used; nothing was written.
        BookExists: there is something at the target.
    """
    started = time.perf_counter()
    folder, path = Path(source), Path(target)
    if path.exists():
        raise BookExists(
            f"{path} exists; books are never overwritten, choose another path or name (--name)"
        )
    findings = Findings()
    if as_of.tzinfo is None:
        findings.add(Finding.of("TZ_MISSING", "book", field="as_of", value=as_of.isoformat()))
    files = locate_all(folder, layout.BOOK_INPUTS, findings)
    as_of = as_of.astimezone(UTC)
    terms = Terms(as_of, frozenset(market_underlyings) - {"USD"}, frozenset(pegs))
    reader = FolderReader(files, findings, progress or (lambda _dataset, _rows: None))
    references = _read_references(reader, terms)
    findings.raise_if_refused()
    positions, collateral = _read_holdings(reader, references)
    positions.finish(findings, merge=merge_duplicates, one_sided=one_sided)
    collateral.finish(findings, merge=merge_duplicates)
    counts = (*references.counts, _count("positions", positions), _count("collateral", collateral))
    _refuse_nothing_accepted(counts, findings)
    findings.raise_if_refused()
    title = name or path.name
    table = findings.table()
    source_note = {"import": folder.name, "rows": {c.dataset: c.rows for c in counts}}
    _write(path, title, as_of, references, positions, collateral, table, source_note)
    return ImportReport(
        path=path,
        name=title,
        as_of=as_of,
        datasets=counts,
        held_accounts=int((positions.holds.reason >= 0).sum()),
        counts=findings.counts(),
        instruments=positions.reconciliation.table(),
        findings=table,
        seconds=time.perf_counter() - started,
    )


@dataclass(frozen=True, slots=True)
class _References:
    instruments: InstrumentIntake
    members: Intake
    accounts: Intake
    assets: Intake
    counts: tuple[DatasetCount, ...]


def _read_references(reader: FolderReader, terms: Terms) -> _References:
    account_rows = reader.needed(layout.ACCOUNTS)
    member_rows = reader.whole(layout.MEMBERS)
    members = take_members(member_rows, account_rows, reader.findings)
    accounts = take_accounts(account_rows, members)
    asset_rows = reader.needed(layout.ASSETS)
    assets = take_assets(asset_rows, terms)
    rows = reader.needed(layout.INSTRUMENTS)
    instruments = take_instruments(rows, reader.whole(layout.REFERENCE), terms)
    read = [rows, account_rows, asset_rows, *([member_rows] if member_rows is not None else [])]
    counts = tuple(map(count_rows, read))
    return _References(instruments, members, accounts, assets, counts)


def _read_holdings(
    reader: FolderReader, references: _References
) -> tuple[PositionIntake, CollateralIntake]:
    accounts = references.accounts
    holds = Holds.none(accounts.table.num_rows)
    positions = PositionIntake.of(references.instruments, accounts, holds)
    for rows in reader.batches(layout.POSITIONS):
        positions.take(rows)
    collateral = CollateralIntake.of(accounts, references.assets, holds)
    for rows in reader.batches(layout.COLLATERAL):
        collateral.take(rows)
    return positions, collateral


def _count(dataset: str, intake: PositionIntake | CollateralIntake) -> DatasetCount:
    accepted = intake.rows - intake.quarantined
    return DatasetCount(dataset, intake.rows, accepted, intake.quarantined)


def _refuse_nothing_accepted(counts: tuple[DatasetCount, ...], findings: Findings) -> None:
    for count in counts:
        if count.accepted == 0 and count.dataset in ("instruments", "accounts", "positions"):
            value = f"all {count.rows:,} rows are in quarantine: {dict(findings.counts())}"
            findings.add(Finding.of("EMPTY_INPUT", count.dataset, value=value))


def _write(
    path: Path,
    name: str,
    as_of: datetime,
    references: _References,
    positions: PositionIntake,
    collateral: CollateralIntake,
    quarantine: pa.Table,
    source: Mapping[str, Any],
) -> Book:
    accounts = references.accounts.table
    held = positions.holds.table()
    holdings = (
        (positions.holdings, tables.POSITIONS.schema),
        (collateral.holdings, tables.COLLATERAL.schema),
    )
    with BookWriter(
        path,
        name,
        as_of,
        references.instruments.table,
        references.members.table,
        references.assets.table,
    ) as writer:
        for start in range(0, accounts.num_rows, PART_ACCOUNTS):
            stop = min(start + PART_ACCOUNTS, accounts.num_rows)
            batch = []
            for kept, schema in holdings:
                (account,), (item,), (amount,) = kept.account, kept.item, kept.amount
                first, last = np.searchsorted(account, [start, stop]).tolist()
                columns = [pa.array(part[first:last]) for part in (account, item, amount)]
                batch.append(pa.table(columns, schema=schema))
            writer.append(accounts.slice(start, stop - start), *batch)
        # Balance was judged over all rows; those in quarantine are not in the book.
        unbalanced = bool(writer.net_lots.any())
        return writer.close(
            quarantine if quarantine.num_rows else None,
            source,
            held=held,
            set_aside=collateral.aside.sums(),
            one_sided=unbalanced,
        )
