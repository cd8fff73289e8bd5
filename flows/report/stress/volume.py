"""How much was sold against what a market takes, and what that did to losses."""

import numpy as np

from flows.format import money, percent, short
from flows.report.picture import (
    LAYER_COLOURS,
    Choice,
    Picture,
    Sentence,
    Table,
    hover,
    largest_first,
    plain,
)
from flows.report.stress.view import StressView

SHOWN = 14


def volume_table(view: StressView) -> Table:
    """Return what was sold by kind of instrument and coin, against daily volume."""
    groups = sorted(
        set(
            zip(
                map(str, view.moves["underlying"].values),
                map(str, view.moves["kind"].values),
                strict=True,
            )
        )
    )
    sold = view.values("sold_by_instrument")
    taken = view.values("taken_by_instrument")
    underlying = np.array([str(one) for one in view.moves["underlying"].values])
    kind = np.array([str(one) for one in view.moves["kind"].values])
    delta = np.asarray(view.moves["delta"].values, dtype=np.float64)
    volume = dict(zip(view.coins, view.daily_volume, strict=True))
    rows = []
    for coin, what in groups:
        inside = (underlying == coin) & (kind == what)
        gross = np.abs(sold[:, inside]).sum(axis=1)
        net = (sold[:, inside] * delta[inside]).sum(axis=1)
        row = int(gross.argmax())
        if not gross[row] > 0.0:
            continue
        rows.append(
            (
                f"{coin} {what}",
                view.names[row],
                money(float(gross[row])),
                money(float(net[row])),
                percent(float(net[row] / volume[coin])),
                money(float(np.abs(taken[row, inside]).sum())),
            )
        )
    return Table(
        title="Sold by kind of instrument",
        caption=(
            "The scenario that sells most of each kind. Notional at first prices, purchases "
            "counted as sales are; by delta it is what moves the price of the coin, purchases "
            "taken off, and is set against the coin's volume on a calm day. Taken: notional that "
            "went to the vault and was not sold."
        ),
        columns=("Kind", "Scenario", "Sold", "By delta", "Of daily volume", "Taken by vault"),
        rows=rows,
        text_columns=(0, 1),
        wide=True,
    )


def coin_table(view: StressView) -> Table:
    """Return forced selling by coin against daily volume, in the scenarios that sell most."""
    part = view.sold_by_coin / view.daily_volume
    rows = largest_first(np.abs(part).max(axis=1), SHOWN)
    return Table(
        title="Sold against daily volume",
        caption=(
            "Forced selling by delta over the volume of a calm day, purchases negative, in the "
            "scenarios with most of it in any coin, and the move of the price that it makes at the "
            "end beside the scenario's own."
        ),
        columns=(
            "Scenario",
            "Depth",
            *(f"{coin}, {words}" for coin in view.coins for words in ("of volume", "move")),
        ),
        rows=[
            (
                view.names[row],
                percent(float(view.depth[row])),
                *(
                    words
                    for column in range(len(view.coins))
                    for words in (
                        percent(float(part[row, column])),
                        percent(_impact(view, int(row), column)),
                    )
                ),
            )
            for row in rows
        ],
        wide=True,
    )


def _impact(view: StressView, row: int, column: int) -> float:
    own = 1.0 + float(view.moves["price"].values[row, column])
    return float(view.values("price")[row, -1, column]) / own - 1.0


def amplification(view: StressView) -> Picture | Sentence:
    """Return the amplification of losses against forced selling over the depth that is there."""
    title = "Amplification against depth"
    pressure = (np.abs(view.sold_by_coin) / view.daily_volume).max(axis=1) / view.depth
    shown = np.isfinite(view.amplification) & (pressure > 0.0)
    if not shown.any():
        return Sentence(title, "No scenario sells anything.", wide=True)
    depths = np.unique(view.depth[shown])[::-1]
    traces = []
    for at, depth in enumerate(depths):
        rows = np.flatnonzero(shown & (view.depth == depth))
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": f"Depth {percent(float(depth))}",
                "x": plain(pressure[rows]),
                "y": plain(view.amplification[rows]),
                "marker": {"size": 9, "color": LAYER_COLOURS[at % len(LAYER_COLOURS)]},
                "customdata": [
                    hover(
                        view.names[row],
                        ("Amplification", f"{view.amplification[row]:.3f}"),
                        ("Sold over depth", f"{short(float(pressure[row]))} days"),
                        ("Loss", money(float(view.lost[row]))),
                        ("With nobody closed", money(float(view.values("lost_alone")[row]))),
                    )
                    for row in rows
                ],
                "hovertemplate": "%{customdata}<extra></extra>",
            }
        )
    least, most = float(pressure[shown].min()), float(pressure[shown].max())
    powers = range(int(np.floor(np.log10(least))), int(np.ceil(np.log10(most))) + 1)
    axis = {
        "type": "log",
        "title": {"text": "Days of the volume that is there"},
        "tickvals": [10.0**one for one in powers],
        "ticktext": [f"{10.0**one:g}" for one in powers],
    }
    return Picture(
        name="amplification",
        title=title,
        caption=(
            f"Every scenario: loss of {view.losers}, by the end over the loss with nobody "
            "closed, against the forced selling of the coin that is pressed most, in days of the "
            "volume that is there under stress. Above one, selling adds more than closing early "
            "spares; below one, it is the other way round."
        ),
        choices=(
            Choice(
                "Amplification",
                traces,
                {
                    "xaxis": axis,
                    "yaxis": {"title": {"text": "Amplification"}},
                    "shapes": [
                        {
                            "type": "line",
                            "xref": "paper",
                            "x0": 0,
                            "x1": 1,
                            "y0": 1,
                            "y1": 1,
                            "line": {"color": "--soft", "width": 1, "dash": "dot"},
                        }
                    ],
                },
            ),
        ),
        height=400,
        wide=True,
    )
