"""Calibration of raw SVI to all expiries of a chain at once, under no-arbitrage conditions.

Each expiry is first fitted alone: for given m and sigma the curve is linear in what is left, so
a lattice of (m, sigma) is solved exactly and its best point is the start. Then all expiries are
refined together by least squares, with penalties where a butterfly or a calendar spread would
have a negative price. The penalties grow until none is left.

Only neighbouring expiries share a penalty, so the normal equations are block tridiagonal, blocks
of five. They are solved block by block: no library call is large enough to be split over
threads, and the same quotes give the same bits.

Source of the linear reduction: Zeliade Systems, "Quasi-explicit calibration of Gatheral's SVI
model" (2009).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from risk.surface.arbitrage import WIDE_GRID, check_arbitrage
from risk.surface.svi import durrleman, total_variance, wing_slopes

Array = NDArray[np.float64]

FEWEST_QUOTES = 6
"""Strikes that an expiry needs before five parameters are fitted to it."""

_PENALTIES = (1e2, 1e3, 1e4, *[1e5] * 6)
_DENSITY_FLOOR = 0.01  # of g, so that a soft penalty ends on the right side of zero
_CALENDAR_FLOOR = 1e-3  # of the variance at the money
_COMPLEX_STEP = 1e-30  # a derivative by an imaginary step has no rounding
_MOST_STEPS = 200
_ENOUGH = 1e-9  # relative decrease of the cost that ends the refinement


@dataclass(frozen=True, slots=True)
class Slices:
    """The quotes that each expiry is fitted to, expiries in rising order, padded to one width.

    Shapes ``(expiry, quote)``. ``weight`` is zero where there is no quote.
    """

    log_moneyness: Array
    variance: Array  # total variance implied by the quote
    weight: Array  # per unit of total variance


def calibrate(slices: Slices) -> Array:
    """Return raw SVI parameters, ``(expiry, 5)``, least squares over all quotes.

    The result is arbitrage-free wherever the penalties could make it so, which
    ``check_arbitrage`` says.

    Raises:
        ValueError: an expiry has fewer than ``FEWEST_QUOTES`` quotes.
    """
    counts = (slices.weight > 0.0).sum(axis=1)
    if (counts < FEWEST_QUOTES).any():
        raise ValueError(
            f"SURFACE_THIN: an expiry has {counts.min()} quotes, {FEWEST_QUOTES} are needed"
        )
    level = _level(slices)
    lowest, highest = _bounds(level)
    free = np.clip(_to_free(_lattice_fit(slices, level)), lowest, highest)
    grid = WIDE_GRID
    for penalty in _PENALTIES:
        free = _refine(_Problem(slices, level, grid, penalty), free, lowest, highest)
        check = check_arbitrage(_from_free(free))
        if check.free:
            break
        # Curves that touch between two points of the grid are held apart there too.
        broken = [check.density_at[check.density < 0.0], check.calendar_at[check.calendar < 0.0]]
        grid = np.unique(np.concatenate([grid, *broken]))
    return _from_free(free)


def _level(slices: Slices) -> Array:
    """Return the total variance of the quote nearest the money, ``(expiry,)``."""
    distance = np.where(slices.weight > 0.0, np.abs(slices.log_moneyness), np.inf)
    nearest = distance.argmin(axis=1)
    level: Array = slices.variance[np.arange(len(nearest)), nearest]
    return level


def _bounds(level: Array) -> tuple[Array, Array]:
    """Return the least and greatest free parameters, ``(expiry, 5)`` each."""
    root = np.sqrt(level)
    one = np.ones_like(root)
    lowest = np.stack([1e-3 * level, 1e-4 * root, -0.98 * one, -2.0 * one, 0.1 * root], axis=1)
    highest = np.stack([4.0 * level, one, 0.98 * one, 2.0 * one, 3.0 * one], axis=1)
    return lowest, highest


def _to_free(parameters: Array) -> Array:
    """Replace a by the least variance of the curve, whose sign is then a bound."""
    free = parameters.copy()
    b, rho, sigma = parameters[:, 1], parameters[:, 2], parameters[:, 4]
    free[:, 0] += b * sigma * np.sqrt(1.0 - rho**2)
    return free


def _from_free(free: Array) -> Array:
    parameters = free.copy()
    b, rho, sigma = free[:, 1], free[:, 2], free[:, 4]
    parameters[:, 0] -= b * sigma * np.sqrt(1.0 - rho**2)
    return parameters


def _lattice_fit(slices: Slices, level: Array) -> Array:
    """Return the best curve of a lattice of (m, sigma) for each expiry alone, ``(expiry, 5)``."""
    root = np.sqrt(level)
    best, least = np.zeros((len(level), 5)), np.full(len(level), np.inf)
    for m in (-1.5, -0.75, -0.25, 0.0, 0.25, 0.75, 1.5):
        for sigma in (0.25, 0.5, 1.0, 2.0, 4.0):
            found = _linear_fit(slices, root, m * root, sigma * root)
            error = total_variance(slices.log_moneyness, found) - slices.variance
            cost = np.square(slices.weight * error).sum(axis=1)
            better = cost < least
            best[better], least[better] = found[better], cost[better]
    return best


def _linear_fit(slices: Slices, root: Array, m: Array, sigma: Array) -> Array:
    """Return the curve for given m and sigma, its a, b and rho brought into their ranges."""
    distance = slices.log_moneyness - m[:, None]
    radius = np.sqrt(distance**2 + sigma[:, None] ** 2)
    design = np.stack([np.ones_like(distance), distance, radius], axis=2)
    weighted = design * np.square(slices.weight)[:, :, None]
    normal = np.einsum("iqx,iqy->ixy", weighted, design)
    normal += np.eye(3) * 1e-12 * np.trace(normal, axis1=1, axis2=2)[:, None, None]
    target = np.einsum("iqx,iq->ix", weighted, slices.variance)
    a, tilt, b = np.linalg.solve(normal, target[:, :, None])[:, :, 0].T
    b = np.clip(b, 1e-3 * root, 1.0)
    rho = np.clip(tilt / b, -0.95, 0.95)
    a = np.maximum(a, -0.99 * b * sigma * np.sqrt(1.0 - rho**2))
    return np.stack([a, b, rho, m, sigma], axis=1)


@dataclass(frozen=True, slots=True)
class _Step:
    """Cost, gradient and block tridiagonal normal matrix at one point."""

    cost: float
    gradient: Array  # (expiry, 5)
    diagonal: Array  # (expiry, 5, 5)
    beside: Array  # (expiry - 1, 5, 5), rows of an expiry and columns of the next


class _Problem:
    """The weighted errors of the quotes, and the penalties at one size."""

    def __init__(self, slices: Slices, level: Array, grid: Array, penalty: float) -> None:
        self.slices = slices
        self.grid = np.broadcast_to(grid, (len(level), len(grid)))
        self.next_level = level[1:, None]
        self.penalty = penalty

    def cost(self, free: Array) -> float:
        return float(sum(np.square(part).sum() for part in self._residuals(*self._curves(free))))

    def step(self, free: Array) -> _Step:
        fit, butterfly, calendar = self._residuals(*self._curves(free))
        by_fit, by_density, by_height = self._derivatives(free)
        fit_rows = self.slices.weight[:, :, None] * by_fit
        wing_rows = -self.penalty * (butterfly > 0.0)[:, :, None] * by_density
        active = (self.penalty * (calendar > 0.0) / self.next_level)[:, :, None]
        before, after = active * by_height[:-1], -active * by_height[1:]

        gradient = _dot(fit_rows, fit) + _dot(wing_rows, butterfly)
        gradient[:-1] += _dot(before, calendar)
        gradient[1:] += _dot(after, calendar)
        diagonal = _square(fit_rows, fit_rows) + _square(wing_rows, wing_rows)
        diagonal[:-1] += _square(before, before)
        diagonal[1:] += _square(after, after)
        cost = float(sum(np.square(part).sum() for part in (fit, butterfly, calendar)))
        return _Step(cost, gradient, diagonal, _square(before, after))

    def _curves(self, free: Array) -> tuple[Array, Array, Array]:
        """Return variance at the quotes, density factor on the grid, and height on the grid.

        The height is the variance, and beyond both ends of the grid what its wings grow to.
        """
        parameters = _from_free(free)
        wings = np.stack(wing_slopes(parameters), axis=1) * self.grid[0, -1]
        height = np.concatenate([total_variance(self.grid, parameters), wings], axis=1)
        variance = total_variance(self.slices.log_moneyness, parameters)
        return variance, durrleman(self.grid, parameters), height

    def _residuals(
        self, variance: Array, density: Array, height: Array
    ) -> tuple[Array, Array, Array]:
        loss = (height[:-1] - height[1:]) / self.next_level + _CALENDAR_FLOOR
        return (
            self.slices.weight * (variance - self.slices.variance),
            self.penalty * np.maximum(_DENSITY_FLOOR - density, 0.0),
            self.penalty * np.maximum(loss, 0.0),
        )

    def _derivatives(self, free: Array) -> tuple[Array, Array, Array]:
        """Return the derivatives of the curves, ``(expiry, point, 5)`` each."""
        columns = []
        for column in range(5):
            moved: Any = free.astype(np.complex128)
            moved[:, column] += 1j * _COMPLEX_STEP
            columns.append([curve.imag / _COMPLEX_STEP for curve in self._curves(moved)])
        by_fit, by_density, by_height = (
            np.stack(parts, axis=2) for parts in zip(*columns, strict=True)
        )
        return by_fit, by_density, by_height


def _refine(problem: _Problem, free: Array, lowest: Array, highest: Array) -> Array:
    """Return the point that Levenberg and Marquardt's method reaches within the bounds."""
    damping = 1e-3
    step = problem.step(free)
    for _ in range(_MOST_STEPS):
        held = ((free <= lowest) & (step.gradient > 0.0)) | (
            (free >= highest) & (step.gradient < 0.0)
        )
        proposal = np.clip(free + _solve(step, held, damping), lowest, highest)
        cost = problem.cost(proposal)
        if cost < step.cost:
            small = step.cost - cost <= _ENOUGH * step.cost
            free, step, damping = proposal, problem.step(proposal), max(damping / 4.0, 1e-12)
            if small:
                break
        elif damping > 1e12:
            break
        else:
            damping *= 5.0
    return free


def _solve(step: _Step, held: NDArray[np.bool_], damping: float) -> Array:
    """Return the damped Gauss-Newton step, zero where a parameter is held at its bound."""
    moves = ~held
    pair = moves[:, :, None] & moves[:, None, :]
    scale = np.einsum("ixx->ix", step.diagonal)
    scale = np.maximum(scale, 1e-12 * scale.max())
    diagonal = np.where(pair, step.diagonal, 0.0)
    diagonal += np.eye(5) * np.where(moves, damping * scale, scale)[:, :, None]
    beside = np.where(moves[:-1, :, None] & moves[1:, None, :], step.beside, 0.0)
    right = np.where(moves, -step.gradient, 0.0)

    for i in range(1, len(diagonal)):
        carried = np.linalg.solve(
            diagonal[i - 1], np.concatenate([beside[i - 1], right[i - 1][:, None]], axis=1)
        )
        diagonal[i] -= np.einsum("xr,xc->rc", beside[i - 1], carried[:, :5])
        right[i] -= np.einsum("xr,x->r", beside[i - 1], carried[:, 5])
    answer = np.zeros_like(right)
    for i in range(len(diagonal) - 1, -1, -1):
        known = right[i].copy()
        if i + 1 < len(diagonal):
            known -= np.einsum("rc,c->r", beside[i], answer[i + 1])
        answer[i] = np.linalg.solve(diagonal[i], known)
    return answer


def _dot(rows: Array, residual: Array) -> Array:
    return np.asarray(np.einsum("ipx,ip->ix", rows, residual))


def _square(left: Array, right: Array) -> Array:
    return np.asarray(np.einsum("ipx,ipy->ixy", left, right))
