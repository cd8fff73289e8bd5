"""The Ray and the Prefect that a command starts answer to nobody who lacks their password."""

import base64
import os
import subprocess
import sys
import urllib.error
import urllib.request

import pytest

from flows.embedded import EmbeddedServer
from tests.processes import clean_environment

LOCAL_RAY = """
import os, subprocess, sys
from workers.ray_engine import RayEngine
import ray

engine = RayEngine(1)
assert os.environ["RAY_AUTH_MODE"] == "token"
assert len(os.environ["RAY_AUTH_TOKEN"]) == 64
address = ray.get_runtime_context().gcs_address
join = "import ray, sys; ray.init(sys.argv[1], log_to_driver=False); print('LET IN')"
for token, expected in ((os.environ["RAY_AUTH_TOKEN"], True), ("f" * 64, False)):
    env = os.environ | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token}
    command = [sys.executable, "-c", join, address]
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    assert ("LET IN" in done.stdout) == expected, (token, done.stdout, done.stderr[-2000:])
engine.close()
print("DONE")
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_local_ray_has_a_token_of_its_own_and_leaves_none_behind(tmp_path):
    env = clean_environment(HOME=str(tmp_path))
    command = (sys.executable, "-c", LOCAL_RAY)
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=500)
    assert "DONE" in done.stdout, done.stdout + done.stderr
    assert not (tmp_path / ".ray").exists()


def asked(url, password=None):
    """The status that the server answers a question with."""
    request = urllib.request.Request(f"{url}/flows/filter", data=b"{}", method="POST")
    request.add_header("Content-Type", "application/json")
    if password is not None:
        encoded = base64.b64encode(password.encode()).decode()
        request.add_header("Authorization", f"Basic {encoded}")
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        with error:
            return error.code


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_the_embedded_prefect_answers_to_its_password_alone(prefect_home, tmp_path, monkeypatch):
    monkeypatch.setenv("PREFECT_HOME", prefect_home(tmp_path / "prefect"))
    for name in [name for name in os.environ if name.startswith("PREFECT_API")]:
        monkeypatch.delenv(name)
    with EmbeddedServer() as server, EmbeddedServer() as other:
        url, ours = server.url()
        assert ours
        assert url.startswith("http://127.0.0.1:")
        assert asked(url, server.auth_string) == 200
        assert asked(url) == 401
        assert asked(url, other.auth_string) == 401
