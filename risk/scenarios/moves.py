"""Moves of all risk factors as one vector: log prices of coins, then their log volatilities."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from risk.scenarios.shocks import Shocks, shocks_of

Floats = NDArray[np.float64]

LEAST_VOLATILITY_MOVE = -0.95
"""A volatility never loses more than this, however far a move or severe a scenario."""


@dataclass(frozen=True, slots=True)
class FactorMoves:
    """What factors did in windows of history: ``observed`` ``(window, factor)``, logarithms.

    ``covariance`` ``(factor, factor)`` is about no move at all: of an observed move, the squared
    distance in it is the number of factors on average. ``names`` say of which coin, and what.
    """

    names: tuple[str, ...]
    window: tuple[str, ...]
    observed: Floats
    covariance: Floats

    @property
    def distance(self) -> Floats:
        """Return how far each window is from no move, ``(window,)``, by Mahalanobis.

        >>> observed = np.array([[3.0, 0.0], [0.0, -4.0]])
        >>> FactorMoves(("a", "b"), ("x", "y"), observed, np.diag([1.0, 4.0])).distance.tolist()
        [3.0, 2.0]
        """
        inverse = np.linalg.pinv(self.covariance)
        squared = np.einsum("wf,fg,wg->w", self.observed, inverse, self.observed)
        return np.asarray(np.sqrt(np.maximum(squared, 0.0)))


def factor_moves(scenarios: xr.Dataset) -> FactorMoves:
    """Return the moves of the historical scenarios of a margin run.

    Raises:
        ValueError: there are fewer windows of history than factors.
    """
    history = scenarios.isel(scenario=np.flatnonzero(scenarios["origin"].values == "historical"))
    coins = [str(name) for name in history["underlying"].values]
    shocks = shocks_of(history)
    observed = np.log1p(np.concatenate([shocks.price, shocks.volatility], axis=1))
    if len(observed) <= observed.shape[1]:
        raise ValueError(
            f"SHORT_HISTORY: {len(observed)} windows of history for {observed.shape[1]} factors; "
            "margin the book by a methodology with [historical] windows, more than factors"
        )
    return FactorMoves(
        names=factor_names(coins),
        window=tuple(str(name) for name in history["scenario"].values),
        observed=observed,
        covariance=observed.T @ observed / len(observed),
    )


def factor_names(coins: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the factors of some coins.

    >>> factor_names(["BTC", "ETH"])
    ('price of BTC', 'price of ETH', 'volatility of BTC', 'volatility of ETH')
    """
    return tuple(f"{what} of {coin}" for what in ("price", "volatility") for coin in coins)


def shocks_from(moves: Floats) -> Shocks:
    """Return the shocks that moves are, ``(point, factor)``; bases stay where they are.

    >>> shocks_from(np.log([[0.5, 1.5]])).price.round(9).tolist()
    [[-0.5]]
    """
    coins = moves.shape[1] // 2
    still = np.zeros((len(moves), coins))
    return Shocks(
        price=np.expm1(moves[:, :coins]),
        volatility=np.maximum(np.expm1(moves[:, coins:]), LEAST_VOLATILITY_MOVE),
        perpetual_basis=still,
        forward_basis=still,
    )
