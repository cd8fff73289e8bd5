"""Memory: what a run will need of each worker, and what all its processes took."""

import threading
from types import TracebackType

import psutil

SAMPLE_SECONDS = 0.5


class TooLargeForMemory(ValueError):
    """A plan that does not fit into the memory of this machine."""


def projected_bytes(
    *, instruments: int, scenarios: int, shard_accounts: int, positions_per_account: float
) -> int:
    """Return an upper bound of what one margin task allocates.

    The cube is mapped, not copied, but is counted; each position costs its row as read, sorted
    and filtered; each account its result arrays; each block its scenario sums.

    >>> projected_bytes(
    ...     instruments=900, scenarios=1_500, shard_accounts=65_536, positions_per_account=10.0
    ... ) < 400_000_000
    True
    """
    cube = 8 * instruments * scenarios
    positions = int(shard_accounts * positions_per_account) * 120
    accounts = shard_accounts * 600
    blocks = (shard_accounts // 4_096 + 1) * 8 * (instruments + 4 * scenarios)
    return cube + positions + accounts + blocks


def require_room(per_worker: int, workers: int, available: int) -> None:
    """Refuse a plan whose workers together need more than is available.

    Raises:
        TooLargeForMemory: with the numbers, and what to do.
    """
    if per_worker * workers > available:
        raise TooLargeForMemory(
            f"the plan needs {per_worker / 1e9:.2f} GB for each of {workers} workers, "
            f"{available / 1e9:.2f} GB are available; use more shards (each is smaller), "
            "or fewer workers"
        )


def available_bytes() -> int:
    """Return the memory that new work can take without swapping."""
    return int(psutil.virtual_memory().available)


class PeakMemory:
    """Samples the proportional memory of this process and everything it started."""

    def __init__(self) -> None:
        self.peak_bytes = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="memory", daemon=True)

    def __enter__(self) -> "PeakMemory":
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.is_set():
            self.peak_bytes = max(self.peak_bytes, _tree_bytes())
            self._stop.wait(SAMPLE_SECONDS)


def _tree_bytes() -> int:
    me = psutil.Process()
    total = 0
    for process in [me, *me.children(recursive=True)]:
        try:
            total += process.memory_full_info().pss
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
    return total
