"""Marginal tiers: each slab of an amount at a rate of its own."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def marginal_charge(amount: ArrayLike, upper: ArrayLike, rate: ArrayLike) -> Array:
    """Return the charge on amounts of 0 or more, (...) -> (...).

    ``upper`` are the rising upper ends of the slabs, ``rate`` the rate of each; what exceeds the
    last end is charged at the last rate. Stable-coin depeg (MR9) of OKX is of this shape.

    Source: OKX, portfolio margin announcement, as re-published: 0.75 % of the first million, 1.75 %
    up to five, 2.5 % up to ten.

    Raises:
        ValueError: an amount is negative, the ends do not rise or the lengths differ.

    >>> marginal_charge(1e7, [1e6, 5e6, 1e7], [0.0075, 0.0175, 0.025]).item()
    202500.0
    """
    amounts, ends, rates = (np.asarray(one, dtype=np.float64) for one in (amount, upper, rate))
    if ends.ndim != 1 or ends.shape != rates.shape or not len(ends):
        raise ValueError(f"tiers must be two lists of one length; got {ends.shape}, {rates.shape}")
    if (np.diff(ends, prepend=0.0) <= 0.0).any():
        raise ValueError(f"upper ends of tiers must rise from 0; got {ends.tolist()}")
    if not ((amounts >= 0.0) & (amounts < np.inf)).all():
        raise ValueError(f"amount is {amounts.min()}; allowed is a finite number of 0 or more")
    lower = np.concatenate([[0.0], ends[:-1]])
    widths = np.append(ends[:-1] - lower[:-1], np.inf)
    slabs = np.clip(amounts[..., None] - lower, 0.0, widths)
    return np.asarray(slabs @ rates)
