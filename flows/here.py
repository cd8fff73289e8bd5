"""Run a flow in this process: Prefect's server and the engines start while the flow is imported."""

from collections.abc import Callable
from typing import TypeVar

from flows.settings import Settings

Result = TypeVar("Result")


def run_here(settings: Settings, load: Callable[[], Callable[[], Result]]) -> Result:
    """Return what a flow returns; ``load`` imports the flow and returns it, ready to be called.

    Progress is drawn on standard error from the first moment on.
    """
    from flows.commands.shared import MESSAGES
    from flows.embedded import EmbeddedServer
    from flows.engines import Engines
    from flows.progress import TerminalProgress, observing

    with TerminalProgress(MESSAGES) as progress, EmbeddedServer() as server, Engines(settings):
        with progress.waiting("start the engines"):
            from prefect.settings import PREFECT_API_URL, temporary_settings

            flow = load()
            url = server.url()
        with observing(progress), temporary_settings({PREFECT_API_URL: url}):
            result = flow()
        server.release()
        return result
