"""Initial margin by schedule: a percentage of notional, less what netting is recognised for.

Source: BCBS and IOSCO, "Margin requirements for non-centrally cleared derivatives" (2020), annex A.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

GROSS_PART = 0.4
NETTED_PART = 0.6


@dataclass(frozen=True, slots=True)
class ScheduleMargin:
    """Schedule margin of one netting set; money in the currency of the notionals, positive.

    ``gross_replacement_cost`` sums the positive values, ``net_replacement_cost`` is the positive
    part of the sum, ``net_to_gross`` their ratio.
    """

    gross_margin: float
    gross_replacement_cost: float
    net_replacement_cost: float
    net_to_gross: float
    margin: float


def schedule_margin(
    notional: ArrayLike, rate: ArrayLike, present_value: ArrayLike
) -> ScheduleMargin:
    """Return (0.4 + 0.6 net-to-gross) times the sum of notional times rate, (trade,) thrice.

    ``present_value`` is seen by the party that calls: what it would lose if the other side were
    gone is positive. Without a positive value there is nothing to net, and the ratio is 1, as for
    a set that does not net.

    Raises:
        ValueError: shapes differ, a rate is negative or something is not finite.

    >>> schedule_margin([1000.0, 500.0], [0.01, 0.02], [30.0, -10.0]).margin
    16.0
    """
    notionals, rates, values = (
        np.asarray(one, dtype=np.float64) for one in (notional, rate, present_value)
    )
    if not notionals.shape == rates.shape == values.shape:
        raise ValueError(f"shapes differ: {notionals.shape}, {rates.shape}, {values.shape}")
    if not np.isfinite([notionals, rates, values]).all() or (rates < 0.0).any():
        raise ValueError("notionals and values must be finite, rates 0 or more")
    gross_margin = float((np.abs(notionals) * rates).sum())
    gross, net = float(np.maximum(values, 0.0).sum()), max(0.0, float(values.sum()))
    ratio = net / gross if gross > 0.0 else 1.0
    margin = (GROSS_PART + NETTED_PART * ratio) * gross_margin
    return ScheduleMargin(gross_margin, gross, net, ratio, margin)
