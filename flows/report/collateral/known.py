"""How well the pool is known: proofs behind claims, prices and chains and their ages."""

import numpy as np

from flows.format import NOTHING, duration, exact, money, percent
from flows.report.collateral.view import PoolView
from flows.report.picture import Table
from risk.claims.rules import NONE
from risk.claims.tokens import Outcome

MEANINGS = {
    "proven": "a proof against a root of the chain shows the balance",
    "attested": "somebody whose word is accepted has signed for it",
    "stated": "the holder says so",
}


def coverage(view: PoolView) -> Table:
    """Return credit by how claims are known."""
    credit = view.amounts("credit_by_standing")
    whole = float(credit.sum())
    names = [str(name) for name in view.totals["standing"].values]
    withheld = float(view.amounts("value_by_outcome")[Outcome.NOT_PROVEN])
    needs = {rule.needs for rule in view.rules.standings}
    asked = (
        f"The rules ask for {' or '.join(sorted(needs))} or better"
        if needs
        else "The rules ask for no proof"
    )
    return Table(
        title="Coverage by proofs",
        caption=(
            f"Credit now by the standing of the claims, US dollars. {asked}; claims worth "
            f"{money(withheld)} before haircuts do not count because their standing is too low."
        ),
        columns=("Standing", "What it means", "Credit, USD", "Share"),
        rows=[
            (
                name,
                MEANINGS[name],
                exact(amount),
                percent(amount / whole) if whole > 0.0 else NOTHING,
            )
            for name, amount in zip(names, credit, strict=True)
        ],
        text_columns=(0, 1),
        wide=True,
    )


def feeds(view: PoolView) -> Table:
    """Return prices, their ages, and which do not count."""
    totals, rules = view.totals, view.rules
    bound = {name: rule.deviation for rule in rules.assets for name in rule.assets}
    oracle, market = view.amounts("feed_oracle"), view.amounts("feed_market")
    low = np.minimum(oracle, market)
    rows = []
    for at, name in enumerate(view.names("asset")):
        allowed = bound.get(name) or rules.feeds.deviation
        apart = abs(oracle[at] - market[at]) / low[at] if low[at] > 0.0 else np.inf
        wrong = []
        if totals["feed_stale"].values[at]:
            wrong.append("stale")
        if totals["feed_deviates"].values[at]:
            wrong.append("deviates")
        age, heartbeat = view.amounts("feed_oracle_age")[at], view.amounts("feed_heartbeat")[at]
        rows.append(
            (
                name,
                " and ".join(wrong) or "fits",
                f"{oracle[at]:,.4f}",
                f"{market[at]:,.4f}",
                percent(apart),
                percent(allowed),
                duration(age),
                duration(rules.feeds.heartbeats * heartbeat),
                duration(view.amounts("feed_market_age")[at]),
            )
        )
    rows.sort(key=lambda row: row[1] == "fits")
    return Table(
        title="Prices and their ages",
        caption=(
            "Two prices of each base asset in US dollars, how far apart they are as a part of the "
            "lower, and how old at the time of the run. Assets count at the lower, debts at the "
            "higher. What is stale or deviates counts for nothing; a market price is stale after "
            f"{duration(rules.feeds.market_seconds)}."
        ),
        columns=(
            "Asset",
            "Finding",
            "Oracle, USD",
            "Market, USD",
            "Apart",
            "Allowed",
            "Oracle's age",
            "Allowed age",
            "Market's age",
        ),
        rows=rows,
        text_columns=(0, 1),
        wide=True,
    )


def chains(view: PoolView) -> Table:
    """Return where each chain stood when claims on it were read."""
    rule_of = {rule.chain: rule for rule in view.rules.chains}
    height, final, age = (view.amounts(f"chain_{name}") for name in ("height", "finalised", "age"))
    rows = []
    for at, name in enumerate(str(one) for one in view.totals["chain"].values):
        if name == NONE:
            continue
        rule = rule_of.get(name)
        rows.append(
            (
                name,
                "listed" if rule else "no rule: nothing on it counts",
                exact(height[at]),
                exact(final[at]),
                exact(height[at] - final[at]),
                exact(rule.finality_blocks) if rule else NOTHING,
                duration(age[at]),
            )
        )
    return Table(
        title="Chains and their blocks",
        caption=(
            "The newest block that was seen of each chain, the last that it calls final, and the "
            "time from the newest block to that of the run. Blocks to finality are what the rules "
            "ask for beside what the chain says."
        ),
        columns=(
            "Chain",
            "Rule",
            "Newest block",
            "Final block",
            "Blocks between",
            "Blocks to finality",
            "Age",
        ),
        rows=rows,
        text_columns=(0, 1),
        wide=True,
    )
