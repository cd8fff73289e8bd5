"""A real Prefect server takes the work pool and its deployment, and refuses wrong variables."""

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from infra.chaos.processes import answers
from tests.infra.files import KUBERNETES, ROOT
from tests.processes import BIN, clean_environment, free_ports, run, running, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

POOL = "margincube-kubernetes"


@pytest.fixture(scope="module")
def env(tmp_path_factory, prefect_home) -> Iterator[dict[str, str]]:
    folder = tmp_path_factory.mktemp("prefect")
    (port,) = free_ports(1)
    env = clean_environment(
        PREFECT_HOME=prefect_home(folder / "prefect"),
        PREFECT_API_URL=f"http://127.0.0.1:{port}/api",
        PREFECT_SERVER_ANALYTICS_ENABLED="false",
        MARGINCUBE_BOOK="nightly",
    )
    log = folder / "server.log"
    command = (BIN / "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port))
    with running(*command, log=log, env=env, cwd=folder) as process:
        wait_until(lambda: answers(port), process, log)
        done = prefect(
            *("work-pool", "create", POOL, "--type", "kubernetes", "--base-job-template"),
            KUBERNETES / "prefect-job-template.json",
            env=env,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        yield env


def prefect(*words: str | Path, env: dict[str, str]) -> CompletedProcess[str]:
    return run(BIN / "prefect", "--no-prompt", *words, env=env, cwd=ROOT)


def get(env: dict[str, str], path: str) -> dict[str, Any]:
    with urllib.request.urlopen(f"{env['PREFECT_API_URL']}{path}", timeout=30) as answer:
        return json.load(answer)


def test_the_pool_has_the_template(env):
    pool = get(env, f"/work_pools/{POOL}")
    template = json.loads((KUBERNETES / "prefect-job-template.json").read_text())
    assert (pool["type"], pool["base_job_template"]) == ("kubernetes", template)


def test_the_deployment_goes_into_the_pool(env):
    done = prefect("deploy", "--all", "--prefect-file", KUBERNETES / "prefect.yaml", env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    deployment = get(env, "/deployments/name/margin_run/nightly-kubernetes")
    assert deployment["work_pool_name"] == POOL
    assert deployment["entrypoint"] == "flows.margin_run.margin_run"
    assert deployment["parameters"]["parameters"]["book"] == "nightly"
    assert deployment["job_variables"]["ray_address"] == "margincube-head-svc:6379"


def test_a_variable_that_the_template_refuses_is_refused(env):
    done = prefect(
        *("deployment", "run", "margin_run/nightly-kubernetes", "--job-variable", "cores=3500m"),
        env=env,
    )
    assert done.returncode != 0
    assert "3500m" in done.stdout + done.stderr
