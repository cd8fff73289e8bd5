"""A copy of published runs, and of the books, claims and markets that they were made from.

Objects of a repository never change once they are written; only its references do. So objects are
copied first and references last, under the lock that commits take: a copy that is cut short still
shows the runs of the copy before. ``backup.json`` is written when everything was read again.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from storage.arrays import MARGIN, POOL, REVERSE, STRESS, RunKind
from storage.book import Book
from storage.claims import Claims
from storage.dataset.durable import fsync_folder
from storage.history import HISTORY
from storage.json_text import require_shallow
from storage.locks import exclusive
from storage.market import Market, sample_market
from storage.objects import SCHEME, S3Folder
from storage.runs import RunStore
from storage.verification import read_again

CATALOGUE = "backup.json"
KINDS = {kind.name: kind for kind in (MARGIN, POOL, STRESS, REVERSE)}
REFERENCES = "refs"


class BackupDamaged(ValueError):
    """A copy is not what was copied."""


class HeadIsNewer(ValueError):
    """What is there holds runs that the backup lacks."""


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
        """Return the published runs of stores that the backup does not hold."""
        return [
            run.run_id
            for store in stores
            for run in runs_of(store)
            if run not in self.runs.get(store.kind.name, [])
        ]


def runs_of(store: RunStore) -> list[Kept]:
    """Return the published runs of a store, newest first."""
    return [
        Kept(str(one["run_id"]), str(one["created"]), str(one["digest"]))
        for one in store.manifests()
    ]


def back_up(stores: Sequence[RunStore], destination: Path) -> Backup:
    """Copy published runs and their inputs to a folder, and read the copy again.

    A folder that holds an earlier backup gets what it lacks.

    Raises:
        BackupDamaged: what was copied does not read as it should; the catalogue stays as it was.
        ValueError: a store is in an object store, or the destination is inside what is copied.
    """
    places = [(store, _local(store)) for store in stores]
    for _, place in places:
        if destination.resolve().is_relative_to(place.resolve()):
            raise ValueError(f"{destination} is inside {place}, which is copied; give another")
    backup = Backup(datetime.now(UTC).isoformat(timespec="seconds"))
    for store, place in places:
        copied = destination / store.kind.name
        _copy_repository(place, copied)
        _require_sound(copied, store.kind)
        backup.runs[store.kind.name] = runs_of(RunStore(copied, store.kind))
        for manifest in store.manifests():
            _copy_inputs(manifest, destination, backup)
    coming = destination / f".{CATALOGUE}.writing"
    destination.mkdir(parents=True, exist_ok=True)
    with coming.open("w") as file:
        json.dump(asdict(backup), file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    coming.replace(destination / CATALOGUE)
    fsync_folder(destination)
    return backup


def read_backup(source: Path) -> Backup:
    """Return what a backup holds.

    Raises:
        BackupDamaged: there is no finished backup, or its catalogue is not one.
    """
    try:
        text = (source / CATALOGUE).read_text(encoding="utf-8")
        require_shallow(text)
        told = json.loads(text)
        runs = {kind: [Kept(**one) for one in runs] for kind, runs in told.pop("runs").items()}
        return Backup(runs=runs, **told)
    except FileNotFoundError:
        raise BackupDamaged(
            f"{source} holds no {CATALOGUE}, so it is no finished backup; give a folder that "
            "margincube backup wrote"
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError) as fault:
        raise BackupDamaged(
            f"{source / CATALOGUE} is no catalogue of a backup: {fault!r}"
        ) from None


def restore(source: Path, targets: dict[str, Path], *, over: bool) -> tuple[Backup, list[Path]]:
    """Bring back the runs and the inputs of a backup; return it and what was moved aside.

    ``targets`` are the folders of runs by kind. What stands there is moved aside, not deleted.
    Inputs come back to where the runs found them, where nothing is there now.

    Raises:
        BackupDamaged: the backup does not read as it should; nothing is changed.
        HeadIsNewer: there are runs that the backup lacks, and it is not to go ``over`` them.
        ValueError: a process works on a run there.
    """
    backup = read_backup(source)
    there = [RunStore(targets[kind], KINDS[kind]) for kind in backup.runs if targets[kind].is_dir()]
    lost = backup.lacks(there)
    if lost and not over:
        raise HeadIsNewer(
            f"the backup of {backup.made} lacks {len(lost)} runs that are there: "
            f"{', '.join(lost)}; give --over to restore it all the same, they are moved aside"
        )
    busy = [run for store in there for run in store.unfinished() if store.is_busy(run)]
    if busy:
        raise ValueError(f"{', '.join(busy)} are in progress; restore when they are done")
    for kind, runs in backup.runs.items():
        _require_sound(source / kind, KINDS[kind])
        if runs_of(RunStore(source / kind, KINDS[kind])) != runs:
            raise BackupDamaged(f"{source / kind} holds other runs than {CATALOGUE} says")
    aside = []
    for kind in backup.runs:
        target = targets[kind]
        coming = target.parent / f".{target.name}.restoring"
        shutil.rmtree(coming, ignore_errors=True)
        _copy_repository(source / kind, coming)
        if target.is_dir():
            stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
            aside.append(target.rename(target.parent / f"{target.name}.before-{stamp}"))
        coming.rename(target)
        _require_sound(target, KINDS[kind])
    for one in backup.datasets:
        if not Path(one["path"]).exists():
            _copy_dataset(source / one["folder"], Path(one["path"]), one["kind"], one["digest"])
    return backup, aside


def _local(store: RunStore) -> Path:
    if isinstance(store.path, S3Folder):
        raise ValueError(
            f"{store.path} is in an object store, which keeps copies by its own means: "
            "versioning and replication; only folders are backed up"
        )
    return store.path


def _copy_repository(place: Path, target: Path) -> None:
    """Copy what a repository holds, its references last and with nobody committing."""
    _copy_objects(place / "repository", target / "repository")
    with exclusive(place / "locks" / "commit"), exclusive(place / "locks" / "history"):
        _copy_objects(place / "repository", target / "repository")
        coming = target / f".{REFERENCES}.writing"
        shutil.rmtree(coming, ignore_errors=True)
        shutil.copytree(place / "repository" / REFERENCES, coming)
        shutil.rmtree(target / "repository" / REFERENCES, ignore_errors=True)
        coming.rename(target / "repository" / REFERENCES)
        if (place / HISTORY).is_file():
            shutil.copyfile(place / HISTORY, target / HISTORY)


def _copy_objects(place: Path, target: Path) -> None:
    for path in sorted(place.rglob("*")):
        inside = path.relative_to(place)
        if path.is_dir() or inside.parts[0] == REFERENCES:
            continue
        copied = target / inside
        if copied.is_file() and copied.stat().st_size == path.stat().st_size:
            continue
        copied.parent.mkdir(parents=True, exist_ok=True)
        coming = copied.with_name(f".{copied.name}.writing")
        shutil.copyfile(path, coming)
        coming.replace(copied)


def _require_sound(place: Path, kind: RunKind) -> None:
    """Read every run of a copy again.

    Raises:
        BackupDamaged: an array does not read, or is not what its manifest says.
    """
    store = RunStore(place, kind)
    for run in runs_of(store):
        read = read_again(store, run.run_id)
        if wrong := [*read.unreadable, *read.changed]:
            raise BackupDamaged(f"run {run.run_id} in {place}: {wrong[0]}; copy it again")


def _copy_inputs(manifest: dict[str, Any], destination: Path, backup: Backup) -> None:
    """Copy the datasets that a run was made from, each once."""
    for kind in ("book", "claims", "market"):
        wanted = manifest["inputs"].get(kind)
        if wanted is None or wanted["digest"] == sample_market().digest:
            continue
        one = {
            "kind": kind,
            "path": wanted["path"],
            "folder": f"inputs/{wanted['digest']}",
            "digest": wanted["digest"],
        }
        if one in backup.datasets:
            continue
        if wanted["path"].startswith(SCHEME):
            said = f"{kind} {wanted['path']} is in an object store"
        else:
            said = _copied(Path(wanted["path"]), destination / one["folder"], one)
        if not said:
            backup.datasets.append(one)
        elif said not in backup.missing:
            backup.missing.append(said)


def _copied(path: Path, target: Path, one: dict[str, str]) -> str:
    """Copy a dataset, unless it is there; return why it was not, if it was not."""
    if target.is_dir():
        _require_dataset(target, one["kind"], one["digest"])
        return ""
    try:
        _require_dataset(path, one["kind"], one["digest"])
    except (ValueError, OSError) as fault:
        return f"{one['kind']} {path}: {str(fault).splitlines()[0]}"
    _copy_dataset(path, target, one["kind"], one["digest"])
    return ""


def _copy_dataset(path: Path, target: Path, kind: str, digest: str) -> None:
    coming = target.parent / f".{target.name}.writing"
    shutil.rmtree(coming, ignore_errors=True)
    shutil.copytree(path, coming)
    _require_dataset(coming, kind, digest)
    coming.rename(target)


def _require_dataset(path: Path, kind: str, digest: str) -> None:
    """Hash the files of a dataset.

    Raises:
        BackupDamaged: it is another dataset.
        ValueError: a file is missing or changed.
    """
    found = _OPENED[kind](path)
    if found != digest:
        raise BackupDamaged(f"{kind} {path} has digest {found[:12]}, wanted is {digest[:12]}")


def _book(path: Path) -> str:
    book = Book.open(path)
    book.verify()
    return book.digest


def _claims(path: Path) -> str:
    claims = Claims.open(path)
    claims.verify()
    return claims.digest


def _market(path: Path) -> str:
    market = Market.open(path)
    market.quotes()
    market.prices()
    return market.digest


_OPENED: dict[str, Callable[[Path], str]] = {"book": _book, "claims": _claims, "market": _market}
