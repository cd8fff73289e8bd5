"""What the documents show is run: Python blocks, rule books in TOML, a plan of moves."""

import io
import re
import shutil
from pathlib import Path

import pytest
from rich.console import Console

from flows.commands.moves import print_moves
from risk.methodology import parse_methodology
from workers.claims.moves import plans_of, read_moves

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PAGES.remove(ROOT / "docs" / "importing.md")  # tests/storage/test_importing_guide.py runs it
PAGES.remove(ROOT / "docs" / "claims.md")  # tests/storage/test_claims_guide.py runs it


def blocks(language):
    found = []
    for page in PAGES:
        pattern = rf"^```{language}\n(.*?)^```$"
        for number, match in enumerate(re.finditer(pattern, page.read_text(), re.M | re.S), 1):
            found.append(pytest.param(match[1], id=f"{page.stem}-{number}"))
    return found


@pytest.fixture(scope="module")
def shown(tmp_path_factory, synthetic_book, margin_of):
    """A folder with the data that the documents speak of: a book and a published run of it."""
    folder = tmp_path_factory.mktemp("documents")
    margin_of(synthetic_book(2_000), runs=folder / "margincube-data" / "runs")
    shutil.copytree(synthetic_book(2_000).path, folder / "margincube-data" / "books" / "mine")
    return folder


@pytest.mark.parametrize("code", blocks("python"))
def test_python_runs(code, shown, monkeypatch):
    monkeypatch.chdir(shown)
    exec(compile(code, "document", "exec"), {"__name__": "__main__"})


@pytest.mark.parametrize("text", [one for one in blocks("toml") if "[netting]" in one.values[0]])
def test_rule_books_parse(text):
    assert parse_methodology(text).layers


def shown_plan(path):
    """What the command prints of a plan of moves, without spaces at the ends of lines."""
    output = io.StringIO()
    print_moves(Console(file=output, width=140), plans_of(read_moves(path)), "cheapest")
    return "".join(f"{line.rstrip()}\n" for line in output.getvalue().splitlines())


def test_the_plan_of_moves_is_the_one_that_is_shown(tmp_path):
    page = (ROOT / "docs" / "moves.md").read_text()
    asked, answered = (
        re.search(rf"^```{language}\n(.*?)^```$", page, re.M | re.S)[1]
        for language in ("toml", "text")
    )
    path = tmp_path / "moves.toml"
    path.write_text(asked)
    assert shown_plan(path) == answered
