"""How margin spreads over accounts: distributions, concentration and the largest accounts."""

import re
from collections.abc import Callable, Sequence

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from flows.format import exact, money, percent, short
from flows.report.picture import (
    Choice,
    Layout,
    Picture,
    Sentence,
    Table,
    Trace,
    bars,
    decades,
    end_labels,
    named_axis,
)
from flows.report.view import RunView

LISTED = 20
ZEROS = re.compile(r"\.0+(?= |$)")
"""Decimals of a round number, which an axis does without."""


def requirement_distribution(view: RunView) -> Picture | Sentence:
    """Return how many accounts have how large a requirement."""
    title = "Requirement per account"
    edges = np.asarray(view.folds["requirement_bucket"].values, dtype=np.float64)
    counts = np.asarray(view.folds["requirement_count"].values, dtype=np.float64)
    if not counts.sum():
        return Sentence(title, "No account was margined in this run.")
    return Picture(
        name="requirement-distribution",
        title=title,
        caption=(
            "Number of accounts whose requirement, in US dollars, falls in each bucket; the axis "
            "of amounts is logarithmic, for a few accounts need thousands of times what most "
            "need. The logarithmic view shows the few large ones, the linear one where most are."
        ),
        choices=_counted(edges, counts, "requirement", short, "USD, logarithmic buckets", None),
        height=360,
    )


def utilisation_distribution(view: RunView) -> Picture | Sentence:
    """Return how much of their equity accounts have in use."""
    title = "Utilisation per account"
    edges = np.asarray(view.folds["utilisation_bucket"].values, dtype=np.float64)
    counts = np.asarray(view.folds["utilisation_count"].values, dtype=np.float64)
    if not counts.sum():
        return Sentence(title, "No account was margined in this run.")
    return Picture(
        name="utilisation-distribution",
        title=title,
        caption=(
            "Number of accounts by requirement over equity. At 100 % the whole equity is in use; "
            "the red accounts are beyond it and must bring margin or be reduced. Those just below "
            "are the ones that the next move makes short. Accounts that have no equity at all are "
            "in the last bucket, of 1,000 % and more."
        ),
        choices=_counted(edges, counts, "utilisation", percent, "Requirement over equity", 1.0),
        height=360,
    )


def _counted(
    edges: NDArray[np.float64],
    counts: NDArray[np.float64],
    what: str,
    words: Callable[[float], str],
    axis: str,
    alarm: float | None,
) -> list[Choice]:
    """Draw buckets side by side, trimmed to those that hold accounts, ticks at their edges."""
    held = np.flatnonzero(counts)
    last = int(held[-1]) + 1
    first = int(held[0]) if edges[int(held[0])] > 0.0 and alarm is None else 0
    texts = []
    for at in range(first, last):
        low = words(float(edges[at]))
        high = words(float(edges[at + 1])) if at + 1 < len(edges) else ""
        span = f"{low} to {high}" if high else f"{low} and more"
        texts.append(f"{exact(counts[at])} accounts<br>{what} {span}")
    # Edges are binary fractions: 1.0000000000000002 is 100 %.
    red = [alarm is not None and edges[at] >= alarm - 1e-9 for at in range(first, last)]
    trace: Trace = {
        "type": "bar",
        "x": list(range(last - first)),
        "y": counts[first:last].tolist(),
        "width": 0.9,
        "marker": {"color": ["--alarm" if hot else "--layer-1" for hot in red]},
        "customdata": texts,
        "hovertemplate": "%{customdata}<extra></extra>",
    }
    ticks = _ticks(edges, first, last)
    layout: Layout = {
        "xaxis": {
            "title": {"text": axis},
            "tickmode": "array",
            "tickvals": [at - first - 0.5 for at in ticks],
            "ticktext": [ZEROS.sub("", words(float(edges[at]))) for at in ticks],
            "showgrid": False,
            "range": [-0.7, last - first - 0.3],
            "ticks": "outside",
            "tickangle": 0,
        },
        "showlegend": False,
    }
    largest = float(counts.max())
    logarithmic = decades("Accounts, logarithmic", largest)
    logarithmic["range"][0] = -0.3
    linear: Layout = {"title": {"text": "Accounts"}, "rangemode": "tozero"}
    return [
        Choice("Logarithmic", [trace], layout | {"yaxis": logarithmic}),
        Choice("Linear", [trace], layout | {"yaxis": linear}),
    ]


def _ticks(edges: NDArray[np.float64], first: int, last: int) -> list[int]:
    """Return the edges to label: round ones, few enough to be read on a phone."""
    shown = range(first, min(last, len(edges) - 1) + 1)
    if edges[-1] > 1e3:
        decade = [at for at in shown if edges[at] > 0.0 and _whole(np.log10(edges[at]))]
        chosen = decade or list(shown)
    else:
        chosen = [at for at in shown if _whole(edges[at] * 4.0)]
        chosen = chosen or list(shown)
    step = -(-len(chosen) // 9)
    return chosen[::step]


def _whole(value: float) -> bool:
    return bool(abs(value - round(value)) < 1e-6)


def concentration(view: RunView) -> Picture | Sentence:
    """Return the share of the requirement that the largest accounts hold."""
    title = "Concentration"
    shares = np.asarray(view.folds["concentration"].values, dtype=np.float64)
    if not (shares > 0.0).any():
        return Sentence(title, "No account has a requirement in this run.")
    names = [_share_words(str(name)) for name in view.folds["top_share"].values]
    percents = [round(100.0 * float(share), 4) for share in shares]
    texts = [
        f"{name}: {percent(float(share))} of the requirement"
        for name, share in zip(names, shares, strict=True)
    ]
    layout: Layout = {
        "xaxis": {"title": {"text": "% of the requirement"}, "range": [0.0, 118.0]},
        "yaxis": named_axis(names),
        "showlegend": False,
    }
    words = [percent(float(share)) for share in shares]
    return Picture(
        name="concentration",
        title=title,
        caption=(
            "Share of the whole requirement that the largest accounts hold. The more a few "
            "accounts hold, the more the system rests on those few paying."
        ),
        choices=(
            Choice(
                "Share", [bars(percents, texts, "--layer-1"), end_labels(percents, words)], layout
            ),
        ),
        height=80 + 32 * len(names),
        wide=True,
    )


def _share_words(name: str) -> str:
    if name == "1":
        return "Largest account"
    return f"Largest {name.replace('%', ' %')}" + ("" if name.endswith("%") else " accounts")


def largest_shortfalls(view: RunView) -> Table | Sentence:
    """Return the accounts that fall short by the most."""
    title = "Largest shortfalls"
    rows = _listed(view.folds, "shortfall")
    if not rows:
        return Sentence(title, "No account falls short: every requirement is met by equity.")
    return Table(
        title=title,
        caption=(
            "Accounts whose equity is furthest below their requirement, in US dollars. Shortfall "
            "is requirement less equity; a negative equity is a debt."
            f"{_listing(len(rows), int(view.total('accounts_short')))}"
        ),
        columns=("Account", "Member", "Shortfall, USD", "Requirement, USD", "Equity, USD"),
        rows=[
            (
                *_who(view.folds, "shortfall", at),
                exact(_value(view.folds, "top_shortfall_amount", at)),
                exact(_value(view.folds, "top_shortfall_requirement", at)),
                exact(_value(view.folds, "top_shortfall_equity", at)),
            )
            for at in rows
        ],
        text_columns=(0, 1),
        wide=True,
    )


def largest_requirements(view: RunView) -> Table | Sentence:
    """Return the accounts with the largest requirement."""
    title = "Largest requirements"
    rows = _listed(view.folds, "requirement")
    if not rows:
        return Sentence(title, "No account has a requirement in this run.")
    whole = view.total("requirement")
    body = []
    for at in rows:
        amount = _value(view.folds, "top_requirement_amount", at)
        equity = _value(view.folds, "top_requirement_equity", at)
        share = f"{100.0 * amount / whole:.2f} %" if whole > 0.0 else ""
        body.append((*_who(view.folds, "requirement", at), exact(amount), share, exact(equity)))
    return Table(
        title=title,
        caption=(
            f"Accounts that must post the most, in US dollars; all together {money(whole)}. "
            "The share is that of the whole requirement."
        ),
        columns=("Account", "Member", "Requirement, USD", "Share", "Equity, USD"),
        rows=body,
        text_columns=(0, 1),
        wide=True,
    )


def _listing(shown: int, short: int) -> str:
    return f" The {shown} largest of {short:,} are listed." if short > shown else ""


def _listed(folds: xr.Dataset, name: str) -> Sequence[int]:
    """Return the ranks that are taken: a book may have fewer accounts than the list has rows."""
    amounts = np.asarray(folds[f"top_{name}_amount"].values, dtype=np.float64)
    rows = np.asarray(folds[f"top_{name}_account"].values)
    taken = [at for at in range(len(amounts)) if rows[at] >= 0 and amounts[at] > 0.0]
    return taken[:LISTED]


def _who(folds: xr.Dataset, name: str, at: int) -> tuple[str, str]:
    account = str(folds[f"top_{name}_name"].values[at])
    return account, str(folds[f"top_{name}_member"].values[at])


def _value(folds: xr.Dataset, name: str, at: int) -> float:
    return float(folds[name].values[at])
