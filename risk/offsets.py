"""Rows of accounts, or of netting sets, as offsets into flat arrays."""

import numpy as np
from numpy.typing import NDArray


def chosen_rows(
    offsets: NDArray[np.int64], chosen: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the offsets of chosen runs of rows when they follow each other, and their rows.

    >>> offsets, rows = chosen_rows(np.array([0, 2, 5, 6]), np.array([0, 2]))
    >>> offsets.tolist(), rows.tolist()
    ([0, 2, 3], [0, 1, 5])
    """
    length = np.diff(offsets)[chosen]
    ends = np.concatenate([[0], np.cumsum(length)]).astype(np.int64)
    return ends, np.repeat(offsets[chosen] - ends[:-1], length) + np.arange(ends[-1])
