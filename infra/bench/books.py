"""Books of the benchmarks: synthetic, made once and kept in ``build/bench/books``."""

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from storage.book import PART_ACCOUNTS, Book, BookMissing, BookWriter, PositionSlice
from storage.market import sample_market
from workers.generate import generate_book

FOLDER = Path("build") / "bench" / "books"

Chosen = Callable[[PositionSlice, np.random.Generator], NDArray[np.bool_]]
"""Marks the positions of a run of accounts that are to change, ``(position,)``."""


def kept_book(accounts: int) -> Book:
    """Return the synthetic book of so many accounts, made the first time it is asked for."""
    path = FOLDER / f"accounts-{accounts}"
    try:
        return Book.open(path)
    except BookMissing:
        print(f"  making {path}", flush=True)
        return generate_book(path, accounts, 1, sample_market())


def of_accounts(share: float) -> Chosen:
    """Choose all positions of a share of the accounts."""

    def chosen(positions: PositionSlice, rng: np.random.Generator) -> NDArray[np.bool_]:
        held = np.diff(positions.offsets)
        return np.repeat(rng.random(len(held)) < share, held)

    return chosen


def of_positions(share: float) -> Chosen:
    """Choose a share of the positions, whoever holds them."""
    return lambda positions, rng: rng.random(len(positions.lots)) < share


def changed_book(book: Book, path: Path, chosen: Chosen) -> tuple[Book, int, int]:
    """Write a book in which the chosen positions are one lot larger, on either side.

    Returns the book, and how many positions and accounts changed.
    """
    rng = np.random.default_rng(20240108)
    tables = (book.instruments(), book.members(), book.assets())
    positions_changed = accounts_changed = 0
    bounds = [*range(0, book.accounts, PART_ACCOUNTS), book.accounts]
    with BookWriter(path, path.name, book.as_of, *tables) as writer:
        for start, stop in itertools.pairwise(bounds):
            rows = np.arange(start, stop, dtype=np.int32)
            held, owned = book.position_slice(start, stop), book.collateral_slice(start, stop)
            owner = np.repeat(rows, np.diff(held.offsets))
            change = chosen(held, rng)
            positions_changed += int(change.sum())
            accounts_changed += len(np.unique(owner[change]))
            collateral = {
                "account": np.repeat(rows, np.diff(owned.offsets)),
                "asset": owned.asset,
                "quantity": owned.quantity,
            }
            positions = {
                "account": owner,
                "instrument": held.instrument,
                "lots": np.where(change, held.lots + np.sign(held.lots), held.lots),
            }
            accounts = book.account_table(start, stop)
            writer.append(accounts, pa.table(positions), pa.table(collateral))
        changed = writer.close(one_sided=True)
    return changed, positions_changed, accounts_changed
