"""Published runs: whole, named, and readable as labelled datasets.

What lists runs needs none of the arrays, so what reads them is imported when it is used.

A reader opens a tag, or ``main`` for the newest; neither exists before its run is complete.
"""

import itertools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import icechunk
import zarr

from storage.arrays import MARGIN, RunKind
from storage.audit import record, record_publication
from storage.faults import StoreFailed, StoreFault, first_line, named_faults
from storage.groups import Groups
from storage.history import read_history
from storage.locks import exclusive, is_held
from storage.manifests import REMEDY, ManifestDamaged, latest_of, stored_manifest
from storage.objects import S3Folder, located
from storage.repository import open_repository
from storage.signature import Published, Signer

if TYPE_CHECKING:
    import xarray as xr

    from storage.leases import Lease
    from storage.rows import StoredRows
    from storage.staging import Layout, StagedRun

STAGING = "staging-"
AGAIN = "@"
"""What stands between a run and the number of its tag, when a run that was removed comes again."""


class RunsOfAnotherKind(ValueError):
    """A folder holds runs of another kind than was asked for."""


class UnknownRun(KeyError):
    """No run of that name has been published."""

    def __str__(self) -> str:
        return str(self.args[0])


@dataclass(frozen=True, slots=True)
class StoredRun:
    """A published run of any kind; values of its datasets are read when they are asked for."""

    run_id: str
    manifest: dict[str, Any]
    groups: Mapping[str, "xr.Dataset"]


class Run(StoredRun):
    """A published margin run."""

    __slots__ = ()

    @property
    def accounts(self) -> "xr.Dataset":
        """What each account must have, and has."""
        return self.groups["accounts"]

    @property
    def blocks(self) -> "xr.Dataset":
        """Sums over blocks of accounts."""
        return self.groups["blocks"]

    @property
    def cube(self) -> "xr.Dataset":
        """The P&L of one contract in each scenario."""
        return self.groups["cube"]

    @property
    def folds(self) -> "xr.Dataset":
        """What the accounts come to, by member, collateral and instrument."""
        return self.groups["folds"]

    @property
    def scenarios(self) -> "xr.Dataset":
        """The scenarios, and how likely each is."""
        return self.groups["scenarios"]

    @property
    def instruments(self) -> "xr.Dataset":
        """What the instruments are, and are worth."""
        return self.groups["instruments"]

    @property
    def market(self) -> "xr.Dataset":
        """What was fitted to the market."""
        return self.groups["market"]


class RunStore:
    """A folder with an icechunk repository of runs of one kind, on a file system or in a store.

    On a file system one process commits at a time; in a store, commits are safe by themselves,
    because each replaces the tip of a branch on the condition that nobody else has.

    Raises:
        RunsOfAnotherKind: the folder holds runs of another kind.
        StoreUnavailable: the object store does not answer, refuses, or has no such bucket.
    """

    def __init__(self, path: Path | S3Folder, kind: RunKind = MARGIN) -> None:
        self.path = path
        self.kind = kind
        self._lease: Lease | None = None
        self._repository = open_repository(path)
        with named_faults(path):
            self._root = self._first_snapshot()
            self._require_kind()

    def _first_snapshot(self) -> str:
        """Return the snapshot that every branch begins at, by whichever run is not damaged."""
        for where in ({"branch": "main"}, *({"tag": tag} for tag in self._tags().values())):
            with suppress(StoreFault):
                return str(list(self._repository.ancestry(**where))[-1].id)
        raise StoreFailed(
            f"{self.path}: no run in it can be read; restore the runs from a backup, or give "
            "another folder"
        )

    def _require_kind(self) -> None:
        """Look at the first run that is not damaged: what is wrong with another is its own."""
        for run_id, tag in sorted(self._tags().items()):
            try:
                found = self._committed(run_id, tag)[0].get("kind", "margin")
            except ManifestDamaged:
                continue
            if found != self.kind.name:
                raise RunsOfAnotherKind(
                    f"{self.path} holds {found} runs, such as {run_id}, and {self.kind.name} runs "
                    "were asked for; each kind has a folder of its own, give that one"
                )
            return

    @contextmanager
    def run_lock(self, run_id: str) -> Iterator[None]:
        """Hold the lock of the one process that works on a run.

        Raises:
            AlreadyLocked: on entering, when another process works on it.
            StoreFailed: on leaving, when the work ended with a fault of the store.
        """
        if not isinstance(self.path, S3Folder):
            with exclusive(self.path / "locks" / run_id, wait=False), named_faults(self.path):
                yield
            return
        from storage.leases import leased

        with leased(self.path / "locks", run_id) as self._lease, named_faults(self.path):
            try:
                yield
            finally:
                self._lease = None

    def is_published(self, run_id: str) -> bool:
        """Tell whether the run is complete; mends a publication that was cut short."""
        if run_id not in self._tags():
            return False
        if _staging(run_id) in self._repository.list_branches():
            self._move_main(run_id)
        return True

    def stage(self, run_id: str, layout: "Layout", key: str) -> "StagedRun":
        """Return the staging branch of a run: the one that an earlier process left, or a new one.

        A branch that was cut into other chunks, or whose labels are damaged, is begun anew.
        """
        from storage.staging import StagedRun

        branch = _staging(run_id)
        with self._commit_lock():
            if branch in self._repository.list_branches():
                if self._repository.lookup_branch(branch) != self._root:
                    staged = StagedRun(self._repository, branch, self.kind, self._commit_lock)
                    if staged.continues(layout):
                        return staged
                self._repository.delete_branch(branch)
            self._repository.create_branch(branch, self._root)
            StagedRun.lay_out(self._repository, branch, self.kind, layout, key)
        return StagedRun(self._repository, branch, self.kind, self._commit_lock)

    def publish(
        self,
        run_id: str,
        staged: "StagedRun",
        datasets: Mapping[str, "xr.Dataset"],
        manifest: Mapping[str, Any],
        signer: Signer | None = None,
    ) -> None:
        """Commit the last of a run, name it, and move ``main`` to it; may be called again.

        The audit log has it before anybody sees it: an entry may be of a run that was cut short
        just then, and no run is without one. A ``signer`` signs the manifest in the same commit.
        ``main`` stays where it is if it shows a run that was committed later.

        Raises:
            AuditBroken: the audit log is not as it was written; nothing becomes visible.
        """
        if run_id not in self._tags():
            signature = None if signer is None else signer.sign(manifest)
            snapshot = staged.finish(datasets, manifest, signature)
            record_publication(self.path, manifest, None if signer is None else signer.fingerprint)
            with self._commit_lock():
                self._name(run_id, snapshot)
        self._move_main(run_id)

    def _name(self, run_id: str, snapshot: str) -> None:
        """Make the tag that publishes a run."""
        for turn in itertools.count(1):
            tag = run_id if turn == 1 else f"{run_id}{AGAIN}{turn}"
            try:
                self._repository.create_tag(tag, snapshot)
            except icechunk.IcechunkError as fault:
                # The name of a run that was removed is never free again.
                if "already exists" not in str(fault) or run_id in self._tags():
                    raise
            else:
                return

    def _tags(self) -> dict[str, str]:
        """Return the tag of each published run."""
        return {tag.partition(AGAIN)[0]: tag for tag in self._repository.list_tags()}

    def _tag(self, run_id: str) -> str:
        """Return the tag of a run that was found a moment ago.

        Raises:
            UnknownRun: it was removed since.
        """
        tag = self._tags().get(run_id)
        if tag is None:
            raise UnknownRun(
                f"run {run_id} is no longer in {self.path}; make it again, or take another"
            )
        return tag

    def _move_main(self, run_id: str) -> None:
        with self._commit_lock():
            snapshot = self._newest(tag=self._tag(run_id))
            while self._main_is_before(snapshot):
                tip = self._repository.lookup_branch("main")
                try:
                    self._repository.reset_branch("main", snapshot.id, from_snapshot_id=tip)
                except icechunk.IcechunkError:
                    # In a store another run may have been published just now.
                    if self._repository.lookup_branch("main") == tip:
                        raise
            if _staging(run_id) in self._repository.list_branches():
                try:
                    self._repository.delete_branch(_staging(run_id))
                except icechunk.IcechunkError:
                    # So may somebody else have mended this publication.
                    if _staging(run_id) in self._repository.list_branches():
                        raise

    def _main_is_before(self, snapshot: icechunk.SnapshotInfo) -> bool:
        """Tell whether ``main`` shows a run that was committed earlier, or one that is damaged."""
        try:
            return bool(self._newest(branch="main").written_at < snapshot.written_at)
        except StoreFault:
            return bool(self._repository.lookup_branch("main") != snapshot.id)

    @contextmanager
    def _commit_lock(self) -> Iterator[None]:
        """Hold what a commit needs; who lost the lock of the run to another, commits no more."""
        if not isinstance(self.path, S3Folder):
            # Commits to a local file system are not safe against each other.
            with exclusive(self.path / "locks" / "commit"):
                yield
            return
        if self._lease is not None:
            self._lease.renew()
        yield

    def manifests(self) -> list[dict[str, Any]]:
        """Return the manifests of all published runs, newest first.

        Raises:
            ManifestDamaged: one is not what was written.
        """
        found, damaged = self.survey()
        for said in damaged.values():
            raise ManifestDamaged(said)
        return found

    def survey(self) -> tuple[list[dict[str, Any]], dict[str, str]]:
        """Return the manifests of published runs, newest first, and what is wrong with others."""
        found: list[tuple[datetime, dict[str, Any]]] = []
        damaged: dict[str, str] = {}
        for run_id, tag in sorted(self._tags().items()):
            try:
                manifest, written_at = self._committed(run_id, tag)
                found.append((written_at, manifest))
            except ManifestDamaged as fault:
                if run_id in self._tags():  # and was not removed just now
                    damaged[run_id] = str(fault)
        found.sort(key=lambda one: one[0], reverse=True)
        return [manifest for _, manifest in found], damaged

    def _committed(self, run_id: str, tag: str) -> tuple[dict[str, Any], datetime]:
        """Return the manifest that was committed with a run, and when.

        Raises:
            ManifestDamaged: it is not what was written.
        """
        with self._named_damage(run_id):
            snapshot = self._newest(tag=tag)
            return stored_manifest(snapshot.metadata, str(self.path)), snapshot.written_at

    def _seen(self, run_id: str, tag: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the manifest of a run as readers see it, and all that is said beside it.

        Raises:
            ManifestDamaged: it is not what was written.
        """
        with self._named_damage(run_id):
            session = self._repository.readonly_session(tag=tag)
            said = zarr.open_group(session.store, mode="r").attrs.asdict()
            return stored_manifest(said, str(self.path)), said

    @contextmanager
    def _named_damage(self, run_id: str) -> Iterator[None]:
        """Say of which run it is that what describes it cannot be read."""
        try:
            yield
        except (StoreFault, ValueError, KeyError) as fault:
            raise ManifestDamaged(
                f"run {run_id} in {self.path} is damaged ({first_line(fault)}); {REMEDY}"
            ) from fault

    def _newest(self, **where: str) -> icechunk.SnapshotInfo:
        """Return the last snapshot of a ``branch`` or a ``tag``."""
        return next(iter(self._repository.ancestry(**where)))

    def named(self, start: str = "") -> list[str]:
        """Return the published runs whose names begin so."""
        return sorted(run_id for run_id in self._tags() if run_id.startswith(start))

    def resolve(self, name: str, book: str | None = None) -> str:
        """Return the run that a name means: its own, a tag, an unambiguous start, or ``latest``.

        With the digest of a ``book``, the latest is that of the runs of this book. The latest is
        none that was set aside.

        Raises:
            ManifestDamaged: of a damaged run nobody can tell whether it is the latest.
            UnknownRun: nothing, or more than one run, is meant.
        """
        tags = self.named()
        if name in tags:
            return name
        history = read_history(self.path)
        if name in history.tags and history.tags[name] in tags:
            return history.tags[name]
        if name == "latest":
            found, damaged = self.survey()
            for run_id in damaged.keys() - set(history.aside):
                raise ManifestDamaged(f"{damaged[run_id]}. It may be the latest: name a run")
            newest = [
                one
                for one in found
                if (book is None or one["inputs"]["book"]["digest"] == book)
                and one["run_id"] not in history.aside
            ]
            if newest:
                return latest_of(newest)
            if tags and book is not None:
                raise UnknownRun(
                    f"no run of the book with digest {book[:12]} is among the published runs "
                    f"{tags} in {self.path}; margin that book first"
                )
        matches = [tag for tag in tags if tag.startswith(name)]
        if len(matches) == 1:
            return matches[0]
        known = f"published runs are {tags}" if tags else "no run has been published yet"
        problem = f"run {name!r} is ambiguous" if matches else f"no run {name!r}"
        raise UnknownRun(f"{problem}; {known} in {self.path}")

    def read(self, name: str = "latest") -> StoredRun:
        """Open a published run of the store's kind.

        Raises:
            ManifestDamaged: its manifest is not what was written.
            UnknownRun: no run of that name has been published.
        """
        from storage.staging import open_group

        run_id = self.resolve(name)
        tag = self._tag(run_id)
        manifest, _ = self._seen(run_id, tag)
        store = self._repository.readonly_session(tag=tag).store
        groups = Groups(self.kind.groups, lambda group: open_group(store, group))
        return StoredRun(run_id, manifest, groups)

    def published(self, name: str) -> Published:
        """Return the manifest of a run, as readers see it and as committed, and its signature.

        Raises:
            UnknownRun: no run of that name has been published.
        """
        run_id = self.resolve(name)
        tag = self._tag(run_id)
        seen, said = self._seen(run_id, tag)
        signature: Any = said.get("signature")
        return Published(run_id, seen, self._committed(run_id, tag)[0], signature)

    def open(self, name: str = "latest") -> Run:
        """Open a published margin run.

        Raises:
            UnknownRun: no run of that name has been published.
        """
        found = self.read(name)
        return Run(found.run_id, found.manifest, found.groups)

    def rows(self, run_id: str, group: str) -> "StoredRows":
        """Return the arrays of a group that workers wrote, for reading many rows of all.

        Raises:
            UnknownRun: the run is not there, or no longer.
        """
        from storage.staging import stored_rows

        session = self._repository.readonly_session(tag=self._tag(run_id))
        return stored_rows(session.store, group, self.kind)

    def unfinished(self) -> list[str]:
        """Return the runs that have a staging branch and are not published."""
        found = {
            branch.removeprefix(STAGING)
            for branch in self._repository.list_branches()
            if branch.startswith(STAGING)
        }
        return sorted(found - self._tags().keys())

    def is_busy(self, run_id: str) -> bool:
        """Tell whether a process works on a run just now; one that begins is not hindered."""
        if not isinstance(self.path, S3Folder):
            return is_held(self.path / "locks" / run_id)
        from storage.leases import is_leased

        return is_leased(self.path / "locks", run_id)

    def remove(self, run_id: str, *, leftover: bool = False) -> bool:
        """Take a run, or what there is of one, out of sight; its space is reclaimed later.

        What was a ``leftover``, and is published by now, stays; return whether it went. The audit
        log has it before it is gone.

        Raises:
            AlreadyLocked: a process works on it.
            AuditBroken: the audit log is not as it was written; nothing is removed.
        """
        with self.run_lock(run_id), self._commit_lock():
            tag = self._tags().get(run_id)
            if leftover and tag is not None:
                return False
            record(self.path, "clean", {"run": run_id})
            if _staging(run_id) in self._repository.list_branches():
                self._repository.delete_branch(_staging(run_id))
            if tag is None:
                return True
            shown = self._repository.lookup_branch("main") == self._repository.lookup_tag(tag)
            self._repository.delete_tag(tag)
            if shown:
                left, _ = self.survey()
                tags = self._tags()
                newest = self._repository.lookup_tag(tags[left[0]["run_id"]]) if left else None
                self._repository.reset_branch("main", newest or self._root)
        return True

    def reclaim(self, before: datetime) -> int:
        """Delete what no run holds and was written before an instant; return the bytes freed.

        What a process writes is held by nobody until it commits: call it where none is at work,
        with an instant before that was known.
        """
        with self._commit_lock():
            return int(self._repository.garbage_collect(before).bytes_deleted)


def open_run(path: Path | str, name: str = "latest") -> Run:
    """Open a published run of the run folder at ``path``, which may be ``s3://bucket/prefix``."""
    return RunStore(located(path)).open(name)


def _staging(run_id: str) -> str:
    return f"{STAGING}{run_id}"
