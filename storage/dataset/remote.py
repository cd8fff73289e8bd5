"""A dataset in an object store: its files come to this machine one by one, when first read.

They lie in a folder of the dataset's digest, so that those of one name are not mixed up, and get
their names when they were found to be the files of the manifest. What lies there is hashed again
by each process before it reads it first. The folder may be removed when nothing runs.
"""

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from storage.dataset.kind import MANIFEST, Kind
from storage.dataset.manifest import parse_manifest, require_sizes
from storage.digest import file_digest
from storage.objects import S3Folder


def cache_folder(digest: str, kind: Kind) -> Path:
    """Return where the files of a dataset come to, in the cache folder of the user."""
    return cache_root() / kind.cache / digest


def cache_root() -> Path:
    """Return our part of the cache folder of the user."""
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(caches).absolute() / "margincube"


def read_manifest(folder: S3Folder, kind: Kind) -> dict[str, Any]:
    """Return the manifest of a dataset, checked against itself and the sizes of its files.

    Raises:
        kind.missing: there is no manifest in the folder.
        kind.damaged: the manifest was altered, or a file is missing or has another size.
        StoreUnavailable: the object store does not answer, or refuses.
    """
    try:
        raw = folder.read(MANIFEST).content
    except FileNotFoundError:
        raise kind.missing(
            f"no {kind.noun} at {folder}: there is no {MANIFEST}; copy the folder of a "
            f"{kind.noun} there"
        ) from None
    manifest = parse_manifest(raw, folder, kind)
    require_sizes(manifest, folder.sizes(), folder, kind)
    return manifest


_known: set[tuple[Path, int]] = set()
"""Files that this process found to be those of a manifest, and when each was last written."""


def _is_there(file: Path, record: Mapping[str, Any]) -> bool:
    """Tell whether a file of the cache is the one of the manifest."""
    if not file.is_file() or file.stat().st_size != record["bytes"]:
        return False
    known = (file, file.stat().st_mtime_ns)
    if known not in _known and file_digest(file) == record["sha256"]:
        _known.add(known)
    return known in _known


def fetch(folder: S3Folder, name: str, cache: Path, record: Mapping[str, Any], kind: Kind) -> None:
    """Bring a file of a dataset into the cache, unless it is there.

    Raises:
        kind.damaged: what came is not the file of the manifest; it is not kept.
        StoreUnavailable: the object store does not answer, or refuses.
    """
    target = cache / name
    if _is_there(target, record):
        return
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, coming = tempfile.mkstemp(dir=target.parent, prefix=".coming-")
    os.close(handle)
    try:
        folder.download(name, Path(coming))
        if file_digest(Path(coming)) != record["sha256"]:
            raise kind.damaged(
                f"{folder / name} is not the file that the manifest of the {kind.noun} describes; "
                f"copy the {kind.noun} there again"
            )
        # Others may bring the same file meanwhile; whoever is last replaces it by its like.
        os.replace(coming, target)
    except FileNotFoundError:
        raise kind.damaged(
            f"{kind.noun} {folder} lacks {name}; copy the {kind.noun} there again"
        ) from None
    finally:
        Path(coming).unlink(missing_ok=True)


def cached_datasets() -> list[Path]:
    """Return the folders of the cache, each of one dataset and named by its digest."""
    return sorted(one for kind in cache_root().glob("*") for one in kind.glob("*") if one.is_dir())
