"""What the manifest of a dataset says, and whether the files are those it speaks of."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from storage.dataset.kind import MANIFEST, Kind
from storage.digest import file_digest, json_digest
from storage.json_text import require_shallow
from storage.objects import S3Folder

_FILE = re.compile(r"(?:[a-z_]+/)?[a-z_]+(?:-\d+)?\.parquet")
"""Names of files, at most one folder down; no other name is opened or written."""


def file_record(path: Path, rows: int) -> dict[str, Any]:
    """Return what the manifest keeps of a file: rows, bytes and SHA-256."""
    return {"rows": rows, "bytes": path.stat().st_size, "sha256": file_digest(path)}


def content_digest(manifest: dict[str, Any]) -> str:
    """Return the SHA-256 of everything the manifest says but the dataset's name and source.

    Two datasets of the same digest hold the same bytes and give the same results.
    """
    content = {k: v for k, v in manifest.items() if k not in ("digest", "name", "source")}
    return json_digest(content)


def read_manifest(path: Path, kind: Kind) -> dict[str, Any]:
    """Return the manifest of a finished dataset, checked against itself and its files' sizes.

    Raises:
        kind.missing: there is no folder, or it holds no manifest.
        kind.damaged: the manifest was altered, or a file is missing or has another size.
    """
    if not path.is_dir():
        raise kind.missing(f"no {kind.noun} at {path}; {kind.make}")
    file = path / MANIFEST
    if not file.is_file():
        raise kind.missing(
            f"{path} holds no {MANIFEST}, so it is not a finished {kind.noun}; rebuild it"
        )
    manifest = parse_manifest(file.read_bytes(), path, kind)
    sizes = {
        name: (path / name).stat().st_size for name in manifest["files"] if (path / name).is_file()
    }
    require_sizes(manifest, sizes, path, kind)
    return manifest


def parse_manifest(raw: bytes, place: Path | S3Folder, kind: Kind) -> dict[str, Any]:
    """Return the manifest of the dataset at a place, checked against itself.

    Raises:
        kind.damaged: it was altered, or is no manifest.
        kind.error: it is of another format.
    """
    file = place / MANIFEST
    try:
        text = raw.decode()
        require_shallow(text)
        manifest: dict[str, Any] = json.loads(text)
        if manifest["format"] != kind.format:
            raise kind.error(
                f"{kind.noun} {place} has format {manifest['format']}, this version reads format "
                f"{kind.format}"
            )
        if manifest["digest"] != content_digest(manifest):
            raise kind.damaged(
                f"{file} does not match its own digest; restore or rebuild the {kind.noun}"
            )
        _require_files(manifest["files"])
    # What is no manifest may be any JSON; kind.error and kind.damaged are no faults of its form.
    except (kind.error, kind.damaged):
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as fault:
        raise kind.damaged(
            f"{file} is no manifest of a {kind.noun} ({fault!r}); rebuild it"
        ) from fault
    return manifest


def _require_files(files: Any) -> None:
    """Refuse names that would lead out of the folder, and records that are none.

    Raises:
        ValueError: a file is named in another way than those of a dataset.
        TypeError: a record has no bytes and digest.
    """
    for name, record in files.items():
        if _FILE.fullmatch(name) is None:
            raise ValueError(f"{name!r} is no file of a dataset")
        if not (isinstance(record["bytes"], int) and isinstance(record["sha256"], str)):
            raise TypeError(f"the record of {name} is {record!r}")


def require_sizes(
    manifest: Mapping[str, Any], sizes: Mapping[str, int], place: Path | S3Folder, kind: Kind
) -> None:
    """Refuse a dataset whose files are not those of its manifest, by their ``sizes`` in bytes.

    Raises:
        kind.damaged: a file is missing or has another size.
    """
    for name, record in manifest["files"].items():
        if name not in sizes:
            raise kind.damaged(
                f"{kind.noun} {place} lacks {name}; restore or rebuild the {kind.noun}"
            )
        if sizes[name] != record["bytes"]:
            raise kind.damaged(
                f"{place / name} has {sizes[name]} bytes, its manifest says {record['bytes']}; "
                f"restore or rebuild the {kind.noun}"
            )
