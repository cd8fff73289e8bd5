"""What the whole system loses: over time, in the worst events and as a distribution."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from flows.format import accounts_words, exact, money
from flows.report.events import scenario_name, scenario_words, separate_worst
from flows.report.picture import (
    Choice,
    Layout,
    Picture,
    Sentence,
    Trace,
    amount_axis,
    bars,
    end_labels,
    hover,
    largest_first,
    named_axis,
    plain,
    safe,
    unit_of,
)
from flows.report.view import RunView

NAMED = 6
NAMED_FROM = 0.02
"""Windows below this fraction of the worst are not worth a name."""

RANKED = 14


def scenario_hover(view: RunView, row: int) -> str:
    """Return what the pointer says about a scenario."""
    return hover(
        scenario_words(view, row),
        ("System loss", money(view.per_scenario("loss")[row])),
        ("Beyond equity", money(view.per_scenario("uncovered")[row])),
        ("Accounts under water", exact(view.per_scenario("under_water")[row])),
    )


def over_time(view: RunView) -> Picture | Sentence:
    """Return the picture of the system's loss in every historical window."""
    title = "Today's book through every past window"
    rows = view.rows("historical")
    if not len(rows):
        return Sentence(
            "No history",
            "This rule book replays no history, so the run does not say how often the system "
            f"would lose how much. {_instead(view)}",
            wide=True,
        )
    texts = [scenario_hover(view, row) for row in rows.tolist()]
    choices = (
        _history(view, rows, texts, "System loss", "loss", "--layer-1"),
        _history(view, rows, texts, "Beyond equity", "uncovered", "--alarm"),
        _history(view, rows, texts, "Accounts under water", "under_water", "--layer-3"),
    )
    return Picture(
        name="over-time",
        title=title,
        caption=(
            f"Each of the {len(rows):,} points replays the market moves of one window on the book "
            "as it is now, at the date on which the window began. System loss: the losses of all "
            "accounts that lose, after netting inside each account, in US dollars, positive. "
            "Beyond equity: the part that the accounts' own equity cannot pay, which falls on the "
            "default waterfall. The worst separate windows are named; drag to zoom, double-click "
            f"to return.{_proxied(view)}"
        ),
        choices=choices,
        height=400,
        wide=True,
    )


def _instead(view: RunView) -> str:
    """Return what a run without history has."""
    if not len(view.scenarios["scenario"]):
        return "It has no other scenarios either."
    binding = set(view.rule_book.get("binding_origins", [])) | {"scan", "grid"}
    events = "" if "event" in binding else ", and named events that are only reported"
    if binding & set(view.origin.tolist()):
        return f"Below are the rule book's own scenarios{events}."
    return (
        "Its requirement comes from no scenario at all; named events are reported beside it, to "
        "show what it covers."
    )


def _proxied(view: RunView) -> str:
    if "proxied" not in view.scenarios:
        return ""
    flags = view.scenarios["proxied"]
    if "underlying" not in flags.dims:
        return ""
    other = [dim for dim in flags.dims if dim != "underlying"]
    proxied = np.asarray(flags.any(dim=other).values, dtype=bool)
    names = [str(name) for name in view.scenarios["underlying"].values[proxied]]
    if not names:
        return ""
    listed = ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
    return (
        f" No price history of its own covers every window for {listed}: there its moves are "
        "those of a proxy."
    )


def _history(
    view: RunView,
    rows: NDArray[np.int64],
    texts: Sequence[str],
    label: str,
    variable: str,
    colour: str,
) -> Choice:
    values = view.per_scenario(variable)
    counted = variable == "under_water"
    unit = unit_of(values[rows])
    scale = 1.0 if counted else unit.scale
    starts = view.scenarios["window_start"].values
    order = rows[np.argsort(starts[rows], kind="stable")]
    by_row = dict(zip(rows.tolist(), texts, strict=True))
    trace: Trace = {
        "type": "scatter",
        "mode": "lines",
        "name": label,
        "x": [str(stamp) for stamp in starts[order].astype("datetime64[m]")],
        "y": plain(values[order] / scale),
        "line": {"width": 1.2, "color": colour},
        "fill": "tozeroy",
        "fillcolor": f"{colour}-soft",
        "customdata": [by_row[row] for row in order.tolist()],
        "hovertemplate": "%{customdata}<extra></extra>",
    }
    axis = amount_axis("Accounts" if counted else unit.words, values[rows] / scale, room=0.28)
    layout: Layout = {
        "xaxis": {"type": "date", "showgrid": False},
        "yaxis": axis | {"zeroline": True},
        "hovermode": "closest",
        "showlegend": False,
        "annotations": _annotations(view, values, scale, counted),
    }
    return Choice(label, [trace], layout)


def _annotations(
    view: RunView, values: NDArray[np.float64], scale: float, counted: bool
) -> list[Layout]:
    """Return names of the worst windows; those too close to a worse one to be read are left out."""
    starts = view.scenarios["window_start"].values
    rows = view.rows("historical")
    span = (starts[rows].max() - starts[rows].min()) / np.timedelta64(1, "s") or 1.0
    placed: list[float] = []
    notes: list[Layout] = []
    for row in separate_worst(view, values, 4 * NAMED).tolist():
        if values[row] <= NAMED_FROM * values[rows].max() or len(notes) == NAMED:
            break
        at = float((starts[row] - starts[rows].min()) / np.timedelta64(1, "s")) / span
        if any(abs(at - other) < 0.12 for other in placed):
            continue
        placed.append(at)
        amount = exact(values[row]) if counted else money(values[row])
        notes.append(
            {
                "name": "always" if len(notes) < 2 else "roomy",
                "x": str(starts[row].astype("datetime64[m]")),
                "y": float(values[row] / scale),
                "text": f"{safe(scenario_name(view, row))}<br><b>{amount}</b>",
                "showarrow": True,
                "arrowhead": 0,
                "arrowwidth": 1,
                "ax": 0,
                "ay": -22,
                "yanchor": "bottom",
                "xanchor": "left" if at < 0.06 else "right" if at > 0.94 else "center",
                "font": {"size": 11},
            }
        )
    return notes


def worst_scenarios(view: RunView) -> Picture | Sentence:
    """Return the worst scenarios of each origin, ranked and named."""
    title = "The worst scenarios, named"
    loss = view.per_scenario("loss")
    groups = (
        ("Historical windows", separate_worst(view, loss, RANKED)),
        ("Extremes of episodes", _ranked(loss, view.rows("episode"))),
        ("Rule book's scenarios", _ranked(loss, view.rows("scan"))),
        ("Named events", _ranked(loss, view.rows("event"))),
        ("Price and volatility grid", _ranked(loss, view.rows("grid"))),
    )
    shown = [(label, rows) for label, rows in groups if len(rows)]
    if not shown:
        return Sentence(title, "This run has no scenarios.")
    # As many rows whatever is chosen, so that bars keep their thickness.
    most = max(len(rows) for _, rows in shown)
    return Picture(
        name="worst",
        title=title,
        caption=(
            "System loss of each scenario (pale) and the part of it beyond the accounts' own "
            "equity (red), in US dollars, both positive and both from zero. The words give the "
            "loss and the number of accounts under water: those whose loss exceeds their equity."
            f"{_left_out(view)}"
        ),
        choices=[_ranking(view, label, rows, most) for label, rows in shown],
        height=96 + 30 * most,
    )


def _left_out(view: RunView) -> str:
    """Return what a reader must know of the rows and lengths of the ranking."""
    parts = []
    if len(view.rows("historical")):
        parts.append("Historical windows that overlap a worse one are left out.")
    scanned = np.concatenate([view.rows("scan"), view.rows("grid")])
    if (view.scenarios["weight"].values[scanned] < 1.0).any():
        parts.append("A margin counts extreme moves in part; here they are whole.")
    if view.in_coin:
        parts.append(
            "In the rule book's scenarios what is paid in coin counts in coin, and futures move "
            "no further than the edge of its range; named events are revalued in full."
        )
    return "".join(f" {part}" for part in parts)


def _ranked(loss: NDArray[np.float64], rows: NDArray[np.int64]) -> NDArray[np.int64]:
    return rows[largest_first(loss[rows], RANKED)]


def _ranking(view: RunView, label: str, rows: NDArray[np.int64], most: int) -> Choice:
    loss = view.per_scenario("loss")[rows]
    uncovered = view.per_scenario("uncovered")[rows]
    under_water = view.per_scenario("under_water")[rows]
    unit = unit_of(np.maximum(loss, uncovered))
    texts = [scenario_hover(view, row) for row in rows.tolist()]
    whole = bars(unit.of(loss), texts, "--calm", "System loss")
    beyond = bars(unit.of(uncovered), texts, "--alarm", "Beyond equity")
    beyond["width"] = 0.35
    words = [
        f"{money(amount)} · {accounts_words(count)}" if count else money(amount)
        for amount, count in zip(loss, under_water, strict=True)
    ]
    ends = [max(a or 0.0, b or 0.0) for a, b in zip(unit.of(loss), unit.of(uncovered), strict=True)]
    layout: Layout = {
        "barmode": "overlay",
        "xaxis": amount_axis(unit.words, np.array(ends), room=0.85),
        "yaxis": named_axis([scenario_name(view, row) for row in rows.tolist()])
        | {"range": [most - 0.4, -0.6]},
    }
    return Choice(label, [whole, beyond, end_labels(ends, words)], layout)
