"""What each scenario comes to: losses with and without a cascade, drawn and in numbers."""

import math

from flows.format import NOTHING, exact, money, percent, short
from flows.report.picture import (
    Choice,
    Picture,
    Table,
    amount_axis,
    bars,
    end_labels,
    hover,
    named_axis,
    safe,
    unit_of,
)
from flows.report.stress.view import Rows, StressView

SHOWN = 16

NAMED = 32
"""Characters of a name beside a bar: a scenario's with its severity behind it."""

LISTED = 20
"""Scenarios that are listed openly."""


def losses(view: StressView) -> Picture:
    """Return the losses of the worst scenarios, with a cascade and with nobody closed."""
    rows = view.worst[:SHOWN]
    names = [view.names[row] for row in rows]
    alone, lost = view.values("lost_alone")[rows], view.lost[rows]
    unit = unit_of([*alone, *lost])
    texts = [
        hover(
            str(view.moves["title"].values[row]),
            ("By the end", money(float(view.lost[row]))),
            ("Of it the vault", money(float(view.vault_loss[row]))),
            *(
                [("Of it gains of winners", money(float(view.gains_given_up[row])))]
                if view.gains_given_up[row] > 0.0
                else []
            ),
            *(
                [("Breaks beside prices", safe(view.broken[view.names[row]]))]
                if view.names[row] in view.broken
                else []
            ),
            ("With nobody closed", money(float(view.values("lost_alone")[row]))),
            ("Amplification", times(float(view.amplification[row]))),
        )
        for row in rows
    ]
    marks = {
        "type": "scatter",
        "mode": "markers",
        "name": "With nobody closed",
        "x": unit.of(alone),
        "y": list(range(len(rows))),
        "marker": {
            "symbol": "line-ns",
            "size": 15,
            "color": "--ink",
            "line": {"width": 3, "color": "--ink"},
        },
        "customdata": texts,
        "hovertemplate": "%{customdata}<extra></extra>",
    }
    longest = [max(pair) for pair in zip(alone, lost, strict=True)]
    axis = amount_axis(unit.words, [one / unit.scale for one in longest])
    return Picture(
        name="losses",
        title="Loss of the worst scenarios",
        caption=(
            f"Losses by the end of the cascade, of {view.losers}; US dollars, positive. What "
            "others gain is not taken off. The amount is that of the whole bar, behind the mark "
            "where that is farther out. The mark is the loss at the scenario's own prices were "
            "nobody closed: a bar that ends before it says that closing early spared more than "
            "selling cost."
        ),
        choices=(
            Choice(
                "Losses",
                [
                    bars(unit.of(view.values("lost")[rows]), texts, "--layer-1", "Accounts"),
                    bars(unit.of(view.vault_loss[rows]), texts, "--layer-2", "Vault"),
                    *(
                        [bars(unit.of(given), texts, "--layer-3", "Gains of winners")]
                        if (given := view.gains_given_up[rows]).any()
                        else []
                    ),
                    marks,
                    end_labels(unit.of(longest), [money(float(one)) for one in lost]),
                ],
                {"barmode": "stack", "xaxis": axis, "yaxis": named_axis(names, NAMED)},
            ),
        ),
        height=110 + 25 * len(rows),
        wide=True,
    )


def scenario_tables(view: StressView) -> tuple[Table, Table]:
    """Return every scenario in numbers, worst first, the less bad ones folded."""
    return (
        _table(
            view,
            view.worst[:LISTED],
            "The worst scenarios in numbers",
            f"US dollars, losses positive. Loss is of {view.losers}, by the end; amplification "
            "is that over the loss with nobody closed. The vault's column is what it gains, "
            "negative for a loss. Uncovered is what accounts lose over what they had. Sold is "
            "notional at first prices, purchases counted as sales are." + _breaking(view),
        ),
        _table(
            view,
            view.worst[LISTED:],
            "All other scenarios",
            "As above, from the next worst on.",
            folded=True,
        ),
    )


def _table(
    view: StressView, rows: Rows, title: str, caption: str, *, folded: bool = False
) -> Table:
    uncovered = view.values("uncovered").sum(axis=1)
    return Table(
        title=title,
        caption=caption,
        columns=(
            "Scenario",
            "Origin",
            "Depth",
            "Nobody closed",
            "Loss",
            "Amplification",
            "Vault",
            "Uncovered",
            "Closed",
            "Rounds",
            "Sold",
            *(("Breaks beside prices",) if view.broken else ()),
        ),
        rows=[
            (
                view.names[row],
                str(view.moves["origin"].values[row]),
                percent(float(view.depth[row])),
                short(float(view.values("lost_alone")[row])),
                short(float(view.lost[row])),
                times(float(view.amplification[row])),
                short(float(view.values("vault_pnl")[row])),
                short(float(uncovered[row])),
                exact(float(view.values("touched")[row])),
                f"{int(view.values('rounds')[row])}",
                short(float(view.total("sold")[row])),
                *((view.broken.get(view.names[row], NOTHING),) if view.broken else ()),
            )
            for row in rows
        ],
        text_columns=(0, 1, 11) if view.broken else (0, 1),
        wide=True,
        folded=folded,
    )


def _breaking(view: StressView) -> str:
    if not view.broken:
        return ""
    return (
        " What collateral loses is a loss of its account, also with nobody closed. A wrong price "
        "and a halt are over before the end."
    )


def times(amplification: float) -> str:
    """Return an amplification as a number of times, or that there is none.

    >>> times(1.0312), times(float("nan"))
    ('1.031', '–')
    """
    return f"{amplification:.3f}" if math.isfinite(amplification) else NOTHING
