"""Write a book: what it may hold is checked as it comes, batch by batch."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from storage import tables
from storage.book import layout, rules
from storage.book.layout import BOOK, BookRefused
from storage.book.reader import Book
from storage.dataset.rules import conform, numbers
from storage.dataset.writer import DatasetWriter

DECLARED = {
    "accounts": tables.ACCOUNTS,
    "positions": tables.POSITIONS,
    "collateral": tables.COLLATERAL,
}


class BookWriter(DatasetWriter):
    """Writer of one book, for use in a ``with`` block.

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

    kind = BOOK
    parted = DECLARED

    def __init__(
        self,
        path: Path | str,
        name: str,
        as_of: datetime,
        instruments: pa.Table,
        members: pa.Table,
        assets: pa.Table,
    ) -> None:
        super().__init__(path)
        if as_of.utcoffset() != timedelta(0):
            raise BookRefused(f"TZ_MISSING: as_of {as_of} is not in UTC; give it a UTC zone")
        self._references = {
            layout.INSTRUMENTS: conform(instruments, tables.INSTRUMENTS, BOOK),
            layout.MEMBERS: conform(members, tables.MEMBERS, BOOK),
            layout.ASSETS: conform(assets, tables.ASSETS, BOOK),
        }
        rules.check_references(*self._references.values())
        self._sizes = {
            "positions": len(instruments),
            "collateral": len(assets),
            "accounts": len(members),
        }
        self._about = {"name": name, "as_of": as_of.isoformat()}
        self._last: str | None = None
        self._long = np.zeros(len(instruments), dtype=np.int64)
        self._net = np.zeros(len(instruments), dtype=np.int64)
        self._gross = 0.0
        self._begin()

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
        batch = {key: conform(table, DECLARED[key], BOOK) for key, table in batch.items()}
        first = self.accounts
        stop = first + len(accounts)
        rules.check_accounts(batch["accounts"], self._last, self._sizes["accounts"])
        for key in ("positions", "collateral"):
            rules.check_rows(batch[key], DECLARED[key], first, stop, self._sizes[key])
        lots = numbers(batch["positions"], "lots")
        rules.check_lots(lots)
        rules.check_quantity(numbers(batch["collateral"], "quantity"))
        gross = self._gross + float(np.abs(lots.astype(np.float64)).sum())
        if gross >= 2.0**62:
            raise BookRefused(f"OVERFLOW: {gross:.3g} lots in all; use larger lot sizes")
        self._gross = gross
        instrument = numbers(batch["positions"], "instrument")
        np.add.at(self._net, instrument, lots)
        np.add.at(self._long, instrument, np.maximum(lots, 0))
        if len(accounts):
            self._last = batch["accounts"]["account"][-1].as_py()
        self._take(len(accounts), batch)

    def close(
        self,
        quarantine: pa.Table | None = None,
        source: Mapping[str, Any] | str = "",
        *,
        held: pa.Table | None = None,
        set_aside: Sequence[Mapping[str, Any]] = (),
        one_sided: bool = False,
    ) -> Book:
        """Finish the book and return it, opened.

        Args:
            quarantine: rows that were not taken, with their reasons.
            source: where the book comes from, for the manifest; JSON.
            held: accounts that must not be margined (columns ``account``, ``code``), because a
                row of theirs is in the quarantine.
            set_aside: collateral of rows in the quarantine: ``code``, ``asset`` (a row of the
                assets), ``rows``, ``quantity``.
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
        self._finish_parts()
        for file, table in self._references.items():
            self._write_small(file, table)
        self._write_findings(quarantine, held)
        self._publish(
            {
                **self._about,
                "source": source,
                "one_sided": one_sided,
                "imbalance": imbalance,
                "long_lots": self._long.tolist(),
                **({"set_aside": list(set_aside)} if set_aside else {}),
            }
        )
        return Book.open(self.path)

    def _imbalance(self) -> dict[str, int]:
        rows = np.flatnonzero(self._net)
        names = self._references[layout.INSTRUMENTS]["instrument"]
        return {names[int(row)].as_py(): int(self._net[row]) for row in rows}

    def _new_part(self) -> dict[str, Any]:
        return {**super()._new_part(), "first_account": "", "last_account": ""}

    def _note(self, part: dict[str, Any], key: str, block: pa.Table) -> None:
        super()._note(part, key, block)
        if key == "accounts":
            part["first_account"] = part["first_account"] or block["account"][0].as_py()
            part["last_account"] = block["account"][-1].as_py()
