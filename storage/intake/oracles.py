"""What is wrong with a price of an oracle: rounds that stand still, sources that disagree."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from storage.intake import cells
from storage.intake.cells import Booleans
from storage.intake.checks import Check, Rows, apply
from storage.intake.history import MarketLimits, series

_ROUND_DIGITS = 40  # Chainlink's have 21: a phase in the upper bits, a count in the lower
_WHOLE = rf"^\d{{1,{_ROUND_DIGITS}}}$"


def check_oracles(rows: Rows, limits: MarketLimits) -> None:
    """Set prices aside whose round does not advance, or that a second source contradicts."""
    whole = cells.matches(rows.text["round"], _WHOLE)
    apply(
        [
            Check(
                "ORACLE_DIVERGENCE",
                "second_source",
                lambda r: r.has("second_source") & ~agrees(r, limits),
                allowed=f"within {limits.divergence:g} of the close",
            ),
            Check(
                "NUMBER_INVALID",
                "round",
                lambda r: r.has("round") & ~whole,
                allowed=f"a whole number of at most {_ROUND_DIGITS} digits",
            ),
        ],
        rows,
    )
    allowed = f"a round that rises, a new one within {limits.stale_after}"
    rows.flag("ORACLE_STUCK", "round", _stuck(rows, whole, limits), allowed=allowed)


def agrees(rows: Rows, limits: MarketLimits) -> Booleans:
    """Return which closes a second source confirms, within the limit, (row,)."""
    with np.errstate(all="ignore"):
        apart = np.abs(np.log(rows.number("second_source") / rows.number("close")))
    return np.asarray(apart <= np.log1p(limits.divergence))


def _stuck(rows: Rows, whole: Booleans, limits: MarketLimits) -> Booleans:
    """Return which prices are of a round that fell back, or that is too old, (row,)."""
    stuck = np.zeros(len(rows), np.bool_)
    if not whole.any():
        return stuck
    # Padded to one length, text is in the order of the numbers, which 64 bits may not hold.
    padded = pc.utf8_lpad(pc.if_else(pa.array(whole), rows.text["round"], ""), _ROUND_DIGITS, "0")
    rank = np.asarray(pc.rank(padded, tiebreaker="dense")).astype(np.int64)
    longest = limits.stale_after.total_seconds() * 1e6
    for _, index in series(rows):
        index = index[whole[index]]
        if not len(index):
            continue
        mine, time = rank[index], rows.instant("timestamp")[index]
        newest = np.maximum.accumulate(mine)
        first = np.append(True, newest[1:] > newest[:-1])
        since = time[np.maximum.accumulate(np.where(first, np.arange(len(index)), 0))]
        stuck[index] = (mine < newest) | (time - since > longest)
    return stuck
