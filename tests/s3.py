"""An S3 server of a test's own, on the loopback."""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.chaos.processes import answers
from tests.processes import clean_environment, free_ports, running, wait_until


@contextlib.contextmanager
def s3_server(folder: Path, **environment: str) -> Iterator[str]:
    """A server that forgets everything when it ends; its log is in the folder."""
    (port,) = free_ports(1)
    log = folder / "server.log"
    command = (sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port))
    with running(*command, log=log, env=clean_environment(**environment), cwd=folder) as process:
        wait_until(lambda: answers(port), process, log)
        yield f"http://127.0.0.1:{port}"


def set_s3_environment(
    monkeypatch: pytest.MonkeyPatch, endpoint: str, key: str, secret: str
) -> None:
    """Set what an S3 client reads, and none of what the person who runs the tests has set."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
