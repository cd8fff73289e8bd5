"""How the pool falls on accounts: health, shortfalls, and what collateral inside scenarios adds."""

import numpy as np

from flows.format import exact
from flows.report.buckets import buckets
from flows.report.collateral.view import NOW, PoolView
from flows.report.picture import Picture, Sentence, Table

LISTED = 15


def health(view: PoolView) -> Picture | Sentence:
    """Return how many accounts with debt have how good a health factor."""
    title = "Health of positions in lending markets"
    edges, counts = view.amounts("health_bucket"), view.amounts("health_count")
    if not counts.sum():
        return Sentence(title, "No account owes anything to a lending market.", wide=True)
    unhealthy = int(view.amounts("unhealthy")[NOW])
    return Picture(
        name="health",
        title=title,
        caption=(
            f"The {exact(counts.sum())} accounts that owe to a lending market, by the lowest "
            "health factor of their positions: what covers the debt, at the market's own "
            "thresholds, over the debt. Below 1, red, a position may be liquidated: "
            f"{unhealthy:,} positions now. The pool counts only what is left of a position after "
            f"the market's claim at a health of {view.rules.policy.target_health:g}."
        ),
        choices=buckets(
            edges, counts, "health factor", _factor, "Health factor", edges < 1.0, every_edge=True
        ),
        height=340,
        wide=True,
    )


def _factor(value: float) -> str:
    return f"{value:g}"


def largest_shortfalls(view: PoolView) -> Table | Sentence:
    """Return the accounts that fall short by the most."""
    title = "Largest shortfalls"
    rows = [
        (
            name,
            exact(amount),
            exact(_of(account, "requirement")),
            exact(_of(account, "requirement_alone")),
            exact(_of(account, "credit")),
            exact(_of(account, "position_value")),
            view.scenario_title(int(account["binding_scenario"])),
        )
        for name, amount, account in _listed(view, "shortfall")
    ]
    if not rows:
        return Sentence(title, "No account falls short: every requirement is met.", wide=True)
    return Table(
        title=title,
        caption=(
            "Accounts whose credit and position value are furthest below their requirement, US "
            "dollars; a negative credit is a debt that nothing stands behind. The requirement has "
            "collateral inside the scenarios; alone is that of the positions at a fixed haircut."
            f"{_listing(len(rows), int(view.total('below')))}"
        ),
        columns=(
            "Account",
            "Shortfall, USD",
            "Requirement, USD",
            "Alone, USD",
            "Credit, USD",
            "Positions, USD",
            "Scenario that binds",
        ),
        rows=rows,
        text_columns=(0, 6),
        wide=True,
    )


def largest_changes(view: PoolView) -> Table | Sentence:
    """Return the accounts whose requirement rises the most by collateral inside the scenarios."""
    title = "Where collateral inside the scenarios adds the most"
    rows = [
        (
            name,
            exact(amount),
            exact(_of(account, "requirement_alone")),
            exact(_of(account, "requirement")),
            exact(_of(account, "credit")),
            exact(_of(account, "credit_then")),
            view.scenario_title(int(account["binding_scenario"])),
        )
        for name, amount, account in _listed(view, "change")
    ]
    if not rows:
        return Sentence(title, "No account requires more than its positions alone.", wide=True)
    return Table(
        title=title,
        caption=(
            "Accounts whose requirement rises the most when their collateral is revalued in every "
            "scenario with the positions instead of at a fixed haircut, US dollars. Credit then "
            "is in the scenario that binds: what the account's collateral falls to when it is "
            "needed."
        ),
        columns=(
            "Account",
            "Rise, USD",
            "Alone, USD",
            "Requirement, USD",
            "Credit now, USD",
            "Credit then, USD",
            "Scenario that binds",
        ),
        rows=rows,
        text_columns=(0, 6),
        wide=True,
    )


def _listed(view: PoolView, name: str) -> list[tuple[str, float, dict[str, float]]]:
    """Return name, amount and stored row of the accounts that are ranked, the largest first."""
    found = []
    known = {int(row): at for at, row in enumerate(view.accounts["account"].values)}
    amounts = view.amounts(f"top_{name}_amount")
    rows = np.asarray(view.totals[f"top_{name}_account"].values)
    for rank in np.flatnonzero((rows >= 0) & (amounts > 0.0))[:LISTED].tolist():
        at = known[int(rows[rank])]
        stored = {
            str(column): float(view.accounts[column].values[at])
            for column in view.accounts.data_vars
        }
        label = str(view.totals[f"top_{name}_name"].values[rank])
        found.append((label, float(amounts[rank]), stored))
    return found


def _of(account: dict[str, float], name: str) -> float:
    return account.get(name, float("nan"))


def _listing(shown: int, whole: int) -> str:
    return f" The {shown} largest of {whole:,} are listed." if whole > shown else ""
