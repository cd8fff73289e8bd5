"""Shards: contiguous runs of whole blocks of accounts, the unit of work, retry and storage."""

import math
from dataclasses import dataclass

from risk.summation import BLOCK_ACCOUNTS
from storage.book import BLOCK_ACCOUNTS as STORED_BLOCK_ACCOUNTS
from storage.book import PART_ACCOUNTS

assert BLOCK_ACCOUNTS == STORED_BLOCK_ACCOUNTS, "a stored block is the unit of summation"

SHARD_BLOCKS = PART_ACCOUNTS // BLOCK_ACCOUNTS
"""Blocks in a shard when nobody asks for a number of shards: one part of a stored book."""


@dataclass(frozen=True, slots=True)
class Shard:
    """A contiguous run of rows: of accounts, or of instruments when the cube is priced."""

    index: int
    start: int
    stop: int


def shard_length(accounts: int, shards: int | None = None) -> int:
    """Return the accounts in each shard but the last: whole blocks, for about ``shards`` shards.

    Raises:
        ValueError: ``shards`` is not positive.

    >>> shard_length(1_000_000), shard_length(1_000_000, 7)
    (65536, 143360)
    """
    if shards is None:
        return SHARD_BLOCKS * BLOCK_ACCOUNTS
    if shards < 1:
        raise ValueError(f"shards is {shards}; allowed is 1 or more")
    blocks = math.ceil(accounts / BLOCK_ACCOUNTS)
    return math.ceil(blocks / shards) * BLOCK_ACCOUNTS


def cut(rows: int, length: int) -> list[Shard]:
    """Cut rows into shards of ``length`` rows.

    >>> cut(5, 2)[-1]
    Shard(index=2, start=4, stop=5)
    """
    starts = range(0, rows, length)
    return [Shard(index, start, min(start + length, rows)) for index, start in enumerate(starts)]
