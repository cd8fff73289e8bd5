"""What rests on one thing: concentration, what happens if it fails, and the caps of bridges."""

import numpy as np

from flows.format import exact, money, percent
from flows.report.collateral.view import NOW, PoolView
from flows.report.groups import ranked
from flows.report.picture import (
    Choice,
    Picture,
    Sentence,
    Table,
    amount_axis,
    bars,
    end_labels,
    hover,
    largest_first,
    named_axis,
    plain,
)
from risk.claims.groups import concentration as herfindahl
from risk.claims.rules import NONE

LENGTH = 44
"""Characters of the name of a failure beside its bar."""


def concentration(view: PoolView) -> Table:
    """Return how much of the pool's credit rests on few chains, protocols, bridges and assets."""
    rows = []
    for group in ("chain", "protocol", "bridge", "asset"):
        credit = np.maximum(view.amounts(f"{group}_credit")[:, NOW], 0.0)
        named = np.array([str(name) != NONE for name in view.totals[group].values], dtype=bool)
        whole = float(credit.sum())
        resting = np.where(named, credit, 0.0)
        index = herfindahl(resting)
        largest = largest_first(resting, 3)
        first = int(largest[0]) if index > 0.0 else -1
        rows.append(
            (
                group.capitalize(),
                _part(float(credit[~named].sum()), whole),
                f"{index:.3f}" if index > 0.0 else "–",
                f"{1.0 / index:.1f}" if index > 0.0 else "–",
                view.names(group)[first] if first >= 0 else "none",
                _part(float(resting[first]), whole) if first >= 0 else "–",
                _part(float(resting[largest].sum()), whole) if first >= 0 else "–",
            )
        )
    return Table(
        title="Concentration of credit",
        caption=(
            "The Herfindahl index is the sum of squared shares among those that have a name: 1 "
            "where one has all. Its inverse is how many of equal size would be as concentrated. "
            "The shares are of the whole credit; what is off chain, in no protocol or over no "
            "bridge does not rest on one."
        ),
        columns=(
            "By",
            "Rests on none",
            "Herfindahl index",
            "As many equals",
            "Largest",
            "Its share",
            "Three largest",
        ),
        rows=rows,
        text_columns=(0, 4),
        wide=True,
    )


def _part(amount: float, whole: float) -> str:
    return percent(amount / whole) if whole > 0.0 else "–"


def failures(view: PoolView) -> Picture | Sentence:
    """Return what each named failure costs, as bars."""
    title = "If it fails: single points of failure"
    if not view.failures:
        return Sentence(title, "The rules of this pool name no failure.", wide=True)
    credit = view.amounts("chain_credit").sum(axis=0)
    lost = credit[NOW] - credit[1:]
    rows = largest_first(lost, len(lost))
    names = [view.failures[row] for row in rows]
    below, called, unhealthy = (
        view.amounts(name) for name in ("accounts_below", "called", "unhealthy")
    )
    return Picture(
        name="failures",
        title=title,
        caption=(
            "One bar for each failure that the rules name, taken by itself. Credit lost is a "
            "positive number of US dollars; a chain that halts takes the credit of all that "
            "touches it, tokens on other chains whose original lies there included. Below are "
            "accounts whose credit and position value would not cover what their positions alone "
            "require; margin called is by how much. Liquidatable are positions in lending markets "
            "whose health would be below 1. The last three count what is so already, before "
            "anything fails."
        ),
        choices=(
            ranked(names, "Credit lost", lost[rows], float(credit[NOW]), "--alarm", None, LENGTH),
            _counts(names, "Accounts below", below[1:][rows], float(below[NOW])),
            ranked(
                names,
                "Margin called",
                called[1:][rows],
                0.0,
                "--layer-2",
                ("More than now", [_more(one - called[NOW], money) for one in called[1:][rows]]),
                LENGTH,
            ),
            _counts(names, "Liquidatable", unhealthy[1:][rows], float(unhealthy[NOW])),
        ),
        height=110 + 24 * len(rows),
        wide=True,
    )


def _counts(names: list[str], label: str, counts: np.ndarray, now: float) -> Choice:
    more = [_more(count - now, exact) for count in counts]
    texts = [
        hover(name, (label, exact(count)), ("More than now", one))
        for name, count, one in zip(names, counts, more, strict=True)
    ]
    words = [
        f"{exact(count)} · {one}" if one else exact(count)
        for count, one in zip(counts, more, strict=True)
    ]
    lengths = plain(counts)
    return Choice(
        label,
        [bars(lengths, texts, "--layer-3", label), end_labels(lengths, words)],
        {
            "xaxis": amount_axis(label, counts, room=0.4),
            "yaxis": named_axis(names, LENGTH),
            "showlegend": False,
        },
    )


def _more(change: float, words: object) -> str:
    """Return a change from now in words; nothing where there is none."""
    text = words(abs(change))  # type: ignore[operator]
    if not np.any([char in "123456789" for char in text]):
        return ""
    return f"{'+' if change > 0.0 else '−'}{text}"


def failure_table(view: PoolView) -> Table | Sentence:
    """Return the same numbers in full, one row for each failure."""
    if not view.failures:
        return Sentence("Failures in numbers", "The rules of this pool name no failure.")
    credit = view.amounts("chain_credit").sum(axis=0)
    below, called, unhealthy = (
        view.amounts(name) for name in ("accounts_below", "called", "unhealthy")
    )
    lost = credit[NOW] - credit[1:]
    rows = [
        (
            "now, before anything fails",
            "",
            "",
            "",
            exact(below[NOW]),
            exact(called[NOW]),
            exact(unhealthy[NOW]),
        )
    ]
    rows += [
        (
            view.failures[at],
            weight_words(float(view.failure_weights[at])),
            exact(lost[at]),
            _part(float(lost[at]), float(credit[NOW])),
            exact(below[at + 1]),
            exact(called[at + 1]),
            exact(unhealthy[at + 1]),
        )
        for at in largest_first(lost, len(lost)).tolist()
    ]
    return Table(
        title="Failures in numbers",
        caption=(
            "US dollars and counts, after the failure. The requirement answers for the part of "
            "the loss in the second column; a failure that is reported only does not raise it. "
            "A price move in the failure moves positions as well, so fewer accounts than now may "
            "be below."
        ),
        columns=(
            "Failure",
            "In the requirement",
            "Credit lost, USD",
            "Of credit",
            "Accounts below",
            "Margin called, USD",
            "Liquidatable",
        ),
        rows=rows,
        text_columns=(0, 1),
        wide=True,
    )


def weight_words(weight: float) -> str:
    """Return the part of a loss that the requirement answers for.

    >>> weight_words(1.0), weight_words(0.25), weight_words(0.0)
    ('in full', 'at 25 %', 'reported only')
    """
    if weight == 0.0:
        return "reported only"
    return "in full" if weight == 1.0 else f"at {percent(weight)}"


def caps(view: PoolView) -> Table | Sentence:
    """Return what rests on each bridge and what the caps let count."""
    title = "Caps of the bridges"
    rule_of = {name: rule for rule in view.rules.bridges for name in rule.bridges}
    resting, part = view.amounts("bridge_resting"), view.amounts("bridge_part")
    by_asset, asset_part = (
        view.amounts("bridge_asset_resting"),
        view.amounts("bridge_asset_part"),
    )
    assets = view.names("asset")
    rows = []
    for at, name in enumerate(str(one) for one in view.totals["bridge"].values):
        rule = rule_of.get(name)
        if name == NONE or rule is None:
            continue
        bound = [
            f"{assets[asset]}: {money(by_asset[at, asset])} rests, "
            f"{money(by_asset[at, asset] * asset_part[at, asset])} counts"
            for asset in np.flatnonzero(asset_part[at] < 1.0)
        ]
        counted = float((by_asset[at] * asset_part[at]).sum() * part[at])
        if part[at] < 1.0:
            bound.insert(0, "the bridge as a whole")
        rows.append(
            (
                name,
                rule.verification.replace("_", " "),
                exact(resting[at]),
                exact(rule.cap),
                exact(counted),
                "; ".join(bound) or "none",
            )
        )
    if not rows:
        return Sentence(title, "No claim that counts came over a bridge.", wide=True)
    binds = any(row[5] != "none" for row in rows)
    return Table(
        title=title,
        caption=(
            "Credit that rests on each bridge before its caps, over the whole pool, US dollars, "
            "and what of it counts. It includes what lies inside other tokens: a receipt for a "
            "bridged coin, or a coin that came over two bridges, which rests on both; debts are "
            "not taken off. "
            + (
                "Where a cap binds, every claim on the bridge loses the same part."
                if binds
                else "No cap binds in this run."
            )
        ),
        columns=("Bridge", "Verification", "Resting, USD", "Cap, USD", "Counted, USD", "Cap binds"),
        rows=rows,
        text_columns=(0, 1, 5),
        wide=True,
    )
