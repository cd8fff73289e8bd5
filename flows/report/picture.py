"""What a page is made of: pictures with choices, tables and sentences, as plain data.

A colour is the name of a variable of ``page.css`` such as ``--ink``, so that one place decides
it and the dark page has its own. Text in a picture is markup to plotly: pass names from outside
through ``safe``.
"""

import html
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flows.format import NOTHING, clipped

Trace = dict[str, Any]
Layout = dict[str, Any]

LAYER_COLOURS = tuple(f"--layer-{number}" for number in range(1, 9))


@dataclass(frozen=True, slots=True)
class Choice:
    """One way to look at a picture: its button, traces and layout."""

    label: str
    traces: Sequence[Trace]
    layout: Layout


@dataclass(frozen=True, slots=True)
class Picture:
    """A titled plot with a caption that says what it is, its sign, its unit and how to read it.

    What cannot be drawn narrower than ``least_width`` pixels is moved sideways on a phone.
    """

    name: str
    title: str
    caption: str
    choices: Sequence[Choice]
    height: int = 380
    wide: bool = False
    least_width: int = 0


@dataclass(frozen=True, slots=True)
class Table:
    """A titled table; text columns are aligned left, the others right; ``folded`` starts shut."""

    title: str
    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    text_columns: Sequence[int] = (0,)
    wide: bool = False
    folded: bool = False


@dataclass(frozen=True, slots=True)
class Sentence:
    """What stands in the place of a picture or a table that has nothing to show."""

    title: str
    text: str
    wide: bool = False


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the page with its own heading."""

    name: str
    title: str
    introduction: str
    blocks: Sequence[Picture | Table | Sentence] = field(default=())


@dataclass(frozen=True, slots=True)
class Unit:
    """The scale of an axis of money: numbers are divided by ``scale`` and read in ``words``."""

    scale: float
    words: str

    def of(self, values: ArrayLike) -> list[float | None]:
        """Return amounts in this unit."""
        return plain(np.asarray(values, dtype=np.float64) / self.scale)


def unit_of(values: ArrayLike) -> Unit:
    """Return the unit in which the largest of some amounts reads best.

    >>> unit_of([5e9, 1.0]).words
    'USD billion'
    """
    finite = np.abs(np.asarray(values, dtype=np.float64))
    largest = finite[np.isfinite(finite)].max(initial=0.0)
    for scale, words in ((1e12, "trillion"), (1e9, "billion"), (1e6, "million"), (1e3, "thousand")):
        if largest >= scale:
            return Unit(scale, f"USD {words}")
    return Unit(1.0, "USD")


def plain(values: ArrayLike) -> list[float | None]:
    """Return numbers for JSON to seven digits; what is not finite becomes a gap."""
    numbers = np.asarray(values, dtype=np.float64).ravel().tolist()
    return [float(f"{x:.7g}") if math.isfinite(x) else None for x in numbers]


def safe(name: object) -> str:
    """Return a name from outside as text that is not markup.

    >>> safe("<b>A&B</b>")
    '&lt;b&gt;A&amp;B&lt;/b&gt;'
    """
    return html.escape(str(name), quote=False)


def named_axis(names: Iterable[str], length: int = 26) -> Layout:
    """Return an axis of bars 0, 1, ... from the top, labelled with clipped, safe names."""
    labels = [safe(clipped(str(name), length)) for name in names]
    return {
        "tickmode": "array",
        "tickvals": list(range(len(labels))),
        "ticktext": labels,
        "range": [len(labels) - 0.4, -0.6],
        "showgrid": False,
        "automargin": True,
        "ticklabelstandoff": 6,
    }


def decades(title: str, largest: float, smallest: float = 1.0) -> Layout:
    """Return a logarithmic axis with a tick at every power of ten, in words."""
    words = ("", " k", " m", " bn", " tn")
    ticks = [10.0**n for n in range(15)]
    text = [f"{10 ** (n % 3)}{words[n // 3]}" for n in range(15)]
    high = math.log10(max(largest, smallest * 10.0))
    low = math.log10(smallest)
    return {
        "type": "log",
        "title": {"text": title},
        "tickvals": ticks,
        "ticktext": text,
        "range": [low - 0.15, high + 0.08 * (high - low) + 0.2],
    }


def end_labels(
    lengths: Sequence[float | None], texts: Sequence[str], colour: str = "--ink"
) -> Trace:
    """Return the words at the end of horizontal bars."""
    return {
        "type": "scatter",
        "mode": "text",
        "x": list(lengths),
        "y": list(range(len(lengths))),
        "text": [f" {text}" for text in texts],
        "textposition": "middle right",
        "textfont": {"size": 11, "color": colour},
        "hoverinfo": "skip",
        "showlegend": False,
        "cliponaxis": False,
    }


def bars(
    lengths: Sequence[float | None],
    hover: Sequence[str],
    colour: str | Sequence[str],
    name: str = "",
) -> Trace:
    """Return horizontal bars 0, 1, ... with a text for the pointer."""
    return {
        "type": "bar",
        "orientation": "h",
        "name": name,
        "x": list(lengths),
        "y": list(range(len(lengths))),
        "customdata": list(hover),
        "hovertemplate": "%{customdata}<extra></extra>",
        "marker": {"color": colour if isinstance(colour, str) else list(colour)},
    }


def amount_axis(title: str, values: ArrayLike, room: float = 0.2) -> Layout:
    """Return a linear axis from zero, or the least value, with room for words at bars' ends."""
    numbers = np.asarray(values, dtype=np.float64)
    numbers = numbers[np.isfinite(numbers)]
    high = max(float(numbers.max(initial=0.0)), 0.0)
    low = min(float(numbers.min(initial=0.0)), 0.0)
    if high == low:
        high = low + 1.0
    span = high - low
    return {
        "title": {"text": title},
        "range": [low - (0.04 * span if low < 0.0 else 0.0), high + room * span],
        "zeroline": True,
    }


def largest_first(values: NDArray[np.float64], count: int) -> NDArray[np.int64]:
    """Return the rows of the largest values, the largest first, ties in their own order.

    >>> largest_first(np.array([1.0, 3.0, 2.0, 3.0]), 3).tolist()
    [1, 3, 2]
    """
    return np.argsort(-values, kind="stable")[:count]


def hover(title: str, *lines: tuple[str, str]) -> str:
    """Return the words under the pointer: a bold title and lines of name and value."""
    body = "".join(f"<br>{name}: {value}" for name, value in lines if value != NOTHING)
    return f"<b>{safe(title)}</b>{body}"
