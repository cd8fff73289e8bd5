"""The values of the Helm chart: they make the cluster of ray-cluster.yaml."""

from typing import Any

import pytest

from tests.infra.files import Document, read

# The values of KubeRay's ray-cluster chart that become a field of a group, by that field.
OF_POD = {
    "serviceAccountName": "serviceAccountName",
    "podSecurityContext": "securityContext",
    "initContainers": "initContainers",
    "volumes": "volumes",
}
OF_CONTAINER = ("ports", "resources", "securityContext", "volumeMounts")
OF_HEAD = {"rayVersion", "enableInTreeAutoscaling", "autoscalerOptions"}
OF_GROUP = {"rayStartParams", "containerEnv", *OF_POD, *OF_CONTAINER}
OF_WORKERS = {"groupName", "replicas", "minReplicas", "maxReplicas"}
TOP = {"fullnameOverride", "image", "common", "service", "head", "worker"}


def cluster_of(values: Document) -> Document:
    """The RayCluster that the chart makes of values.

    Raises:
        ValueError: a value that the chart does not read.
    """
    allowed = {"head": OF_GROUP | OF_HEAD, "worker": OF_GROUP | OF_WORKERS}
    unknown = set(values) - TOP
    for part, names in allowed.items():
        unknown |= {f"{part}.{name}" for name in values[part].keys() - names}
    if unknown:
        raise ValueError(f"the chart reads no {sorted(unknown)}")
    head, worker = values["head"], values["worker"]
    return {
        **{name: head[name] for name in OF_HEAD},
        "headGroupSpec": {
            "serviceType": values["service"]["type"],
            "rayStartParams": head["rayStartParams"],
            "template": _template("ray-head", values, head),
        },
        "workerGroupSpecs": [
            {
                **{name: worker[name] for name in OF_WORKERS},
                "rayStartParams": worker["rayStartParams"],
                "template": _template("ray-worker", values, worker),
            }
        ],
    }


def _template(name: str, values: Document, group: Document) -> Document:
    container: dict[str, Any] = {
        "name": name,
        "image": f"{values['image']['repository']}:{values['image']['tag']}",
        "env": [*values["common"]["containerEnv"], *group["containerEnv"]],
        **{field: group[field] for field in OF_CONTAINER},
    }
    fields = {field: group[value] for value, field in OF_POD.items() if value in group}
    return {"spec": {**fields, "containers": [container]}}


def with_token_by_hand(spec: Document) -> Document:
    """The cluster without ``authOptions``, and with what the operator makes of them."""
    token = [
        {"name": "RAY_AUTH_MODE", "value": spec["authOptions"]["mode"]},
        {
            "name": "RAY_AUTH_TOKEN",
            "valueFrom": {
                "secretKeyRef": {"name": spec["authOptions"]["secretName"], "key": "auth_token"}
            },
        },
    ]
    del spec["authOptions"]
    spec["autoscalerOptions"]["env"] = token
    # The chart leaves it out, and the operator makes no ingress where it is left out.
    assert spec["headGroupSpec"].pop("enableIngress") is False
    for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"]):
        container = group["template"]["spec"]["containers"][0]
        container["env"] = [*token, *container["env"]]
    return spec


def test_the_chart_makes_the_cluster_of_the_manifest():
    (values,), (cluster,) = read("ray-cluster-values.yaml"), read("ray-cluster.yaml")
    assert cluster_of(values) == with_token_by_hand(cluster["spec"])
    assert values["fullnameOverride"] == cluster["metadata"]["name"]


@pytest.mark.parametrize(
    ("part", "name", "value"),
    [
        ("worker", "maxReplicas", 9),
        ("head", "rayVersion", "2.59.0"),
        ("worker", "securityContext", {}),
        ("image", "tag", "latest"),
        ("common", "containerEnv", []),
    ],
)
def test_another_value_makes_another_cluster(part, name, value):
    (values,), (cluster,) = read("ray-cluster-values.yaml"), read("ray-cluster.yaml")
    values[part][name] = value
    assert cluster_of(values) != with_token_by_hand(cluster["spec"])


@pytest.mark.parametrize("name", ["authOptions", "minReplica"])
def test_a_value_that_the_chart_does_not_read_is_refused(name):
    (values,) = read("ray-cluster-values.yaml")
    values["worker"][name] = 1
    with pytest.raises(ValueError, match=rf"worker\.{name}"):
        cluster_of(values)
