"""Whether a surface allows free money: butterflies within an expiry, calendars between two."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from risk.surface.svi import durrleman, total_variance, wing_slopes

Array = NDArray[np.float64]


def _sinh_grid(reach: float, points: int) -> Array:
    """Return log-moneyness from -reach to reach, close together near the money."""
    return np.asarray(reach * np.sinh(np.linspace(-5.0, 5.0, points)) / np.sinh(5.0))


WIDE_GRID = _sinh_grid(3.0, 81)
"""Where the conditions are imposed: strikes from a twentieth to twenty times the forward."""

CHECK_GRID = _sinh_grid(3.0, 1_601)
"""Where they are checked, twenty times as dense."""


@dataclass(frozen=True, slots=True)
class ArbitrageCheck:
    """The least density factor of every expiry and the least gain in variance to the next.

    ``density`` is the least g, (expiry,). ``calendar`` is the least of w(next) - w(this) over
    the same log-moneyness, (expiry - 1,). ``wings`` is whether every wing slope is at most 2 and
    no wing grows slower than that of the expiry before.
    """

    density: Array
    density_at: Array  # log-moneyness of the least density
    calendar: Array
    calendar_at: Array
    wings: bool

    @property
    def butterfly_free(self) -> NDArray[np.bool_]:
        """Whether each expiry is free of butterfly arbitrage, (expiry,)."""
        return self.density >= 0.0

    @property
    def calendar_free(self) -> NDArray[np.bool_]:
        """Whether each expiry is free of calendar arbitrage against the one before, (expiry,)."""
        return np.concatenate(([True], self.calendar >= 0.0))

    @property
    def free(self) -> bool:
        """Whether nothing was found."""
        return bool(self.butterfly_free.all() and self.calendar_free.all() and self.wings)


def check_arbitrage(parameters: Array, grid: Array = CHECK_GRID) -> ArbitrageCheck:
    """Check raw SVI curves, ``(expiry, 5)`` in rising order of expiry, on a grid.

    >>> steep = np.array([[0.0, 0.1, 0.0, 0.0, 0.1], [0.0, 0.2, 0.0, 0.0, 0.1]])
    >>> check_arbitrage(steep).free, check_arbitrage(steep[::-1]).calendar_free.tolist()
    (True, [True, False])
    """
    points = np.broadcast_to(grid, (len(parameters), len(grid)))
    density = durrleman(points, parameters)
    gain = np.diff(total_variance(points, parameters), axis=0)
    low, high = wing_slopes(parameters)
    steep = max(low.max(initial=0.0), high.max(initial=0.0))
    rising = min(np.diff(low).min(initial=0.0), np.diff(high).min(initial=0.0))
    return ArbitrageCheck(
        density=density.min(axis=1),
        density_at=grid[density.argmin(axis=1)],
        calendar=gain.min(axis=1),
        calendar_at=grid[gain.argmin(axis=1)],
        wings=bool(steep <= 2.0 and rising >= 0.0),
    )
