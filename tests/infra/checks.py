"""What must hold of a Kubernetes object below ``infra/``: a check yields the faults it finds."""

import itertools
import json
import re
from collections.abc import Iterator

import jsonschema
import kubernetes_validate
from pydantic import ValidationError
from ray.autoscaler._private.kuberay.autoscaling_config import (
    _derive_autoscaling_config_from_ray_cr,
)
from ray.scripts.scripts import start as ray_start

from flows.settings import Settings
from storage.objects import SCHEME
from tests.infra.files import (
    IMAGE,
    PINS,
    ROOT,
    WORKER_IMAGE,
    Document,
    environment_of_image,
    read,
)
from workers.ray_engine import IN_FLIGHT_PER_WORKER

KUBERNETES_VERSION = "1.37"
CUSTOM = json.loads((ROOT / "tests" / "infra" / "custom_resources.json").read_text())
CUSTOM_GROUPS = ("ray.io/", "monitoring.coreos.com/")
COMPUTING = ("ray-head", "ray-worker", "prefect-job")
"""Containers that read the book and write the run."""
OPTIONS_OF_RAY_START = {
    option.removeprefix("--")
    for parameter in ray_start.params
    for option in parameter.opts
    if option.startswith("--")
}


def schema_faults(document: Document) -> Iterator[str]:
    """Fields that Kubernetes, or our list of those of an operator, does not know."""
    if document["apiVersion"].startswith(CUSTOM_GROUPS):
        schema = {"$ref": f"#/$defs/{document['kind']}", "$defs": CUSTOM["$defs"]}
        for error in jsonschema.Draft202012Validator(schema).iter_errors(document):
            yield f"{error.json_path}: {error.message}"
    else:
        yield from _kubernetes_faults(document)
    for where, template in pod_templates(document):
        as_object = {"apiVersion": "v1", "kind": "PodTemplate", "template": template}
        yield from (f"{where}: {fault}" for fault in _kubernetes_faults(as_object))


def _kubernetes_faults(document: Document) -> Iterator[str]:
    try:
        kubernetes_validate.validate(document, KUBERNETES_VERSION, strict=True)
    except kubernetes_validate.ValidationError as error:
        yield f"{'.'.join(map(str, error.path))}: {error.message}"
    except kubernetes_validate.SchemaNotFoundError as error:
        yield error.message


def pod_templates(document: Document) -> Iterator[tuple[str, Document]]:
    """Every pod that an object makes, and where it stands; the autoscaler is one of the head's."""
    spec = document.get("spec", {})
    kind = document["kind"]
    if kind in ("Deployment", "Job"):
        yield f"{kind}.template", spec["template"]
    if kind == "RayJob":
        yield "submitterPodTemplate", spec["submitterPodTemplate"]
    if kind in ("RayCluster", "RayJob"):
        cluster = ray_cluster_spec(document)
        yield "headGroupSpec", cluster["headGroupSpec"]["template"]
        for group in cluster["workerGroupSpecs"]:
            yield group["groupName"], group["template"]


def ray_cluster_spec(document: Document) -> Document:
    return document["spec"].get("rayClusterSpec", document["spec"])


def containers(document: Document) -> Iterator[tuple[str, Document, Document]]:
    """Every container: where it stands, itself, and the specification of its pod."""
    for where, template in pod_templates(document):
        pod = template["spec"]
        for one in itertools.chain(pod.get("initContainers", []), pod["containers"]):
            yield f"{where}.{one['name']}", one, pod
        if where == "headGroupSpec":
            yield "autoscaler", ray_cluster_spec(document)["autoscalerOptions"], pod


def privilege_faults(document: Document) -> Iterator[str]:
    """What a container may do beyond the least: the profile `restricted`, and a read-only root."""
    for where, container, pod in containers(document):
        given = container.get("securityContext", {})
        wanted = {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        for name, value in wanted.items():
            if given.get(name) != value:
                yield f"{where}: {name} is {given.get(name)!r}, must be {value!r}"
        of_pod = pod.get("securityContext", {})
        if not of_pod.get("runAsNonRoot") or of_pod.get("runAsUser") != 10001:
            yield f"{where}: runs as {of_pod.get('runAsUser')!r}, must be 10001 and not root"
        if of_pod.get("seccompProfile") != {"type": "RuntimeDefault"}:
            yield f"{where}: seccompProfile must be RuntimeDefault"
        for name in ("hostNetwork", "hostPID", "hostIPC"):
            if name in pod:
                yield f"{where}: {name} must be left out"
        resources = container.get("resources", {})
        if not resources.get("limits") or resources.get("limits") != resources.get("requests"):
            yield f"{where}: limits must be there and equal requests, got {resources}"
    for where, template in pod_templates(document):
        account = template["spec"].get("serviceAccountName")
        if account is None and where != "headGroupSpec":
            yield f"{where}: serviceAccountName is left out; it is the namespace's default then"


def image_faults(document: Document) -> Iterator[str]:
    """Images that are not the one of this version."""
    for where, container, _ in containers(document):
        if "image" in container and container["image"] not in (IMAGE, WORKER_IMAGE):
            yield f"{where}: image {container['image']!r} is not {IMAGE!r}"


def setting_faults(document: Document) -> Iterator[str]:
    """Environment variables of ours that no setting reads, or whose value it refuses."""
    known = {f"MARGINCUBE_{name.upper()}": name for name in Settings.model_fields}
    for where, container, _ in containers(document):
        for variable in container.get("env", []):
            name, value = variable["name"], variable.get("value")
            if not name.startswith("MARGINCUBE_"):
                continue
            if name not in known:
                yield f"{where}: {name} is no setting; there are {sorted(known)}"
                continue
            try:
                Settings(**{known[name]: value})
            except ValidationError as error:
                yield f"{where}: {name}={value!r}: {error.errors()[0]['msg']}"


def volume_faults(document: Document) -> Iterator[str]:
    """Folders that a computing container needs and does not have, or not as it needs them."""
    (claim,) = (one for one in read("storage.yaml") if one["kind"] == "PersistentVolumeClaim")
    if claim["spec"]["accessModes"] != ["ReadWriteMany"]:
        yield f"accessModes is {claim['spec']['accessModes']}, nodes share one data folder"
    image = environment_of_image()
    for where, container, pod in containers(document):
        if container.get("name") not in COMPUTING:
            continue
        volumes = {one["name"]: one for one in pod.get("volumes", [])}
        mounted = {
            one["mountPath"]: volumes.get(one["name"], {}) for one in container["volumeMounts"]
        }
        values = {one["name"]: one.get("value") for one in container["env"]}
        home = values.get("MARGINCUBE_HOME")
        if home != image["MARGINCUBE_HOME"]:
            yield f"{where}: MARGINCUBE_HOME is {home!r}, is {image['MARGINCUBE_HOME']!r} elsewhere"
        if "MARGINCUBE_RUNS" in values:
            yield from _store_faults(where, container, values["MARGINCUBE_RUNS"], mounted[home])
        elif mounted.get(home, {}).get("persistentVolumeClaim", {}) != {
            "claimName": claim["metadata"]["name"]
        }:
            yield f"{where}: {home} is not the claim {claim['metadata']['name']!r}"
        for folder in (image["HOME"], image["NUMBA_CACHE_DIR"], "/spill"):
            if "emptyDir" not in mounted.get(folder, {}):
                yield f"{where}: nothing that can be written is mounted at {folder}"


def _store_faults(
    where: str, container: Document, runs: str | None, home: Document
) -> Iterator[str]:
    """What a container lacks that keeps its runs in an object store."""
    if not (runs or "").startswith(SCHEME):
        yield f"{where}: MARGINCUBE_RUNS is {runs!r}, which other nodes do not see"
    if "emptyDir" not in home:
        yield f"{where}: the data folder is {home}, needs to be no more than an emptyDir"
    secrets = [one.get("secretRef", {}).get("name") for one in container.get("envFrom", [])]
    if secrets != ["margincube-s3"]:
        yield f"{where}: environment is from {secrets}, the store's is from 'margincube-s3'"


def ray_faults(document: Document) -> Iterator[str]:
    """What Ray would not take, or would not do as it is meant."""
    if document["kind"] not in ("RayCluster", "RayJob"):
        return
    spec = ray_cluster_spec(document)
    if spec["rayVersion"] != PINS["ray"]:
        yield f"rayVersion is {spec['rayVersion']}, constraints.txt says {PINS['ray']}"
    for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"]):
        if unknown := set(group["rayStartParams"]) - OPTIONS_OF_RAY_START:
            yield f"rayStartParams {sorted(unknown)} are no options of `ray start`"
        ports = {one["name"] for one in group["template"]["spec"]["containers"][0]["ports"]}
        if "metrics" not in ports:
            yield "a Ray container has no port `metrics`, Prometheus finds nothing"
    config = _derive_autoscaling_config_from_ray_cr(
        {"metadata": {"name": "margincube", "namespace": "margincube"}, "spec": spec}
    )
    if config["available_node_types"]["headgroup"]["resources"]["CPU"] != 0:
        yield "the head has cores for tasks"
    for group in spec["workerGroupSpecs"]:
        node = config["available_node_types"][group["groupName"]]
        limit = group["template"]["spec"]["containers"][0]["resources"]["limits"]["cpu"]
        if not limit.isdigit() or node["resources"]["CPU"] != int(limit):
            yield f"{group['groupName']}: cpu {limit!r} is not whole cores that Ray counts"
        if node["min_workers"] < 1:
            yield f"{group['groupName']}: a run needs a core when it starts, minReplicas is 0"
        if node["max_workers"] > IN_FLIGHT_PER_WORKER * node["min_workers"]:
            yield f"{group['groupName']}: one run never asks for {node['max_workers']} replicas"


def exposure_faults(document: Document) -> Iterator[str]:
    """Doors that stand open, and secrets that stand in a file."""
    if document["kind"] == "Secret":
        yield "a Secret stands in a file"
    for where, container, _ in containers(document):
        for variable in container.get("env", []):
            if (
                re.search("TOKEN|PASSWORD|KEY|SECRET|AUTH_STRING", variable["name"])
                and "value" in variable
            ):
                yield f"{where}: {variable['name']} has its value in a file"
    if document["kind"] not in ("RayCluster", "RayJob"):
        return
    spec = ray_cluster_spec(document)
    if spec["authOptions"] != {"mode": "token", "secretName": "margincube-ray-token"}:
        yield f"authOptions is {spec['authOptions']}: anybody may run code on this cluster"
    head = spec["headGroupSpec"]
    if head["serviceType"] != "ClusterIP" or head["enableIngress"]:
        yield "the head is reached from outside of Kubernetes"
    address = head["rayStartParams"]["dashboard-host"]
    if document["kind"] == "RayCluster" and address != "127.0.0.1":
        yield f"the dashboard listens on {address}"


CHECKS = (
    schema_faults,
    privilege_faults,
    image_faults,
    setting_faults,
    volume_faults,
    ray_faults,
    exposure_faults,
)


def faults(document: Document) -> list[str]:
    """Everything that is wrong with one object; a wrong shape alone, where the shape is wrong."""
    return list(schema_faults(document)) or [fault for check in CHECKS for fault in check(document)]
