"""Repositories of runs, copied so that they are whole at every moment.

Objects of a repository never change once they are written; only its references do. So objects are
copied first and references last, under the lock that commits take. References of the copy before
are kept beside the new ones until they are forgotten or put back.
"""

import filecmp
import shutil
from pathlib import Path

from storage.backup_inputs import copy_file
from storage.history import HISTORY
from storage.locks import exclusive

REFERENCES = "refs"
PART_WRITTEN = "#"
"""What stands in the name of an object of a repository until all of it is written."""


def copy_repository(place: Path, target: Path, *, anew: bool = False) -> None:
    """Copy what a repository holds, its references last and with nobody committing.

    What is there in the same size is taken for copied, or compared and copied ``anew``.
    """
    _copy_objects(place / "repository", target / "repository", anew=anew, at_rest=False)
    with exclusive(place / "locks" / "history"), exclusive(place / "locks" / "commit"):
        copy_at_rest(place, target, anew=anew)


def copy_at_rest(place: Path, target: Path, *, anew: bool = False) -> None:
    """Copy what a repository holds that nobody commits to, without a lock written there."""
    _copy_objects(place / "repository", target / "repository", anew=anew, at_rest=True)
    coming = target / f".{REFERENCES}.writing"
    shutil.rmtree(coming, ignore_errors=True)
    shutil.copytree(place / "repository" / REFERENCES, coming)
    if not has_references_before(target) and _references(target).is_dir():
        _references(target).rename(_before(target))
    _replace_references(target, coming)
    if (place / HISTORY).is_file():
        copy_file(place / HISTORY, target / HISTORY)


def has_references_before(target: Path) -> bool:
    """Tell whether the references of the copy before are kept."""
    return _before(target).is_dir()


def put_back_references(target: Path) -> None:
    """Let a copy show what the copy before showed."""
    _replace_references(target, _before(target))


def forget_references(target: Path) -> None:
    """Delete the references of the copy before."""
    shutil.rmtree(_before(target), ignore_errors=True)


def _references(target: Path) -> Path:
    return target / "repository" / REFERENCES


def _before(target: Path) -> Path:
    return target / f".{REFERENCES}.before"


def _replace_references(target: Path, coming: Path) -> None:
    """Put references in place, so that never some of them are there."""
    gone = target / f".{REFERENCES}.gone"
    shutil.rmtree(gone, ignore_errors=True)
    if _references(target).is_dir():
        _references(target).rename(gone)
    coming.rename(_references(target))
    shutil.rmtree(gone, ignore_errors=True)


def _copy_objects(place: Path, target: Path, *, anew: bool, at_rest: bool) -> None:
    """Copy objects; unless it is ``at_rest``, one may be removed before its turn comes."""
    for path in sorted(place.rglob("*")):
        inside = path.relative_to(place)
        if PART_WRITTEN in path.name or inside.parts[0] == REFERENCES or path.is_dir():
            continue
        try:
            if not _is_copied(path, target / inside, anew=anew):
                copy_file(path, target / inside)
        except FileNotFoundError:
            if at_rest or path.exists():
                raise


def _is_copied(path: Path, copied: Path, *, anew: bool) -> bool:
    if not copied.is_file() or copied.stat().st_size != path.stat().st_size:
        return False
    return not anew or filecmp.cmp(path, copied, shallow=False)
