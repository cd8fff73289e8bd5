"""The audit log of a store of runs: who did what, when and why, in lines that are only added.

Each entry holds the digest of the one before it, so that an entry which is changed, taken out or
put in between breaks the chain at its line. Taking the last entries away leaves a whole chain:
whoever keeps the digest of an entry elsewhere sees that it is gone.
"""

import json
import os
import pwd
import socket
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from storage.digest import json_digest
from storage.json_text import require_shallow
from storage.locks import exclusive
from storage.objects import Outrun, S3Folder

FIRST = "0" * 64
"""What the first entry holds in the place of the digest of the one before it."""

TRIES = 100
"""How often an entry is written in a store where others write theirs."""


class AuditBroken(RuntimeError):
    """An entry of an audit log is not the one that was written, or is missing."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of the log: who, when, what, why, and the digests that chain it."""

    number: int
    when: str
    who: dict[str, str]
    what: dict[str, Any]
    why: str | None
    previous: str
    hash: str
    cut_off: str | None = None

    @classmethod
    def parse(cls, text: str) -> "Entry":
        """Return the entry of a line.

        Raises:
            ValueError: it is none.
        """
        require_shallow(text)
        try:
            entry = cls(**json.loads(text))
            entry._require_form()
            return entry
        except TypeError:
            raise ValueError("it is no entry of an audit log") from None

    def _require_form(self) -> None:
        """Refuse fields that hold something else.

        Raises:
            TypeError: one does.
        """
        texts = (self.when, self.previous, self.hash)
        if not (
            type(self.number) is int
            and all(isinstance(text, str) for text in texts)
            and all(isinstance(text, str | None) for text in (self.why, self.cut_off))
            and isinstance(self.who, dict)
            and all(isinstance(self.who.get(name), str) for name in ("user", "host"))
            and isinstance(self.what, dict)
            and isinstance(self.what.get("action"), str)
            and all(isinstance(self.what.get(name, {}), dict) for name in ("overrides", "runs"))
        ):
            raise TypeError("a field is of another form")

    def to_line(self) -> str:
        """Return it as one line."""
        return json.dumps(self.as_dict(), sort_keys=True) + "\n"

    def digest(self) -> str:
        """Return the SHA-256 of all that it says but for its own digest."""
        content = {name: value for name, value in self.as_dict().items() if name != "hash"}
        return json_digest(content)

    def as_dict(self) -> dict[str, Any]:
        """Return it as it is stored; an entry after which nothing was cut off does not say so."""
        plain = {name: getattr(self, name) for name in self.__slots__}
        return {name: value for name, value in plain.items() if name != "cut_off" or value}


def record(
    place: Path | S3Folder, action: str, what: Mapping[str, Any], why: str | None = None
) -> Entry:
    """Add an entry to the log of a store of runs, and return it when it is on the disk.

    ``action`` is what was done, such as ``publish``, ``serve``, ``roll back``; ``what`` says to
    which run and against which rules.

    Raises:
        AuditBroken: the last entry is not the one that was written; nothing is added to it.
    """
    said = {"action": action, **what}
    return (
        _append_object(place, said, why)
        if isinstance(place, S3Folder)
        else _append_line(place, said, why)
    )


def record_publication(
    place: Path | S3Folder, manifest: Mapping[str, Any], key: str | None
) -> None:
    """Record that a run is about to be published, by the key that has signed it."""
    what = {
        "run": manifest.get("run_id"),
        "kind": manifest.get("kind"),
        "digest": manifest.get("digest"),
        "code_version": manifest.get("code_version"),
        "overrides": manifest.get("overrides", {}),
        "not_approved": (manifest.get("approval") or {}).get("missing", []),
        "signed_by": key,
    }
    record(place, "publish", what, manifest.get("reason"))


def entries(place: Path | S3Folder) -> Iterator[Entry]:
    """Yield the entries of a log, the first one first, and hold each to the chain.

    Raises:
        AuditBroken: an entry is not the one that was written; the message names its line.
    """
    previous = FIRST
    for number, (where, text) in enumerate(_lines(place), 1):
        try:
            entry = Entry.parse(text)
        except ValueError as error:
            raise AuditBroken(f"{where} cannot be read: {error}") from None
        if entry.number != number:
            raise AuditBroken(f"{where} is entry {entry.number}; entry {number} is missing")
        if entry.previous != previous:
            raise AuditBroken(
                f"{where} follows an entry of digest {entry.previous[:12]}, and the one before it "
                f"has {previous[:12]}: that one was changed, or others stood between them"
            )
        if entry.digest() != entry.hash:
            raise AuditBroken(f"{where} was changed since it was written")
        previous = entry.hash
        yield entry


def unrecorded(log: Iterable[Entry], manifests: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the published runs that no entry says to be published, or brought back by a restore.

    A run that was published before there were logs says nothing of ``overrides``; nor does a
    reverse stress, and none is as old.
    """
    recorded: set[str] = set()
    for entry in log:
        if entry.what["action"] == "publish":
            recorded.add(str(entry.what.get("run")))
        elif entry.what["action"] == "restore":
            recorded.update(entry.what.get("runs", {}))
    logged = [one for one in manifests if "overrides" in one or one.get("kind") == "reverse"]
    return [str(one["run_id"]) for one in logged if one["run_id"] not in recorded]


def _lines(place: Path | S3Folder) -> Iterator[tuple[str, str]]:
    """Yield where each entry stands, and its text."""
    if isinstance(place, S3Folder):
        folder = place / "audit"
        for name in sorted(folder.sizes()):
            yield f"{folder / name}", folder.read(name).content.decode(errors="replace")
        return
    path = log_file(place)
    if not path.exists():
        return
    with path.open(encoding="utf-8", errors="replace", newline="\n") as file:
        for number, line in enumerate(file, 1):
            yield f"line {number} of {path}", line


def log_file(place: Path) -> Path:
    """Return the file of the log of a folder of runs."""
    return place / "audit" / "log.jsonl"


def _next(
    last: Entry | None, what: dict[str, Any], why: str | None, cut_off: str | None = None
) -> Entry:
    """Return the entry that follows another, of now and of who runs this process."""
    unsealed = Entry(
        number=1 if last is None else last.number + 1,
        when=datetime.now(UTC).isoformat(timespec="seconds"),
        who={"user": _user(), "host": socket.gethostname()},
        what=what,
        why=why,
        previous=FIRST if last is None else last.hash,
        hash="",
        cut_off=cut_off,
    )
    # Read back from its own line, so that what is sealed is what will be read.
    read = Entry.parse(unsealed.to_line())
    return Entry(
        **{**{name: getattr(read, name) for name in Entry.__slots__}, "hash": read.digest()}
    )


def _user() -> str:
    """Return the user that the system knows, whatever the environment says."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid {os.getuid()}"


def _append_line(place: Path, what: dict[str, Any], why: str | None) -> Entry:
    path = log_file(place)
    path.parent.mkdir(parents=True, exist_ok=True)
    with exclusive(place / "locks" / "audit"), path.open("a+b") as file:
        whole, cut_off = _last_line(file)
        if _is_entry(cut_off):
            # It lacks nothing but the end of its line.
            file.write(b"\n")
            whole, cut_off = cut_off, b""
        last = None if whole is None else _sound(whole, path)
        entry = _next(last, what, why, cut_off.decode(errors="replace") or None)
        if cut_off:
            # A process was killed inside its write: it never went on to what it would have done.
            file.truncate(file.seek(0, os.SEEK_END) - len(cut_off))
        file.write(entry.to_line().encode())
        file.flush()
        os.fsync(file.fileno())
    return entry


def _last_line(file: Any) -> tuple[bytes | None, bytes]:
    """Return the last whole line of a file, and what follows it without an end."""
    end = file.seek(0, os.SEEK_END)
    step, tail = 4_096, b""
    while len(tail) < end and tail.count(b"\n") < 2:
        start = max(0, end - len(tail) - step)
        file.seek(start)
        tail = file.read(end - start)
    whole, found, rest = tail.rpartition(b"\n")
    return (whole.rpartition(b"\n")[2] if found else None), rest


def _is_entry(text: bytes) -> bool:
    try:
        entry = Entry.parse(text.decode())
    except ValueError:
        return False
    return entry.digest() == entry.hash


def _sound(text: bytes, path: Path | S3Folder) -> Entry:
    if not _is_entry(text):
        raise AuditBroken(
            f"the last entry of {path} is not the one that was written; look at it with "
            "`margincube audit --verify`, keep the file as it is and move it away before you go on"
        )
    return Entry.parse(text.decode())


def _append_object(place: S3Folder, what: dict[str, Any], why: str | None) -> Entry:
    folder = place / "audit"
    for _ in range(TRIES):
        names = sorted(folder.sizes())
        last = _sound(folder.read(names[-1]).content, folder / names[-1]) if names else None
        entry = _next(last, what, why)
        try:
            folder.write(f"{entry.number:012d}.json", entry.to_line().encode(), replacing=None)
        except Outrun:
            continue
        return entry
    raise Outrun(f"{folder} is written to by others all the time; try again")
