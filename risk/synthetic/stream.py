"""Random numbers by address: a seed, a purpose and a number, with nothing drawn in between."""

from enum import IntEnum

import numpy as np


class Purpose(IntEnum):
    """What a stream is drawn for; each has streams of its own."""

    CLIENTS = 1
    MAKERS = 2
    MAKER_COLLATERAL = 3
    CLAIMS = 4
    PLANTS = 5
    PLANTED_IDENTITY = 6


def stream(seed: int, purpose: Purpose, number: int) -> np.random.Generator:
    """Return the generator at an address; Philox counts, so streams cannot run into each other.

    Raises:
        ValueError: the seed does not fit 64 bits without a sign.

    >>> first, again = (stream(7, Purpose.CLIENTS, 3).random(2).tolist() for _ in range(2))
    >>> first == again, first == stream(7, Purpose.CLIENTS, 4).random(2).tolist()
    (True, False)
    """
    if not 0 <= seed < 1 << 64:
        raise ValueError(f"seed {seed} is out of range; allowed is 0 to {(1 << 64) - 1}")
    key = np.array([seed, purpose], dtype=np.uint64)
    counter = np.array([0, 0, 0, number], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=counter))
