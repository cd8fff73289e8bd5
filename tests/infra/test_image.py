"""The Dockerfile: linted, and agreeing with the project and with the pods."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

from tests.infra.files import DOCKERFILE, PINS, PROJECT, ROOT, TOOL, VERSION
from tests.processes import BIN

TEXT = DOCKERFILE.read_text()


def lint(path: Path) -> subprocess.CompletedProcess[str]:
    command = [BIN / "hadolint", "--no-color", path]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def dockerfile_faults(text: str) -> Iterator[str]:
    """Where the Dockerfile does not agree with the project and with the pods."""
    wanted = {name.rstrip("*") for name in TOOL["setuptools"]["packages"]["find"]["include"]}
    copied = set(re.findall(r"^COPY (\w+) \1$", text, re.M))
    if copied != wanted:
        yield f"copies the folders {sorted(copied)}, the distribution has {sorted(wanted)}"
    version = re.search(r'image\.version="([^"]+)"', text)
    if not version or version[1] != VERSION:
        yield f"is labelled {version and version[1]}, not {VERSION}"
    python = re.search(r"^ARG PYTHON=(.+)$", text, re.M)
    if not python or not SpecifierSet(PROJECT["requires-python"]).contains(python[1]):
        yield "does not begin with a Python that the project supports"
    for install in re.findall(r"pip install .*", text):
        if "--constraint constraints.txt" not in install:
            yield f"`{install}` is not held to constraints.txt"
    if set(re.findall(r"^USER (.*)$", text, re.M)) != {"10001:10001"}:
        yield "does not run as 10001, as the pods do"
    if re.search(r"^(?:ARG|ENV).*(?:TOKEN|PASSWORD|SECRET)", text, re.M):
        yield "holds a secret"


def test_hadolint_finds_nothing():
    done = lint(DOCKERFILE)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("right", "wrong", "rule"),
    [
        ("FROM python:${PYTHON}-slim-trixie AS run", "FROM python AS run", "DL3006"),
        ("--no-cache-dir ", "", "DL3042"),
        ("# hadolint ignore=DL3008\n", "", "DL3008"),
        ("WORKDIR /tmp", "WORKDIR tmp", "DL3000"),
    ],
)
def test_hadolint_finds_what_is_wrong(right, wrong, rule, tmp_path):
    assert right in TEXT
    (tmp_path / "Dockerfile").write_text(TEXT.replace(right, wrong))
    done = lint(tmp_path / "Dockerfile")
    assert done.returncode == 1
    assert rule in done.stdout


def test_it_agrees_with_the_project():
    assert list(dockerfile_faults(TEXT)) == []


@pytest.mark.parametrize(
    ("right", "wrong", "fault"),
    [
        ("COPY flows flows\n", "", "copies the folders"),
        ('image.version="', 'image.version="9', "is labelled"),
        ("ARG PYTHON=3.11", "ARG PYTHON=3.14", "a Python that the project supports"),
        ("--constraint constraints.txt .", ".", "is not held to constraints.txt"),
        ("USER 10001:10001", "USER root", "does not run as 10001"),
        ("ENV PATH", "ENV API_TOKEN=x PATH", "holds a secret"),
    ],
)
def test_disagreement_is_found(right, wrong, fault):
    assert right in TEXT
    assert fault in " ".join(dockerfile_faults(TEXT.replace(right, wrong)))


def test_what_is_copied_is_let_into_the_build():
    ignored = DOCKERFILE.with_name("Dockerfile.dockerignore").read_text().splitlines()
    assert "*" in ignored
    copied = {
        name
        for names in re.findall(r"^COPY (?!--from)(.*) \S+$", TEXT, re.M)
        for name in names.split()
    }
    assert {line[1:] for line in ignored if line.startswith("!")} == copied
    assert all((ROOT / name).exists() for name in copied)


def test_the_worker_is_pinned_too():
    assert {"prefect-kubernetes", "kopf", "kubernetes_asyncio"} <= set(PINS)
