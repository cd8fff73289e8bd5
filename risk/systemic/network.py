"""Matrices of claims between nodes: rows owe columns, amounts are money and never negative."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import coo_array, csr_array

Floats = NDArray[np.float64]


def liability_matrix(name: str, liabilities: Any, nodes: int | None = None) -> Any:
    """Return what row nodes owe column nodes as a CSR array of shape ``(node, node)``.

    Takes a dense array or any sparse one; amounts of the same two nodes are added up.

    Raises:
        ValueError: it is not square, of another size than ``nodes``, or holds an amount that is
            negative or not finite, or that a node owes itself.

    >>> liability_matrix("liabilities", [[0.0, 2.0], [0.0, 0.0]]).nnz
    1
    """
    given = liabilities if hasattr(liabilities, "tocsr") else np.asarray(liabilities, np.float64)
    matrix = csr_array(given, dtype=np.float64)
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    size = matrix.shape[0] if nodes is None else nodes
    if matrix.shape != (size, size):
        raise ValueError(f"{name} has the shape {matrix.shape}; allowed is ({size}, {size})")
    refused = ~((matrix.data >= 0.0) & (matrix.data < np.inf))
    if refused.any():
        raise ValueError(
            f"NETWORK_INVALID: {name} holds {matrix.data[refused][0]}; allowed is a finite "
            "amount of 0 up, for what is owed the other way stands in the other node's row"
        )
    own = np.flatnonzero(matrix.diagonal())
    if len(own):
        raise ValueError(
            f"NETWORK_INVALID: {name}: node {own[0]} owes itself; leave such claims out"
        )
    return matrix


def from_links(debtor: ArrayLike, creditor: ArrayLike, amount: ArrayLike, nodes: int) -> Any:
    """Return the matrix of single claims, three times ``(claim,)`` -> ``(node, node)``.

    Raises:
        ValueError: a node is not there, or the matrix is refused.

    >>> from_links([0, 0], [1, 1], [2.0, 3.0], 2).toarray().tolist()
    [[0.0, 5.0], [0.0, 0.0]]
    """
    rows, columns = (np.asarray(one, np.int64) for one in (debtor, creditor))
    for role, number in (("debtor", rows), ("creditor", columns)):
        away = (number < 0) | (number >= nodes)
        if away.any():
            raise ValueError(
                f"{role} {number[away][0]} is no node; allowed are rows 0 to {nodes - 1}"
            )
    amounts = np.asarray(amount, np.float64)
    return liability_matrix("amount", coo_array((amounts, (rows, columns)), (nodes, nodes)), nodes)


def amounts(name: str, values: ArrayLike, nodes: int) -> Floats:
    """Return one non-negative amount a node, ``(node,)``; a scalar is every node's.

    Raises:
        ValueError: the shape is another, or an amount is negative or not finite.
    """
    given = np.asarray(values, np.float64)
    if given.ndim and given.shape != (nodes,):
        raise ValueError(f"{name} has the shape {given.shape}; allowed is ({nodes},)")
    refused = ~((given >= 0.0) & (given < np.inf))
    if refused.any():
        raise ValueError(
            f"{name} is {np.atleast_1d(given)[np.atleast_1d(refused)][0]}; allowed is a finite "
            "amount of 0 up"
        )
    return np.broadcast_to(given, (nodes,)).astype(np.float64)


def fractions(name: str, values: ArrayLike, nodes: int) -> Floats:
    """Return one fraction a node, ``(node,)``, between 0 and 1.

    Raises:
        ValueError: the shape is another, or a value is no fraction.
    """
    given = amounts(name, values, nodes)
    if (given > 1.0).any():
        raise ValueError(f"{name} is {given.max():g}; allowed is a fraction from 0 to 1")
    return given
