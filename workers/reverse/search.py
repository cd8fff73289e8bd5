"""The nearest shocks that exhaust each resource, for all members together and for few of them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from risk.scenarios.moves import FactorMoves
from risk.systemic.exhaustion import Exhaustion, drawn
from risk.systemic.reverse import ReverseStress, Search, reverse_stress
from workers.reverse.losses import MemberLosses
from workers.stages import Stage, StageTable

Floats = NDArray[np.float64]

SEARCH = Search(rays=96, farthest=16.0, steps=16, starts=3, turns=10)
"""Fewer tries than for losses that cost nothing: each of these goes through the book."""

EVERYBODY = 0
"""The number of defaulters that stands for all members."""


@dataclass(frozen=True, slots=True)
class Target:
    """A resource, and how many members may draw on it: the most there are, or everybody."""

    exhaustion: Exhaustion
    defaulters: int

    @property
    def name(self) -> str:
        """What the target is called."""
        who = f"{self.defaulters} members" if self.defaulters > 1 else "1 member"
        return self.exhaustion.name + (f" by {who}" if self.defaulters != EVERYBODY else "")

    def loss(self, uncovered: Floats, default_fund: Floats) -> Floats:
        """Return what is drawn on the resource, ``(point, member) -> (point,)``, USD."""
        each = drawn(uncovered, default_fund, self.exhaustion.times)
        if self.defaulters != EVERYBODY:
            each = np.sort(each, axis=1)[:, -self.defaulters :]
        return np.asarray(each.sum(axis=1))


@dataclass(frozen=True, slots=True)
class Found:
    """A target and the nearest shock that exhausts it; nothing where none within reach does.

    ``most`` is the most that any shock tried for it draws.
    """

    target: Target
    stress: ReverseStress | None
    most: float = 0.0

    @property
    def drawn(self) -> float:
        """What is drawn on the resource in it, or the most in any shock where there is none."""
        return self.most if self.stress is None else self.stress.loss


def targets_of(exhaustions: Sequence[Exhaustion], defaulters: Sequence[int]) -> list[Target]:
    """Return every resource for everybody, and the first for each number of defaulters."""
    by_few = [Target(exhaustions[0], number) for number in reversed(defaulters)]
    return [Target(one, EVERYBODY) for one in exhaustions] + by_few


def search_targets(
    targets: Sequence[Target],
    losses: MemberLosses,
    default_fund: Floats,
    moves: FactorMoves,
    stages: StageTable,
    search: Search = SEARCH,
) -> list[Found]:
    """Return the nearest shock found for each target.

    A shock that was found for one target and exhausts another as well stands for that too, where
    it is nearer than its own: so a larger resource, or fewer defaulters, never need a nearer one.
    """
    tries = search.expected(moves.observed.shape)
    found: list[Found] = []
    for target in targets:
        known = _known(target, found, losses, default_fund)
        if known is not None:
            found.append(Found(target, known))
            continue
        with stages.stage(f"search {target.name}", tries, "shocks") as stage:

            def told(shocks: int, stage: Stage = stage) -> None:
                stages.advance(stage, shocks)

            by_member = losses.of(told)
            most: list[float] = []

            def loss(
                points: Floats,
                target: Target = target,
                by_member: MemberLosses = by_member,
                most: list[float] = most,
            ) -> Floats:
                drawn_on = target.loss(by_member(points), default_fund)
                most.append(float(drawn_on.max(initial=0.0)))
                return drawn_on

            stress = reverse_stress(
                loss, target.exhaustion.resource, moves.covariance, moves.observed, search
            )
            found.append(Found(target, stress, max(most, default=0.0)))
    return _nearest(found, losses, default_fund)


def _known(
    target: Target, found: Sequence[Found], losses: MemberLosses, default_fund: Floats
) -> ReverseStress | None:
    """Return the shock of more members on the same resource, where few of them suffice in it.

    No nearer one can be hoped for: what few exhaust, more do.
    """
    for one in reversed(found):
        wider = one.target.defaulters == EVERYBODY or one.target.defaulters > target.defaulters
        if one.target.exhaustion == target.exhaustion and wider and one.stress is not None:
            drawn_on = target.loss(losses(one.stress.shock[np.newaxis]), default_fund).item()
            if drawn_on >= target.exhaustion.resource:
                return replace(one.stress, loss=drawn_on)
    return None


def _nearest(found: list[Found], losses: MemberLosses, default_fund: Floats) -> list[Found]:
    shocks = [one.stress for one in found if one.stress is not None]
    if not shocks:
        return found
    uncovered = losses(np.array([one.shock for one in shocks]))
    nearest = []
    for one in found:
        drawn_on = one.target.loss(uncovered, default_fund)
        exhausting = np.flatnonzero(drawn_on >= one.target.exhaustion.resource).tolist()
        best = min(exhausting, key=lambda row: shocks[row].distance, default=None)
        if best is None or (one.stress and one.stress.distance <= shocks[best].distance):
            nearest.append(one)
        else:
            nearest.append(Found(one.target, replace(shocks[best], loss=float(drawn_on[best]))))
    return nearest
