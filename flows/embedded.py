"""Prefect's embedded server, started when no other server is configured."""

import subprocess
import sys
from typing import Any

from prefect.server.api.server import SubprocessASGIServer
from prefect.settings import get_current_settings

# Reads until the other end of its input is closed, which is when this process is gone.
GUARD = """
import os, signal, sys
sys.stdin.buffer.read()
try:
    os.kill(int(sys.argv[1]), signal.SIGTERM)
except ProcessLookupError:
    pass
"""


class GuardedServer(SubprocessASGIServer):
    """The server, with a guard that ends it however this process ends; Prefect's own outlives it.

    Prefect ends the server on the way out of the interpreter, and a process that is killed does
    not come that way.
    """

    _guard: "subprocess.Popen[bytes] | None" = None

    def _run_uvicorn_command(self) -> "subprocess.Popen[Any]":
        server = super()._run_uvicorn_command()
        # In a session of its own it does not hear the Ctrl-C that is meant for this process.
        self._guard = subprocess.Popen(
            [sys.executable, "-S", "-c", GUARD, str(server.pid)],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        return server

    def stop(self) -> None:
        """End the server, and then the guard, which is left with nothing to do."""
        super().stop()
        if self._guard is not None:
            self._guard.communicate()
            self._guard = None


def start_embedded_server() -> None:
    """Start the embedded server before the first flow needs it, so that the wait has a name.

    A flow would start the very same one; it is ended with this process.
    """
    if get_current_settings().api.url is None:
        GuardedServer().start()
