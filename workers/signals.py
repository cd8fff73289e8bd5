"""Signals beside a library that has ways of its own with them, as Ray's has."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def signals_later() -> Iterator[None]:
    """Let the handlers of signals run after the body, which is a call to such a library.

    Within one it loses what a handler raises, or makes an exit with 1 of it.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    noted: list[tuple[int, Any]] = []

    def note(number: int, frame: Any) -> None:
        noted.append((number, frame))

    handlers = {
        one: signal.signal(one, note) or signal.SIG_DFL for one in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for one, handler in handlers.items():
            signal.signal(one, handler)
    for number, frame in noted:
        handler = handlers[signal.Signals(number)]
        if callable(handler):
            handler(number, frame)
        else:
            signal.raise_signal(number)


def keep_sigterm(handler: Any = None) -> None:
    """Let SIGTERM call the handler, or else what Python has it call; in the main thread alone.

    Ray's library gets the signal before Python, and aborts the process three seconds later, however
    far it is in giving back what it holds. When it goes it leaves the system's default behind.
    """
    if not callable(handler):  # who had none has Ray's, which exits
        handler = signal.getsignal(signal.SIGTERM)
    if handler is not None and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, handler)
