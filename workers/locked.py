"""A run that one process at a time works on."""

import contextlib
from types import TracebackType
from typing import Self

from storage.runs import RunStore


class LockedRun:
    """A run in progress; a context, until whose end no other process can work on the run."""

    def __init__(self) -> None:
        self._lock = contextlib.ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let another process work on the run; a fault of the store becomes a sentence."""
        self._lock.__exit__(kind, error, trace)

    def taken(self, store: RunStore, run_id: str) -> bool:
        """Take a run for this process; return whether it is published already.

        Raises:
            AlreadyLocked: another process works on this very run.
        """
        self.run_id = run_id
        self._lock.enter_context(store.run_lock(run_id))
        return store.is_published(run_id)
