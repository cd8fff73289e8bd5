"""The Kubernetes objects: every one is checked, and every check catches a wrong one."""

import copy
import re
import shlex
from typing import Any

import jsonpatch
import pytest

from flows.cli import app
from flows.commands.runs import run
from tests.infra.checks import faults
from tests.infra.files import (
    IMAGE,
    ROOT,
    WORKER_IMAGE,
    Document,
    TwiceTheSameKey,
    objects,
    parse,
    read,
    read_json,
)

OBJECTS = [pytest.param(one, id=f"{name}-{one['kind']}") for name, one in objects()]
POD = ("spec", "headGroupSpec", "template", "spec")
HEAD = (*POD, "containers", 0)
WORKERS = ("spec", "workerGroupSpecs", 0)
REMOVED = object()


def changed(document: Document, path: tuple[str | int, ...], value: Any) -> Document:
    """A copy with another value at a path, or with nothing there."""
    whole = copy.deepcopy(document)
    at: Any = whole
    for step in path[:-1]:
        at = at[step]
    if value is REMOVED:
        del at[path[-1]]
    else:
        at[path[-1]] = value
    return whole


@pytest.mark.parametrize("document", OBJECTS)
def test_nothing_is_wrong(document):
    assert faults(document) == []


def test_every_kind_is_there():
    assert {one.values[0]["kind"] for one in OBJECTS} >= {
        *("RayCluster", "RayJob", "PersistentVolumeClaim", "NetworkPolicy"),
        *("Deployment", "Role", "ServiceAccount", "Namespace", "PodMonitor"),
    }


@pytest.mark.parametrize(
    ("path", "value", "fault"),
    [
        (("spec", "rayVersions"), "2.60.0", "'rayVersions' was unexpected"),
        (("spec", "rayVersion"), "2.59.0", "constraints.txt says"),
        (("spec", "enableInTreeAutoscaling"), "yes", "is not of type 'boolean'"),
        (("spec", "authOptions"), REMOVED, "'authOptions' is a required property"),
        (("spec", "authOptions", "mode"), "disabled", "anybody may run code"),
        (("spec", "headGroupSpec", "serviceType"), "LoadBalancer", "outside of Kubernetes"),
        (("spec", "headGroupSpec", "enableIngress"), True, "outside of Kubernetes"),
        (
            ("spec", "headGroupSpec", "rayStartParams", "dashboard-host"),
            "0.0.0.0",
            "the dashboard listens on 0.0.0.0",
        ),
        (
            ("spec", "headGroupSpec", "rayStartParams", "object-store"),
            "1",
            "no options of `ray start`",
        ),
        (("spec", "headGroupSpec", "rayStartParams", "num-cpus"), "1", "the head has cores"),
        (("spec", "autoscalerOptions", "securityContext"), {}, "autoscaler: allowPrivilege"),
        ((*POD, "securityContext", "runAsUser"), 0, "runs as 0"),
        ((*POD, "securityContext", "seccompProfile"), REMOVED, "RuntimeDefault"),
        ((*POD, "hostNetwork"), True, "hostNetwork must be left out"),
        ((*HEAD, "imagePullPolicies"), "Always", "'imagePullPolicies' was unexpected"),
        ((*HEAD, "image"), "registry.example.com/margincube:latest", "is not 'registry"),
        ((*HEAD, "securityContext", "readOnlyRootFilesystem"), False, "readOnlyRootFilesystem"),
        ((*HEAD, "resources", "requests", "cpu"), "2", "equal requests"),
        ((*HEAD, "env", 1, "name"), "MARGINCUBE_CORES", "is no setting"),
        ((*HEAD, "env", 1, "value"), "none", "unable to parse string as an integer"),
        ((*HEAD, "env", 0, "value"), "/srv", "is '/data' elsewhere"),
        ((*HEAD, "env", 1), {"name": "RAY_AUTH_TOKEN", "value": "abc"}, "its value in a file"),
        ((*HEAD, "volumeMounts", 0, "mountPath"), "/srv", "is not the claim 'margincube-data'"),
        ((*HEAD, "volumeMounts", 2, "name"), "data", "mounted at /var/cache/margincube"),
        ((*HEAD, "ports", 2, "name"), "numbers", "no port `metrics`"),
        ((*WORKERS, "minReplicas"), 0, "minReplicas is 0"),
        ((*WORKERS, "maxReplicas"), 7, "never asks for 7 replicas"),
        ((*WORKERS, "template", "spec", "serviceAccountName"), REMOVED, "serviceAccountName"),
        (
            (*WORKERS, "template", "spec", "containers", 0, "resources"),
            {"requests": {"cpu": "3500m"}, "limits": {"cpu": "3500m"}},
            "not whole cores",
        ),
    ],
)
def test_a_wrong_cluster_is_caught(path, value, fault):
    (cluster,) = read("ray-cluster.yaml")
    assert fault in " ".join(faults(changed(cluster, path, value)))


@pytest.mark.parametrize(
    ("name", "place", "path", "value", "fault"),
    [
        ("ray-job.yaml", 0, ("spec", "shutdownAfterJobFinishes"), False, "True was expected"),
        ("ray-job.yaml", 0, ("spec", "submissionMode"), "Batch", "is not one of"),
        ("ray-job.yaml", 0, ("metadata", "name"), "one", "is valid under each of"),
        ("storage.yaml", 0, ("spec", "accessMode"), "x", "'accessMode' was unexpected"),
        ("namespace.yaml", 1, ("automountServiceAccountToken",), "no", "is not of type"),
        ("namespace.yaml", 2, ("spec", "ingresses"), [], "'ingresses' was unexpected"),
        ("prefect-worker.yaml", 1, ("rules", 0, "verb"), ["get"], "'verb' was unexpected"),
        ("prefect-worker.yaml", 3, ("spec", "replica"), 1, "'replica' was unexpected"),
        ("monitoring/pod-monitor.yaml", 0, ("spec", "port"), "x", "'port' was unexpected"),
        ("namespace.yaml", 0, ("kind",), "Namespaces", "Couldn't find schema"),
        ("namespace.yaml", 0, ("kind",), "Secret", "a Secret stands in a file"),
    ],
)
def test_a_wrong_object_is_caught(name, place, path, value, fault):
    assert fault in " ".join(faults(changed(read(name)[place], path, value)))


def in_store(name):
    """A Ray object of a file, as its patch makes it keep its runs in an object store."""
    (document,) = read(f"{name}.yaml")
    return jsonpatch.apply_patch(document, read_json(f"{name}-s3.json"))


@pytest.mark.parametrize("name", ["ray-cluster", "ray-job"])
def test_nothing_is_wrong_with_a_cluster_that_keeps_its_runs_in_a_store(name):
    assert faults(in_store(name)) == []


@pytest.mark.parametrize(
    ("path", "value", "fault"),
    [
        ((*HEAD, "env", -1, "value"), "/data/runs", "which other nodes do not see"),
        ((*HEAD, "env", -1, "value"), "s3://margincube", "is no address"),
        ((*HEAD, "env", -1, "name"), "MARGINCUBE_RUN", "is no setting"),
        ((*HEAD, "envFrom"), REMOVED, "the store's is from 'margincube-s3'"),
        ((*POD, "volumes", 0), {"name": "data", "hostPath": {"path": "/"}}, "an emptyDir"),
    ],
)
def test_a_wrong_cluster_with_a_store_is_caught(path, value, fault):
    assert fault in " ".join(faults(changed(in_store("ray-cluster"), path, value)))


def test_a_job_with_a_store_runs_on_the_cluster_with_a_store():
    job, cluster = in_store("ray-job"), in_store("ray-cluster")
    address = ("spec", "headGroupSpec", "rayStartParams", "dashboard-host")
    assert job["spec"]["rayClusterSpec"] == changed(cluster, address, "0.0.0.0")["spec"]


def test_a_key_that_is_there_twice_is_refused():
    with pytest.raises(TwiceTheSameKey, match="spec"):
        parse("kind: RayJob\nspec: {}\nspec: {suspend: true}\n")


def test_the_accounts_that_pods_name_are_there_and_the_computing_one_holds_no_token():
    accounts = {one["metadata"]["name"]: one for _, one in objects() if "automount" in str(one)}
    assert accounts["margincube"]["automountServiceAccountToken"] is False


def test_a_job_runs_on_the_cluster_that_stays():
    (job,), (cluster,) = read("ray-job.yaml"), read("ray-cluster.yaml")
    address = ("spec", "headGroupSpec", "rayStartParams", "dashboard-host")
    assert job["spec"]["rayClusterSpec"] == changed(cluster, address, "0.0.0.0")["spec"]


@pytest.mark.parametrize("job", [*read("ray-job.yaml"), in_store("ray-job")])
def test_a_job_is_a_command_of_ours(job):
    program, *words = shlex.split(job["spec"]["entrypoint"])
    command, bound, _ = app.parse_args(words, exit_on_error=False, print_error=False)
    assert (program, command) == ("margincube", run)
    assert bound.arguments["ray_address"] == "auto"


def test_two_shards_for_each_core_that_the_cluster_may_grow_to():
    (cluster,), (job,) = read("ray-cluster.yaml"), read("ray-job.yaml")
    (group,) = cluster["spec"]["workerGroupSpecs"]
    limit = group["template"]["spec"]["containers"][0]["resources"]["limits"]["cpu"]
    cores = group["maxReplicas"] * int(limit)
    (deployment,) = read("prefect.yaml")[0]["deployments"]
    assert f"--shards {2 * cores} " in job["spec"]["entrypoint"]
    assert deployment["parameters"]["parameters"]["shards"] == 2 * cores


def test_the_page_names_every_file_and_no_other():
    page = (ROOT / "docs" / "kubernetes.md").read_text()
    named = {name for name in re.findall(r"infra/[\w./-]*\w\.?\w+", page) if "." in name}
    named |= set(re.findall(r"infra/image/Dockerfile", page))
    there = {
        str(path.relative_to(ROOT))
        for folder in ("image", "kubernetes")
        for path in (ROOT / "infra" / folder).rglob("*")
        if path.is_file() and path.suffix != ".dockerignore"
    }
    assert named == there


def test_the_page_names_the_images_of_this_version():
    page = (ROOT / "docs" / "kubernetes.md").read_text()
    images = set(re.findall(r"registry\.example\.com/[\w-]+:[\w.]+", page))
    assert images == {IMAGE, WORKER_IMAGE}
