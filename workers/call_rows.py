"""Accounts of a shard as rows: who is called, whose health changed, and why."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from risk.health import (
    AccountHealth,
    Cause,
    HealthSpec,
    account_health,
    call_amount,
    change_cause,
    due_hours,
    margin_ratio,
)
from storage.book import Book
from storage.runs import Run
from workers.shards import Shard
from workers.since import Changes

Floats = NDArray[np.float64]

CURRENCY = "USD"
HEALTH_NAMES = tuple(health.name.lower() for health in AccountHealth)
CAUSE_NAMES = tuple(cause.name.lower() for cause in Cause)
_HELD = -1
_CODE = "health_code"


class RunTooOld(ValueError):
    """A run was made before maintenance requirements were stored."""


def require_maintenance(run: Run) -> None:
    """Refuse a run that does not say below which equity liquidation begins.

    Raises:
        RunTooOld: it was made by an earlier version.
    """
    if "maintenance" not in run.accounts:
        raise RunTooOld(
            f"run {run.run_id} stores no maintenance requirement, an earlier version made it; "
            "run its book again"
        )


@dataclass(frozen=True, slots=True)
class AccountRows:
    """The accounts of one shard, ``(account,)`` each; NaN, and health -1, where one is held."""

    names: pa.Array
    member: NDArray[np.int64]
    margined: NDArray[np.bool_]
    equity: Floats
    initial: Floats
    maintenance: Floats
    layers: Floats
    binding: NDArray[np.int32]
    health: NDArray[np.int8]
    call_amount: Floats


def read_rows(run: Run, book: Book, part: Shard, rules: HealthSpec) -> AccountRows:
    """Read the numbers of a shard, and say how healthy its accounts are."""
    names = ("equity", "requirement", "maintenance", "margin", "binding_scenario", "status")
    chosen = run.accounts[list(names)].isel(account=slice(part.start, part.stop))
    stored = {name: chosen[name].values for name in names}
    accounts = book.account_table(part.start, part.stop)
    margined = stored["status"] == 0
    equity, initial, maintenance = (stored[name] for name in names[:3])
    health = np.full(len(margined), _HELD, dtype=np.int8)
    health[margined] = account_health(
        equity[margined], initial[margined], maintenance[margined], rules
    )
    amount = np.full(len(margined), np.nan)
    amount[margined] = call_amount(equity[margined], initial[margined], health[margined], rules)
    return AccountRows(
        names=accounts["account"].combine_chunks(),
        member=accounts["member"].to_numpy().astype(np.int64),
        margined=margined,
        equity=equity,
        initial=initial,
        maintenance=maintenance,
        layers=stored["margin"],
        binding=stored["binding_scenario"],
        health=health,
        call_amount=amount,
    )


def causes(rows: AccountRows, change: Changes | None, rules: HealthSpec) -> NDArray[np.int8]:
    """Return why the health of each account is another than it was, ``(account,)`` of ``Cause``."""
    cause = np.zeros(len(rows.health), dtype=np.int8)
    if change is not None:
        both = change.both
        was = change.before
        cause[both] = change_cause(
            (was[0][both], was[1][both], was[2][both]),
            (rows.equity[both], rows.initial[both], rows.maintenance[both]),
            rules,
        )
    return cause


class RowTables:
    """Makes tables of chosen accounts of a run, the same columns for every shard."""

    def __init__(self, run: Run, book: Book, rules: HealthSpec) -> None:
        self._rules = rules
        layers = [str(name) for name in run.accounts["layer"].values]
        labels = [str(name) for name in run.scenarios["label"].values]
        self._layers = pa.array(layers, pa.string())
        self._labels = pa.array(labels, pa.string())
        self._members = book.members()["member"].combine_chunks()

    def table(
        self,
        shard: AccountRows,
        rows: NDArray[np.int64],
        change: Changes | None,
        cause: NDArray[np.int8],
    ) -> pa.Table:
        """Return chosen accounts of a shard, ``rows`` ascending."""
        health, binding = shard.health[rows], shard.binding[rows]
        largest = np.argmax(shard.layers[rows], axis=1)
        due = due_hours(health, self._rules)
        ratio = margin_ratio(shard.equity[rows], shard.initial[rows])
        columns = {
            "account": shard.names.take(pa.array(rows)),
            "member": self._members.take(pa.array(shard.member[rows])),
            "health": pa.array(HEALTH_NAMES).take(pa.array(health)),
            "equity": pa.array(shard.equity[rows]),
            "initial": pa.array(shard.initial[rows]),
            "maintenance": pa.array(shard.maintenance[rows]),
            "margin_ratio": pa.array(ratio, mask=~np.isfinite(ratio)),
            "call_amount": pa.array(shard.call_amount[rows]),
            "currency": pa.array([CURRENCY] * len(rows), pa.string()),
            "due_hours": pa.array(due, mask=~np.isfinite(due)),
            "largest_layer": self._layers.take(pa.array(largest)),
            "largest_layer_amount": pa.array(shard.layers[rows, largest]),
            "binding_scenario": self._labels.take(pa.array(binding, mask=binding < 0)),
            _CODE: pa.array(health),
        }
        if change is not None:
            columns |= change.columns(rows, self._rules)
            columns["changed_because"] = pa.array(CAUSE_NAMES).take(pa.array(cause[rows]))
        return pa.table(columns)


class FirstRows:
    """The first rows of many tables in some order."""

    def __init__(self, limit: int, *order: tuple[str, str]) -> None:
        self._limit = limit
        self._order = [*order, ("account", "ascending")]
        self._best: pa.Table | None = None

    def add(self, table: pa.Table) -> None:
        """Consider the rows of one more table."""
        both = table if self._best is None else pa.concat_tables([self._best, table])
        self._best = both.sort_by(self._order).slice(0, self._limit)

    def rows(self) -> list[dict[str, Any]]:
        """Return the rows as objects."""
        if self._best is None:
            return []
        return list(self._best.drop_columns([_CODE]).to_pylist())


def open_writers(
    stack: ExitStack, csv: Path | None, parquet: Path | None, like: pa.Table
) -> list[Callable[[pa.Table], None]]:
    """Open the files that are asked for; they close with the stack.

    Raises:
        ValueError: a file's name does not end in what it is.
    """
    schema = like.drop_columns([_CODE]).schema
    writers: list[Callable[[pa.Table], None]] = []
    for path, suffix in ((csv, ".csv"), (parquet, ".parquet")):
        if path is None:
            continue
        if path.suffix != suffix:
            raise ValueError(f"cannot write {path.name!r} as {suffix[1:]}; use a {suffix} file")
        opened = (pa.csv.CSVWriter if suffix == ".csv" else pq.ParquetWriter)(path, schema)
        writers.append(partial(_write, stack.enter_context(opened)))
    return writers


def _write(writer: Any, table: pa.Table) -> None:
    writer.write_table(table.drop_columns([_CODE]))
