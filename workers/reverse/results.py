"""What a reverse stress publishes: the shocks that were found, and what history did."""

from collections.abc import Sequence

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from risk.scenarios.moves import FactorMoves
from workers.reverse.search import Found
from workers.stress.cascade import Cascade
from workers.stress.results import borne_losses
from workers.stress.scenarios import StressScenarios
from workers.stress.work import StressWork

Floats = NDArray[np.float64]


def found_dataset(
    found: Sequence[Found],
    scenarios: StressScenarios,
    cascade: Cascade | None,
    work: StressWork,
    moves: FactorMoves,
    lost_in_history: Floats,
) -> xr.Dataset:
    """Return one row a target, NaN and -1 where no shock within reach exhausts it.

    ``drawn`` is what the search found, where nothing is exhausted the most in any shock it tried.
    ``exhausting_windows`` counts the windows of history that exhaust it themselves. Losses are of
    all accounts, whatever the search looked at.
    """
    fund = work.identity.book.members()["default_fund"].to_numpy()
    rows = np.array([at for at, one in enumerate(found) if one.stress is not None], dtype=np.int64)
    stresses = [one.stress for one in found if one.stress is not None]
    coins = scenarios.underlyings

    def spread(values: ArrayLike, missing: float = np.nan) -> NDArray[np.generic]:
        given = np.asarray(values)
        whole = np.full((len(found), *given.shape[1:]), missing, dtype=given.dtype)
        whole[rows] = given
        return whole

    variables: dict[str, tuple[tuple[str, ...], NDArray[np.generic]]] = {
        "resource": (("target",), np.array([one.target.exhaustion.resource for one in found])),
        "resource_name": (
            ("target",),
            np.array([one.target.exhaustion.name for one in found], dtype=object),
        ),
        "defaulters": (("target",), np.array([one.target.defaulters for one in found])),
        "exhausting_windows": (
            ("target",),
            np.array(
                [
                    int(
                        (
                            one.target.loss(lost_in_history, fund) >= one.target.exhaustion.resource
                        ).sum()
                    )
                    for one in found
                ]
            ),
        ),
        "distance": (("target",), spread([one.distance for one in stresses])),
        "tail_probability": (("target",), spread([one.tail_probability for one in stresses])),
        "empirical_frequency": (
            ("target",),
            spread([float(one.empirical_frequency or 0.0) for one in stresses]),
        ),
        "drawn": (("target",), np.array([one.drawn for one in found])),
        "price": (("target", "coin"), spread(scenarios.shocks.price)),
        "volatility": (("target", "coin"), spread(scenarios.shocks.volatility)),
    }
    if cascade is not None:
        given_up = cascade.winners.given_up
        borne = borne_losses(work, cascade.last.uncovered, cascade.vault_pnl, given_up)
        alone = np.array(
            [
                one.target.loss(cascade.first.uncovered[:, at][np.newaxis], fund).item()
                for at, one in enumerate(one for one in found if one.stress is not None)
            ]
        )
        variables |= {
            "drawn_by_all_accounts": (("target",), spread(alone)),
            "lost_alone": (("target",), spread(cascade.first.lost)),
            "uncovered_alone": (("target",), spread(cascade.first.uncovered.sum(axis=0))),
            "lost": (("target",), spread(cascade.last.lost)),
            "vault_loss": (("target",), spread(np.maximum(-cascade.vault_pnl, 0.0))),
            "given_up": (("target",), spread(np.maximum(given_up.sum(axis=0), 0.0))),
            "uncovered": (("target",), spread(cascade.last.uncovered.sum(axis=0))),
            "sold": (("target",), spread(np.nansum(cascade.sold, axis=1))),
            "shortfall": (("target",), spread(borne.loss)),
            "touched": (("target",), spread(cascade.last.touched, -1)),
            "rounds": (("target",), spread(cascade.rounds, -1)),
            "defaulted_members": (("target",), spread(borne.defaulted.sum(axis=0), -1)),
        }
    return xr.Dataset(
        variables,
        coords={
            "target": np.array([one.target.name for one in found], dtype=object),
            "coin": np.array(list(coins), dtype=object),
        },
    )


def history_dataset(moves: FactorMoves, lost: Floats) -> xr.Dataset:
    """Return the windows that plausibility is measured by, their distance, and what they cost."""
    return xr.Dataset(
        {
            "move": (("window", "factor"), moves.observed),
            "covariance": (("factor", "other"), moves.covariance),
            "distance": (("window",), moves.distance),
            "uncovered": (("window",), lost.sum(axis=1)),
        },
        coords={
            "window": np.array(list(moves.window), dtype=object),
            "factor": np.array(list(moves.names), dtype=object),
        },
    )
