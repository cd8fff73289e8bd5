"""The distribution of the system's loss over history, and its tail."""

import contextlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flows.format import exact, money, percent
from flows.report.picture import (
    Choice,
    Layout,
    Picture,
    Sentence,
    Trace,
    amount_axis,
    decades,
    plain,
    unit_of,
)
from flows.report.view import RunView
from risk.measures import Measure, expected_shortfall, value_at_risk

NAMES = {"value_at_risk": "VaR", "expected_shortfall": "ES"}


@dataclass(frozen=True, slots=True)
class TailMeasure:
    """One measure of the methodology, taken of the system's loss, in USD."""

    measure: Measure
    amount: float

    @property
    def name(self) -> str:
        """Its kind and level, such as ``ES 97.5 %``."""
        aged = " by age" if self.measure.age_decay is not None else ""
        return f"{NAMES[self.measure.kind]} {percent(self.measure.level)}{aged}"

    @property
    def beyond(self) -> str:
        """The part of the windows that is in its tail."""
        return percent(round(1.0 - self.measure.level, 9))

    @property
    def words(self) -> str:
        """What it says of the windows."""
        aged = self.measure.age_decay is not None
        count = "of windows, which count by age," if aged else "of windows"
        beyond = self.beyond
        if self.measure.kind == "value_at_risk":
            return (
                f"Value at risk ({self.name}): {beyond} {count} lose {money(self.amount)} or more."
            )
        return (
            f"Expected shortfall ({self.name}): the worst {beyond} {count} lose "
            f"{money(self.amount)} on average."
        )


Tail = tuple[TailMeasure, ...]
"""The tail of the system's loss over history, by the levels of the methodology's measures."""


def system_tail(view: RunView) -> Tail:
    """Return the methodology's measures over history, taken of the system's loss.

    Measures of which there are too few windows are left out, and those of one level are one.
    """
    loss, rows = view.per_scenario("loss"), view.rows("historical")
    found: dict[str, TailMeasure] = {}
    for measure in view.measures:
        of_history = len(rows) and (measure.start, measure.stop) == (rows[0], rows[-1] + 1)
        if measure.kind in NAMES and of_history:
            with contextlib.suppress(ValueError):
                one = TailMeasure(measure, _taken(-loss[rows], measure))
                found.setdefault(one.name, one)
    return tuple(found.values())


def _taken(pnl: NDArray[np.float64], measure: Measure) -> float:
    if measure.kind == "value_at_risk":
        return value_at_risk(pnl, measure.level, measure.convention, measure.age_decay)
    return expected_shortfall(pnl, measure.level, measure.age_decay)


def distribution(view: RunView, tail: Tail) -> list[Picture | Sentence]:
    """Return the distribution of the system's loss over the historical windows, and its tail."""
    title = "How often the system loses how much"
    rows = view.rows("historical")
    if not len(rows):
        return []
    loss = view.per_scenario("loss")[rows]
    if len(loss) < 2 or not (loss > 0.0).any():
        return [Sentence(title, "No historical window of this run makes any account lose.")]
    return [
        Picture(
            name="distribution",
            title=title,
            caption=(
                f"Number of the {len(loss):,} historical windows, which count alike, by system "
                f"loss in US dollars, positive. {_told(tail)}"
            ),
            choices=(_histogram(loss, tail),),
            height=360,
        ),
        Picture(
            name="tail",
            title="The tail of that loss",
            caption=(
                "For every system loss, in US dollars, the share of windows that lose at least as "
                "much; both axes are logarithmic. The flatter the line ends, the heavier the tail "
                "and the less the past says about the worst that can come."
            ),
            choices=(_exceedance(loss, tail),),
            height=360,
        ),
    ]


def _told(tail: Tail) -> str:
    if not tail:
        return "No measure of the rule book could be taken of them."
    return " ".join(one.words for one in tail)


def _marks(tail: Tail, scale: float, logarithmic: bool) -> Layout:
    """Draw the measures as upright lines with their amounts."""
    marks = sorted(
        (
            one.amount,
            one.name,
            "--alarm" if one.measure.kind == "expected_shortfall" else "--layer-2",
        )
        for one in tail[:2]
    )
    shapes = []
    notes = []
    # Words stand outside the pair, so that they do not meet however close the lines are.
    for (amount, name, colour), side in zip(marks, ("right", "left"), strict=False):
        if amount <= 0.0:
            continue
        at = amount / scale
        line = {"width": 1.5, "color": colour, "dash": "dash"}
        shapes.append(
            {"type": "line", "x0": at, "x1": at, "yref": "paper", "y0": 0, "y1": 1, "line": line}
        )
        notes.append(
            {
                "x": float(np.log10(at)) if logarithmic else at,
                "yref": "paper",
                "y": 0.98,
                "yanchor": "top",
                "text": f"{name}<br><b>{money(amount)}</b>",
                "align": side,
                "showarrow": False,
                "xanchor": side,
                "xshift": 5 if side == "left" else -5,
                "font": {"size": 11, "color": colour},
            }
        )
    return {"shapes": shapes, "annotations": notes}


def _histogram(loss: NDArray[np.float64], tail: Tail) -> Choice:
    unit = unit_of(loss)
    counts, edges = np.histogram(loss, bins=min(60, max(10, len(loss) // 12)))
    texts = [
        f"{exact(count)} windows lose<br>{money(low)} to {money(high)}"
        for count, low, high in zip(counts, edges[:-1], edges[1:], strict=True)
    ]
    trace: Trace = {
        "type": "bar",
        "x": unit.of((edges[:-1] + edges[1:]) / 2.0),
        "y": counts.tolist(),
        "width": float(edges[1] - edges[0]) / unit.scale * 0.92,
        "marker": {"color": "--layer-1"},
        "customdata": texts,
        "hovertemplate": "%{customdata}<extra></extra>",
    }
    layout: Layout = {
        "xaxis": amount_axis(unit.words, loss / unit.scale, room=0.08) | {"showgrid": False},
        "yaxis": {"title": {"text": "Windows"}, "rangemode": "tozero"},
        "showlegend": False,
    }
    return Choice("Histogram", [trace], layout | _marks(tail, unit.scale, logarithmic=False))


def _exceedance(loss: NDArray[np.float64], tail: Tail) -> Choice:
    ordered = np.sort(loss[loss > 0.0])[::-1]
    share = np.arange(1, len(ordered) + 1) / len(loss)
    texts = [
        f"{percent(part)} of windows lose<br>{money(amount)} or more"
        for part, amount in zip(share, ordered, strict=True)
    ]
    trace: Trace = {
        "type": "scatter",
        "mode": "lines+markers",
        "x": plain(ordered),
        "y": plain(share * 100.0),
        "line": {"width": 1.2, "color": "--layer-1", "shape": "vh"},
        "marker": {"size": 4, "color": "--layer-1"},
        "customdata": texts,
        "hovertemplate": "%{customdata}<extra></extra>",
    }
    percents = [10.0**power for power in range(-4, 3)]
    # A few windows of next to no loss would stretch a logarithmic axis over empty decades.
    shown = ordered[: max(1, int(0.98 * len(ordered)))]
    layout: Layout = {
        "xaxis": decades("USD, logarithmic", float(ordered[0]), float(shown[-1])),
        "yaxis": {
            "type": "log",
            "title": {"text": "Share of windows, logarithmic"},
            "tickvals": percents,
            "ticktext": [percent(value / 100.0) for value in percents],
            "range": [float(np.log10(share[0] * 100.0)) - 0.1, 2.1],
        },
        "showlegend": False,
    }
    return Choice("Tail", [trace], layout | _marks(tail, 1.0, logarithmic=True))
