"""Nobody gets in who does not belong: passwords, ports, accounts and networks of a deployment."""

import pytest

from tests.infra.checks import containers, exposure_faults, pod_templates, ray_cluster_spec
from tests.infra.files import environment_of_image, objects, read, read_json
from tests.infra.test_prefect_on_kubernetes import job_of


def every():
    """Every object of the files, and the job that Prefect makes of its template."""
    job = job_of(read_json("prefect-job-template.json"), {})
    return [*objects(), ("prefect-job-template.json", job)]


def environment(container):
    return {one["name"]: one for one in container.get("env", [])}


def from_secret(variable, name, key):
    return variable.get("valueFrom") == {"secretKeyRef": {"name": name, "key": key}}


@pytest.mark.parametrize("name", ["ray-cluster.yaml", "ray-job.yaml"])
def test_ray_asks_for_a_token_in_every_manifest(name):
    (document,) = read(name)
    options = ray_cluster_spec(document)["authOptions"]
    assert options == {"mode": "token", "secretName": "margincube-ray-token"}


def test_ray_asks_for_a_token_in_the_values_of_the_chart_and_in_a_flow_run():
    (values,) = read("ray-cluster-values.yaml")
    job = job_of(read_json("prefect-job-template.json"), {})
    for listed in (
        values["common"]["containerEnv"],
        values["head"]["autoscalerOptions"]["env"],
        job["spec"]["template"]["spec"]["containers"][0]["env"],
    ):
        env = {one["name"]: one for one in listed}
        assert env["RAY_AUTH_MODE"]["value"] == "token"
        assert from_secret(env["RAY_AUTH_TOKEN"], "margincube-ray-token", "auth_token")


def test_whatever_speaks_to_prefect_has_its_password_from_a_secret():
    speaking = [
        (where, environment(container))
        for _, document in every()
        for where, container, _ in containers(document)
        if container.get("name") in ("worker", "prefect-job")
    ]
    assert len(speaking) == 2
    for where, env in speaking:
        password = env["PREFECT_API_AUTH_STRING"]
        assert from_secret(password, "margincube-prefect-auth", "auth_string"), where


def test_a_password_in_a_file_is_caught():
    (worker,) = (one for one in read("prefect-worker.yaml") if one["kind"] == "Deployment")
    env = worker["spec"]["template"]["spec"]["containers"][0]["env"]
    (password,) = (one for one in env if one["name"] == "PREFECT_API_AUTH_STRING")
    assert not list(exposure_faults(worker))
    del password["valueFrom"]
    password["value"] = "admin:admin"
    assert any("has its value in a file" in fault for fault in exposure_faults(worker))


@pytest.mark.parametrize("name", ["ray-cluster.yaml", "ray-cluster-values.yaml"])
def test_the_dashboard_listens_on_the_loopback(name):
    (document,) = read(name)
    head = document["head"] if "head" in document else document["spec"]["headGroupSpec"]
    assert head["rayStartParams"]["dashboard-host"] == "127.0.0.1"


def test_where_a_job_s_dashboard_must_be_reached_only_the_operator_comes_from_outside():
    policy, _ = (one for one in read("namespace.yaml") if one["kind"] == "NetworkPolicy")
    assert policy["spec"]["podSelector"] == {}
    within, *others = policy["spec"]["ingress"]
    assert within == {"from": [{"podSelector": {}}]}
    allowed = {
        rule["from"][0]["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"]: [
            port["port"] for port in rule["ports"]
        ]
        for rule in others
    }
    assert allowed == {"kuberay-system": [8265], "monitoring": [8080]}


def test_pods_reach_each_other_names_prefect_and_what_speaks_tls():
    _, policy = (one for one in read("namespace.yaml") if one["kind"] == "NetworkPolicy")
    assert (policy["spec"]["podSelector"], policy["spec"]["policyTypes"]) == ({}, ["Egress"])
    ports = {port["port"] for rule in policy["spec"]["egress"] for port in rule.get("ports", [])}
    assert ports == {53, 4200, 443, 6443}
    open_ended = [rule for rule in policy["spec"]["egress"] if "ports" not in rule]
    assert open_ended == [{"to": [{"podSelector": {}}]}]


def test_no_container_runs_as_root_writes_its_root_or_keeps_a_capability():
    seen = 0
    for name, document in every():
        for where, container, pod in containers(document):
            given, of_pod = container["securityContext"], pod["securityContext"]
            assert given["readOnlyRootFilesystem"] is True, (name, where)
            assert given["allowPrivilegeEscalation"] is False, (name, where)
            assert given["capabilities"] == {"drop": ["ALL"]}, (name, where)
            assert (of_pod["runAsNonRoot"], of_pod["runAsUser"]) == (True, 10001), (name, where)
            assert of_pod["seccompProfile"] == {"type": "RuntimeDefault"}, (name, where)
            seen += 1
    assert seen >= 13


def test_only_the_head_and_the_prefect_worker_hold_a_token_of_kubernetes():
    silent = {
        document["metadata"]["name"]
        for _, document in objects()
        if document["kind"] == "ServiceAccount"
        and document.get("automountServiceAccountToken") is False
    }
    holding = {
        where if name != "prefect-worker.yaml" else "prefect-worker"
        for name, document in every()
        for where, template in pod_templates(document)
        if template["spec"].get("serviceAccountName") not in silent
    }
    assert holding == {"headGroupSpec", "prefect-worker"}


def test_the_prefect_worker_may_make_jobs_and_no_more():
    (role,) = (one for one in read("prefect-worker.yaml") if one["kind"] == "Role")
    granted = {
        (resource, verb)
        for rule in role["rules"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    assert {one for one in granted if one[1] not in ("get", "list", "watch")} == {
        ("jobs", "create"),
        ("jobs", "delete"),
    }
    assert not any(resource == "secrets" or "*" in (resource, verb) for resource, verb in granted)


def test_the_image_sets_no_secret():
    assert not any(
        word in name
        for name in environment_of_image()
        for word in ("TOKEN", "PASSWORD", "SECRET", "KEY", "AUTH")
    )
