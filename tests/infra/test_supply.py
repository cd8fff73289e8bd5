"""The bill of materials: whole, in the shape of CycloneDX, pinned; and what is not known."""

import json
import re
import subprocess
import sys
from importlib import metadata

import pytest

from infra import supply
from tests.infra.files import PROJECT, ROOT


@pytest.fixture(scope="module")
def made():
    return supply.bill()


def test_every_package_that_is_needed_is_pinned_and_names_a_licence():
    assert supply.faults(supply.pins((ROOT / "constraints.txt").read_text())) == []


def test_the_bill_holds_what_the_project_asks_for_and_none_of_its_tests(made):
    names = {one["name"] for one in made["components"]}
    asked = {re.split(r"[\[<>=!~;]", line)[0].lower() for line in PROJECT["dependencies"]}
    assert asked <= names
    assert not {"pytest", "moto", "hypothesis", "duckdb"} & names
    assert "starlette" in names  # which only Prefect and FastAPI ask for


def test_the_bill_is_of_the_shape_of_cyclonedx(made):
    assert (made["bomFormat"], made["specVersion"], made["version"]) == ("CycloneDX", "1.5", 1)
    uuid = r"urn:uuid:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
    assert re.fullmatch(uuid, made["serialNumber"])
    references = [one["bom-ref"] for one in made["components"]]
    assert len(set(references)) == len(references)
    known = {*references, made["metadata"]["component"]["bom-ref"]}
    assert {one["ref"] for one in made["dependencies"]} == known
    for one in made["dependencies"]:
        assert set(one["dependsOn"]) <= known
    for one in made["components"]:
        assert one["purl"] == f"pkg:pypi/{one['name']}@{metadata.version(one['name'])}"
        assert one["licenses"][0]["license"]["name"]


@pytest.mark.parametrize(
    ("name", "version", "fault"),
    [
        ("numpy", None, "is in no line of constraints.txt"),
        ("numpy", "0.1", "constraints.txt says 0.1"),
    ],
)
def test_what_is_not_pinned_is_named(name, version, fault):
    pinned = supply.pins((ROOT / "constraints.txt").read_text())
    if version is None:
        del pinned[name]
    else:
        pinned[name] = version
    (found,) = supply.faults(pinned)
    assert found.startswith(name)
    assert fault in found


def test_a_package_without_a_licence_is_named(monkeypatch):
    monkeypatch.setattr(supply, "licence_of", lambda name: None if name == "rich" else "MIT")
    found = supply.faults(supply.pins((ROOT / "constraints.txt").read_text()))
    assert [one.split()[0] for one in found] == ["rich"]


def test_a_pin_for_another_python_does_not_count():
    text = 'a==1; python_version < "3"\na==2; python_version >= "3"\n# a remark\nB_c==3\n'
    assert supply.pins(text) == {"a": "2", "b-c": "3"}


def test_an_audit_that_could_not_ask_says_so(monkeypatch, capsys):
    monkeypatch.setattr(supply, "find_spec", lambda name: None)
    assert supply.main(["audit"]) == 0
    assert "NOT AUDITED: pip-audit is not installed" in capsys.readouterr().out
    monkeypatch.setattr(supply, "find_spec", lambda name: True)
    said = "requests.exceptions.ConnectionError: Max retries exceeded"
    done = subprocess.CompletedProcess([], 1, stdout="", stderr=said)
    monkeypatch.setattr(supply.subprocess, "run", lambda *_, **__: done)
    assert supply.main(["audit"]) == 0
    assert "could not be reached" in capsys.readouterr().out
    found = subprocess.CompletedProcess([], 1, stdout="", stderr="Found 1 known vulnerability")
    monkeypatch.setattr(supply.subprocess, "run", lambda *_, **__: found)
    assert supply.main(["audit"]) == 1


def test_the_command_writes_the_bill(tmp_path):
    path = tmp_path / "build" / "sbom.json"
    command = [sys.executable, "-m", "infra.supply", "sbom", str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(path.read_text())["bomFormat"] == "CycloneDX"
    assert supply.main(["sbom"]) == 2
