"""What goes wrong with a place where runs are kept, said in a sentence."""

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import icechunk

from storage.objects import S3Folder, StoreUnavailable

Result = TypeVar("Result")

StoreFault = icechunk.IcechunkError
"""What icechunk raises of a place that it cannot use, and of damage to what it has stored."""

COMMIT_SECONDS = 120.0
"""How long a commit may take; the client of an object store itself would wait for ever."""

TRANSFER_SECONDS = 300.0
"""How long opening and listing groups of arrays in an object store may take, all of one call."""

_REMEDIES = {
    "No space left on device": "free space there, or give another folder",
    "Disk quota exceeded": "free space there, or give another folder",
    "File too large": "raise the limit on the size of files, or give another folder",
    "Read-only file system": "make it writable, or give another folder",
    "Permission denied": "let the user of this process write there, or give another folder",
}


class StoreFailed(OSError):
    """A place for runs could not be written to, or not be read."""


def gathered(path: Path) -> Path:
    """Return where a restore gathers what is to stand at a path."""
    return path.with_name(f".{path.name}.restoring")


def require_settled(path: Path) -> None:
    """Refuse a folder that a restore has moved aside, and put nothing in its place yet.

    Raises:
        StoreFailed: it has.
    """
    if not path.exists() and gathered(path).is_dir():
        raise StoreFailed(
            f"{path} is not there: a restore of it is under way, or was cut short; what stood "
            f"there, if anything, is in the newest {path.name}.before-* beside it; "
            "run margincube restore again"
        )


@contextmanager
def named_faults(place: Path | S3Folder) -> Iterator[None]:
    """Say in a sentence, with the place and what to do, what icechunk says in pages.

    Raises:
        StoreFailed: icechunk failed, or arrays took too long.
    """
    try:
        yield
    except StoreFault as fault:
        raise StoreFailed(f"{place}: {sentence(fault)}") from fault
    except TimeoutError as fault:
        raise StoreFailed(
            f"{place}: the store accepts requests and answers none; check it and the network, and "
            "run it again: it goes on from the last checkpoint"
        ) from fault


def sentence(fault: StoreFault) -> str:
    """Return what failed, and what to do about it where that is known."""
    said = str(fault)
    for cause, remedy in _REMEDIES.items():
        if cause in said:
            return f"{cause}; {remedy}, and run it again: it goes on from the last checkpoint"
    return f"{first_line(fault)}; what was published before is as it was"


def first_line(fault: Exception) -> str:
    """Return the first line of what a library says, which may go on for pages.

    >>> first_line(ValueError("  x no such   file, and more"))
    'no such file, and more'
    """
    said = str(fault).strip() or type(fault).__name__
    return re.sub(r"\s+", " ", said.splitlines()[0].removeprefix("x "))


def within(seconds: float, call: Callable[[], Result]) -> Result:
    """Return what a call returns, or give up on it.

    Raises:
        StoreUnavailable: it did not return in so many seconds.
    """
    found: list[Result] = []
    failed: list[BaseException] = []

    def attempt() -> None:
        try:
            found.append(call())
        except BaseException as error:
            failed.append(error)

    # One that never returns must not keep the process from ending.
    thread = threading.Thread(target=attempt, daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        raise StoreUnavailable(
            f"a commit took over {seconds:.0f} s: the store accepts requests and answers none; "
            "check it and the network, and run it again: it goes on from the last checkpoint"
        )
    if failed:
        raise failed[0]
    return found[0]
