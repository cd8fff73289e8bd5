"""Write a dataset: in account order, a block at a time, and visible only when it is whole."""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from storage.dataset import manifest as manifests
from storage.dataset import rules
from storage.dataset.durable import fsync_folder, working_folder
from storage.dataset.kind import (
    BLOCK_ACCOUNTS,
    HELD,
    MANIFEST,
    PART_ACCOUNTS,
    QUARANTINE,
    Kind,
    part_file,
)
from storage.tables import Table


class DatasetWriter:
    """Writer of one dataset, for use in a ``with`` block.

    Batches of any size are taken in account order; the bytes on disk do not depend on how the
    accounts were cut into batches. Everything goes to a hidden sibling folder that is renamed
    when it is durable: a reader sees the whole dataset or none. Leaving the ``with`` block before
    that removes what was written.

    Args:
        path: the dataset's folder; must not exist.

    Raises:
        kind.exists: there is something at the path.
    """

    kind: ClassVar[Kind]
    parted: ClassVar[Mapping[str, Table]]
    """What is cut into parts: one row an account in ``accounts``, rows by account in others."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path).absolute()
        if self.path.exists():
            raise self.kind.exists(
                f"{self.path} exists; {self.kind.noun}s are never overwritten, choose "
                "another path or name (--name)"
            )
        self._lock = -1
        self._rows = dict.fromkeys(("accounts", *self.parted), 0)
        self._written = 0
        self._pending = {key: table.schema.empty_table() for key, table in self.parted.items()}
        self._files: dict[str, dict[str, Any]] = {}
        self._parts: list[dict[str, Any]] = []
        self._open: dict[str, pq.ParquetWriter] = {}

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

    def abandon(self) -> None:
        """Remove what was written, unless the dataset is finished."""
        for writer in self._open.values():
            writer.close()
        self._open = {}
        if self._lock >= 0:
            shutil.rmtree(self._folder, ignore_errors=True)
            os.close(self._lock)
            self._lock = -1

    def _begin(self) -> None:
        """Make the folder to write in."""
        self._folder, self._lock = working_folder(self.path)
        for key in self.parted:
            (self._folder / key).mkdir()

    def _take(self, accounts: int, batch: Mapping[str, pa.Table]) -> None:
        """Take a checked batch of so many accounts, and write the blocks that are full."""
        self._rows["accounts"] += accounts
        for key, table in batch.items():
            if key != "accounts":
                self._rows[key] += len(table)
            self._pending[key] = pa.concat_tables([self._pending[key], table])
        while self.accounts - self._written >= BLOCK_ACCOUNTS:
            self._write_block(BLOCK_ACCOUNTS)

    def _new_part(self) -> dict[str, Any]:
        """Return what the manifest says of a part that has no rows yet."""
        return dict.fromkeys(self.parted, 0)

    def _note(self, part: dict[str, Any], key: str, block: pa.Table) -> None:
        """Count the rows of a block that goes to a part."""
        part[key] += len(block)

    def _write_block(self, count: int) -> None:
        """Move the first ``count`` pending accounts to their row groups."""
        if self._written % PART_ACCOUNTS == 0:
            self._close_part()
            self._open_part()
        stop = self._written + count
        for key in self.parted:
            pending = self._pending[key]
            rows = count
            if key != "accounts":
                rows = int(np.searchsorted(rules.numbers(pending, "account"), stop))
            block = pending.slice(0, rows).combine_chunks()
            # The bytes must not depend on the batches, so a row group is written from one chunk.
            self._open[key].write_table(block, row_group_size=max(rows, 1))
            self._pending[key] = pending.slice(rows)
            self._note(self._parts[-1], key, block)
        self._written = stop

    def _open_part(self) -> None:
        number = len(self._parts)
        self._parts.append(self._new_part())
        for key, table in self.parted.items():
            self._open[key] = _parquet_writer(self._folder / part_file(key, number), table.schema)

    def _close_part(self) -> None:
        for key, writer in self._open.items():
            writer.close()
            self._record(part_file(key, len(self._parts) - 1), self._parts[-1][key])
        self._open = {}

    def _finish_parts(self) -> None:
        """Write the last block, and close the last part."""
        if self.accounts > self._written:
            self._write_block(self.accounts - self._written)
        self._close_part()

    def _write_small(self, file: str, table: pa.Table) -> None:
        with _parquet_writer(self._folder / file, table.schema) as writer:
            writer.write_table(table, row_group_size=max(len(table), 1))
        self._record(file, len(table))

    def _write_findings(self, quarantine: pa.Table | None, held: pa.Table | None) -> None:
        """Write which accounts are held back, one row each, and the rows that were not taken."""
        held = held if held is not None else rules.HELD_TABLE.schema.empty_table()
        held = rules.conform(held, rules.HELD_TABLE, self.kind)
        rules.in_range(held, "account", self.accounts, "held", self.kind)
        held = held.group_by("account").aggregate([("code", "min")]).sort_by("account")
        self._write_small(HELD, held.rename_columns(["account", "code"]))
        if quarantine is not None:
            self._write_small(QUARANTINE, quarantine.combine_chunks())

    def _record(self, file: str, rows: int) -> None:
        with (self._folder / file).open("rb") as handle:
            os.fsync(handle.fileno())
        self._files[file] = manifests.file_record(self._folder / file, rows)

    def _publish(self, about: Mapping[str, Any]) -> None:
        """Write the manifest, make everything durable, and give the folder its name."""
        manifest = {
            "format": self.kind.format,
            **about,
            **self._rows,
            "held": self._files[HELD]["rows"],
            "quarantined": self._files.get(QUARANTINE, {"rows": 0})["rows"],
            "part_accounts": PART_ACCOUNTS,
            "block_accounts": BLOCK_ACCOUNTS,
            "parts": self._parts,
            "files": self._files,
        }
        manifest["digest"] = manifests.content_digest(manifest)
        with (self._folder / MANIFEST).open("w") as file:
            json.dump(manifest, file, indent=1, sort_keys=True)
            file.flush()
            os.fsync(file.fileno())
        for folder in (*(self._folder / key for key in self.parted), self._folder):
            fsync_folder(folder)
        try:
            os.rename(self._folder, self.path)
        except OSError as fault:
            raise self.kind.exists(
                f"{self.path} appeared while the {self.kind.noun} was written"
            ) from fault
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
