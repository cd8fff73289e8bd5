"""What a backup holds, brought back to where it was; what stands there is moved aside."""

import shutil
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from storage.audit import AuditBroken, entries, log_file, record
from storage.backup import (
    CATALOGUE,
    KINDS,
    Backup,
    read_backup,
    require_sound,
    runs_of,
    settle,
)
from storage.backup_inputs import BackupDamaged, copy_dataset, inputs_of, require_dataset
from storage.backup_repository import copy_at_rest
from storage.faults import StoreFault, first_line, gathered
from storage.history import History, read_history
from storage.locks import exclusive, is_held
from storage.runs import RunStore

_LOCKS = ("history", "commit", "audit")
"""Locks of a folder of runs, in the order in which they are taken; others are each of a run."""

_BACK_UP_AGAIN = "back up again, or give another backup"


class HeadIsNewer(ValueError):
    """What is there holds runs, or changes of their history, that the backup lacks."""


@dataclass(frozen=True)
class Restored:
    """What was brought back, the folders that were moved aside, and datasets that were left.

    ``left`` says of each dataset that stood where a run found it what it is, a sentence each.
    """

    backup: Backup
    aside: list[Path]
    left: list[str]


def restore(source: Path, targets: Mapping[str, Path], *, over: bool) -> Restored:
    """Bring back the runs and the inputs of a backup.

    ``targets`` are the folders of runs by kind. What stands there is moved aside, not deleted, and
    its audit log goes on in its place, with an entry of this. Inputs come back to where the runs
    found them, where nothing is there now. Nothing is written to a finished backup.

    Raises:
        AuditBroken: the audit log that is to go on is not as it was written.
        BackupDamaged: the backup does not read as it should; nothing is changed.
        HeadIsNewer: there is what the backup lacks, and it is not to go ``over`` it.
        ValueError: a process works on a run there.
    """
    backup = read_backup(source)
    targets = {kind: targets[kind] for kind in backup.runs}
    histories = _histories(source, backup)
    settle(source, backup.runs)
    standing = {kind: _standing(target) for kind, target in targets.items()}
    _require_older(backup, histories, standing, over=over)
    wanted, left = _require_whole(source, backup, standing)
    try:
        for kind, target in targets.items():
            _empty(gathered(target))
            copy_at_rest(source / kind, gathered(target))
            require_sound(gathered(target), KINDS[kind], "restore again")
        with ExitStack() as held:
            for place in standing.values():
                for lock in _LOCKS if place.is_dir() else ():
                    held.enter_context(exclusive(place / "locks" / lock))
            # Reading took its time: what was published, tagged or begun meanwhile is not lost.
            _require_older(backup, histories, standing, over=over)
            for kind, target in targets.items():
                _carry_log(source, kind, backup, standing[kind], gathered(target))
            aside = _exchange(targets, standing)
    except BaseException:
        for kind, target in targets.items():
            if standing[kind] == target:
                shutil.rmtree(gathered(target), ignore_errors=True)
        raise
    for one, names in wanted:
        copy_dataset(source / one["folder"], Path(one["path"]), one, names)
    return Restored(backup, aside, left)


def _histories(source: Path, backup: Backup) -> dict[str, History]:
    """Return the histories of a backup by kind; nothing in it may be a link to what is elsewhere.

    Raises:
        BackupDamaged: one is no history, or there is a link.
    """
    for path in source.rglob("*"):
        if path.is_symlink():
            raise BackupDamaged(f"{path} is a link; no backup holds any, so take it away")
    try:
        return {kind: read_history(source / kind) for kind in backup.runs}
    except ValueError as fault:
        raise BackupDamaged(str(fault)) from fault


def _standing(target: Path) -> Path:
    """Return what stands at a target, or was moved aside by a restore that was cut short."""
    before = [
        one for one in target.parent.glob("*") if one.name.startswith(f"{target.name}.before-")
    ]
    cut_short = not target.exists() and gathered(target).is_dir()
    return max(before) if before and cut_short else target


def _empty(folder: Path) -> None:
    """Empty a folder that is never gone: it says that what it is for was moved aside."""
    folder.mkdir(parents=True, exist_ok=True)
    for inside in folder.iterdir():
        if inside.is_dir():
            shutil.rmtree(inside)
        else:
            inside.unlink()


def _exchange(targets: Mapping[str, Path], standing: Mapping[str, Path]) -> list[Path]:
    """Put what was gathered in its place, all or nothing; return what was moved aside.

    All that stands is moved aside first: no kind of runs is ever seen beside older ones of another.
    """
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
    aside, moves = [], []
    for kind, place in standing.items():
        if place != targets[kind]:
            aside.append(place)
        elif place.is_dir():
            aside.append(place.with_name(f"{place.name}.before-{stamp}"))
            moves.append((place, aside[-1]))
    _rename([*moves, *((gathered(target), target) for target in targets.values())])
    return aside


def _rename(renames: Sequence[tuple[Path, Path]]) -> None:
    """Rename in turn; where one fails, what was renamed gets its name back."""
    try:
        for path, name in renames:
            path.rename(name)
    except BaseException:
        for path, name in reversed(renames):
            if name.exists() and not path.exists():
                name.rename(path)
        raise


def _require_older(
    backup: Backup, histories: Mapping[str, History], standing: Mapping[str, Path], *, over: bool
) -> None:
    """Refuse to go over what the backup lacks, unless asked to, and over what is in progress."""
    there = {kind: place for kind, place in standing.items() if (place / "repository").is_dir()}
    busy = [
        lock.name
        for place in there.values()
        for lock in sorted((place / "locks").glob("*"))
        if lock.name not in _LOCKS and is_held(lock)
    ]
    if busy:
        raise ValueError(f"{', '.join(busy)} are in progress; restore when they are done")
    if over:
        return
    runs: list[str] = []
    events: list[str] = []
    for kind, place in there.items():
        try:
            runs += backup.lacks([RunStore(place, KINDS[kind])])
            events += [
                _sentence(event)
                for event in read_history(place).events
                if event not in histories[kind].events
            ]
        except (StoreFault, OSError, ValueError) as fault:
            raise HeadIsNewer(
                f"what the backup of {backup.made} lacks of {place} cannot be told ({fault}); "
                "give --over to restore it all the same, what is there is moved aside"
            ) from fault
    lost = [
        f"{len(found)} {what} that are there: {', '.join(found)}"
        for what, found in (("runs", runs), ("entries of the history", events))
        if found
    ]
    if lost:
        raise HeadIsNewer(
            f"the backup of {backup.made} lacks {'; and '.join(lost)}; give --over to restore it "
            "all the same, they are moved aside"
        )


def _sentence(event: Mapping[str, Any]) -> str:
    said = [str(event[name]) for name in ("what", "tag", "run", "at") if name in event]
    return " ".join(said)


def _require_whole(
    source: Path, backup: Backup, standing: Mapping[str, Path]
) -> tuple[list[tuple[dict[str, str], list[str]]], list[str]]:
    """Read a backup again; return the datasets that are to be copied with their files, and others.

    Of the others, which stand where a run found them, it is what they are, a sentence each.

    Raises:
        AuditBroken: the audit log that is to go on is not as it was written.
        BackupDamaged: what is to be copied does not read, or is not what the catalogue says.
    """
    inputs = []
    for kind, runs in backup.runs.items():
        require_sound(source / kind, KINDS[kind], _BACK_UP_AGAIN)
        store = RunStore(source / kind, KINDS[kind])
        if runs_of(store) != runs:
            raise BackupDamaged(
                f"{source / kind} holds other runs than {CATALOGUE} says; {_BACK_UP_AGAIN}"
            )
        inputs += [one for manifest in store.manifests() for one in inputs_of(manifest)]
        log = _log_holder(source, kind, standing[kind])
        try:
            for _ in entries(log):
                pass
        except AuditBroken as fault:
            raise AuditBroken(
                f"{fault}; keep {log_file(log)} as it is somewhere else, and restore again"
            ) from fault
    wanted, left = [], []
    for one in backup.datasets:
        if one not in inputs:
            raise BackupDamaged(
                f"{source / CATALOGUE} names {one['path']}, which no run in it was made from"
            )
        files, damage = _read(source / one["folder"], one)
        if Path(one["path"]).exists():
            left.append(_said(one, damage))
        elif damage:
            raise BackupDamaged(f"{damage}; {_BACK_UP_AGAIN}")
        else:
            wanted.append((one, files))
    return wanted, left


def _read(path: Path, one: dict[str, str]) -> tuple[list[str], str]:
    """Return the files of a dataset that is as it should be, and what is wrong with another."""
    try:
        return require_dataset(path, one), ""
    except (ValueError, OSError) as fault:
        return [], first_line(fault)


def _said(one: dict[str, str], damage: str) -> str:
    """Say what a dataset is that stands where a run found it, beside a copy of such damage."""
    _, differs = _read(Path(one["path"]), one)
    said = f"{one['kind']} {one['path']}: it is {'not ' if differs else ''}what runs were made from"
    if differs and damage:
        return f"{said} ({differs}), nor is its copy ({damage}); give another backup"
    if differs:
        return f"{said} ({differs}); move it away and restore again to have the copy"
    return f"{said}, and its copy is damaged ({damage}); back up again" if damage else said


def _log_holder(source: Path, kind: str, standing: Path) -> Path:
    """Return where the audit log is that goes on: what is there, or that of the backup."""
    return standing if log_file(standing).is_file() else source / kind


def _carry_log(source: Path, kind: str, backup: Backup, standing: Path, coming: Path) -> None:
    """Let the audit log go on in what is to stand there; the entry names every run."""
    log = log_file(_log_holder(source, kind, standing))
    if log.is_file():
        log_file(coming).parent.mkdir(exist_ok=True)
        shutil.copyfile(log, log_file(coming))
    runs = {run.run_id: run.digest for run in backup.runs[kind]}
    what = {"from": str(source.resolve()), "made": backup.made, "runs": runs}
    record(coming, "restore", what)
