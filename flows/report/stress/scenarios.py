"""What each scenario comes to: losses with and without a cascade, drawn and in numbers."""

from flows.format import exact, money, percent
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
from flows.report.stress.view import StressView

SHOWN = 16


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
            ("Amplification", f"{view.amplification[row]:.3f}"),
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


def scenario_table(view: StressView) -> Table:
    """Return every scenario in numbers, worst first."""
    uncovered = view.values("uncovered").sum(axis=1)
    rows = [
        (
            view.names[row],
            str(view.moves["origin"].values[row]),
            percent(float(view.depth[row])),
            exact(float(view.values("lost_alone")[row])),
            exact(float(view.lost[row])),
            f"{view.amplification[row]:.3f}",
            exact(float(view.values("vault_pnl")[row])),
            exact(float(uncovered[row])),
            exact(float(view.values("touched")[row])),
            f"{int(view.values('rounds')[row])}",
            exact(float(view.total("sold")[row])),
        )
        for row in view.worst
    ]
    return Table(
        title="Every scenario",
        caption=(
            "US dollars, losses positive, the worst first. Loss is of accounts and vault by the "
            "end; amplification is that over the loss with nobody closed. The vault's column is "
            "what it gains, negative for a loss. Uncovered is what accounts lose over what they "
            "had. Sold is notional at first prices, purchases counted as sales are."
        ),
        columns=(
            "Scenario",
            "Origin",
            "Depth",
            "With nobody closed",
            "Loss",
            "Amplification",
            "Vault",
            "Uncovered",
            "Closed",
            "Rounds",
            "Sold",
        ),
        rows=rows,
        text_columns=(0, 1),
        wide=True,
    )
