"""A Prefect server that is not there, lets nobody in or is ill is named, and nothing is lost."""

import contextlib
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from tests.processes import BIN, clean_environment, free_ports

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@contextlib.contextmanager
def answering(code):
    """The port of a server that has one answer for everybody."""

    class Answer(BaseHTTPRequestHandler):
        def answer(self):
            self.rfile.read(int(self.headers.get("content-length", 0)))
            self.send_response(code)
            self.send_header("content-length", "0")
            self.end_headers()

        do_GET = do_POST = answer  # noqa: N815

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


@contextlib.contextmanager
def nobody(_):
    yield free_ports(1)[0]


@pytest.mark.parametrize(
    ("server", "code", "said"),
    [
        (nobody, None, "does not answer"),
        (answering, 401, "lets nobody in (401): see PREFECT_API_AUTH_STRING"),
        (answering, 503, "does not answer, or not as it should"),
    ],
    ids=["closed", "unauthorized", "unavailable"],
)
def test_it_is_named(synthetic_book, small_methodology, tmp_path, server, code, said):
    with server(code) as port:
        env = clean_environment(
            PREFECT_API_URL=f"http://127.0.0.1:{port}/api", PREFECT_CLIENT_MAX_RETRIES="1"
        ) | {"MARGINCUBE_HOME": str(tmp_path / "home"), "PREFECT_HOME": str(tmp_path / "prefect")}
        done = subprocess.run(
            [
                *(str(BIN / "margincube"), "run", str(synthetic_book(500).path)),
                *("--methodology", str(small_methodology), "--engine", "serial"),
            ],
            env=env,
            capture_output=True,
            text=True,
            timeout=240,
        )
    told = " ".join(done.stderr.split())
    assert done.returncode == 5, told[-3000:]
    assert "error: ServerGone" in told
    assert said in told
    assert "Traceback" not in told
