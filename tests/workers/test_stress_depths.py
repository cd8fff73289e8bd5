"""The same shock at several depths: which scenarios there are, and what the page draws of them."""

import json
import re

import numpy as np
import plotly.graph_objects as go
import pytest

from flows.report.stress.depth import by_depth, curves
from flows.stress_view import stress_view
from tests.workers.stressed import SMALL_PLAN, plan_file, stress
from workers.engine import SerialEngine
from workers.stress.request import StressRequest
from workers.stress.run import StressRun

DEPTHS = """
[[depths]]
of = ["liquidation cascade", "down"]
parts = [1.0, 0.1, 0.02]

[[depths]]
of = ["liquidation cascade x1.5", "price -16% vol +50%"]
parts = [0.02]
"""


@pytest.fixture(scope="module")
def request_of(synthetic_book, margin_of, tmp_path_factory):
    margined = margin_of(synthetic_book(9_000))

    def request(text):
        folder = tmp_path_factory.mktemp("depths")
        return StressRequest(
            run=margined.run.run_id,
            plan=plan_file(folder, text),
            runs=margined.request.runs,
            stresses=folder / "stresses",
        )

    return request


@pytest.fixture(scope="module")
def done(request_of):
    return stress(request_of(SMALL_PLAN + DEPTHS.replace('"down"', '"all quiet"')))


def test_a_shock_is_the_same_at_every_depth(done):
    plan = done.run.groups["plan"].load()
    for name in ("liquidation cascade", "all quiet"):
        for part in (1.0, 0.1, 0.02):
            own, other = done.row(name), done.row(f"{name} at depth {part:g}")
            assert plan["depth"].values[other] == part
            for shock in ("price", "volatility", "perpetual_basis", "forward_basis"):
                np.testing.assert_array_equal(plan[shock].values[other], plan[shock].values[own])
            assert done.values("lost_alone")[other] == done.values("lost_alone")[own]
    # A scenario of the margin run that the plan itself does not take has a depth all the same.
    assert plan["price"].values[done.row("price -16% vol +50% at depth 0.02")].max() == -0.16


def test_a_thin_market_moves_the_price_more(done):
    """The first sale is the same at every depth; its move goes with the root of one over it."""
    moves = []
    for part in (1.0, 0.1, 0.02):
        row = done.row(f"all quiet at depth {part:g}")
        moves.append(-np.log(done.values("price")[row, 1]))
    np.testing.assert_allclose(moves[1], moves[0] * np.sqrt(10.0), rtol=1e-9)
    np.testing.assert_allclose(moves[2], moves[0] * np.sqrt(50.0), rtol=1e-9)


def test_the_page_draws_a_line_for_each_shock(done):
    view = stress_view(done.run)
    found = curves(view)
    assert {name: view.depth[rows].tolist() for name, rows in found.items()} == {
        "liquidation cascade": [1.0, 0.5, 0.1, 0.02],
        "all quiet": [1.0, 0.5, 0.1, 0.02],
        "liquidation cascade x1.5": [0.5, 0.02],
        "price -16% vol +50%": [0.02],
    }
    picture = by_depth(view)
    rows = found["liquidation cascade"]
    drawn = {choice.label: choice.traces[0] for choice in picture.choices}
    np.testing.assert_allclose(drawn["Amplification"]["y"], view.amplification[rows], rtol=1e-6)
    np.testing.assert_allclose(drawn["Uncovered"]["y"], view.total("shortfall")[rows], rtol=1e-6)
    for choice in picture.choices:
        text = json.dumps({"data": choice.traces, "layout": choice.layout})
        go.Figure(json.loads(re.sub(r'"--[a-z0-9-]+"', '"#123456"', text)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('of = ["flood"]\nparts = [0.1]', "takes 'flood' at other depths, which neither"),
        ('of = ["down"]\nparts = []', "parts"),
        ('of = ["down"]\nparts = [0.0]', "parts"),
        ('of = ["down"]\nparts = [0.1, 0.1]', "DUPLICATE_SCENARIO"),
    ],
)
def test_depths_that_make_no_sense_are_refused(request_of, text, message):
    request = request_of(f"{SMALL_PLAN}\n[[depths]]\n{text}\n")
    with StressRun(request, SerialEngine) as run, pytest.raises(ValueError, match=message):
        run.prepare()
