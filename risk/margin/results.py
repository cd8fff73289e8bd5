"""What margin comes to: of accounts, and of their base risk before charges."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from risk.kernels import BlockMargin

MARGINED, HELD = 0, 1
"""Status of an account: its margin is known, or an input it depends on is missing."""


@dataclass(frozen=True, slots=True)
class AccountMargin:
    """Margin of a run of accounts, in reporting currency; a held account holds NaN and status 1.

    ``margin`` is ``(account, layer)``, ``risk_measure`` ``(account, measure)``, each non-negative;
    ``requirement``, the sum of the layers, is what it takes to open positions and ``maintenance``
    what it takes to keep them; ``excess`` is equity less requirement. The last four are
    ``(block, ...)`` sums over the accounts that are not held, those of money exact.
    """

    margin: NDArray[np.float64]
    risk_measure: NDArray[np.float64]
    collateral_value: NDArray[np.float64]
    position_value: NDArray[np.float64]
    equity: NDArray[np.float64]
    requirement: NDArray[np.float64]
    maintenance: NDArray[np.float64]
    excess: NDArray[np.float64]
    binding_scenario: NDArray[np.int32]
    netting_sets: NDArray[np.int32]
    positions: NDArray[np.int32]
    status: NDArray[np.int8]
    contribution: NDArray[np.float64]
    system_loss: NDArray[np.float64]
    uncovered_loss: NDArray[np.float64]
    accounts_under_water: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class BaseMargin:
    """What scenarios ask of each account, before charges; all ``(account, ...)`` but ``blocks``."""

    layers: NDArray[np.float64]
    maintenance: NDArray[np.float64]
    measured: NDArray[np.float64]
    binding: NDArray[np.int32]
    sets: NDArray[np.int32]
    blocks: list[BlockMargin]
