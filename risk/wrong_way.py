"""Wrong way: a charge for collateral that loses value where the positions do."""

import numpy as np
from numpy.typing import NDArray
from pydantic import model_validator

from risk.specification import Fraction, Specification

Floats = NDArray[np.float64]

WRONG_WAY_LAYER = "wrong_way"
"""The layer of what moving collateral asks beyond base risk."""


class WrongWaySpec(Specification):
    """A share of what positions and collateral lose together beyond two unrelated risks.

    See ``wrong_way``: ``share`` of it to open positions, ``maintenance_share`` to keep them.
    """

    share: Fraction
    maintenance_share: Fraction

    @model_validator(mode="after")
    def _ordered(self) -> "WrongWaySpec":
        if self.maintenance_share > self.share:
            raise ValueError(
                f"maintenance_share {self.maintenance_share:g} is above share {self.share:g}; "
                "what is asked to hold is never above what is asked to open"
            )
        return self


def wrong_way(together: Floats, positions: Floats, collateral: Floats) -> Floats:
    """Return max(0, together - sqrt(positions^2 + collateral^2)), ``(account,)`` each.

    All are what the measures ask, losses positive and never below zero: of P&L and change of
    credit as one, of the P&L, and of the change. The root is what two uncorrelated elliptical risks
    come to, so what is left is their falling together; it is zero where either is nothing.

    >>> wrong_way(np.array([7.0, 5.0]), np.array([3.0, 3.0]), np.array([4.0, 4.0])).tolist()
    [2.0, 0.0]
    """
    return np.asarray(np.maximum(together - np.sqrt(positions**2 + collateral**2), 0.0))


def credit_moves(credit: Floats, coin: NDArray[np.int64], price: Floats) -> Floats:
    """Return what the credit of a unit of each asset gains, ``(asset, scenario)``, gain positive.

    ``credit`` ``(asset,)`` is reporting currency that a unit counts for, ``coin`` ``(asset,)`` the
    row of the coin that it is priced as, -1 for cash, ``price`` ``(scenario, underlying)`` moves.

    >>> credit_moves(np.array([80.0, 1.0]), np.array([0, -1]), np.array([[-0.5], [0.25]])).tolist()
    [[-40.0, 20.0], [0.0, 0.0]]
    """
    moves = np.concatenate([price.T, np.zeros((1, len(price)))])
    return np.asarray(credit[:, np.newaxis] * moves[coin])
