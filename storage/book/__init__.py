"""A book of accounts as a folder of Parquet files: written once and whole, read in blocks."""

from storage.book.layout import (
    BLOCK_ACCOUNTS,
    PART_ACCOUNTS,
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
