"""Write a book: in account order, a block at a time, and visible only when it is whole."""

import json
import os
import shutil
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from storage import tables
from storage.book import layout, rules
from storage.book.durable import fsync_folder, working_folder
from storage.book.layout import BLOCK_ACCOUNTS, PART_ACCOUNTS, PARTED, BookExists, BookRefused
from storage.book.reader import Book

DECLARED = {
    "accounts": tables.ACCOUNTS,
    "positions": tables.POSITIONS,
    "collateral": tables.COLLATERAL,
}


class BookWriter:
    """Writer of one book, for use in a ``with`` block.

    Batches of any size are appended in account order; the bytes on disk do not depend on how the
    accounts were cut into batches. Everything goes to a hidden sibling folder that is renamed
    when ``close`` has made it durable: a reader sees the whole book or none. Leaving the ``with``
    block without ``close`` removes what was written.

    Args:
        path: the book's folder; must not exist.
        name: what people call the book.
        as_of: the instant the positions are of, with a zone.
        instruments: in the order of ``canonical_instruments``.
        members: who answers for the accounts.
        assets: what collateral is held in.

    Raises:
        BookExists: there is something at the path.
        BookRefused: a table breaks a rule; the message starts with its code.
    """

    def __init__(
        self,
        path: Path | str,
        name: str,
        as_of: datetime,
        instruments: pa.Table,
        members: pa.Table,
        assets: pa.Table,
    ) -> None:
        self.path = Path(path).absolute()
        if self.path.exists():
            raise BookExists(f"{self.path} exists; books are never overwritten, choose a new path")
        if as_of.utcoffset() != timedelta(0):
            raise BookRefused(f"TZ_MISSING: as_of {as_of} is not in UTC; give it a UTC zone")
        self._references = {
            layout.INSTRUMENTS: rules.conform(instruments, tables.INSTRUMENTS),
            layout.MEMBERS: rules.conform(members, tables.MEMBERS),
            layout.ASSETS: rules.conform(assets, tables.ASSETS),
        }
        rules.check_references(*self._references.values())
        self._sizes = {
            "positions": len(instruments),
            "collateral": len(assets),
            "accounts": len(members),
        }
        self._about = {"name": name, "as_of": as_of.isoformat()}
        self._rows = dict.fromkeys(PARTED, 0)
        self._written = 0
        self._last: str | None = None
        self._pending = {key: DECLARED[key].schema.empty_table() for key in PARTED}
        self._long = np.zeros(len(instruments), dtype=np.int64)
        self._net = np.zeros(len(instruments), dtype=np.int64)
        self._gross = 0.0
        self._files: dict[str, dict[str, Any]] = {}
        self._parts: list[dict[str, Any]] = []
        self._open: dict[str, pq.ParquetWriter] = {}
        self._folder, self._lock = working_folder(self.path)
        for key in PARTED:
            (self._folder / key).mkdir()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.abandon()

    @property
    def accounts(self) -> int:
        """Accounts appended so far: the row that the next account will have."""
        return self._rows["accounts"]

    @property
    def net_lots(self) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """Sum of the lots appended so far, ``(instrument,)``; zero when longs equal shorts."""
        return self._net.copy()

    @property
    def long_lots(self) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """Sum of the long lots appended so far, ``(instrument,)``."""
        return self._long.copy()

    def append(self, accounts: pa.Table, positions: pa.Table, collateral: pa.Table) -> None:
        """Append accounts with everything they hold.

        The columns ``account`` of ``positions`` and ``collateral`` are rows of the book and must
        name accounts of this batch. Names ascend through the book.

        Raises:
            BookRefused: a row breaks a rule; nothing of the batch is taken.
        """
        batch = {"accounts": accounts, "positions": positions, "collateral": collateral}
        batch = {key: rules.conform(table, DECLARED[key]) for key, table in batch.items()}
        first = self.accounts
        stop = first + len(accounts)
        rules.check_accounts(batch["accounts"], self._last, self._sizes["accounts"])
        for key in ("positions", "collateral"):
            rules.check_rows(batch[key], DECLARED[key], first, stop, self._sizes[key])
        lots = rules.numbers(batch["positions"], "lots")
        rules.check_lots(lots)
        rules.check_quantity(rules.numbers(batch["collateral"], "quantity"))
        gross = self._gross + float(np.abs(lots.astype(np.float64)).sum())
        if gross >= 2.0**62:
            raise BookRefused(f"OVERFLOW: {gross:.3g} lots in all; use larger lot sizes")
        self._gross = gross
        instrument = rules.numbers(batch["positions"], "instrument")
        np.add.at(self._net, instrument, lots)
        np.add.at(self._long, instrument, np.maximum(lots, 0))
        if len(accounts):
            self._last = batch["accounts"]["account"][-1].as_py()
        for key, table in batch.items():
            self._rows[key] += len(table)
            self._pending[key] = pa.concat_tables([self._pending[key], table])
        while self.accounts - self._written >= BLOCK_ACCOUNTS:
            self._write_block(BLOCK_ACCOUNTS)

    def close(
        self,
        quarantine: pa.Table | None = None,
        source: Mapping[str, Any] | str = "",
        *,
        held: pa.Table | None = None,
        one_sided: bool = False,
    ) -> Book:
        """Finish the book and return it, opened.

        Args:
            quarantine: rows that were not taken, with their reasons.
            source: where the book comes from, for the manifest; JSON.
            held: accounts that must not be margined (columns ``account``, ``code``), because a
                row of theirs is in the quarantine.
            one_sided: the book holds one side of the market, so longs need not equal shorts.

        Raises:
            BookRefused: ``EMPTY_INPUT`` for no accounts, ``UNBALANCED_OI`` where the lots of an
                instrument do not sum to zero.
        """
        if not self.accounts:
            raise BookRefused("EMPTY_INPUT: the book has no accounts; an empty book is no book")
        imbalance = self._imbalance()
        if imbalance and not one_sided:
            few = dict(list(imbalance.items())[:5])
            raise BookRefused(
                f"UNBALANCED_OI: lots of {len(imbalance)} instruments do not sum to zero, such as "
                f"{few}; add the missing accounts, or declare the book one-sided"
            )
        self._write_rest(quarantine, held)
        manifest = {
            "format": layout.FORMAT,
            **self._about,
            "source": source,
            **self._rows,
            "held": self._files[layout.HELD]["rows"],
            "quarantined": self._files.get(layout.QUARANTINE, {"rows": 0})["rows"],
            "part_accounts": PART_ACCOUNTS,
            "block_accounts": BLOCK_ACCOUNTS,
            "one_sided": one_sided,
            "imbalance": imbalance,
            "long_lots": self._long.tolist(),
            "parts": self._parts,
            "files": self._files,
        }
        manifest["digest"] = layout.book_digest(manifest)
        with (self._folder / layout.MANIFEST).open("w") as file:
            json.dump(manifest, file, indent=1, sort_keys=True)
            file.flush()
            os.fsync(file.fileno())
        self._publish()
        return Book.open(self.path)

    def abandon(self) -> None:
        """Remove what was written, unless the book is finished."""
        for writer in self._open.values():
            writer.close()
        self._open = {}
        if self._lock >= 0:
            shutil.rmtree(self._folder, ignore_errors=True)
            os.close(self._lock)
            self._lock = -1

    def _write_rest(self, quarantine: pa.Table | None, held: pa.Table | None) -> None:
        """Write the last block and every file that is not in parts."""
        if self.accounts > self._written:
            self._write_block(self.accounts - self._written)
        self._close_part()
        for name, table in self._references.items():
            self._write_small(name, table)
        held = held if held is not None else layout.HELD_TABLE.schema.empty_table()
        held = rules.conform(held, layout.HELD_TABLE)
        rules.in_range(held, "account", self.accounts, "held")
        held = held.group_by("account").aggregate([("code", "min")]).sort_by("account")
        self._write_small(layout.HELD, held.rename_columns(["account", "code"]))
        if quarantine is not None:
            self._write_small(layout.QUARANTINE, quarantine.combine_chunks())

    def _imbalance(self) -> dict[str, int]:
        rows = np.flatnonzero(self._net)
        names = self._references[layout.INSTRUMENTS]["instrument"]
        return {names[int(row)].as_py(): int(self._net[row]) for row in rows}

    def _write_block(self, count: int) -> None:
        """Move the first ``count`` pending accounts to their row groups."""
        if self._written % PART_ACCOUNTS == 0:
            self._close_part()
            self._open_part()
        stop = self._written + count
        part = self._parts[-1]
        for key in PARTED:
            pending = self._pending[key]
            rows = count
            if key != "accounts":
                rows = int(np.searchsorted(rules.numbers(pending, "account"), stop))
            block = pending.slice(0, rows).combine_chunks()
            # The bytes must not depend on the batches, so a row group is written from one chunk.
            self._open[key].write_table(block, row_group_size=max(rows, 1))
            self._pending[key] = pending.slice(rows)
            part[key] += rows
            if key == "accounts":
                part["first_account"] = part["first_account"] or block["account"][0].as_py()
                part["last_account"] = block["account"][-1].as_py()
        self._written = stop

    def _open_part(self) -> None:
        number = len(self._parts)
        self._parts.append({**dict.fromkeys(PARTED, 0), "first_account": "", "last_account": ""})
        for key in PARTED:
            file = self._folder / layout.part_file(key, number)
            self._open[key] = _parquet_writer(file, DECLARED[key].schema)

    def _close_part(self) -> None:
        for key, writer in self._open.items():
            writer.close()
            self._record(layout.part_file(key, len(self._parts) - 1), self._parts[-1][key])
        self._open = {}

    def _write_small(self, file: str, table: pa.Table) -> None:
        with _parquet_writer(self._folder / file, table.schema) as writer:
            writer.write_table(table, row_group_size=max(len(table), 1))
        self._record(file, len(table))

    def _record(self, file: str, rows: int) -> None:
        with (self._folder / file).open("rb") as handle:
            os.fsync(handle.fileno())
        self._files[file] = layout.file_record(self._folder / file, rows)

    def _publish(self) -> None:
        for folder in (*(self._folder / key for key in PARTED), self._folder):
            fsync_folder(folder)
        try:
            os.rename(self._folder, self.path)
        except OSError as fault:
            raise BookExists(f"{self.path} appeared while the book was written") from fault
        os.close(self._lock)
        self._lock = -1
        fsync_folder(self.path.parent)


def _parquet_writer(file: Path, schema: pa.Schema) -> pq.ParquetWriter:
    # Plain pages under LZ4 decode at the speed of memory, which dictionaries and deltas do not;
    # every page carries a CRC, so that a changed byte is an error and not a number.
    return pq.ParquetWriter(
        file,
        schema,
        compression="lz4",
        use_dictionary=False,
        write_page_checksum=True,
        data_page_size=1 << 24,
    )
