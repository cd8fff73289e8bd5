"""Who bears what a scenario leaves uncovered: members, the venue's resources, those who gained.

Losses are those beyond the equity of accounts, which is their margin and all else they had, and
those of the vault. A member answers for its accounts. It defaults where they owe more than its
contribution to the default fund; else it pays what they owe out of that, and what is left of it
stands for others.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from risk.kernels.sums import UNIT
from risk.systemic.plan import StressPlan
from risk.systemic.waterfall import run_waterfall

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class BorneLosses:
    """Who bore the losses of scenarios; ``layers`` ``(layer, scenario)`` add up to ``loss``.

    ``loss`` and ``unborne`` are ``(scenario,)``. ``by_member`` ``(layer, member, scenario)`` is
    what members paid, zero in layers of others. ``beyond`` ``(member, scenario)`` is what the
    accounts of a member owe over its own contribution, and ``defaulted`` where there is any.
    """

    names: tuple[str, ...]
    loss: Floats
    layers: Floats
    unborne: Floats
    by_member: Floats
    beyond: Floats
    defaulted: NDArray[np.bool_]


def bear_losses(
    plan: StressPlan,
    uncovered: ArrayLike,
    vault_loss: ArrayLike,
    default_fund: ArrayLike,
    given_up: ArrayLike = 0.0,
) -> BorneLosses:
    """Run the layers of a plan, ``(member, scenario), (scenario,), (member,) -> BorneLosses``.

    Amounts are taken in whole units of ``risk.kernels.sums.UNIT``, funds rounded down, so that
    layers and what is ``unborne`` add up to the loss to the last bit. The vault has no
    contribution: what it loses comes to the layers that follow the defaulters' own. What winners
    have ``given_up`` ``(scenario,)`` in deleveraging is borne by their layer, whatever its place:
    it was taken before any other paid.

    Raises:
        ValueError: an amount is negative.
    """
    lost, vault = _units(uncovered), _units(vault_loss)
    fund = _units(default_fund)[:, np.newaxis]
    paid = np.where(lost <= fund, lost, 0.0)
    owed = np.where(lost <= fund, 0.0, lost)
    spec = plan.waterfall
    given: dict[str, ArrayLike] = {
        "default_fund": np.concatenate([fund - paid, np.zeros((1, len(vault)))]),
        "insurance_fund": _units(plan.insurance_fund),
        "own_capital": _units(plan.own_capital),
        "deleveraging": 0.0,
    }
    winners = _units(given_up)
    asked = {layer.amounts for layer in spec.layers if layer.capped}
    fallen = run_waterfall(
        spec,
        np.concatenate([owed, vault[np.newaxis]]),
        {name: amount for name, amount in given.items() if name in asked},
    )
    layers, by_member = fallen.layers.copy(), fallen.by_member[:, :-1].copy()
    layers[0] += paid.sum(axis=0)
    by_member[0] += paid
    for place, layer in enumerate(spec.layers):
        if layer.capped and layer.amounts == "deleveraging":
            layers[place] += winners
    return BorneLosses(
        names=fallen.names,
        loss=UNIT * (fallen.loss + paid.sum(axis=0) + winners),
        layers=UNIT * layers,
        unborne=UNIT * fallen.uncovered,
        by_member=UNIT * by_member,
        beyond=UNIT * np.maximum(lost - fund, 0.0),
        defaulted=owed > 0.0,
    )


def _units(amount: ArrayLike) -> Floats:
    return np.floor(np.asarray(amount, np.float64) / UNIT)
