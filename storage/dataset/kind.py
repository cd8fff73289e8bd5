"""What a kind of dataset is called, and the errors that speak of it."""

from dataclasses import dataclass

PART_ACCOUNTS = 65_536
"""Accounts in one part: one file for each dataset that is cut into parts."""

BLOCK_ACCOUNTS = 4_096
"""Accounts in one row group of a part: the unit of summation, and of reading."""

MANIFEST = "manifest.json"
QUARANTINE = "quarantine.parquet"
HELD = "held.parquet"


def part_file(dataset: str, part: int) -> str:
    """Return the path of a part inside the dataset.

    >>> part_file("positions", 7)
    'positions/part-00007.parquet'
    """
    return f"{dataset}/part-{part:05d}.parquet"


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of dataset: its name in messages, the format it has, and its errors.

    Attributes:
        noun: what one is called, such as ``book``.
        make: how to make one, for the message that there is none.
        cache: folder of the user's cache where files of a remote one come to.
        format: number of the format that is read and written.
        error: something is wrong with a dataset.
        missing: there is no finished one at the path.
        exists: there is one already.
        damaged: a file is missing, cut off or changed.
        refused: what was given to the writer is none; the message starts with a code.
    """

    noun: str
    make: str
    cache: str
    format: int
    error: type[Exception]
    missing: type[Exception]
    exists: type[Exception]
    damaged: type[Exception]
    refused: type[Exception]
