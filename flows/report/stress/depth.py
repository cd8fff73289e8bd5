"""The same shock at several depths: what a thin market adds to a loss."""

import numpy as np

from flows.format import money, percent, short
from flows.report.picture import LAYER_COLOURS, Choice, Picture, Sentence, hover, plain, safe
from flows.report.stress.scenarios import times
from flows.report.stress.view import Floats, Rows, StressView
from risk.systemic.plan import at_depth


def curves(view: StressView) -> dict[str, Rows]:
    """Return the scenarios of each shock that the plan takes at several depths, deepest first."""
    row = {name: at for at, name in enumerate(view.names)}
    found: dict[str, set[int]] = {}
    for depths in view.rules.depths:
        for name in depths.of:
            rows = {row[at_depth(name, part)] for part in depths.parts}
            found.setdefault(name, set()).update(rows, {row[name]} if name in row else set())
    return {
        name: np.array(sorted(rows, key=lambda at: (-view.depth[at], at)), dtype=np.int64)
        for name, rows in found.items()
    }


def by_depth(view: StressView) -> Picture | Sentence:
    """Return amplification, and what is left uncovered, of each shock against depth."""
    title = "The same shock at several depths"
    found = curves(view)
    if not found:
        return Sentence(
            title,
            "The plan takes no scenario at several depths; the table [[depths]] of a plan does, as "
            "in margincube-depth-2026-01.",
            wide=True,
        )
    shortfall = view.total("shortfall")
    return Picture(
        name="depth",
        title=title,
        caption=(
            "Each line is one shock, at several parts of a coin's daily volume that are there; the "
            f"market is thinner to the right. Amplification is loss of {view.losers}, by the end "
            "over the loss with nobody closed; uncovered is what accounts lose over what they had, "
            "with the loss of the vault, US dollars."
        ),
        choices=(
            _choice(view, found, "Amplification", view.amplification, {}),
            _choice(
                view,
                found,
                "Uncovered",
                shortfall,
                {"rangemode": "tozero", "tickformat": "~s"},
            ),
        ),
        height=400,
        wide=True,
    )


def _choice(
    view: StressView, found: dict[str, Rows], label: str, values: Floats, axis: dict[str, object]
) -> Choice:
    depths = sorted({float(view.depth[row]) for rows in found.values() for row in rows})
    traces = [
        {
            "type": "scatter",
            "mode": "lines+markers",
            "name": safe(name),
            "x": plain(view.depth[rows]),
            "y": plain(values[rows]),
            "line": {"color": LAYER_COLOURS[at % len(LAYER_COLOURS)], "width": 2},
            "marker": {"size": 7},
            "customdata": [
                hover(
                    name,
                    ("Depth", percent(float(view.depth[row]))),
                    ("Amplification", times(float(view.amplification[row]))),
                    ("Loss", money(float(view.lost[row]))),
                    ("Uncovered", money(float(view.total("shortfall")[row]))),
                    ("Sold", short(float(view.total("sold")[row]))),
                )
                for row in rows
            ],
            "hovertemplate": "%{customdata}<extra></extra>",
        }
        for at, (name, rows) in enumerate(found.items())
    ]
    return Choice(
        label,
        traces,
        {
            "xaxis": {
                "type": "log",
                "title": {"text": "Part of daily volume that is there"},
                "tickvals": depths,
                "ticktext": [percent(depth) for depth in depths],
                "autorange": "reversed",
            },
            "yaxis": {"title": {"text": label}, **axis},
        },
    )
