"""Contagion on the page and in the terminal: the numbers are those of the run."""

import io
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from flows.format import short
from flows.report.picture import Picture, Sentence
from flows.report.stress import contagion
from flows.stress_tables import print_stress
from flows.stress_view import stress_view
from tests.workers.stressed import plan_file, stress
from workers.stress.request import StressRequest


@pytest.fixture(scope="module")
def done(synthetic_book, margin_of, tmp_path_factory):
    home = tmp_path_factory.mktemp("contagion")
    margined = margin_of(synthetic_book(2_000), runs=home / "runs")
    plan = plan_file(home)
    return stress(
        StressRequest(
            run=margined.run.run_id, plan=plan, runs=home / "runs", stresses=home / "stresses"
        )
    )


@pytest.fixture(scope="module")
def view(done):
    return stress_view(done.run)


@pytest.fixture(scope="module")
def row(view):
    """The scenario in which most is not paid."""
    return int(view.network["unpaid"].values.sum(axis=1).argmax())


def test_bands_are_what_is_not_paid_and_who_fails_is_red(view, row):
    picture = contagion.network(view)
    assert isinstance(picture, Picture)
    assert picture.choices[0].label == view.names[row]
    inside = view.network["link_scenario"].values == row
    for choice, name in ((picture.choices[0], "unpaid"), (picture.choices[-1], "owed")):
        (trace,) = choice.traces
        whole = view.network[f"link_{name}"].values[inside].sum()
        assert sum(trace["link"]["value"]) == pytest.approx(whole, rel=1e-5)
        late = np.array(trace["link"]["color"]) == "--alarm"
        unpaid = np.array(trace["link"]["value"])[late].sum()
        assert unpaid == pytest.approx(view.network["unpaid"].values[row].sum(), rel=1e-5)
        # From the left to the right, never round in a circle.
        ends = list(zip(trace["link"]["source"], trace["link"]["target"], strict=True))
        after = {
            node: {b for a, b in ends if a == node} for node in range(len(trace["node"]["label"]))
        }
        reached = set()
        for _ in after:
            reached |= {node for node in after if after[node] <= reached}
        assert reached == set(after)
    failed = view.network["default_round"].values[row] > 0
    names = set(view.network["node"].values[failed].tolist())
    labels = zip(trace["node"]["label"], trace["node"]["color"], strict=True)
    red = {label for label, colour in labels if colour == "--alarm"}
    assert {name for name in red if not name.startswith("other")} <= names
    assert red


def test_tables_have_the_sums_of_the_run(view, row):
    network = view.network
    (layers, kinds) = (contagion.layer_table(view), contagion.kind_table(view))
    first = [one for one in layers.rows if one[0] == view.names[row]]
    unpaid = network["unpaid"].values[row]
    assert [one[5] for one in first] == [short(float(one)) for one in unpaid if one > 0.0]
    venue = next(one for one in kinds.rows if one[:2] == (view.names[row], "The venue"))
    at = network["kind"].values.tolist().index("venue")
    assert venue[4] == short(float(network["borne"].values[row, at]))
    failed = network["default_round"].values[row]
    shown = contagion.failed_table(view).rows
    assert len(shown) == min((failed > 0).sum(), contagion.FAILED)
    assert len(contagion.scenario_table(view).rows) == (network["unpaid"].sum("layer") > 0).sum()


def test_the_terminal_says_it_in_two_lines(done, view, row):
    output = io.StringIO()
    print_stress(Console(file=output, width=200), done.run)
    (line,) = [one for one in output.getvalue().splitlines() if one.startswith("Contagion, ")]
    failed = (view.network["default_round"].values[row] > 0).sum()
    assert line.startswith(f"Contagion, {view.names[row]}: {failed} fail")
    assert short(float(view.network["unpaid"].values[row].sum())) in line
    assert "borne in the end by member" in output.getvalue()


def test_where_everybody_pays_there_is_nothing_to_draw(view):
    paid = view.network.assign(unpaid=0.0 * view.network["unpaid"])
    assert isinstance(contagion.network(replace(view, network=paid)), Sentence)
