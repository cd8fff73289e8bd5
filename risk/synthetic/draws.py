"""Small shapes of drawing that the parts of a synthetic book share."""

import numpy as np
from numpy.typing import NDArray


def pick(
    table: NDArray[np.float64], row: NDArray[np.integer], uniform: NDArray[np.float64]
) -> NDArray[np.int8]:
    """Return a column for each draw, by the shares in its row of a table.

    Shapes ``(row, column), (draw,), (draw,) -> (draw,)``.

    >>> pick(np.array([[0.2, 0.8], [1.0, 0.0]]), np.array([0, 0, 1]), np.array([0.1, 0.3, 0.9]))
    array([0, 1, 0], dtype=int8)
    """
    edges = np.cumsum(table, axis=1)
    edges /= edges[:, -1:]
    column = np.zeros(len(row), dtype=np.int8)
    for inner in range(table.shape[1] - 1):
        column += uniform >= edges[row, inner]
    return column


def choose(
    share: NDArray[np.float64], row: NDArray[np.integer], uniform: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Return a column for each draw, like ``pick``, where there are many columns.

    >>> choose(np.array([[0.2, 0.8], [1.0, 0.0]]), np.array([0, 0, 1]), np.array([0.1, 0.3, 0.9]))
    array([0, 1, 0])
    """
    edges = np.cumsum(share, axis=1)
    edges /= edges[:, -1:]
    flat = (np.arange(len(edges))[:, None] + edges).ravel()
    found = np.searchsorted(flat, row + uniform, side="right")
    return np.asarray(found - row.astype(np.int64) * share.shape[1])


def sums(owner: NDArray[np.int64], amount: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """Return the sum of amounts by owner, ``(row,), (row,) -> (owner,)``.

    >>> sums(np.array([0, 2, 2]), np.array([1.0, 2.0, 3.0]), 4)
    array([1., 0., 5., 0.])
    """
    return np.bincount(owner, amount, size).astype(np.float64)


def between(bounds: tuple[float, float], uniform: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return uniform draws stretched over a range."""
    return bounds[0] + (bounds[1] - bounds[0]) * uniform


def run_starts(*keys: NDArray[np.generic]) -> NDArray[np.int64]:
    """Return where a new run of equal keys starts.

    >>> run_starts(np.array([1, 1, 2]), np.array([0, 3, 3])).tolist()
    [0, 1, 2]
    """
    if not len(keys[0]):
        return np.zeros(0, dtype=np.int64)
    new = np.zeros(len(keys[0]), dtype=np.bool_)
    new[0] = True
    for key in keys:
        new[1:] |= key[1:] != key[:-1]
    return np.flatnonzero(new)


def log_normal(
    median_and_deviation: tuple[float, float], normal: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return lognormal values from standard normal draws."""
    median, deviation = median_and_deviation
    return np.asarray(median * np.exp(deviation * normal))
