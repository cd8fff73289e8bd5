"""Write claims: account by account of one book, checked as they come."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from storage import tables
from storage.book import Book
from storage.claims.layout import AS_SAID, CLAIMS, ClaimsRefused
from storage.claims.reader import Claims
from storage.claims.references import DECLARED, MOST_QUANTITY, References
from storage.dataset.rules import conform, every, in_range, numbers
from storage.dataset.writer import DatasetWriter

_NO_ROOT = pa.scalar(bytes(16), tables.IDENTITY)


class ClaimsWriter(DatasetWriter):
    """Writer of the claims of one book's accounts, for use in a ``with`` block.

    Args:
        path: the folder of the claims; must not exist.
        name: what people call them.
        book: whose accounts they are of.
        references: the tables that claims point to.

    Raises:
        ClaimsExist: there is something at the path.
        ClaimsRefused: a table breaks a rule; the message starts with its code.
    """

    kind = CLAIMS
    parted: ClassVar[Mapping[str, tables.Table]] = {"claims": tables.CLAIMS}

    def __init__(self, path: Path | str, name: str, book: Book, references: References) -> None:
        super().__init__(path)
        self._references = references.conformed()
        self._references.check(book.as_of)
        self._book_accounts = book.accounts
        self._about = {"name": name, "as_of": book.as_of.isoformat(), "book": book.digest}
        self._heads = numbers(self._references.chains, "height")
        chains = self._references.chains["chain"].combine_chunks()
        chain = pc.index_in(self._references.tokens["chain"], value_set=chains)
        self._chain = chain.to_numpy().astype(np.int64)
        self._last_backing = -1
        self._begin()

    @property
    def claims(self) -> int:
        """Claims appended so far: the row that the next claim will have."""
        return self._rows["claims"]

    def append(self, accounts: int, claims: pa.Table) -> None:
        """Append the claims of the next so many accounts of the book.

        The column ``account`` holds rows of the book, which must be among these accounts;
        ``backing`` holds rows among all claims, those that are yet to come too.

        Raises:
            ClaimsRefused: a row breaks a rule; nothing of the batch is taken.
        """
        claims = conform(claims, tables.CLAIMS, CLAIMS)
        self._check(claims, self.accounts, self.accounts + accounts)
        if len(claims):
            self._last_backing = max(self._last_backing, int(numbers(claims, "backing").max()))
        self._take(accounts, {"claims": claims})

    def close(
        self,
        source: Mapping[str, Any] | str = "",
        *,
        quarantine: pa.Table | None = None,
        held: pa.Table | None = None,
        planted: Mapping[str, Any] | None = None,
        standing: str = AS_SAID,
    ) -> Claims:
        """Finish the claims and return them, opened.

        Args:
            source: where they come from, for the manifest; JSON.
            quarantine: rows that were not taken, with their reasons.
            held: accounts whose claims are not to be used (columns ``account``, ``code``),
                because a row of theirs is in the quarantine.
            planted: what was put in to be found, rows of claims by kind.
            standing: where the standings are from, ``AS_SAID`` or ``JUDGED``.

        Raises:
            ClaimsRefused: accounts of the book are missing, there is no claim at all, or a claim
                is a receipt for one that never came.
        """
        if self.accounts != self._book_accounts:
            raise ClaimsRefused(
                f"UNKNOWN_ACCOUNT: claims of {self.accounts} accounts for a book of "
                f"{self._book_accounts}; append every account, those without claims too"
            )
        if not self.claims:
            raise ClaimsRefused("EMPTY_INPUT: there are no claims; check what made them")
        if self._last_backing >= self.claims:
            raise ClaimsRefused(
                f"UNKNOWN_BACKING: claims.backing {self._last_backing}; allowed is -1 to "
                f"{self.claims - 1}"
            )
        self._finish_parts()
        for name in DECLARED:
            self._write_small(f"{name}.parquet", getattr(self._references, name))
        self._write_findings(quarantine, held)
        made = {"source": source, "planted": dict(planted or {}), "standing": standing}
        self._publish({**self._about, **made})
        return Claims.open(self.path)

    def _check(self, claims: pa.Table, first: int, stop: int) -> None:
        if not len(claims):
            return
        account, market, token = (numbers(claims, name) for name in tables.CLAIMS.key)
        every(
            (account >= first) & (account < stop),
            "UNKNOWN_ACCOUNT",
            "claims.account",
            account,
            f"{first} to {stop - 1}",
            CLAIMS,
        )
        tokens, markets = len(self._references.tokens), len(self._references.markets)
        in_range(claims, "token", tokens, "claims", CLAIMS)
        in_range(claims, "market", markets, "claims", CLAIMS, first=-1)
        in_range(claims, "standing", len(tables.STANDINGS), "claims", CLAIMS)
        key = (account.astype(np.int64) * (markets + 1) + market + 1) * tokens + token
        every(
            np.diff(key, prepend=key[0]) >= 0,
            "SORT_ORDER",
            "claims.token",
            token,
            "claims in ascending order of account, market and token",
            CLAIMS,
        )
        self._check_amounts(claims, token)

    def _check_amounts(self, claims: pa.Table, token: np.ndarray[Any, Any]) -> None:
        quantity, encumbered = numbers(claims, "quantity"), numbers(claims, "encumbered")
        allowed = np.isfinite(quantity) & (quantity >= 0.0)
        every(allowed, "QUANTITY_NEGATIVE", "claims.quantity", quantity, ">= 0", CLAIMS)
        rule = "at most 1e18"
        every(
            quantity <= MOST_QUANTITY, "QUANTITY_RANGE", "claims.quantity", quantity, rule, CLAIMS
        )
        allowed = (encumbered >= 0.0) & (encumbered <= quantity)
        rule = "0 to the quantity"
        every(allowed, "ENCUMBERED_RANGE", "claims.encumbered", encumbered, rule, CLAIMS)
        height = numbers(claims, "height")
        head = self._heads[self._chain[token]]
        allowed = (height >= 0) & (height <= head)
        rule = "0 to the height of the chain"
        every(allowed, "HEIGHT_ABOVE_HEAD", "claims.height", height, rule, CLAIMS)
        backing = numbers(claims, "backing")
        rule = "-1, or the row of another claim"
        rows = self.claims + np.arange(len(claims))
        allowed = (backing >= -1) & (backing != rows)
        every(allowed, "UNKNOWN_BACKING", "claims.backing", backing, rule, CLAIMS)
        if pc.any(pc.equal(claims["root"], _NO_ROOT)).as_py():
            row = pc.index(claims["root"], _NO_ROOT).as_py()
            raise ClaimsRefused(
                f"ROOT_MISSING: claims.root is zero in row {row}; allowed is what names the deposit"
            )
