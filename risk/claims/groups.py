"""Amounts of tokens by what they are of: base assets, and where they lie."""

import numpy as np
from numpy.typing import NDArray

from risk.claims.lookthrough import LookThrough
from risk.claims.tokens import Feeds
from risk.summation import sum_by_group

Floats = NDArray[np.float64]


def by_asset(amount: Floats, found: LookThrough, feeds: Feeds) -> Floats:
    """Return amounts of tokens by base asset, ``(token, column) -> (asset, column)``.

    What a token comes to is shared out by the value of its base assets now, so that amounts sum to
    what they were; a token that rests on a cycle is of no asset.
    """
    owner = np.repeat(np.arange(len(amount)), np.diff(found.offsets))
    worth = found.units * np.minimum(feeds.oracle, feeds.market)[found.asset]
    whole = sum_by_group(worth, owner, len(amount))
    share = np.where(
        whole[owner] > 0.0, worth / np.where(whole[owner] > 0.0, whole[owner], 1.0), 0.0
    )
    shared = amount[owner] * share[:, np.newaxis]
    return sum_by_group(shared, found.asset.astype(np.int64), len(feeds.oracle))


def by_label(amount: Floats, label: NDArray[np.int32], labels: int) -> Floats:
    """Return amounts of tokens by a label of theirs, ``(token, column) -> (label, column)``."""
    return sum_by_group(amount, label.astype(np.int64), labels)


def concentration(amount: Floats) -> float:
    """Return the Herfindahl index of amounts: 1 where one has all, 1/n where n share alike.

    >>> concentration(np.array([1.0, 1.0, 0.0])), concentration(np.zeros(2))
    (0.5, 0.0)
    """
    total = float(amount.sum())
    return float(((amount / total) ** 2).sum()) if total > 0.0 else 0.0
