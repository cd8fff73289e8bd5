"""Engines that start side by side with Prefect: in nobody's way, and heard when they fail."""

import os
import signal
import sys
import threading

import pytest

import flows.engines
from flows import embedded
from flows.settings import Settings
from tests.processes import clean_environment, run
from workers.stages import StageTable

IMPORTED_AT_ONCE = """
import sys, threading
import flows.engines

here, failed = threading.Event(), []

class Held:
    def find_spec(self, name, path=None, target=None):
        if threading.current_thread() is prefect and name == "pydantic.v1.types":
            here.set()
            ray.join(1.0)

def as_prefect_does():
    from pydantic import v1

def as_ray_does():
    here.wait(1.0)
    from pydantic.v1.fields import ModelField

def noted(imports):
    try:
        imports()
    except BaseException as error:
        failed.append(repr(error))

prefect = threading.Thread(target=noted, args=(as_prefect_does,))
ray = threading.Thread(target=noted, args=(as_ray_does,))
sys.meta_path.insert(0, Held())
ray.start(), prefect.start()
ray.join(), prefect.join()
print(failed)
"""

FAILS_LATE = """
import threading
from flows import engines
from flows.settings import Settings

unsendable = threading.Lock()
engines.warm_kernels = lambda: unsendable
with engines.Engines(Settings(engine="ray", workers=1)) as started:
    started.engine()
"""


def test_what_ray_and_prefect_import_at_once_is_there_before(tmp_path):
    """A thread that imports the package is held halfway, and another imports a module of it."""
    done = run(sys.executable, "-c", IMPORTED_AT_ONCE, env=clean_environment(), cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr


@pytest.mark.slow
def test_an_engine_that_fails_when_ray_is_up_says_why_at_once(tmp_path):
    """Ray's own way out looks for its head, which has ended by then, for a minute."""
    done = run(
        *(sys.executable, "-c", FAILS_LATE), env=clean_environment(), cwd=tmp_path, seconds=120
    )
    assert done.returncode == 1
    assert "GCS" not in done.stderr
    assert "TypeError: Could not serialize the function" in done.stderr


def test_a_run_that_waits_for_its_kernels_shows_it_as_a_stage(monkeypatch):
    """They are compiled while the run is prepared; what is left of it, nothing else shows."""
    compiled = threading.Event()
    monkeypatch.setattr(flows.engines, "warm_kernels", compiled.wait)
    stages = StageTable()
    with flows.engines.Engines(Settings(engine="serial", fold="serial")) as engines:
        threading.Timer(0.2, compiled.set).start()
        engines.wait(stages)
        engines.wait(stages)
    (stage,) = stages.rows()
    assert stage["name"] == "compile kernels once, or load them"
    assert stage["wall_s"] > 0.1


def test_a_server_that_is_stuck_is_ended(monkeypatch):
    """Nothing that it would do by itself ends it."""
    monkeypatch.setattr(embedded, "SECONDS_TO_END", 0.1)
    monkeypatch.setattr(embedded, "SECONDS_MORE", 0.1)
    with embedded.EmbeddedServer() as server:
        os.kill(server._process.pid, signal.SIGSTOP)
    assert server._process.returncode == -signal.SIGKILL
