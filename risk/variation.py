"""What positions gained between two instants while nobody traded: the variation margin."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from risk.instruments import Instruments, Kind, MarketState, Settlement

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Variation:
    """P&L of one contract between two instants, ``(instrument,)``, reporting currency.

    ``settled`` is paid in cash, by futures and perpetuals; ``unsettled`` is the change in value of
    what has one, options and spot. Gains are positive. Where a price was missing at either
    instant ``known`` is false and both are zero.
    """

    settled: Floats
    unsettled: Floats
    known: NDArray[np.bool_]


def variation(
    instruments: Instruments,
    before: MarketState,
    after: MarketState,
    value_before: Floats,
    value_after: Floats,
) -> Variation:
    """Return what one contract of each instrument gained, ``(instrument,)``.

    With F the forward and S the index, a linear future or perpetual gains ``multiplier`` times
    F1 - F0; an inverse one 1/F0 - 1/F1 coins, each worth S1; a quanto F1 - F0 settlement coins,
    each worth their index then. Coins are valued at the later instant, when they are paid.

    >>> one = Instruments(
    ...     kind=np.array([Kind.PERPETUAL], np.int8),
    ...     settlement=np.array([Settlement.INVERSE], np.int8),
    ...     underlying=np.array([0], np.int16), settlement_underlying=np.array([0], np.int16),
    ...     multiplier=np.array([100.0]), strike=np.zeros(1), is_call=np.zeros(1, bool),
    ...     time_to_expiry=np.zeros(1),
    ... )
    >>> at = lambda price: MarketState(
    ...     np.array([price]), np.array([price]), np.zeros(1), np.ones(1, bool))
    >>> variation(one, at(100.0), at(125.0), np.zeros(1), np.zeros(1)).settled.tolist()
    [25.0]
    """
    known = before.priced & after.priced
    marked = (instruments.kind == Kind.FUTURE) | (instruments.kind == Kind.PERPETUAL)
    rows = np.flatnonzero(known & marked)
    terms = instruments.take(rows)
    start, end = before.forward[rows], after.forward[rows]
    spot = after.index[np.maximum(terms.underlying, 0)]
    coin = after.index[np.maximum(terms.settlement_underlying, 0)]
    gain = np.select(
        [terms.settlement == Settlement.INVERSE, terms.settlement == Settlement.QUANTO],
        [(1.0 / start - 1.0 / end) * spot, (end - start) * coin],
        end - start,
    )
    settled = np.zeros(len(instruments))
    settled[rows] = terms.multiplier * gain
    unsettled = np.where(known & ~marked, value_after - value_before, 0.0)
    return Variation(settled, unsettled, known)
