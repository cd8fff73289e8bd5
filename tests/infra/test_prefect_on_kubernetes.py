"""The work pool and its deployment: what Prefect makes of them is a job that is checked too."""

import copy
import re
import shlex
from pathlib import Path

import jsonschema
import pytest
from prefect.utilities.templating import apply_values, find_placeholders

from flows.collateral_report import collateral_report
from flows.margin_run import margin_run
from flows.parameters import CollateralParameters, RunParameters, StressParameters
from flows.stress_test import stress_test
from tests.infra.checks import OPTIONS_OF_RAY_START, faults
from tests.infra.files import IMAGE, PINS, ROOT, Document, parse, read, read_json

OF_A_FLOW_RUN = {
    "name": "amber-otter",
    "command": "prefect flow-run execute",
    "labels": {"prefect.io/flow-run-name": "amber-otter"},
}


def deployment_of(path: Path, flow: str = "margin_run") -> Document:
    """The one deployment of a flow that a file describes."""
    (document,) = parse(path.read_text())
    (deployment,) = (
        one for one in document["deployments"] if one["entrypoint"].endswith(f".{flow}")
    )
    return deployment


HERE = deployment_of(ROOT / "infra" / "kubernetes" / "prefect.yaml")


def job_of(template: Document, variables: Document) -> Document:
    """The Kubernetes job of a flow run, as prefect-kubernetes makes it.

    Raises:
        jsonschema.ValidationError: a variable that the template has not, or has otherwise.
        ValueError: a placeholder that no variable fills.
    """
    jsonschema.Draft202012Validator.check_schema(template["variables"])
    jsonschema.validate(variables, template["variables"])
    known = template["variables"]["properties"]
    placeholders = {one.name for one in find_placeholders(template["job_configuration"])}
    if placeholders - known.keys():
        raise ValueError(f"no variable fills {sorted(placeholders - known.keys())}")
    defaults = {name: one["default"] for name, one in known.items() if "default" in one}
    manifest = copy.deepcopy(template["job_configuration"]["job_manifest"])
    job = apply_values(manifest, defaults | OF_A_FLOW_RUN | variables)
    pod = job["spec"]["template"]["spec"]
    # The worker of Prefect insists on finding these in the pod, where Kubernetes has no such
    # fields and drops them.
    assert (pod.pop("parallelism"), pod.pop("completions")) == (1, 1)
    (container,) = pod["containers"]
    container["args"] = shlex.split(container["args"])
    return job


def test_a_flow_run_is_a_job_without_fault():
    job = job_of(read_json("prefect-job-template.json"), HERE["work_pool"]["job_variables"])
    assert faults(job) == []
    assert {one["image"] for one in job["spec"]["template"]["spec"]["containers"]} == {IMAGE}


def test_a_flow_run_joins_the_cluster_as_a_node_without_cores_and_then_runs():
    job = job_of(read_json("prefect-job-template.json"), HERE["work_pool"]["job_variables"])
    (container,) = job["spec"]["template"]["spec"]["containers"]
    shell, _, script, name = container["command"]
    assert (shell, name) == ("/bin/bash", "flow-run")
    start, run = script.split(" && ")
    assert set(re.findall(r"--([a-z-]+)", start)) <= OPTIONS_OF_RAY_START
    assert "--num-cpus=0 " in start
    assert run == 'exec "$@"'
    assert container["args"] == ["prefect", "flow-run", "execute"]
    env = {one["name"]: one.get("value") for one in container["env"]}
    (cluster,) = read("ray-cluster.yaml")
    assert env["MARGINCUBE_RAY_ADDRESS"] == f"{cluster['metadata']['name']}-head-svc:6379"
    assert f'--address="${"MARGINCUBE_RAY_ADDRESS"}"' in start


def test_a_flow_run_has_the_token_of_the_cluster():
    job = job_of(read_json("prefect-job-template.json"), {})
    (container,) = job["spec"]["template"]["spec"]["containers"]
    (token,) = (one for one in container["env"] if one["name"] == "RAY_AUTH_TOKEN")
    (cluster,) = read("ray-cluster.yaml")
    assert token["valueFrom"]["secretKeyRef"] == {
        "name": cluster["spec"]["authOptions"]["secretName"],
        "key": "auth_token",
    }


@pytest.mark.parametrize(
    ("variables", "fault"),
    [
        ({"cpu": "4"}, "'cpu' was unexpected"),
        ({"cores": "3500m"}, "does not match"),
        ({"deadline_seconds": "4h"}, "is not of type 'integer'"),
    ],
)
def test_a_wrong_variable_is_refused(variables, fault):
    with pytest.raises(jsonschema.ValidationError, match=fault):
        job_of(read_json("prefect-job-template.json"), variables)


def test_a_placeholder_that_nothing_fills_is_found():
    template = read_json("prefect-job-template.json")
    del template["variables"]["properties"]["memory"]
    with pytest.raises(ValueError, match="memory"):
        job_of(template, {})


@pytest.mark.parametrize(
    ("field", "value", "fault"),
    [
        ("imagePolicy", "Always", "'imagePolicy' was unexpected"),
        ("securityContext", {}, "allowPrivilegeEscalation is None"),
        ("volumeMounts", [], "/data is not the claim"),
    ],
)
def test_a_wrong_job_is_caught(field, value, fault):
    job = job_of(read_json("prefect-job-template.json"), {})
    job["spec"]["template"]["spec"]["containers"][0][field] = value
    assert fault in " ".join(faults(job))


def test_the_deployment_is_that_of_the_root_but_for_where_it_runs():
    there = deployment_of(ROOT / "prefect.yaml")
    for name in ("entrypoint", "schedules", "concurrency_limit", "tags"):
        assert HERE[name] == there[name]
    assert HERE["name"] != there["name"]
    assert HERE["work_pool"]["name"] != there["work_pool"]["name"]
    assert HERE["entrypoint"] == f"{margin_run.fn.__module__}.{margin_run.fn.__name__}"


@pytest.mark.parametrize("path", ["prefect.yaml", "infra/kubernetes/prefect.yaml"])
def test_deployments_are_for_the_prefect_that_is_pinned(path):
    (document,) = parse((ROOT / path).read_text())
    assert document["prefect-version"] == PINS["prefect"]


def test_the_parameters_are_those_of_the_flow():
    parameters = RunParameters(**HERE["parameters"]["parameters"])
    assert parameters.engine == "ray"


def test_the_worker_asks_the_pool_of_the_deployment():
    (worker,) = (one for one in read("prefect-worker.yaml") if one["kind"] == "Deployment")
    command = worker["spec"]["template"]["spec"]["containers"][0]["command"]
    assert command[command.index("--pool") + 1] == HERE["work_pool"]["name"]


@pytest.mark.parametrize(
    ("flow", "parameters", "before"),
    [
        (collateral_report, CollateralParameters, "margin_run"),
        (stress_test, StressParameters, "collateral_report"),
    ],
)
def test_what_rests_on_the_margin_is_scheduled_after_it(flow, parameters, before):
    there = deployment_of(ROOT / "prefect.yaml", flow.fn.__name__)
    assert there["entrypoint"] == f"{flow.fn.__module__}.{flow.fn.__name__}"
    assert parameters(**there["parameters"]["parameters"]).run == "latest"
    earlier = deployment_of(ROOT / "prefect.yaml", before)
    at = [one["schedules"][0]["cron"].split()[:2] for one in (earlier, there)]
    assert [int(hour) * 60 + int(minute) for minute, hour in at] == sorted(
        int(hour) * 60 + int(minute) for minute, hour in at
    )
    assert at[0] != at[1]
