"""Verify a stress run: the margin run that it stresses, and that its losses are all borne."""

import numpy as np

from storage.runs import RunStore, StoredRun
from workers.verify.checks import Check, attempted, book_checked, checks_of_storage, unlike

ROUNDING = 1e-12
"""Part of a sum by which its parts, summed in another order, may be off."""


def verify_stress(store: RunStore, name: str) -> list[Check]:
    """Read a stress run again, and sum its losses again.

    Raises:
        UnknownRun: no run of that name has been published.
    """
    run = store.read(name)
    counted = f"{run.manifest['totals']['scenarios']:,} scenarios"
    return [
        *checks_of_storage(store, run.run_id),
        attempted("inputs", "book", lambda: book_checked(run)),
        attempted("sums", counted, lambda: _sums(run)),
    ]


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
    ):  # fmt: skip
        wrong = np.flatnonzero(~np.isclose(one, other, rtol=ROUNDING, atol=1e-6))
        found += [
            f"sums: in scenario {names[at]!r} it does not hold that {what}: {one[at]!r} and "
            f"{other[at]!r}"
            for at in wrong[:1]
        ]
    if (by_member > totals["borne"].values * (1.0 + ROUNDING) + 1e-6).any():
        found.append("sums: members bear more of a layer than the layer bears")
    loss, own = scenarios["loss"].values, scenarios["lost"].values + vault
    given_up = net + scenarios["received_by_winners"].values
    if ((loss < own) | (loss > own + given_up)).any():
        found.append("sums: a loss is not that of accounts and vault, and gains given up")
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
