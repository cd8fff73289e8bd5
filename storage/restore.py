"""What a backup holds, brought back to where it was; what stands there is moved aside."""

import shutil
from collections.abc import Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from storage.audit import AuditBroken, entries, log_file, record
from storage.backup import (
    CATALOGUE,
    KINDS,
    Backup,
    copy_repository,
    read_backup,
    require_sound,
    runs_of,
)
from storage.backup_inputs import BackupDamaged, copy_dataset, inputs_of, require_dataset
from storage.faults import StoreFault, gathered
from storage.history import History, read_history
from storage.locks import exclusive, is_held
from storage.runs import RunStore

_LOCKS = ("history", "commit", "audit")
"""Locks of a folder of runs, in the order in which they are taken; others are each of a run."""


class HeadIsNewer(ValueError):
    """What is there holds runs, or changes of their history, that the backup lacks."""


def restore(source: Path, targets: Mapping[str, Path], *, over: bool) -> tuple[Backup, list[Path]]:
    """Bring back the runs and the inputs of a backup; return it and what was moved aside.

    ``targets`` are the folders of runs by kind. What stands there is moved aside, not deleted, and
    its audit log goes on in its place, with an entry of this. Inputs come back to where the runs
    found them, where nothing is there now.

    Raises:
        AuditBroken: the audit log that is to go on is not as it was written.
        BackupDamaged: the backup does not read as it should; nothing is changed.
        HeadIsNewer: there is what the backup lacks, and it is not to go ``over`` it.
        ValueError: a process works on a run there.
    """
    backup = read_backup(source)
    targets = {kind: targets[kind] for kind in backup.runs}
    histories = _histories(source, backup)
    for target in targets.values():
        _undo(target)
    _require_older(backup, histories, targets, over=over)
    files = _require_whole(source, backup, targets)
    for kind, target in targets.items():
        shutil.rmtree(gathered(target), ignore_errors=True)
        copy_repository(source / kind, gathered(target))
        require_sound(gathered(target), KINDS[kind])
    aside = []
    with ExitStack() as held:
        for target in targets.values():
            for lock in _LOCKS if target.is_dir() else ():
                held.enter_context(exclusive(target / "locks" / lock))
        # Reading took its time: what was published, tagged or begun meanwhile is not lost either.
        _require_older(backup, histories, targets, over=over)
        for kind, target in targets.items():
            _carry_log(source, kind, backup, target)
        for target in targets.values():
            if target.is_dir():
                stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
                aside.append(target.rename(target.with_name(f"{target.name}.before-{stamp}")))
            gathered(target).rename(target)
    for one, names in files:
        copy_dataset(source / one["folder"], Path(one["path"]), one, names)
    return backup, aside


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


def _undo(target: Path) -> None:
    """Move back what a restore that was cut short had moved aside, and put nothing in its place."""
    before = [
        one for one in target.parent.glob("*") if one.name.startswith(f"{target.name}.before-")
    ]
    if before and not target.exists() and gathered(target).is_dir():
        max(before).rename(target)


def _require_older(
    backup: Backup, histories: Mapping[str, History], targets: Mapping[str, Path], *, over: bool
) -> None:
    """Refuse to go over what the backup lacks, unless asked to, and over what is in progress."""
    there = {kind: target for kind, target in targets.items() if (target / "repository").is_dir()}
    busy = [
        lock.name
        for target in there.values()
        for lock in sorted((target / "locks").glob("*"))
        if lock.name not in _LOCKS and is_held(lock)
    ]
    if busy:
        raise ValueError(f"{', '.join(busy)} are in progress; restore when they are done")
    if over:
        return
    runs: list[str] = []
    events: list[str] = []
    for kind, target in there.items():
        try:
            runs += backup.lacks([RunStore(target, KINDS[kind])])
            events += [
                _sentence(event)
                for event in read_history(target).events
                if event not in histories[kind].events
            ]
        except (StoreFault, OSError, ValueError) as fault:
            raise HeadIsNewer(
                f"what the backup of {backup.made} lacks of {target} cannot be told ({fault}); "
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
    source: Path, backup: Backup, targets: Mapping[str, Path]
) -> list[tuple[dict[str, str], list[str]]]:
    """Read a backup again; return the datasets that are to be copied, and their files.

    Raises:
        AuditBroken: the audit log that is to go on is not as it was written.
        BackupDamaged: something does not read, or is not what the catalogue says.
    """
    inputs = []
    for kind, runs in backup.runs.items():
        require_sound(source / kind, KINDS[kind])
        store = RunStore(source / kind, KINDS[kind])
        if runs_of(store) != runs:
            raise BackupDamaged(f"{source / kind} holds other runs than {CATALOGUE} says")
        inputs += [one for manifest in store.manifests() for one in inputs_of(manifest)]
        log = _log_holder(source, kind, targets[kind])
        try:
            for _ in entries(log):
                pass
        except AuditBroken as fault:
            raise AuditBroken(
                f"{fault}; keep {log_file(log)} as it is somewhere else, and restore again"
            ) from fault
    found = []
    for one in backup.datasets:
        if one not in inputs:
            raise BackupDamaged(
                f"{source / CATALOGUE} names {one['path']}, which no run in it was made from"
            )
        if not Path(one["path"]).exists():
            try:
                found.append((one, require_dataset(source / one["folder"], one)))
            except (ValueError, OSError) as fault:
                raise BackupDamaged(f"{fault}; back up again") from fault
    return found


def _log_holder(source: Path, kind: str, target: Path) -> Path:
    """Return where the audit log is that goes on: what is there, or that of the backup."""
    return target if log_file(target).is_file() else source / kind


def _carry_log(source: Path, kind: str, backup: Backup, target: Path) -> None:
    """Let the audit log go on in what is to stand there; the entry names every run."""
    log, coming = log_file(_log_holder(source, kind, target)), log_file(gathered(target))
    if log.is_file():
        coming.parent.mkdir(exist_ok=True)
        shutil.copyfile(log, coming)
    runs = {run.run_id: run.digest for run in backup.runs[kind]}
    what = {"from": str(source.resolve()), "made": backup.made, "runs": runs}
    record(gathered(target), "restore", what)
