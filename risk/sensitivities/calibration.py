"""Weights and correlations from a history of prices, for the house's own parameters."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Calibration:
    """``weight`` ``(underlying,)``, a fraction, and ``correlation`` of log moves."""

    weight: Array
    correlation: Array


def calibrate(closes: Array, holding_period: int, level: float) -> Calibration:
    """Return the expected shortfall of moves over ``holding_period`` rows, and their correlation.

    ``closes`` ``(row, underlying)`` are positive prices at equal steps, NaN where one is missing;
    windows begin at every row and one that meets a missing price is left out. The weight is the
    mean size of the worst ``1 - level`` of relative moves, of falls or of rises, whichever is
    larger. The correlation is that of log moves over the windows that every underlying has.

    Raises:
        ValueError: a level outside (0, 1), or too few windows for one move in the tail.

    >>> prices = np.array([[100.0], [110.0], [99.0], [99.0]])
    >>> calibrate(prices, 1, 0.6).weight.round(6).tolist()
    [0.1]
    """
    if not 0.0 < level < 1.0:
        raise ValueError(f"level is {level:g}; allowed is above 0 and below 1")
    moves = closes[holding_period:] / closes[:-holding_period] - 1.0
    weight = []
    for column, move in enumerate(moves.T):
        known = np.sort(move[np.isfinite(move)])
        tail = int(round(len(known) * (1.0 - level), 9))
        if tail < 1:
            raise ValueError(
                f"underlying {column} has {len(known)} windows of {holding_period} rows; a level "
                f"of {level:g} needs at least {int(np.ceil(1.0 / (1.0 - level)))}"
            )
        weight.append(max(-known[:tail].mean(), known[-tail:].mean()))
    together = np.log1p(moves[np.isfinite(moves).all(axis=1)])
    correlation = np.atleast_2d(np.corrcoef(together.T))
    return Calibration(np.array(weight), correlation)
