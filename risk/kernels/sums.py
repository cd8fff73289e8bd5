"""Sums over accounts that are exact, so that no order of accounts changes their bits.

What an account adds is first rounded to whole units of ``UNIT``, and kernels count in units. Whole
numbers below 2^53 are doubles, and so are their sums: they may be added in any order, and what was
added may be taken away again.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from risk.kernels.compilation import compiled

Floats = NDArray[np.float64]

UNIT = 2.0**-10
"""What every term of a sum over accounts is a multiple of, in reporting currency.

A power of two, so that to count in units and back changes no bit.
"""

LIMIT = 2.0**43
"""Where sums in reporting currency are no longer exact: 2^53 units."""

TOGETHER = 4
"""Accounts that are added to the sums in one pass over the scenarios."""


class Sums(NamedTuple):
    """What adds up over accounts, money in units, by the names of ``BlockMargin``.

    ``gross`` ``(1,)`` is the sum of all contributions without their signs: where that is exact, so
    is every sum of some of them.
    """

    contribution: Floats
    gross: Floats
    system_loss: Floats
    uncovered_loss: Floats
    accounts_under_water: NDArray[np.int64]


@compiled
def contribute(amount: float, instrument: int, contribution: Floats, gross: Floats) -> None:
    """Add what one position of one set contributes to its instrument, in whole units."""
    term = np.rint(amount / UNIT)
    contribution[instrument] += term
    gross[0] += abs(term)


@compiled
def add_accounts(rows: Floats, equity: Floats, scenarios: int, sums: Any) -> None:
    """Add ``TOGETHER`` accounts, whose equity is in units, to the system's sums.

    Who is under water is told before anything is rounded.
    """
    system, uncovered, under = sums.system_loss, sums.uncovered_loss, sums.accounts_under_water
    for s in range(scenarios):
        lost, beyond, number = system[s], uncovered[s], under[s]
        for k in range(TOGETHER):
            pnl = rows[k, s] / UNIT
            left = pnl + equity[k]
            lost -= np.rint(pnl if pnl < 0.0 else 0.0)
            beyond -= np.rint(left if left < 0.0 else 0.0)
            number += 1 if left < 0.0 else 0
        system[s], uncovered[s], under[s] = lost, beyond, number


def no_sums(instruments: int, scenarios: int) -> Sums:
    """Return the sums over no account."""
    return Sums(
        contribution=np.zeros(instruments),
        gross=np.zeros(1),
        system_loss=np.zeros(scenarios),
        uncovered_loss=np.zeros(scenarios),
        accounts_under_water=np.zeros(scenarios, dtype=np.int64),
    )


def require_exact(name: str, sums: Floats) -> None:
    """Refuse sums over accounts too large to be exact.

    Raises:
        ValueError: SUM_TOO_LARGE, a sum of ``LIMIT`` or more, or one that is no number.

    >>> require_exact("system_loss", np.array([3.5, 2.0**43]))
    Traceback (most recent call last):
    ...
    ValueError: SUM_TOO_LARGE: system_loss comes to 8,796,093,022,208, allowed is less than \
8,796,093,022,208 over any block of accounts, up to where sums are exact; look for a quantity, \
a lot size or a price that is too large
    """
    largest = float(np.abs(sums).max(initial=0.0))
    if not largest < LIMIT:
        raise ValueError(
            f"SUM_TOO_LARGE: {name} comes to {largest:,.0f}, allowed is less than {LIMIT:,.0f} "
            "over any block of accounts, up to where sums are exact; look for a quantity, a lot "
            "size or a price that is too large"
        )
