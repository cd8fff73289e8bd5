"""Processes that a test starts, waits for, and ends by their own ids."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

BIN = Path(sys.executable).parent
OWN = ("MARGINCUBE_", "PREFECT_", "RAY_")
READY_SECONDS = 240


def clean_environment(**values: str) -> dict[str, str]:
    """The environment without anybody's settings of ours, of Prefect or of Ray, plus values."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(OWN)}
    return {**kept, "RAY_USAGE_STATS_ENABLED": "0", "DO_NOT_TRACK": "1", **values}


def free_ports(count: int) -> list[int]:
    """Ports of the loopback that nobody listens on."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


@contextlib.contextmanager
def running(
    *command: str | Path, log: Path, env: Mapping[str, str], cwd: Path
) -> Iterator[subprocess.Popen]:
    """A process in a session of its own, ended with everything that it started."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(part) for part in command],
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env=dict(env),
            cwd=cwd,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(20)
        # What is left of its session has had its time.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(20)


def wait_until(ready: Callable[[], bool], process: subprocess.Popen, log: Path) -> None:
    """Wait until something is so; fail with the log when the process ends first."""
    deadline = time.monotonic() + READY_SECONDS
    while not ready():
        assert process.poll() is None, f"ended with {process.returncode}:\n{log.read_text()}"
        assert time.monotonic() < deadline, f"not ready after {READY_SECONDS} s:\n{log.read_text()}"
        time.sleep(0.1)


def run(
    *command: str | Path, env: Mapping[str, str], cwd: Path, seconds: float = 240
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        env=dict(env),
        cwd=cwd,
        timeout=seconds,
        stdin=subprocess.DEVNULL,
        check=False,
    )
