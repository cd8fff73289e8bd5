"""The guide to runs shows what its commands print."""

import re
import shlex
from pathlib import Path

import pytest

from flows.cli import app
from flows.commands.shared import CONSOLE, PIPED_WIDTH
from storage.history import change_history

GUIDE = (Path(__file__).parents[2] / "docs" / "runs.md").read_text()
SHOWN = re.findall(r"^```console\n\$ margincube (.*?)\n(.*?)^```$", GUIDE, re.M | re.S)


@pytest.fixture(scope="module")
def home(mixed_book, margin_of, tmp_path_factory):
    """The data folder of the guide: two runs, the first named before and the second after."""
    folder = tmp_path_factory.mktemp("guide")
    runs = folder / "margincube-data" / "runs"
    rules = (None, "historical-es-2026-01")
    names = [
        margin_of(mixed_book, runs=runs, **({"methodology": one} if one else {})).run.run_id
        for one in rules
    ]
    tags = dict(zip(("before", "after"), names, strict=True))
    change_history(runs, lambda history: history.tags.update(tags))
    return folder


def plain(text):
    """Text without what is of one run of the commands: names, times, sizes, spaces."""
    text = re.sub(r"mixed-20240108-[0-9a-f]{12}", "mixed-20240108-9c72f945f73c", text)
    text = re.sub(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\d\+00:00)?", "TIME", text)
    return [" ".join(line.split()) for line in text.splitlines() if line.strip()]


def test_the_commands_print_what_is_shown(home, monkeypatch, capsys):
    """In their order, for each goes on from where those before it left the folder."""
    monkeypatch.chdir(home)
    monkeypatch.setattr(CONSOLE, "_width", PIPED_WIDTH)
    assert len(SHOWN) > 6
    for command, shown in SHOWN:
        app(shlex.split(command), result_action="return_value")
        assert plain(capsys.readouterr().out) == plain(shown), command
