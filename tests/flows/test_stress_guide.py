"""The guide to stress shows what the command prints, and drawings of a real cascade."""

import io
import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from rich.console import Console

from flows.report.stress.drawing import UnknownScenario, draw
from flows.stress_tables import print_stress
from flows.stress_view import StressOutdated, stress_view
from risk.systemic.plan import parse_stress_plan
from tests.conftest import approved
from tests.workers.stressed import stress
from workers.methodologies import DEFAULT_METHODOLOGY
from workers.stress.request import DEFAULT_PLAN, StressRequest, load_plan

DOCS = Path(__file__).parents[2] / "docs"
GUIDE = (DOCS / "stress.md").read_text()


@pytest.fixture(scope="module")
def stressed_by(synthetic_book, margin_of, tmp_path_factory):
    """Return a function that stresses the margin run of the guide by a plan."""
    folder = tmp_path_factory.mktemp("guide")
    margined = margin_of(
        synthetic_book(2_000), runs=folder / "runs", methodology=DEFAULT_METHODOLOGY
    )

    def by(plan):
        return stress(
            StressRequest(
                run=margined.run.run_id,
                plan=plan,
                runs=folder / "runs",
                stresses=folder / "stresses",
            )
        )

    return by


@pytest.fixture(scope="module")
def done(stressed_by):
    return stressed_by(DEFAULT_PLAN)


def tables_of(done):
    """What the command prints of a stress run, without spaces at the ends of lines."""
    output = io.StringIO()
    print_stress(Console(file=output, width=130), done.run)
    return "".join(f"{line.rstrip()}\n" for line in output.getvalue().splitlines())


def test_the_tables_are_those_that_are_shown(done, stressed_by, tmp_path):
    *shown, walls = re.findall(r"```text\n(.*?)```", GUIDE, re.DOTALL)
    assert len(shown) > 1
    printed = tables_of(done)
    for table in shown:
        assert table in printed
    with_walls = tmp_path / "walls.toml"
    text = load_plan(DEFAULT_PLAN).text
    walled = text.replace("walls = []", 'walls = ["venue", "protocol", "chain"]')
    with_walls.write_text(approved(walled))
    assert walls in tables_of(stressed_by(str(with_walls)))


def test_the_plan_that_is_shown_is_one():
    (text,) = re.findall(r"```toml\n(.*?)```", GUIDE, re.DOTALL)
    plan = parse_stress_plan(text)
    assert plan.scenarios[0].depth == 0.1
    shipped = load_plan(DEFAULT_PLAN).plan
    assert (plan.liquidation, plan.cascade) == (shipped.liquidation, shipped.cascade)


def test_a_drawing_shows_every_round_of_a_cascade(done):
    view = stress_view(done.run)
    for scenario in ("48h to 2020-03-13T02:00", "short squeeze x2", "all quiet"):
        drawing = ElementTree.fromstring(draw(view, scenario))
        names = [part.tag.rpartition("}")[2] for part in drawing]
        rounds = int((view.values("liquidated")[view.names.index(scenario)] >= 0).sum())
        assert names.count("rect") == 1 + rounds
        assert names.count("polyline") == len(view.coins)
        assert f">{scenario}<" in ElementTree.tostring(drawing, encoding="unicode")


def test_a_scenario_that_is_not_there_is_refused(done):
    with pytest.raises(UnknownScenario, match="has no scenario 'flood'; it has"):
        draw(stress_view(done.run), "flood")


def test_a_run_that_stored_less_is_refused_in_a_sentence(done):
    groups = {**done.run.groups, "scenarios": done.run.groups["scenarios"].drop_vars("loss")}
    with pytest.raises(StressOutdated, match="which did not store loss; a page needs that: stress"):
        stress_view(replace(done.run, groups=groups))


@pytest.mark.parametrize("name", re.findall(r"\]\((stress-[\d-]+\.svg)\)", GUIDE))
def test_the_pictures_of_the_guide_are_whole(name):
    drawing = ElementTree.parse(DOCS / name).getroot()
    assert len(drawing) > 30
