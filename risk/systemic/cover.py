"""How much must be prefunded so that the largest groups may default: Cover-1, Cover-2, Cover-n.

Losses are those of one scenario at a time: the largest of one scenario and the next largest of
another do not happen together, and their sum is no size of anything.

Source: CPMI-IOSCO, Principles for financial market infrastructures (2012), principle 4, key
considerations 4 and 6: the participant and its affiliates with the largest exposures.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Cover:
    """The size of a default fund, and what makes it.

    ``size`` is money, ``scenario`` the row where it is needed and ``groups`` the defaulters there,
    the largest first. ``by_scenario`` ``(scenario,)`` has the size of each.
    """

    size: float
    scenario: int
    groups: tuple[int, ...]
    by_scenario: Floats


def group_losses(loss: ArrayLike, group: ArrayLike, groups: int) -> Floats:
    """Return losses of groups under common ownership, ``(scenario, member) -> (scenario, group)``.

    ``loss`` is over what each member's own resources cover, 0 or more: what one member has left
    does not cover another of its group.

    Raises:
        ValueError: a loss is negative, or shapes disagree.

    >>> group_losses([[1.0, 2.0, 4.0]], [0, 1, 0], 2).tolist()
    [[5.0, 2.0]]
    """
    lost, owner = _losses(loss), np.asarray(group, np.int64)
    if owner.shape != lost.shape[1:] or ((owner < 0) | (owner >= groups)).any():
        raise ValueError(
            f"group has the shape {owner.shape}; allowed is one of 0 to {groups - 1} for each of "
            f"{lost.shape[1]} members"
        )
    return np.array([np.bincount(owner, row, groups) for row in lost]).reshape(len(lost), groups)


def owner_rows(members: Sequence[str], owned: Sequence[Sequence[str]]) -> NDArray[np.int64]:
    """Return the group of each member, ``(member,)``: those of one owner share one.

    Raises:
        ValueError: an owner has a member that is not there.

    >>> owner_rows(["a", "b", "c", "d"], [["d", "b"]]).tolist()
    [0, 1, 2, 1]
    """
    unknown = sorted({name for names in owned for name in names} - set(members))
    if unknown:
        raise ValueError(f"owners have members {unknown}; members are {list(members)}")
    first = list(range(len(members)))
    for names in owned:
        rows = sorted(members.index(name) for name in names)
        for row in rows:
            first[row] = rows[0]
    return np.unique(first, return_inverse=True)[1].astype(np.int64)


def cover(loss: ArrayLike, number: int) -> Cover:
    """Return the largest sum of ``number`` groups' losses in one scenario, ``(scenario, group)``.

    ``loss`` is over what the groups' own resources cover. Of equal losses the lower row defaults,
    and of equal scenarios the first counts.

    Raises:
        ValueError: a loss is negative, there is no scenario, or ``number`` is not positive.

    >>> found = cover([[40.0, 5.0, 30.0, 0.0], [10.0, 35.0, 5.0, 20.0]], 2)
    >>> found.size, found.scenario, found.groups
    (70.0, 0, (0, 2))
    """
    lost = _losses(loss)
    if number < 1 or not len(lost):
        raise ValueError(f"number is {number} of {len(lost)} scenarios; allowed are 1 up of each")
    order = np.argsort(-lost, axis=1, kind="stable")[:, :number]
    by_scenario = np.take_along_axis(lost, order, axis=1).sum(axis=1)
    worst = int(by_scenario.argmax())
    groups = tuple(int(one) for one in order[worst] if lost[worst, one] > 0.0)
    return Cover(float(by_scenario[worst]), worst, groups, by_scenario)


def _losses(loss: ArrayLike) -> Floats:
    lost = np.asarray(loss, np.float64)
    if lost.ndim != 2:
        raise ValueError(f"loss has the shape {lost.shape}; allowed is (scenario, group)")
    refused = ~((lost >= 0.0) & (lost < np.inf))
    if refused.any():
        raise ValueError(
            f"loss is {lost[refused][0]}; allowed is a finite amount of 0 up, a surplus counts as 0"
        )
    return lost
