"""Which store a run of any kind is in."""

from collections.abc import Iterator
from pathlib import Path

from flows.settings import Settings
from storage.arrays import MARGIN, POOL, REVERSE, STRESS, RunKind
from storage.faults import require_settled
from storage.objects import S3Folder
from storage.runs import RunStore, UnknownRun


def stores(settings: Settings) -> Iterator[RunStore]:
    """Yield the stores of margin, collateral, stress and reverse stress runs that are there.

    Raises:
        StoreFailed: a restore has moved one aside.
    """
    for place, kind in (
        (settings.runs, MARGIN),
        (settings.pools, POOL),
        (settings.stresses, STRESS),
        (settings.reverses, REVERSE),
    ):
        if is_there(place):
            yield RunStore(place, kind)


def is_there(place: Path | S3Folder) -> bool:
    """Tell whether runs may be found at a place.

    Raises:
        StoreFailed: a restore has moved them aside.
    """
    if isinstance(place, S3Folder):
        return True
    require_settled(place)
    return place.is_dir()


def store_at(place: Path | S3Folder, kind: RunKind) -> RunStore:
    """Return the store of a kind of run at a place, where there is one.

    Raises:
        StoreFailed: a restore has moved it aside.
        UnknownRun: nothing is there.
    """
    if not is_there(place):
        raise UnknownRun(f"no folder of {kind.name} runs at {place}; give the one that has them")
    return RunStore(place, kind)


def store_of(settings: Settings, name: str) -> tuple[RunStore, str]:
    """Return the store that holds a run, and the run's whole name; latest is of margin runs.

    Raises:
        UnknownRun: no store holds a run of that name, or one holds several.
    """
    if name == "latest":
        store = store_at(settings.runs, MARGIN)
        return store, store.resolve(name)
    said = []
    for store in stores(settings):
        try:
            return store, store.resolve(name)
        except UnknownRun as fault:
            if "ambiguous" in str(fault):
                raise
            said.append(str(fault))
    raise UnknownRun("; ".join(said) or f"no run {name!r}; there is no folder of runs yet")
