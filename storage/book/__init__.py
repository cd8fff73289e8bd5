"""A book of accounts as a folder of Parquet files: written once and whole, read in blocks."""

from storage.book.layout import (
    AccountUnknown,
    BookDamaged,
    BookError,
    BookExists,
    BookMissing,
    BookRefused,
)
from storage.book.reader import Book, CollateralSlice, PositionSlice
from storage.book.rules import canonical_instruments
from storage.book.writer import BookWriter
from storage.dataset.kind import BLOCK_ACCOUNTS, PART_ACCOUNTS

__all__ = [
    "BLOCK_ACCOUNTS",
    "PART_ACCOUNTS",
    "AccountUnknown",
    "Book",
    "BookDamaged",
    "BookError",
    "BookExists",
    "BookMissing",
    "BookRefused",
    "BookWriter",
    "CollateralSlice",
    "PositionSlice",
    "canonical_instruments",
]
