"""The page of faults has every row, and the tests that it names are there."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "faults.md").read_text()
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)))


def test_every_row_is_there():
    assert re.findall(r"^\| (F\d+) \|", PAGE, re.M) == [f"F{number}" for number in range(1, 41)]


@pytest.mark.parametrize(("path", "name"), NAMED)
def test_the_named_test_is_there(path, name):
    tree = ast.parse((ROOT / path).read_text())
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
