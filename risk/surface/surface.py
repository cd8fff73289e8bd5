"""A surface of fitted expiries, asked for the volatility of any strike and time."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from risk.surface.svi import total_variance

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Surface:
    """Raw SVI curves in rising order of expiry, and the log-moneyness each was fitted to.

    ``time_to_expiry``, ``lowest`` and ``highest`` are (expiry,), ``parameters`` (expiry, 5).
    """

    time_to_expiry: Array
    parameters: Array
    lowest: Array
    highest: Array

    def volatility(self, log_moneyness: Array, time: Array) -> tuple[Array, NDArray[np.bool_]]:
        """Return volatility, and whether it lies outside what was quoted, (point,) each.

        ``log_moneyness`` is ln(strike/forward), the forward that of the same ``time`` in years.
        Between expiries total variance is linear in time at equal log-moneyness; before the
        first and after the last, volatility is that expiry's. Beyond the quoted strikes the
        wings of the curve go on. These rules keep a surface without arbitrage without it.

        >>> flat = np.array([[0.02, 0, 0, 0, 0.1], [0.09, 0, 0, 0, 0.1]])
        >>> both = np.array([0.5, 1.0])
        >>> surface = Surface(both, flat, np.array([-1.0, -1.0]), np.array([1.0, 1.0]))
        >>> volatility, outside = surface.volatility(np.zeros(3), np.array([0.25, 0.5, 0.75]))
        >>> volatility.round(6).tolist(), outside.tolist()
        ([0.2, 0.2, 0.270801], [True, False, False])
        """
        times = self.time_to_expiry
        after = np.minimum(np.searchsorted(times, time), len(times) - 1)
        before = np.where((time > times[0]) & (time < times[after]), after - 1, after)
        early = total_variance(log_moneyness[:, None], self.parameters[before])[:, 0]
        late = total_variance(log_moneyness[:, None], self.parameters[after])[:, 0]
        span = times[after] - times[before]
        share = np.where(span > 0.0, (time - times[before]) / np.where(span > 0.0, span, 1.0), 1.0)
        within = early + (late - early) * share
        one_curve = before == after
        variance_rate = np.where(one_curve, late / times[after], within / time)
        outside = (
            (log_moneyness < np.maximum(self.lowest[before], self.lowest[after]))
            | (log_moneyness > np.minimum(self.highest[before], self.highest[after]))
            | (time < times[0])
            | (time > times[-1])
        )
        return np.sqrt(variance_rate), outside
