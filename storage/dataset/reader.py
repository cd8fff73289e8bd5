"""Read a dataset: small tables whole, parts by runs of accounts."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from storage.dataset import manifest as manifests
from storage.dataset import remote
from storage.dataset.kind import (
    BLOCK_ACCOUNTS,
    HELD,
    PART_ACCOUNTS,
    QUARANTINE,
    Kind,
    part_file,
)
from storage.digest import file_digest
from storage.objects import S3Folder, located


class Dataset:
    """A finished dataset, opened for reading.

    Holds no open file, so it may be pickled and shared.
    """

    kind: ClassVar[Kind]

    def __init__(
        self, path: Path, manifest: dict[str, Any], origin: S3Folder | None = None
    ) -> None:
        self.path = path
        self.manifest = manifest
        self.origin = origin

    @classmethod
    def open(cls, path: Path | str | S3Folder) -> Self:
        """Open a dataset; its manifest and the sizes of its files are checked, its bytes are not.

        Of one in an object store, files come to this machine, and are checked, when they are
        first read; ``path`` is then where they come to.

        Raises:
            kind.missing: there is no finished dataset at the path.
            kind.damaged: a file is missing or has another size than when it was written.
            StoreUnavailable: the object store does not answer, or refuses.
        """
        place = located(path)
        if isinstance(place, S3Folder):
            manifest = remote.read_manifest(place, cls.kind)
            return cls(remote.cache_folder(manifest["digest"], cls.kind), manifest, place)
        place = place.absolute()
        return cls(place, manifests.read_manifest(place, cls.kind))

    @property
    def location(self) -> Path | S3Folder:
        """Where it can be opened again, on this machine or another."""
        return self.path.resolve() if self.origin is None else self.origin

    @property
    def name(self) -> str:
        """What people call it."""
        return str(self.manifest["name"])

    @property
    def as_of(self) -> datetime:
        """The instant that it is of, in UTC."""
        return datetime.fromisoformat(self.manifest["as_of"])

    @property
    def accounts(self) -> int:
        """Number of accounts."""
        return int(self.manifest["accounts"])

    @property
    def blocks(self) -> int:
        """Number of blocks; the last may be short."""
        return -(-self.accounts // BLOCK_ACCOUNTS)

    @property
    def digest(self) -> str:
        """SHA-256 of the content: equal for those that hold the same bytes, whatever the name."""
        return str(self.manifest["digest"])

    def quarantine(self) -> pa.Table:
        """Return the rows that were not taken; a table without columns if all were."""
        if QUARANTINE not in self.manifest["files"]:
            return pa.table({})
        return self._small(QUARANTINE)

    def held(self, start: int, stop: int) -> NDArray[np.bool_]:
        """Return whether each account of ``[start, stop)`` is held back."""
        start, stop = self._bounds(start, stop)
        rows = self._small(HELD)["account"].to_numpy()
        result = np.zeros(stop - start, dtype=np.bool_)
        result[rows[(rows >= start) & (rows < stop)] - start] = True
        return result

    def held_reasons(self) -> pa.Table:
        """Return the rows of the accounts that are held back, with the code of the reason."""
        return self._small(HELD)

    def verify(self) -> None:
        """Hash every file again; of a dataset in an object store, look at the sizes there alone.

        What comes from a store is hashed when it comes, and again by each process that reads it.

        Raises:
            kind.damaged: some file is not the file that was written; the message lists them.
        """
        if self.origin is not None:
            manifests.require_sizes(self.manifest, self.origin.sizes(), self.origin, self.kind)
            return
        files = manifests.read_manifest(self.path, self.kind)["files"]
        with ThreadPoolExecutor() as pool:
            found = pool.map(file_digest, [self.path / name for name in files])
        changed = [
            name
            for (name, record), digest in zip(files.items(), found, strict=True)
            if digest != record["sha256"]
        ]
        if changed:
            raise self.kind.damaged(
                f"{self.kind.noun} {self.path}: {', '.join(changed)} changed since the "
                f"{self.kind.noun} was written; restore or rebuild the {self.kind.noun}"
            )

    def block_rows(self, dataset: str) -> NDArray[np.int64]:
        """Return the number of rows of each block, ``(block,)``, without reading them."""
        counts: list[int] = []
        for number in range(len(self.manifest["parts"])):
            with self._part(dataset, number) as part:
                groups = range(part.num_row_groups)
                counts += [part.metadata.row_group(group).num_rows for group in groups]
        return np.array(counts, dtype=np.int64)

    def _bounds(self, start: int, stop: int) -> tuple[int, int]:
        if not 0 <= start <= stop <= self.accounts:
            raise self.kind.error(
                f"accounts [{start}, {stop}) asked of a {self.kind.noun} of {self.accounts}; give "
                "0 <= start <= stop <= accounts"
            )
        return start, stop

    def _file(self, name: str) -> Path:
        """Return a file of the dataset on this machine."""
        if self.origin is not None:
            remote.fetch(self.origin, name, self.path, self.manifest["files"][name], self.kind)
        return self.path / name

    def _small(self, name: str) -> pa.Table:
        file = self._file(name)
        try:
            return pq.read_table(file, page_checksum_verification=True)
        except (OSError, pa.ArrowException) as fault:
            raise self._damaged(file, fault) from fault

    def _part(self, dataset: str, number: int) -> pq.ParquetFile:
        file = self._file(part_file(dataset, number))
        try:
            return pq.ParquetFile(file, memory_map=True, page_checksum_verification=True)
        except (OSError, pa.ArrowException) as fault:
            raise self._damaged(file, fault) from fault

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
                raise self._damaged(self.path / part_file(dataset, number), fault) from fault

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
        self, dataset: str, start: int, stop: int, columns: Sequence[str] | None = None
    ) -> tuple[NDArray[np.int64], list[pa.ChunkedArray]]:
        """Return offsets by account, and the columns after ``account`` of the accounts' rows."""
        start, stop = self._bounds(start, stop)
        count = np.zeros(stop - start, dtype=np.int64)
        chosen = None if columns is None else ["account", *columns]
        pieces: list[pa.Table] = []
        for first, table in self._blocks(dataset, start, stop, chosen):
            account = table["account"].combine_chunks().to_numpy()
            last = min(first + PART_ACCOUNTS, -(-stop // BLOCK_ACCOUNTS) * BLOCK_ACCOUNTS)
            if len(account) and (account[0] < first or account[-1] >= last):
                file = part_file(dataset, first // PART_ACCOUNTS)
                raise self.kind.damaged(
                    f"{self.path / file} holds rows of accounts of another part"
                )
            begin, end = max(start, first), min(stop, last)
            low, high = np.searchsorted(account, [begin, end]).tolist()
            local = account[low:high] - np.int32(begin)
            count[begin - start : end - start] = np.bincount(local, minlength=end - begin)
            pieces.append(table.slice(low, high - low))
        offsets = np.zeros(stop - start + 1, dtype=np.int64)
        np.cumsum(count, out=offsets[1:])
        if not pieces:
            empty = self._part(dataset, 0).schema_arrow.empty_table()
            pieces = [empty if chosen is None else empty.select(chosen)]
        return offsets, pa.concat_tables(pieces).columns[1:]

    def _damaged(self, file: Path, fault: Exception) -> Exception:
        return self.kind.damaged(
            f"{file} cannot be read ({fault}); restore or rebuild the {self.kind.noun}"
        )
