"""Reverse stress: the most plausible shock that exhausts a resource.

Plausibility is Mahalanobis distance: how many standard deviations a move of all factors is away,
correlations counted. The nearest point at which the loss reaches the resource is sought along
rays from the origin (which finds it where losses bend or come back), then from the best of them
by steps along the loss's gradient and by random turns that shrink. The result is an upper bound
of the distance: it was evaluated there, and a nearer point may have been missed.

Sources: T. Breuer, M. Jandačka, K. Rheinberger, M. Summer, "How to find plausible, severe and
useful stress scenarios" (2009); A. Hasofer and N. Lind (1974), R. Rackwitz and B. Fiessler (1978),
for the step along the gradient.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import chi2

Floats = NDArray[np.float64]
Loss = Callable[[Floats], Floats]
"""Losses of a batch of shocks, ``(point, factor) -> (point,)``, positive; money."""
GroupLoss = Callable[[Floats], Floats]
"""Losses of defaulting groups, ``(point, factor) -> (point, group)``, each 0 or more."""

_COARSE, _FINE = 1e-3, 1e-6
"""How far crossings are narrowed down while rays are compared, and while one is turned."""
_TURNED = 12
_HALVINGS = 60


@dataclass(frozen=True, slots=True)
class Search:
    """How hard to look.

    ``rays`` random directions, and as many of those observed whose loss is largest for their
    distance, stand beside the axes. ``farthest`` is the distance beyond which no shock counts
    as plausible. Along each ray ``steps`` points are tried, and the first crossing is narrowed
    down, at last to ``tolerance`` of ``farthest``. ``turns`` rounds of local search start from each
    of the ``starts`` nearest rays. ``batch`` is the most shocks that the loss is asked for at once.
    """

    rays: int = 256
    farthest: float = 12.0
    steps: int = 24
    starts: int = 8
    turns: int = 24
    tolerance: float = 1e-12
    batch: int = 4096
    seed: int = 0

    def expected(self, observed: tuple[int, ...]) -> int:
        """Return about how many shocks are tried, given ``(observation, factor)`` moves."""
        observations, factors = observed
        rays = 2 * self.rays + 4 * factors
        turned = 3 + _TURNED
        return (
            observations
            + rays * (self.steps + 3)
            + self.starts * self.turns * (turned * (self.steps + 2) + 2 * factors)
        )


@dataclass(frozen=True, slots=True)
class ReverseStress:
    """The nearest shock found, ``(factor,)``, and its loss.

    ``distance`` is Mahalanobis'. ``tail_probability`` is the chance that a normal move of the same
    covariance is at least as far away, in any direction (chi-square). ``empirical_frequency`` is
    the part of the observed moves that are. ``evaluations`` counts shocks that were tried.
    """

    shock: Floats
    distance: float
    tail_probability: float
    empirical_frequency: float | None
    loss: float
    evaluations: int


def chance_as_far(distance: ArrayLike, factors: int) -> Floats:
    """Return the chance that a normal move is at least as far in any direction, ``(...) -> (...)``.

    >>> chance_as_far([0.0, 2.0], 2).round(6).tolist()
    [1.0, 0.135335]
    """
    return np.asarray(chi2.sf(np.square(distance), factors))


def reverse_stress(
    loss: Loss,
    resource: float,
    covariance: ArrayLike,
    observed: ArrayLike | None = None,
    search: Search = Search(),
) -> ReverseStress | None:
    """Return the most plausible shock whose loss reaches a resource, or nothing within reach.

    ``covariance`` ``(factor, factor)`` is that of factor moves over the horizon of the stress, and
    ``observed`` ``(observation, factor)`` such moves of the past: they give directions to look
    in and a frequency. ``loss`` is called with batches and must give the same number for the
    same shock. Directions without variance are never moved in.

    Raises:
        ValueError: the resource is not positive, the covariance is not symmetric or has a negative
            eigenvalue, or a loss is not a number.

    >>> found = reverse_stress(lambda moves: -moves @ [3.0, 4.0], 10.0, [[1.0, 0.0], [0.0, 1.0]])
    >>> round(found.distance, 6), found.shock.round(4).tolist()
    (2.0, [-1.2, -1.6])
    """
    if not 0.0 < resource < np.inf:
        raise ValueError(f"resource is {resource}; allowed is money above 0")
    space = _Space(loss, resource, covariance, observed, search)
    directions = space.directions()
    reach = space.reach(directions, search.farthest, _COARSE)
    best = np.argsort(reach, kind="stable")[: search.starts]
    found = [space.descend(directions[row], reach[row]) for row in best if reach[row] < np.inf]
    if not found:
        return None
    distance, way = min(found, key=lambda one: one[0])
    narrowed = float(space.reach(way[None, :], distance, search.tolerance)[0])
    return space.result(way, min(distance, narrowed))


def reverse_stress_frontier(
    loss: GroupLoss,
    resource: float,
    covariance: ArrayLike,
    defaulters: Sequence[int],
    observed: ArrayLike | None = None,
    search: Search = Search(),
) -> tuple[ReverseStress | None, ...]:
    """Return the nearest shock at which the n largest groups' losses reach a resource, for each n.

    Nothing stands where no shock within reach does. More defaulters never need a farther shock: one
    that was found for fewer is kept for more, so that distances do not rise along ``defaulters``,
    which ascend.

    Raises:
        ValueError: ``defaulters`` do not ascend from 1 up, or ``reverse_stress`` refuses.
    """
    numbers = list(defaulters)
    if not numbers or numbers[0] < 1 or sorted(set(numbers)) != numbers:
        raise ValueError(f"defaulters are {numbers}; allowed are numbers from 1 up that ascend")
    found: list[ReverseStress | None] = []
    for number in numbers:

        def largest(moves: Floats, number: int = number) -> Floats:
            return np.asarray(np.sort(loss(moves), axis=1)[:, -number:].sum(axis=1))

        one = reverse_stress(largest, resource, covariance, observed, search)
        before = found[-1] if found else None
        if before is not None and (one is None or before.distance < one.distance):
            one = replace(before, loss=float(largest(before.shock[None, :])[0]))
        found.append(one)
    return tuple(found)


class _Space:
    """Factor moves in coordinates in which distance is the Euclidean norm."""

    def __init__(
        self,
        loss: Loss,
        resource: float,
        covariance: ArrayLike,
        observed: ArrayLike | None,
        search: Search,
    ) -> None:
        spread = np.atleast_2d(np.asarray(covariance, np.float64))
        if spread.shape[0] != spread.shape[1] or not np.allclose(spread, spread.T, rtol=1e-9):
            raise ValueError(f"covariance has the shape {spread.shape} or is not symmetric")
        variance, axes = np.linalg.eigh(spread)
        largest = max(float(variance.max()), 0.0)
        if variance.min() < -1e-9 * largest or largest == 0.0:
            raise ValueError(
                f"covariance has eigenvalues from {variance.min():.3g} to {largest:.3g}; allowed "
                "are those of 0 up, not all 0"
            )
        kept = variance > 1e-12 * largest
        self.root = axes[:, kept] * np.sqrt(variance[kept])
        self.inverse = (axes[:, kept] / np.sqrt(variance[kept])).T
        self.loss, self.resource, self.search = loss, resource, search
        self.evaluations = 0
        moves = np.zeros((0, len(spread))) if observed is None else np.asarray(observed, np.float64)
        self.observed = moves @ self.inverse.T
        self.random = np.random.default_rng(search.seed)

    @property
    def dimension(self) -> int:
        return len(self.inverse)

    def excess(self, points: Floats) -> Floats:
        """Return loss less resource, ``(point, coordinate) -> (point,)``."""
        self.evaluations += len(points)
        size = self.search.batch
        batches = [points[row : row + size] for row in range(0, len(points), size)]
        lost = np.concatenate([np.asarray(self.loss(one @ self.root.T)) for one in batches])
        if lost.shape != (len(points),) or np.isnan(lost).any():
            raise ValueError(
                f"loss returned the shape {lost.shape} or a NaN for {len(points)} shocks; give one "
                "number for each"
            )
        return lost - self.resource

    def directions(self) -> Floats:
        """Return unit vectors to look along: both ways of each axis, history, random ones."""
        axes, factors = np.eye(self.dimension), self.inverse.T
        drawn = self.random.standard_normal((self.search.rays, self.dimension))
        slope = self._gradient(np.zeros(self.dimension))[None, :]
        length = np.linalg.norm(self.observed, axis=1)
        seen, length = self.observed[length > 0.0], length[length > 0.0]
        if len(seen) > self.search.rays:
            worth = (self.excess(seen) + self.resource) / length
            seen = seen[np.argsort(-worth, kind="stable")[: self.search.rays]]
        every = np.concatenate([slope, axes, -axes, factors, -factors, seen, drawn])
        length = np.linalg.norm(every, axis=1)
        return np.asarray(every[length > 0.0] / length[length > 0.0, None])

    def reach(self, directions: Floats, limit: float, tolerance: float) -> Floats:
        """Return where the loss first reaches the resource along each direction, or infinity."""
        scale = np.linspace(0.0, limit, self.search.steps + 1)[1:]
        points = scale[None, :, None] * directions[:, None, :]
        excess = self.excess(points.reshape(-1, self.dimension)).reshape(len(directions), -1)
        crossed = excess >= 0.0
        first = crossed.argmax(axis=1)
        hit = np.flatnonzero(crossed.any(axis=1))
        high = scale[first[hit]]
        low = np.where(first[hit] > 0, scale[first[hit] - 1], 0.0)
        for _ in range(_HALVINGS):
            if (high - low).max(initial=0.0) <= tolerance * self.search.farthest:
                break
            middle = (low + high) / 2.0
            over = self.excess(middle[:, None] * directions[hit]) >= 0.0
            high, low = np.where(over, middle, high), np.where(over, low, middle)
        found = np.full(len(directions), np.inf)
        found[hit] = high
        return found

    def descend(self, direction: Floats, distance: float) -> tuple[float, Floats]:
        """Turn a direction so that its crossing comes nearer, as long as that helps."""
        width = 0.5
        for _ in range(self.search.turns):
            turned = direction + width * self.random.standard_normal((_TURNED, self.dimension))
            slope = self._gradient(distance * direction)
            length = np.linalg.norm(slope)
            if length > 0.0:
                toward = slope / length - direction
                mixed = direction + np.array([[1.0], [0.5], [0.1]]) * toward
                turned = np.concatenate([mixed, turned])
            norms = np.linalg.norm(turned, axis=1, keepdims=True)
            turned = turned / np.where(norms > 0.0, norms, 1.0)
            reach = self.reach(turned, distance, _FINE)
            best = int(reach.argmin())
            if reach[best] < distance:
                distance, direction = float(reach[best]), turned[best]
            else:
                width *= 0.5
        return float(distance), direction

    def _gradient(self, point: Floats) -> Floats:
        step = 1e-4 * max(1.0, float(np.linalg.norm(point)))
        shifts = step * np.eye(self.dimension)
        both = self.excess(np.concatenate([point + shifts, point - shifts]))
        return np.asarray((both[: self.dimension] - both[self.dimension :]) / (2.0 * step))

    def result(self, direction: Floats, distance: float) -> ReverseStress:
        point = distance * direction
        lost = float(self.excess(point[None, :])[0]) + self.resource
        far = np.linalg.norm(self.observed, axis=1) >= distance
        return ReverseStress(
            shock=self.root @ point,
            distance=distance,
            tail_probability=float(chance_as_far(distance, self.dimension)),
            empirical_frequency=float(far.mean()) if len(far) else None,
            loss=lost,
            evaluations=self.evaluations,
        )
