"""Scenarios from history: the joint moves of all coins over overlapping windows."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from risk.scenarios.shocks import scenario_dataset
from risk.scenarios.specification import HistoricalSpec

Hours = NDArray[np.datetime64]
Array = NDArray[np.float64]

FEWEST_COMMON_WINDOWS = 100
"""Windows that a coin must share with its reference before the reference may stand in for it."""

EPISODES = (
    ("March 2020 crash", "2020-03-12T00", "2020-03-13T12"),
    ("January 2021 rally", "2021-01-02T00", "2021-01-05T00"),
    ("February 2021 reversal", "2021-02-22T00", "2021-02-24T00"),
    ("May 2021 deleveraging", "2021-05-19T00", "2021-05-24T00"),
    ("January 2022 sell-off", "2022-01-21T00", "2022-01-25T00"),
    ("May 2022 collapse of Terra", "2022-05-09T00", "2022-05-13T00"),
    ("June 2022 lender failures", "2022-06-12T00", "2022-06-19T00"),
    ("November 2022 exchange failure", "2022-11-08T00", "2022-11-10T00"),
    ("August 2024 unwind", "2024-08-04T00", "2024-08-06T00"),
    ("October 2025 liquidation cascade", "2025-10-10T12", "2025-10-11T00"),
)
"""Known episodes, UTC, named in the label of every window that meets them.

Chosen by hand, from the deepest falls and steepest rises of the history that ships.
"""


@dataclass(frozen=True, slots=True)
class _Windows:
    """What one coin did in every window; zeros where it is not ``known``."""

    known: NDArray[np.bool_]
    log_move: Array
    volatility: Array
    gaps: list[str]


def historical_scenarios(
    underlyings: Sequence[str],
    timestamps: Sequence[Hours],
    closes: Sequence[Array],
    spec: HistoricalSpec,
) -> xr.Dataset:
    """Return the joint moves of all coins over overlapping windows of their hourly history.

    ``timestamps[u]`` and ``closes[u]``, ``(hour,)`` each, are the history of coin u: the ends of
    hours, rising, and prices. The first window starts at the first close at or after
    ``spec.start``; each next one ``step_hours`` later; the last one ends by ``spec.end``.

    The scenarios of origin ``episode`` follow: for each known episode and coin, the windows of
    its deepest fall and of its steepest rise, at any hour. They stand apart, because windows
    picked for their size are no sample: no expected shortfall is taken over them and no
    regression is fitted to them.

    The price shock is the move from the first close of the window to the last. The volatility
    shock is the coin's realised volatility at the end over that at the start, less one, by an
    exponentially weighted mean of squared hourly log returns (half-life in the spec, begun at
    the mean of the coin's first half-life). Neither is clipped. Bases are not shocked. Where the
    spec has a margin period of risk, log moves of prices and volatilities are multiplied by the
    square root of its ratio to the window. That is right for the deviation of independent moves,
    not for their tails, and too much where moves revert, too little where they trend.

    A coin that lacks the first or last close of a window is given, there, the log move of its
    reference coin times the slope of a regression through zero on the windows that they share,
    and the reference's volatility shock. The reference is the coin with a complete history that
    it correlates with best. ``proxied`` (scenario, underlying) marks every such cell, and the
    attributes ``proxy`` and ``history_gaps`` name the rules used and the hours missing.

    Raises:
        ValueError: ``SHORT_HISTORY``, no coin covers the period, or one shares fewer than 100
            windows with a reference; ``HISTORY_DUP``, timestamps do not rise; ``HISTORY_GRID``,
            they are not whole hours apart; a close is not a positive number.
    """
    starts, ends = _window_bounds(timestamps, spec)
    lattice = len(starts)
    extremes = _episode_extremes(starts[0], underlyings, timestamps, closes, spec)
    starts = np.concatenate([starts, np.setdiff1d(extremes, starts)])
    ends = starts + np.timedelta64(spec.holding_period_hours, "h")
    coins = [
        _coin_windows(coin, times, prices, starts, ends, spec)
        for coin, times, prices in zip(underlyings, timestamps, closes, strict=True)
    ]
    moves = np.stack([coin.log_move for coin in coins], axis=1)
    volatility = np.stack([coin.volatility for coin in coins], axis=1)
    known = np.stack([coin.known for coin in coins], axis=1)
    rules = _fill_proxies(underlyings, moves, volatility, known, lattice, spec)

    if spec.margin_period_of_risk_hours is not None:
        ratio = spec.margin_period_of_risk_hours / spec.holding_period_hours
        moves *= math.sqrt(ratio)
        volatility = (1.0 + volatility) ** math.sqrt(ratio) - 1.0

    stamps = np.datetime_as_string(ends, unit="m")
    hours = spec.holding_period_hours
    dataset = scenario_dataset(
        scenario=[f"{hours}h to {stamp}" for stamp in stamps],
        label=_labels(starts, ends, spec),
        origin="historical",
        underlying=list(underlyings),
        shocks={"price": np.expm1(moves), "volatility": volatility},
        window_start=starts,
        window_end=ends,
    )
    dataset["proxied"] = (("scenario", "underlying"), ~known)
    dataset["origin"].values[lattice:] = "episode"
    return dataset.assign_attrs(
        holding_period_hours=hours,
        margin_period_of_risk_hours=spec.margin_period_of_risk_hours or hours,
        step_hours=spec.step_hours,
        volatility_half_life_hours=spec.volatility_half_life_hours,
        proxy=rules,
        history_gaps=[gap for coin in coins for gap in coin.gaps],
    )


def _window_bounds(timestamps: Sequence[Hours], spec: HistoricalSpec) -> tuple[Hours, Hours]:
    """Return the first and last instants of every window, ``(scenario,)`` each."""
    start, end = _instant(spec.start), _instant(spec.end)
    step = np.timedelta64(spec.step_hours, "h")
    holding = np.timedelta64(spec.holding_period_hours, "h")
    first = min(
        (times[times >= start][0] for times in timestamps if (times >= start).any()), default=None
    )
    if first is None or first > start + step:
        raise ValueError(
            f"SHORT_HISTORY: the period starts {start} and the first close after it is {first}; "
            "give earlier prices or a later start"
        )
    count = (end - holding - first) // step + 1
    if count < 1:
        raise ValueError(
            f"SHORT_HISTORY: {start} to {end} holds no window of {spec.holding_period_hours} hours"
        )
    starts = first.astype("datetime64[s]") + np.arange(count) * step
    return starts, starts + holding


def _episode_extremes(
    first: np.datetime64,
    underlyings: Sequence[str],
    timestamps: Sequence[Hours],
    closes: Sequence[Array],
    spec: HistoricalSpec,
) -> Hours:
    """Return the starts of each coin's deepest fall and steepest rise through each episode."""
    holding = np.timedelta64(spec.holding_period_hours, "h")
    hour = np.timedelta64(1, "h")
    found: list[np.datetime64] = []
    for _, begin, end in EPISODES:
        every = np.arange(np.datetime64(begin, "s") - holding + hour, np.datetime64(end, "s"), hour)
        inside = every[(every >= first) & (every + holding <= _instant(spec.end))]
        for coin, times, prices in zip(underlyings, timestamps, closes, strict=True):
            windows = _coin_windows(coin, times, prices, inside, inside + holding, spec)
            if windows.known.any():
                move = np.where(windows.known, windows.log_move, 0.0)
                found += [inside[np.argmin(move)], inside[np.argmax(move)]]
    return np.array(sorted(set(found)), dtype="datetime64[s]")


def _coin_windows(
    coin: str, times: Hours, closes: Array, starts: Hours, ends: Hours, spec: HistoricalSpec
) -> _Windows:
    empty = np.zeros(len(starts))
    if len(times) < 2:
        return _Windows(np.zeros(len(starts), dtype=np.bool_), empty, empty.copy(), [])
    if not (np.isfinite(closes) & (closes > 0.0)).all():
        raise ValueError(f"{coin}: a close is not a positive number; quarantine it first")
    elapsed = np.diff(times) / np.timedelta64(1, "h")
    if (elapsed <= 0.0).any():
        row = int(np.argmax(elapsed <= 0.0)) + 1
        raise ValueError(
            f"HISTORY_DUP: {coin} has {times[row]} at or after a later row; timestamps must rise"
        )
    if (elapsed != np.floor(elapsed)).any():
        row = int(np.argmax(elapsed != np.floor(elapsed))) + 1
        raise ValueError(f"HISTORY_GRID: {coin} at {times[row]} is not whole hours after its last")
    hours = elapsed.astype(np.int64)
    volatility = np.sqrt(_weighted_variance(closes, hours, spec.volatility_half_life_hours))
    first, has_first = _find(times, starts)
    last, has_last = _find(times, ends)
    known = has_first & has_last & (volatility[first] > 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        change = volatility[last] / volatility[first] - 1.0
    return _Windows(
        known=known,
        log_move=np.where(known, np.log(closes[last] / closes[first]), 0.0),
        volatility=np.where(known, change, 0.0),
        gaps=[
            f"{coin} {np.datetime_as_string(times[row], unit='m')}: {hours[row] - 1} h missing"
            for row in np.flatnonzero(hours > 1)
        ],
    )


def _weighted_variance(closes: Array, hours: NDArray[np.int64], half_life: float) -> Array:
    """Return the exponentially weighted hourly variance at every close, ``(close,)``.

    A return over a gap of n hours counts as n hours of equal variance.
    """
    squared = np.repeat(np.diff(np.log(closes)) ** 2 / hours, hours)
    decay = 0.5 ** (1.0 / half_life)
    variance = np.empty(len(squared) + 1)
    variance[0] = squared[: max(round(half_life), 1)].mean()
    # Within a block the recursion is one cumulative sum; its weights stay below 2^30.
    block = max(int(30.0 * half_life), 1)
    for begin in range(0, len(squared), block):
        part = squared[begin : begin + block]
        grown = decay ** -np.arange(1.0, len(part) + 1.0)
        summed = np.cumsum(part * grown) * (1.0 - decay)
        variance[begin + 1 : begin + 1 + len(part)] = (variance[begin] + summed) / grown
    at_close: Array = variance[np.concatenate(([0], np.cumsum(hours)))]
    return at_close


def _fill_proxies(
    underlyings: Sequence[str],
    moves: Array,
    volatility: Array,
    known: NDArray[np.bool_],
    lattice: int,
    spec: HistoricalSpec,
) -> list[str]:
    """Fill the cells that are not ``known`` in place and return the rules used, one a coin.

    A rule is fitted to the first ``lattice`` windows alone.
    """
    complete = np.flatnonzero(known.all(axis=0))
    if len(complete) == 0:
        counts = ", ".join(
            f"{coin} {n} of {len(known)}"
            for coin, n in zip(underlyings, known.sum(axis=0), strict=True)
        )
        raise ValueError(
            f"SHORT_HISTORY: no coin has a close at both ends of every window from {spec.start} "
            f"to {spec.end}: {counts}; give the missing prices or a shorter period"
        )
    rules = []
    for coin in np.flatnonzero(~known.all(axis=0)).tolist():
        missing = ~known[:, coin]
        shared = known[:, coin] & (np.arange(len(known)) < lattice)
        if shared.sum() < FEWEST_COMMON_WINDOWS:
            raise ValueError(
                f"SHORT_HISTORY: {underlyings[coin]} has {shared.sum()} windows, "
                f"{FEWEST_COMMON_WINDOWS} are needed before a proxy is allowed; "
                "give more of its history or leave it out of the market"
            )
        own = moves[shared, coin]
        likeness = [np.corrcoef(own, moves[shared, other])[0, 1] for other in complete]
        best = int(complete[int(np.argmax(likeness))])
        reference = moves[shared, best]
        slope = float(reference @ own / (reference @ reference))
        moves[missing, coin] = slope * moves[missing, best]
        volatility[missing, coin] = volatility[missing, best]
        rules.append(
            f"{underlyings[coin]}: {slope:.4f} times the log move of {underlyings[best]}, and its "
            f"volatility shock, in {int(missing.sum())} windows "
            f"(correlation {max(likeness):.3f} over {int(shared.sum())})"
        )
    return rules


def _labels(starts: Hours, ends: Hours, spec: HistoricalSpec) -> list[str]:
    hours, to = spec.holding_period_hours, spec.margin_period_of_risk_hours
    scaled = f", scaled to {to} h" if to is not None else ""
    labels = [f"{hours} h to {str(end)[:16].replace('T', ' ')}{scaled}" for end in ends]
    for name, begin, finish in EPISODES:
        meets = (starts < np.datetime64(finish)) & (ends > np.datetime64(begin))
        for row in np.flatnonzero(meets).tolist():
            labels[row] += f", {name}"
    return labels


def _find(times: Hours, wanted: Hours) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the row of each wanted instant, and whether it is there at all."""
    rows = np.minimum(np.searchsorted(times, wanted), len(times) - 1)
    return rows, times[rows] == wanted


def _instant(moment: datetime) -> np.datetime64:
    return np.datetime64(moment.astimezone(UTC).replace(tzinfo=None), "s")
