"""Who gains and who loses in the worst events: a map of members by scenario."""

import textwrap

import numpy as np
from numpy.typing import NDArray

from flows.format import money, percent
from flows.report.events import scenario_name
from flows.report.members import SHOWN
from flows.report.picture import (
    Choice,
    Layout,
    Picture,
    Trace,
    hover,
    largest_first,
    named_axis,
    plain,
    safe,
    unit_of,
)
from flows.report.view import RunView

KINDS = {
    "window": "worst separate historical windows",
    "event": "named events",
    "scenario": "rule book's worst scenarios",
}
"""What the columns are, by what the worst scenarios of a run are called."""


def member_scenarios(view: RunView, kind: str, worst: NDArray[np.int64]) -> Picture:
    """Return P&L by member in the worst scenarios, given by their rows, the worst first."""
    margin = view.folds["member_margin"].transpose("member", "layer").values
    rows = largest_first(np.asarray(margin, dtype=np.float64).sum(axis=1), SHOWN)
    pnl = np.asarray(
        view.folds["member_pnl"].transpose("member", "scenario").values, dtype=np.float64
    )[np.ix_(rows, worst)]
    equity = np.asarray(view.folds["member_equity"].values, dtype=np.float64)[rows, None]
    share = np.divide(pnl, equity, out=np.full(pnl.shape, np.nan), where=equity > 0.0)
    names = [str(name) for name in view.folds["member"].values[rows]]
    labels = [scenario_name(view, row) for row in worst.tolist()]
    texts = [
        [
            hover(
                name,
                ("In scenario", safe(label)),
                ("P&amp;L", money(amount)),
                ("Of the member's equity", percent(part)),
            )
            for label, amount, part in zip(labels, amounts, parts, strict=True)
        ]
        for name, amounts, parts in zip(names, pnl, share, strict=True)
    ]
    layout: Layout = {
        "xaxis": {
            "tickmode": "array",
            "tickvals": list(range(len(worst))),
            "ticktext": ["<br>".join(map(safe, textwrap.wrap(label, 12))) for label in labels],
            "tickangle": 0,
            "tickfont": {"size": 11},
            "showgrid": False,
        },
        "yaxis": named_axis(names),
        "showlegend": False,
    }
    unit = unit_of(pnl)
    return Picture(
        name="member-scenarios",
        title="Who wins and who loses in the worst events",
        caption=(
            "P&L of all accounts of a member taken together, as a share of the member's equity or "
            "in US dollars: gains are positive and blue, losses negative and red, deepest where a "
            f"member's whole equity is at stake. Columns are the {KINDS[kind]}, the worst first. "
            "Every contract has two sides, so red in a column is matched by blue; a member that "
            "is red in every column is the one to call."
        ),
        choices=(
            Choice("Share of equity", [_map(100.0 * share, texts, "% of equity", 100.0)], layout),
            Choice("US dollars", [_map(pnl / unit.scale, texts, unit.words, np.inf)], layout),
        ),
        height=110 + 24 * len(rows),
        wide=True,
    )


def _map(values: NDArray[np.float64], texts: list[list[str]], title: str, deepest: float) -> Trace:
    """Draw values on a scale of colours that is deepest at a value or at the largest there is."""
    largest = min(float(np.nanmax(np.abs(values), initial=0.0)) or 1.0, deepest)
    return {
        "type": "heatmap",
        "z": [plain(row) for row in values],
        "x": list(range(values.shape[1])),
        "y": list(range(values.shape[0])),
        "zmin": -largest,
        "zmax": largest,
        "colorscale": "--diverging",
        "xgap": 2,
        "ygap": 2,
        "customdata": texts,
        "hovertemplate": "%{customdata}<extra></extra>",
        "hoverongaps": False,
        "colorbar": {
            "title": {"text": title, "side": "right"},
            "thickness": 10,
            "outlinewidth": 0,
        },
    }
