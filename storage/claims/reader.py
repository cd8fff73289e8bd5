"""Read claims: tables of reference whole, claims by runs of accounts or by column."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from storage import tables
from storage.book import Book
from storage.claims.layout import AS_SAID, CLAIMS, ClaimsError
from storage.claims.references import DECLARED, References
from storage.dataset.kind import BLOCK_ACCOUNTS, PART_ACCOUNTS
from storage.dataset.reader import Dataset

COLUMNS = tuple(column.name for column in tables.CLAIMS.columns[1:])


@dataclass(frozen=True, slots=True)
class ClaimSlice:
    """Claims of a run of accounts, sorted by account, market and token.

    ``offsets`` is ``(account+1,)``: account ``a`` of the run has rows ``offsets[a]:offsets[a+1]``
    of the others, each ``(claim,)``; ``root`` and ``proof`` are ``(claim, 2)``, the sixteen bytes
    as they are kept. ``first`` is the row of the first claim among all claims, which ``backing``
    counts in.
    """

    first: int
    offsets: NDArray[np.int64]
    token: NDArray[np.int32]
    quantity: NDArray[np.float64]
    encumbered: NDArray[np.float64]
    market: NDArray[np.int32]
    root: NDArray[np.uint64]
    proof: NDArray[np.uint64]
    height: NDArray[np.int64]
    standing: NDArray[np.int8]
    backing: NDArray[np.int64]


class Claims(Dataset):
    """Finished claims of the accounts of one book, opened for reading."""

    kind = CLAIMS

    def __repr__(self) -> str:
        return (
            f"Claims({self.name!r}, {self.claims:,} claims of {self.accounts:,} accounts, "
            f"as of {self.as_of:%Y-%m-%d %H:%M:%S} UTC, digest {self.digest[:12]})"
        )

    @property
    def claims(self) -> int:
        """Number of claims."""
        return int(self.manifest["claims"])

    @property
    def book_digest(self) -> str:
        """Digest of the book whose accounts these claims are of."""
        return str(self.manifest["book"])

    @property
    def standing(self) -> str:
        """Where the standings are from: ``AS_SAID`` or ``JUDGED``."""
        return str(self.manifest.get("standing", AS_SAID))

    @property
    def planted(self) -> dict[str, Any]:
        """What a generator put in to be found, by kind; nothing for imported claims."""
        return dict(self.manifest["planted"])

    def require_book(self, book: Book) -> None:
        """Refuse a book whose accounts these claims are not of.

        Raises:
            ClaimsError: they are of another book, or of other bytes of it.
        """
        if self.book_digest != book.digest:
            raise ClaimsError(
                f"BOOK_MISMATCH: claims {self.name} are of the book {self.book_digest[:12]}, book "
                f"{book.name} is {book.digest[:12]}; give the claims of that book, or make them"
            )

    def references(self) -> References:
        """Return the tables that claims point to."""
        return References(**{name: self._small(f"{name}.parquet") for name in DECLARED})

    def claim_slice(self, start: int, stop: int) -> ClaimSlice:
        """Return the claims of the accounts ``[start, stop)``."""
        offsets, columns = self._csr("claims", start, stop)
        values = dict(zip(COLUMNS, map(_values, columns), strict=True))
        return ClaimSlice(first=self.first_claim(start), offsets=offsets, **values)

    def columns(
        self, names: Sequence[str], start: int = 0, stop: int | None = None
    ) -> dict[str, NDArray[Any]]:
        """Return some columns of the claims of ``[start, stop)``, of all accounts by default.

        They are as in ``ClaimSlice``, with ``account`` besides: the row of each claim's account.
        """
        stop = self.accounts if stop is None else stop
        chosen = [name for name in names if name != "account"]
        offsets, columns = self._csr("claims", start, stop, chosen)
        found = dict(zip(chosen, map(_values, columns), strict=True))
        if "account" in names:
            owners = np.arange(start, stop, dtype=np.int32)
            found["account"] = np.repeat(owners, np.diff(offsets))
        return found

    def first_claim(self, account: int) -> int:
        """Return the row of the first claim of an account among all claims."""
        part, within = divmod(account, PART_ACCOUNTS)
        before: int = sum(one["claims"] for one in self.manifest["parts"][:part])
        if not within or account >= self.accounts:
            return before if not within else self.claims
        with self._part("claims", part) as file:
            blocks = range(within // BLOCK_ACCOUNTS)
            before += sum(file.metadata.row_group(block).num_rows for block in blocks)
        if account % BLOCK_ACCOUNTS:
            group = within // BLOCK_ACCOUNTS
            owners = self._part_table("claims", part, ["account"], range(group, group + 1))
            before += int(np.searchsorted(owners["account"].to_numpy(), account))
        return before


def _values(column: pa.ChunkedArray) -> NDArray[Any]:
    if column.type != tables.IDENTITY:
        return np.asarray(column.to_numpy())
    whole = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    words = np.frombuffer(whole.buffers()[1] or b"", np.uint64)
    return words[2 * whole.offset :][: 2 * len(whole)].reshape(-1, 2)
