"""The sections on margin systems, layers and walls: their numbers are the run's."""

import html
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest

from flows.format import exact, short
from flows.report.picture import Picture, Sentence, Table
from flows.report.stress import StressView, write_stress_report
from flows.report.stress.page import render
from flows.report.stress.systems import sections_of_systems
from flows.stress_view import stress_view
from tests.flows.browser import browse, needs_browser, without_plotly
from tests.workers.stressed import SMALL_PLAN, plan_file, stress
from workers.stress.request import StressRequest

HOSTILE = '<script>window.broken = 1</script><b>bold & "quoted"</b>'
WALLS = '\n[insulation]\nwalls = ["venue", "chain"]\n'

TITLES = {
    "systems": [
        "Capital, and what it leaves uncovered",
        "Margin systems in numbers",
        "Uncovered by scenario",
    ],
    "insulation": [
        "Cost and effect of each layer and wall",
        "Layers in numbers",
        "Walls in numbers",
    ],
}


@pytest.fixture(scope="module")
def view(synthetic_book: Any, margin_of: Any, tmp_path_factory: Any) -> StressView:
    folder = tmp_path_factory.mktemp("systems")
    margined = margin_of(synthetic_book(2_000))
    request = StressRequest(
        run=margined.run.run_id,
        plan=plan_file(folder, SMALL_PLAN + WALLS, rounds="4", insurance_fund="100_000.0"),
        runs=margined.request.runs,
        stresses=folder / "stresses",
    )
    return stress_view(stress(request).run)


def table(view: StressView, title: str) -> list[dict[str, str]]:
    """The rows of a table by the names of its columns."""
    every = [block for part in sections_of_systems(view) for block in part.blocks]
    (found,) = [one for one in every if isinstance(one, Table) and one.title == title]
    return [dict(zip(found.columns, row, strict=True)) for row in found.rows]


def values(view: StressView, name: str, kind: str) -> dict[str, np.ndarray]:
    """An array of the arrangements of a kind, by what they are of."""
    kinds, of = (view.totals[f"arrangement_{one}"].values.tolist() for one in ("kind", "of"))
    found = np.moveaxis(view.total(f"arrangement_{name}"), -1, 0)
    return {str(of[at]): found[at] for at, one in enumerate(kinds) if one == kind}


def test_sections_are_there_where_systems_were_compared(view: StressView) -> None:
    found = {part.name: [one.title for one in part.blocks] for part in sections_of_systems(view)}
    assert found == TITLES
    rest = view.totals.drop_dims("arrangement")
    assert sections_of_systems(replace(view, totals=rest)) == []


def test_systems_are_told_in_their_worst_scenario(view: StressView) -> None:
    uncovered, beyond = (values(view, one, "system") for one in ("uncovered", "beyond"))
    capital = values(view, "capital", "system")
    rows = {row["System"].lower(): row for row in table(view, "Margin systems in numbers")}
    assert list(rows) == ["isolated", "cross", "portfolio", "layered"]
    held = []
    for name, row in rows.items():
        worst = int(uncovered[name].argmax())
        assert row["Capital"] == short(float(capital[name]))
        assert row["Scenario"] == view.names[worst]
        assert row["Uncovered"] == short(float(uncovered[name].max()))
        assert row["Over prefunded"] == short(float(beyond[name][worst]))
        held.append(int((beyond[name] == 0.0).sum()))
        assert row["Scenarios held"] == f"{held[-1]} of {len(view.names)}"
    assert 0 < min(held) < len(view.names), "some scenarios are held and some are not"


def test_scenarios_that_are_not_held_are_marked(view: StressView) -> None:
    uncovered, beyond = (values(view, one, "system") for one in ("uncovered", "beyond"))
    listed = table(view, "Uncovered by scenario")
    assert listed
    for row in listed:
        at = view.names.index(row["Scenario"])
        for name in uncovered:
            mark = "*" if beyond[name][at] > 0.0 else ""
            assert row[name.capitalize()] == short(float(uncovered[name][at])) + mark


def test_a_layer_is_told_where_it_is_missed_most(view: StressView) -> None:
    with_ = values(view, "uncovered", "system")["layered"]
    without = values(view, "uncovered", "layer")
    rows = {row["Layer"]: row for row in table(view, "Layers in numbers")}
    assert list(rows) == ["stress", "short_option"]
    for name, row in rows.items():
        at = int((without[name] - with_).argmax())
        assert row["Scenario"] == view.names[at]
        assert row["Uncovered without"] == short(float(without[name][at]))
        assert row["Uncovered with"] == short(float(with_[at]))


def test_walls_are_told_with_and_without_margin_for_them(view: StressView) -> None:
    rows = table(view, "Walls in numbers")
    assert [row["Wall by"] for row in rows] == ["venue"] * 3 + ["chain"] * 3
    for wall, three in (("venue", rows[:3]), ("chain", rows[3:])):
        at = int(values(view, "uncovered", "blind wall")[wall].argmax())
        for kind, row in zip(("no wall", "blind wall", "wall"), three, strict=True):
            assert row["Scenario"] == view.names[at]
            assert row["Uncovered"] == short(float(values(view, "uncovered", kind)[wall][at]))
            assert row["Failed"] == exact(float(values(view, "failed", kind)[wall][at]))


def test_layers_and_walls_are_drawn_with_their_cost(view: StressView) -> None:
    (picture,) = [
        block
        for part in sections_of_systems(view)
        for block in part.blocks
        if isinstance(block, Picture) and block.name == "insulation"
    ]
    (choice,) = picture.choices
    cost, gained = choice.traces[0]["x"], choice.traces[1]["x"]
    assert len(cost) == len(gained) == 4
    assert all(one >= 0.0 for one in [*cost, *gained])
    capital = values(view, "capital", "system")["layered"]
    stress_cost = float(capital - values(view, "capital", "layer")["stress"])
    walled = float(values(view, "capital", "wall")["venue"] - capital)
    assert cost[2] / cost[0] == pytest.approx(walled / stress_cost, rel=1e-5)


def test_names_of_rule_books_are_never_markup(view: StressView) -> None:
    names = np.array([HOSTILE] * view.totals.sizes["arrangement"], dtype=object)
    totals = view.totals.assign(arrangement_of=("arrangement", names))
    attacked = replace(view, totals=totals.assign_coords(arrangement=names))
    own = without_plotly(render(attacked))
    assert html.escape(HOSTILE) in own.replace("\N{NO-BREAK SPACE}", " ")
    assert "<script>window.broken" not in own
    assert "<b>bold" not in own
    for part in sections_of_systems(attacked):
        for block in part.blocks:
            if isinstance(block, Picture):
                drawn = json.dumps([[one.traces, one.layout] for one in block.choices])
                assert "<script" not in drawn


def test_where_there_is_nothing_to_compare_sentences_say_so(view: StressView) -> None:
    kinds = np.array(view.totals["arrangement_kind"].values.tolist())
    totals = view.totals.isel(arrangement=np.flatnonzero(kinds == "system"))
    quiet = totals.assign(arrangement_uncovered=totals["arrangement_uncovered"] * 0.0)
    bare = replace(view, totals=quiet)
    blocks = [block for part in sections_of_systems(bare) for block in part.blocks]
    said = " ".join(one.text for one in blocks if isinstance(one, Sentence))
    for words in ("covers every scenario", "no layer beside", "no walls", "has one layer"):
        assert words in said


def test_plotly_knows_every_property_that_is_set(view: StressView) -> None:
    for part in sections_of_systems(view):
        for block in part.blocks:
            for choice in block.choices if isinstance(block, Picture) else ():
                text = json.dumps({"data": choice.traces, "layout": choice.layout})
                go.Figure(json.loads(re.sub(r'"--[a-z0-9-]+"', '"#123456"', text)))


@pytest.mark.slow
@needs_browser
@pytest.mark.parametrize("width", [1280, 500])
def test_pictures_are_drawn_in_a_browser(view: StressView, tmp_path: Path, width: int) -> None:
    page = tmp_path / "page.html"
    write_stress_report(view, page)
    seen, console = browse(page, tmp_path, width)
    assert not console
    assert not seen["errors"]
    assert seen["wanted"] <= seen["width"], "the page is wider than the window"
    for name in ("systems", "insulation"):
        wide, high, marks = seen["sizes"][f"picture-{name} "]
        assert (wide > 200, high > 150, marks > 0) == (True, True, True)
