"""The moves that a position has to survive on the day that it is opened."""

from collections.abc import Sequence

import numpy as np

from risk.scenarios.shocks import Shocks

# Price of BTC, of ETH, of any other coin; volatility; perpetual and forward basis; weight.
_MOVES = np.array(
    [
        (-0.22, -0.26, -0.32, 1.00, -0.02, -0.10, 1.00),
        (-0.15, -0.20, -0.28, 0.50, 0.00, -0.05, 1.00),
        (-0.08, -0.08, -0.08, -0.25, 0.00, 0.00, 1.00),
        (0.00, 0.00, 0.00, -0.40, 0.00, 0.00, 1.00),
        (0.00, 0.00, 0.00, 0.70, 0.00, 0.00, 1.00),
        (0.08, 0.08, 0.08, -0.25, 0.00, 0.00, 1.00),
        (0.15, 0.20, 0.30, 0.40, 0.00, 0.05, 1.00),
        (0.22, 0.28, 0.42, 0.60, 0.03, 0.15, 1.00),
        (-0.14, 0.10, -0.30, 0.50, 0.00, 0.00, 1.00),
        (0.14, -0.14, 0.30, 0.50, 0.00, 0.00, 1.00),
        (-0.08, -0.15, -0.38, 0.60, 0.00, 0.00, 1.00),
        (-0.66, -0.66, -0.66, 0.50, 0.00, 0.00, 0.25),
        (1.00, 1.00, 1.00, 0.50, 0.00, 0.00, 0.16),
        (3.00, 3.00, 3.00, 0.50, 0.00, 0.00, 0.06),
    ]
)

OPENING_WEIGHT = _MOVES[:, 6]
"""Fraction of the loss in each move that counts, ``(move,)``: the far moves count in part."""


def opening_moves(underlyings: Sequence[str]) -> Shocks:
    """Return the moves as shocks, ``(move, underlying)``.

    The sizes are choice: about those of the grid and the worst windows of the house methodology.

    >>> opening_moves(["BTC", "SOL"]).price[0].tolist()
    [-0.22, -0.32]
    """
    column = [{"BTC": 0, "ETH": 1}.get(coin, 2) for coin in underlyings]
    same = np.ones(len(column))
    return Shocks(
        price=_MOVES[:, column],
        volatility=np.outer(_MOVES[:, 3], same),
        perpetual_basis=np.outer(_MOVES[:, 4], same),
        forward_basis=np.outer(_MOVES[:, 5], same),
    )
