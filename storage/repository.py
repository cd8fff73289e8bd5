"""The icechunk repository of a place where runs are kept, opened or made."""

import time
from contextlib import suppress
from pathlib import Path

import icechunk
import zarr

from storage.faults import TRANSFER_SECONDS, first_line, named_faults, require_settled
from storage.locks import exclusive
from storage.objects import S3Folder, StoreUnavailable

icechunk.set_logs_filter("error")

CREATION_SECONDS = 3.0
"""How long to wait for a repository that somebody else is creating in an object store."""


def open_repository(place: Path | S3Folder) -> icechunk.Repository:
    """Return the repository of a folder or of a place in an object store; it is made if need be.

    Raises:
        StoreFailed: it can be neither opened nor made.
        StoreUnavailable: the object store does not answer, refuses, or has no such bucket.
    """
    return _in_store(place) if isinstance(place, S3Folder) else _on_disk(place)


def has_repository(place: Path | S3Folder) -> bool:
    """Tell whether there is a repository at a place; none is made.

    Raises:
        StoreUnavailable: the object store does not answer, refuses, or has no such bucket.
    """
    if isinstance(place, S3Folder):
        place.require_answer()
        return bool(icechunk.Repository.exists((place / "repository").icechunk_storage()))
    return (place / "repository").is_dir()


def _on_disk(path: Path) -> icechunk.Repository:
    require_settled(path)
    storage = icechunk.local_filesystem_storage(str(path / "repository"))
    with suppress(icechunk.IcechunkError):
        # Who only reads needs no lock, which could not be written where a disk is full.
        return icechunk.Repository.open(storage)
    with exclusive(path / "locks" / "commit"), named_faults(path):
        return icechunk.Repository.open_or_create(storage)


def _in_store(folder: S3Folder) -> icechunk.Repository:
    folder.require_answer()
    # A client of a store that stalls waits for ever; on a disk a long read is only a long read.
    zarr.config.set({"async.timeout": TRANSFER_SECONDS})
    storage = (folder / "repository").icechunk_storage()
    until = time.monotonic() + CREATION_SECONDS
    while True:
        try:
            return icechunk.Repository.open_or_create(storage)
        except icechunk.IcechunkError as fault:
            # Of those who create it at one time, one does; the others open what it created.
            if time.monotonic() > until:
                raise StoreUnavailable(
                    f"{folder} can be listed, but no repository of runs be opened or created: "
                    f"{first_line(fault)}; check that the credentials may write to it"
                ) from None
            time.sleep(0.2)
