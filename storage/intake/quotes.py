"""What is wrong with quotes: by themselves, against the price of the coin, and in pairs."""

from collections.abc import Mapping
from datetime import datetime

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from storage.intake.cells import Booleans
from storage.intake.checks import Check, Rows
from storage.intake.history import MarketLimits
from storage.market import IndexPrice
from storage.quarantine import Finding

UNIT = "USD"
_NEAR_POWER = 0.1  # of a decade


def price_checks(column: str) -> list[Check]:
    """Return the checks of a price that must be above zero."""
    return [
        Check("PRICE_MISSING", column, lambda rows: np.isnan(rows.number(column))),
        Check("PRICE_NOT_FINITE", column, lambda rows: np.isinf(rows.number(column))),
        Check("PRICE_NON_POSITIVE", column, lambda rows: rows.number(column) <= 0.0),
    ]


def unit_check() -> Check:
    """Return the check of the column that states the unit."""
    return Check(
        "UNIT_MISMATCH",
        "price_unit",
        lambda rows: ~rows.is_in("price_unit", UNIT),
        allowed=f"{UNIT} in every row",
    )


def quote_checks(rows: Rows, as_of: datetime, limits: MarketLimits) -> list[Check]:
    """Return the checks of quotes by themselves."""
    instant = int(as_of.timestamp() * 1_000_000)
    expiry, quoted = rows.instant("expiry"), rows.instant("timestamp")
    mark, forward = rows.number("mark"), rows.number("forward")
    strike = rows.number("strike")
    volatility = rows.number("volatility")
    oldest = instant - int(limits.stale_after.total_seconds() * 1_000_000)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        most = np.where(rows.is_in("option_type", "put"), strike / forward, 1.0)
    above = (mark > most) & np.isfinite(mark) & ~rows.bad
    mostly = above.sum() * 2 > (~rows.bad).sum()
    return [
        Check("PRICE_MISSING", "mark", lambda _: np.isnan(mark)),
        Check("PRICE_NOT_FINITE", "mark", lambda _: np.isinf(mark)),
        Check("PRICE_NON_POSITIVE", "mark", lambda _: mark < 0.0, allowed="0 or more"),
        *price_checks("forward"),
        Check("TERMS_MISMATCH", "strike", lambda _: ~(strike > 0.0)),
        Check("NUMBER_INVALID", "open_interest", lambda r: r.number("open_interest") < 0.0),
        unit_check(),
        Check(
            "UNIT_MISMATCH",
            "mark",
            lambda _: above,
            severity="refuse" if mostly else "quarantine",
            allowed="coins: a call is worth at most 1, a put at most strike/forward",
            action="divide marks in USD by the forward",
        ),
        Check("FUTURE_DATA", "timestamp", lambda _: quoted > instant),
        Check("STALE_PRICE", "timestamp", lambda _: quoted < oldest),
        Check("EXPIRED_OPEN", "expiry", lambda _: expiry < instant),
        Check("EXPIRY_AT_AS_OF", "expiry", lambda _: expiry == instant),
        Check("VOL_NEGATIVE", "volatility", lambda _: volatility < 0.0),
        Check("VOL_UNIT", "volatility", lambda _: volatility > limits.largest_volatility),
        Check("VOL_ZERO", "volatility", lambda _: volatility == 0.0),
    ]


def levels(
    prices: Rows, as_of: datetime, indexes: Mapping[str, IndexPrice]
) -> dict[str, tuple[float, float]]:
    """Return the last close at or before the instant of every underlying, and its index price."""
    instant = int(as_of.timestamp() * 1_000_000)
    time = prices.instant("timestamp")
    index = prices.good()
    index = index[time[index] <= instant]
    index = index[np.argsort(time[index], kind="stable")]
    names = prices.text["underlying"].take(pa.array(index)).to_pylist()
    last: dict[str, float] = dict(zip(names, prices.number("close")[index].tolist(), strict=True))
    known = {name: entry.price for name, entry in indexes.items()}
    # Where one of the two is not there, the other stands for both.
    return {name: ((known | last)[name], (last | known)[name]) for name in {*last, *known}}


def set_swapped_aside(
    rows: Rows, level: Mapping[str, tuple[float, float]], limits: MarketLimits
) -> None:
    """Set quotes aside whose mark is near the price of the coin, while their forward is not."""
    named = [level.get(name, (np.nan, np.nan))[1] for name in rows.text["underlying"].to_pylist()]
    index = np.array(named, np.float64)
    mark, forward = rows.number("mark"), rows.number("forward")
    factor = np.log(limits.forward_factor)
    with np.errstate(all="ignore"):
        near = np.abs(np.log(mark / index)) <= factor
        far = np.abs(np.log(forward / index)) > factor
    swapped = near & far & ~rows.bad
    seen = np.full(len(rows), "", object)
    for row in np.flatnonzero(swapped).tolist():
        seen[row] = (
            f"{mark[row]:g} beside a forward of {forward[row]:g}, the coin at {index[row]:g}"
        )
    rows.flag("MARK_INDEX_SWAP", "mark", swapped, values=pa.array(seen, pa.string()))


def check_levels(
    quotes: Rows, level: Mapping[str, tuple[float, float]], limits: MarketLimits
) -> None:
    """Compare the forwards of quotes with the index: another unit refuses, a stray is set aside."""
    quotes.flag(
        "UNDERLYING_UNKNOWN", "underlying", ~quotes.is_in("underlying", *level) & ~quotes.bad
    )
    names = np.array(quotes.text["underlying"].to_pylist(), object)
    for name, (_, index) in level.items():
        rows = np.flatnonzero((names == name) & ~quotes.bad)
        if not len(rows):
            continue
        ratio = quotes.number("forward")[rows] / index
        power = _power_of_ten(float(np.median(ratio)))
        if power:
            quotes.findings.add(
                Finding.of(
                    "UNIT_MISMATCH",
                    "quotes",
                    name,
                    "forward",
                    f"the median forward is 10^{power} times the price {index:g}",
                )
            )
            continue
        stray = np.zeros(len(quotes), np.bool_)
        stray[rows] = np.abs(np.log(ratio)) > np.log(limits.forward_factor)
        limit = f"within a factor of {limits.forward_factor:g} of the price {index:g}"
        quotes.flag("PRICE_JUMP", "forward", stray, allowed=limit)


def check_index_units(
    prices: Rows, level: Mapping[str, tuple[float, float]], indexes: Mapping[str, IndexPrice]
) -> None:
    """Compare closes with index prices from elsewhere; another unit refuses."""
    for name in indexes:
        close, index = level[name]
        power = _power_of_ten(close / index)
        if power:
            prices.findings.add(
                Finding.of(
                    "UNIT_MISMATCH",
                    "prices",
                    name,
                    "close",
                    f"the last close {close:g} is 10^{power} times the index price {index:g}",
                )
            )


def _power_of_ten(ratio: float) -> int:
    """Return the power of ten that a ratio is near to, 0 for none."""
    decades = float(np.log10(ratio))
    power = round(decades)
    return power if abs(decades - power) < _NEAR_POWER else 0


def check_parity(rows: Rows, limits: MarketLimits) -> None:
    """Warn where call less put differs from one less strike over forward, in coins."""
    good = rows.good()
    if not len(good):
        return
    underlying = np.asarray(rows.text["underlying"].dictionary_encode().indices)[good]
    strike = rows.number("strike")[good]
    key = np.stack([underlying.astype(np.int64), rows.instant("expiry")[good], strike.view("i8")])
    _, pair = np.unique(key, axis=1, return_inverse=True)
    pair = pair.ravel()
    call = rows.is_in("option_type", "call")[good]
    marks = {
        side: _by_pair(pair, rows.number("mark")[good], call == side) for side in (True, False)
    }
    broken = (
        marks[True] - marks[False] - (1.0 - strike / rows.number("forward")[good])[_first(pair)]
    )
    wrong = np.flatnonzero(np.abs(broken) > limits.parity)
    mask = np.zeros(len(rows), np.bool_)
    mask[good[np.isin(pair, wrong) & call]] = True
    seen = np.full(len(rows), "", object)
    seen[good] = [f"off by {size:.4f} of the forward" for size in broken[pair].tolist()]
    limit = f"within {limits.parity:g} of the forward"
    rows.flag("PARITY", "mark", mask, values=pa.array(seen, pa.string()), allowed=limit)


def _by_pair(
    pair: NDArray[np.int64], mark: NDArray[np.float64], chosen: Booleans
) -> NDArray[np.float64]:
    result = np.full(int(pair.max()) + 1, np.nan)
    result[pair[chosen]] = mark[chosen]
    return result


def _first(pair: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.asarray(np.unique(pair, return_index=True)[1])
