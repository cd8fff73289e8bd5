"""Sums that have the same bits however the work is cut."""

import itertools
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

BLOCK_ACCOUNTS = 4096
"""Accounts in a block, the unit of summation."""

BlockMap = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]
"""How blocks are mapped: the built-in ``map``, or that of a thread pool."""


def fold_blocks(blocks: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum over the first axis by a pairwise tree whose shape depends on its length alone.

    Shape ``(block, ...) -> (...)``. A run of ``2**k`` blocks that starts at a multiple of
    ``2**k`` is a subtree, so folding such runs first and then their results gives the same bits.

    >>> import numpy as np
    >>> blocks = np.array([1e16, 1.0, -1e16, 1.0, 1.0])
    >>> halves = np.array([fold_blocks(blocks[:4]), fold_blocks(blocks[4:])])
    >>> bool(fold_blocks(blocks) == fold_blocks(halves))
    True
    """
    if len(blocks) == 0:
        return np.zeros(blocks.shape[1:])
    level = np.asarray(blocks, dtype=np.float64)
    while len(level) > 1:
        pairs = level[: len(level) // 2 * 2]
        folded = pairs[0::2] + pairs[1::2]
        level = np.concatenate([folded, level[-1:]]) if len(level) % 2 else folded
    return np.asarray(level[0])


def sum_by_group(
    values: NDArray[np.float64], group: NDArray[np.int64], groups: int
) -> NDArray[np.float64]:
    """Sum the rows of one block by group, row after row.

    Shape ``(account,) or (account, layer), (account,) -> (group,) or (group, layer)``.

    >>> import numpy as np
    >>> sum_by_group(np.array([1.0, 2.0, 4.0]), np.array([1, 0, 1]), 3).tolist()
    [2.0, 5.0, 0.0]
    """
    if values.ndim == 1:
        return np.bincount(group, weights=values, minlength=groups).astype(np.float64)
    summed = [sum_by_group(column, group, groups) for column in values.T]
    return np.stack(summed, axis=-1) if summed else np.zeros((groups, 0))


def block_bounds(start: int, stop: int) -> list[tuple[int, int]]:
    """Return the blocks of a run of accounts as ``(start, stop)`` pairs.

    Raises:
        ValueError: ``start`` is not the first account of a block.

    >>> block_bounds(4096, 10_000)
    [(4096, 8192), (8192, 10000)]
    """
    if start % BLOCK_ACCOUNTS:
        raise ValueError(f"start {start} is not a multiple of {BLOCK_ACCOUNTS}")
    edges = [*range(start, stop, BLOCK_ACCOUNTS), stop]
    return list(itertools.pairwise(edges))


def offsets_of_blocks(account: NDArray[np.int64], blocks: int) -> NDArray[np.int64]:
    """Return where each block of the book begins among chosen accounts, in ascending order.

    Shape ``(account,) -> (block+1,)``.

    >>> import numpy as np
    >>> offsets_of_blocks(np.array([7, 4095, 4096, 9000]), 4).tolist()
    [0, 2, 3, 4, 4]
    """
    return np.searchsorted(account, BLOCK_ACCOUNTS * np.arange(blocks + 1)).astype(np.int64)


def bounds_of_blocks(offsets: NDArray[np.int64], accounts: int) -> list[tuple[int, int]]:
    """Return blocks given by their offsets as ``(start, stop)`` pairs; a block may be empty.

    Raises:
        ValueError: offsets that do not climb from 0 to the number of accounts.

    >>> import numpy as np
    >>> bounds_of_blocks(np.array([0, 2, 2, 5]), 5)
    [(0, 2), (2, 2), (2, 5)]
    """
    if len(offsets) == 0 or offsets[0] != 0 or offsets[-1] != accounts:
        raise ValueError(
            f"offsets of blocks must run from 0 to {accounts}, got {offsets[:1]}..{offsets[-1:]}"
        )
    if (offsets[1:] < offsets[:-1]).any():
        row = int(np.flatnonzero(offsets[1:] < offsets[:-1])[0])
        raise ValueError(f"offsets of blocks fall after {row}: {offsets[row : row + 2].tolist()}")
    return list(itertools.pairwise(offsets.tolist()))
