"""Which claims count one thing twice, and which stand for each other in a circle.

Everything is decided from the whole dataset and from no order of evaluation: a claim's findings say
what is true of it among all claims, whatever else is found.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from risk.claims.findings import bit
from risk.claims.tokens import NO_BACKING, Outcome
from risk.kernels.compilation import kernel
from risk.kernels.positions import read_only

Bits = NDArray[np.uint16]
Rows = NDArray[np.int64]

NO_END = -1
"""The end of a claim whose backings lead round in a circle."""

ENTERED, LEFT, CIRCULAR = 1, 2, 3
"""What is known of a claim while backings are followed."""


@dataclass(frozen=True, slots=True)
class Groups:
    """Rows that share something, in groups of two and more.

    ``offsets`` ``(group+1,)`` cuts ``rows``, which ascend within a group.
    """

    offsets: Rows
    rows: Rows

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def number(self) -> Rows:
        """Return the group of each row of ``rows``."""
        return np.repeat(np.arange(len(self)), np.diff(self.offsets))

    def named(self) -> list[list[int]]:
        """Return each group as a list."""
        return [part.tolist() for part in np.split(self.rows, self.offsets[1:-1])]


def groups_of(words: NDArray[np.uint64], chosen: NDArray[np.bool_]) -> Groups:
    """Return which of the chosen rows have equal words, ``(claim, 2), (claim,)``.

    Rows without words, all zero, share nothing.

    >>> words = np.array([[1, 1], [2, 2], [1, 1], [0, 0], [0, 0], [1, 3]], np.uint64)
    >>> groups_of(words, np.ones(6, np.bool_)).named()
    [[0, 2]]
    """
    rows = np.flatnonzero(chosen & ((words[:, 0] | words[:, 1]) != 0))
    # Most share nothing, and one sort of one word tells for nearly all of them.
    first = words[rows, 0]
    order = np.argsort(first)
    same = np.flatnonzero(np.diff(first[order]) == 0)
    rows = rows[order[np.unique(np.concatenate([same, same + 1]))]]
    rows = rows[np.lexsort((rows, words[rows, 1], words[rows, 0]))]
    return _groups(rows, (words[rows][1:] != words[rows][:-1]).any(axis=1))


def _groups(rows: Rows, begins: NDArray[np.bool_]) -> Groups:
    """Return the runs of two and more, each beginning where the one before is told apart."""
    starts = np.concatenate([[0], np.flatnonzero(begins) + 1])[: len(rows)]
    sizes = np.diff(np.append(starts, len(rows)))
    several = sizes > 1
    kept = np.repeat(several, sizes)
    offsets = np.concatenate([[0], np.cumsum(sizes[several])]).astype(np.int64)
    return Groups(offsets, rows[kept].astype(np.int64))


@dataclass(frozen=True, slots=True)
class Backings:
    """Where backings lead, ``(claim,)``.

    ``end`` is the last claim on the way, the claim itself without a backing, and -1 where the way
    leads round; ``circular`` tells which claims lie on a circle.
    """

    end: Rows
    circular: NDArray[np.bool_]

    def circles(self, backing: Rows) -> list[list[int]]:
        """Return each circle once, from its smallest row on in the direction of the backings."""
        named: set[int] = set()
        found = []
        for row in np.flatnonzero(self.circular).tolist():
            if row not in named:
                circle = [row]
                while (after := int(backing[circle[-1]])) != row:
                    circle.append(after)
                named.update(circle)
                found.append(circle)
        return found


def follow_backings(backing: Rows) -> Backings:
    """Return where each claim's backings lead, every claim visited once.

    Raises:
        ValueError: a backing that is no row of the claims.

    >>> found = follow_backings(np.array([1, 2, -1, 4, 3, 4]))
    >>> found.end.tolist(), found.circles(np.array([1, 2, -1, 4, 3, 4]))
    ([2, 2, 2, -1, -1, -1], [[3, 4]])
    """
    beyond = (backing < NO_BACKING) | (backing >= len(backing))
    if beyond.any():
        row = int(np.flatnonzero(beyond)[0])
        raise ValueError(
            f"claim {row} is a receipt for claim {backing[row]}; allowed are rows 0 to "
            f"{len(backing) - 1}, and -1 for none"
        )
    end = np.full(len(backing), NO_END, dtype=np.int64)
    state = np.zeros(len(backing), dtype=np.int8)
    _follow(read_only(backing, np.int64), np.empty(len(backing), np.int64), state, end)
    return Backings(end, state == CIRCULAR)


@kernel
def _follow(backing: Any, way: Any, state: Any, end: Any) -> None:
    """Walk from every claim until something is known, and write down on the way back."""
    for start in range(backing.size):
        steps, row = 0, start
        while row >= 0 and state[row] == 0:
            state[row] = ENTERED
            way[steps] = row
            steps += 1
            row = backing[row]
        if row >= 0 and state[row] == ENTERED:
            around = row
            while state[around] == ENTERED:
                state[around] = CIRCULAR
                around = backing[around]
        while steps > 0:
            steps -= 1
            row = way[steps]
            if state[row] == ENTERED:
                after = backing[row]
                end[row] = row if after < 0 else end[after]
                state[row] = LEFT


@dataclass(frozen=True, slots=True)
class Shared:
    """What claims share with others: findings ``(claim,)``, and who shares with whom."""

    found: Bits
    roots: Groups
    proofs: Groups
    ends: Groups
    circles: list[list[int]]


def shared_findings(
    root: NDArray[np.uint64],
    proof: NDArray[np.uint64],
    backing: Rows,
    *,
    free: NDArray[np.bool_],
    standing: NDArray[np.int8],
    seconds: NDArray[np.float64],
    chain: NDArray[np.int32],
    skew_seconds: float,
    double_count: Literal["none", "first"] = "none",
) -> Shared:
    """Return what the claims of a whole dataset count twice, ``(claim,)``.

    Only claims with something ``free`` can count anything twice; debts are never free. Of claims
    on one root, of one proof, or that lead by receipts to one claim, the one of the best
    ``standing`` counts; where several have it none does, or only the first of them in their order.
    So nobody's word, and no attestor's, spoils what another has proven. Claims on one root on
    several chains are skewed where they were read more than ``skew_seconds`` apart. Backings that
    lead round in a circle have nothing at their end.
    """
    found = np.zeros(len(backing), dtype=np.uint16)
    backings = follow_backings(backing)
    found[backings.end == NO_END] |= np.uint16(bit(Outcome.BACKING_CYCLE))
    roots, proofs = groups_of(root, free), groups_of(proof, free)
    ends = _ends(backings.end, free)
    for outcome, groups in (
        (Outcome.ROOT_TWICE, roots),
        (Outcome.PROOF_TWICE, proofs),
        (Outcome.BACKING_TWICE, ends),
    ):
        twice = _counted_twice(groups, standing, double_count)
        found[groups.rows[twice]] |= np.uint16(bit(outcome))
    skewed = _skewed(roots, seconds, chain, skew_seconds)
    skewed = skewed[found[skewed] & bit(Outcome.ROOT_TWICE) > 0]
    found[skewed] |= np.uint16(bit(Outcome.HEIGHT_SKEWED))
    return Shared(found, roots, proofs, ends, backings.circles(backing))


def _counted_twice(
    groups: Groups, standing: NDArray[np.int8], double_count: Literal["none", "first"]
) -> NDArray[np.bool_]:
    """Return which rows of the groups do not count, in the order of ``groups.rows``."""
    twice = np.ones(len(groups.rows), dtype=np.bool_)
    if not len(groups):
        return twice
    known = standing[groups.rows].astype(np.int64)
    best = np.minimum.reduceat(known, groups.offsets[:-1])
    leads = np.flatnonzero(known == best[groups.number()])
    group = groups.number()[leads]
    first = leads[np.unique(group, return_index=True)[1]]
    alone = np.bincount(group, minlength=len(groups)) == 1
    twice[first if double_count == "first" else first[alone]] = False
    return twice


def _ends(end: Rows, free: NDArray[np.bool_]) -> Groups:
    """Return which free claims lead to one end."""
    rows = np.flatnonzero(free & (end != NO_END))
    leads = np.bincount(end[rows], minlength=len(end))
    rows = rows[leads[end[rows]] > 1]
    rows = rows[np.lexsort((rows, end[rows]))]
    return _groups(rows, np.diff(end[rows]) != 0)


def _skewed(
    roots: Groups, seconds: NDArray[np.float64], chain: NDArray[np.int32], skew_seconds: float
) -> Rows:
    """Return the claims on one root that lie on several chains and were read too far apart."""
    if not len(roots):
        return roots.rows
    starts = roots.offsets[:-1]
    read, on = seconds[roots.rows], chain[roots.rows]
    apart = np.maximum.reduceat(read, starts) - np.minimum.reduceat(read, starts)
    several = np.maximum.reduceat(on, starts) != np.minimum.reduceat(on, starts)
    return np.asarray(roots.rows[((apart > skew_seconds) & several)[roots.number()]])
