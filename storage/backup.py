"""A copy of published runs, and of the books, claims and markets that they were made from.

``backup.json`` is written when everything was read again. Until then the references of the copy
before stand beside the new ones, so that a copy that is cut short still shows the runs of that.
"""

import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, astuple, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from storage.arrays import MARGIN, POOL, REVERSE, STRESS, RunKind
from storage.audit import log_file
from storage.backup_inputs import OPENED, BackupDamaged, copied, copy_file, inputs_of
from storage.backup_repository import (
    REFERENCES,
    copy_repository,
    forget_references,
    has_references_before,
    put_back_references,
)
from storage.dataset.durable import fsync_folder
from storage.faults import StoreFault, first_line
from storage.json_text import require_shallow
from storage.locks import exclusive
from storage.manifests import REMEDY
from storage.objects import SCHEME, S3Folder
from storage.runs import RunStore
from storage.verification import read_again

CATALOGUE = "backup.json"
KINDS = {kind.name: kind for kind in (MARGIN, POOL, STRESS, REVERSE)}
COPY_AGAIN = "copy it again"

DAMAGE = (StoreFault, RuntimeError, OSError, ValueError, KeyError)
"""What a flipped bit shows as: whatever the store or a manifest says of it."""

_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Kept:
    """A run in a backup."""

    run_id: str
    created: str
    digest: str


@dataclass
class Backup:
    """What a backup holds: runs by kind, newest first, and where each dataset comes from.

    ``missing`` says which inputs were not there to be copied, a sentence each.
    """

    made: str
    runs: dict[str, list[Kept]] = field(default_factory=dict)
    datasets: list[dict[str, str]] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    @property
    def newest(self) -> Kept | None:
        """The recovery point: the newest run."""
        every = [run for runs in self.runs.values() for run in runs]
        return max(every, key=lambda run: run.created, default=None)

    def lacks(self, stores: Iterable[RunStore]) -> list[str]:
        """Return the published runs of stores that the backup does not hold.

        One that is damaged there is held if the backup has a run of its name.
        """
        lacking: list[str] = []
        for store in stores:
            kept = self.runs.get(store.kind.name, [])
            found, damaged = store.survey()
            lacking += [run.run_id for run in map(_kept, found) if run not in kept]
            lacking += sorted(damaged.keys() - {run.run_id for run in kept})
        return lacking


def runs_of(store: RunStore) -> list[Kept]:
    """Return the published runs of a store, newest first."""
    return [_kept(one) for one in store.manifests()]


def _kept(manifest: dict[str, Any]) -> Kept:
    return Kept(str(manifest["run_id"]), str(manifest["created"]), str(manifest["digest"]))


def back_up(stores: Sequence[RunStore], destination: Path) -> Backup:
    """Copy published runs, their audit log and their inputs to a folder, and read the copy again.

    A folder that holds an earlier backup gets what it lacks, and anew what no longer reads.

    Raises:
        BackupDamaged: what was copied does not read as it should; the catalogue stays as it was.
            Or the folder holds entries of an audit log that the log lacks.
        ValueError: a store is in an object store, or the destination is inside what is copied.
    """
    places = [(store, _local(store)) for store in stores]
    for _, place in places:
        if destination.resolve().is_relative_to(place.resolve()):
            raise ValueError(f"{destination} is inside {place}, which is copied; give another")
    settle(destination, _kept_in(destination))
    backup = Backup(datetime.now(UTC).isoformat(timespec="seconds"))
    for store, place in places:
        copied = destination / store.kind.name
        _copy_log(place, copied)
        copy_repository(place, copied)
        _copy_log(place, copied)
        try:
            require_sound(copied, store.kind, COPY_AGAIN)
        except BackupDamaged:
            # Part of it may have been damaged since it was copied, and has the size that it had.
            require_sound(place, store.kind, REMEDY)
            copy_repository(place, copied, anew=True)
            require_sound(copied, store.kind, COPY_AGAIN)
        # What was published or removed since the references were copied is not of this backup.
        whole = RunStore(copied, store.kind)
        backup.runs[store.kind.name] = runs_of(whole)
        for manifest in whole.manifests():
            _copy_inputs(manifest, destination, backup)
    coming = destination / f".{CATALOGUE}.writing"
    destination.mkdir(parents=True, exist_ok=True)
    with coming.open("w") as file:
        json.dump(asdict(backup), file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    coming.replace(destination / CATALOGUE)
    fsync_folder(destination)
    for store, _ in places:
        forget_references(destination / store.kind.name)
    return backup


def settle(folder: Path, runs: Mapping[str, list[Kept]]) -> None:
    """Let a backup that was cut short show the runs of its catalogue again, by kind."""
    for name, kind in KINDS.items():
        place = folder / name
        if not has_references_before(place):
            continue
        if _shows(place, kind, runs.get(name)):
            forget_references(place)
        else:
            put_back_references(place)


def _kept_in(folder: Path) -> dict[str, list[Kept]]:
    """Return the runs of the backup that a folder holds, if it holds one."""
    with suppress(BackupDamaged):
        return read_backup(folder).runs
    return {}


def _shows(place: Path, kind: RunKind, runs: list[Kept] | None) -> bool:
    if not (place / "repository" / REFERENCES).is_dir():
        return False
    try:
        return runs_of(RunStore(place, kind)) == runs
    except DAMAGE:
        return False


def read_backup(source: Path) -> Backup:
    """Return what a backup holds.

    Raises:
        BackupDamaged: there is no finished backup, or its catalogue is not one.
    """
    try:
        text = (source / CATALOGUE).read_text(encoding="utf-8")
        require_shallow(text)
        return _catalogue(json.loads(text))
    except FileNotFoundError:
        raise BackupDamaged(
            f"{source} holds no {CATALOGUE}, so it is no finished backup; give a folder that "
            "margincube backup wrote"
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError) as fault:
        raise BackupDamaged(
            f"{source / CATALOGUE} is no catalogue of a backup: {fault!r}; back up again, or give "
            "another backup"
        ) from None


def _catalogue(told: Any) -> Backup:
    """Return what a catalogue says.

    Raises:
        ValueError, KeyError, TypeError, AttributeError: it is none.
    """
    runs = {kind: [Kept(**one) for one in runs] for kind, runs in told.pop("runs").items()}
    backup = Backup(runs=runs, **told)
    if unknown := runs.keys() - KINDS.keys():
        raise ValueError(f"runs of the kinds {sorted(unknown)}; known are {list(KINDS)}")
    every = [text for kept in runs.values() for run in kept for text in astuple(run)]
    if not all(isinstance(text, str) for text in (backup.made, *backup.missing, *every)):
        raise TypeError("what should be a text is none")
    for one in backup.datasets:
        path, digest = Path(one["path"]), one["digest"]
        if one["kind"] not in OPENED:
            raise ValueError(f"a dataset of kind {one['kind']!r}; known are {list(OPENED)}")
        if not _DIGEST.fullmatch(digest) or one["folder"] != f"inputs/{digest}":
            raise ValueError(f"folder {one['folder']!r} of a dataset; it has to be inputs/DIGEST")
        if not path.is_absolute() or ".." in path.parts:
            raise ValueError(f"path {one['path']!r} of a dataset; it has to be a whole one")
    return backup


def _local(store: RunStore) -> Path:
    if isinstance(store.path, S3Folder):
        raise ValueError(
            f"{store.path} is in an object store, which keeps copies by its own means: "
            "versioning and replication; only folders are backed up"
        )
    return store.path


def _copy_log(place: Path, target: Path) -> None:
    """Copy the audit log, which may have grown and never have lost an entry.

    Raises:
        BackupDamaged: the backup holds entries that the log lacks.
    """
    log, copied = log_file(place), log_file(target)
    with exclusive(place / "locks" / "audit"):
        whole = log.read_bytes() if log.is_file() else b""
        kept = copied.read_bytes() if copied.is_file() else b""
        if not whole.startswith(kept[: kept.rfind(b"\n") + 1]):
            raise BackupDamaged(
                f"{copied} holds entries that the audit log of {place} lacks; find out why, and "
                "give another folder for this backup"
            )
        if whole:
            copy_file(log, copied)


def require_sound(place: Path, kind: RunKind, remedy: str) -> None:
    """Read every run of a folder again.

    Raises:
        BackupDamaged: an array does not read, or is not what its manifest says; with a remedy.
    """
    if not (place / "repository").is_dir():
        raise BackupDamaged(f"{place} holds no repository of runs; {remedy}")
    try:
        store = RunStore(place, kind)
        for run in runs_of(store):
            read = read_again(store, run.run_id)
            if wrong := [*read.unreadable, *read.changed]:
                raise BackupDamaged(f"run {run.run_id} in {place}: {wrong[0]}; {remedy}")
    except BackupDamaged:
        raise
    except DAMAGE as fault:
        said = first_line(fault).removesuffix(f"; {REMEDY}")
        raise BackupDamaged(f"{place} cannot be read: {said}; {remedy}") from fault


def _copy_inputs(manifest: dict[str, Any], destination: Path, backup: Backup) -> None:
    """Copy the datasets that a run was made from, each once."""
    for one in inputs_of(manifest):
        if one in backup.datasets:
            continue
        if one["path"].startswith(SCHEME):
            said = f"{one['kind']} {one['path']} is in an object store"
        else:
            said = copied(Path(one["path"]), destination / one["folder"], one)
        if not said:
            backup.datasets.append(one)
        elif said not in backup.missing:
            backup.missing.append(said)
