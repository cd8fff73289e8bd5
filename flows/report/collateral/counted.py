"""What counts and what does not: outcomes of all claims, and what was counted twice."""

import numpy as np

from flows.format import NOTHING, exact, percent, short
from flows.report.collateral.view import NOW, PoolView
from flows.report.picture import Sentence, Table
from risk.claims.tokens import REASONS, Outcome

NAMED = 4
"""Groups of each kind that are named."""

HOLDERS = 4
"""Claims of a group that are named."""

KINDS = {
    Outcome.ROOT_TWICE: "same deposit",
    Outcome.PROOF_TWICE: "same proof",
    Outcome.BACKING_TWICE: "claim and its receipt",
    Outcome.BACKING_CYCLE: "circle of receipts",
    Outcome.RECIPE_CYCLE: "circle of tokens",
    Outcome.HEIGHT_SKEWED: "read at two times",
}
"""Kinds of double counts."""


def outcomes(view: PoolView) -> Table:
    """Return how many claims have each outcome, and what they would fetch."""
    claims, value = view.amounts("claims_by_outcome"), view.amounts("value_by_outcome")
    whole, names = float(claims.sum()), [str(name) for name in view.totals["outcome"].values]
    rows = [
        (
            "counted" if name == Outcome.COUNTED.name else name.lower().replace("_", " "),
            REASONS[Outcome[name]],
            exact(claims[at]),
            percent(claims[at] / whole) if whole else NOTHING,
            exact(value[at]),
        )
        for at, name in enumerate(names)
    ]
    return Table(
        title="Outcome of every claim",
        caption=(
            "Every claim has one outcome. Value is what its quantity would fetch at today's "
            "prices in US dollars if nothing were wrong with it, before haircuts; debts are left "
            "out, so the first row is more than the pool at mark. A token that stands for nothing "
            "in the end has no value."
        ),
        columns=("Outcome", "Why", "Claims", "Share", "Value, USD"),
        rows=rows,
        text_columns=(0, 1),
        wide=True,
    )


def double_counts(view: PoolView) -> Table | Sentence:
    """Return what would have been counted twice, by kind."""
    title = "Double counts found"
    claims, value = view.amounts("claims_by_outcome"), view.amounts("value_by_outcome")
    kind, group = _kinds(view)
    rows = []
    for outcome, words in KINDS.items():
        own = group[kind == outcome]
        groups, members = len(set(own.tolist())), len(own)
        if outcome == Outcome.RECIPE_CYCLE:
            groups, members = view.findings.sizes["recipe_circle"], int(claims[outcome])
        listed = members or int(claims[outcome])
        if listed:
            rows.append(
                (
                    words,
                    exact(groups) if groups else NOTHING,
                    exact(listed),
                    exact(claims[outcome]),
                    exact(value[outcome]),
                )
            )
    if not rows:
        return Sentence(title, "Nothing was counted twice, and nothing leads round in a circle.")
    policy = view.rules.policy.double_count
    kept = "none of them counts" if policy == "none" else "the first of them counts"
    return Table(
        title=title,
        caption=(
            f"Groups of claims that rest on one thing; by the rules {kept}. Withheld are the "
            "claims that do not count for this reason; one that has an earlier reason is withheld "
            "for that. Value in US dollars, before haircuts. A dash: claims found one by one."
        ),
        columns=("Kind", "Groups", "Claims found", "Withheld", "Value withheld, USD"),
        rows=rows,
        wide=True,
    )


def named_groups(view: PoolView) -> Table | Sentence:
    """Return the first groups of each kind by account and token."""
    kind, group = _kinds(view)
    if not len(kind):
        return Sentence("Who counts one thing twice", "Nobody.")
    findings, tokens = view.findings, view.tokens
    token = np.asarray(findings["token"].values)
    quantity = np.asarray(findings["quantity"].values, dtype=np.float64)
    worth = quantity * np.asarray(tokens["unit_value"].values, dtype=np.float64)[token, NOW]
    lies = [str(name) for name in tokens["chain"].values]
    symbol = [str(name) for name in tokens["token_name"].values]
    named: dict[str, list[tuple[str, str, str, str]]] = {}
    for outcome, words in KINDS.items():
        own = np.flatnonzero(kind == outcome)
        for members in np.split(own, np.flatnonzero(np.diff(group[own])) + 1):
            if not len(members):
                continue
            across = len({lies[token[row]] for row in members}) > 1
            label = f"{words}, several chains" if across else words
            if len(listed := named.setdefault(label, [])) == NAMED:
                continue
            holders = [
                f"{findings['account_name'].values[row]}: {short(quantity[row])} "
                f"{symbol[token[row]]} on {lies[token[row]]}"
                for row in members[:HOLDERS]
            ]
            left = len(members) - len(holders)
            told = "; ".join([*holders, f"{left} more"] if left else holders)
            listed.append((label, told, exact(len(members)), exact(worth[members].sum())))
    return Table(
        title="Who counts one thing twice",
        caption=(
            f"The first {NAMED} groups of each kind, by account, quantity, token and chain. Value "
            "is what all claims of the group together would fetch, US dollars. The run's findings "
            "have every group."
        ),
        columns=("Kind", "Claims", "Number", "Value, USD"),
        rows=[row for listed in named.values() for row in listed],
        text_columns=(0, 1),
        wide=True,
    )


def recipe_circles(view: PoolView) -> Sentence:
    """Return the circles of tokens that stand for each other, in words."""
    title = "Tokens that stand for each other"
    circles = [str(name) for name in view.findings["recipe_cycle"].values]
    if not circles:
        return Sentence(title, "No token stands for itself over others.", wide=True)
    listed = "; ".join(_circle(circle) for circle in circles)
    return Sentence(
        title,
        f"What these stand for leads round in a circle, so they have no value: {listed}.",
        wide=True,
    )


def _circle(names: str) -> str:
    """Return a circle closed by its first name.

    >>> _circle("a -> b")
    'a → b → a'
    """
    parts = names.split(" -> ")
    return " → ".join([*parts, parts[0]])


def _kinds(view: PoolView) -> tuple[np.ndarray, np.ndarray]:
    return np.asarray(view.findings["kind"].values), np.asarray(view.findings["group"].values)
