"""The flow through a real Prefect server: deployed and served, on a schedule, run when told."""

import json
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from infra.chaos.processes import answers
from storage.market import sample_market
from storage.runs import RunStore
from tests.processes import BIN, clean_environment, free_ports, run, running, wait_until
from workers.generate import generate_book

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Server:
    """A running Prefect server, and the environment of its clients."""

    api: str
    env: dict[str, str]
    folder: Path

    def prefect(self, *arguments: str, cwd: Path | None = None) -> str:
        done = run(BIN / "prefect", "--no-prompt", *arguments, env=self.env, cwd=cwd or self.folder)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def post(self, path: str, **body: Any) -> Any:
        request = urllib.request.Request(
            f"{self.api}{path}", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def deployment(self, name: str) -> dict[str, Any]:
        url = f"{self.api}/deployments/name/margin_run/{name}"
        with urllib.request.urlopen(url, timeout=30) as answer:
            return json.load(answer)

    def begun(self, deployment: str) -> list[dict[str, Any]]:
        """Its runs, without those that the schedule has put there for later."""
        return self.post(
            "/flow_runs/filter",
            deployments={"name": {"any_": [deployment]}},
            flow_runs={"state": {"type": {"not_any_": ["SCHEDULED"]}}},
        )


@pytest.fixture(scope="module")
def server(tmp_path_factory, prefect_home) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("prefect")
    home = folder / "data"
    for name in ("deployed", "served"):
        generate_book(home / "books" / name, 2_000, 5, sample_market(), name=name)
    (port,) = free_ports(1)
    api = f"http://127.0.0.1:{port}/api"
    env = clean_environment(
        PREFECT_HOME=prefect_home(folder / "prefect"),
        PREFECT_API_URL=api,
        PREFECT_SERVER_ANALYTICS_ENABLED="false",
        PREFECT_WORKER_QUERY_SECONDS="2",
        PREFECT_RUNNER_POLL_FREQUENCY="2",
        MARGINCUBE_HOME=str(home),
        MARGINCUBE_BOOK="deployed",
        MARGINCUBE_ENGINE="serial",
        MARGINCUBE_FOLD="serial",
    )
    log = folder / "server.log"
    command = (BIN / "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port))
    with running(*command, log=log, env=env, cwd=folder) as process:
        wait_until(lambda: answers(port), process, log)
        yield Server(api, env, folder)


@pytest.fixture(scope="module")
def deployed(server) -> Server:
    server.prefect("work-pool", "create", "margincube", "--type", "process")
    server.prefect("deploy", "--all", cwd=ROOT)
    return server


def published(server: Server, book: str) -> dict[str, Any]:
    store = RunStore(server.folder / "data" / "runs")
    (run_id,) = (one["run_id"] for one in store.manifests() if one["run_id"].startswith(book))
    return store.open(run_id).manifest


def test_a_deployment_has_its_schedule_and_the_description_of_its_parameters(deployed):
    deployment = deployed.deployment("nightly")
    (schedule,) = deployment["schedules"]
    assert schedule["active"]
    assert (schedule["schedule"]["cron"], schedule["schedule"]["timezone"]) == ("30 0 * * *", "UTC")
    assert deployment["parameters"] == {"parameters": {"book": "deployed"}}
    assert deployment["concurrency_options"]["collision_strategy"] == "CANCEL_NEW"
    schema = deployment["parameter_openapi_schema"]["definitions"]["RunParameters"]["properties"]
    assert all(field["description"] for field in schema.values())


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        (
            {"book": "deployed", "engine": "spark"},
            "'spark' is not one of ['ray', 'dask', 'serial']",
        ),
        ({"book": "deployed", "shards": 0}, "0 is less than the minimum of 1"),
        ({"engine": "serial"}, "'book' is a required property"),
        ({"book": "deployed", "colour": "red"}, "'colour' was unexpected"),
    ],
)
def test_wrong_parameters_are_refused_before_a_run_exists(deployed, parameters, reason):
    given = f"parameters={json.dumps(parameters)}"
    done = run(
        *(BIN / "prefect", "deployment", "run", "margin_run/nightly", "--param", given),
        env={**deployed.env, "COLUMNS": "400"},
        cwd=deployed.folder,
    )
    assert done.returncode == 1
    assert reason in done.stdout + done.stderr


def test_a_worker_runs_the_deployment_and_the_run_is_published(deployed):
    log = deployed.folder / "worker.log"
    command = (BIN / "prefect", "worker", "start", "--pool", "margincube")
    with running(*command, log=log, env=deployed.env, cwd=deployed.folder):
        told = deployed.prefect("deployment", "run", "margin_run/nightly", "--watch")
    assert "Completed" in told, log.read_text()
    assert [one["state_name"] for one in deployed.begun("nightly")] == ["Completed"]
    manifest = published(deployed, "deployed")
    assert manifest["totals"]["accounts"] == 2_000
    artifacts = deployed.post("/artifacts/filter")
    tables = {one["key"]: json.loads(one["data"]) for one in artifacts}
    totals = {row["total"]: row["value"] for row in tables["margin-totals"]}
    assert totals["requirement"] == pytest.approx(manifest["totals"]["requirement"])
    assert totals["maintenance"] == pytest.approx(manifest["totals"]["maintenance"])
    told = {row["rule book"]: row[""] for row in tables["margin-rule-book"]}
    assert told["standing"] == manifest["inputs"]["methodology"]["standing"]
    assert [row["name"] for row in tables["margin-stages"]] == [
        row["name"] for row in manifest["stages"]
    ]


def test_serving_runs_when_told_and_by_the_clock_and_pauses_at_its_end(server, small_methodology):
    log = server.folder / "serve.log"
    command = (
        *(BIN / "margincube", "serve", "served", "--cron", "* * * * *", "--name", "minutely"),
        *("--methodology", str(small_methodology), "--engine", "serial", "--fold", "serial"),
    )

    def registered() -> bool:
        found = server.post("/deployments/filter", deployments={"name": {"any_": ["minutely"]}})
        return len(found) == 1

    def ran_by_the_clock() -> bool:
        return any(
            one["auto_scheduled"] and one["state_name"] == "Completed"
            for one in server.begun("minutely")
        )

    with running(*command, log=log, env=server.env, cwd=server.folder) as process:
        wait_until(registered, process, log)
        (schedule,) = server.deployment("minutely")["schedules"]
        assert (schedule["active"], schedule["schedule"]["cron"]) == (True, "* * * * *")
        told = server.prefect("deployment", "run", "margin_run/minutely", "--watch")
        assert "Completed" in told, log.read_text()
        wait_until(ran_by_the_clock, process, log)
    assert published(server, "served")["inputs"]["methodology"]["name"] == "small"
    assert server.deployment("minutely")["paused"]
    with running(*command, log=log, env=server.env, cwd=server.folder) as process:
        wait_until(lambda: not server.deployment("minutely")["paused"], process, log)
    assert server.deployment("minutely")["paused"]


def test_serving_without_a_server_is_a_sentence(server):
    env = {name: value for name, value in server.env.items() if name != "PREFECT_API_URL"}
    done = run(BIN / "margincube", "serve", "served", env=env, cwd=server.folder)
    assert done.returncode == 2
    assert "PREFECT_API_URL" in done.stderr
    assert "Traceback" not in done.stderr
