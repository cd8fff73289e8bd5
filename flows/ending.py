"""The signal that ends a command from outside, noticed also where a library swallows its error.

What the handler of a signal raises may come up in the middle of anything, also of an import that
catches all there is, or of a finalizer. Python writes the number of each signal to a file, whoever
handles it, and between two steps of its work a command looks there.
"""

import os
import signal
import sys

from workers.stages import Observer

EXIT_ENDED = 128 + signal.SIGTERM

_reader, _writer = os.pipe()
os.set_blocking(_reader, False)
os.set_blocking(_writer, False)


def watch_signals() -> None:
    """Let Python note every signal from here on; for the main thread."""
    signal.set_wakeup_fd(_writer, warn_on_full_buffer=False)


def leave_if_told() -> None:
    """Leave where this command was told to end, and goes on all the same."""
    try:
        told = os.read(_reader, 4_096)
    except BlockingIOError:
        return
    if signal.SIGTERM in told:
        sys.exit(EXIT_ENDED)


class Leaving:
    """An observer that lets a run leave between two steps, where it is told to."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer

    def begin(self, stage: str, total: int, unit: str) -> None:
        """Leave, or begin the stage."""
        leave_if_told()
        self._observer.begin(stage, total, unit)

    def advance(self, items: int) -> None:
        """Leave, or go on."""
        leave_if_told()
        self._observer.advance(items)

    def end(self) -> None:
        """End the stage."""
        self._observer.end()
