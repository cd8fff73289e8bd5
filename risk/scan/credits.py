"""Credits between underlyings: what an account's opposite deltas take off its scanned losses."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from risk.nesting import Nested
from risk.summation import sum_by_group

Floats = NDArray[np.float64]
Pair = tuple[int, int, float]
"""Codes of two underlyings, and the rate of their credit."""


def spread_credit(
    nested: Nested,
    underlying: NDArray[np.int64],
    loss: Floats,
    delta: Floats,
    pairs: Sequence[Pair],
    accounts: int,
) -> Floats:
    """Return what spreads between underlyings take off, ``(account,)``, never above the losses.

    ``underlying``, ``loss`` and ``delta`` are ``(unit,)``: a code, the scanned loss, and the gain
    per unit relative move, in the reporting currency. Pairs are taken in their order, each from
    the delta that those before it left. An account's units of one underlying are summed first.
    """
    account = nested.unit_account
    credit = np.zeros(accounts)
    left: dict[int, Floats] = {}
    per_delta: dict[int, Floats] = {}
    for code in {code for one, other, _ in pairs for code in (one, other)}:
        mine = np.flatnonzero(underlying == code)
        total = sum_by_group(delta[mine], account[mine], accounts)
        lost = sum_by_group(loss[mine], account[mine], accounts)
        size = np.abs(total)
        left[code] = total
        per_delta[code] = np.divide(lost, size, out=np.zeros(accounts), where=size > 0.0)
    for one, other, rate in pairs:
        opposite = left[one] * left[other] < 0.0
        spread = np.where(opposite, np.minimum(np.abs(left[one]), np.abs(left[other])), 0.0)
        credit += rate * spread * (per_delta[one] + per_delta[other])
        for code in (one, other):
            left[code] = left[code] - np.sign(left[code]) * spread
    return credit
