"""What must be lost until a layer of a waterfall has nothing left.

Layers bear in their order, so a layer is exhausted when what members leave to the layers exceeds
what they have down to it. Of a member whose accounts owe u over what they had, and whose
contribution to the default fund is f, that is

    drawn = max(u - f, 0) + k min(u, f)

where k is how many times contributions stand behind that layer and those before it: what a member
pays out of its own contribution, or leaves behind in default, does not stand there for others.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from risk.systemic.plan import StressPlan

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Exhaustion:
    """What is to be exhausted: USD that it has with all before it, and how often funds stand there.

    ``times`` is the number of contributions of each member among them, 0 where only amounts of the
    venue are.
    """

    name: str
    resource: float
    times: float = 0.0


def layers_to_exhaust(plan: StressPlan) -> list[str]:
    """Return the layers of a plan that have an end, after the defaulters' own.

    Those of winners are none: what winners give up is what is taken from them, and nothing that is
    held for losses.
    """
    return [one.name for one in plan.layers if one.payer in {"survivors", "venue"}]


def exhaustion(plan: StressPlan, layer: str, default_fund: ArrayLike) -> Exhaustion:
    """Return what exhausts a layer of a plan, ``default_fund`` ``(member,)``, USD.

    Raises:
        ValueError: the plan has no such layer, or one without an end; or nothing is in it.
    """
    known = layers_to_exhaust(plan)
    if layer not in known:
        raise ValueError(
            f"plan {plan.name} has no layer {layer!r} that can be exhausted; it has {known}, or "
            "give an amount of USD"
        )
    amounts = {"insurance_fund": plan.insurance_fund, "own_capital": plan.own_capital}
    resource = times = 0.0
    for one in plan.layers:
        if one.payer == "survivors":
            times += one.multiple
            resource += one.multiple * float(np.asarray(default_fund, np.float64).sum())
        elif one.payer == "venue":
            resource += amounts[one.amounts]
        if one.name == layer:
            break
    if not resource > 0.0:
        raise ValueError(f"layer {layer!r} of plan {plan.name} has nothing that could be exhausted")
    return Exhaustion(layer, resource, times)


def drawn(uncovered: ArrayLike, default_fund: ArrayLike, times: float) -> Floats:
    """Return what members draw on the layers, ``(..., member), (member,) -> (..., member)``, USD.

    >>> drawn([[30.0, 130.0]], [100.0, 100.0], 0.0).tolist()
    [[0.0, 30.0]]
    >>> drawn([[30.0, 130.0]], [100.0, 100.0], 1.0).tolist()
    [[30.0, 130.0]]
    """
    owed, fund = np.asarray(uncovered, np.float64), np.asarray(default_fund, np.float64)
    return np.asarray(np.maximum(owed - fund, 0.0) + times * np.minimum(owed, fund))
