"""Who bears what is left over what accounts had: layers by scenario, and members in default."""

import numpy as np

from flows.format import exact, money, percent
from flows.report.picture import (
    LAYER_COLOURS,
    Choice,
    Picture,
    Sentence,
    Table,
    amount_axis,
    bars,
    end_labels,
    hover,
    largest_first,
    named_axis,
    safe,
    unit_of,
)
from flows.report.stress.headline import layer_words
from flows.report.stress.scenarios import NAMED
from flows.report.stress.view import Floats, StressView

SHOWN = 12
MEMBERS = 15
SCENARIOS = 4


def _borne(view: StressView) -> tuple[list[str], Floats]:
    """Return the layers by name, and what each bears, with what nobody bears as the last."""
    names = [layer_words(str(name)) for name in view.totals["layer"].values]
    unborne = view.total("unborne")[:, np.newaxis]
    return [*names, "Nobody"], np.concatenate([view.total("borne"), unborne], axis=1)


def layers(view: StressView) -> Picture | Sentence:
    """Return who bears the shortfall of the scenarios with the largest."""
    title = "Who bears it"
    shortfall = view.total("shortfall")
    rows = largest_first(shortfall, SHOWN)
    rows = rows[shortfall[rows] > 0.0]
    if not len(rows):
        return Sentence(title, "In no scenario is anything left over what accounts had.", wide=True)
    names, borne = _borne(view)
    whole = shortfall[rows]
    unit = unit_of(whole)
    used = [at for at in range(len(names)) if (borne[rows, at] > 0.0).any()]
    scenarios = [view.names[row] for row in rows]

    def traces(lengths: Floats, scale: float) -> list[dict[str, object]]:
        return [
            bars(
                [float(one) / scale for one in lengths[:, at]],
                [
                    hover(
                        name,
                        (safe(names[at]), money(float(borne[row, at]))),
                        ("Shortfall", money(float(shortfall[row]))),
                    )
                    for name, row in zip(scenarios, rows, strict=True)
                ],
                LAYER_COLOURS[at % len(LAYER_COLOURS)],
                safe(names[at]),
            )
            for at in used
        ]

    axis = {"barmode": "stack", "yaxis": named_axis(scenarios, NAMED)}
    share = borne[rows] / whole[:, np.newaxis]
    return Picture(
        name="layers",
        title=title,
        caption=(
            "Losses of accounts over what they had, and of the vault, by the layer that bears "
            "them, in the order of the plan; US dollars. The layers of a scenario add up to its "
            "shortfall. A member whose accounts owe less than its contribution pays out of that "
            "and does not default; what is left of it stands for others."
        ),
        choices=(
            Choice(
                "Amounts",
                [
                    *traces(borne[rows], unit.scale),
                    end_labels(unit.of(whole), [money(float(one)) for one in whole]),
                ],
                {**axis, "xaxis": amount_axis(unit.words, whole / unit.scale)},
            ),
            Choice(
                "Shares",
                traces(share, 0.01),
                {**axis, "xaxis": {"title": {"text": "% of the shortfall"}, "range": [0, 101]}},
            ),
        ),
        height=110 + 25 * len(rows),
        wide=True,
    )


def layer_table(view: StressView) -> Table:
    """Return the layers in numbers, with Cover-1 and Cover-2, the largest shortfall first."""
    names, borne = _borne(view)
    shortfall = view.total("shortfall")
    order = largest_first(shortfall, len(shortfall))
    covers = ["cover_1", "cover_2"]
    owned = ", ".join(f"{one.owner} has {len(one.members)} members" for one in view.rules.owners)
    if owned:
        covers += ["cover_1_by_owner", "cover_2_by_owner"]
    rows = [
        (
            view.names[row],
            exact(float(shortfall[row])),
            *(exact(float(one)) for one in borne[row]),
            exact(float(view.total("defaulted_members")[row])),
            *(exact(float(view.total(name)[row])) for name in covers),
        )
        for row in order
        if shortfall[row] > 0.0
    ]
    return Table(
        title="The layers in numbers",
        caption=(
            "US dollars, in scenarios in which anything is left over what accounts had. In "
            "default are members whose accounts owe more than the member's contribution. Cover-1 "
            "and Cover-2: what the one and the two members with the most owe over their "
            "contributions, each within one scenario. "
            + (
                f"By owner: the members of one owner count as one; {owned}."
                if owned
                else "The plan names no owners of members."
            )
        ),
        columns=(
            *("Scenario", "Shortfall", *names, "In default"),
            *(_cover_words(name) for name in covers),
        ),
        rows=rows,
        wide=True,
        folded=True,
    )


def _cover_words(name: str) -> str:
    return name.replace("cover_", "Cover-").replace("_", " ")


def members(view: StressView) -> Picture | Sentence:
    """Return whose accounts lose more than they had, by member."""
    title = "Whose accounts owe more than they had"
    uncovered = view.values("uncovered")
    rows = largest_first(uncovered.sum(axis=1), SCENARIOS)
    rows = rows[uncovered[rows].sum(axis=1) > 0.0]
    if not len(rows):
        return Sentence(title, "No account loses more than it had.", wide=True)
    names = [str(name) for name in view.scenarios["member"].values]
    fund = view.total("default_fund")
    choices = []
    for row in rows:
        shown = largest_first(uncovered[row], MEMBERS)
        shown = shown[uncovered[row, shown] > 0.0]
        lost = uncovered[row, shown]
        unit = unit_of(lost)
        texts = [
            hover(
                names[member],
                ("Uncovered", money(float(uncovered[row, member]))),
                ("Contribution", money(float(fund[member]))),
                ("Accounts", exact(float(view.values("defaulted")[row, member]))),
            )
            for member in shown
        ]
        colours = ["--alarm" if uncovered[row, at] > fund[at] else "--layer-1" for at in shown]
        words = [
            f"{money(float(one))} · {percent(float(one / fund[at])) if fund[at] > 0.0 else 'no'} "
            f"{'of its ' if fund[at] > 0.0 else ''}contribution"
            for one, at in zip(lost, shown, strict=True)
        ]
        choices.append(
            Choice(
                view.names[row],
                [bars(unit.of(lost), texts, colours), end_labels(unit.of(lost), words)],
                {
                    "xaxis": amount_axis(unit.words, lost / unit.scale, room=0.6),
                    "yaxis": named_axis([names[at] for at in shown]),
                    "showlegend": False,
                },
            )
        )
    return Picture(
        name="members",
        title=title,
        caption=(
            f"Losses of each member's accounts over what these accounts had, the {MEMBERS} largest "
            "of a scenario; US dollars. A member in default, whose accounts owe more than its "
            "contribution to the default fund, is in the colour of alarm."
        ),
        choices=choices,
        height=90 + 24 * MEMBERS,
        wide=True,
    )
