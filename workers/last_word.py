"""A word for a process whose end lets it say none."""

import subprocess
import weakref

SCRIPT = 'read told || printf "%s\\n" "$0" >&2'


class LastWord:
    """A shell that prints a line on standard error when this process ends without ``unsaid``.

    It reads from a pipe that nobody writes to: the system closes that at any end of the process,
    also at a kill, or where a library exits below Python.
    """

    def __init__(self, line: str) -> None:
        shell = subprocess.Popen(
            ["/bin/sh", "-c", SCRIPT, line],
            stdin=subprocess.PIPE,
            start_new_session=True,  # what interrupts this process lets the shell be
        )
        # An end in order, by an error or not, is Python's to tell of.
        self._finalizer = weakref.finalize(self, _release, shell)

    def unsaid(self) -> None:
        """Let the shell go without a word."""
        self._finalizer()


def _release(shell: "subprocess.Popen[bytes]") -> None:
    shell.communicate(b"\n")
