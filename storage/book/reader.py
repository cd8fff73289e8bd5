"""Read a book: tables of reference whole, accounts and what they hold by runs of rows."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from storage.book import layout, remote
from storage.book.layout import (
    BLOCK_ACCOUNTS,
    PART_ACCOUNTS,
    AccountUnknown,
    BookDamaged,
    BookError,
)
from storage.book.suggest import nearest, spellings
from storage.digest import file_digest
from storage.objects import S3Folder, located
from storage.quarantine import said


@dataclass(frozen=True, slots=True)
class PositionSlice:
    """Positions of a run of accounts, sorted by account, then by instrument row.

    ``offsets`` is ``(account+1,)``: account ``a`` of the run has rows ``offsets[a]:offsets[a+1]``
    of ``instrument`` and ``lots``, each ``(position,)``; lots are signed, long positive.
    """

    offsets: NDArray[np.int64]
    instrument: NDArray[np.int32]
    lots: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class CollateralSlice:
    """Collateral of a run of accounts, laid out like ``PositionSlice``.

    ``quantity`` is in units of the asset, never negative.
    """

    offsets: NDArray[np.int64]
    asset: NDArray[np.int32]
    quantity: NDArray[np.float64]


class Book:
    """A finished book, opened for reading. Holds no open file, so it may be pickled and shared."""

    def __init__(
        self, path: Path, manifest: dict[str, Any], origin: S3Folder | None = None
    ) -> None:
        self.path = path
        self.manifest = manifest
        self.origin = origin

    @classmethod
    def open(cls, path: Path | str | S3Folder) -> "Book":
        """Open a book; its manifest and the sizes of its files are checked, its bytes are not.

        Of a book in an object store, files come to this machine, and are checked, when they are
        first read; ``path`` is then where they come to.

        Raises:
            BookMissing: there is no finished book at the path.
            BookDamaged: a file is missing or has another size than when it was written.
            StoreUnavailable: the object store does not answer, or refuses.
        """
        place = located(path)
        if isinstance(place, S3Folder):
            manifest = remote.read_manifest(place)
            return cls(remote.cache_folder(manifest["digest"]), manifest, place)
        place = place.absolute()
        return cls(place, layout.read_manifest(place))

    def __repr__(self) -> str:
        return (
            f"Book({self.name!r}, {self.accounts:,} accounts, {self.positions:,} positions, "
            f"as of {self.as_of:%Y-%m-%d %H:%M:%S} UTC, digest {self.digest[:12]})"
        )

    @property
    def location(self) -> Path | S3Folder:
        """Where the book can be opened again, on this machine or another."""
        return self.path.resolve() if self.origin is None else self.origin

    @property
    def name(self) -> str:
        """What people call the book."""
        return str(self.manifest["name"])

    @property
    def as_of(self) -> datetime:
        """The instant the positions are of, in UTC."""
        return datetime.fromisoformat(self.manifest["as_of"])

    @property
    def accounts(self) -> int:
        """Number of accounts."""
        return int(self.manifest["accounts"])

    @property
    def positions(self) -> int:
        """Number of positions."""
        return int(self.manifest["positions"])

    @property
    def blocks(self) -> int:
        """Number of blocks; the last may be short."""
        return -(-self.accounts // BLOCK_ACCOUNTS)

    @property
    def digest(self) -> str:
        """SHA-256 of the content: equal for books that hold the same bytes, whatever their name."""
        return str(self.manifest["digest"])

    def block_positions(self) -> NDArray[np.int64]:
        """Return the number of positions of each block, ``(block,)``, without reading them."""
        counts: list[int] = []
        for number in range(len(self.manifest["parts"])):
            with self._part("positions", number) as part:
                groups = range(part.num_row_groups)
                counts += [part.metadata.row_group(group).num_rows for group in groups]
        return np.array(counts, dtype=np.int64)

    def instruments(self) -> pa.Table:
        """Return the instruments, in canonical order."""
        return self._small(layout.INSTRUMENTS)

    def members(self) -> pa.Table:
        """Return the members."""
        return self._small(layout.MEMBERS)

    def assets(self) -> pa.Table:
        """Return the assets that collateral is held in."""
        return self._small(layout.ASSETS)

    def quarantine(self) -> pa.Table:
        """Return the rows that were not taken; a table without columns if all were."""
        if layout.QUARANTINE not in self.manifest["files"]:
            return pa.table({})
        return self._small(layout.QUARANTINE)

    def findings_of(self, account: str) -> list[dict[str, Any]]:
        """Return the rows in quarantine that are an account's own, or are of what it holds."""
        table = self.quarantine()
        if not table.num_rows:
            return []
        names = table["row"]
        accounts = pc.equal(table["dataset"].cast("string"), "accounts")
        own = pc.and_(pc.equal(names, account), accounts)
        touched = pc.or_(own, pc.starts_with(names, f"{account} / "))
        found: list[dict[str, Any]] = table.filter(touched).to_pylist()
        return found

    @property
    def left_out(self) -> int:
        """Number of accounts whose own row is in quarantine, so that they are not in the book."""
        table = self.quarantine()
        if not table.num_rows:
            return 0
        own = pc.equal(table["dataset"].cast("string"), "accounts")
        kept = pc.equal(table["severity"].cast("string"), "quarantine")
        return len(pc.unique(table["row"].filter(pc.and_(own, kept))))

    def held(self, start: int, stop: int) -> NDArray[np.bool_]:
        """Return whether each account of ``[start, stop)`` is held back from margin."""
        start, stop = self._bounds(start, stop)
        rows = self._small(layout.HELD)["account"].to_numpy()
        result = np.zeros(stop - start, dtype=np.bool_)
        result[rows[(rows >= start) & (rows < stop)] - start] = True
        return result

    def held_reasons(self) -> pa.Table:
        """Return the rows of the accounts that are held back, with the code of the reason."""
        return self._small(layout.HELD)

    def account_table(
        self, start: int, stop: int, columns: Sequence[str] | None = None
    ) -> pa.Table:
        """Return the accounts ``[start, stop)``; some of their columns, or all."""
        start, stop = self._bounds(start, stop)
        pieces = [piece for _, piece in self._blocks("accounts", start, stop, columns)]
        if not pieces:
            empty = self._part("accounts", 0).schema_arrow.empty_table()
            return empty if columns is None else empty.select(columns)
        skip = start - start // BLOCK_ACCOUNTS * BLOCK_ACCOUNTS
        return pa.concat_tables(pieces).slice(skip, stop - start)

    def position_slice(self, start: int, stop: int) -> PositionSlice:
        """Return the positions of the accounts ``[start, stop)``."""
        offsets, instrument, lots = self._csr("positions", start, stop)
        return PositionSlice(offsets, instrument, lots)

    def collateral_slice(self, start: int, stop: int) -> CollateralSlice:
        """Return the collateral of the accounts ``[start, stop)``."""
        offsets, asset, quantity = self._csr("collateral", start, stop)
        return CollateralSlice(offsets, asset, quantity)

    def holds_the_same(self, other: "Book", dataset: str, start: int, stop: int) -> bool:
        """Tell whether files of the accounts ``[start, stop)`` are the same bytes in both books.

        ``dataset`` is accounts, with which of them are held back, positions or collateral. Other
        bytes may hold the same rows.
        """
        parts = range(start // PART_ACCOUNTS, -(-stop // PART_ACCOUNTS))
        files = [layout.part_file(dataset, part) for part in parts]
        files += [layout.HELD] if dataset == "accounts" else []
        mine, others = self.manifest["files"], other.manifest["files"]
        return all(
            name in others and mine[name]["sha256"] == others[name]["sha256"] for name in files
        )

    def account_row(self, name: str) -> int:
        """Return the row of an account.

        Raises:
            AccountUnknown: there is none of that name; the message names the nearest.
        """
        parts = self.manifest["parts"]
        number = max(bisect_right(parts, name, key=lambda part: part["first_account"]) - 1, 0)
        names = self._part_table("accounts", number, ["account"])["account"].combine_chunks()
        row = bisect_left(range(len(names)), name, key=lambda i: names[i].as_py())
        if row < len(names) and names[row].as_py() == name:
            return number * PART_ACCOUNTS + row
        for one in self.findings_of(name):
            if one["dataset"] == "accounts":
                raise AccountUnknown(
                    f"account {name!r} is not in book {self.name!r}, its own row is in quarantine: "
                    f"{said(one)}"
                )
        near = names.slice(max(row - 50, 0), 100).to_pylist()
        ends = [part[end] for part in parts for end in ("first_account", "last_account")]
        known = [guess for guess in spellings(name, near + ends) if self._has(guess)]
        guess = known[0] if known else nearest(name, near)
        hint = f"; did you mean {guess!r}?" if guess else ""
        span = f"{ends[0]!r} to {ends[-1]!r}"
        raise AccountUnknown(
            f"no account {name!r} in book {self.name!r} of {self.accounts:,} accounts, {span}{hint}"
        )

    def verify(self) -> None:
        """Hash every file again; of a book in an object store, look at the sizes alone.

        What comes from a store is hashed when it comes, by each machine for itself.

        Raises:
            BookDamaged: some file is not the file that was written; the message lists them.
        """
        if self.origin is not None:
            layout.require_sizes(self.manifest, self.origin.sizes(), self.origin)
            return
        files = layout.read_manifest(self.path)["files"]
        with ThreadPoolExecutor() as pool:
            found = pool.map(file_digest, [self.path / name for name in files])
        changed = [
            name
            for (name, record), digest in zip(files.items(), found, strict=True)
            if digest != record["sha256"]
        ]
        if changed:
            raise BookDamaged(
                f"book {self.path}: {', '.join(changed)} changed since the book was written; "
                "restore or rebuild the book"
            )

    def _bounds(self, start: int, stop: int) -> tuple[int, int]:
        if not 0 <= start <= stop <= self.accounts:
            raise BookError(
                f"accounts [{start}, {stop}) asked of a book of {self.accounts}; give "
                "0 <= start <= stop <= accounts"
            )
        return start, stop

    def _has(self, name: str) -> bool:
        parts = self.manifest["parts"]
        number = bisect_right(parts, name, key=lambda part: part["first_account"]) - 1
        if number < 0:
            return False
        names = self._part_table("accounts", number, ["account"])["account"]
        return bool(pc.index(names, name).as_py() >= 0)

    def _file(self, name: str) -> Path:
        """Return a file of the book on this machine."""
        if self.origin is not None:
            remote.fetch(self.origin, name, self.path, self.manifest["files"][name])
        return self.path / name

    def _small(self, name: str) -> pa.Table:
        file = self._file(name)
        try:
            return pq.read_table(file, page_checksum_verification=True)
        except (OSError, pa.ArrowException) as fault:
            raise _damaged(file, fault) from fault

    def _part(self, dataset: str, number: int) -> pq.ParquetFile:
        file = self._file(layout.part_file(dataset, number))
        try:
            return pq.ParquetFile(file, memory_map=True, page_checksum_verification=True)
        except (OSError, pa.ArrowException) as fault:
            raise _damaged(file, fault) from fault

    def _part_table(
        self,
        dataset: str,
        number: int,
        columns: Sequence[str] | None = None,
        groups: range | None = None,
    ) -> pa.Table:
        """Return row groups of a part (all unless chosen)."""
        with self._part(dataset, number) as part:
            groups = range(part.num_row_groups) if groups is None else groups
            try:
                return part.read_row_groups(
                    list(groups), columns=columns and list(columns), use_threads=False
                )
            except (OSError, pa.ArrowException) as fault:
                raise _damaged(self.path / layout.part_file(dataset, number), fault) from fault

    def _blocks(
        self, dataset: str, start: int, stop: int, columns: Sequence[str] | None = None
    ) -> Iterator[tuple[int, pa.Table]]:
        """Yield the first account and the rows of the whole blocks that cover the accounts."""
        per_part = PART_ACCOUNTS // BLOCK_ACCOUNTS
        block, end = start // BLOCK_ACCOUNTS, -(-stop // BLOCK_ACCOUNTS)
        while block < end:
            number = block // per_part
            until = min(end, (number + 1) * per_part)
            groups = range(block - number * per_part, until - number * per_part)
            yield block * BLOCK_ACCOUNTS, self._part_table(dataset, number, columns, groups)
            block = until

    def _csr(
        self, dataset: str, start: int, stop: int
    ) -> tuple[NDArray[np.int64], NDArray[Any], NDArray[Any]]:
        """Return offsets and the two columns after ``account`` of the accounts' rows."""
        start, stop = self._bounds(start, stop)
        count = np.zeros(stop - start, dtype=np.int64)
        items, amounts = [], []
        for first, table in self._blocks(dataset, start, stop):
            account, item, amount = (
                column.combine_chunks().to_numpy() for column in table.itercolumns()
            )
            last = min(first + PART_ACCOUNTS, -(-stop // BLOCK_ACCOUNTS) * BLOCK_ACCOUNTS)
            if len(account) and (account[0] < first or account[-1] >= last):
                file = layout.part_file(dataset, first // PART_ACCOUNTS)
                raise BookDamaged(f"{self.path / file} holds rows of accounts of another part")
            begin, end = max(start, first), min(stop, last)
            keep = slice(*np.searchsorted(account, [begin, end]))
            local = account[keep] - np.int32(begin)
            count[begin - start : end - start] = np.bincount(local, minlength=end - begin)
            items.append(item[keep])
            amounts.append(amount[keep])
        offsets = np.zeros(stop - start + 1, dtype=np.int64)
        np.cumsum(count, out=offsets[1:])
        if not items:
            empty = self._part(dataset, 0).schema_arrow.empty_table()
            return offsets, empty[1].to_numpy(), empty[2].to_numpy()
        return offsets, np.concatenate(items), np.concatenate(amounts)


def _damaged(file: Path, fault: Exception) -> BookDamaged:
    return BookDamaged(f"{file} cannot be read ({fault}); restore or rebuild the book")
