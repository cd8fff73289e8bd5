"""What a synthetic account can trade, as arrays by instrument, for one lot."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from risk.synthetic.profile import GROUPS


@dataclass(frozen=True, slots=True)
class Universe:
    """The instruments that positions are drawn from; shapes ``(instrument,)`` unless said.

    Attributes:
        group: row of ``GROUPS``.
        settlement: code of the settlement currency; equal codes are contiguous.
        is_call: whether the instrument is a call option.
        notional: USD value of the underlying of one lot, positive.
        value: USD mark value of one lot.
        gain: ``(instrument, move)``, USD gain of one lot in each opening move.
        short_charge: USD that one short lot asks at the least.
        target: open interest aimed for, lots; what positions are limited by.
        reference: open interest of the real market in lots, for options, zero for the rest: the
            final open interest of options is made proportional to it.
    """

    group: NDArray[np.int8]
    settlement: NDArray[np.int32]
    is_call: NDArray[np.bool_]
    notional: NDArray[np.float64]
    value: NDArray[np.float64]
    gain: NDArray[np.float64]
    short_charge: NDArray[np.float64]
    target: NDArray[np.int64]
    reference: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.group)

    def choice(self) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
        """Return instruments by group, and the edges that ``group + uniform`` falls between.

        Within a group an instrument is chosen in proportion to its target notional.
        """
        order = np.argsort(self.group, kind="stable").astype(np.int32)
        share = (self.target * self.notional)[order]
        group = self.group[order]
        total = np.bincount(group, share, len(GROUPS))
        edges = np.cumsum(share / np.where(total > 0.0, total, 1.0)[group])
        edges -= np.concatenate([[0.0], np.cumsum(total > 0.0)])[group]
        # Rounding must not let a draw fall past the last instrument of its group.
        edges = np.where(edges > 1.0 - 1e-9, 1.0, edges)
        return order, group + edges

    def offered(self) -> NDArray[np.bool_]:
        """Return which groups have something to trade, ``(group,)``."""
        traded: NDArray[np.bool_] = np.bincount(self.group, self.target, len(GROUPS)) > 0
        return traded


def target_scale(accounts: int) -> float:
    """Return the multiple of the real open interest that a book of so many accounts aims for.

    In proportion to the number of accounts, 160,000 for the whole chain, and never less than a
    twentieth of it: below that, whole lots could not show the chain's shape. Choice.

    >>> [target_scale(n) for n in (10, 160_000, 1_000_000)]
    [0.05, 1.0, 6.25]
    """
    return max(accounts / 160_000.0, 0.05)
