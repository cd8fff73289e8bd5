"""What may be taken: the least of what the machine and the containers around a process leave."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from workers.memory.peaks import tree_bytes

CONTROL_GROUPS = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")


@dataclass(frozen=True, slots=True)
class Limit:
    """The most that may be taken, bytes, and what sets it."""

    size: int
    of: str


@dataclass(frozen=True, slots=True)
class Room:
    """A machine that a run takes memory of, and the limit on all that it takes there.

    So many ``workers`` do a task each at once, in processes of their own or as threads of the
    process that leads the run. ``folding`` is how many folds that one does at once, none where
    it is elsewhere.
    """

    limit: Limit
    workers: int
    processes: bool = False
    folding: int = 1


def room_here(workers: int, *, processes: bool = False, folding: int = 1) -> Room:
    """Return the room of this machine for a run that this process leads.

    What this process and those that it started have taken already is within the limit.
    """
    # Taken first: what is started meanwhile is then missing on both sides, never counted twice.
    taken = tree_bytes()
    left = least_left()
    return Room(Limit(taken + left.size, left.of), workers, processes, folding)


def least_left(groups: Path = CONTROL_GROUPS, membership: Path = MEMBERSHIP) -> Limit:
    """Return what new work can take without swapping, or being killed by a container's limit."""
    machine = Limit(int(psutil.virtual_memory().available), "machine")
    limits = [machine, *_left_in_groups(groups, membership)]
    return min(limits, key=lambda limit: limit.size)


def _left_in_groups(groups: Path, membership: Path) -> Iterator[Limit]:
    """Yield what the memory limits of this process's control groups leave, innermost first."""
    lines = membership.read_text().splitlines() if membership.exists() else []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            names = ("memory.max", "memory.current", "inactive_file")
            root = groups
        elif "memory" in controllers.split(","):
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
            root = groups / "memory"
        else:
            continue
        inner = root / path.lstrip("/")
        # In a container the group may be mounted as the root, and its path not be there.
        for folder in (inner, *inner.parents):
            if folder.is_relative_to(root):
                yield from _left_in_group(folder, *names)


def _left_in_group(folder: Path, most: str, taken: str, reclaimable: str) -> Iterator[Limit]:
    """Yield what one group leaves, where it has a limit; cached files give way to new work."""
    if not (folder / most).exists() or (limit := (folder / most).read_text().strip()) == "max":
        return
    statistics = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
    used = int((folder / taken).read_text()) - int(statistics.get(reclaimable, 0))
    yield Limit(max(0, int(limit) - used), "container")
