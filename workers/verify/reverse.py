"""Verify a reverse stress: how far its shocks are, that its losses add up, and their cascades."""

import numpy as np
import xarray as xr

from risk.scenarios.moves import LEAST_VOLATILITY_MOVE
from risk.systemic.reverse import chance_as_far
from storage.runs import RunStore, StoredRun
from workers.verify.checks import Check, attempted, checked_run
from workers.verify.reversed_again import AGAIN, RANK, ReversedAgain


def verify_reverse(store: RunStore, name: str, runs: RunStore) -> list[Check]:
    """Read a reverse stress again, measure its shocks, and run their cascades again.

    ``runs`` has the margin run that was stressed. No shock is searched for again.

    Raises:
        UnknownRun: no run of that name has been published.
    """

    def further(run: StoredRun) -> list[Check]:
        found, windows = run.groups["found"], run.groups["history"].sizes["window"]
        counted = f"{found.sizes['target']:,} resources"
        again = ReversedAgain(run, runs)
        return [
            attempted("inputs", "book, margin run, plan", again.inputs),
            attempted("sums", counted, lambda: _sums(run, found.load())),
            attempted("made again", f"{counted}, {windows:,} windows", again.followed),
        ]

    return checked_run(store, name, further)


def _sums(run: StoredRun, found: xr.Dataset) -> list[str]:
    history = run.groups["history"].load()
    there = np.isfinite(found["distance"].values)
    one = found.isel(target=np.flatnonzero(there))
    moves = np.log1p(np.concatenate([one["price"].values, one["volatility"].values], axis=1))
    covariance = history["covariance"].values
    inverse = np.linalg.pinv(covariance, rcond=RANK, hermitian=True)
    distance = one["distance"].values
    # A volatility at its bound hides how far the shock went.
    whole = (one["volatility"].values > LEAST_VOLATILITY_MOVE).all(axis=1)
    measured = np.sqrt(np.einsum("tf,fg,tg->t", moves, inverse, moves))
    drawn, resource = one["drawn"].values, one["resource"].values
    checks = [
        ("the distance is that of the shock", np.where(whole, measured, distance), distance),
        ("the chance is that of the distance",
         chance_as_far(distance, np.linalg.matrix_rank(covariance, rtol=RANK, hermitian=True)),
         one["tail_probability"].values),
        ("what is drawn exhausts the resource", np.maximum(drawn, resource), drawn),
    ]  # fmt: skip
    if len(distance):
        losses = (one[name].values for name in ("uncovered", "vault_loss", "given_up"))
        checks.append(
            ("losses of members and of the vault, and what winners gave up, are the shortfall",
             sum(losses, np.zeros(len(distance))), one["shortfall"].values)
        )  # fmt: skip
    beyond = found.isel(target=np.flatnonzero(~there))
    spared = beyond["drawn"].values < beyond["resource"].values
    wrong = [
        f"sums: of {name!r} no shock is told, and what is drawn exhausts it"
        for name in beyond["target"].values[~spared].tolist()
    ]
    for what, again, stored in checks:
        apart = np.flatnonzero(~np.isclose(again, stored, rtol=AGAIN, atol=0.0))
        wrong += [
            f"sums: of {one['target'].values[at]!r} it does not hold that {what}: {again[at]!r} "
            f"and {stored[at]!r}"
            for at in apart[:1]
        ]
    return wrong
