"""Where the files of a book lie, what its manifest says, and what can be wrong with it."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from storage.digest import file_digest
from storage.objects import S3Folder
from storage.tables import Column, Table

PART_ACCOUNTS = 65_536
"""Accounts in one part: one file for each of accounts, positions and collateral."""

BLOCK_ACCOUNTS = 4_096
"""Accounts in one row group of a part: the unit of summation, and of reading."""

FORMAT = 1
MANIFEST = "manifest.json"
INSTRUMENTS = "instruments.parquet"
MEMBERS = "members.parquet"
ASSETS = "assets.parquet"
QUARANTINE = "quarantine.parquet"
HELD = "held.parquet"
PARTED = ("accounts", "positions", "collateral")

HELD_TABLE = Table(
    "held",
    ("account",),
    (
        Column("account", pa.int32(), "row of an account that is held back, ascending"),
        Column("code", pa.string(), "why, as in the quarantine"),
    ),
)


class BookError(ValueError):
    """Something is wrong with a book; the message names it and says what to do."""


class BookMissing(BookError, FileNotFoundError):
    """There is no finished book at the path."""


class BookExists(BookError, FileExistsError):
    """There is a book at the path already; books are never overwritten."""


class BookDamaged(BookError):
    """A file of the book is missing, truncated or changed since it was written."""


class BookRefused(BookError):
    """What was given to the writer is no book; the message starts with the code of the fault."""


class AccountUnknown(KeyError):
    """The book has no account of that name."""

    def __str__(self) -> str:
        return str(self.args[0])


def part_file(dataset: str, part: int) -> str:
    """Return the path of a part inside the book.

    >>> part_file("positions", 7)
    'positions/part-00007.parquet'
    """
    return f"{dataset}/part-{part:05d}.parquet"


def file_record(path: Path, rows: int) -> dict[str, Any]:
    """Return what the manifest keeps of a file: rows, bytes and SHA-256."""
    return {"rows": rows, "bytes": path.stat().st_size, "sha256": file_digest(path)}


def book_digest(manifest: dict[str, Any]) -> str:
    """Return the SHA-256 of everything the manifest says but the book's name and source.

    Two books of the same digest hold the same bytes and give the same margin.
    """
    content = {k: v for k, v in manifest.items() if k not in ("digest", "name", "source")}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def read_manifest(path: Path) -> dict[str, Any]:
    """Return the manifest of a finished book, checked against itself and the sizes of its files.

    Raises:
        BookMissing: there is no folder, or it holds no manifest.
        BookDamaged: the manifest was altered, or a file is missing or has another size.
    """
    if not path.is_dir():
        raise BookMissing(f"no book at {path}; make one with `margincube book generate` or import")
    file = path / MANIFEST
    if not file.is_file():
        raise BookMissing(f"{path} holds no {MANIFEST}, so it is not a finished book; rebuild it")
    manifest = parse_manifest(file.read_bytes(), path)
    require_sizes(
        manifest,
        {
            name: (path / name).stat().st_size
            for name in manifest["files"]
            if (path / name).is_file()
        },
        path,
    )
    return manifest


def parse_manifest(raw: bytes, place: Path | S3Folder) -> dict[str, Any]:
    """Return the manifest of the book at a place, checked against itself.

    Raises:
        BookDamaged: it was altered, or is no manifest.
        BookError: it is of another format.
    """
    file = place / MANIFEST
    try:
        manifest: dict[str, Any] = json.loads(raw)
        if manifest["format"] != FORMAT:
            raise BookError(
                f"book {place} has format {manifest['format']}, this version reads format {FORMAT}"
            )
        if manifest["digest"] != book_digest(manifest):
            raise BookDamaged(f"{file} does not match its own digest; restore or rebuild the book")
        if "files" not in manifest:
            raise KeyError("files")
    except (UnicodeDecodeError, json.JSONDecodeError, KeyError, TypeError) as fault:
        raise BookDamaged(f"{file} is no manifest of a book ({fault!r}); rebuild it") from fault
    return manifest


def require_sizes(
    manifest: Mapping[str, Any], sizes: Mapping[str, int], place: Path | S3Folder
) -> None:
    """Refuse a book whose files are not those of its manifest, by their ``sizes`` in bytes.

    Raises:
        BookDamaged: a file is missing or has another size.
    """
    for name, record in manifest["files"].items():
        if name not in sizes:
            raise BookDamaged(f"book {place} lacks {name}; restore or rebuild the book")
        if sizes[name] != record["bytes"]:
            raise BookDamaged(
                f"{place / name} has {sizes[name]} bytes, its manifest says {record['bytes']}; "
                "restore or rebuild the book"
            )
