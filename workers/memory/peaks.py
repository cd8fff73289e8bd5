"""What was taken: the peak of this process, and of it and everything it started."""

import threading
from pathlib import Path
from types import TracebackType

import psutil

SAMPLE_SECONDS = 0.5


class PeakMemory:
    """Samples the memory of this process and everything it started, shared pages counted once.

    Asking a process for its share of shared pages walks all its pages, so that is done only when
    the processes have grown since it was last done.
    """

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
        highest = 0
        while not self._stop.is_set():
            processes = _tree()
            resident = sum(_bytes_of(process, "rss") for process in processes)
            if resident > highest:
                highest = resident
                shared_once = sum(_bytes_of(process, "pss") for process in processes)
                self.peak_bytes = max(self.peak_bytes, shared_once)
            self._stop.wait(SAMPLE_SECONDS)


def tree_bytes() -> int:
    """Return what this process and everything it started take now, shared pages counted once."""
    return sum(_bytes_of(process, "pss") for process in _tree())


def process_peak_bytes() -> int:
    """Return the most that this process has had resident since it began.

    It is read where the kernel counts for this program alone: what ``getrusage`` says begins at
    the peak of the process that started it.
    """
    lines = Path("/proc/self/status").read_text().splitlines()
    peak = next(line for line in lines if line.startswith("VmHWM:"))
    return int(peak.split()[1]) * 1024


def _tree() -> list[psutil.Process]:
    me = psutil.Process()
    return [me, *me.children(recursive=True)]


def _bytes_of(process: psutil.Process, kind: str) -> int:
    """Return the ``rss`` or the ``pss`` of a process, none of one that has ended."""
    try:
        found = process.memory_info() if kind == "rss" else process.memory_full_info()
    except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
        return 0
    return int(getattr(found, kind))
