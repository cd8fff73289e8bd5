"""The network of a scenario as a picture: who does not pay whom, and how much of it."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from flows.format import clipped, money
from flows.report.picture import Choice, Picture, Sentence, hover, largest_first, plain, safe
from flows.report.stress.contagion import KIND_WORDS, LAYER_WORDS, SCENARIOS, worst
from flows.report.stress.failures import LEAST, VAULT
from flows.report.stress.view import StressView
from risk.systemic.exposures import ISSUED

SHOWN = 8
"""Members drawn by name on either side of the venue, and issuers; the rest are one."""

WORDED = 12
"""Nodes with their amount beside the name, the largest."""

RIGHT = "\N{ZERO WIDTH SPACE}"
"""What tells a member that is owed from the same one that owes; nobody sees it."""

TITLE = "Who cannot pay whom"

LATE, VAULTS, PAID = "not paid", "lost by the vault, paid by the layers above", "paid"
COLOURS = {LATE: "--alarm-soft", VAULTS: "--layer-3-soft", PAID: "--flow-free"}
"""Bands let the names on them through."""

Band = tuple[str, str, int, str]
"""Debtor and creditor as they are drawn, the layer, and what became of it."""


def network(view: StressView) -> Picture | Sentence:
    """Return the network of the worst scenarios: bands of what is not paid, who fails in red."""
    rows = worst(view)[:SCENARIOS]
    if not len(rows):
        return Sentence(TITLE, f"In every scenario {_all_pay(view)}", wide=True)
    choices = [_drawn(view, int(row), "unpaid", view.names[row]) for row in rows]
    choices.append(_drawn(view, int(rows[0]), "owed", f"{view.names[rows[0]]}, all that is owed"))
    return Picture(
        name="contagion",
        title=TITLE,
        caption=(
            "From the left: issuers with which collateral lies, members and the vault that owe the "
            "venue, the venue, members that it owes, their accounts and those outside. A band is "
            "what the left does not pay the right, US dollars; on the last button all that is "
            "owed, what is not paid of it in red. Who fails is red. The band of the vault has a "
            "colour of its own: the layers above pay what it lost. A loss that is passed on shows "
            "in every band that it goes through; who bears it in the end stands below. Amounts "
            f"beside names, of the {WORDED} largest, are what goes in or out of a node, whichever "
            "is more."
        ),
        choices=choices,
        height=560,
        wide=True,
        least_width=860,
    )


def _all_pay(view: StressView) -> str:
    """Say that nobody fails, and where the vault lost most."""
    vault = view.failures.vault
    row = int(vault.argmax())
    if not vault[row] > 0.0:
        return "everybody pays all they owe."
    return (
        "members, the venue and issuers pay all they owe. The vault loses "
        f"{money(float(vault[row]))} at most, in {view.names[row]}, which the layers above pay."
    )


def _drawn(view: StressView, row: int, what: str, label: str) -> Choice:
    """Draw the links of a scenario; members that owe and that are owed are nodes of their own."""
    bands, red = _bands(view, row, what)
    order = sorted({end for band in bands for end in band[:2]})
    at = {name: number for number, name in enumerate(order)}
    words = list(LAYER_WORDS.values())
    trace = {
        "type": "sankey",
        "arrangement": "snap",
        "node": {
            "label": _labels(order, bands),
            "color": ["--alarm" if name in red else "--layer-1" for name in order],
            "line": {"width": 0},
            "pad": 14,
            "thickness": 14,
            "hovertemplate": "%{label}<extra></extra>",
        },
        "link": {
            "source": [at[band[0]] for band in bands],
            "target": [at[band[1]] for band in bands],
            "value": plain(list(bands.values())),
            "color": [COLOURS[band[3]] for band in bands],
            "customdata": [
                hover(
                    f"{band[0]} to {band[1]}".replace(RIGHT, ""),
                    (words[band[2]], money(amount)),
                    ("Is", band[3]),
                )
                for band, amount in bands.items()
            ],
            "hovertemplate": "%{customdata}<extra></extra>",
        },
    }
    hidden = {"visible": False, "fixedrange": True}
    layout = {"xaxis": hidden, "yaxis": hidden, "margin": {"l": 8, "r": 8, "t": 10, "b": 10}}
    return Choice(label, [trace], layout)


def _bands(view: StressView, row: int, what: str) -> tuple[dict[Band, float], set[str]]:
    """Return the bands of a scenario with their amounts, and the ends that fail."""
    inside = np.flatnonzero(view.network["link_scenario"].values == row)
    links = {
        name: view.network[f"link_{name}"].values[inside]
        for name in ("debtor", "creditor", "layer", "owed", "unpaid")
    }
    names, kinds = ([str(one) for one in view.network[name].values] for name in ("node", "kind"))
    failed = view.failures.round[row] > 0
    shown = _shown(len(names), kinds, links, what)
    bands: dict[Band, float] = defaultdict(float)
    red = set()
    for debtor, creditor, layer, owed, unpaid in zip(
        *(links[name].tolist() for name in ("debtor", "creditor", "layer", "owed", "unpaid")),
        strict=True,
    ):
        # Members and the vault stand left of the venue as debtors of it, else right of it.
        left = kinds[creditor] == "venue" or kinds[debtor] in ISSUED
        ends = []
        for node in (debtor, creditor):
            end = names[node] if shown[node] else f"other {KIND_WORDS[kinds[node]].lower()}"
            if kinds[node] in ("member", VAULT) and not left:
                end += RIGHT
            ends.append(end)
            if failed[node]:
                red.add(end)
        late = VAULTS if kinds[debtor] == VAULT else LATE
        for became, amount in ((late, unpaid), (PAID, owed - unpaid)):
            if became != PAID or what == "owed":
                bands[ends[0], ends[1], layer, became] += amount
    return {band: amount for band, amount in bands.items() if amount > LEAST}, red


def _labels(order: Sequence[str], bands: dict[Band, float]) -> list[str]:
    """Return the names of nodes, those of the largest with what goes through them."""
    through = np.array(
        [
            max(sum(bands[band] for band in bands if band[side] == name) for side in (0, 1))
            for name in order
        ]
    )
    worded = set(largest_first(through, WORDED).tolist())
    return [
        safe(clipped(name.removesuffix(RIGHT), 24))
        + (f"  {money(float(through[number]))}" if number in worded else "")
        for number, name in enumerate(order)
    ]


def _shown(
    nodes: int, kinds: list[str], links: dict[str, NDArray[np.generic]], what: str
) -> NDArray[np.bool_]:
    """Return which nodes are drawn by name: the largest of each kind, ``(node,)``."""
    size = np.zeros(nodes)
    for end in ("debtor", "creditor"):
        np.add.at(size, links[end].astype(np.int64), links[what].astype(np.float64))
    shown = np.zeros(nodes, dtype=np.bool_)
    for kind in set(kinds):
        rows = np.flatnonzero(np.array(kinds) == kind)
        shown[rows[largest_first(size[rows], SHOWN)]] = True
    return shown
