"""How margin spreads over accounts: distributions, concentration and the largest accounts."""

from collections.abc import Sequence

import numpy as np
import xarray as xr

from flows.format import exact, money, percent, short
from flows.report.buckets import buckets
from flows.report.picture import (
    Choice,
    Layout,
    Picture,
    Sentence,
    Table,
    bars,
    end_labels,
    named_axis,
)
from flows.report.view import RunView

LISTED = 20


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
        choices=buckets(edges, counts, "requirement", short, "USD, logarithmic buckets"),
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
        # Edges are binary fractions: 1.0000000000000002 is 100 %.
        choices=buckets(
            edges, counts, "utilisation", percent, "Requirement over equity", edges >= 1.0 - 1e-9
        ),
        height=360,
    )


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
