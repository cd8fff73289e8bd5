"""How many accounts fall into each of many buckets."""

import re
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from flows.format import exact
from flows.report.picture import Choice, Layout, Trace, decades

ZEROS = re.compile(r"\.0+(?= |$)")
"""Decimals of a round number, which an axis does without."""


def buckets(
    edges: NDArray[np.float64],
    counts: NDArray[np.float64],
    what: str,
    words: Callable[[float], str],
    axis: str,
    alarming: NDArray[np.bool_] | None = None,
    *,
    every_edge: bool = False,
) -> list[Choice]:
    """Draw buckets side by side, trimmed to those that hold accounts, ticks at their edges.

    ``alarming`` buckets are red; where there may be some, all from the first on are shown. Edges
    are labelled where they are round, or every one.
    """
    held = np.flatnonzero(counts)
    last = int(held[-1]) + 1
    first = int(held[0]) if edges[int(held[0])] > 0.0 and alarming is None else 0
    texts = []
    for at in range(first, last):
        low = words(float(edges[at]))
        high = words(float(edges[at + 1])) if at + 1 < len(edges) else ""
        span = f"{low} to {high}" if high else f"{low} and more"
        texts.append(f"{exact(counts[at])} accounts<br>{what} {span}")
    red = np.zeros(len(edges), dtype=bool) if alarming is None else alarming
    trace: Trace = {
        "type": "bar",
        "x": list(range(last - first)),
        "y": counts[first:last].tolist(),
        "width": 0.9,
        "marker": {"color": ["--alarm" if hot else "--layer-1" for hot in red[first:last]]},
        "customdata": texts,
        "hovertemplate": "%{customdata}<extra></extra>",
    }
    ends = range(first, min(last, len(edges) - 1) + 1)
    ticks = list(ends) if every_edge else _ticks(edges, ends)
    layout: Layout = {
        "xaxis": {
            "title": {"text": axis},
            "tickmode": "array",
            "tickvals": [at - first - 0.5 for at in ticks],
            "ticktext": [ZEROS.sub("", words(float(edges[at]))) for at in ticks],
            "showgrid": False,
            "range": [-0.7, last - first - 0.3],
            "ticks": "outside",
            "tickangle": 0,
        },
        "showlegend": False,
    }
    largest = float(counts.max())
    logarithmic = decades("Accounts, logarithmic", largest)
    logarithmic["range"][0] = -0.3
    linear: Layout = {"title": {"text": "Accounts"}, "rangemode": "tozero"}
    return [
        Choice("Logarithmic", [trace], layout | {"yaxis": logarithmic}),
        Choice("Linear", [trace], layout | {"yaxis": linear}),
    ]


def _ticks(edges: NDArray[np.float64], shown: range) -> list[int]:
    """Return the edges to label: round ones, few enough to be read on a phone."""
    if edges[-1] > 1e3:
        decade = [at for at in shown if edges[at] > 0.0 and _whole(np.log10(edges[at]))]
        chosen = decade or list(shown)
    else:
        chosen = [at for at in shown if _whole(edges[at] * 4.0)]
        chosen = chosen or list(shown)
    step = -(-len(chosen) // 9)
    return chosen[::step]


def _whole(value: float) -> bool:
    return bool(abs(value - round(value)) < 1e-6)
