"""Positions: which instruments, which way, how many lots."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from risk.synthetic.accounts import Accounts
from risk.synthetic.draws import pick, run_starts, sums
from risk.synthetic.profile import SPOT, Profile
from risk.synthetic.universe import Universe


@dataclass(frozen=True, slots=True)
class Drawn:
    """Positions of a run of accounts, ``(position,)``, sorted by owner, then by instrument row.

    ``owner`` counts from the first account of the run; ``lots`` is signed, never zero.
    """

    owner: NDArray[np.int64]
    instrument: NDArray[np.int32]
    lots: NDArray[np.int64]


def position_limits(universe: Universe, accounts: int, profile: Profile) -> NDArray[np.int64]:
    """Return the most lots of each instrument that one client may hold, at least one.

    A book of few accounts could not fill its open interest under the limit of a large one, so
    the limit widens with one over the root of their number.
    """
    fraction = min(profile.position_limit + 2.0 / np.sqrt(accounts), 0.5)
    return np.maximum(np.asarray(universe.target * fraction, dtype=np.int64), 1)


def draw_positions(
    accounts: Accounts,
    universe: Universe,
    limits: NDArray[np.int64],
    profile: Profile,
    rng: np.random.Generator,
) -> Drawn:
    """Draw the positions that accounts would like to hold, before anybody asks for margin."""
    owner = np.repeat(np.arange(len(accounts.count)), accounts.count)
    size = len(owner)
    style = accounts.style[owner]
    shares = profile.group * universe.offered()
    group = pick(shares, style, rng.random(size))
    order, edges = universe.choice()
    instrument = order[np.searchsorted(edges, group + rng.random(size), side="right")]

    weight = rng.standard_exponential(size)
    total = sums(owner, weight, len(accounts.count))
    notional = (accounts.gross / np.maximum(total, 1e-300))[owner] * weight
    lots = np.rint(np.minimum(notional / universe.notional[instrument], limits[instrument]))
    held = np.flatnonzero(lots)
    owner, instrument, group, lots = owner[held], instrument[held], group[held], lots[held]

    put = (group <= 1) & ~universe.is_call[instrument]
    follows = rng.random(len(held)) < profile.follow[style[held], group]
    side = accounts.view[owner] * np.where(put == follows, -1, 1)
    # Coins are bought to be held: whoever sells spot short has borrowed them first.
    side[(group == SPOT) & (rng.random(len(held)) < profile.spot_held)] = 1
    merged = merge(owner, instrument, lots.astype(np.int64) * side, len(universe))
    limit = limits[merged.instrument]
    return Drawn(merged.owner, merged.instrument, np.clip(merged.lots, -limit, limit))


def merge(
    owner: NDArray[np.int64],
    instrument: NDArray[np.int32],
    lots: NDArray[np.int64],
    instruments: int,
) -> Drawn:
    """Return positions with one row per owner and instrument, sorted, none of them zero.

    >>> drawn = merge(np.array([1, 0, 1]), np.array([2, 5, 2]), np.array([4, -1, -3]), 9)
    >>> drawn.owner.tolist(), drawn.instrument.tolist(), drawn.lots.tolist()
    ([0, 1], [5, 2], [-1, 1])
    """
    key = owner * instruments + instrument
    order = np.argsort(key, kind="stable")
    key = key[order]
    starts = run_starts(key)
    summed = np.add.reduceat(lots[order], starts) if len(starts) else lots[:0]
    held = summed != 0
    key = key[starts][held]
    return Drawn(key // instruments, (key % instruments).astype(np.int32), summed[held])
