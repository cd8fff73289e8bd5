"""Prefect's server, embedded: a process of its own that lives as long as the one that asked.

    python -m flows.embedded

prints the URL of the API once it answers, and serves until its input is closed, which is when
the process at the other end is gone. Where Prefect is told of another server it prints that one's.
The parent imports nothing of Prefect to start it, so that both import at the same time.
"""

import os
import secrets
import socket
import subprocess
import sys
import threading
from types import TracebackType

SECONDS_TO_START = 300.0
"""How long the server may take to answer; a new database is migrated before it does."""

OURS = "embedded"
"""What stands behind the URL of a server that was started here."""

SECONDS_TO_END = 10.0
"""How long the server may take to leave when it is told to."""

SECONDS_MORE = 5.0
"""How much longer it is waited for, in case it cannot even see to that."""


class ServerNotStarted(OSError):
    """The embedded server did not come up."""


class ServerGone(RuntimeError):
    """Prefect's server does not answer, stopped answering, or lets nobody in."""


class EmbeddedServer:
    """The server of a command; starts at once, and ends with the context."""

    def __init__(self) -> None:
        # Who reaches the loopback could otherwise read its runs, and have it do work.
        self.auth_string = f"margincube:{secrets.token_hex(32)}"
        # In a session of its own it does not hear the Ctrl-C that is meant for this process.
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
            text=True,
            # Not an argument, which every user of the machine could read.
            env=os.environ | {"PREFECT_SERVER_API_AUTH_STRING": self.auth_string},
        )

    def __enter__(self) -> "EmbeddedServer":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let the server end, and wait for it; one that does not end by itself is ended."""
        self.release()
        try:
            self._process.wait(SECONDS_TO_END + SECONDS_MORE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def release(self) -> None:
        """Let the server end."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def url(self) -> tuple[str, bool]:
        """Wait until the server answers; return the URL of its API, and whether it is our own.

        Our own answers to ``auth_string`` alone.

        Raises:
            ServerNotStarted: it ended, or was ended for its silence, before it answered.
        """
        assert self._process.stdout is not None
        limit = threading.Timer(SECONDS_TO_START, self._process.kill)
        limit.start()
        try:
            url = self._process.stdout.readline().strip()
        finally:
            limit.cancel()
        url, _, whose = url.partition(" ")
        if not url:
            raise ServerNotStarted(
                f"Prefect's embedded server ended with {self._process.wait()} before it answered; "
                "what it says stands above. Name another server by PREFECT_API_URL, or another "
                "folder for its database by PREFECT_HOME"
            )
        return url, whose == OURS


def _serve() -> None:
    """Be the server."""
    from prefect.settings import get_current_settings

    configured = get_current_settings().api.url
    if configured is not None:
        print(configured, flush=True)
        sys.stdin.read()
        return
    import uvicorn
    from prefect.server.api.server import create_app

    class Announced(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started:
                port = self.servers[0].sockets[0].getsockname()[1]
                try:
                    print(f"http://127.0.0.1:{port}/api {OURS}", flush=True)
                except BrokenPipeError:  # who asked is gone
                    os._exit(1)

    def end() -> None:
        sys.stdin.read()
        server.should_exit = True
        threading.Timer(SECONDS_TO_END, os._exit, [1]).start()

    app = create_app(ephemeral=True, final=True)
    server = Announced(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error"))
    threading.Thread(target=end, daemon=True).start()
    server.run()


if __name__ == "__main__":
    _serve()
