"""Folders that are written out of sight and outlive a power cut."""

import fcntl
import os
import shutil
from pathlib import Path


def working_folder(path: Path) -> tuple[Path, int]:
    """Return a hidden sibling to write in and the lock held on it.

    Siblings of earlier writers that died are removed; that their lock is free tells that they did.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob(f".{path.name}.writing-*"):
        lock = os.open(left, os.O_RDONLY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(left, ignore_errors=True)
        except BlockingIOError:
            pass
        finally:
            os.close(lock)
    # Locked before it has the name that others look for, or one of them could take it for dead.
    unique = f"{os.getpid()}-{os.urandom(4).hex()}"
    early = path.parent / f".{path.name}.starting-{unique}"
    early.mkdir()
    lock = os.open(early, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    folder = early.rename(path.parent / f".{path.name}.writing-{unique}")
    return folder, lock


def fsync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
