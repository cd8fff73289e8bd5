"""Prefect's embedded server, started when no other server is configured."""

from prefect.server.api.server import SubprocessASGIServer
from prefect.settings import get_current_settings


def start_embedded_server() -> None:
    """Start the embedded server before the first flow needs it, so that the wait has a name.

    A flow would start the very same one; it is ended with this process.
    """
    if get_current_settings().api.url is None:
        SubprocessASGIServer().start()
