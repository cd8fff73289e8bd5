"""The pool by chain, protocol, bridge and asset: value, debt, credit, and the worst failure."""

import numpy as np
from numpy.typing import NDArray

from flows.report.collateral.view import NOW, PoolView
from flows.report.groups import ranked
from flows.report.picture import Choice, Picture, Sentence, largest_first

SHOWN = 12

GROUPS = (
    (
        "chain",
        "By chain",
        "The chain on which the token lies; what a custodian keeps is off chain.",
    ),
    (
        "protocol",
        "By protocol",
        "The protocol that issued the token: a lending market, a vault, a staking pool or an "
        "exchange. What lies in a wallet is in no protocol.",
    ),
    (
        "bridge",
        "By bridge",
        "The bridge that the token itself came over. Tokens inside other tokens are not counted "
        "here but under the caps of the bridges below.",
    ),
    (
        "asset",
        "By asset",
        "The base asset at the end of what the token stands for; liquidity is shared out by value.",
    ),
)


def groups(view: PoolView) -> list[Picture | Sentence]:
    """Return one picture for each way to group the claims."""
    return [_group(view, *group) for group in GROUPS]


def _group(view: PoolView, group: str, title: str, meaning: str) -> Picture | Sentence:
    credit = view.amounts(f"{group}_credit")
    value, debt = (view.amounts(f"{group}_{name}")[:, NOW] for name in ("value", "debt"))
    some = np.flatnonzero((value > 0.0) | (debt > 0.0) | (credit[:, NOW] != 0.0))
    if not len(some):
        return Sentence(title, f"No claim that counts has any {group}.")
    rows = some[largest_first(credit[some, NOW], SHOWN)]
    more = f" The {len(rows)} largest of {len(some)} are shown." if len(some) > len(rows) else ""
    names = [view.names(group)[row] for row in rows]
    choices = [
        ranked(names, label, amount[rows], float(amount.sum()), colour)
        for label, amount, colour in (
            ("Credit", credit[:, NOW], "--layer-1"),
            ("Value", value, "--calm"),
            ("Debt", debt, "--layer-2"),
        )
    ]
    if credit.shape[1] > 1:
        choices.append(_lost(view, names, credit[rows]))
    return Picture(
        name=group,
        title=title,
        caption=f"{meaning}{more}",
        choices=choices,
        height=110 + 28 * len(rows),
    )


def _lost(view: PoolView, names: list[str], credit: NDArray[np.float64]) -> Choice:
    """Draw what each row loses in the named scenario that is worst for it."""
    lost = credit[:, [NOW]] - credit[:, 1:]
    worst = lost.argmax(axis=1)
    amount = np.maximum(lost[np.arange(len(names)), worst], 0.0)
    titles = view.failures
    words = [titles[at] if lose > 0.0 else "" for at, lose in zip(worst, amount, strict=True)]
    return ranked(names, "Lost at worst", amount, 0.0, "--alarm", ("If", words))
