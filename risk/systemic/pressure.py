"""Forced selling by coin: the delta of the positions that were closed."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def delta_sold(sold: Floats, delta: Floats, coin: NDArray[np.int16], coins: int) -> Floats:
    """Return what was sold of each coin, ``(instrument, scenario) -> (coin, scenario)``, USD.

    ``sold`` is notional of the positions closed, long positive; ``delta`` ``(instrument,)`` what a
    position gains per unit of notional and of relative move of its coin, at first prices. Closing
    a short buys, and is negative.

    >>> delta_sold(np.array([[100.0], [50.0]]), np.array([1.0, -0.5]), np.zeros(2, np.int16), 1)
    array([[75.]])
    """
    moved = sold * delta[:, np.newaxis]
    found = np.zeros((coins, sold.shape[1]))
    np.add.at(found, coin, moved)
    return found
