"""The report of a stress run: its numbers are the run's, in words that escape."""

import doctest
import html
import importlib
import json
import re
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest
import xarray as xr

import flows.cli
from flows.format import exact, money, short
from flows.report.picture import Picture, Sentence, Table
from flows.report.stress import StressView, write_stress_report
from flows.report.stress.page import render, sections
from flows.stress_view import stress_view
from tests.flows.browser import browse, needs_browser, without_plotly
from tests.workers.stressed import Stressed, plan_file, stress
from workers.stress.request import StressRequest

HOSTILE = '<script>window.broken = 1</script><b>bold & "quoted"</b>'

TITLES = {
    "scenarios": [
        "Loss of the worst scenarios",
        "The worst scenarios in numbers",
        "All other scenarios",
    ],
    "rounds": ["Sold and closed, round by round", "Prices, round by round"],
    "waterfall": ["Who bears it", "The layers in numbers", "Whose accounts owe more than they had"],
    "volume": [
        "Sold by kind of instrument",
        "Sold against daily volume",
        "Amplification against depth",
    ],
    "basis": ["Real, measured, assumed", "Sources of the plan"],
    "run": ["Where the time went", "Manifest"],
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def done(synthetic_book: Any, margin_of: Any, home: Path) -> Stressed:
    margined = margin_of(synthetic_book(9_000), runs=home / "runs")
    return stress(
        StressRequest(
            run=margined.run.run_id,
            plan=plan_file(home),
            runs=home / "runs",
            stresses=home / "stresses",
        )
    )


@pytest.fixture(scope="module")
def view(done: Stressed) -> StressView:
    return stress_view(done.run)


@pytest.fixture(scope="module")
def page(view: StressView, home: Path) -> Path:
    path = home / "page.html"
    write_stress_report(view, path)
    return path


def blocks(view: StressView) -> list[Picture | Table | Sentence]:
    return [block for part in sections(view) for block in part.blocks]


def pictures(view: StressView) -> list[Picture]:
    return [block for block in blocks(view) if isinstance(block, Picture)]


def table(view: StressView, title: str) -> list[dict[str, str]]:
    """The rows of a table by the names of its columns."""
    (found,) = [one for one in blocks(view) if isinstance(one, Table) and one.title == title]
    return [dict(zip(found.columns, row, strict=True)) for row in found.rows]


def test_every_section_is_there(view: StressView) -> None:
    assert {part.name: [one.title for one in part.blocks] for part in sections(view)} == TITLES


def test_headline_numbers_are_the_runs(page: Path, done: Stressed) -> None:
    own = without_plotly(page.read_text(encoding="utf-8")).replace("\N{NO-BREAK SPACE}", " ")
    tiles = dict(re.findall(r'<h3>([^<]*)</h3><p class="number">([^<]*)</p>', own))
    lost = done.values("lost") + np.maximum(-done.values("vault_pnl"), 0.0)
    uncovered = done.values("uncovered").sum(axis=1) + np.maximum(-done.values("vault_pnl"), 0.0)
    assert tiles["Largest loss"] == money(float(lost.max()))
    alone = done.values("lost_alone")[lost.argmax()]
    assert tiles["With nobody closed"] == money(float(alone))
    assert tiles["Largest shortfall"] == money(float(uncovered.max()))
    assert tiles["Most accounts closed"] == exact(float(done.values("touched").max()))
    assert tiles["Cascades at their end"] == "12 of 12"


def test_every_scenario_is_listed_worst_first(view: StressView, done: Stressed) -> None:
    rows = table(view, "The worst scenarios in numbers") + table(view, "All other scenarios")
    lost = done.values("lost") + np.maximum(-done.values("vault_pnl"), 0.0)
    names = done.run.groups["scenarios"]["scenario"].values
    assert [row["Scenario"] for row in rows] == names[np.argsort(-lost, kind="stable")].tolist()
    for row in rows:
        at = done.row(row["Scenario"])
        assert row["Loss"] == short(float(lost[at]))
        assert row["Nobody closed"] == short(float(done.values("lost_alone")[at]))
        assert row["Closed"] == exact(float(done.values("touched")[at]))
        assert row["Rounds"] == str(done.values("rounds")[at])
        assert row["Sold"] == short(float(np.nansum(done.values("sold")[at])))


def test_layers_are_drawn_as_they_are_borne(view: StressView, done: Stressed) -> None:
    (picture,) = [one for one in pictures(view) if one.name == "layers"]
    stacked = np.sum([one["x"] for one in picture.choices[1].traces], axis=0)
    np.testing.assert_allclose(stacked, 100.0)
    borne = done.run.groups["totals"]["borne"].values
    for row in table(view, "The layers in numbers"):
        at = done.row(row["Scenario"])
        assert row["Own contribution"] == exact(float(borne[at, 0]))
        assert row["Socialised loss"] == exact(float(borne[at, -1]))


def test_rounds_are_drawn_to_the_end_of_each(view: StressView, done: Stressed) -> None:
    (picture,) = [one for one in pictures(view) if one.name == "rounds"]
    for trace in picture.choices[1].traces:
        closed = done.values("liquidated")[done.row(html.unescape(trace["name"]))]
        assert trace["y"] == closed[closed >= 0].tolist()


def test_names_from_outside_are_never_markup(view: StressView) -> None:
    def hostile(values: np.ndarray) -> np.ndarray:
        return np.array([f"{HOSTILE} {at}" for at in range(len(values))], dtype=object)

    coins = hostile(view.scenarios["coin"].values)
    names = dict(zip(view.coins, coins.tolist(), strict=True))
    attacked = replace(
        view,
        run_id=HOSTILE,
        scenarios=view.scenarios.assign_coords(
            coin=coins, member=hostile(view.scenarios["member"].values)
        ),
        moves=view.moves.assign_coords(scenario=hostile(view.moves["scenario"].values)).assign(
            title=("scenario", hostile(view.moves["title"].values)),
            underlying=(
                "instrument",
                np.array(
                    [names[str(one)] for one in view.moves["underlying"].values], dtype=object
                ),
            ),
        ),
        rules=view.rules.model_copy(
            update={
                "title": HOSTILE,
                "sources": (HOSTILE,),
                "markets": tuple(
                    one.model_copy(update={"coin": names[one.coin]}) for one in view.rules.markets
                ),
            }
        ),
    )
    own = without_plotly(render(attacked))
    assert html.escape(HOSTILE) in own.replace("\N{NO-BREAK SPACE}", " ")
    assert "<script>window.broken" not in own
    assert "<b>bold" not in own
    for picture in pictures(attacked):
        for choice in picture.choices:
            drawn = json.dumps([choice.traces, choice.layout])
            assert "<script" not in drawn
            assert "<b>bold" not in drawn


def test_a_run_without_losses_says_so_in_sentences(view: StressView) -> None:
    nothing = {
        name: xr.zeros_like(view.scenarios[name])
        for name in ("uncovered", "sold_by_instrument", "lost_alone", "lost", "vault_pnl")
    }
    totals = view.totals.copy()
    for name in ("shortfall", "borne", "unborne", "cover_2", "defaulted_members"):
        totals[name] = xr.zeros_like(totals[name])
    quiet = replace(
        view,
        scenarios=view.scenarios.assign(nothing),
        totals=totals,
        manifest={**view.manifest, "stages": []},
    )
    said = [one.text for one in blocks(quiet) if isinstance(one, Sentence)]
    for words in (
        "is anything left over what accounts had",
        "No account loses more than it had",
        "No scenario sells anything",
        "recorded no stages",
    ):
        assert any(words in text for text in said), words
    assert not re.search(r"\bnan\b|NaN", without_plotly(render(quiet)))


def test_plotly_knows_every_property_that_is_set(view: StressView) -> None:
    for picture in pictures(view):
        for choice in picture.choices:
            text = json.dumps({"data": choice.traces, "layout": choice.layout})
            go.Figure(json.loads(re.sub(r'"--[a-z0-9-]+"', '"#123456"', text)))


@needs_browser
@pytest.mark.parametrize("width", [1280, pytest.param(500, marks=pytest.mark.slow)])
def test_every_picture_is_drawn_in_a_browser(
    view: StressView, page: Path, tmp_path: Path, width: int
) -> None:
    seen, console = browse(page, tmp_path, width)
    assert not console
    assert not seen["errors"]
    assert seen["resources"] == 0
    assert seen["wanted"] <= seen["width"], "the page is wider than the window"
    assert set(seen["sizes"]) == {
        f"picture-{picture.name} {choice.label if len(picture.choices) > 1 else ''}"
        for picture in pictures(view)
        for choice in picture.choices
    }
    for name, (wide, high, marks) in seen["sizes"].items():
        assert wide > 200, name
        assert high > 150, name
        assert marks > 0, f"{name} shows nothing"
    assert not re.search(r"\b(NaN|nan|undefined|Infinity|None)\b", seen["text"])


@pytest.mark.filterwarnings("ignore:Cyclopts application invoked without tokens")
def test_command_writes_the_page(done: Stressed, home: Path, monkeypatch: Any, capsys: Any) -> None:
    monkeypatch.setenv("MARGINCUBE_HOME", str(home))
    handler = signal.getsignal(signal.SIGTERM)
    try:
        monkeypatch.setattr(sys, "argv", ["margincube", "stress", "report", "--json"])
        with pytest.raises(SystemExit) as ended:
            flows.cli.main()
        assert not ended.value.code
        path = Path(json.loads(capsys.readouterr().out)["report"])
        assert path == home / "reports" / f"{done.run.run_id}.html"
        assert done.run.run_id in path.read_text(encoding="utf-8")
    finally:
        signal.signal(signal.SIGTERM, handler)


@pytest.mark.parametrize("name", ["headline", "scenarios"])
def test_examples_in_docstrings_hold(name: str) -> None:
    results = doctest.testmod(importlib.import_module(f"flows.report.stress.{name}"))
    assert results.attempted
    assert not results.failed
