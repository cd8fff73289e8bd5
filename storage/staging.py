"""A run while it is being written: a branch that nobody reads until it is whole.

Workers write their own chunks into forks of one session. The coordinator merges the forks and
commits them to the run's staging branch, which is also the checkpoint that a later process goes
on from. Publishing adds a tag, moves ``main`` to it and drops the branch.
"""

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import icechunk
import numpy as np
import xarray as xr
import zarr
from numpy.typing import NDArray
from xarray import conventions
from zarr import AsyncGroup
from zarr.abc.codec import BytesBytesCodec
from zarr.api import asynchronous
from zarr.codecs import Crc32cCodec, ZstdCodec
from zarr.core.sync import sync

from storage.arrays import RunKind, Variable
from storage.digest import json_digest
from storage.faults import COMMIT_SECONDS, within
from storage.locks import AlreadyLocked
from storage.manifests import DIGEST, MANIFEST
from storage.rows import StoredRows


def _codecs(dtype: np.dtype[Any]) -> tuple[BytesBytesCodec, ...]:
    """Return how chunks are written: with a checksum, and packed where that saves much.

    A flipped bit in a chunk without a checksum is read back as a number. Amounts of money shrink
    by a quarter and cost twice the time.
    """
    return (Crc32cCodec(),) if dtype.kind == "f" else (ZstdCodec(level=1), Crc32cCodec())


@dataclass(frozen=True, slots=True)
class Layout:
    """Lengths of a run's dimensions, how they are cut into chunks, and the labels along them.

    Arrays are cut along their first dimension only. One worker writes one chunk, so ``chunks``
    is also how the work is cut.
    """

    sizes: Mapping[str, int]
    chunks: Mapping[str, int]
    labels: Mapping[str, Sequence[str]]

    def to_json(self) -> str:
        """Return it as text that is equal when the layouts are."""
        return json.dumps(
            {
                "sizes": dict(self.sizes),
                "chunks": dict(self.chunks),
                "labels": {name: list(label) for name, label in self.labels.items()},
            },
            sort_keys=True,
        )


class Fork:
    """A worker's share of a session: it travels to the worker, is written to, and comes back."""

    def __init__(self, session: icechunk.ForkSession) -> None:
        self._session = session

    def write(self, group: str, arrays: Mapping[str, NDArray[np.generic]], start: int) -> None:
        """Write rows ``start:`` of arrays of a group; they must be whole chunks.

        Raises:
            ValueError: the rows do not start and end on chunk borders, or there are too many.
        """
        sync(self._write(group, arrays, start))

    async def _write(
        self, group: str, arrays: Mapping[str, NDArray[np.generic]], start: int
    ) -> None:
        """Write all arrays at once, for most of a write is waiting."""
        opened = await asyncio.gather(
            *(
                asynchronous.open_array(
                    store=self._session.store, path=f"{group}/{name}", mode="r+"
                )
                for name in arrays
            )
        )
        for (name, values), array in zip(arrays.items(), opened, strict=True):
            chunk, length, stop = array.chunks[0], array.shape[0], start + len(values)
            if stop > length:
                raise ValueError(f"{group}/{name} has {length} rows; {start}:{stop} are not there")
            if start % chunk or (stop % chunk and stop != length):
                raise ValueError(
                    f"{group}/{name}: rows {start}:{stop} cut a chunk of {chunk} rows; "
                    "two writers of one chunk lose one of the writes"
                )
        await asyncio.gather(
            *(
                array.setitem(slice(start, start + len(values)), values)
                for array, values in zip(opened, arrays.values(), strict=True)
            )
        )

    def __getstate__(self) -> icechunk.ForkSession:
        return self._session

    def __setstate__(self, session: icechunk.ForkSession) -> None:
        self._session = session


class StagedRun:
    """The staging branch of one run; made by ``RunStore.stage``."""

    def __init__(
        self,
        repository: icechunk.Repository,
        branch: str,
        kind: RunKind,
        commit_lock: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._repository = repository
        self.branch = branch
        self._kind = kind
        self._commit_lock = commit_lock
        self._session = repository.writable_session(branch)

    @staticmethod
    def lay_out(
        repository: icechunk.Repository, branch: str, kind: RunKind, layout: Layout, key: str
    ) -> None:
        """Allocate every array of a run on an empty branch and commit the template."""
        session = repository.writable_session(branch)
        root = zarr.create_group(session.store, attributes={"layout": layout.to_json(), "key": key})
        for group, variables in kind.written.items():
            for variable in variables:
                root.create_array(
                    f"{group}/{variable.name}",
                    shape=tuple(layout.sizes[dim] for dim in variable.dims),
                    chunks=_chunks(variable, layout),
                    dtype=variable.dtype,
                    fill_value=variable.fill,
                    compressors=_codecs(np.dtype(variable.dtype)),
                    dimension_names=variable.dims,
                    attributes={"units": variable.unit, "long_name": variable.meaning},
                )
            dims = {dim for variable in variables for dim in variable.dims}
            for dim in sorted(dims & set(layout.labels)):
                labels = np.array(list(layout.labels[dim]), dtype=object)
                array = root.create_array(
                    f"{group}/{dim}",
                    shape=labels.shape,
                    chunks=labels.shape,
                    dtype=str,
                    compressors=_codecs(labels.dtype),
                    dimension_names=(dim,),
                )
                array[:] = labels
        session.commit("template", metadata={"key": key})

    @property
    def layout_json(self) -> str:
        """The layout that the branch was made with."""
        return str(zarr.open_group(self._session.store, mode="r").attrs["layout"])

    def continues(self, layout: Layout) -> bool:
        """Tell whether the branch was cut like that, and every label on it can be read."""
        try:
            if self.layout_json != layout.to_json():
                return False
            for group, variables in self._kind.written.items():
                dims = {dim for variable in variables for dim in variable.dims}
                for dim in dims & set(layout.labels):
                    path = f"{group}/{dim}"
                    np.asarray(zarr.open_array(store=self._session.store, path=path, mode="r")[:])
        except (ValueError, RuntimeError, icechunk.IcechunkError):
            return False
        return True

    def written(self, group: str) -> set[int]:
        """Return the first rows of the chunks of a group that are committed and read in full.

        What is damaged or gone meanwhile counts as not written, so that it is computed again.
        """
        store, kind = self._session.store, self._kind
        marker = zarr.open_array(store=store, path=f"{group}/{kind.markers[group]}", mode="r")
        # What has no marker of its own is written together with the accounts, chunk by chunk.
        unmarked = kind.written.keys() - kind.markers.keys() if group == "accounts" else ()
        stored = {name: stored_rows(store, name, kind) for name in (group, *unmarked)}
        found = set()
        for number, start in enumerate(range(0, marker.shape[0], marker.chunks[0])):
            try:
                first = np.asarray(marker[(start,) + (0,) * (marker.ndim - 1)])
                if np.isnan(first) if first.dtype.kind == "f" else first == marker.fill_value:
                    continue
                for rows in stored.values():
                    rows.chunk(number)
            except (ValueError, RuntimeError, icechunk.IcechunkError):
                # By a wrong checksum, a length that does not unpack, a chunk that is not there.
                continue
            found.add(start)
        return found

    def fork(self) -> Fork:
        """Return a fork for workers to write to; nothing else may be written meanwhile."""
        return Fork(self._session.fork())

    def checkpoint(self, forks: Iterable[Fork], message: str) -> None:
        """Merge what workers wrote and commit it to the staging branch.

        Where that fails, nothing of it is kept, and the workers may write again.

        Raises:
            AlreadyLocked: another process goes on with the run, or has published it.
        """
        try:
            self._session.merge(*(fork.__getstate__() for fork in forks))
            self._commit(message, {})
        finally:
            within(COMMIT_SECONDS, self._go_on)

    def _go_on(self) -> None:
        if self.branch not in self._repository.list_branches():
            raise AlreadyLocked(f"{self.branch} is gone: another process published the run")
        self._session = self._repository.writable_session(self.branch)

    def read(self, group: str) -> xr.Dataset:
        """Return a group as committed so far, lazily; it may travel to another process."""
        return open_group(self._repository.readonly_session(branch=self.branch).store, group)

    def rows(self, group: str) -> StoredRows:
        """Return the arrays of a group as committed so far, for reading many rows of all."""
        store = self._repository.readonly_session(branch=self.branch).store
        return stored_rows(store, group, self._kind)

    def finish(
        self,
        datasets: Mapping[str, xr.Dataset],
        manifest: Mapping[str, Any],
        signature: Mapping[str, str] | None = None,
    ) -> str:
        """Write the small groups and the manifest, commit, and return the snapshot's name."""
        self._session = self._repository.writable_session(self.branch)
        for group, dataset in datasets.items():
            sync(_write_group(self._session.store, group, dataset))
        root = zarr.open_group(self._session.store, mode="r+")
        digest = json_digest(manifest)
        root.attrs[MANIFEST], root.attrs[DIGEST] = dict(manifest), digest
        if signature is not None:
            root.attrs["signature"] = dict(signature)
        return self._commit("finished", {MANIFEST: json.dumps(manifest), DIGEST: digest})

    def _commit(self, message: str, metadata: dict[str, Any]) -> str:
        with self._commit_lock():
            try:
                # On a disk a commit ends or fails; a store may let it wait for ever.
                return within(
                    COMMIT_SECONDS, lambda: self._session.commit(message, metadata=metadata)
                )
            except icechunk.ConflictError:
                raise AlreadyLocked(
                    f"another process committed to {self.branch}; it goes on from there"
                ) from None


async def _write_group(store: icechunk.IcechunkStore, group: str, dataset: xr.Dataset) -> None:
    """Write a small group, each array as one chunk, in the way that ``xr.open_zarr`` reads.

    All arrays at once, for most of a write is waiting.
    """
    variables, attributes = conventions.encode_dataset_coordinates(dataset)
    root = await asynchronous.create_group(
        store=store, path=group, overwrite=True, zarr_format=3, attributes=dict(attributes)
    )
    await asyncio.gather(
        *(_write_variable(root, str(name), variable) for name, variable in variables.items())
    )


async def _write_variable(root: AsyncGroup, name: str, variable: xr.Variable) -> None:
    is_text = variable.dtype.kind in "OTU"
    encoded = variable if is_text else conventions.encode_cf_variable(variable, name=name)
    array = await root.create_array(
        name,
        shape=variable.shape,
        # Texts are of variable length, the form zarr has a standard for.
        dtype=str if is_text else encoded.dtype,
        chunks=tuple(max(length, 1) for length in variable.shape),
        fill_value=_fill(variable.dtype),
        compressors=_codecs(variable.dtype),
        dimension_names=[str(dim) for dim in variable.dims],
        attributes={key: value for key, value in encoded.attrs.items() if key != "_FillValue"},
    )
    values = encoded.values
    if values.size:
        await array.setitem(..., values.astype(object) if is_text else values)


def _fill(dtype: np.dtype[Any]) -> float | int | None:
    """Return what is read where nothing was written, which says of itself that it is missing.

    Instants are stored as integers, and the least of these is no instant.
    """
    if dtype.kind == "f":
        return np.nan
    stored = np.dtype(np.int64) if dtype.kind == "M" else dtype
    return int(np.iinfo(stored).min) if stored.kind == "i" else None


def _chunks(variable: Variable, layout: Layout) -> tuple[int, ...]:
    first, *others = variable.dims
    return (layout.chunks[first], *(layout.sizes[dim] for dim in others))


def open_group(store: icechunk.IcechunkStore, group: str) -> xr.Dataset:
    """Open one group of a run lazily; its arrays are read when their values are asked for."""
    dataset: xr.Dataset = xr.open_zarr(
        store, group=group, consolidated=False, chunks=None, zarr_format=3
    )
    return dataset


def stored_rows(store: icechunk.IcechunkStore, group: str, kind: RunKind) -> StoredRows:
    """Open the arrays of a group that workers write, for reading many rows of all."""
    return StoredRows(store, group, [variable.name for variable in kind.written[group]])
