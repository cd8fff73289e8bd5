"""Credits between underlyings: what an account's opposite deltas take off its scanned losses."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from risk.netting import NETTING_KEYS
from risk.summation import sum_by_group

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Pair = tuple[int, int, float]
"""Codes of two underlyings, and the rate of their credit."""


def netting_pools(account: Integers, currency: Integers, key: NDArray[np.int8]) -> Integers:
    """Return which units may be credited against each other: those of one number, (unit,).

    ``account`` and ``currency``, that of settlement, are ``(unit,)``, ``key`` ``(account,)`` rows
    of ``NETTING_KEYS``. Pools are numbered from zero; where positions stand alone, so do units.

    >>> import numpy as np
    >>> whose, paid_in = np.array([0, 0, 1, 1, 2, 2]), np.array([5, 6, 5, 6, 5, 6])
    >>> netting_pools(whose, paid_in, np.array([0, 1, 2], np.int8)).tolist()
    [0, 1, 2, 3, 4, 4]
    """
    units = len(account)
    width = max(int(currency.max(initial=0)) + 1, units)
    own = np.where(key[account] == NETTING_KEYS.index("position"), np.arange(units), 0)
    within = np.where(key[account] == NETTING_KEYS.index("settlement_currency"), currency, own)
    return np.unique(account * width + within, return_inverse=True)[1].astype(np.int64)


def spread_credit(
    pool: Integers, underlying: Integers, loss: Floats, delta: Floats, pairs: Sequence[Pair]
) -> Floats:
    """Return what spreads between underlyings take off, ``(pool,)``, never above the losses.

    ``pool``, ``underlying``, ``loss`` and ``delta`` are ``(unit,)``: a number, a code, the scanned
    loss, and the gain per unit relative move, in the reporting currency. Pairs are taken in their
    order, each from the delta that those before it left. A pool's units of one underlying are
    summed first. A pair credits ``rate * (spread / |delta| * loss)`` of both its underlyings, the
    spread being the lesser of two opposite deltas.

    >>> import numpy as np
    >>> spread_credit(
    ...     np.array([0, 0]), np.array([7, 8]), np.array([30.0, 8.0]), np.array([100.0, -40.0]),
    ...     [(7, 8, 0.5)],
    ... ).tolist()
    [10.0]
    """
    pools = int(pool.max(initial=-1)) + 1
    credit = np.zeros(pools)
    left: dict[int, Floats] = {}
    size: dict[int, Floats] = {}
    lost: dict[int, Floats] = {}
    for code in {code for one, other, _ in pairs for code in (one, other)}:
        mine = np.flatnonzero(underlying == code)
        left[code] = sum_by_group(delta[mine], pool[mine], pools)
        lost[code] = sum_by_group(loss[mine], pool[mine], pools)
        # Where the delta is zero there is no spread, and one stands in for it.
        size[code] = np.where(left[code] == 0.0, 1.0, np.abs(left[code]))
    for one, other, rate in pairs:
        opposite = np.sign(left[one]) * np.sign(left[other]) < 0.0
        spread = np.where(opposite, np.minimum(np.abs(left[one]), np.abs(left[other])), 0.0)
        for code in (one, other):
            credit += rate * (spread / size[code] * lost[code])
            left[code] = left[code] - np.sign(left[code]) * spread
    # The last bit of a quotient can put a credit in full above the loss.
    return np.minimum(credit, sum_by_group(loss, pool, pools))
