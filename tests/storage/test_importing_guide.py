"""The guide to importing does what it says, and lists what there is."""

import re
from pathlib import Path

import pytest

from storage.intake.layout import BOOK_INPUTS, MARKET_INPUTS, InputTable
from storage.quarantine import CODES

GUIDE = (Path(__file__).parents[2] / "docs" / "importing.md").read_text()


def test_worked_example(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    files = re.findall(r"`(desk/\w+\.csv)`\n\n```csv\n(.*?)```", GUIDE, re.DOTALL)
    assert len(files) == 5
    for name, content in files:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
    (program,) = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
    (expected,) = re.findall(r"```text\n(.*?)```", GUIDE, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(program, {})
    assert capsys.readouterr().out == expected


def test_every_code_is_listed_as_it_is() -> None:
    rows = re.findall(r"^\| `([A-Z_0-9]+)` \| (.*?) \| (.*?) \| (.*?) \| (.*?) \|$", GUIDE, re.M)
    listed = {row[0]: row[1:] for row in rows}
    assert listed == {
        code.name: (code.severity, code.meaning, code.allowed, code.action)
        for code in CODES.values()
    }


@pytest.mark.parametrize("table", [*BOOK_INPUTS, *MARKET_INPUTS], ids=lambda table: table.name)
def test_every_column_is_listed(table: InputTable) -> None:
    section = GUIDE.split(f"\n### {table.name}")[1].split("\n##")[0]
    assert re.findall(r"^\| `(\w+)` \|", section, re.M) == [c.name for c in table.columns]
