"""The distribution of the system's loss over history, and its tail."""

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
from risk.measures import expected_shortfall, value_at_risk

VALUE_AT_RISK_LEVEL = 0.99
EXPECTED_SHORTFALL_LEVEL = 0.975


@dataclass(frozen=True, slots=True)
class Tail:
    """The tail of the system's loss over the historical windows, in USD."""

    value_at_risk: float
    expected_shortfall: float


def system_tail(view: RunView) -> Tail | None:
    """Return value at risk and expected shortfall of the system's loss.

    None where the run has too few historical windows for these levels.
    """
    pnl = -view.per_scenario("loss")[view.rows("historical")]
    try:
        return Tail(
            float(value_at_risk(pnl, VALUE_AT_RISK_LEVEL, "inverted_cdf")),
            float(expected_shortfall(pnl, EXPECTED_SHORTFALL_LEVEL)),
        )
    except ValueError:
        return None


def distribution(view: RunView, tail: Tail | None) -> list[Picture | Sentence]:
    """Return the distribution of the system's loss over the historical windows, and its tail."""
    title = "How often the system loses how much"
    loss = view.per_scenario("loss")[view.rows("historical")]
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


def _told(tail: Tail | None) -> str:
    if tail is None:
        return "They are too few for value at risk and expected shortfall to be measured."
    return (
        f"Value at risk (VaR): one window in a hundred loses {money(tail.value_at_risk)} or more. "
        f"Expected shortfall (ES): the worst {percent(1 - EXPECTED_SHORTFALL_LEVEL)} of windows "
        f"lose {money(tail.expected_shortfall)} on average."
    )


def _marks(tail: Tail | None, scale: float, logarithmic: bool) -> Layout:
    """Draw value at risk and expected shortfall as upright lines with their amounts."""
    if tail is None:
        return {}
    marks = sorted(
        (
            (tail.value_at_risk, f"VaR {percent(VALUE_AT_RISK_LEVEL)}", "--layer-2"),
            (tail.expected_shortfall, f"ES {percent(EXPECTED_SHORTFALL_LEVEL)}", "--alarm"),
        )
    )
    shapes = []
    notes = []
    # Words stand outside the pair, so that they do not meet however close the lines are.
    for (amount, name, colour), side in zip(marks, ("right", "left"), strict=True):
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


def _histogram(loss: NDArray[np.float64], tail: Tail | None) -> Choice:
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


def _exceedance(loss: NDArray[np.float64], tail: Tail | None) -> Choice:
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
