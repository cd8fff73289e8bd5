"""Netting sets: which positions of an account may offset each other."""

import numpy as np
from numpy.typing import NDArray

NETTING_KEYS = ("position", "settlement_currency", "account")


def netting_sets(
    account_offsets: NDArray[np.int64],
    instrument: NDArray[np.int32],
    account_key: NDArray[np.int8],
    settlement: NDArray[np.int32],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Cut each account's positions into netting sets.

    Shapes ``(account+1,), (position,), (account,), (instrument,) -> (account+1,), (set+1,)``.
    ``account_key`` holds rows of ``NETTING_KEYS``; ``settlement`` codes the settlement currency
    of each instrument. Returns the offsets of accounts into sets and of sets into positions.

    Raises:
        ValueError: an account's positions are not grouped by settlement currency.

    >>> import numpy as np
    >>> account_sets, set_offsets = netting_sets(
    ...     np.array([0, 2, 5]), np.array([0, 1, 0, 1, 2]), np.array([0, 1]), np.array([7, 7, 8])
    ... )
    >>> account_sets.tolist(), set_offsets.tolist()
    ([0, 2, 4], [0, 1, 2, 4, 5])
    """
    positions = int(account_offsets[-1])
    held = np.diff(account_offsets)
    key = np.repeat(account_key, held)
    currency = settlement[instrument]
    first = np.zeros(positions + 1, dtype=np.bool_)
    first[account_offsets] = True
    changes = np.empty(positions, dtype=np.bool_)
    changes[:1] = True
    np.not_equal(currency[1:], currency[:-1], out=changes[1:])
    falls = np.zeros(positions, dtype=np.bool_)
    np.less(currency[1:], currency[:-1], out=falls[1:])
    if (falls & ~first[:-1]).any():
        row = int(np.flatnonzero(falls & ~first[:-1])[0])
        raise ValueError(
            f"position {row} goes back to an earlier settlement currency within its account; "
            "sort positions by account, then by instrument row"
        )
    starts = first[:-1] | (key == 0) | ((key == 1) & changes)
    begin = np.flatnonzero(starts)
    set_offsets = np.append(begin, positions).astype(np.int64)
    account_sets = np.searchsorted(begin, account_offsets).astype(np.int64)
    return account_sets, set_offsets
