"""Opening margin: what an account could hold on the day that it opened its positions.

This is no methodology. It keeps a synthetic book plausible, with most accounts solvent, whatever
methodology is run over it.
"""

import numpy as np
from numpy.typing import NDArray

from risk.synthetic.draws import run_starts, sums
from risk.synthetic.positions import Drawn
from risk.synthetic.universe import Universe


def opening_margin(
    drawn: Drawn, mode: NDArray[np.int8], universe: Universe
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the opening margin and the mark value of accounts, each ``(account,)`` in USD.

    The margin is the worst loss over the opening moves, summed over netting sets (``mode`` 0:
    each position, 1: each settlement currency, 2: the account), and no less than the charge on
    short options.
    """
    size = len(mode)
    value = sums(drawn.owner, drawn.lots * universe.value[drawn.instrument], size)
    sold = np.maximum(-drawn.lots, 0) * universe.short_charge[drawn.instrument]
    least = sums(drawn.owner, sold, size)
    if not len(drawn.owner):
        return least, value
    held = mode[drawn.owner]
    alone = np.where(held == 0, np.arange(len(held)), -1)
    currency = np.where(held == 1, universe.settlement[drawn.instrument], -1)
    starts = run_starts(drawn.owner, alone, currency)
    gain = universe.gain[drawn.instrument]
    gain *= drawn.lots[:, None]
    worst = np.maximum(-np.add.reduceat(gain, starts, axis=0).min(axis=1), 0.0)
    return np.maximum(sums(drawn.owner[starts], worst, size), least), value


def shrink(
    drawn: Drawn,
    mode: NDArray[np.int8],
    collateral: NDArray[np.float64],
    use: NDArray[np.float64],
    universe: Universe,
) -> Drawn:
    """Return positions cut, account by account, until margin takes at most ``use`` of equity.

    ``collateral`` is ``(account,)``, USD after haircuts. Margin and mark value are in proportion
    to the positions, so one factor per account does it; lots are rounded towards zero.
    """
    margin, value = opening_margin(drawn, mode, universe)
    room = use * collateral
    need = margin - use * value
    factor = np.divide(room, need, out=np.ones_like(need), where=need > room)
    lots = np.trunc(drawn.lots * factor[drawn.owner]).astype(np.int64)
    held = lots != 0
    return Drawn(drawn.owner[held], drawn.instrument[held], lots[held])
