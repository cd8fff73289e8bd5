"""Cleaning of the stores of runs together: a run of one may be what a run of another needs."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from storage.dataset.remote import cached_datasets
from storage.history import History, change_history, read_history
from storage.locks import AlreadyLocked
from storage.manifests import latest_of
from storage.objects import S3Folder
from storage.retention import Record, kept_because
from storage.runs import RunStore

SHARED_LOCKS = ("audit", "commit", "history")
"""Locks of a whole folder of runs, which stand beside those of its runs."""

CLOCKS_APART = timedelta(minutes=10)
"""How far the clock of an object store may be from ours; what is younger is left alone there."""


@dataclass
class Cleaning:
    """What was done: runs removed and kept with the reason, leftovers, and bytes reclaimed.

    ``damaged`` are runs that were removed because their manifests cannot be read. ``busy`` are runs
    in progress; while there are any, nothing is reclaimed, and while there are any that are not
    published, none that is goes. ``cached`` are folders of the cache that no kept run reads.
    """

    removed: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    leftovers: list[str] = field(default_factory=list)
    kept: dict[str, str] = field(default_factory=dict)
    busy: list[str] = field(default_factory=list)
    cached: list[Path] = field(default_factory=list)
    reclaimed: int = 0


def clean_stores(
    stores: Sequence[RunStore],
    keep_last: int | None,
    keep_days: float | None,
    now: datetime,
    *,
    dry_run: bool,
    damaged: bool = False,
) -> Cleaning:
    """Remove what retention does not keep, and reclaim space where nobody is at work.

    Of a damaged run nobody knows which others it needs: with ``damaged`` it goes first, and without
    it nothing goes. Each removal is in the audit log.

    Raises:
        AuditBroken: an audit log is not as it was written; nothing more is removed.
        ManifestDamaged: a run is damaged, and is not to go.
        ValueError: a limit below zero, a damaged run that is tagged, or a tag of no run.
    """
    done = Cleaning()
    for store in stores:
        _require_tagged(store)
    if damaged:
        for store in stores:
            _remove_damaged(store, done, dry_run=dry_run)
    # Looked for first: what is published after this is in progress still.
    busy = [run_id for store in stores for run_id in _in_progress(store)]
    manifests = {store: store.survey()[0] if damaged else store.manifests() for store in stores}
    histories = {store: read_history(store.path) for store in stores}
    records = [Record.of(one) for found in manifests.values() for one in found]
    unfinished = {store: store.unfinished() for store in stores}
    kept = kept_because(
        records,
        tags={
            run_id: history.tags_of(run_id)
            for history in histories.values()
            for run_id in history.tags.values()
        },
        latest={name for store in stores for name in _latest(store, manifests[store])},
        busy=busy,
        keep_last=keep_last,
        keep_days=keep_days,
        now=now,
    )
    done.kept, done.busy = kept, sorted({*busy, *done.busy})
    for store in stores:
        for run_id in unfinished[store]:
            if run_id not in busy and (dry_run or _removed(store, run_id, done, leftover=True)):
                done.leftovers.append(run_id)
    needs = {one.run_id: one.needs for one in records}
    # What a run was made from is known when it is published.
    if begun := sorted(set(done.busy) - needs.keys()):
        for run_id in needs:
            kept.setdefault(run_id, f"{begun[0]}, in progress, may be made from it")
    # The last made first: what a run was made from stays where the run, tagged just now, does.
    for store in reversed(stores):
        for run_id in (one["run_id"] for one in manifests[store]):
            if run_id not in kept and (dry_run or _removed(store, run_id, done)):
                done.removed.append(run_id)
                continue
            for needed in needs[run_id] & needs.keys():
                kept.setdefault(needed, f"{run_id} was made from it")
    used = {
        one["inputs"][name]["digest"]
        for found in manifests.values()
        for one in found
        if one["run_id"] in kept
        for name in ("book", "claims")
        if name in one["inputs"]
    }
    done.busy = sorted({*done.busy})
    if done.busy:
        return done
    done.cached = [folder for folder in cached_datasets() if folder.name not in used]
    if not dry_run:
        for folder in done.cached:
            shutil.rmtree(folder)
        for store in stores:
            apart = CLOCKS_APART if isinstance(store.path, S3Folder) else timedelta(0)
            done.reclaimed += store.reclaim(now - apart)
    return done


def _in_progress(store: RunStore) -> list[str]:
    """Return the runs that a process works on just now, whether anything of them is written."""
    locks = store.path / "locks"
    names = locks.sizes() if isinstance(locks, S3Folder) else [one.name for one in locks.glob("*")]
    return sorted(name for name in names if name not in SHARED_LOCKS and store.is_busy(name))


def _require_tagged(store: RunStore) -> None:
    """Refuse tags of runs that are not there: a damaged history may mean others.

    Raises:
        ValueError: there is one.
    """
    runs = store.named()
    for name, run_id in sorted(read_history(store.path).tags.items()):
        if run_id not in runs:
            raise ValueError(
                f"tag {name!r} in {store.path} is of run {run_id}, which is not there; restore the "
                f"runs from a backup, or take it away by margincube untag {run_id} {name}"
            )


def _remove_damaged(store: RunStore, done: Cleaning, *, dry_run: bool) -> None:
    history = read_history(store.path)
    for run_id in store.survey()[1]:
        if tags := history.tags_of(run_id):
            raise ValueError(
                f"run {run_id} is damaged, and tagged {', '.join(tags)}; take that away by "
                f"margincube untag first, or restore the runs from a backup"
            )
        if dry_run or _removed(store, run_id, done):
            done.damaged.append(run_id)


def _latest(store: RunStore, manifests: Sequence[dict[str, Any]]) -> set[str]:
    """Return what ``latest`` means of each book, and of all of them."""
    aside = read_history(store.path).aside
    left = [one for one in manifests if one["run_id"] not in aside]
    books: dict[str, list[dict[str, Any]]] = {}
    for one in left:
        books.setdefault(one["inputs"]["book"]["name"], []).append(one)
    return {latest_of(found) for found in (left, *books.values()) if found}


def _removed(store: RunStore, run_id: str, done: Cleaning, *, leftover: bool = False) -> bool:
    """Remove a run, unless somebody began to work on it, tagged it, or published it just now."""
    gone = False

    def change(history: History) -> None:
        nonlocal gone
        # Nobody tags it now: who does waits for the history, and then finds it gone. In an object
        # store, where nobody waits, a tag of this very moment may be of a run that is gone.
        if not gone and not leftover and (tags := history.tags_of(run_id)):
            done.kept[run_id] = f"tagged {', '.join(tags)}"
            return
        gone = gone or store.remove(run_id, leftover=leftover)
        if not gone:
            done.busy.append(run_id)
            return
        history.aside = [one for one in history.aside if one != run_id]
        history.record("clean", run_id)

    try:
        change_history(store.path, change)
    except AlreadyLocked:
        done.busy.append(run_id)
    return gone
