"""Margin systems, layers and walls under the scenarios: what each costs and what it leaves."""

import numpy as np
from numpy.typing import NDArray

from flows.format import exact, money, short
from flows.report.picture import (
    Choice,
    Picture,
    Section,
    Sentence,
    Table,
    Trace,
    amount_axis,
    bars,
    end_labels,
    hover,
    largest_first,
    named_axis,
    unit_of,
)
from flows.report.stress.view import Floats, Rows, StressView

SYSTEMS, LAYERS = ("system",), ("layer",)
WALLS = ("no wall", "blind wall", "wall")

BAR_GAP = 0.28
"""The part of a row that two bars leave free."""
HALF_APART = (1.0 - BAR_GAP) / 4.0
"""How far the middle of each of two bars is from that of their row."""


def sections_of_systems(view: StressView) -> list[Section]:
    """Return the sections on margin systems and on layers and walls; none were compared, none."""
    if "arrangement" not in view.totals.dims:
        return []
    return [
        Section(
            "systems",
            "Margin systems under the same stress",
            "The same positions and scenarios, with exactly what each margin system requires in "
            "the place of what accounts have, and nobody closed." + _left_out(view),
            (systems(view), system_table(view), uncovered_table(view)),
        ),
        Section(
            "insulation",
            "What a layer and a wall buy",
            "Layered margin once more without each of its layers, and with walls that no gain "
            "passes.",
            (parts(view), layer_table(view), wall_table(view)),
        ),
    ]


def _left_out(view: StressView) -> str:
    """Say how many scenarios are not compared, for they break something beside prices."""
    left = len(view.names) - len(_compared(view))
    if not left:
        return ""
    return (
        f" {left} of {len(view.names)} scenarios are left out: what they break beside prices, "
        "collateral, an oracle or a chain, no margin system here knows of."
    )


def _compared(view: StressView) -> list[str]:
    return [str(name) for name in view.totals["compared"].values]


def _words(view: StressView, name: str) -> NDArray[np.str_]:
    return np.array([str(one) for one in view.totals[name].values])


def _rows(view: StressView, kinds: tuple[str, ...]) -> Rows:
    return np.flatnonzero(np.isin(_words(view, "arrangement_kind"), kinds))


def _names(view: StressView, rows: Rows) -> list[str]:
    return [str(view.totals["arrangement"].values[row]) for row in rows]


def _layered(view: StressView) -> int:
    return int(_rows(view, SYSTEMS)[-1])


def _held(view: StressView, row: int) -> str:
    beyond = view.total("arrangement_beyond")[:, row]
    return f"{int((beyond == 0.0).sum())} of {len(beyond)}"


def _worst(view: StressView, row: int) -> int:
    return int(view.total("arrangement_uncovered")[:, row].argmax())


def _pair(
    first: tuple[str, Floats], second: tuple[str, Floats], texts: list[str]
) -> tuple[list[Trace], dict[str, object]]:
    """Return two bars a row, the first on top, each with its own amount at its end."""
    unit = unit_of([*first[1], *second[1]])
    traces = [
        bars(unit.of(first[1]), texts, "--layer-1", first[0]),
        bars(unit.of(second[1]), texts, "--layer-2", second[0]),
    ]
    for amounts, beside in ((first[1], -HALF_APART), (second[1], HALF_APART)):
        words = end_labels(unit.of(amounts), [money(float(one)) for one in amounts])
        traces.append({**words, "y": [row + beside for row in range(len(amounts))]})
    axis = amount_axis(unit.words, [*first[1] / unit.scale, *second[1] / unit.scale])
    return traces, {"barmode": "group", "bargap": BAR_GAP, "xaxis": axis}


def systems(view: StressView) -> Picture:
    """Return capital and the largest uncovered loss of each system."""
    rows = _rows(view, SYSTEMS)
    names = _names(view, rows)
    capital = view.total("arrangement_capital")[rows]
    uncovered = view.total("arrangement_uncovered")[:, rows].max(axis=0)
    held = [_held(view, int(row)) for row in rows]
    texts = [
        hover(
            name.capitalize(),
            ("Capital", money(float(view.total("arrangement_capital")[row]))),
            ("Largest uncovered", money(float(uncovered[at]))),
            ("In", _compared(view)[_worst(view, int(row))]),
            ("Scenarios held", held[at]),
        )
        for at, (name, row) in enumerate(zip(names, rows, strict=True))
    ]
    traces, layout = _pair(("Capital", capital), ("Largest uncovered loss", uncovered), texts)
    layout["yaxis"] = named_axis(
        [f"{name.capitalize()}, {many} held" for name, many in zip(names, held, strict=True)]
    )
    return Picture(
        name="systems",
        title="Capital, and what it leaves uncovered",
        caption=(
            "What a system requires of all accounts together, and the loss over that in its worst "
            "scenario; US dollars, positive. Beside the name: the scenarios in which "
            "contributions, insurance fund and own capital cover what is left. Isolated: no "
            "position pays for another. Cross: those settled in one currency do. Portfolio: all of "
            "an account do. These three require base risk alone; layered is portfolio with every "
            "further layer of the rule book."
        ),
        choices=(Choice("Systems", traces, layout),),
        height=130 + 60 * len(rows),
        wide=True,
    )  # fmt: skip


def _row(view: StressView, row: int, at: int) -> tuple[str, ...]:
    """Return what an arrangement costs, and what it leaves in a scenario."""
    return (
        short(float(view.total("arrangement_capital")[row])),
        exact(float(view.total("arrangement_parts")[row])),
        _compared(view)[at],
        short(float(view.total("arrangement_lost")[at, row])),
        short(float(view.total("arrangement_uncovered")[at, row])),
        exact(float(view.total("arrangement_failed")[at, row])),
        short(float(view.total("arrangement_beyond")[at, row])),
        _held(view, row),
    )


COLUMNS = (
    "Capital",
    "Sets",
    "Scenario",
    "Lost",
    "Uncovered",
    "Failed",
    "Over prefunded",
    "Scenarios held",
)


def system_table(view: StressView) -> Table:
    """Return every system in its worst scenario."""
    rows = _rows(view, SYSTEMS)
    return Table(
        title="Margin systems in numbers",
        caption=(
            "US dollars, each system in the scenario that leaves most uncovered. A set is what may "
            "offset; lost is of the sets that lose, failed are those that lose more than their "
            "margin. Over prefunded: what is left when contributions, insurance fund and own "
            "capital are gone. A scenario is held where that is nothing."
        ),
        columns=("System", *COLUMNS),
        rows=[
            (name.capitalize(), *_row(view, int(row), _worst(view, int(row))))
            for name, row in zip(_names(view, rows), rows, strict=True)
        ],
        text_columns=(0, 3),
        wide=True,
    )


def uncovered_table(view: StressView) -> Table | Sentence:
    """Return what every system leaves uncovered, scenario by scenario."""
    rows = _rows(view, SYSTEMS)
    title = "Uncovered by scenario"
    uncovered = view.total("arrangement_uncovered")[:, rows]
    beyond = view.total("arrangement_beyond")[:, rows]
    order = [int(at) for at in largest_first(uncovered.max(axis=1), len(uncovered))]
    shown = [at for at in order if uncovered[at].max() > 0.0]
    if not shown:
        return Sentence(title, "Every system covers every scenario by itself.", wide=True)
    return Table(
        title=title,
        caption=(
            "Losses over what each system requires, US dollars; with * where prefunded resources "
            "do not cover them."
        ),
        columns=("Scenario", *(name.capitalize() for name in _names(view, rows))),
        rows=[
            (
                _compared(view)[at],
                *(
                    f"{short(float(one))}{'*' if left > 0.0 else ''}"
                    for one, left in zip(uncovered[at], beyond[at], strict=True)
                ),
            )
            for at in shown
        ],
        wide=True,
        folded=True,
    )


def parts(view: StressView) -> Picture | Sentence:
    """Return what each layer and wall costs, and what it takes off uncovered losses at most."""
    title = "Cost and effect of each layer and wall"
    rows = _rows(view, ("layer", "wall"))
    if not len(rows):
        return Sentence(title, "The rule book has one layer, and the plan no walls.", wide=True)
    layered, names, bought = _layered(view), [], []
    uncovered, capital = view.total("arrangement_uncovered"), view.total("arrangement_capital")
    kinds = _words(view, "arrangement_kind")
    of = _words(view, "arrangement_of")
    for row in rows:
        blind = np.flatnonzero((kinds == "blind wall") & (of == of[row]))
        layer = kinds[row] == "layer"
        names.append(f"Layer {of[row]}" if layer else f"Wall by {of[row]}")
        without, with_ = (row, layered) if layer else (int(blind[0]), row)
        bought.append(float((uncovered[:, without] - uncovered[:, with_]).max()))
    cost = np.abs(capital[rows] - capital[layered])
    gain = np.array(bought)
    texts = [
        hover(name, ("Capital", money(float(c))), ("Less uncovered", money(float(g))))
        for name, c, g in zip(names, cost, gain, strict=True)
    ]
    traces, layout = _pair(
        ("Capital it asks for", cost), ("Uncovered loss it takes off", gain), texts
    )
    return Picture(
        name="insulation",
        title=title,
        caption=(
            "Capital that a layer or a wall asks for, and the most that this takes off uncovered "
            "losses in any scenario; US dollars. A layer is compared with layered margin without "
            "it; margin behind each wall with the same wall where margin knows nothing of it."
        ),
        choices=(Choice("Parts", traces, {**layout, "yaxis": named_axis(names)}),),
        height=130 + 60 * len(rows),
        wide=True,
    )


def layer_table(view: StressView) -> Table | Sentence:
    """Return layered margin without each layer, in the scenario in which it is missed most."""
    title = "Layers in numbers"
    rows, layered = _rows(view, LAYERS), _layered(view)
    if not len(rows):
        return Sentence(title, "The rule book has no layer beside base risk.", wide=True)
    uncovered, capital = view.total("arrangement_uncovered"), view.total("arrangement_capital")
    found = []
    for row in rows:
        at = int((uncovered[:, row] - uncovered[:, layered]).argmax())
        found.append(
            (
                str(view.totals["arrangement_of"].values[row]),
                short(float(capital[layered] - capital[row])),
                _compared(view)[at],
                short(float(uncovered[at, row])),
                short(float(uncovered[at, layered])),
                _held(view, int(row)),
                _held(view, layered),
            )
        )
    return Table(
        title=title,
        caption=(
            "US dollars. Each layer in the scenario in which losses over margin without it are "
            "furthest from those with it. The margin of an account is less by the layer's amount; "
            "the other layers stay as they are."
        ),
        columns=(
            *("Layer", "Capital", "Scenario", "Uncovered without", "Uncovered with"),
            *("Held without", "Held with"),
        ),
        rows=found,
        text_columns=(0, 2),
        wide=True,
    )


def wall_table(view: StressView) -> Table | Sentence:
    """Return layered margin without a wall, with one it does not know of, and with one it does."""
    title = "Walls in numbers"
    rows = _rows(view, WALLS)
    if not len(rows):
        return Sentence(title, "The plan compares no walls.", wide=True)
    kinds = _words(view, "arrangement_kind")
    of = _words(view, "arrangement_of")
    order = [
        int(row)
        for name in dict.fromkeys(of[rows])
        for kind in WALLS
        for row in rows
        if of[row] == name and kinds[row] == kind
    ]
    blind = {of[row]: _worst(view, row) for row in order if kinds[row] == "blind wall"}
    said = {"no wall": "none", "blind wall": "margin ignores it", "wall": "each part has its own"}
    return Table(
        title=title,
        caption=(
            "US dollars, each wall in the scenario that leaves most uncovered where margin ignores "
            "it: the margin of the whole account is shared out, and a gain behind the wall pays "
            "for no loss in front. Sets are what is behind each wall; without a wall all of an "
            "account falls with it."
        ),
        columns=("Wall by", "Margin", *COLUMNS),
        rows=[(of[row], said[kinds[row]], *_row(view, row, blind[of[row]])) for row in order],
        text_columns=(0, 1, 4),
        wide=True,
    )
