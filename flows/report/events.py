"""Names of scenarios as people remember them."""

import numpy as np
from numpy.typing import NDArray

from flows.format import window
from flows.report.picture import largest_first
from flows.report.view import RunView
from risk.scenarios.historical import EPISODES

# First and last day (UTC) of further events that these markets remember by a name.
REMEMBERED = (
    ("January 2021 reversal", "2021-01-10", "2021-01-11"),
    ("February 2021 reversal", "2021-02-22", "2021-02-23"),
    ("September 2021 flash crash", "2021-09-07", "2021-09-07"),
    ("December 2021 flash crash", "2021-12-04", "2021-12-04"),
    ("May 2022 Terra collapse", "2022-05-09", "2022-05-12"),
    ("March 2023 bank failures", "2023-03-10", "2023-03-11"),
    ("August 2024 carry unwind", "2024-08-05", "2024-08-05"),
)

APART = np.timedelta64(7, "D")


def known_event(start: np.datetime64, end: np.datetime64) -> str:
    """Return the name of the known event that a window touches, or no text.

    >>> known_event(np.datetime64("2022-11-07T06:00"), np.datetime64("2022-11-09T06:00"))
    'November 2022 exchange failure'
    """
    if np.isnat(start) or np.isnat(end):
        return ""
    for name, first, last in EPISODES:
        if start < np.datetime64(last) and end > np.datetime64(first):
            return name
    for name, first, last in REMEMBERED:
        if start < np.datetime64(last) + np.timedelta64(1, "D") and end > np.datetime64(first):
            return name
    return ""


def scenario_name(view: RunView, row: int) -> str:
    """Return a scenario in few words: a known event, the days of a window, or its own name."""
    start = view.scenarios["window_start"].values[row]
    end = view.scenarios["window_end"].values[row]
    if not np.isnat(start):
        return known_event(start, end) or window(start, end)
    # The name of an event is short and its label explains it; a grid point is its own label.
    named = "label" if view.origin[row] in ("grid", "episode") else "scenario"
    name = str(view.scenarios[named].values[row])
    # The weight of a scanned scenario is in its name, and beside it wherever it matters.
    return name.split(" x ")[0] if view.origin[row] == "scan" else name


def scenario_words(view: RunView, row: int) -> str:
    """Return a scenario in full: the known event and its days, or name and explanation."""
    start = view.scenarios["window_start"].values[row]
    name = scenario_name(view, row)
    if not np.isnat(start):
        days = window(start, view.scenarios["window_end"].values[row])
        return name if name == days else f"{name}, {days}"
    label = str(view.scenarios["label"].values[row])
    return name if name == label else f"{name}: {label}"


def separate_worst(view: RunView, values: NDArray[np.float64], count: int) -> NDArray[np.int64]:
    """Return the worst historical windows that start at least a week apart, the worst first.

    Overlapping windows see one crash more than once; only the worst of them is returned.
    """
    rows = view.rows("historical")
    starts = view.scenarios["window_start"].values
    chosen: list[int] = []
    for row in rows[largest_first(values[rows], len(rows))].tolist():
        if all(abs(starts[row] - starts[other]) >= APART for other in chosen):
            chosen.append(row)
        if len(chosen) == count:
            break
    return np.array(chosen, dtype=np.int64)


def worst_told(
    view: RunView, values: NDArray[np.float64], count: int
) -> tuple[str, NDArray[np.int64]]:
    """Return what the worst scenarios of a run are called, and their rows, the worst first.

    They are windows where the run has a history, or else named events, or else scenarios of its
    rule book.
    """
    if len(view.rows("historical")):
        return "window", separate_worst(view, values, count)
    for origin, word in (("event", "event"), ("scan", "scenario"), ("grid", "scenario")):
        rows = view.rows(origin)
        if len(rows):
            return word, rows[largest_first(values[rows], count)]
    return "scenario", np.empty(0, dtype=np.int64)
