"""Verify a reverse stress: its resources, how far its shocks are, and that its losses add up."""

import numpy as np
import xarray as xr

from risk.scenarios.moves import LEAST_VOLATILITY_MOVE
from risk.systemic.exhaustion import exhaustion, layers_to_exhaust
from risk.systemic.plan import parse_stress_plan
from risk.systemic.reverse import chance_as_far
from storage.book import Book
from storage.runs import RunStore, StoredRun
from workers.verify.checks import Check, attempted, book_checked, checks_of_storage, unlike

AGAIN = 1e-6
"""Relative difference allowed to what is computed another way: a distance out of its shock."""


def verify_reverse(store: RunStore, name: str) -> list[Check]:
    """Read a reverse stress again, measure its shocks and sum its losses again.

    No shock is searched for again, and no account is computed.

    Raises:
        UnknownRun: no run of that name has been published.
    """
    run = store.read(name)
    found = run.groups["found"]
    counted = f"{run.manifest['totals']['targets']:,} resources"
    return [
        *checks_of_storage(store, run.run_id),
        attempted("inputs", "book", lambda: book_checked(run)),
        attempted("resources", counted, lambda: _resources(run, found.load())),
        attempted("sums", counted, lambda: _sums(run, found.load())),
    ]


def _resources(run: StoredRun, found: xr.Dataset) -> list[str]:
    """Return the layers that do not have, by plan and book, what was to be exhausted."""
    inputs = run.manifest["inputs"]
    plan = parse_stress_plan(inputs["plan"]["text"])
    fund = Book.open(inputs["book"]["path"]).members()["default_fund"].to_numpy()
    stored = dict(
        zip(found["resource_name"].values.tolist(), found["resource"].values.tolist(), strict=True)
    )
    held = {
        name: exhaustion(plan, name, fund).resource
        for name in layers_to_exhaust(plan)
        if name in stored
    }
    return unlike("resources", stored, held)


def _sums(run: StoredRun, found: xr.Dataset) -> list[str]:
    history = run.groups["history"].load()
    there = np.isfinite(found["distance"].values)
    one = found.isel(target=np.flatnonzero(there))
    moves = np.log1p(np.concatenate([one["price"].values, one["volatility"].values], axis=1))
    covariance = history["covariance"].values
    inverse = np.linalg.pinv(covariance, rcond=1e-12, hermitian=True)
    distance = one["distance"].values
    # A volatility at its bound hides how far the shock went.
    whole = (one["volatility"].values > LEAST_VOLATILITY_MOVE).all(axis=1)
    measured = np.sqrt(np.einsum("tf,fg,tg->t", moves, inverse, moves))
    drawn, resource = one["drawn"].values, one["resource"].values
    checks = [
        ("the distance is that of the shock", np.where(whole, measured, distance), distance),
        ("the chance is that of the distance",
         chance_as_far(distance, np.linalg.matrix_rank(covariance, rtol=1e-12, hermitian=True)),
         one["tail_probability"].values),
        ("what is drawn exhausts the resource", np.maximum(drawn, resource), drawn),
    ]  # fmt: skip
    if len(distance):
        losses = (one[name].values for name in ("uncovered", "vault_loss", "given_up"))
        checks.append(
            ("losses of members and of the vault, and what winners gave up, are the shortfall",
             sum(losses, np.zeros(len(distance))), one["shortfall"].values)
        )  # fmt: skip
    wrong = []
    for what, again, stored in checks:
        apart = np.flatnonzero(~np.isclose(again, stored, rtol=AGAIN, atol=0.0))
        wrong += [
            f"sums: of {one['target'].values[at]!r} it does not hold that {what}: {again[at]!r} "
            f"and {stored[at]!r}"
            for at in apart[:1]
        ]
    return wrong + unlike(
        "totals",
        run.manifest["totals"],
        {
            "targets": len(there),
            "exhausted": int(there.sum()),
            "factors": len(covariance),
            "windows": history.sizes["window"],
        },
    )
