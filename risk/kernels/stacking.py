"""From netting sets to accounts: layers stacked, measures summed, the scenario that binds."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from risk.kernels.compilation import kernel
from risk.kernels.positions import read_only
from risk.measures import Measure


@dataclass(frozen=True, slots=True)
class StackedAccounts:
    """What the netting sets of each account come to; money in reporting currency.

    ``layers`` ``(account, layer)``: summed over sets, what the binding measures of a layer ask
    beyond those of the layers before it, non-negative. ``measured`` ``(account, measure)``: losses
    summed over sets. ``binding_scenario`` ``(account,)``: where the costliest set loses what it
    asks most for, -1 where no set asks for anything.
    """

    layers: NDArray[np.float64]
    measured: NDArray[np.float64]
    binding_scenario: NDArray[np.int32]


@kernel
def _stack(
    account_sets: Any, value: Any, binding: Any, share: Any, joins: Any, closes: Any,
    layers: Any, measured: Any, chosen: Any,
) -> None:  # fmt: skip
    """Fill ``layers``, ``measured`` and ``chosen``, set after set."""
    for account in range(account_sets.size - 1):
        costliest = 0.0
        for n in range(account_sets[account], account_sets[account + 1]):
            reached, total, most, layer, at = 0.0, 0.0, 0.0, 0, 0
            largest, named = -np.inf, -1
            for m in range(share.size):
                loss = value[n, m]
                measured[account, m] += 0.0 if loss < 0.0 else loss
                weighted = share[m] * loss
                if not joins[m]:
                    total, most, at = weighted, weighted, binding[n, m]
                else:
                    total += weighted
                    if weighted > most:
                        most, at = weighted, binding[n, m]
                if not closes[m]:
                    continue
                beyond = total - reached
                layers[account, layer] += 0.0 if beyond < 0.0 else beyond
                reached = reached if total < reached else total
                layer += 1
                if total > largest:
                    largest, named = total, at
            if largest > costliest:
                costliest, chosen[account] = largest, named


def stack_accounts(
    account_sets: NDArray[np.int64],
    value: NDArray[np.float64],
    binding_scenario: NDArray[np.int32],
    measures: Sequence[Measure],
) -> StackedAccounts:
    """Stack the measures of netting sets into layers and sum them over each account.

    Shapes ``(account+1,), (set, measure), (set, measure)``; values and scenarios as in
    ``BlockMargin``. A measure that joins is added to the one before it, each times its weight; a
    layer is named after the one that adds most. The first of equals wins everywhere.

    >>> shortfall = Measure("expected_shortfall", "expected_shortfall", 0, 9, 0.9)
    >>> worst = Measure("worst_loss", "worst_loss", 9, 12)
    >>> value, at = np.array([[4.0, 7.0], [4.0, 1.0]]), np.array([[3, 10], [5, 11]], np.int32)
    >>> stacked = stack_accounts(np.array([0, 2]), value, at, [shortfall, worst])
    >>> stacked.layers.tolist(), stacked.measured.tolist(), stacked.binding_scenario.tolist()
    ([[8.0, 3.0]], [[8.0, 8.0]], [10])
    """
    accounts = len(account_sets) - 1
    joins = np.array([measure.joins for measure in measures], dtype=np.bool_)
    binds = np.array([measure.binds for measure in measures], dtype=np.bool_)
    closes = binds & ~np.append(joins[1:], False)
    stacked = StackedAccounts(
        layers=np.zeros((accounts, int(np.count_nonzero(closes)))),
        measured=np.zeros((accounts, len(measures))),
        binding_scenario=np.full(accounts, -1, dtype=np.int32),
    )
    _stack(
        read_only(account_sets, np.int64), read_only(value, np.float64),
        read_only(binding_scenario, np.int32),
        np.array([measure.weight for measure in measures], dtype=np.float64), joins, closes,
        stacked.layers, stacked.measured, stacked.binding_scenario,
    )  # fmt: skip
    return stacked
