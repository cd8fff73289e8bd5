"""What accounts have lost once a cascade has ended, and what they lose beyond what they had."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from risk.kernels.compilation import compiled, kernel
from risk.kernels.positions import read_only
from risk.kernels.sums import UNIT, require_exact
from risk.systemic.stressed import Liquidated, StressedAccounts, add_pnl, as_read

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Losses:
    """What accounts lose by the end, sums over accounts, ``(scenario,)`` or ``(group, scenario)``.

    ``lost``: of the accounts that lose. ``uncovered``: beyond their equity, by group.
    ``defaulted``: accounts whose equity is gone, by group. ``touched``: accounts that were closed
    at least in part. ``lost_by_group`` and ``gained_by_group``: owed by those that lose, and due to
    those that gain.
    """

    lost: Floats
    uncovered: Floats
    defaulted: Rows
    touched: Rows
    lost_by_group: Floats
    gained_by_group: Floats


@compiled
def owed_and_unpaid(traded: float, equity: float, impaired: float) -> tuple[float, float]:
    """Return what an account owes for what it traded, and what of that it cannot pay, in units.

    ``impaired`` is what its collateral counts more than in ``equity``. What collateral lost is
    owed to nobody, but takes from what there is to pay with. Units are those of
    ``risk.kernels.sums.UNIT``.
    """
    gained, unpaid = traded + impaired, 0.0
    left = equity + gained
    if gained < 0.0 and left < 0.0:
        # Who had nothing before answers for the whole loss, not for more.
        unpaid = -np.rint((left if equity > 0.0 else gained) / UNIT)
    return max(-np.rint(traded / UNIT), unpaid, 0.0), unpaid


@kernel
def _settle(
    offsets: Any, instrument: Any, quantity: Any, equity: Any, impaired: Any, group: Any,
    cube: Any, row: Any, remaining: Any, cash: Any, pnl: Floats, lost: Any, uncovered: Any,
    defaulted: Any, touched: Any, lost_by_group: Any, gained_by_group: Any,
) -> None:  # fmt: skip
    for account in range(equity.size):
        owner = group[account]
        if owner < 0:
            continue
        start, stop, k = offsets[account], offsets[account + 1], row[account]
        add_pnl(instrument, quantity, start, stop, cube, pnl)
        for s in range(pnl.size):
            traded = pnl[s]
            if k >= 0:
                traded = cash[k, s] + remaining[k, s] * pnl[s]
                touched[s] += 1 if remaining[k, s] < 1.0 else 0
            gained = traded + impaired[account]
            if gained < 0.0:
                lost[s] -= np.rint(gained / UNIT)
                if equity[account] + gained < 0.0:
                    defaulted[owner, s] += 1
            owed, unpaid = owed_and_unpaid(traded, equity[account], impaired[account])
            uncovered[owner, s] += unpaid
            lost_by_group[owner, s] += owed
            gained_by_group[owner, s] += max(np.rint(traded / UNIT), 0.0)


def settle(accounts: StressedAccounts, state: Liquidated, cube: Floats, groups: int) -> Losses:
    """Return what accounts lost at prices, what was closed at the prices of its closing.

    Shapes as ``cascade_round``. The loss without a cascade is that of a state of nobody at the
    prices of the first round.

    Raises:
        ValueError: SUM_TOO_LARGE, as ``require_exact``.
    """
    scenarios = cube.shape[1]
    lost, uncovered = np.zeros(scenarios), np.zeros((groups, scenarios))
    lost_by_group, gained = np.zeros((groups, scenarios)), np.zeros((groups, scenarios))
    defaulted = np.zeros((groups, scenarios), dtype=np.int64)
    touched = np.zeros(scenarios, dtype=np.int64)
    offsets, instrument, quantity, *_ = as_read(accounts)
    _settle(
        offsets, instrument, quantity, read_only(accounts.equity, np.float64),
        read_only(accounts.impairment, np.float64), read_only(accounts.group, np.int32),
        read_only(cube, np.float64), state.row, state.remaining, state.cash, np.zeros(scenarios),
        lost, uncovered, defaulted,
        touched, lost_by_group, gained,
    )  # fmt: skip
    for name, sums in (("lost", lost), ("uncovered", uncovered), ("gained", gained)):
        require_exact(name, UNIT * sums)
    return Losses(
        UNIT * lost, UNIT * uncovered, defaulted, touched, UNIT * lost_by_group, UNIT * gained
    )
