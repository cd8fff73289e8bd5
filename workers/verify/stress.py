"""Verify a stress run: the margin run that it stresses, and that its losses are all borne."""

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from risk.systemic.plan import parse_stress_plan
from storage.runs import RunStore, StoredRun
from workers.verify.checks import Check, attempted, checked_run, unlike
from workers.verify.stressed_again import StressedAgain

Floats = NDArray[np.float64]

SCENARIOS = 2
"""How many scenarios are computed again where nobody says."""

ROUNDING = 1e-12
"""Part of a sum by which its parts, summed in another order, may be off."""

CLEARED = 1e-9
"""Part of what is owed by which payments, found by solving for all at once, may be off."""


def verify_stress(
    store: RunStore,
    name: str,
    runs: RunStore,
    pools: RunStore | None = None,
    sample: int = SCENARIOS,
    seed: int = 0,
) -> list[Check]:
    """Read a stress run again, sum its losses again, and compute ``sample`` scenarios again.

    ``runs`` has the margin run that was stressed, ``pools`` the collateral run if one was used.

    Raises:
        UnknownRun: no run of that name has been published.
    """

    def further(run: StoredRun) -> list[Check]:
        total = run.groups["scenarios"].sizes["scenario"]
        counted = f"{total:,} scenarios"
        rows = np.random.default_rng(seed).choice(total, min(sample, total), replace=False)
        drawn = f"{len(rows):,} of {total:,} drawn with seed {seed}"
        again = StressedAgain(run, runs, pools)
        return [
            attempted("inputs", "book, margin run, plan", again.inputs),
            attempted("sums", counted, lambda: _sums(run)),
            attempted("network", counted, lambda: _network(run)),
            attempted("made again", "plan, totals, network from the scenarios", again.derived),
            attempted("cascades", drawn, lambda: again.cascades(np.sort(rows).tolist())),
        ]

    return checked_run(store, name, further)


def _sums(run: StoredRun) -> list[str]:
    scenarios, totals = run.groups["scenarios"].load(), run.groups["totals"].load()
    names = scenarios["scenario"].values.tolist()
    lost = [name for name, left in zip(names, scenarios["rounds"].values < 0, strict=True) if left]
    found = [f"sums: scenario {name!r} was never written" for name in lost]
    vault = np.maximum(-scenarios["vault_pnl"].values, 0.0)
    net = scenarios["given_up"].values.sum(axis=1)
    uncovered = scenarios["uncovered"].values.sum(axis=1) + vault + np.maximum(net, 0.0)
    borne = totals["borne"].values.sum(axis=1) + totals["unborne"].values
    by_member = totals["borne_by_member"].values.sum(axis=2)
    for what, one, other in (
        ("losses of members and of the vault, and what winners gave up, are the shortfall",
         uncovered, totals["shortfall"].values),
        ("what the layers bear and what nobody bears is the shortfall", borne,
         totals["shortfall"].values),
        ("losses beyond equity, were nobody liquidated, are their shortfall",
         scenarios["uncovered_alone"].values.sum(axis=1), totals["shortfall_alone"].values),
        ("what was sold by round is what was sold",
         np.nansum(scenarios["sold"].values, axis=1), totals["sold"].values),
        *_covers(totals),
        *_winners_layers(run, totals, np.maximum(net, 0.0)),
    ):  # fmt: skip
        wrong = np.flatnonzero(~np.isclose(one, other, rtol=ROUNDING, atol=1e-6))
        found += [
            f"sums: in scenario {names[at]!r} it does not hold that {what}: {one[at]!r} and "
            f"{other[at]!r}"
            for at in wrong[:1]
        ]
    # Written so that what is no number is found, too.
    if not (by_member <= totals["borne"].values * (1.0 + ROUNDING) + 1e-6).all():
        found.append("sums: members bear more of a layer than the layer bears")
    loss, own = scenarios["loss"].values, scenarios["lost"].values + vault
    received = scenarios["received_by_winners"].values
    if not (received >= np.maximum(-net, 0.0)).all():
        found.append("sums: winners received less than what they gave up below zero")
    given_up = net + received
    if not ((loss >= own) & (loss <= own + given_up)).all():
        found.append("sums: a loss is not that of accounts and vault, and gains given up")
    alone = scenarios["uncovered_alone"].values.sum(axis=1)
    if not (scenarios["lost_alone"].values >= alone * (1.0 - ROUNDING) - 1e-6).all():
        found.append(
            "sums: accounts lose less, were nobody liquidated, than is beyond their equity"
        )
    worst = int(loss.argmax())
    return found + unlike(
        "totals",
        run.manifest["totals"],
        {
            "scenarios": len(names),
            "ended": int(scenarios["ended"].values.sum()),
            "rounds": int(scenarios["rounds"].values.max()),
            "worst_scenario": names[worst],
            "worst_loss": float(loss[worst]),
            "most_touched": int(scenarios["touched"].values.max()),
        },
    )


def _covers(totals: xr.Dataset) -> list[tuple[str, Floats, Floats]]:
    """Return what the members with the most owe beyond their contributions, and what is stored."""
    most = np.sort(totals["beyond_contribution"].values, axis=1)[:, ::-1]
    return [
        (f"what {words} beyond its contribution is Cover-{number}",
         most[:, :number].sum(axis=1), totals[f"cover_{number}"].values)
        for number, words in ((1, "the member with the most owes"), (2, "each of two owes"))
    ]  # fmt: skip


def _winners_layers(
    run: StoredRun, totals: xr.Dataset, net: Floats
) -> list[tuple[str, Floats, Floats]]:
    """Return what winners gave up, and what is stored of the layer that draws on it."""
    plan = parse_stress_plan(run.manifest["inputs"]["plan"]["text"])
    return [
        (f"what winners gave up, net, is layer {layer.name!r}",
         net, totals["borne"].sel(layer=layer.name).values)
        for layer in plan.layers
        if layer.capped and layer.amounts == "deleveraging"
    ]  # fmt: skip


def _network(run: StoredRun) -> list[str]:
    """Return where payments do not clear: who fails pays all that it has, and others all they owe.

    L. Eisenberg and T. Noe, "Systemic risk in financial systems" (2001), definition 1.
    """
    network = run.groups["network"].load()
    nodes = network["node"].values
    paid = network["link_owed"].values - network["link_unpaid"].values
    came = np.zeros(network["received"].shape)
    np.add.at(came, (network["link_scenario"].values, network["link_creditor"].values), paid)
    has = (network["assets"] + network["received"] - network["default_cost"]).values
    fails = network["default_round"].values > 0
    found = []
    for what, one, other in (
        ("what a node receives is what its debtors pay it", came, network["received"].values),
        ("who fails pays all that it has, and others all they owe",
         np.where(fails, has, network["obligation"].values), network["payment"].values),
    ):  # fmt: skip
        scale = np.abs(network["obligation"].values).max()
        wrong = np.argwhere(~np.isclose(one, other, rtol=CLEARED, atol=CLEARED * scale))
        found += [
            f"network: in scenario {network['scenario'].values[row]!r} it does not hold of "
            f"{nodes[node]!r} that {what}: {one[row, node]!r} and {other[row, node]!r}"
            for row, node in wrong[:1]
        ]
    return found
