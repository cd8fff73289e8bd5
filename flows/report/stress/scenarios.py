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
    unit_of,
)
from flows.report.stress.view import Rows, StressView

SHOWN = 16

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
            "Losses of the accounts that lose, and of the vault, by the end of the cascade; US "
            "dollars, positive. What others gain is not taken off. The mark is the loss at the "
            "scenario's own prices were nobody closed: a bar that ends before it says that closing "
            "early spared more than selling cost."
        ),
        choices=(
            Choice(
                "Losses",
                [
                    bars(unit.of(view.values("lost")[rows]), texts, "--layer-1", "Accounts"),
                    bars(unit.of(view.vault_loss[rows]), texts, "--layer-2", "Vault"),
                    marks,
                    end_labels(unit.of(longest), [money(float(one)) for one in lost]),
                ],
                {"barmode": "stack", "xaxis": axis, "yaxis": named_axis(names)},
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
            "US dollars, losses positive. Loss is of accounts and vault by the end; amplification "
            "is that over the loss with nobody closed. The vault's column is what it gains, "
            "negative for a loss. Uncovered is what accounts lose over what they had. Sold is "
            "notional at first prices, purchases counted as sales are.",
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
            )
            for row in rows
        ],
        text_columns=(0, 1),
        wide=True,
        folded=folded,
    )


def times(amplification: float) -> str:
    """Return an amplification as a number of times, or that there is none.

    >>> times(1.0312), times(float("nan"))
    ('1.031', '–')
    """
    return f"{amplification:.3f}" if math.isfinite(amplification) else NOTHING
