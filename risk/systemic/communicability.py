"""Who is within reach of whose default: paths through a network of binding exposures.

Small networks only, up to some thousands of nodes: the matrices are dense.

Source: T. Silva, S. de Souza, B. Tabak, "Monitoring vulnerability and impact diffusion in financial
networks" (Central Bank of Brazil, working paper 392, 2015); E. Estrada and N. Hatano,
"Communicability in complex networks" (2008).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import expm

from risk.systemic.network import Floats, amounts, liability_matrix


@dataclass(frozen=True, slots=True)
class Diffusion:
    """Impacts that a node starts, and those that it passes on, ``(node,)``."""

    start: Floats
    intermediate: Floats

    @property
    def total(self) -> Floats:
        """Return both together, ``(node,)``."""
        return self.start + self.intermediate


def vulnerability(exposures: Any, buffer: ArrayLike, binary: bool = True) -> Floats:
    """Return the part of column nodes' buffers that row nodes' default takes, at most 1.

    ``exposures`` ``(node, node)``: row nodes hold claims on column nodes; ``buffer`` ``(node,)`` is
    what each can lose. ``binary`` keeps 1 where the whole buffer goes, and 0 elsewhere.

    Raises:
        ValueError: an amount is negative or not finite, or a buffer is zero.

    >>> vulnerability([[0, 1, 0], [10, 0, 3], [3, 2, 0]], [2, 5, 2]).tolist()
    [[0.0, 1.0, 1.0], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0]]
    """
    room = np.asarray(buffer, np.float64)
    room = amounts("buffer", room, room.size)
    if (room == 0.0).any():
        raise ValueError("ZERO_BUFFER: buffer is 0; allowed is a positive amount")
    part = (liability_matrix("exposures", exposures, room.size).toarray() / room[:, None]).T
    return np.asarray((part >= 1.0) * 1.0 if binary else np.minimum(part, 1.0))


def communicability(adjacency: ArrayLike) -> Floats:
    """Return the matrix exponential, ``(node, node)``: paths of length k count for 1/k!.

    >>> communicability([[0.0, 1.0], [0.0, 0.0]]).tolist()
    [[1.0, 1.0], [0.0, 1.0]]
    """
    return np.asarray(expm(np.asarray(adjacency, np.float64)))


def susceptibility(reach: ArrayLike) -> Floats:
    """Return paths into each node over its direct ones, ``(node, node) -> (node,)``.

    ``reach`` is a matrix of ``vulnerability``. Above 1, a node is hit from beyond its neighbours;
    0 where nobody reaches it. The mean over nodes is the network's fluidity.

    >>> susceptibility(vulnerability([[0, 1, 0], [10, 0, 3], [3, 2, 0]], [2, 5, 2])).tolist()
    [0.0, 1.0, 1.25]
    """
    matrix = np.asarray(reach, np.float64)
    direct = matrix.sum(axis=0)
    paths = _paths(matrix).sum(axis=0)
    return np.asarray(np.divide(paths, direct, out=np.zeros_like(direct), where=direct > 0.0))


def diffusion(reach: ArrayLike) -> Diffusion:
    """Return how much of the others' reach is lost without each node, ``(node, node)``.

    For every node its row is struck out: the paths that are gone, over its direct ones, are those
    that it starts (its own row) and those that it passes on (the others').
    """
    matrix = np.asarray(reach, np.float64)
    whole = _paths(matrix)
    direct = matrix.sum(axis=1)
    start, intermediate = np.zeros(len(matrix)), np.zeros(len(matrix))
    for node in np.flatnonzero(direct > 0.0):
        without = matrix.copy()
        without[node] = 0.0
        gone = np.maximum(whole - _paths(without), 0.0).sum(axis=1) / direct[node]
        start[node], intermediate[node] = gone[node], np.delete(gone, node).sum()
    return Diffusion(start, intermediate)


def _paths(matrix: Floats) -> Floats:
    paths: Floats = communicability(matrix)
    np.fill_diagonal(paths, 0.0)
    return paths
