"""Export the accounts of a run as one table, a shard at a time."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import xarray as xr
from numpy.typing import NDArray

from risk.health import HealthSpec, account_health
from risk.margin import HELD, MARGINED
from storage.book import PART_ACCOUNTS, Book
from storage.runs import Run
from storage.tables import MARGIN_MODES
from workers.call_rows import HEALTH_NAMES
from workers.calls import health_rules
from workers.collateral import counted_assets
from workers.inputs import book_of
from workers.shards import Shard, cut
from workers.stages import Observer


def export_accounts(run: Run, output: Path, observer: Observer) -> int:
    """Write each account: who and how it is, what it holds and needs, every layer and measure.

    Returns the number of rows. ``requirement`` is what it takes to open positions,
    ``maintenance`` to keep them, and ``health`` which of both equity meets.

    Raises:
        ValueError: the file's name ends in neither ``.csv`` nor ``.parquet``.
        BookChanged: the book is not the one that the run used.
    """
    if output.suffix not in (".csv", ".parquet"):
        raise ValueError(f"cannot export to {output.name!r}; use a .csv or .parquet file")
    book, rules = book_of(run), health_rules(run)
    observer.begin("export", book.accounts, "accounts")
    first, *rest = [Shard(0, 0, 0)] if not book.accounts else cut(book.accounts, PART_ACCOUNTS)
    table = _table(run, book, first, rules)
    writer = (
        pa.csv.CSVWriter(output, table.schema)
        if output.suffix == ".csv"
        else pq.ParquetWriter(output, table.schema)
    )
    with writer:
        writer.write_table(table)
        observer.advance(table.num_rows)
        for shard in rest:
            writer.write_table(_table(run, book, shard, rules))
            observer.advance(shard.stop - shard.start)
    observer.end()
    return int(book.accounts)


def _table(run: Run, book: Book, shard: Shard, rules: HealthSpec) -> pa.Table:
    accounts = book.account_table(shard.start, shard.stop)
    stored = run.accounts.isel(account=slice(shard.start, shard.stop)).load()
    members = book.members()["member"].combine_chunks()
    modes = pa.array(MARGIN_MODES)
    statuses = pa.array(["margined", "held"])
    columns = {
        "account": accounts["account"],
        "member": members.take(accounts["member"].combine_chunks()),
        "margin_mode": modes.take(accounts["margin_mode"].combine_chunks()),
        "status": statuses.take(pa.array(stored["status"].values)),
        "held_because": pa.array(
            reasons_of(run, book, shard, stored["status"].values), pa.string()
        ),
        "positions": pa.array(stored["positions"].values),
        "netting_sets": pa.array(stored["netting_sets"].values),
    }
    amounts = ("collateral_value", "position_value", "equity", "requirement", "maintenance")
    for name in (*amounts, "excess"):
        if name in stored:  # an earlier version stored no maintenance
            columns[name] = pa.array(stored[name].values, from_pandas=True)
    if "maintenance" in stored:
        columns["health"] = _health(stored, rules)
    for name, dim in (("margin", "layer"), ("risk_measure", "measure")):
        for label, values in zip(stored[dim].values, stored[name].values.T, strict=True):
            columns[f"{name}_{label}"] = pa.array(values, from_pandas=True)
    binding = stored["binding_scenario"].values
    names = pa.array(run.scenarios["scenario"].values.tolist(), pa.string())
    columns["binding_scenario"] = names.take(pa.array(binding, mask=binding < 0))
    return pa.table(columns)


def _health(stored: xr.Dataset, rules: HealthSpec) -> pa.Array:
    """Return the health of each account in a word, none of one that is held back."""
    known = stored["status"].values == MARGINED
    equity, initial, maintenance = (
        stored[name].values[known] for name in ("equity", "requirement", "maintenance")
    )
    code = np.zeros(len(known), dtype=np.int8)
    code[known] = account_health(equity, initial, maintenance, rules)
    return pa.array(HEALTH_NAMES).take(pa.array(code, mask=~known))


def reasons_of(run: Run, book: Book, shard: Shard, status: NDArray[np.int8]) -> list[str | None]:
    """Return the code for which each account is held back, if it is.

    What the book holds back has the book's code. Of the others those with all their prices are
    under no rule of the methodology.
    """
    reasons = book.held_reasons()
    code = dict(zip(reasons["account"].to_pylist(), reasons["code"].to_pylist(), strict=True))
    unpriced = _unpriced(run, book, shard) if (status == HELD).any() else status.astype(np.bool_)
    return [
        code.get(row, "PRICE_MISSING" if missing else "RULE_MISSING") if held else None
        for row, (held, missing) in enumerate(
            zip((status == HELD).tolist(), unpriced.tolist(), strict=True), shard.start
        )
    ]


def _unpriced(run: Run, book: Book, shard: Shard) -> NDArray[np.bool_]:
    """Return whether a position or an asset of each account has no price in the run."""
    accounts = shard.stop - shard.start
    instruments = run.instruments["priced"].values.astype(np.bool_)
    assets = counted_assets(book.assets(), run.manifest["index"], ()).priced
    positions = book.position_slice(shard.start, shard.stop)
    collateral = book.collateral_slice(shard.start, shard.stop)
    missing = np.zeros(accounts, dtype=np.bool_)
    for offsets, known in (
        (positions.offsets, instruments[positions.instrument]),
        (collateral.offsets, assets[collateral.asset]),
    ):
        owner = np.repeat(np.arange(accounts), np.diff(offsets))
        missing |= np.bincount(owner[~known], minlength=accounts) > 0
    return missing
