"""What a verification checked, and what it found."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr

from risk.summation import BLOCK_ACCOUNTS
from storage.book import Book
from storage.faults import first_line
from storage.runs import Run, RunStore, StoredRun
from storage.verification import read_again
from workers.code_version import code_version
from workers.shards import Shard, cut


@dataclass(frozen=True)
class Check:
    """One thing that was checked: how much of it, and each difference in a sentence."""

    name: str
    checked: str
    differences: list[str] = field(default_factory=list)


def differences(checks: Sequence[Check]) -> list[str]:
    """Return every difference that was found."""
    return [one for check in checks for one in check.differences]


def checked_run(
    store: RunStore, name: str, further: Callable[[StoredRun], list[Check]]
) -> list[Check]:
    """Return the checks that runs of any kind are put to, every array and digest, and ``further``.

    What is so damaged that these cannot even begin is a difference too.

    Raises:
        UnknownRun: no run of that name has been published.
    """
    run = store.read(name)
    read = read_again(store, run.run_id)
    checks = [
        Check("arrays", f"{read.arrays} read, {read.bytes:,} bytes", read.unreadable),
        Check("digests", f"{read.digests} groups, and the manifest", read.changed),
    ]
    try:
        return [*checks, *further(run)]
    except Exception as fault:  # as in ``attempted``
        return [*checks, Check("the rest", "not checked", [f"the rest: {first_line(fault)}"])]


def drawn_block(accounts: int, seed: int) -> tuple[Shard, str]:
    """Draw a block of all accounts of a run; return it, and how it is told.

    >>> drawn_block(5_000, seed=1)
    (Shard(index=0, start=0, stop=4096), '1 of 2 drawn with seed 1, 4,096 accounts')
    """
    blocks = cut(accounts, BLOCK_ACCOUNTS)
    block = blocks[int(np.random.default_rng(seed).integers(len(blocks)))]
    size = block.stop - block.start
    return block, f"1 of {len(blocks):,} drawn with seed {seed}, {size:,} accounts"


def attempted(name: str, checked: str, check: Callable[[], list[str]]) -> Check:
    """Return a check that may fail to be made at all, which is a difference too."""
    try:
        return Check(name, checked, check())
    # What is damaged or gone ends in one error or another, and the other checks go on.
    except Exception as fault:
        return Check(name, "not checked", [f"{name}: {first_line(fault)}"])


def unlike(what: str, stored: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """Return where what the manifest says is not there, or not what it is made again.

    >>> unlike("totals", {"accounts": 3, "equity": 1.0}, {"accounts": 2, "equity": 1.0, "held": 0})
    ['totals: accounts is 3, made again it is 2', 'totals: held is not there, made again it is 0']
    """
    return [
        f"{what}: {name} is {repr(stored[name]) if name in stored else 'not there'}, made again it "
        f"is {value!r}"
        for name, value in found.items()
        if name not in stored or not _same(stored[name], value)
    ]


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float) and math.isnan(one):
        return math.isnan(other)
    return bool(one == other)


def unlike_inputs(
    stored: Mapping[str, Mapping[str, Any]], found: Mapping[str, Mapping[str, Any]]
) -> list[str]:
    """Return where the manifest says otherwise of its inputs than they do, but for their paths."""
    return [
        one
        for name, said in found.items()
        for one in unlike(
            f"inputs/{name}",
            stored.get(name, {}),
            {key: value for key, value in said.items() if key != "path"},
        )
    ]


def misnamed(run: Run | StoredRun, key: str, book: Book, kind: str = "") -> list[str]:
    """Return where key, day and name of a run are not those that its inputs make.

    ``kind`` is what stands in names of its kind before the key.
    """
    name = f"{book.name}-{book.as_of:%Y%m%d}-{kind}{key[:12]}"
    made = {"key": key, "run_id": name, "as_of": book.as_of.isoformat()}
    found = unlike("manifest", run.manifest, made)
    if run.run_id != name:
        found.append(f"inputs: they make run {name}, it is published as {run.run_id}")
    return found


def made_by(manifest: Mapping[str, Any]) -> str:
    """Return what to say of a difference where other code made the run, else nothing."""
    version = manifest["code_version"]
    return "" if version == code_version() else f" (code {version[:12]} made the run)"


def apart(
    group: str, stored: xr.Dataset, again: xr.Dataset, each: float = 0.0, largest: float = 0.0
) -> list[str]:
    """Return the arrays of a group that are not the same when they are made again.

    To the bit, but that floats may be off by a part of ``each`` number and of the ``largest`` of
    its array.

    >>> one, other = (xr.Dataset({"sold": ("scenario", [1.0, sold])}) for sold in (2.0, 3.0))
    >>> apart("totals", one, one)
    []
    >>> apart("totals", one, other)
    ['totals/sold is 2.0 where it is 3.0 made again (1 such)']
    """
    found = [
        f"{group}/{name} is in the run and not in what is made again"
        for name in stored.data_vars
        if name not in again.variables
    ]
    for name in map(str, again.variables):
        if name not in stored.variables:
            found.append(f"{group}/{name} is made again and not in the run")
            continue
        one, other = np.asarray(stored[name].values), np.asarray(again[name].values)
        if one.shape != other.shape:
            found.append(f"{group}/{name} has shape {one.shape}, made again it is {other.shape}")
            continue
        same = np.asarray(one == other)
        if one.dtype.kind == other.dtype.kind == "f":
            scale = np.abs(other[np.isfinite(other)]).max(initial=0.0)
            same |= np.isclose(one, other, rtol=each, atol=largest * scale, equal_nan=True)
        elif one.dtype.kind == other.dtype.kind == "M":
            same |= np.isnat(one) & np.isnat(other)
        wrong = np.flatnonzero(~same)
        if len(wrong):
            seen, made = (values.ravel()[wrong[:1]].tolist()[0] for values in (one, other))
            found.append(
                f"{group}/{name} is {seen!r} where it is {made!r} made again ({len(wrong):,} such)"
            )
    return found
