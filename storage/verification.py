"""A published run read again: every array through its checksums, every digest computed anew."""

from collections.abc import Collection
from dataclasses import dataclass

import xarray as xr

from storage.array_digest import READ_ROWS, dataset_digest, run_digests
from storage.digest import text_digest
from storage.faults import first_line
from storage.manifests import ManifestDamaged
from storage.runs import RunStore, StoredRun

BARE = {"margin": ("blocks",), "collateral": ("blocks",)}
"""Groups without a digest, by the kind of run: sums of what has one."""


@dataclass(frozen=True)
class Reread:
    """What was read, and what is wrong with it, a sentence each."""

    arrays: int
    bytes: int
    unreadable: list[str]
    changed: list[str]
    digests: int


def read_again(store: RunStore, name: str) -> Reread:
    """Read every array of a run and compare its digests with those of its manifest.

    Raises:
        UnknownRun: no run of that name has been published.
    """
    run = store.read(name)
    arrays = size = 0
    unreadable: list[str] = []
    found: dict[str, str] = {}
    for group in run.groups:
        try:
            dataset = run.groups[group]
        except Exception as fault:  # as below
            unreadable.append(f"{group} cannot be opened: {first_line(fault)}")
            continue
        known: dict[str, bytes] = {}
        for variable in map(str, dataset.variables):
            arrays += 1
            size += dataset[variable].nbytes
            try:
                known[variable] = _digests(dataset[variable])
            # A flipped bit shows as whatever the codec, the index or the store says of it.
            except Exception as fault:
                unreadable.append(f"{group}/{variable} cannot be read: {first_line(fault)}")
        if len(known) == len(dataset.variables):
            found[group] = dataset_digest(dataset, known)
    changed = _changed(run, found, bare=BARE.get(store.kind.name, ()))
    try:
        published = store.published(run.run_id)
    except ManifestDamaged as fault:
        changed.append(first_line(fault))
    else:
        if published.manifest != published.committed:
            changed.append(
                "the manifest beside the arrays is not the one that was committed with them, of "
                "which lists of runs are made"
            )
    return Reread(arrays, size, unreadable, changed, len(run.manifest["digests"]))


def _digests(array: xr.DataArray) -> bytes:
    if array.ndim == 0:
        return run_digests(array.values.reshape(1))
    starts = range(0, array.shape[0], READ_ROWS)
    return b"".join(run_digests(array[at : at + READ_ROWS].values) for at in starts)


def _changed(run: StoredRun, found: dict[str, str], bare: Collection[str]) -> list[str]:
    said: dict[str, str] = run.manifest["digests"]
    changed = [
        f"the manifest has no digest of {group}"
        for group in run.groups
        if group not in said and group not in bare
    ]
    changed += [
        f"{group} has digest {found[group][:12]}, the manifest says {digest[:12]}"
        for group, digest in said.items()
        if group in found and found[group] != digest
    ]
    whole = text_digest(*(f"{name}={said[name]}" for name in sorted(said)))
    if whole != run.manifest["digest"]:
        changed.append(
            f"the digests of the manifest come to {whole[:12]}, it says "
            f"{run.manifest['digest'][:12]}"
        )
    return changed
