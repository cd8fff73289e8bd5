"""What a verification checked, and what it found."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from storage.book import Book
from storage.runs import RunStore, StoredRun
from storage.verification import read_again


@dataclass(frozen=True)
class Check:
    """One thing that was checked: how much of it, and each difference in a sentence."""

    name: str
    checked: str
    differences: list[str] = field(default_factory=list)


def differences(checks: Sequence[Check]) -> list[str]:
    """Return every difference that was found."""
    return [one for check in checks for one in check.differences]


def checks_of_storage(store: RunStore, run_id: str) -> list[Check]:
    """Return the checks that runs of any kind are put to: every array, every digest."""
    read = read_again(store, run_id)
    return [
        Check("arrays", f"{read.arrays} read, {read.bytes:,} bytes", read.unreadable),
        Check("digests", f"{read.digests} groups", read.changed),
    ]


def book_checked(run: StoredRun) -> list[str]:
    """Hash the book of a run again; return how it is another one than the run used.

    Raises:
        BookDamaged: a file of the book is not the one that was written.
    """
    wanted = run.manifest["inputs"]["book"]
    book = Book.open(wanted["path"])
    book.verify()
    if book.digest == wanted["digest"]:
        return []
    return [f"book has digest {book.digest[:12]}, the run used {wanted['digest'][:12]}"]


def attempted(name: str, checked: str, check: Callable[[], list[str]]) -> Check:
    """Return a check that may fail to be made at all, which is a difference too."""
    try:
        return Check(name, checked, check())
    # What is damaged or gone ends in one error or another, and the other checks go on.
    except Exception as fault:
        lines = str(fault).strip().splitlines() or [type(fault).__name__]
        return Check(name, "not checked", [f"{name}: {lines[0]}"])


def unlike(what: str, stored: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """Return where numbers of the manifest are not what they are summed to again.

    >>> unlike("totals", {"accounts": 3, "equity": 1.0}, {"accounts": 2, "equity": 1.0})
    ['totals: accounts is 3, summed again it is 2']
    """
    return [
        f"{what}: {name} is {stored.get(name)!r}, summed again it is {value!r}"
        for name, value in found.items()
        if name in stored and not _same(stored[name], value)
    ]


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float) and math.isnan(one):
        return math.isnan(other)
    return bool(one == other)
