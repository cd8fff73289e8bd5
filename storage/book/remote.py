"""A book in an object store: its files come to this machine one by one, when they are first read.

They lie in a folder of the book's digest, so that books of one name are not mixed up, and get
their names when they were found to be the files of the manifest. The folder may be removed when
nothing runs.
"""

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from storage.book import layout
from storage.book.layout import BookDamaged, BookMissing
from storage.digest import file_digest
from storage.objects import S3Folder


def cache_folder(digest: str) -> Path:
    """Return where the files of a book come to, in the cache folder of the user."""
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(caches).absolute() / "margincube" / "books" / digest


def read_manifest(folder: S3Folder) -> dict[str, Any]:
    """Return the manifest of a book, checked against itself and the sizes of its files.

    Raises:
        BookMissing: there is no manifest in the folder.
        BookDamaged: the manifest was altered, or a file is missing or has another size.
        StoreUnavailable: the object store does not answer, or refuses.
    """
    try:
        raw = folder.read(layout.MANIFEST).content
    except FileNotFoundError:
        raise BookMissing(
            f"no book at {folder}: there is no {layout.MANIFEST}; copy the folder of a book there"
        ) from None
    manifest = layout.parse_manifest(raw, folder)
    layout.require_sizes(manifest, folder.sizes(), folder)
    return manifest


def fetch(folder: S3Folder, name: str, cache: Path, record: Mapping[str, Any]) -> None:
    """Bring a file of a book into the cache, unless it is there.

    Raises:
        BookDamaged: what came is not the file of the manifest; it is not kept.
        StoreUnavailable: the object store does not answer, or refuses.
    """
    target = cache / name
    if target.is_file() and target.stat().st_size == record["bytes"]:
        return
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, coming = tempfile.mkstemp(dir=target.parent, prefix=".coming-")
    os.close(handle)
    try:
        folder.download(name, Path(coming))
        if file_digest(Path(coming)) != record["sha256"]:
            raise BookDamaged(
                f"{folder / name} is not the file that the manifest of the book describes; copy "
                "the book there again"
            )
        # Others may bring the same file meanwhile; whoever is last replaces it by its like.
        os.replace(coming, target)
    except FileNotFoundError:
        raise BookDamaged(f"book {folder} lacks {name}; copy the book there again") from None
    finally:
        Path(coming).unlink(missing_ok=True)
