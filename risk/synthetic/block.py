"""A run of accounts with what they hold and what backs it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from risk.synthetic.positions import Drawn


@dataclass(frozen=True, slots=True)
class Block:
    """A run of accounts; owners of positions and collateral count from its start.

    ``member`` and ``mode`` (0 isolated, 1 cross, 2 portfolio) are ``(account,)``;
    ``collateral_owner``, ``asset`` and ``quantity`` are ``(holding,)``.
    """

    member: NDArray[np.int32]
    mode: NDArray[np.int8]
    positions: Drawn
    collateral_owner: NDArray[np.int64]
    asset: NDArray[np.int32]
    quantity: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.member)

    def first(self, count: int) -> "Block":
        """Return the first accounts of the run."""
        rows = slice(0, int(np.searchsorted(self.positions.owner, count)))
        held = slice(0, int(np.searchsorted(self.collateral_owner, count)))
        positions = self.positions
        return Block(
            self.member[:count],
            self.mode[:count],
            Drawn(positions.owner[rows], positions.instrument[rows], positions.lots[rows]),
            self.collateral_owner[held],
            self.asset[held],
            self.quantity[held],
        )
