"""Losses that pass from debtors to creditors before and after default.

``exposures`` is ``(node, node)``: row nodes hold claims of that amount on column nodes, dense or
sparse. Shocks and losses are positive amounts of money.

Sources: M. Bardoscia, S. Battiston, F. Caccioli, G. Caldarelli, "DebtRank: a microscopic foundation
for shock propagation" (2015); S. Battiston and others, "DebtRank: too central to fail?" (2012), for
the index; C. Furfine, "Interbank exposures: quantifying the risk of contagion" (2003).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from risk.systemic.network import Floats, amounts, fractions, liability_matrix

LONGEST = 100_000
"""Rounds after which losses that still grow are given up on."""


@dataclass(frozen=True, slots=True)
class DebtRank:
    """Where losses of equity come to rest.

    ``equity`` ``(node,)`` is negative where losses exceed what was there. ``relative_loss``
    ``(node,)`` is the part of the first equity that is lost, at most 1; ``first_loss`` the part
    that the shock itself took. ``rounds`` counts passes over the network.
    """

    equity: Floats
    relative_loss: Floats
    first_loss: Floats
    rounds: int

    def index(self, weight: ArrayLike) -> float:
        """Return the DebtRank index: Σ weight (relative loss - first loss), ``(node,)``."""
        return float(np.dot(np.asarray(weight, np.float64), self.relative_loss - self.first_loss))


@dataclass(frozen=True, slots=True)
class ThresholdDefault:
    """Who fails in a cascade of outright defaults.

    ``round`` ``(node,)`` is 0 where a node stands, 1 where the shock alone fells it. ``loss``
    ``(node,)`` is the shock and what defaulters do not repay, ``equity`` what is left of it.
    """

    round: NDArray[np.int64]
    loss: Floats
    equity: Floats


def linear_debt_rank(
    exposures: Any, equity: ArrayLike, shock: ArrayLike, tolerance: float = 1e-12
) -> DebtRank:
    """Return the fixed point of linear DebtRank, reached from below, ``(node,)``.

    E_i = E_i(0) - shock_i - Σ_j A_ij min(1, 1 - E_j / E_j(0)): each node's losses are those of its
    claims, which lose value as their own debtor's equity does, by that debtor's own first equity.
    ``tolerance`` is the change of a relative loss that no longer counts.

    Raises:
        ValueError: shapes disagree, an amount is negative or not finite, a node has no equity
            (``ZERO_BUFFER``), or losses still grow after 100,000 rounds.

    >>> ring = [[0.0, 0.5, 0.0], [0.0, 0.0, 0.5], [0.5, 0.0, 0.0]]
    >>> linear_debt_rank(ring, [2.0, 1.0, 0.5], [0.0, 0.5, 0.0]).equity.round(6).tolist()
    [1.714286, 0.428571, 0.428571]
    """
    start = np.asarray(equity, np.float64)
    start = amounts("equity", start, start.size)
    if (start == 0.0).any():
        raise ValueError(
            f"ZERO_BUFFER: node {int(np.flatnonzero(start == 0.0)[0])} has no equity to lose a "
            "part of; leave it out, and add what it cannot pay to the shock of its creditors"
        )
    claims = liability_matrix("exposures", exposures, start.size)
    hit = amounts("shock", shock, start.size)
    first = np.minimum(hit / start, 1.0)
    relative = first
    for rounds in range(1, LONGEST + 1):
        loss = hit + claims @ relative
        grown = np.maximum(relative, np.minimum(loss / start, 1.0))
        change = float((grown - relative).max(initial=0.0))
        relative = grown
        if change <= tolerance:
            return DebtRank(start - loss, relative, first, rounds)
    raise ValueError(
        f"losses still grow by {change:.3g} of an equity after {LONGEST:,} rounds; allowed is "
        f"{tolerance:g}, ask for a larger tolerance"
    )


def threshold_default(
    exposures: Any, equity: ArrayLike, shock: ArrayLike, recovery: ArrayLike = 0.0
) -> ThresholdDefault:
    """Return who defaults when creditors of a defaulter lose a given part at once, ``(node,)``.

    A node defaults where its losses exceed its equity; its creditors then lose 1 - ``recovery``
    of their claims on it. Equity of exactly zero stands.

    Raises:
        ValueError: shapes disagree, an amount is negative or not finite, or a recovery is no
            fraction.

    >>> chain = [[0.0, 4.0, 0.0], [0.0, 0.0, 3.0], [0.0, 0.0, 0.0]]
    >>> threshold_default(chain, [5.0, 2.0, 1.0], [0.0, 0.0, 1.5]).round.tolist()
    [0, 2, 1]
    """
    start = np.asarray(equity, np.float64)
    start = amounts("equity", start, start.size)
    claims = liability_matrix("exposures", exposures, start.size)
    hit = amounts("shock", shock, start.size)
    lost_part = 1.0 - fractions("recovery", recovery, start.size)
    when = np.zeros(start.size, np.int64)
    number, loss = 0, hit
    while (new := (when == 0) & (loss > start)).any():
        number += 1
        when[new] = number
        loss = hit + claims @ (lost_part * (when > 0))
    return ThresholdDefault(when, np.asarray(loss), start - loss)
