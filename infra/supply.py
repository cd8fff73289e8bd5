"""What the product is made of: a bill of materials in CycloneDX, and what is wrong with it.

    python -m infra.supply sbom build/sbom.json     # writes the bill
    python -m infra.supply check                    # pins and licences, without a network
    python -m infra.supply audit                    # known vulnerabilities, by pip-audit

The bill is of the packages that the product needs to run, and what those need, as installed here.
"""

import json
import re
import subprocess
import sys
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PRODUCT = "margincube"
ROOT = Path(__file__).parent.parent
CONSTRAINTS = ROOT / "constraints.txt"
AUDIT_SECONDS = 120


def needed(name: str = PRODUCT, extras: frozenset[str] = frozenset()) -> dict[str, set[str]]:
    """Every package that one needs here, itself left out, with the packages that each needs."""
    found: dict[str, set[str]] = {}
    waiting, seen = [(name, extras)], set()
    while waiting:
        one, wanted = waiting.pop()
        if (one, wanted) in seen:
            continue
        seen.add((one, wanted))
        needs = found.setdefault(one, set())
        for requirement, more in _requirements(one, wanted):
            needs.add(requirement)
            waiting.append((requirement, more))
    return found


def _requirements(name: str, extras: frozenset[str]) -> Iterator[tuple[str, frozenset[str]]]:
    """The packages that one asks for on this machine and that are installed, with their extras."""
    for line in metadata.requires(name) or []:
        requirement = Requirement(line)
        asked = requirement.marker is None or any(
            requirement.marker.evaluate({"extra": extra}) for extra in ("", *extras)
        )
        if asked:
            yield canonicalize_name(requirement.name), frozenset(requirement.extras)


def licence_of(name: str) -> str | None:
    """The licence that a package names, in whichever of the three ways it does."""
    about = metadata.metadata(name)
    if expression := about.get("License-Expression"):
        return str(expression)
    classifiers = [
        line.rpartition(" :: ")[2]
        for line in about.get_all("Classifier", [])
        if line.startswith("License :: ") and line != "License :: OSI Approved"
    ]
    if classifiers:
        return " AND ".join(sorted(set(classifiers)))
    stated = str(about.get("License") or "").strip()
    # Some put the whole text where the name belongs.
    return stated.splitlines()[0][:120] if stated else _licence_file(name)


def _licence_file(name: str) -> str | None:
    """The first line of the licence that a package brings as a file."""
    for path in metadata.files(name) or []:
        if re.match(r"(?i)licen[cs]e|copying", path.name):
            text = path.read_text(encoding="utf-8") or ""
            return next((line.strip() for line in text.splitlines() if line.strip()), None)
    return None


def bill() -> dict[str, Any]:
    """The bill of materials, as CycloneDX 1.5 has it."""
    packages = needed()
    product = _component(PRODUCT, "application")
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": f"urn:uuid:{uuid.uuid4()}",
        "version": 1,
        "metadata": {
            "timestamp": datetime.now(UTC).isoformat(timespec="seconds"),
            "component": product,
        },
        "components": [_component(name, "library") for name in sorted(packages) if name != PRODUCT],
        "dependencies": [
            {"ref": _reference(name), "dependsOn": sorted(_reference(one) for one in needs)}
            for name, needs in sorted(packages.items())
        ],
    }


def _component(name: str, kind: str) -> dict[str, Any]:
    licence = licence_of(name)
    return {
        "type": kind,
        "bom-ref": _reference(name),
        "name": name,
        "version": metadata.version(name),
        "purl": _reference(name),
        "licenses": [] if licence is None else [{"license": {"name": licence}}],
    }


def _reference(name: str) -> str:
    return f"pkg:pypi/{canonicalize_name(name)}@{metadata.version(name)}"


def pins(text: str) -> dict[str, str]:
    """The versions that constraints name for this machine, by package."""
    lines = (line.split("#")[0].strip() for line in text.splitlines())
    asked = [Requirement(line) for line in lines if line]
    return {
        canonicalize_name(one.name): str(one.specifier).removeprefix("==")
        for one in asked
        if one.marker is None or one.marker.evaluate()
    }


def faults(pinned: dict[str, str]) -> list[str]:
    """What is wrong with the packages that are needed: not pinned, another version, no licence."""
    found = []
    for name in sorted(set(needed()) - {PRODUCT}):
        version = metadata.version(name)
        if name not in pinned:
            found.append(f"{name} {version} is in no line of constraints.txt; pin it")
        elif pinned[name] != version:
            found.append(f"{name} {version} is installed, constraints.txt says {pinned[name]}")
        if licence_of(name) is None:
            found.append(f"{name} {version} names no licence; look at its sources before it ships")
    return found


def audit() -> int:
    """Ask pip-audit for known vulnerabilities; say plainly where nothing could be asked."""
    if find_spec("pip_audit") is None:
        print("NOT AUDITED: pip-audit is not installed here; `pip install pip-audit` and try again")
        return 0
    command = [sys.executable, "-m", "pip_audit", "--progress-spinner", "off", "--local"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=AUDIT_SECONDS)
    except subprocess.TimeoutExpired:
        print(f"NOT AUDITED: the database did not answer in {AUDIT_SECONDS} seconds")
        return 0
    print(done.stdout, end="")
    if re.search(r"ConnectionError|Max retries|NameResolution|ServiceError", done.stderr):
        print("NOT AUDITED: the database of vulnerabilities could not be reached")
        return 0
    print(done.stderr, end="", file=sys.stderr)
    return done.returncode


def main(words: list[str]) -> int:
    """Do what the words ask for; return the exit code."""
    if words[:1] == ["sbom"] and len(words) == 2:
        path = Path(words[1])
        path.parent.mkdir(parents=True, exist_ok=True)
        made = bill()
        path.write_text(json.dumps(made, indent=2) + "\n", encoding="utf-8")
        print(f"{len(made['components'])} packages in {path}")
        return 0
    if words == ["check"]:
        found = faults(pins(CONSTRAINTS.read_text(encoding="utf-8")))
        for fault in found:
            print(fault)
        print(f"{len(needed()) - 1} packages, {len(found)} faults")
        return 1 if found else 0
    if words == ["audit"]:
        return audit()
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
