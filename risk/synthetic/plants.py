"""Faults that are put into synthetic claims to be found: who has which, decided beforehand.

A group of accounts shares one fault, such as two claims on one root. Groups are planned over the
whole book before any block is drawn, so that their members may lie in different blocks.
"""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from risk.synthetic.stream import Purpose, stream


class Plant(IntEnum):
    """A fault of one claim, or of a group of claims of different accounts."""

    ROOT_TWICE = 0
    PROOF_TWICE = 1
    BACKING_TWICE = 2
    BACKING_CYCLE = 3
    RECIPE_CYCLE = 4
    NOT_FINAL = 5
    HEIGHT_SKEWED = 6


SIZES = {
    Plant.ROOT_TWICE: (2, 4),
    Plant.PROOF_TWICE: (2, 3),
    Plant.BACKING_TWICE: (2, 2),
    Plant.BACKING_CYCLE: (2, 7),
    Plant.RECIPE_CYCLE: (1, 1),
    Plant.NOT_FINAL: (1, 1),
    Plant.HEIGHT_SKEWED: (1, 1),
}
"""Least and most members of a group; choice."""

IN_ONE_BLOCK = (Plant.BACKING_TWICE, Plant.BACKING_CYCLE)
"""Plants whose claims point at each other's rows."""

GROUPS = (6, 24)
"""Range of the number of groups of each plant, for each of the ``ACCOUNTS``; choice."""

ACCOUNTS = 100_000

AWAY_EVERY = 3
"""Of so many groups that share a root one shows it on two chains; choice."""

MOST_PLANTED = 0.25
"""Share of the accounts that may be in a group at most; choice."""


@dataclass(frozen=True, slots=True)
class Plants:
    """Who has which fault, sorted by account; shapes ``(member,)``, one account at most once.

    ``kind`` is a ``Plant``, ``group`` numbers the groups from 0, ``place`` counts the members
    within their group.
    """

    account: NDArray[np.int64]
    kind: NDArray[np.int8]
    group: NDArray[np.int64]
    place: NDArray[np.int64]

    @property
    def away(self) -> NDArray[np.bool_]:
        """Which members show a balance on another chain that was read long before, ``(member,)``.

        It is the second member of some groups that share a root.
        """
        some = self.group % AWAY_EVERY == 0
        return np.asarray((self.kind == Plant.ROOT_TWICE) & (self.place == 1) & some)

    def between(self, start: int, stop: int) -> "Plants":
        """Return the members among the accounts ``[start, stop)``, which count from ``start``."""
        low, high = np.searchsorted(self.account, [start, stop]).tolist()
        rows = slice(low, high)
        return Plants(
            self.account[rows] - start, self.kind[rows], self.group[rows], self.place[rows]
        )


def plan_plants(seed: int, able: NDArray[np.bool_], block_accounts: int) -> Plants:
    """Return which accounts have which fault; the same arguments give the same plan.

    Groups are tried in turn, one of each plant, until there are as many as were drawn, or no room
    is left. Lengths of cycles are tried in turn, so that a large book has each.

    Args:
        seed: of the claims.
        able: which accounts hold enough to be planted, ``(account,)``.
        block_accounts: accounts in a block.
    """
    rng = stream(seed, Purpose.PLANTS, 0)
    scale = max(len(able) // ACCOUNTS, 1)
    wanted = {plant: int(rng.integers(*GROUPS)) * scale for plant in Plant}
    left = _accounts_by_block(rng.permutation(np.flatnonzero(able)), block_accounts)
    room = int(MOST_PLANTED * np.count_nonzero(able))
    members: list[tuple[int, int, int, int]] = []
    number = 0
    for turn in range(max(wanted.values())):
        for plant in Plant:
            if turn >= wanted[plant]:
                continue
            least, most = SIZES[plant]
            size = least + turn % (most - least + 1)
            chosen = _take(left, size, rng, one_block=plant in IN_ONE_BLOCK)
            if not chosen or len(members) + size > room:
                continue
            members += [(account, plant, number, place) for place, account in enumerate(chosen)]
            number += 1
    columns = np.array(sorted(members), np.int64).reshape(-1, 4).T
    return Plants(columns[0], columns[1].astype(np.int8), columns[2], columns[3])


def planted_identity(seed: int, group: int) -> NDArray[np.uint64]:
    """Return the sixteen bytes that the members of a group share, ``(2,)``."""
    rng = stream(seed, Purpose.PLANTED_IDENTITY, group)
    return rng.integers(1, 1 << 63, 2, dtype=np.uint64)


def _accounts_by_block(accounts: NDArray[np.int64], block_accounts: int) -> dict[int, list[int]]:
    blocks: dict[int, list[int]] = {}
    for account in accounts.tolist():
        blocks.setdefault(account // block_accounts, []).append(account)
    return blocks


def _take(
    left: dict[int, list[int]], size: int, rng: np.random.Generator, *, one_block: bool
) -> list[int]:
    """Take so many accounts out of those that are left, or none where there are too few."""
    blocks = sorted(block for block, accounts in left.items() if accounts)
    if not blocks:
        return []
    if one_block:
        block = blocks[int(rng.integers(len(blocks)))]
        accounts = left[block]
        return [accounts.pop() for _ in range(size)] if len(accounts) >= size else []
    if sum(len(left[block]) for block in blocks) < size:
        return []
    chosen: list[int] = []
    while len(chosen) < size:
        accounts = left[blocks[int(rng.integers(len(blocks)))]]
        if accounts:
            chosen.append(accounts.pop())
    return chosen
