"""Where the margin comes from: pictures by underlying, venue, protocol and chain."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from flows.format import money, percent
from flows.report.picture import (
    Choice,
    Picture,
    Sentence,
    amount_axis,
    bars,
    end_labels,
    hover,
    largest_first,
    named_axis,
    safe,
    unit_of,
)
from flows.report.view import RunView

SHOWN = 12

GROUPS = (
    (
        "underlying",
        "By underlying",
        "The coin or token that the contracts are on: the price that hurts.",
    ),
    ("protocol", "By protocol", "The protocol or clearing system that holds the positions."),
    ("chain", "By chain", "The blockchain on which the positions settle, off chain included."),
    ("venue", "By venue", "The exchange or market on which the positions are traded."),
)

NOWHERE = {("protocol", "none"): "no protocol", ("chain", "none"): "off chain"}


def groups(view: RunView, kind: str, worst: int | None) -> list[Picture | Sentence]:
    """Return one picture for each way to group the instruments.

    Args:
        view: The run.
        kind: What the worst scenario is called: a window, an event or a scenario.
        worst: Row of the scenario in which to show what losing positions pay, if there is one.
    """
    return [_group(view, *group, kind, worst) for group in GROUPS]


def _group(
    view: RunView, group: str, title: str, meaning: str, kind: str, worst: int | None
) -> Picture | Sentence:
    requirement = np.asarray(view.folds[f"{group}_requirement"].values, dtype=np.float64)
    interest = np.asarray(view.folds[f"{group}_open_interest"].values, dtype=np.float64)
    if not requirement.size or not ((requirement != 0.0).any() or (interest > 0.0).any()):
        return Sentence(title, f"No {group} has open positions in this run.")
    split = view.splits_requirement
    rows = largest_first(requirement if split else interest, SHOWN)
    rest = len(requirement) - len(rows)
    more = f" The {len(rows)} largest of {len(requirement):,} are shown." if rest else ""
    hedges = " A negative requirement is a hedge that lowers the margin of the rest."
    choices = [_choice(view, group, rows, "Open interest", interest, "--calm")]
    if worst is not None:
        transfer = np.asarray(
            view.folds[f"{group}_transfer"].transpose(group, "scenario").values, dtype=np.float64
        )[:, worst]
        label = f"Paid in the worst {kind}"
        choices.insert(0, _choice(view, group, rows, label, transfer, "--alarm"))
    if split:
        choices.insert(0, _choice(view, group, rows, "Requirement", requirement, "--layer-1"))
    return Picture(
        name=group,
        title=title,
        caption=f"{meaning}{more} US dollars.{hedges if split else ''}",
        choices=choices,
        height=100 + 26 * len(rows),
    )


def _choice(
    view: RunView,
    group: str,
    rows: NDArray[np.int64],
    label: str,
    values: NDArray[np.float64],
    colour: str,
) -> Choice:
    names = [NOWHERE.get((group, str(name)), str(name)) for name in view.folds[group].values[rows]]
    return ranked(names, label, values[rows], float(values.sum()), colour)


def ranked(
    names: Sequence[str],
    label: str,
    values: NDArray[np.float64],
    whole: float,
    colour: str,
    told: tuple[str, Sequence[str]] | None = None,
    length: int = 26,
) -> Choice:
    """Return amounts of money as bars; ``told``, or else a share of the whole, stands behind each.

    ``told`` is what the words are, and the words by bar; names are clipped to ``length``.
    """
    unit = unit_of(values)
    shares = [percent(value / whole) if whole > 0.0 else "" for value in values]
    about, words = told or ("Share", shares)
    texts = [
        hover(name, (label, money(value)), (about, safe(one)))
        for name, value, one in zip(names, values, words, strict=True)
    ]
    ends = [
        f"{money(value)} · {safe(one)}" if one else money(value)
        for value, one in zip(values, words, strict=True)
    ]
    lengths = [max(0.0, length or 0.0) for length in unit.of(values)]
    return Choice(
        label,
        [bars(unit.of(values), texts, colour, label), end_labels(lengths, ends)],
        {
            "xaxis": amount_axis(unit.words, values / unit.scale, room=0.95 if told else 0.55),
            "yaxis": named_axis(names, length),
            "showlegend": False,
        },
    )
