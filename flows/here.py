"""Run a flow in this process: Prefect's server and the engines start while the flow is imported."""

import contextlib
import logging
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from flows.settings import Settings

if TYPE_CHECKING:
    from storage.runs import RunStore

Result = TypeVar("Result")


def run_here(settings: Settings, load: Callable[[], Callable[[], Result]]) -> Result:
    """Return what a flow returns; ``load`` imports the flow and returns it, ready to be called.

    Progress is drawn on standard error from the first moment on.

    Raises:
        ServerGone: Prefect's server stopped answering; what was committed is kept.
    """
    from flows.commands.shared import MESSAGES
    from flows.embedded import EmbeddedServer, ServerGone
    from flows.ending import Leaving
    from flows.engines import Engines
    from flows.progress import TerminalProgress, observing

    with (
        TerminalProgress(MESSAGES) as progress,
        # Ray says there what it notices, such as a node that is gone; results are printed after.
        contextlib.redirect_stdout(sys.stderr),
        EmbeddedServer() as server,
        Engines(settings),
    ):
        with progress.waiting("start the engines"):
            from httpx import HTTPStatusError, TransportError
            from prefect.settings import (
                PREFECT_API_AUTH_STRING,
                PREFECT_API_URL,
                temporary_settings,
            )

            flow = load()
            # What cannot be told to a server that is gone is no news: ``ServerGone`` says it.
            logging.getLogger("prefect._internal.concurrency").addFilter(_nothing)
            url, ours = server.url()
            password = {PREFECT_API_AUTH_STRING: server.auth_string} if ours else {}
        with observing(Leaving(progress)), temporary_settings({PREFECT_API_URL: url, **password}):
            progress.begin("start the flow", 1, "")  # until its first stage begins
            try:
                result = flow()
            except (TransportError, HTTPStatusError, RuntimeError) as error:
                said = _said_of_server(error)
                if said is None:
                    raise
                raise ServerGone(
                    f"Prefect's server at {url} {said}; what was computed until its last "
                    "checkpoint is kept, run it again to go on from there"
                ) from error
        progress.begin("close the engines", 1, "")  # until the context ends
        server.release()
        return result


def _said_of_server(error: Exception) -> str | None:
    """Return what is wrong with Prefect's server, or nothing where an error is not of it."""
    from httpx import HTTPStatusError, TransportError

    if isinstance(error, HTTPStatusError):
        code = error.response.status_code
        if code in (401, 403):
            return f"lets nobody in ({code}): see PREFECT_API_AUTH_STRING, or PREFECT_API_KEY"
        return f"answers with {code}"
    if isinstance(error, TransportError):
        return f"stopped answering ({error})"
    # What Prefect raises where its first call fails, of no class of its own.
    if str(error).startswith("Failed to reach API"):
        return "does not answer, or not as it should: see PREFECT_API_URL"
    return None


def _nothing(_: logging.LogRecord) -> bool:
    return False


def published_or_run(
    store: "RunStore",
    run_id: str,
    settings: Settings,
    load: Callable[[], Callable[[], dict[str, Any]]],
) -> dict[str, Any]:
    """Return the manifest of a run that is published already, or of the flow that ``load`` returns.

    What is there already is known before an engine starts.
    """
    if store.is_published(run_id):
        return {**store.read(run_id).manifest, "recognised": True}
    return run_here(settings, load)
