"""Tasks that every run has, and what Prefect does where one fails.

A run in progress is passed by reference: nothing of it is hashed, cached or stored by Prefect.
"""

from collections.abc import Callable
from typing import Any, Protocol

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State

from flows.settings import Settings
from storage.locks import AlreadyLocked
from storage.signature import Signer
from workers.engine import TaskLost, WorkersDiffer
from workers.memory import PeakMemory
from workers.quarantine import TooMuchHeldBack


class Published(Protocol):
    """A run that is planned first and made visible last."""

    def prepare(self) -> bool:
        """Plan; return whether the run is published already."""

    def publish(
        self, peak_memory: Callable[[], int] = int, signer: Signer | None = None
    ) -> dict[str, Any]:
        """Make the run visible; return its manifest."""


def _may_pass(_task: Any, _run: Any, state: State[Any]) -> bool:
    """Tell whether a fault may be gone at the next try.

    A lock that another took and a limit stay, and what was tried often enough is not tried again.
    """
    final = (AlreadyLocked, TaskLost, TooMuchHeldBack, WorkersDiffer)
    return not isinstance(state.result(raise_on_failure=False), final)


TRIED_AGAIN: dict[str, Any] = {
    "retries": 2,
    "retry_delay_seconds": 1,
    "retry_condition_fn": _may_pass,
    "cache_policy": NO_CACHE,
    "persist_result": False,
}
"""Options of a task whose fault may be gone at the next try."""


@task(name="prepare", cache_policy=NO_CACHE, persist_result=False)
def prepare(run: Published) -> bool:
    """Open, check and plan; tell whether the run is published already."""
    return run.prepare()


@task(name="publish", **TRIED_AGAIN)
def publish(run: Published, memory: PeakMemory, settings: Settings) -> dict[str, Any]:
    """Verify, and make the run visible."""
    return run.publish(lambda: memory.peak_bytes, settings.signer())
