"""Reverse stress: how far the nearest shock is that exhausts a resource, and what it is."""

import numpy as np

from flows.format import NOTHING, money, percent, short
from flows.report.picture import Choice, Layout, Picture, Sentence, Table, hover, plain, safe
from flows.report.stress.view import Floats, ReverseView, Rows, StressView
from flows.reverse_tables import out_of_reach

TITLE = "How far the nearest shock is"

ROOM = 0.25
"""Of the axis of resources, left at either end for the names of the outermost."""


def frontier(view: StressView) -> Picture | Sentence:
    """Return distance against the resource, and against how many members exhaust it."""
    found = view.reverse
    if found is None:
        return Sentence(
            TITLE,
            "No reverse stress of this margin run by this plan is there; margincube stress reverse "
            "makes one.",
            wide=True,
        )
    distance, defaulters = found.values("distance"), found.values("defaulters")
    there = np.isfinite(distance)
    if not there.any():
        return Sentence(
            TITLE,
            "No shock within reach exhausts any of the resources that were asked for."
            + _beyond(found),
            wide=True,
        )
    first = str(found.found["resource_name"].values[0])
    everybody = np.flatnonzero(there & (defaulters == 0))
    few = np.flatnonzero(there & (defaulters > 0))
    choices = []
    if len(everybody):
        amounts = found.values("resource")
        low, high = np.log10([amounts[everybody].min(), amounts[everybody].max()]).tolist()
        beside = ROOM * max(high - low, 1.0)
        axis: Layout = {
            "type": "log",
            "title": {"text": "What is to be exhausted, USD"},
            "tickformat": "~s",
            "range": [low - beside, high + beside],
        }
        rows = everybody[np.argsort(amounts[everybody], kind="stable")]
        choices.append(_choice(found, "By resource", rows, amounts, axis))
    if len(few):
        rows = few[np.argsort(defaulters[few], kind="stable")]
        axis = {
            "title": {"text": f"Members that exhaust {safe(words(first))}"},
            "tickvals": plain(defaulters[rows]),
            "rangemode": "tozero",
        }
        choices.append(_choice(found, "By members", rows, defaulters, axis))
    windows = found.manifest["totals"]["windows"]
    return Picture(
        name="reverse",
        title=TITLE,
        caption=(
            "Mahalanobis distance of the nearest shock found at which losses over equity, with "
            f"nobody closed, exhaust a resource; of the {windows:,} windows of history the dotted "
            "line is the farthest. A layer is exhausted with all before it. Nearer is more "
            "plausible; a nearer shock than these may have been missed."
        ),
        choices=choices,
        height=380,
        wide=True,
    )


def words(name: str) -> str:
    """Return what is exhausted as people say it.

    >>> words("insurance_fund by 2 members")
    'insurance fund by 2 members'
    """
    return name.replace("_", " ")


def _choice(
    found: ReverseView,
    label: str,
    rows: Rows,
    across: Floats,
    axis: Layout,
) -> Choice:
    distance = found.values("distance")
    farthest = float(np.asarray(found.history["distance"].values).max())
    trace = {
        "type": "scatter",
        "mode": "lines+markers+text",
        "x": plain(across[rows]),
        "y": plain(distance[rows]),
        "line": {"color": "--layer-1", "width": 2},
        "marker": {"size": 9, "color": "--layer-1"},
        "text": [safe(words(str(found.found["resource_name"].values[row]))) for row in rows]
        if label == "By resource"
        else [f"{distance[row]:.2f}" for row in rows],
        "textposition": "top center",
        "textfont": {"size": 11, "color": "--ink"},
        "customdata": [
            hover(
                words(found.names[row]),
                ("Distance", f"{distance[row]:.2f}"),
                ("Amount", money(float(found.values("resource")[row]))),
                ("Drawn by all accounts", money(float(found.values("drawn_by_all_accounts")[row]))),
            )
            for row in rows
        ],
        "hovertemplate": "%{customdata}<extra></extra>",
        "cliponaxis": False,
    }
    line = {
        "type": "line",
        "xref": "paper",
        "x0": 0,
        "x1": 1,
        "y0": farthest,
        "y1": farthest,
        "line": {"color": "--soft", "width": 1, "dash": "dot"},
    }
    return Choice(
        label,
        [trace],
        {
            "xaxis": axis,
            "yaxis": {"title": {"text": "Distance"}, "rangemode": "tozero"},
            "shapes": [line],
            "showlegend": False,
        },
    )


def shocks(view: StressView) -> Table | Sentence:
    """Return the shocks that were found, their plausibility and what they cost."""
    title = "The shocks in numbers"
    found = view.reverse
    if found is None:
        return Sentence(title, "There are none.", wide=True)
    coins = [str(coin) for coin in found.found["coin"].values]
    totals = found.manifest["totals"]
    sampled = (
        f" The search looked at {totals['accounts_searched']:,} of {totals['accounts']:,} accounts "
        "and scaled their losses up; losses here are of all accounts."
        if totals["accounts_searched"] < totals["accounts"]
        else ""
    )
    return Table(
        title=title,
        caption=(
            f"Distance in units of the deviations of {totals['factors']} factors, prices and "
            "volatilities of coins. Chance: that a normal move is at least as far, in any "
            "direction. As far, and exhausting: parts of the windows of history that are at least "
            "as far, and that exhaust the resource themselves. Drawn: what all accounts draw on it "
            "with nobody closed. Shortfall: what accounts and vault lose over what accounts had, "
            "by the end of the cascade at the plan's depth; US dollars." + sampled + _beyond(found)
        ),
        columns=(
            *("Exhausted", "Amount", "Distance", "Chance", "As far", "Exhausting"),
            *coins,
            *(f"{coin} volatility" for coin in coins),
            *("Lost, nobody closed", "Drawn", "Lost with cascade", "Shortfall", "In default"),
        ),
        rows=[_row(found, row, len(coins)) for row in range(len(found.names))],
        wide=True,
    )


def _beyond(found: ReverseView) -> str:
    """Say how far the search went, and the most it found drawn where nothing is exhausted."""
    said = out_of_reach(found.manifest, found.found)
    return "".join(f" {words(line)}." for line in said)


def _row(found: ReverseView, row: int, coins: int) -> tuple[str, ...]:
    name, amount = words(found.names[row]), money(float(found.values("resource")[row]))
    if not np.isfinite(found.values("distance")[row]):
        return (name, amount, "out of reach", *[NOTHING] * (3 + 2 * coins + 5))
    windows = found.manifest["totals"]["windows"]
    moves = (*found.values("price")[row], *found.values("volatility")[row])
    return (
        name,
        amount,
        f"{found.values('distance')[row]:.2f}",
        f"{found.values('tail_probability')[row]:.1g}",
        percent(float(found.values("empirical_frequency")[row])),
        percent(float(found.values("exhausting_windows")[row] / windows)),
        *(percent(float(move)) for move in moves),
        short(float(found.values("lost_alone")[row])),
        short(float(found.values("drawn_by_all_accounts")[row])),
        short(float(found.values("lost")[row])),
        short(float(found.values("shortfall")[row])),
        f"{int(found.values('defaulted_members')[row])}",
    )
