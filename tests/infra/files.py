"""The files below ``infra/``, read strictly, and what they have to agree with."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
KUBERNETES = ROOT / "infra" / "kubernetes"
DOCKERFILE = ROOT / "infra" / "image" / "Dockerfile"
_PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT, TOOL = _PYPROJECT["project"], _PYPROJECT["tool"]
VERSION = PROJECT["version"]
IMAGE = f"registry.example.com/margincube:{VERSION}"
WORKER_IMAGE = f"registry.example.com/margincube-prefect-worker:{VERSION}"
PINS = dict(
    line.split(";")[0].strip().split("==")
    for line in (ROOT / "constraints.txt").read_text().splitlines()
)

Document = dict[str, Any]


class TwiceTheSameKey(ValueError):
    """A mapping names a key twice; YAML would take the last and say nothing."""


class StrictLoader(yaml.SafeLoader):
    """Reads YAML, and refuses a key that is there twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        if twice := {key for key in keys if keys.count(key) > 1}:
            raise TwiceTheSameKey(f"{sorted(twice)}{node.start_mark}")
        return super().construct_mapping(node, deep)


def parse(text: str) -> list[Document]:
    """The documents of a YAML text."""
    return [one for one in yaml.load_all(text, StrictLoader) if one is not None]


def read(name: str) -> list[Document]:
    """The documents of a file below infra/kubernetes."""
    return parse((KUBERNETES / name).read_text())


def read_json(name: str) -> Document:
    """A JSON file below infra/kubernetes."""
    return json.loads((KUBERNETES / name).read_text())


def objects() -> list[tuple[str, Document]]:
    """Every Kubernetes object of the files, with the name of its file."""
    return [
        (str(path.relative_to(KUBERNETES)), document)
        for path in sorted(KUBERNETES.rglob("*.yaml"))
        for document in parse(path.read_text())
        if "apiVersion" in document
    ]


def environment_of_image() -> dict[str, str]:
    """What the last ENV of the stage ``run`` sets."""
    stage = DOCKERFILE.read_text().split(" AS run\n")[1].split("\nFROM ")[0]
    block = re.search(r"^ENV ((?:.*\\\n)*.*)$", stage, re.M)
    assert block, "the stage has no ENV"
    return dict(pair.split("=", 1) for pair in block[1].replace("\\\n", " ").split())
