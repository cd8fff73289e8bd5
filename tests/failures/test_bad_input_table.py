"""The page of bad input says what is so: its codes are given, and its tests are there."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "bad-input.md").read_text()
ROWS = re.findall(r"^\| (B\d+) \| (.+?) \| (.+?) \| (.+?) \| (.*?) ?\|$", PAGE, re.M)
LISTS = {"codes.py", "code.py", "claim_codes.py", "market_codes.py", "proof_codes.py"}


@cache
def sources() -> dict[str, str]:
    """Text by name of every module that could give a code: not those that only list them."""
    folders = (ROOT / "risk", ROOT / "storage", ROOT / "workers")
    paths = [path for folder in folders for path in folder.rglob("*.py")]
    return {str(path): path.read_text() for path in paths if path.name not in LISTS}


@cache
def functions(path: str) -> set[str]:
    tree = ast.parse((ROOT / path).read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_every_fault_has_its_row() -> None:
    numbers = list(dict.fromkeys(row[0] for row in ROWS))
    assert numbers == [f"B{number}" for number in range(1, 71)]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row[0]}-{row[2].strip('`')}")
def test_a_row_names_a_code_that_is_given_and_tests_that_provoke_it(row: tuple[str, ...]) -> None:
    _, _, code, happens, test = row
    if code == "does not apply":
        assert not test
        assert len(happens) > 40  # says why
        return
    word = re.compile(rf"\b{code.strip('`')}\b")
    assert any(word.search(text) for text in sources().values())
    named = [one.strip("`").split("::") for one in test.split(", ")]
    for path, function in named:
        assert function in functions(path)
    assert any(word.search((ROOT / path).read_text()) for path, _ in named)


def test_other_tests_that_the_page_names_are_there() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", PAGE)
    assert len(named) > len([row for row in ROWS if row[4]])
    for path, function in named:
        assert not function or function in functions(path), (path, function)
