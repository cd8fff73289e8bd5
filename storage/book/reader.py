"""Read a book: tables of reference whole, accounts and what they hold by runs of rows."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from storage.book import layout
from storage.book.layout import BOOK, AccountUnknown
from storage.book.suggest import nearest, spellings
from storage.dataset.kind import BLOCK_ACCOUNTS, HELD, PART_ACCOUNTS, part_file
from storage.dataset.reader import Dataset
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


class Book(Dataset):
    """A finished book, opened for reading. Holds no open file, so it may be pickled and shared."""

    kind = BOOK

    def __repr__(self) -> str:
        return (
            f"Book({self.name!r}, {self.accounts:,} accounts, {self.positions:,} positions, "
            f"as of {self.as_of:%Y-%m-%d %H:%M:%S} UTC, digest {self.digest[:12]})"
        )

    @property
    def positions(self) -> int:
        """Number of positions."""
        return int(self.manifest["positions"])

    def block_positions(self) -> NDArray[np.int64]:
        """Return the number of positions of each block, ``(block,)``, without reading them."""
        return self.block_rows("positions")

    def instruments(self) -> pa.Table:
        """Return the instruments, in canonical order."""
        return self._small(layout.INSTRUMENTS)

    def members(self) -> pa.Table:
        """Return the members."""
        return self._small(layout.MEMBERS)

    def assets(self) -> pa.Table:
        """Return the assets that collateral is held in."""
        return self._small(layout.ASSETS)

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

    @property
    def set_aside(self) -> list[dict[str, Any]]:
        """Collateral of rows in quarantine, by code and row of the assets: rows and quantity.

        Rows whose asset or quantity is not known are not in it.
        """
        return list(self.manifest.get("set_aside", []))

    def rows_set_aside(self, dataset: str) -> dict[str, int]:
        """Return how many rows of a dataset are in quarantine, by the first code of each."""
        table = self.quarantine()
        if not table.num_rows:
            return {}
        own = pc.equal(table["dataset"].cast("string"), dataset)
        kept = pc.equal(table["severity"].cast("string"), "quarantine")
        rows = table.filter(pc.and_(own, kept))
        lines, codes = rows["line"].to_numpy(), rows["code"].cast("string")
        first = np.unique(lines, return_index=True)[1]
        counted = pc.value_counts(codes.take(pa.array(first)))
        return {one["values"]: one["counts"] for one in counted.to_pylist()}

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
        offsets, (instrument, lots) = self._csr("positions", start, stop)
        return PositionSlice(offsets, instrument.to_numpy(), lots.to_numpy())

    def collateral_slice(self, start: int, stop: int) -> CollateralSlice:
        """Return the collateral of the accounts ``[start, stop)``."""
        offsets, (asset, quantity) = self._csr("collateral", start, stop)
        return CollateralSlice(offsets, asset.to_numpy(), quantity.to_numpy())

    def holds_the_same(self, other: "Book", dataset: str, start: int, stop: int) -> bool:
        """Tell whether files of the accounts ``[start, stop)`` are the same bytes in both books.

        ``dataset`` is accounts, with which of them are held back, positions or collateral. Other
        bytes may hold the same rows.
        """
        parts = range(start // PART_ACCOUNTS, -(-stop // PART_ACCOUNTS))
        files = [part_file(dataset, part) for part in parts]
        files += [HELD] if dataset == "accounts" else []
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

    def _has(self, name: str) -> bool:
        parts = self.manifest["parts"]
        number = bisect_right(parts, name, key=lambda part: part["first_account"]) - 1
        if number < 0:
            return False
        names = self._part_table("accounts", number, ["account"])["account"]
        return bool(pc.index(names, name).as_py() >= 0)
