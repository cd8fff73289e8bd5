"""What is different from an earlier run: of the instruments, and of what accounts hold."""

from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from risk.kernels.changes import mark_changed
from risk.margin.inputs import Holdings, Revaluation

BY_INSTRUMENT = ("cube", "value", "settlement", "priced")
"""Fields of a revaluation that touch the accounts that hold the instrument, and no other."""


def changed_instruments(then: Revaluation, now: Revaluation) -> NDArray[np.bool_] | None:
    """Return which instruments are revalued otherwise, ``(instrument,)``; None where more is.

    Both are of the same instruments by the same methodology.
    """
    if then.cube.shape != now.cube.shape or len(then.charges) != len(now.charges):
        return None
    changed = np.zeros(len(now.cube), dtype=np.bool_)
    pairs = [(getattr(then, name), getattr(now, name)) for name in BY_INSTRUMENT]
    for one, other in zip(then.charges, now.charges, strict=True):
        pairs += [(one.amount, other.amount), (one.volume, other.volume)]
    for one, other in pairs:
        changed |= (one != other).reshape(len(changed), -1).any(axis=1)
    others = [field.name for field in fields(Revaluation) if field.name not in BY_INSTRUMENT]
    others.remove("charges")
    return changed if all(_same(getattr(then, n), getattr(now, n)) for n in others) else None


def _same(one: Any, other: Any) -> bool:
    """Tell whether two values are equal, down to the last of their fields."""
    if type(one) is not type(other):
        return False
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and np.array_equal(one, other)
    if is_dataclass(one):
        return all(_same(getattr(one, f.name), getattr(other, f.name)) for f in fields(one))
    if isinstance(one, tuple | list):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other)


def changed_accounts(
    then: Holdings, now: Holdings, instruments: NDArray[np.bool_], assets: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Return which accounts are to be margined again, ``(account,)``.

    ``then`` and ``now`` are of the same accounts; ``instruments`` ``(instrument,)`` and ``assets``
    ``(asset,)`` tell which are valued otherwise.

    >>> from risk.collateral import AssetHoldings
    >>> held = AssetHoldings(np.array([0, 0]), np.zeros(0, np.int32), np.zeros(0))
    >>> def account(quantity):
    ...     return Holdings(
    ...         np.array([0, 1]), np.zeros(1, np.int32), np.array([quantity]),
    ...         np.zeros(1, np.int8), np.zeros(1), np.zeros(1, np.bool_), held,
    ...     )
    >>> nothing = np.zeros(1, np.bool_)
    >>> changed_accounts(account(2.0), account(2.0), nothing, nothing).tolist()
    [False]
    >>> changed_accounts(account(2.0), account(-2.0), nothing, nothing).tolist()
    [True]
    """
    if then.assets is None or now.assets is None:
        raise ValueError("holdings without their assets cannot be told apart")
    changed: NDArray[np.bool_] = (
        (then.margin_mode != now.margin_mode)
        | (then.collateral != now.collateral)
        | (then.held != now.held)
    )
    mark_changed(
        (then.offsets, then.instrument, then.quantity),
        (now.offsets, now.instrument, now.quantity),
        instruments,
        changed,
    )
    mark_changed(
        (then.assets.offsets, then.assets.asset, then.assets.quantity),
        (now.assets.offsets, now.assets.asset, now.assets.quantity),
        assets,
        changed,
    )
    return changed
