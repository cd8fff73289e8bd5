"""A plan of a stress test that is not usable is refused in sentences, before an engine starts."""

import io

import pytest
from rich.console import Console

import flows.here
from flows.commands.stress import run_stress
from flows.commands.stress_plan import PlanRefused, require_plan
from flows.progress import TerminalProgress
from tests.workers.stressed import SMALL_PLAN, plan_file

MISTAKES = {
    "layers number 2, payer is 'me'; it should be 'defaulter', 'survivors', 'venue' or 'winners'": (
        'payer = "venue"',
        'payer = "me"',
    ),
    "cascade, rounds is 0; it should be greater than or equal to 1": ("rounds = 25", "rounds = 0"),
    "cascade: rounds is 3, steps 3; a cascade needs more rounds than its shock has steps": (
        "rounds = 25",
        "rounds = 3",
    ),
    "title is missing; give it": ('title = "Events, and some of the plan\'s own"', ""),
    "colour is no field of a plan; correct its name, or leave it out": (
        "depth = 0.5",
        'depth = 0.5\ncolour = "red"',
    ),
    "the text is no TOML: Invalid value (at line 8, column 9)": ("depth = 0.5", "depth = "),
}


@pytest.mark.parametrize("sentence", MISTAKES)
def test_what_is_wrong_is_told_with_the_file(sentence, tmp_path):
    good, bad = MISTAKES[sentence]
    assert good in SMALL_PLAN
    file = tmp_path / "plan.toml"
    file.write_text(SMALL_PLAN.replace(good, bad, 1))
    with pytest.raises(PlanRefused) as refused:
        require_plan(str(file))
    assert str(refused.value) == f"{file}: {sentence}"


def test_each_mistake_is_told_once(tmp_path):
    file = tmp_path / "plan.toml"
    file.write_text(SMALL_PLAN.replace("daily_volume = 20_000_000.0", "daily_volume = -1.0"))
    with pytest.raises(PlanRefused) as refused:
        require_plan(str(file))
    assert str(refused.value) == (
        f"{file}: markets number 1, daily_volume is -1.0; it should be greater than or equal to 1"
    )


def test_what_the_margin_run_lacks_is_told_before_an_engine_starts(
    synthetic_book, margin_of, tmp_path, monkeypatch
):
    margined = margin_of(synthetic_book(2_000))
    plan = plan_file(tmp_path, SMALL_PLAN.replace('"liquidation cascade"', '"cascode"'))
    monkeypatch.setattr(flows.here, "run_here", lambda *_: pytest.fail("an engine was started"))
    given = {
        "run": margined.run.run_id,
        "plan": plan,
        "runs": str(margined.request.runs),
        "stresses": str(tmp_path / "stresses"),
    }
    with pytest.raises(PlanRefused) as refused:
        run_stress(given)
    assert str(refused.value).startswith(f"{plan}: plan small makes 'cascode' more severe")


def test_a_stage_that_waits_ends_as_the_next_begins():
    output = io.StringIO()
    with TerminalProgress(Console(file=output, width=100)) as progress:
        progress.begin("start the flow", 1, "")
        progress.begin("search", 17_000, "shocks")
        progress.advance(14_138)
        progress.end()
        progress.end()
        progress.begin("close the engines", 1, "")
    said = [line.partition(": done")[0] for line in output.getvalue().splitlines()]
    assert said == [
        *("start the flow ...", "start the flow", "search, 17,000 shocks ...", "search"),
        *("close the engines ...", "close the engines"),
    ]
    assert progress._progress.tasks[1].total == 14_138
