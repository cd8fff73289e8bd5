"""Whom a default takes along: the network of a scenario, who fails in it, and who bears what."""

from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

from flows.format import NOTHING, clipped, exact, money, percent, short
from flows.report.picture import Choice, Picture, Sentence, Table, hover, largest_first, plain, safe
from flows.report.stress.view import Floats, StressView
from risk.systemic.exposures import ISSUED

SHOWN = 8
"""Members drawn by name on either side of the venue, and issuers; the rest are one."""

RIGHT = "\N{ZERO WIDTH SPACE}"
"""What tells a member that is owed from the same one that owes; nobody sees it."""

SCENARIOS = 4
FAILED = 20
TITLE = "Who cannot pay whom"

LAYER_WORDS = {
    "gains": "Gains of accounts",
    "margin_calls": "What members answer for",
    "default_fund": "Contributions to the default fund",
    "deposits": "Deposits in protocols",
    "bridged_assets": "What came over bridges",
    "on_chain": "What lies on chains",
}
KIND_WORDS = {
    "member": "Members",
    "venue": "The venue",
    "vault": "The vault",
    "accounts": "Accounts that gain or hold",
    "outside": "Who bought what was closed",
    "protocol": "Protocols",
    "bridge": "Bridges",
    "chain": "Chains",
}


def worst(view: StressView) -> NDArray[np.int64]:
    """Return the scenarios in which most is not paid, the most first; those of nothing left out."""
    unpaid = _of(view, "unpaid").sum(axis=1)
    rows = largest_first(unpaid, len(unpaid))
    return np.asarray(rows[unpaid[rows] > 0.0])


def _of(view: StressView, name: str) -> Floats:
    return np.asarray(view.network[name].values, dtype=np.float64)


def _texts(view: StressView, name: str) -> list[str]:
    return [str(one) for one in view.network[name].values]


def network(view: StressView) -> Picture | Sentence:
    """Return the network of the worst scenarios: bands of what is not paid, who fails in red."""
    rows = worst(view)[:SCENARIOS]
    if not len(rows):
        return Sentence(TITLE, "In every scenario everybody pays all they owe.", wide=True)
    choices = [_drawn(view, int(row), "unpaid", view.names[row]) for row in rows]
    choices.append(_drawn(view, int(rows[0]), "owed", f"{view.names[rows[0]]}, all that is owed"))
    return Picture(
        name="contagion",
        title=TITLE,
        caption=(
            "From the left: issuers with which collateral lies, members and the vault that owe the "
            "venue, the venue, members that it owes, their accounts and those outside. A band is "
            "what the left does not pay the right, US dollars; on the last button all that is "
            "owed, what is not paid of it in red. Who fails is red. A loss that is passed on "
            "shows in every band that it goes through; who bears it in the end stands below."
        ),
        choices=choices,
        height=560,
        wide=True,
        least_width=860,
    )


def _drawn(view: StressView, row: int, what: str, label: str) -> Choice:
    """Draw the links of a scenario; members that owe and that are owed are nodes of their own."""
    inside = np.flatnonzero(view.network["link_scenario"].values == row)
    links = {
        name: view.network[f"link_{name}"].values[inside]
        for name in ("debtor", "creditor", "layer", "owed", "unpaid")
    }
    names, kinds = _texts(view, "node"), _texts(view, "kind")
    failed = _of(view, "default_round")[row] > 0
    shown = _shown(len(names), kinds, links, what)
    bands: dict[tuple[str, str, int, bool], float] = defaultdict(float)
    red: dict[str, bool] = defaultdict(bool)
    for debtor, creditor, layer, owed, unpaid in zip(
        *(links[name].tolist() for name in ("debtor", "creditor", "layer", "owed", "unpaid")),
        strict=True,
    ):
        # Members and the vault stand left of the venue as debtors of it, else right of it.
        left = kinds[creditor] == "venue" or kinds[debtor] in ISSUED
        ends = []
        for node in (debtor, creditor):
            end = names[node] if shown[node] else f"other {KIND_WORDS[kinds[node]].lower()}"
            if kinds[node] in ("member", "vault") and not left:
                end += RIGHT
            ends.append(end)
            red[end] |= bool(failed[node])
        for late, amount in ((True, unpaid), (False, owed - unpaid)):
            if amount > 0.0 and (late or what == "owed"):
                bands[ends[0], ends[1], layer, late] += amount
    order = sorted({end for band in bands for end in band[:2]})
    at = {name: number for number, name in enumerate(order)}
    words = list(LAYER_WORDS.values())
    trace = {
        "type": "sankey",
        "arrangement": "snap",
        "node": {
            "label": [safe(clipped(name.removesuffix(RIGHT), 24)) for name in order],
            "color": ["--alarm" if red[name] else "--layer-1" for name in order],
            "line": {"width": 0},
            "pad": 14,
            "thickness": 14,
            "hovertemplate": "%{label}<extra></extra>",
        },
        "link": {
            "source": [at[band[0]] for band in bands],
            "target": [at[band[1]] for band in bands],
            "value": plain(list(bands.values())),
            "color": ["--alarm" if band[3] else "--flow-free" for band in bands],
            "customdata": [
                hover(
                    f"{band[0]} to {band[1]}".replace(RIGHT, ""),
                    (words[band[2]], money(amount)),
                    ("Is", "not paid" if band[3] else "paid"),
                )
                for band, amount in bands.items()
            ],
            "hovertemplate": "%{customdata}<extra></extra>",
        },
    }
    hidden = {"visible": False, "fixedrange": True}
    layout = {"xaxis": hidden, "yaxis": hidden, "margin": {"l": 8, "r": 8, "t": 10, "b": 10}}
    return Choice(label, [trace], layout)


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


def layer_table(view: StressView) -> Table:
    """Return what is owed and not paid by layer, with and without contagion."""
    rows = []
    kinds = np.array(_texts(view, "kind"))
    creditors = kinds[view.network["link_creditor"].values]
    for row in worst(view)[:SCENARIOS]:
        for at, name in enumerate(_texts(view, "layer")):
            owed, unpaid = _of(view, "owed")[row, at], _of(view, "unpaid")[row, at]
            if not unpaid > 0.0:
                continue
            inside = (view.network["link_scenario"].values == row) & (
                view.network["link_layer"].values == at
            )
            lost = {
                kind: float(_of(view, "link_unpaid")[inside & (creditors == kind)].sum())
                for kind in dict.fromkeys(kinds.tolist())
            }
            rows.append(
                (
                    view.names[row],
                    LAYER_WORDS[name],
                    ", ".join(
                        f"{KIND_WORDS[kind].lower()} {short(amount)}"
                        for kind, amount in lost.items()
                        if amount > 0.0
                    ),
                    short(float(owed)),
                    short(float(_of(view, "unpaid_directly")[row, at])),
                    short(float(unpaid)),
                    short(float(_of(view, "devalued")[row, at])),
                )
            )
    return Table(
        title="Who loses in which layer",
        caption=(
            "US dollars, in the scenarios in which most is not paid. Without contagion: what "
            "creditors lose to those who fail though all others pay. With it: once all have paid "
            "what they can. By DebtRank: what claims would lose of their value as the capital of "
            "debtors goes, before anybody fails. What passes through a node is in two layers."
        ),
        columns=(
            "Scenario",
            "Layer",
            "Creditors",
            "Owed",
            "Without contagion",
            "With contagion",
            "By DebtRank",
        ),
        rows=rows,
        text_columns=(0, 1, 2),
        wide=True,
    )


def kind_table(view: StressView) -> Table:
    """Return who bears the losses in the end, by kind of node, in the worst scenarios."""
    kinds = np.array(_texts(view, "kind"))
    lacking, borne = _of(view, "lacking"), _of(view, "borne")
    cost, failed = _of(view, "default_cost"), _of(view, "default_round")
    rows = []
    for row in worst(view)[:SCENARIOS]:
        for kind in dict.fromkeys(kinds.tolist()):
            inside = kinds == kind
            if (lacking[row, inside] > 0.0).any() or (borne[row, inside] > 0.5).any():
                rows.append(
                    (
                        view.names[row],
                        KIND_WORDS[kind],
                        short(float(lacking[row, inside].sum())),
                        short(float(cost[row, inside].sum())),
                        short(float(borne[row, inside].sum())),
                        exact(float((failed[row, inside] > 0).sum())),
                        exact(float((failed[row, inside] > 1).sum())),
                    )
                )
    return Table(
        title="Who bears it in the end",
        caption=(
            "US dollars. Lacking is what nodes owe over all they have, were all others to pay; it "
            "is borne, with the costs of default, by those who have something to lose, and adds "
            "up to it. What contributions of members bear for their own accounts comes before. "
            "Failed in all, and of them after others had."
        ),
        columns=(
            "Scenario",
            "Who",
            "Lacking",
            "Cost of default",
            "Bears",
            "Failed",
            "After others",
        ),
        rows=rows,
        text_columns=(0, 1),
        wide=True,
    )


def failed_table(view: StressView) -> Table:
    """Return who fails in the worst scenario, in which round, and what it fails by."""
    found = worst(view)
    rows: list[tuple[str, ...]] = []
    if len(found):
        row, names = int(found[0]), _texts(view, "node")
        round_of, owed = _of(view, "default_round")[row], _of(view, "obligation")[row]
        short_of = owed - _of(view, "payment")[row]
        order = [at for at in largest_first(short_of, FAILED).tolist() if round_of[at] > 0]
        rows = [
            (
                names[at],
                exact(float(round_of[at])),
                short(float(_of(view, "capital")[row, at])),
                short(float(owed[at])),
                short(float(short_of[at])),
                short(float(_of(view, "borne")[row, at])),
                percent(float(_of(view, "distress")[row, at])),
            )
            for at in order
        ]
    return Table(
        title="Who fails in the worst scenario",
        caption=(
            f"{view.names[found[0]] if len(found) else NOTHING}; US dollars. In round 1 fails who "
            "could not pay though all others did, in round 2 who cannot after those, and so on. "
            "Distress is the part of its capital that DebtRank takes, of all it owes where it has "
            "none."
        ),
        columns=("Who", "Round", "Capital", "Owes", "Does not pay", "Bears", "Distress"),
        rows=rows,
        wide=True,
    )


def scenario_table(view: StressView) -> Table:
    """Return every scenario in which somebody does not pay, the most first."""
    failed = _of(view, "default_round")
    return Table(
        title="Contagion in every scenario",
        caption=(
            "US dollars: what creditors lose, once to those who fail by themselves and once in "
            "all. DebtRank is the part of all capital that distress takes beside the shock itself. "
            "Scenarios in which everybody pays are left out."
        ),
        columns=(
            "Scenario",
            "Without contagion",
            "With contagion",
            "Failed",
            "After others",
            "DebtRank",
        ),
        rows=[
            (
                view.names[row],
                short(float(_of(view, "unpaid_directly")[row].sum())),
                short(float(_of(view, "unpaid")[row].sum())),
                exact(float((failed[row] > 0).sum())),
                exact(float((failed[row] > 1).sum())),
                percent(float(_of(view, "debt_rank")[row])),
            )
            for row in worst(view)
        ],
        wide=True,
        folded=True,
    )
