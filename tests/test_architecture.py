"""The folder table of the architecture, read off the imports."""

import ast
import itertools
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
OURS = ("risk", "storage", "workers", "flows", "infra", "tests")
MAY_IMPORT = {
    "risk": {"risk"},
    "storage": {"storage"},
    "workers": {"workers", "risk", "storage"},
    "flows": {"flows", "workers", "risk", "storage"},
}
THIRD_PARTY = {
    "risk": {
        "numpy",
        "numba",
        "llvmlite",
        "scipy",
        "xarray",
        "pydantic",
        "eth_hash",
        "eth_account",
        "eth_keys",
        "eth_utils",
    },
    "storage": {"numpy", "pyarrow", "xarray", "zarr", "icechunk", "obstore", "cryptography"},
    "workers": {"numpy", "pyarrow", "xarray", "psutil", "ray", "dask"},
    "flows": {
        "numpy",
        "xarray",
        "prefect",
        "pydantic",
        "pydantic_settings",
        "cyclopts",
        "rich",
        "plotly",
        "pyarrow",
        "httpx",
        "uvicorn",
    },
}
ONE_FILE = {"ray": "workers/ray_engine.py", "dask": "workers/dask_engine.py"}
FORBIDDEN_IN_RISK = {"os", "pathlib", "io", "time", "random", "logging", "subprocess", "threading"}
STANDARD_LIMIT = 500


def modules(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def imports(path: Path) -> set[str]:
    """The top-level names that a module imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
    return found


def every_module() -> list[tuple[str, Path]]:
    return [(folder, path) for folder in MAY_IMPORT for path in modules(folder)]


@pytest.mark.parametrize("folder", MAY_IMPORT)
def test_folders_import_only_downwards(folder: str) -> None:
    for path in modules(folder):
        ours = imports(path) & set(OURS)
        assert ours <= MAY_IMPORT[folder], f"{path.relative_to(ROOT)} imports {ours}"


@pytest.mark.parametrize("folder", MAY_IMPORT)
def test_third_parties_stay_where_the_table_puts_them(folder: str) -> None:
    import sys

    for path in modules(folder):
        foreign = imports(path) - set(OURS) - set(sys.stdlib_module_names)
        assert foreign <= THIRD_PARTY[folder], f"{path.relative_to(ROOT)} imports {foreign}"


@pytest.mark.parametrize("engine", ONE_FILE)
def test_an_engine_is_imported_in_one_file(engine: str) -> None:
    users = {str(path.relative_to(ROOT)) for _, path in every_module() if engine in imports(path)}
    assert users == {ONE_FILE[engine]}


def test_the_mathematics_knows_no_files_clock_or_environment() -> None:
    for path in modules("risk"):
        assert not imports(path) & FORBIDDEN_IN_RISK, path.relative_to(ROOT)
        opened = [
            node
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "open"
        ]
        assert not opened, path.relative_to(ROOT)


def test_no_module_is_imported_in_a_circle() -> None:
    graph: dict[str, set[str]] = {}
    for _, path in every_module():
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        graph[name] = set()
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ImportFrom) and node.module:
                graph[name] |= {node.module, *(f"{node.module}.{a.name}" for a in node.names)}
    packages = {n for n in graph if any(m.startswith(n + ".") for m in graph)}
    modules_only = set(graph) - packages
    resolved: set[str] = set()
    while ready := {
        n for n in modules_only - resolved if graph[n] & modules_only - {n} <= resolved
    }:
        resolved |= ready
    assert resolved == modules_only, f"circular imports among {sorted(modules_only - resolved)}"


def test_modules_are_short_enough_to_read() -> None:
    long = {
        str(path.relative_to(ROOT)): lines
        for _, path in every_module()
        if (lines := len(path.read_text().splitlines())) > STANDARD_LIMIT
    }
    assert not long, f"modules over {STANDARD_LIMIT} lines: {long}"


def test_sources_speak_of_the_project_only() -> None:
    """No path of a developer's machine, and no address a package was downloaded from."""
    tracked = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True
    ).stdout.split("\0")
    pattern = re.compile(r"(?:/home/\w+|/root|/work|/Users/\w+)/|index-url|find-links")
    own = str(Path(__file__).relative_to(ROOT))
    texts = (
        (name, (ROOT / name).read_text(errors="ignore"))
        for name in tracked
        if name and name != own and (ROOT / name).suffix in {".py", ".md", ".toml", ".txt", ".yaml"}
    )
    found = [(name, match.group()) for name, text in texts for match in pattern.finditer(text)]
    assert not found, list(itertools.islice(found, 10))
