"""The guide to claims does what it says, and lists what there is."""

import re
from pathlib import Path

import pytest

from storage.intake.layout import CLAIM_INPUTS

DOCS = Path(__file__).parents[2] / "docs"
GUIDE = (DOCS / "claims.md").read_text()


def write_files(folder, page, place):
    files = re.findall(rf"`({place}/\w+\.csv)`\n\n```csv\n(.*?)```", page, re.DOTALL)
    for name, content in files:
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
    return files


def test_worked_example(tmp_path, monkeypatch, capsys):
    importing = (DOCS / "importing.md").read_text()
    write_files(tmp_path, importing, "desk")
    assert len(write_files(tmp_path, GUIDE, "pool")) == len(CLAIM_INPUTS)
    monkeypatch.chdir(tmp_path)
    (book_program,) = re.findall(r"```python\n(.*?)```", importing, re.DOTALL)
    exec(book_program, {})
    capsys.readouterr()
    (program,) = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
    (expected,) = re.findall(r"```text\n(.*?)```", GUIDE, re.DOTALL)
    exec(program, {})
    assert capsys.readouterr().out == expected


@pytest.mark.parametrize("table", CLAIM_INPUTS, ids=lambda table: table.name)
def test_every_column_is_listed(table):
    section = GUIDE.split(f"\n### {table.name}")[1].split("\n##")[0]
    assert re.findall(r"^\| `(\w+)` \|", section, re.M) == [c.name for c in table.columns]
    optional = {c.name for c in table.columns if not c.required}
    listed = re.findall(r"^\| `(\w+)` \| optional", section, re.M)
    assert set(listed) == optional
