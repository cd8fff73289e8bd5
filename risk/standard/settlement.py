"""Forwards of options that settle to an average which has begun."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from risk.instruments import Instruments, Kind, MarketState

_YEAR_MINUTES = 365 * 24 * 60


def settling_forward(
    forward: NDArray[np.float64], average: NDArray[np.float64], fixed_share: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the forward of an average of which a share is fixed.

    fixed_share average + (1 - fixed_share) forward; shapes broadcast, prices in and out. Source:
    Derive ``StandardManager`` and its forward feed.

    >>> import numpy as np
    >>> settling_forward(np.array([1500.0]), np.array([1400.0]), np.array([0.75])).tolist()
    [1425.0]
    """
    return np.asarray(fixed_share * average + (1.0 - fixed_share) * forward)


def settling_market(
    instruments: Instruments,
    market: MarketState,
    average: NDArray[np.float64],
    window_minutes: float,
) -> MarketState:
    """Return the market with the forwards of options inside the averaging window.

    ``average`` ``(instrument,)`` is the mean of the index since the window of the instrument
    began. Of an option with m minutes to expiry the share 1 - m / window_minutes is fixed; other
    rows keep their forward. Mark values must be taken from the market that is returned.

    >>> import numpy as np
    >>> from risk.instruments import Settlement
    >>> option = Instruments(
    ...     kind=np.array([Kind.OPTION], np.int8),
    ...     settlement=np.array([Settlement.LINEAR], np.int8),
    ...     underlying=np.zeros(1, np.int16), settlement_underlying=np.array([-1], np.int16),
    ...     multiplier=np.ones(1), strike=np.array([1500.0]), is_call=np.ones(1, bool),
    ...     time_to_expiry=np.array([15.0 / 525_600]),
    ... )
    >>> now = MarketState(*(np.array([v]) for v in (1500.0, 1500.0, 0.6, True)))
    >>> settling_market(option, now, np.array([1400.0]), 30.0).forward.round(6).tolist()
    [1450.0]
    """
    minutes = instruments.time_to_expiry * _YEAR_MINUTES
    settling = (instruments.kind == Kind.OPTION) & (minutes < window_minutes)
    share = np.where(settling, 1.0 - minutes / window_minutes, 0.0)
    return replace(market, forward=settling_forward(market.forward, average, share))
