"""Quotes that contradict each other: spreads, butterflies and calendars that give money away.

Every quote is taken as a call by put-call parity, in parts of its forward, at its strike over its
forward. A call is then worth no less where its strike is lower, and no more than the distance of
the strikes more; it bends upwards in the strike, and rises with the expiry at equal moneyness
(Carr and Madan 2005, "A note on sufficient conditions for no arbitrage").
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from itertools import groupby, pairwise
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from storage.intake.checks import Rows
from storage.intake.history import MarketLimits

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Found = dict[int, str]
"""What was seen, by the row of the file."""


class Chain(NamedTuple):
    """Calls or puts of one expiry by rising moneyness, ``(quote,)`` each but for the first two."""

    group: tuple[int, bool]  # number of the underlying, whether puts
    expiry: int  # microseconds since 1970
    row: Integers
    strike: Floats
    moneyness: Floats
    call: Floats


def check_arbitrage(rows: Rows, limits: MarketLimits) -> None:
    """Set quotes aside that no prices without arbitrage lie within the limit of.

    What contradicts each other is set aside together: nobody knows which of them is wrong.
    """
    for code, find in (("ARB_VERTICAL", _verticals), ("ARB_BUTTERFLY", _butterflies)):
        found: Found = {}
        for chain in _chains(rows):
            found |= find(chain, limits.arbitrage)
        _flag(rows, limits, code, found)
    found = {}
    for _, chains in groupby(_chains(rows), key=lambda chain: chain.group):
        for near, far in pairwise(chains):
            found |= _calendars(near, far, limits.arbitrage)
    _flag(rows, limits, "ARB_CALENDAR", found)


def _chains(rows: Rows) -> Iterator[Chain]:
    """Yield the chains of the rows that are good so far, by group and then by expiry."""
    good = rows.good()
    if not len(good):
        return
    underlying = np.asarray(rows.text["underlying"].dictionary_encode().indices, np.int64)[good]
    puts, expiry = rows.is_in("option_type", "put")[good], rows.instant("expiry")[good]
    strike = rows.number("strike")[good]
    with np.errstate(over="ignore"):
        moneyness = strike / rows.number("forward")[good]
    call = rows.number("mark")[good] + np.where(puts, 1.0 - moneyness, 0.0)
    order = np.lexsort((moneyness, expiry, puts, underlying))
    key = np.stack([underlying, puts, expiry])[:, order]
    starts = np.flatnonzero(np.append(True, (np.diff(key) != 0).any(axis=0)))
    for part in np.split(order, starts[1:]):
        first = part[0]
        yield Chain(
            (int(underlying[first]), bool(puts[first])),
            int(expiry[first]),
            good[part],
            strike[part],
            moneyness[part],
            call[part],
        )


def _verticals(chain: Chain, limit: float) -> Found:
    with np.errstate(invalid="ignore"):
        width = np.diff(chain.moneyness)
        spread = -np.diff(chain.call)
        wrong = np.flatnonzero((spread < -limit) | (spread > width + limit))
    found: Found = {}
    for at in wrong.tolist():
        low, high = chain.strike[at : at + 2]
        seen = f"{low:g} over {high:g} is worth {spread[at]:.4f}, and can pay {width[at]:.4f}"
        found |= dict.fromkeys(chain.row[at : at + 2].tolist(), seen)
    return found


def _butterflies(chain: Chain, limit: float) -> Found:
    moneyness, call = chain.moneyness, chain.call
    with np.errstate(invalid="ignore", divide="ignore"):
        weight = (moneyness[2:] - moneyness[1:-1]) / (moneyness[2:] - moneyness[:-2])
        worth = weight * call[:-2] + (1.0 - weight) * call[2:] - call[1:-1]
        wrong = np.flatnonzero(worth < -limit)
    found: Found = {}
    for at in wrong.tolist():
        strikes = ", ".join(f"{strike:g}" for strike in chain.strike[at : at + 3])
        seen = f"the butterfly {strikes} is worth {worth[at]:.4f}"
        found |= dict.fromkeys(chain.row[at : at + 3].tolist(), seen)
    return found


def _calendars(near: Chain, far: Chain, limit: float) -> Found:
    """Return what is dearer than a line between two quotes of the later expiry, above its curve."""
    above = np.searchsorted(far.moneyness, near.moneyness)
    inside = np.flatnonzero((above > 0) & (above < len(far.row)))
    worth = np.interp(near.moneyness[inside], far.moneyness, far.call) - near.call[inside]
    wrong = np.flatnonzero(worth < -limit)
    found: Found = {}
    for at, gain in zip(inside[wrong].tolist(), worth[wrong].tolist(), strict=True):
        days = " than ".join(_day(chain.expiry) for chain in (near, far))
        seen = f"{near.strike[at]:g} is worth {-gain:.4f} more on {days}"
        rows = (near.row[at], *far.row[above[at] - 1 : above[at] + 1])
        found |= dict.fromkeys(map(int, rows), seen)
    return found


def _day(moment: int) -> str:
    return f"{datetime.fromtimestamp(moment / 1_000_000, UTC):%Y-%m-%d}"


def _flag(rows: Rows, limits: MarketLimits, code: str, found: Mapping[int, str]) -> None:
    mask = np.zeros(len(rows), np.bool_)
    mask[list(found)] = True
    seen = pa.array([found.get(row, "") for row in range(len(rows))], pa.string())
    limit = f"no gain beyond {limits.arbitrage:g} of the forward"
    rows.flag(code, "mark", mask, values=seen, allowed=limit)
