"""Bilateral exposures that nobody reports, from what each node holds and owes in all.

Maximum entropy spreads every claim over everybody: the most even matrix, which hides
concentration. Minimum density puts claims on few links: contagion is rarer and deeper. The truth
is unknown; a stress is run on both, and the result says which it is.

Sources: maximum entropy with a zero diagonal, C. Upper and A. Worms (2004); both, K. Anand,
B. Craig, G. von Peter, "Filling in the blanks: network structure and interbank contagion" (2015).
"""

import heapq
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import csr_array

from risk.systemic.network import Floats, amounts

SWEEPS = 10_000
_SAME = 1e-9


@dataclass(frozen=True, slots=True)
class Reconstruction:
    """Claims ``(node, node)``, sparse, rows hold and columns owe; and how they were made."""

    matrix: Any
    method: Literal["maximum entropy", "minimum density"]


@dataclass(frozen=True, slots=True)
class EvenClaims:
    """Claims of maximum entropy: ``holder[i] * debtor[j]`` where i is not j, ``(node,)`` each.

    Two vectors are the whole matrix, which for tens of thousands of nodes fits no memory.
    """

    holder: Floats
    debtor: Floats

    def reconstruction(self) -> Reconstruction:
        """Return the matrix itself, all of it: ``node * node`` numbers."""
        matrix = np.outer(self.holder, self.debtor)
        np.fill_diagonal(matrix, 0.0)
        return Reconstruction(csr_array(matrix), "maximum entropy")


def maximum_entropy(
    assets: ArrayLike, liabilities: ArrayLike, tolerance: float = 1e-12
) -> EvenClaims:
    """Return the claims that are most even, given what each node holds and owes, ``(node,)`` twice.

    Rows and columns are scaled in turn until both sums hold within ``tolerance`` of the total
    (RAS, iterative proportional fitting).

    Raises:
        ValueError: the totals disagree, a node holds more than all others owe, or the sums are
            not met after 10,000 sweeps.

    >>> maximum_entropy([1.0, 2.0], [2.0, 1.0]).reconstruction().matrix.toarray().tolist()
    [[0.0, 1.0], [2.0, 0.0]]
    """
    held, owed = _margins(assets, liabilities)
    total = held.sum()
    holder, debtor = held.copy(), owed / total if total > 0.0 else owed.copy()
    for _ in range(SWEEPS):
        holder = _scaled(held, debtor)
        debtor = _scaled(owed, holder)
        gap = np.abs(holder * (debtor.sum() - debtor) - held).max(initial=0.0)
        if gap <= tolerance * total:
            return EvenClaims(holder, debtor)
    raise ValueError(
        f"sums are missed by {gap:.3g} of {total:.6g} after {SWEEPS:,} sweeps: one node holds "
        "about as much as all others owe; raise the tolerance"
    )


def minimum_density(assets: ArrayLike, liabilities: ArrayLike) -> Reconstruction:
    """Return claims on few links, given what each node holds and owes, ``(node,)`` twice.

    The node that still holds most is matched with the node that still owes most, for all that
    both allow, equal amounts by the lower row. Every link fills a sum, so that there are fewer
    links than holders and debtors together, and some more where the last has only itself left.
    Deterministic; few, and not proven the fewest, for that problem is hard.

    Raises:
        ValueError: the totals disagree, or a node holds more than all others owe.

    >>> minimum_density([3.0, 1.0, 0.0], [0.0, 2.0, 2.0]).matrix.nnz
    3
    """
    held, owed = _margins(assets, liabilities)
    links: dict[tuple[int, int], float] = {}
    holders = [(-amount, node) for node, amount in enumerate(held.tolist()) if amount > 0.0]
    debtors = [(-amount, node) for node, amount in enumerate(owed.tolist()) if amount > 0.0]
    heapq.heapify(holders)
    heapq.heapify(debtors)
    while holders and debtors:
        has, holder = heapq.heappop(holders)
        owes, debtor = heapq.heappop(debtors)
        if holder == debtor:
            # Either sum may go to the next in line; the larger of the two alternatives is taken.
            if debtors and (not holders or debtors[0][0] <= holders[0][0]):
                other = heapq.heappop(debtors)
                heapq.heappush(debtors, (owes, debtor))
                owes, debtor = other
            elif holders:
                other = heapq.heappop(holders)
                heapq.heappush(holders, (has, holder))
                has, holder = other
            else:
                _through_others(links, holder, min(-has, -owes))
                break
        amount = min(-has, -owes)
        links[holder, debtor] = links.get((holder, debtor), 0.0) + amount
        if -has > amount:
            heapq.heappush(holders, (has + amount, holder))
        if -owes > amount:
            heapq.heappush(debtors, (owes + amount, debtor))
    rows, columns = np.array(list(links), np.int64).reshape(-1, 2).T
    values = np.array(list(links.values()))
    matrix = csr_array((values, (rows, columns)), (len(held), len(held)))
    return Reconstruction(matrix, "minimum density")


def _through_others(links: dict[tuple[int, int], float], node: int, amount: float) -> None:
    """Place what a node would owe itself: it takes over links of others, the largest first."""
    foreign = sorted((-size, link) for link, size in links.items() if node not in link)
    for size, (holder, debtor) in foreign:
        moved = min(amount, -size)
        links[holder, debtor] -= moved
        if links[holder, debtor] == 0.0:
            del links[holder, debtor]
        links[node, debtor] = links.get((node, debtor), 0.0) + moved
        links[holder, node] = links.get((holder, node), 0.0) + moved
        amount -= moved
        if amount <= 0.0:
            return


def _scaled(margin: Floats, other: Floats) -> Floats:
    """Return margin over the sum of the others' factors, zero where the margin is."""
    rest = other.sum() - other
    return np.asarray(np.divide(margin, rest, out=np.zeros_like(margin), where=margin > 0.0))


def _margins(assets: ArrayLike, liabilities: ArrayLike) -> tuple[Floats, Floats]:
    given = np.asarray(assets, np.float64)
    held = amounts("assets", given, given.size)
    owed = amounts("liabilities", liabilities, given.size)
    total = max(float(held.sum()), float(owed.sum()))
    if abs(held.sum() - owed.sum()) > _SAME * total:
        raise ValueError(
            f"assets add up to {held.sum():.12g} and liabilities to {owed.sum():.12g}; they are "
            "the same claims and must agree, an outside node takes a difference"
        )
    excess = held + owed - total
    if (excess > _SAME * total).any():
        node = int(excess.argmax())
        raise ValueError(
            f"node {node} holds {held[node]:.12g} and owes {owed[node]:.12g} of {total:.12g}: more "
            "than all others together can owe and hold"
        )
    return held, owed
