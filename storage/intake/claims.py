"""Import claims from a folder of CSV or Parquet files: checked row by row, written whole."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from storage.book import PART_ACCOUNTS, Book
from storage.claims import AS_SAID, JUDGED, Claims, ClaimsExist, ClaimsWriter
from storage.intake import layout
from storage.intake.claim_rows import ClaimIntake
from storage.intake.folder import (
    DatasetCount,
    FolderReader,
    Progress,
    count_rows,
    locate_all,
)
from storage.intake.references import Lookup
from storage.intake.tokens import TokenIntake, TokenRows, take_tokens
from storage.intake.verdicts import Verdicts
from storage.quarantine import Finding, Findings

HELD_SHOWN = 20
"""Held accounts that a report names; ``held.parquet`` has all of them."""


@dataclass(frozen=True, slots=True)
class ClaimsReport:
    """What became of claims: every row that came in is accepted or in quarantine."""

    path: Path
    name: str
    as_of: datetime
    datasets: tuple[DatasetCount, ...]
    held_accounts: int
    held: pa.Table  # account, code and data row in the claims; the first ``HELD_SHOWN`` of them
    counts: Mapping[str, int]  # findings by code, exact
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
            "held": self.held.to_pylist(),
            "findings": dict(self.counts),
            "seconds": round(self.seconds, 3),
        }


def import_claims(
    book: Book,
    source: Path | str,
    target: Path | str,
    *,
    name: str | None = None,
    verdicts: Verdicts | None = None,
    progress: Progress | None = None,
) -> ClaimsReport:
    """Read a folder of files, check every row and write the claims of a book's accounts.

    A claim in quarantine holds its account: the rest of it alone would say too little or too much.

    Args:
        book: whose accounts the claims are of; its instant is that of the claims.
        source: folder with tokens, feeds and claims, optionally recipes, chains and markets,
            each as ``.csv`` or ``.parquet``.
        target: folder of the claims; must not exist.
        name: what people call them; the name of the target by default.
        verdicts: what holdings show of the claims; their standing is taken as said without.
        progress: called with a dataset and its rows so far.

    Raises:
        DatasetRefused: a dataset cannot be used; nothing was written.
        ClaimsExist: there is something at the target.
    """
    started = time.perf_counter()
    path = Path(target)
    if path.exists():
        raise ClaimsExist(
            f"{path} exists; claims are never overwritten, choose another name (--name)"
        )
    findings = Findings()
    files = locate_all(Path(source), layout.CLAIM_INPUTS, findings)
    reader = FolderReader(files, findings, progress or (lambda _dataset, _rows: None))
    rows = TokenRows(
        tokens=reader.needed(layout.TOKENS),
        recipes=reader.whole(layout.RECIPES),
        feeds=reader.needed(layout.FEEDS),
        chains=reader.whole(layout.CHAINS),
        markets=reader.whole(layout.MARKET_TERMS),
    )
    taken = take_tokens(rows, book.as_of)
    findings.raise_if_refused()
    claims = ClaimIntake(taken, _accounts(book), findings, verdicts)
    for batch in reader.batches(layout.CLAIMS):
        claims.take(batch)
    claims.finish()
    if verdicts is not None:
        verdicts.finish(findings)
    bad = int(claims.bad.sum())
    counts = (
        *map(count_rows, rows.read()),
        DatasetCount("claims", len(claims.bad), len(claims.bad) - bad, bad),
    )
    if counts[-1].accepted == 0:
        value = f"all {counts[-1].rows:,} rows are in quarantine: {dict(findings.counts())}"
        findings.add(Finding.of("EMPTY_INPUT", "claims", value=value))
    findings.raise_if_refused()
    table = findings.table()
    title = name or path.name
    note = {"import": Path(source).name, "rows": {count.dataset: count.rows for count in counts}}
    if verdicts is not None:
        note["proofs"] = dict(verdicts.source)
    standing = AS_SAID if verdicts is None else JUDGED
    held = claims.holds.table()
    _write(path, title, book, taken, claims.table(), table, held, note, standing)
    return ClaimsReport(
        path=path,
        name=title,
        as_of=book.as_of,
        datasets=counts,
        held_accounts=len(held),
        held=_shown(held, claims),
        counts=findings.counts(),
        findings=table,
        seconds=time.perf_counter() - started,
    )


def _shown(held: pa.Table, claims: ClaimIntake) -> pa.Table:
    first = held.slice(0, HELD_SHOWN)
    names = claims.accounts.names.take(first["account"].combine_chunks())
    line = claims.holds.line[first["account"].to_numpy()]
    return pa.table({"account": names, "code": first["code"], "line": line})


def _accounts(book: Book) -> Lookup:
    names = book.account_table(0, book.accounts, ["account"])["account"].combine_chunks()
    return Lookup(names, np.arange(book.accounts, dtype=np.int32))


def _write(
    path: Path,
    name: str,
    book: Book,
    taken: TokenIntake,
    claims: pa.Table,
    quarantine: pa.Table,
    held: pa.Table,
    source: Mapping[str, Any],
    standing: str,
) -> Claims:
    owner = claims["account"].to_numpy()
    with ClaimsWriter(path, name, book, taken.references) as writer:
        for start in range(0, book.accounts, PART_ACCOUNTS):
            stop = min(start + PART_ACCOUNTS, book.accounts)
            low, high = np.searchsorted(owner, [start, stop]).tolist()
            writer.append(stop - start, claims.slice(low, high - low))
        return writer.close(
            source,
            quarantine=quarantine if quarantine.num_rows else None,
            held=held,
            standing=standing,
        )
