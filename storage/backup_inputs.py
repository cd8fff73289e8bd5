"""Datasets that runs were made from, copied file by file as their manifests name them."""

import shutil
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from storage.book import Book
from storage.claims import Claims
from storage.dataset.kind import MANIFEST
from storage.market import Market, sample_market


class BackupDamaged(ValueError):
    """A copy is not what was copied."""


def inputs_of(manifest: dict[str, Any]) -> list[dict[str, str]]:
    """Return the datasets that a run was made from, and in which folder of a backup each is."""
    found = []
    for kind in OPENED:
        wanted = manifest["inputs"].get(kind)
        if wanted is not None and wanted["digest"] != sample_market().digest:
            digest = wanted["digest"]
            place = {"path": wanted["path"], "folder": f"inputs/{digest}", "digest": digest}
            found.append({"kind": kind} | place)
    return found


def copied(path: Path, target: Path, one: dict[str, str]) -> str:
    """Copy a dataset, unless it is there and reads; return why it was not, if it was not."""
    if target.is_dir():
        with suppress(ValueError, OSError):
            require_dataset(target, one)
            return ""
    try:
        files = require_dataset(path, one)
    except (ValueError, OSError) as fault:
        return f"{one['kind']} {path}: {str(fault).splitlines()[0]}"
    shutil.rmtree(target, ignore_errors=True)
    copy_dataset(path, target, one, files)
    return ""


def copy_dataset(path: Path, target: Path, one: dict[str, str], files: Iterable[str]) -> None:
    """Copy the files of a dataset to a folder that is not there yet, and hash them again.

    Raises:
        BackupDamaged: what was copied is another dataset.
        ValueError: a file is missing or changed.
    """
    coming = target.with_name(f".{target.name}.writing")
    shutil.rmtree(coming, ignore_errors=True)
    for name in files:
        copy_file(path / name, coming / name)
    require_dataset(coming, one)
    coming.rename(target)


def require_dataset(path: Path, one: dict[str, str]) -> list[str]:
    """Hash the files of a dataset, and return their names.

    Raises:
        BackupDamaged: it is another dataset.
        ValueError: a file is missing or changed.
    """
    found, files = OPENED[one["kind"]](path)
    if found != one["digest"]:
        raise BackupDamaged(
            f"{one['kind']} {path} has digest {found[:12]}, wanted is {one['digest'][:12]}"
        )
    return [*files, MANIFEST]


def _book(path: Path) -> tuple[str, Iterable[str]]:
    book = Book.open(path)
    book.verify()
    return book.digest, book.manifest["files"]


def _claims(path: Path) -> tuple[str, Iterable[str]]:
    claims = Claims.open(path)
    claims.verify()
    return claims.digest, claims.manifest["files"]


def _market(path: Path) -> tuple[str, Iterable[str]]:
    market = Market.open(path)
    market.quotes()
    market.prices()
    return market.digest, ("quotes.parquet", "prices.parquet")


OPENED: dict[str, Callable[[Path], tuple[str, Iterable[str]]]] = {
    "book": _book,
    "claims": _claims,
    "market": _market,
}


def copy_file(path: Path, copied: Path) -> None:
    """Copy a file, which is there whole or not at all."""
    copied.parent.mkdir(parents=True, exist_ok=True)
    coming = copied.with_name(f".{copied.name}.writing")
    shutil.copyfile(path, coming)
    coming.replace(copied)
