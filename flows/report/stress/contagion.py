"""Whom a default takes along: who fails in a scenario, who loses in which layer, who bears it."""

import numpy as np
from numpy.typing import NDArray

from flows.format import NOTHING, exact, percent, short
from flows.report.picture import Table, largest_first
from flows.report.stress.failures import LEAST, VAULT
from flows.report.stress.view import Floats, StressView

SCENARIOS = 4
"""Scenarios that are told in full, those in which those who fail owe most."""

FAILED = 20

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
    """Return the scenarios in which those who fail owe most, the most first; others left out."""
    unpaid = view.failures.unpaid
    rows = largest_first(unpaid, len(unpaid))
    return np.asarray(rows[unpaid[rows] > 0.0])


def _of(view: StressView, name: str) -> Floats:
    return np.asarray(view.network[name].values, dtype=np.float64)


def _texts(view: StressView, name: str) -> list[str]:
    return [str(one) for one in view.network[name].values]


def layer_table(view: StressView) -> Table:
    """Return what is owed and not paid by layer, with and without contagion."""
    rows: list[tuple[str, ...]] = []
    for row in worst(view)[:SCENARIOS]:
        for at, name in enumerate(_texts(view, "layer")):
            rows += _layer_rows(view, int(row), at, LAYER_WORDS[name])
    return Table(
        title="Who loses in which layer",
        caption=(
            "US dollars, in the scenarios in which most is not paid. Without contagion: what "
            "creditors lose to those who fail though all others pay. With it: once all have paid "
            "what they can. By DebtRank: what claims would lose of their value as the capital of "
            "debtors goes, before anybody fails. What passes through a node is in two layers. What "
            "the vault lost stands by itself: the layers above pay it."
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


def _layer_rows(view: StressView, row: int, at: int, name: str) -> list[tuple[str, ...]]:
    """Return a layer of a scenario where something is not paid in it, and apart the vault's."""
    network, kinds = view.network, np.array(_texts(view, "kind"))
    inside = (network["link_scenario"].values == row) & (network["link_layer"].values == at)
    vault = kinds[network["link_debtor"].values] == VAULT
    creditors = kinds[network["link_creditor"].values]
    found: list[tuple[str, ...]] = []
    for words, mine in ((name, inside & ~vault), ("What the vault lost", inside & vault)):
        owed, unpaid, direct = (
            _of(view, f"link_{what}") for what in ("owed", "unpaid", "unpaid_directly")
        )
        if not unpaid[mine].sum() > LEAST:
            continue
        lost = {
            kind: float(unpaid[mine & (creditors == kind)].sum())
            for kind in dict.fromkeys(kinds.tolist())
        }
        # Without capital of its own the vault loses for DebtRank, from the first, all it owes.
        devalued = float(owed[inside & vault].sum())
        if words == name:
            devalued = float(_of(view, "devalued")[row, at]) - devalued
        found.append(
            (
                view.names[row],
                words,
                ", ".join(
                    f"{KIND_WORDS[kind].lower()} {short(amount)}"
                    for kind, amount in lost.items()
                    if amount > LEAST
                ),
                short(float(owed[mine].sum())),
                short(float(direct[mine].sum())),
                short(float(unpaid[mine].sum())),
                short(devalued),
            )
        )
    return found


def kind_table(view: StressView) -> Table:
    """Return who bears the losses in the end, by kind of node, in the worst scenarios."""
    kinds = np.array(_texts(view, "kind"))
    lacking, borne = _of(view, "lacking"), _of(view, "borne")
    cost, failed = _of(view, "default_cost"), view.failures.round
    rows = []
    for row in worst(view)[:SCENARIOS]:
        for kind in dict.fromkeys(kinds.tolist()):
            inside = kinds == kind
            if max(lacking[row, inside].sum(), borne[row, inside].sum()) > LEAST:
                rows.append(
                    (
                        view.names[row],
                        KIND_WORDS[kind],
                        short(float(lacking[row, inside].sum())),
                        short(float(cost[row, inside].sum())),
                        short(float(borne[row, inside].sum())),
                        *(
                            NOTHING if kind == VAULT else exact(float(many.sum()))
                            for many in (failed[row, inside] > 0, failed[row, inside] > 1)
                        ),
                    )
                )
    return Table(
        title="Who bears it in the end",
        caption=(
            "US dollars. Lacking is what nodes owe over all they have, were all others to pay; it "
            "is borne, with the costs of default, by those who have something to lose, and adds "
            "up to it. What contributions of members bear for their own accounts comes before. "
            "Failed in all, and of them after others had, the vault among those; the vault itself "
            f"is none that fails. Who pays all but {short(LEAST)} USD has paid."
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
        round_of, owed = view.failures.round[row], _of(view, "obligation")[row]
        short_of = view.failures.short[row]
        order = [at for at in largest_first(short_of, len(short_of)) if round_of[at] > 0][:FAILED]
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
            f"{view.names[found[0]] if len(found) else 'In no scenario does anybody fail'}; US "
            "dollars. In round 1 fails who could not pay though all others did, in round 2 who "
            "cannot after those, or after the vault, and so on. Distress is the part of its "
            "capital that DebtRank takes, of all it owes where it has none."
        ),
        columns=("Who", "Round", "Capital", "Owes", "Does not pay", "Bears", "Distress"),
        rows=rows,
        wide=True,
    )


def scenario_table(view: StressView) -> Table:
    """Return every scenario in which somebody does not pay, the most first."""
    found = view.failures
    return Table(
        title="Contagion in every scenario",
        caption=(
            "US dollars: what creditors lose, once to those who fail by themselves and once in "
            "all. What the vault lost is paid by the layers above and is in neither. DebtRank is "
            "the part of all capital that distress takes beside the shock itself. Scenarios in "
            "which nobody fails are left out."
        ),
        columns=(
            "Scenario",
            "Without contagion",
            "With contagion",
            "Failed",
            "After others",
            "The vault",
            "DebtRank",
        ),
        rows=[
            (
                view.names[row],
                short(float(found.unpaid_directly[row])),
                short(float(found.unpaid[row])),
                exact(float((found.round[row] > 0).sum())),
                exact(float((found.round[row] > 1).sum())),
                short(float(found.vault[row])),
                percent(float(_of(view, "debt_rank")[row])),
            )
            for row in worst(view)
        ],
        wide=True,
        folded=True,
    )
