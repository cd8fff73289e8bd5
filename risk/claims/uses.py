"""What credit is used for: the venues whose positions need it, and what is free."""

import numpy as np
from numpy.typing import NDArray

from risk.summation import sum_by_group

Floats = NDArray[np.float64]


def shares_of_use(
    credit: Floats, requirement: Floats, account: NDArray[np.int64], venue: NDArray[np.int64],
    size: Floats, venues: int,
) -> Floats:  # fmt: skip
    """Return how an account's credit is used, ``(account, venue + 1)``; the last is what is free.

    ``credit`` and ``requirement`` are ``(account,)``, ``account``, ``venue`` and ``size``
    ``(position,)``: whose it is, where it trades, and its notional. So much credit is needed as the
    account requires, by each venue in proportion to the size of its positions there; shares of an
    account sum to 1. All of it is free where nothing is held or there is no credit.

    >>> one, places = np.zeros(2, np.int64), np.array([0, 1])
    >>> shares_of_use(np.array([100.0]), np.array([20.0]), one, places, np.array([3.0, 1.0]), 2)
    array([[0.15, 0.05, 0.8 ]])
    """
    accounts = len(credit)
    by_venue = sum_by_group(size, account * venues + venue, accounts * venues)
    by_venue = by_venue.reshape(accounts, venues)
    gross = by_venue.sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        used = np.where(credit > 0.0, np.minimum(requirement / credit, 1.0), 0.0)
        part = np.where(gross[:, None] > 0.0, used[:, None] * by_venue / gross[:, None], 0.0)
    return np.concatenate([part, 1.0 - part.sum(axis=1, keepdims=True)], axis=1)
