"""The same book under several margin systems: what each would require, and whom it would liquidate.

Every system is a run of its own, published as any other, so each number can be explained. The
levels of netting margin the net positions of accounts, members, protocols and the whole system.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from risk.margin import Holdings, margin_accounts, measures_of
from storage.book import PART_ACCOUNTS, Book
from storage.runs import Run, RunStore
from storage.signature import Signer
from storage.tables import MARGIN_MODES
from workers.engine import SerialEngine
from workers.inputs import book_of
from workers.margin_run import MarginRun
from workers.memory import PeakMemory
from workers.methodologies import methodology_of
from workers.plan import RunRequest, identify
from workers.revaluation import revaluation_of_run
from workers.shards import Shard, cut
from workers.stages import StageTable

Floats = NDArray[np.float64]
PORTFOLIO = MARGIN_MODES.index("portfolio")


@dataclass(frozen=True, slots=True)
class System:
    """One margin system: a methodology, and a margin mode where all accounts are to have one."""

    methodology: str
    netting: str | None = None

    @property
    def name(self) -> str:
        """What the system is called in tables and columns."""
        return f"{self.methodology} {self.netting}" if self.netting else self.methodology


def publish(
    request: RunRequest, system: System, stages: StageTable, signer: Signer | None = None
) -> Run:
    """Return the run of a system, made now unless it is there already.

    Raises:
        AlreadyLocked: another process works on this very run.
        ValueError: an input is not usable; the message says which and why.
    """
    wanted = replace(request, methodology=system.methodology, netting=system.netting)
    run_id, store = identify(wanted).run_id, RunStore(request.runs)
    if not store.is_published(run_id):
        engine = SerialEngine()
        with MarginRun(wanted, lambda: engine, lambda: engine, stages) as run, PeakMemory() as used:
            if not run.prepare():
                run.compute()
                run.publish(lambda: used.peak_bytes, signer)
    return store.open(run_id)


@dataclass(frozen=True, slots=True)
class Comparison:
    """The runs of several systems on one book, in the order asked for."""

    book: Book
    systems: tuple[System, ...]
    runs: tuple[Run, ...]

    def shards(self) -> Iterator["SystemRows"]:
        """Yield what each system says of the accounts, a part of the book at a time."""
        for part in cut(self.book.accounts, PART_ACCOUNTS) if self.book.accounts else ():
            rows = slice(part.start, part.stop)
            stored = [run.accounts.isel(account=rows) for run in self.runs]
            yield SystemRows(
                part,
                *(
                    np.stack([one[name].values for one in stored])
                    for name in ("requirement", "maintenance", "equity")
                ),
            )


@dataclass(frozen=True, slots=True)
class SystemRows:
    """A part of the book's accounts under every system, ``(system, account)``; NaN where held."""

    part: Shard
    requirement: Floats
    maintenance: Floats
    equity: Floats

    @property
    def liquidated(self) -> NDArray[np.bool_]:
        """Whether equity is below what it takes to keep the positions."""
        return np.asarray(self.equity < self.maintenance)


def compare(
    request: RunRequest,
    systems: Sequence[System],
    stages: Callable[[System], StageTable] = lambda _: StageTable(),
    signer: Signer | None = None,
) -> Comparison:
    """Margin a book under every system and return the runs side by side.

    Raises:
        ValueError: an input is not usable, or fewer than two systems are asked for.
    """
    if len(set(systems)) < 2:
        raise ValueError(
            f"{len(set(systems))} systems are asked for; a comparison needs two different ones"
        )
    runs = tuple(publish(request, system, stages(system), signer) for system in systems)
    return Comparison(book_of(runs[0]), tuple(systems), runs)


def summary(comparison: Comparison) -> dict[str, Any]:
    """Return totals by system, and how many accounts one liquidates and another leaves alone.

    Offsets are worth what the positions would require one by one less what they require
    together; efficiency is that over what they would require one by one. ``liquidated_under``
    counts, in a row for each system, accounts below maintenance there and not below it in the
    system of the column, of those that both margin.
    """
    number = len(comparison.systems)
    requirement, maintenance = np.zeros(number), np.zeros(number)
    short, below, margined = (np.zeros(number, np.int64) for _ in range(3))
    differ = np.zeros((number, number), np.int64)
    for rows in comparison.shards():
        requirement += np.nansum(rows.requirement, axis=1)
        maintenance += np.nansum(rows.maintenance, axis=1)
        short += (rows.equity < rows.requirement).sum(axis=1)
        known, liquidated = np.isfinite(rows.requirement), rows.liquidated
        margined += known.sum(axis=1)
        below += liquidated.sum(axis=1)
        differ += liquidated.astype(np.int64) @ (known & ~liquidated).astype(np.int64).T
    return {
        "book": comparison.book.name,
        "accounts": comparison.book.accounts,
        "systems": [
            {
                "system": system.name,
                "run_id": run.run_id,
                "margined": int(margined[row]),
                "held": comparison.book.accounts - int(margined[row]),
                "requirement": float(requirement[row]),
                "maintenance": float(maintenance[row]),
                "below_initial": int(short[row]),
                "below_maintenance": int(below[row]),
                **_efficiency(comparison, row, requirement),
            }
            for row, (system, run) in enumerate(
                zip(comparison.systems, comparison.runs, strict=True)
            )
        ],
        "liquidated_under": differ.tolist(),
    }


def _efficiency(comparison: Comparison, row: int, requirement: Floats) -> dict[str, float | None]:
    """Return what offsets are worth, where the same rules were run position by position too."""
    alone = System(comparison.systems[row].methodology, "isolated")
    if alone not in comparison.systems:
        return {"offsets": None, "efficiency": None}
    gross = float(requirement[comparison.systems.index(alone)])
    offsets = gross - float(requirement[row])
    return {"offsets": offsets, "efficiency": offsets / gross if gross > 0.0 else 0.0}


def write_accounts(comparison: Comparison, output: Path) -> int:
    """Write one row an account, with requirement and maintenance of each system, as Parquet.

    Raises:
        ValueError: the file's name does not end in ``.parquet``.
    """
    if output.suffix != ".parquet":
        raise ValueError(f"cannot write to {output.name!r}; use a .parquet file")
    writer: pq.ParquetWriter | None = None
    for rows in comparison.shards():
        names = comparison.book.account_table(rows.part.start, rows.part.stop, ["account"])[
            "account"
        ]
        columns = {"account": names, "equity": pa.array(rows.equity[0], from_pandas=True)}
        for at, system in enumerate(comparison.systems):
            for what in ("requirement", "maintenance"):
                values = pa.array(getattr(rows, what)[at], from_pandas=True)
                columns[f"{what} {system.name}"] = values
        table = pa.table(columns)
        writer = writer or pq.ParquetWriter(output, table.schema)
        writer.write_table(table)
    if writer is not None:
        writer.close()
    return int(comparison.book.accounts)


def layered(comparison: Comparison) -> list[dict[str, Any]]:
    """Return what the rules of the first system require at each level of netting, widest last.

    ``position`` margins every position alone, where that was asked for, and ``account`` is the
    first system itself; ``member``,
    ``protocol`` and ``system`` margin the net positions of all accounts of a member, of all that
    is held on one protocol, and of everybody, as one portfolio each. Where every trade has two
    sides in the book, the last two need nothing.
    """
    run, book = comparison.runs[0], comparison.book
    methodology = methodology_of(run)
    revaluation = revaluation_of_run(run, book, methodology)
    net = _net_positions(run, book)
    table = book.instruments()
    protocols, code = np.unique(
        table["protocol"].to_numpy(zero_copy_only=False).astype(str), return_inverse=True
    )
    by_protocol = np.zeros((len(protocols), len(code)))
    by_protocol[code, np.arange(len(code))] = net.sum(axis=0)
    levels = {"member": net, "protocol": by_protocol, "system": net.sum(axis=0, keepdims=True)}
    measures = measures_of(methodology, run.scenarios["origin"].values.tolist())

    def required(quantity: Floats) -> float:
        holdings = _as_accounts(quantity * revaluation.priced)
        return float(
            margin_accounts(holdings, revaluation, methodology, measures).requirement.sum()
        )

    alone = System(comparison.systems[0].methodology, "isolated")
    isolated = [
        {"level": "position", "portfolios": book.positions, "requirement": _total(other)}
        for system, other in zip(comparison.systems, comparison.runs, strict=True)
        if system == alone
    ]
    return [
        *isolated,
        {"level": "account", "portfolios": book.accounts, "requirement": _total(run)},
        *(
            {"level": level, "portfolios": len(quantity), "requirement": required(quantity)}
            for level, quantity in levels.items()
        ),
    ]


def weighs_collateral(comparison: Comparison) -> bool:
    """Tell whether a system asks for haircuts of collateral, which no net position has."""
    return any(methodology_of(run).collateral for run in comparison.runs)


def _total(run: Run) -> float:
    return float(run.manifest["totals"]["requirement"])


def _net_positions(run: Run, book: Book) -> Floats:
    """Return net contracts of members, (member, instrument), of accounts that are not held."""
    members, instruments = book.members().num_rows, book.instruments().num_rows
    lots = np.zeros(members * instruments, np.int64)
    for part in cut(book.accounts, PART_ACCOUNTS) if book.accounts else ():
        positions = book.position_slice(part.start, part.stop)
        member = book.account_table(part.start, part.stop, ["member"])["member"].to_numpy()
        margined = run.accounts["status"].isel(account=slice(part.start, part.stop)).values == 0
        owner = np.repeat(np.arange(part.stop - part.start), np.diff(positions.offsets))
        cell = member[owner].astype(np.int64) * instruments + positions.instrument
        np.add.at(lots, cell, np.where(margined[owner], positions.lots, 0))
    lot_size: Floats = run.instruments["lot_size"].values
    return lots.reshape(members, instruments) * lot_size


def _as_accounts(quantity: Floats) -> Holdings:
    """Return portfolios ``(portfolio, instrument)`` as accounts in which everything nets."""
    portfolio, instrument = np.nonzero(quantity)
    number = len(quantity)
    return Holdings(
        offsets=np.searchsorted(portfolio, np.arange(number + 1)).astype(np.int64),
        instrument=instrument.astype(np.int32),
        quantity=quantity[portfolio, instrument],
        margin_mode=np.full(number, PORTFOLIO, np.int8),
        collateral=np.zeros(number),
        held=np.zeros(number, np.bool_),
    )
