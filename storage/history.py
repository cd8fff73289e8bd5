"""What people say of runs: tags, which runs are set aside, and who did so when and why.

It is one small file beside the repository. Nothing of a run is changed by it: a tag is a second
name, and a run that is set aside is no longer meant by ``latest``.
"""

import getpass
import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from storage.dataset.durable import fsync_folder
from storage.digest import json_digest
from storage.json_text import require_shallow
from storage.locks import exclusive
from storage.objects import Outrun, S3Folder

HISTORY = "history.json"
DIGEST = "digest"
"""The name of the digest of the rest of the file."""

ATTEMPTS = 20
"""Times that a change in an object store is tried while others write too."""


@dataclass
class History:
    """Tags by name, runs that ``latest`` passes over, and every change, oldest first."""

    tags: dict[str, str] = field(default_factory=dict)
    aside: list[str] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)

    def tags_of(self, run_id: str) -> list[str]:
        """Return the tags of a run."""
        return sorted(tag for tag, run in self.tags.items() if run == run_id)

    def record(self, what: str, run_id: str, **more: Any) -> None:
        """Note a change, who made it and when."""
        at = datetime.now(UTC).isoformat(timespec="seconds")
        self.events.append({"at": at, "by": _who(), "what": what, "run": run_id, **more})


def read_history(place: Path | S3Folder) -> History:
    """Return the history of a folder of runs; an empty one where there is none yet.

    Raises:
        ValueError: the file is no history.
    """
    try:
        raw = place.read(HISTORY).content if isinstance(place, S3Folder) else _bytes(place)
    except FileNotFoundError:
        return History()
    return _parsed(raw, place)


def change_history(place: Path | S3Folder, change: Callable[[History], None]) -> History:
    """Read the history, change it and write it; of two who do, neither loses what it wrote.

    Raises:
        Outrun: others wrote to the store each time.
        ValueError: the file is no history.
    """
    if isinstance(place, S3Folder):
        return _change_in_store(place, change)
    with exclusive(place / "locks" / "history"):
        history = read_history(place)
        change(history)
        coming = place / f".{HISTORY}.writing"
        with coming.open("wb") as file:
            file.write(_text(history))
            file.flush()
            os.fsync(file.fileno())
        coming.replace(place / HISTORY)
        fsync_folder(place)
    return history


def _change_in_store(folder: S3Folder, change: Callable[[History], None]) -> History:
    for attempt in range(ATTEMPTS):
        try:
            found = folder.read(HISTORY)
            history, tag = _parsed(found.content, folder), found.tag
        except FileNotFoundError:
            history, tag = History(), None
        change(history)
        try:
            folder.write(HISTORY, _text(history), replacing=tag)
        except Outrun:
            time.sleep(0.05 * attempt)
            continue
        return history
    raise Outrun(f"{folder / HISTORY} was written by others each time; try again")


def _bytes(place: Path) -> bytes:
    return (place / HISTORY).read_bytes()


def _text(history: History) -> bytes:
    told = asdict(history)
    return json.dumps(told | {DIGEST: json_digest(told)}, indent=1, sort_keys=True).encode()


def _parsed(raw: bytes, place: Path | S3Folder) -> History:
    try:
        text = raw.decode()
        require_shallow(text)
        told = json.loads(text)
        # A history that was written before they had digests has none.
        written = told.pop(DIGEST, None)
        if written is not None and written != json_digest(told):
            raise ValueError("it has another digest than it was written with")
        history = History(**told)
        _require_form(history)
        return history
    except (ValueError, TypeError, AttributeError) as fault:
        raise ValueError(
            f"{place / HISTORY} is no history of runs ({fault}); restore it, or remove it, which "
            "loses the tags and puts back runs that were set aside: roll back again, "
            "`margincube audit` lists what was"
        ) from None


def _require_form(history: History) -> None:
    """Refuse fields that hold something else.

    Raises:
        TypeError: one does.
    """
    lists = isinstance(history.aside, list) and isinstance(history.events, list)
    if not (
        lists
        and isinstance(history.tags, dict)
        and all(isinstance(run_id, str) for run_id in (*history.tags.values(), *history.aside))
        and all(isinstance(event, dict) for event in history.events)
    ):
        raise TypeError("its tags, what is aside or its events are of another form")


def _who() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run as a user without a name
        return str(os.getuid())
