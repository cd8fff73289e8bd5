"""Which runs are kept when space is made, and why."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any


@dataclass(frozen=True)
class Record:
    """A published run as retention sees it; ``needs`` are the runs that it was made from."""

    run_id: str
    kind: str
    book: str
    created: datetime
    needs: frozenset[str]

    @classmethod
    def of(cls, manifest: Mapping[str, Any]) -> "Record":
        """Return what retention needs to know of a manifest."""
        inputs = manifest["inputs"]
        named = [inputs.get("run"), inputs.get("pool"), manifest.get("since")]
        return cls(
            run_id=str(manifest["run_id"]),
            kind=str(manifest.get("kind", "margin")),
            book=str(inputs["book"]["name"]),
            created=datetime.fromisoformat(manifest["created"]),
            needs=frozenset(str(one["run_id"]) for one in named if one),
        )


def kept_because(
    records: Sequence[Record],
    *,
    tags: Mapping[str, Iterable[str]],
    latest: Iterable[str],
    busy: Iterable[str],
    keep_last: int | None,
    keep_days: float | None,
    now: datetime,
) -> dict[str, str]:
    """Return each run that is kept, with the reason; the others may go.

    ``tags`` are those of each run, ``latest`` the runs that the word means, ``busy`` those that
    a process works on. ``keep_last`` of each book and kind stay, and what is younger than
    ``keep_days``; where neither is given, all stay. What a run that stays was made from stays.

    Raises:
        ValueError: a number below zero.
    """
    for name, value in (("keep_last", keep_last), ("keep_days", keep_days)):
        if value is not None and value < 0:
            raise ValueError(f"{name} is {value}; allowed is 0 or more")
    kept: dict[str, str] = {}
    newest = set(latest)
    working = set(busy)
    rank: dict[tuple[str, str], int] = defaultdict(int)
    for record in sorted(records, key=lambda one: one.created, reverse=True):
        place = rank[record.kind, record.book]
        rank[record.kind, record.book] += 1
        if named := sorted(tags.get(record.run_id, ())):
            kept[record.run_id] = f"tagged {', '.join(named)}"
        elif record.run_id in newest:
            kept[record.run_id] = "the latest"
        elif record.run_id in working:
            kept[record.run_id] = "in progress"
        elif keep_last is None and keep_days is None:
            kept[record.run_id] = "no limit was given"
        elif keep_last is not None and place < keep_last:
            kept[record.run_id] = f"one of the newest {keep_last} of {record.book}"
        elif keep_days is not None and now - record.created < timedelta(days=keep_days):
            kept[record.run_id] = f"younger than {keep_days:g} days"
    known = {record.run_id: record for record in records}
    todo = [*kept]
    while todo:
        for needed in sorted(known[todo[-1]].needs if todo[-1] in known else ()):
            if needed not in kept:
                kept[needed] = f"{todo[-1]} was made from it"
                todo.insert(0, needed)
        todo.pop()
    return {run_id: why for run_id, why in kept.items() if run_id in known}
