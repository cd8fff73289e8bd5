"""Which accounts hold something else than before: two runs of rows compared, account by account."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from risk.kernels.compilation import kernel
from risk.kernels.positions import read_only

Rows = tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float64]]
"""Offsets of accounts into rows, the item of each row, and how much of it."""


@kernel
def _compare(
    then_offsets: Any, then_item: Any, then_amount: Any, now_offsets: Any, now_item: Any,
    now_amount: Any, touched: Any, changed: Any,
) -> None:  # fmt: skip
    """Mark accounts whose rows differ, or hold what is touched."""
    for account in range(changed.size):
        then, now = then_offsets[account], now_offsets[account]
        rows = now_offsets[account + 1] - now
        differs = then_offsets[account + 1] - then != rows
        for row in range(rows):
            if differs:
                break
            item = now_item[now + row]
            differs = (
                then_item[then + row] != item
                or then_amount[then + row] != now_amount[now + row]
                or touched[item]
            )
        changed[account] |= differs


def mark_changed(
    then: Rows,
    now: Rows,
    touched: NDArray[np.bool_],
    changed: NDArray[np.bool_],
) -> None:
    """Mark in ``changed`` ``(account,)`` whose rows are others now, or hold what is touched.

    ``then`` and ``now`` are ``(account+1,), (row,), (row,)``, ``touched`` is ``(item,)``.

    >>> offsets, none = np.array([0, 1, 2, 3]), np.zeros(3, dtype=np.bool_)
    >>> then = (offsets, np.array([0, 1, 2], np.int32), np.array([5.0, 5.0, 5.0]))
    >>> now = (offsets, np.array([0, 1, 2], np.int32), np.array([5.0, 6.0, 5.0]))
    >>> mark_changed(then, now, np.array([False, False, True]), none)
    >>> none.tolist()
    [False, True, True]
    """
    if len(then[0]) != len(changed) + 1 or len(now[0]) != len(changed) + 1:
        raise ValueError(
            f"{len(then[0]) - 1} accounts then and {len(now[0]) - 1} now do not pair with "
            f"{len(changed)} marks"
        )
    _compare(*_as_read(then), *_as_read(now), read_only(touched, np.bool_), changed)


def _as_read(rows: Rows) -> tuple[NDArray[Any], ...]:
    offsets, item, amount = rows
    return (
        read_only(offsets, np.int64),
        read_only(item, np.int32),
        read_only(amount, np.float64),
    )
