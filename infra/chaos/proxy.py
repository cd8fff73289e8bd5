"""A proxy on the loopback between a run and its store, that can stall, cut or refuse."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Literal

Mood = Literal["pass", "stall", "cut", "refuse"]
PIECE = 65_536


class Proxy:
    """Passes bytes to a port of the loopback; its ``mood`` may be changed at any moment.

    ``stall`` reads nothing more of either side and says nothing; ``cut`` ends connections in the
    middle of what they carry; ``refuse`` answers every request by 503, as a store that is too busy.
    """

    def __init__(self, port: int) -> None:
        self.mood: Mood = "pass"
        self.turned = 0
        """How many pieces or connections met another mood than ``pass``."""
        self._upstream = port
        self._over = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Listen no more, and let go of every connection."""
        self._over.set()
        # A thread in `accept` is woken by a shutdown, not by a close.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while not self._over.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with contextlib.ExitStack() as stack:
            stack.enter_context(client)
            try:
                server = socket.create_connection(("127.0.0.1", self._upstream), 5)
            except OSError:
                return
            stack.enter_context(server)
            server.settimeout(None)
            back = threading.Thread(target=self._pump, args=(server, client, False), daemon=True)
            back.start()
            self._pump(client, server, True)
            back.join()

    def _pump(self, source: socket.socket, sink: socket.socket, asks: bool) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(PIECE):
                if self.mood != "pass":
                    self.turned += 1
                while self.mood == "stall" and not self._over.is_set():
                    self._over.wait(0.05)
                if self.mood == "refuse" and asks:
                    source.sendall(
                        b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                    )
                    break
                if self.mood == "cut" or self._over.is_set():
                    break
                sink.sendall(piece)
        for one in (source, sink):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def proxy_to(port: int) -> Iterator[Proxy]:
    """A proxy that lasts as long as the context."""
    proxy = Proxy(port)
    try:
        yield proxy
    finally:
        proxy.close()
