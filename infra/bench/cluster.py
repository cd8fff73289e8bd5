"""Two Ray nodes of one core each on the loopback: processes, ports and folders of their own."""

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

READY_SECONDS = 240.0
STORE_BYTES = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Cluster:
    """A running cluster: its address, and the environment that lets a process in."""

    address: str
    env: dict[str, str]


@contextlib.contextmanager
def two_nodes() -> Iterator[Cluster]:
    """Start a head and a second node, and end both by their own process ids."""
    # Ray puts sockets below this folder, and the path of a socket must be short.
    folder = Path(tempfile.mkdtemp(prefix="ray-"))
    env = {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    port, client, *agents = _free_ports(4)
    address = f"127.0.0.1:{port}"
    own = (
        (
            *("--head", f"--port={port}", f"--ray-client-server-port={client}"),
            "--include-dashboard=false",
        ),
        (f"--address={address}",),
    )
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        for name, options, agent in zip("ab", own, agents, strict=True):
            command = (
                *(str(Path(sys.executable).parent / "ray"), "start", "--block", *options),
                *("--node-ip-address=127.0.0.1", "--num-cpus=1"),
                *(f"--object-store-memory={STORE_BYTES}", f"--temp-dir={folder / name}"),
                *(f"--dashboard-agent-listen-port={agent}", "--disable-usage-stats"),
            )
            stack.enter_context(_node(command, folder / f"{name}.log", env))
        yield Cluster(address, env)


@contextlib.contextmanager
def _node(command: tuple[str, ...], log: Path, env: dict[str, str]) -> Iterator[None]:
    """Run a node in a session of its own, from when it is up until the context is left."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **env},
            start_new_session=True,
        )
    try:
        _wait_until_up(process, log)
        yield
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(20)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(20)


def _wait_until_up(process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while "--block" not in log.read_text():  # Ray says what ends a node once it is up
        if process.poll() is not None or time.monotonic() > deadline:
            raise TimeoutError(f"a Ray node did not come up:\n{log.read_text()}")
        time.sleep(0.25)


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
