"""What is wrong with a price history: copies, gaps, jumps, changed units, standing still."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from storage.intake.cells import Booleans
from storage.intake.checks import Rows
from storage.quarantine import Finding

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

_NEAR_POWER = 0.05  # of a decade
_LARGEST_JUMP = float(np.log(50.0))


@dataclass(frozen=True, slots=True)
class MarketLimits:
    """What prices may do and still be believed."""

    stale_after: timedelta = timedelta(hours=24)
    step: timedelta = timedelta(hours=1)
    jump_factor: float = 3.0  # per step, from one close to the next
    settled_steps: int = 24  # closes after which a new level counts as a level
    standing_steps: int = 24  # equal closes that look filled in
    required_steps: int = 0  # closes at or before the valuation instant
    forward_factor: float = 2.0  # between a quote's forward and the last close
    parity: float = 0.02  # of the forward
    arbitrage: float = 0.01  # of the forward, that quotes may gain from each other
    divergence: float = 0.05  # between two sources of one price, a fraction
    largest_volatility: float = 5.0  # annual fraction
    look_ahead: bool = False  # whether the history may go on after the valuation instant
    confirmed_jumps: frozenset[tuple[str, datetime]] = field(default_factory=frozenset)


def check_history(
    rows: Rows, as_of: datetime, limits: MarketLimits, priced: set[str], confirmed: Booleans
) -> None:
    """Check the closes of every underlying in time order.

    ``priced`` have an index price anyway; ``confirmed`` tells which closes a second source
    confirms, (row,).
    """
    _check_future(rows, as_of, limits)
    for name, index in series(rows):
        index = _check_copies(rows, index)
        index = _check_jumps(rows, name, index, limits, confirmed[index])
        if not len(index):
            continue
        _check_gaps(rows, name, index, limits)
        _check_standing(rows, name, index, limits)
        _check_recent(rows, name, index, as_of, limits, known=name in priced)


def series(rows: Rows) -> Iterator[tuple[str, Integers]]:
    """Yield every underlying with its good rows in time order."""
    encoded = rows.text["underlying"].dictionary_encode()
    code = np.asarray(encoded.indices)
    order = np.lexsort((rows.instant("timestamp"), code))
    order = order[~rows.bad[order]]
    for number, name in enumerate(encoded.dictionary.to_pylist()):
        yield name, order[code[order] == number]


def _check_future(rows: Rows, as_of: datetime, limits: MarketLimits) -> None:
    """Record closes after the valuation instant, one finding for each underlying."""
    instant = int(as_of.timestamp() * 1_000_000)
    for name, index in series(rows):
        later = index[rows.instant("timestamp")[index] > instant]
        if len(later):
            first = _iso(rows.instant("timestamp")[later[0]])
            rows.findings.add(
                Finding.of(
                    "FUTURE_DATA",
                    "prices",
                    name,
                    "timestamp",
                    f"{len(later):,} closes after {as_of.isoformat()}, the first at {first}",
                    severity="warn" if limits.look_ahead else "refuse",
                )
            )


def _check_copies(rows: Rows, index: Integers) -> Integers:
    """Set copies of an hour aside, all of them where they differ; return the rows left."""
    time, close = rows.instant("timestamp")[index], rows.number("close")[index]
    starts = np.flatnonzero(np.append(True, np.diff(time) != 0))[: len(time)]
    if len(starts) == len(index):
        return index
    sizes = np.diff(np.append(starts, len(index)))
    differ = np.maximum.reduceat(close, starts) != np.minimum.reduceat(close, starts)
    copy = np.ones(len(index), np.bool_)
    copy[starts[~differ]] = False
    copy[np.repeat(sizes == 1, sizes)] = False
    _flag(rows, "HISTORY_DUP", "timestamp", index[copy])
    return np.asarray(index[~copy])


def _check_jumps(
    rows: Rows, name: str, index: Integers, limits: MarketLimits, second: Booleans
) -> Integers:
    """Set aside stretches that are too far from the level that is believed."""
    time, close = rows.instant("timestamp")[index], rows.number("close")[index]
    known = [(name, moment) in limits.confirmed_jumps for moment in _moments(time)]
    confirmed = np.array(known, np.bool_) | second
    stretch = _stretches(np.log(close), time, confirmed, limits)
    _flag(rows, "PRICE_JUMP", "close", index[stretch == _JUMP])
    _flag(rows, "CORPORATE_ACTION", "close", index[stretch == _REDENOMINATED])
    return np.asarray(index[stretch == _BELIEVED])


_BELIEVED, _JUMP, _REDENOMINATED = 0, 1, 2


def _stretches(
    log_close: Floats, time: Integers, confirmed: Booleans, limits: MarketLimits
) -> NDArray[np.int8]:
    """Return what to think of every close, (close,): believed, a jump, or another unit.

    Jumps cut the history into stretches. The latest stretch that is long enough to be a level
    is believed, the longest one where none is; so are those that meet it within the limit.
    """
    step = limits.step / timedelta(microseconds=1)

    def allowed(elapsed: Floats | float) -> Floats:
        steps = np.maximum(1.0, np.asarray(elapsed) / step)
        return np.asarray(np.minimum(np.log(limits.jump_factor) * np.sqrt(steps), _LARGEST_JUMP))

    result = np.zeros(len(log_close), np.int8)
    jumps = np.abs(np.diff(log_close)) > allowed(np.diff(time).astype(np.float64))
    cuts = np.flatnonzero(jumps & ~confirmed[1:]) + 1
    if not len(cuts):
        return result
    starts = np.append(0, cuts)
    stops = np.append(cuts, len(log_close))
    sizes = stops - starts
    levels = np.flatnonzero(sizes >= limits.settled_steps)
    anchor = int(levels[-1]) if len(levels) else len(sizes) - 1 - int(np.argmax(sizes[::-1]))

    def walk(order: range, near: NDArray[np.int64], far: NDArray[np.int64], edge: int) -> None:
        for number in order:
            here = near[number]
            change = log_close[here] - log_close[edge]
            if abs(change) <= allowed(float(abs(time[here] - time[edge]))):
                edge = int(far[number])
                continue
            decades = change / np.log(10.0)
            power = round(decades)
            rescaled = power != 0 and abs(decades - power) < _NEAR_POWER
            level = sizes[number] >= limits.settled_steps
            kind = _REDENOMINATED if rescaled and level else _JUMP
            result[starts[number] : stops[number]] = kind

    walk(range(anchor - 1, -1, -1), stops - 1, starts, int(starts[anchor]))
    walk(range(anchor + 1, len(sizes)), starts, stops - 1, int(stops[anchor]) - 1)
    return result


def _check_gaps(rows: Rows, name: str, index: Integers, limits: MarketLimits) -> None:
    """Name the hours that are missing; one finding for each gap."""
    time = rows.instant("timestamp")[index]
    step = limits.step // timedelta(microseconds=1)
    missing = np.diff(time) // step - 1
    gaps = np.flatnonzero(missing > 0)
    count = missing[gaps]
    firsts = [_iso(moment) for moment in (time[gaps] + step).tolist()]
    rows.findings.add_rows(
        "HISTORY_GAP",
        "prices",
        "timestamp",
        rows=pa.array([f"{name} / {first}" for first in firsts], pa.string()),
        values=pa.array([f"{n:,} hours missing" for n in count.tolist()], pa.string()),
        lines=np.zeros(len(gaps), np.int64),
    )


def _check_standing(rows: Rows, name: str, index: Integers, limits: MarketLimits) -> None:
    """Warn of closes that stand still for long, as if an outage had been filled in."""
    close = rows.number("close")[index]
    starts = np.flatnonzero(np.append(True, np.diff(close) != 0.0))
    sizes = np.diff(np.append(starts, len(close)))
    for start, size in zip(starts.tolist(), sizes.tolist(), strict=True):
        if size >= limits.standing_steps:
            first = _iso(rows.instant("timestamp")[index[start]])
            value = f"{size:,} equal closes of {close[start]:g}"
            row = f"{name} / {first}"
            rows.findings.add(Finding.of("ZERO_RETURN_RUN", "prices", row, "close", value))


def _check_recent(
    rows: Rows,
    name: str,
    index: Integers,
    as_of: datetime,
    limits: MarketLimits,
    *,
    known: bool,
) -> None:
    """Check that the closes up to the valuation instant are recent and many enough."""
    instant = int(as_of.timestamp() * 1_000_000)
    time = rows.instant("timestamp")[index]
    past = time[time <= instant]
    if len(past) < limits.required_steps:
        value = f"{len(past):,} closes of {limits.required_steps:,} asked for"
        rows.findings.add(Finding.of("SHORT_HISTORY", "prices", name, "close", value))
    if known:
        return
    age = timedelta(microseconds=instant - int(past[-1])) if len(past) else None
    if age is None or age > limits.stale_after:
        seen = "no close at or before it" if age is None else f"the last close is {age} old"
        mask = np.zeros(len(rows), np.bool_)
        mask[index] = True
        shown = pa.repeat(pa.scalar(seen), len(rows))
        limit = f"a close within {limits.stale_after} before {as_of.isoformat()}"
        rows.flag("STALE_PRICE", "timestamp", mask, values=shown, allowed=limit)


def _flag(rows: Rows, code: str, column: str, index: Integers) -> None:
    mask = np.zeros(len(rows), np.bool_)
    mask[index] = True
    rows.flag(code, column, mask)


def _moments(time: Integers) -> Iterator[datetime]:
    return (datetime.fromtimestamp(moment / 1_000_000, UTC) for moment in time.tolist())


def _iso(moment: int) -> str:
    return datetime.fromtimestamp(int(moment) / 1_000_000, UTC).isoformat()
