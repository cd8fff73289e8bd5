"""Whole lots of exact quantities, in integers throughout."""

import numpy as np
from numpy.typing import NDArray

from storage.intake.cells import Exact, Status

LOT_LIMIT = 1 << 53
"""Lots from here on are not exact as float64."""

NOT_WHOLE = 1
TOO_LARGE = 2
_LARGEST = np.iinfo(np.int64).max


def to_lots(
    quantity: Exact, instrument: NDArray[np.int64], lot: list[tuple[int, int]]
) -> tuple[NDArray[np.int64], NDArray[np.int8]]:
    """Return whole lots of every quantity and what is wrong: 1 not whole, 2 too large.

    ``instrument`` is a row of ``lot``, or -1 where nothing can be said. All arithmetic is on
    integers; numbers that need more than 64 bits are Python integers.
    """
    times, divide, limit = _factors(lot, quantity.scale)
    lots = np.zeros(len(instrument), np.int64)
    fault = np.zeros(len(instrument), np.int8)
    judged = (instrument >= 0) & (quantity.status == Status.GOOD)
    where = np.where(judged, instrument, 0)
    values = np.where(judged, quantity.unscaled, 0)
    if len(lot):
        fast = judged & (values <= limit[where]) & (values >= -limit[where])
        scaled = np.where(fast, values, 0) * times[where]
        lots, rest = np.divmod(scaled, divide[where])
        fault[fast & (rest != 0)] = NOT_WHOLE
        fault[fast & (rest == 0) & (np.abs(lots) >= LOT_LIMIT)] = TOO_LARGE
        slow = set(np.flatnonzero(judged & ~fast).tolist()) | {
            row for row in quantity.large if judged[row]
        }
        for row in slow:
            value, scale = quantity.large.get(row, (int(quantity.unscaled[row]), quantity.scale))
            size, places = lot[instrument[row]]
            whole, remainder = divmod(value * 10**places, size * 10**scale) if size else (0, 0)
            fault[row] = NOT_WHOLE if remainder else TOO_LARGE * (abs(whole) >= LOT_LIMIT)
            lots[row] = 0 if fault[row] else whole
    lots[fault != 0] = 0
    return lots, fault


def _factors(
    lot: list[tuple[int, int]], scale: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return what to multiply and divide by, and the largest number that may be multiplied.

    The limit is -1 where the factors themselves need more than 64 bits.
    """
    times, divide, limit = (np.ones(len(lot), np.int64) for _ in range(3))
    for row, (size, places) in enumerate(lot):
        up, down = 10 ** max(0, places - scale), abs(size) * 10 ** max(0, scale - places)
        if 0 < down <= _LARGEST and up <= _LARGEST:
            times[row], divide[row], limit[row] = up, down, _LARGEST // up
        else:
            limit[row] = -1
    return times, divide, limit
