"""Repricing of options over scenarios, one core: ours against NumPy with scipy's normal tail.

The first peer prices the same cells with the same hoisting (logarithms once per expiry, everything
that belongs to a row once per row), in place, in blocks of rows that stay in the cache. The second
is a library: fast-vollib's Black-76 by numba, on the same forwards and volatilities, worked out
before the clock runs. All are timed in turns by the time their own thread spent on a core, so that
neighbours do not count.
"""

from importlib.metadata import version
from statistics import median
from time import thread_time
from typing import Any

import mpmath as mp
import numpy as np
from fast_vollib import fast_black
from scipy.special import ndtr

from risk.instruments import Instruments, Kind, MarketState
from risk.revaluation import VolatilityTenor, revalue
from risk.scenarios.shocks import Shocks

EXPIRIES = 11
PEER_ROWS = 8  # the fastest of 1, 2, 4, 8, 16 and 32 for 1,500 scenarios and 512 KB of cache
TENOR = VolatilityTenor()


def run(quick: bool) -> dict[str, dict[str, Any]]:
    """Return millions of options priced per second, and our greatest error over the forward."""
    options, scenarios, rounds, checked = (220, 1_500, 5, 40) if quick else (924, 1_500, 25, 400)
    book = option_book(options, scenarios)
    ours, peer = revalue(*book, TENOR), peer_revalue(*book)
    forward = book[1].forward[:, None]
    apart = float((np.abs(ours - peer) / forward).max())
    if apart > 1e-12:
        raise AssertionError(f"ours and the peer differ by {apart} of the forward")
    cells = library_cells(*book)
    library_price(cells)
    work = {
        "ours": lambda: revalue(*book, TENOR),
        "peer": lambda: peer_revalue(*book),
        "library": lambda: library_price(cells),
    }
    times: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(rounds):
        for name, price in work.items():
            start = thread_time()
            price()
            times[name].append(thread_time() - start)
    mine, theirs, library = (
        ours.size / median(times[name]) / 1e6 for name in ("ours", "peer", "library")
    )
    return {
        "reprice_f64": {
            "ours": mine,
            "peer": theirs,
            "ratio": mine / theirs,
            "unit": "M options/s",
            "peer_name": "numpy and scipy ndtr, 8 options a batch",
            "max_error": greatest_error(ours, *book, checked),
            "cells": ours.size,
        },
        "reprice_f64_library": {
            "ours": mine,
            "peer": library,
            "ratio": mine / library,
            "unit": "M options/s",
            "peer_name": f"fast-vollib {version('fast-vollib')} by numba, Black-76 alone",
        },
    }


def library_cells(instruments: Instruments, market: MarketState, shocks: Shocks) -> dict[str, Any]:
    """Return flag, forward, strike, time and volatility of every cell for the library."""
    years = instruments.time_to_expiry[:, None]
    growth = (1.0 + shocks.price[:, 0]) * (1.0 + shocks.forward_basis[:, 0] * years)
    moved = 1.0 + shocks.volatility[:, 0] * TENOR.scale(instruments.time_to_expiry)[:, None]
    volatility = np.maximum(market.volatility[:, None] * moved, TENOR.minimum_volatility)
    shape = volatility.shape
    return {
        "flag": np.repeat(np.where(instruments.is_call, "c", "p"), shape[1]),
        "F": (market.forward[:, None] * growth).ravel(),
        "K": np.repeat(instruments.strike, shape[1]),
        "t": np.repeat(instruments.time_to_expiry, shape[1]),
        "r": np.zeros(volatility.size),
        "sigma": volatility.ravel(),
    }


def library_price(cells: dict[str, Any]) -> Any:
    return fast_black(**cells, return_as="numpy", backend="numba")


def option_book(options: int, scenarios: int) -> tuple[Instruments, MarketState, Shocks]:
    """An options chain like a large venue's: strikes around the forward, half paid in coin."""
    rng = np.random.default_rng(76)
    years = np.repeat(np.geomspace(1.0, 365.0, EXPIRIES) / 365.0, options // EXPIRIES)
    size = len(years)
    index = np.array([2222.0])
    forward = index * (1.0 + 0.06 * years)
    spread = np.clip(rng.normal(0.0, 1.5, size) * 0.6 * np.sqrt(years), -1.2, 1.2)
    instruments = Instruments(
        kind=np.full(size, Kind.OPTION, np.int8),
        settlement=(np.arange(size) % 2).astype(np.int8),
        underlying=np.zeros(size, np.int16),
        settlement_underlying=np.full(size, -1, np.int16),
        multiplier=np.ones(size),
        strike=np.round(forward * np.exp(spread), 0),
        is_call=rng.random(size) < 0.5,
        time_to_expiry=years,
    )
    market = MarketState(index, forward, rng.uniform(0.4, 1.1, size), np.ones(size, np.bool_))
    shocks = Shocks(
        price=np.clip(rng.standard_t(3, (scenarios, 1)) * 0.05, -0.6, 1.5),
        volatility=rng.uniform(-0.3, 0.6, (scenarios, 1)),
        perpetual_basis=np.zeros((scenarios, 1)),
        forward_basis=rng.normal(0.0, 0.02, (scenarios, 1)),
    )
    return instruments, market, shocks


def peer_revalue(instruments: Instruments, market: MarketState, shocks: Shocks) -> np.ndarray:
    """The same gains in NumPy: blocks of rows of one expiry, no temporary beyond four."""
    price, shift = shocks.price[:, 0], shocks.volatility[:, 0]
    years, volatility = instruments.time_to_expiry, market.volatility
    root, strike = np.sqrt(years), instruments.strike
    log_moneyness = np.log(market.forward / strike)
    side = np.where(instruments.is_call, 1.0, -1.0)
    paid_in_coin = instruments.settlement == 1
    unit = np.where(paid_in_coin, market.index[0] / market.forward, 1.0)
    scale = TENOR.scale(years)
    deviation = volatility * root
    d1 = log_moneyness / deviation + 0.5 * deviation
    before = side * (market.forward * ndtr(side * d1) - strike * ndtr(side * (d1 - deviation)))
    cube = np.empty((len(years), len(price)))
    first = 0
    while first < len(years):
        expiry_end = int(np.searchsorted(years, years[first], side="right"))
        basis = 1.0 + shocks.forward_basis[:, 0] * years[first]
        growth = (1.0 + price) * basis
        log_growth, carry, factor = np.log(growth), 1.0 / basis, 1.0 + shift * scale[first]
        for start in range(first, expiry_end, PEER_ROWS):
            rows = slice(start, min(start + PEER_ROWS, expiry_end))
            column = (rows, None)
            s = deviation[column] * factor
            np.maximum(s, (TENOR.minimum_volatility * root)[column], out=s)
            d = log_moneyness[column] + log_growth
            d /= s
            s *= 0.5
            d *= side[column]
            s *= side[column]
            d += s  # side * d1
            s *= 2.0
            np.subtract(d, s, out=s)  # side * d2
            value = cube[rows]
            np.multiply((side * market.forward)[column], growth, out=value)
            value *= ndtr(d, out=d)
            ndtr(s, out=s)
            s *= (side * strike)[column]
            value -= s
            if paid_in_coin[rows].any():
                value *= np.where(paid_in_coin[column], carry, 1.0)
            value -= before[column]
            value *= unit[column]
        first = expiry_end
    return cube


def greatest_error(
    cube: np.ndarray, instruments: Instruments, market: MarketState, shocks: Shocks, checked: int
) -> float:
    """Return the greatest error over the forward at ``checked`` cells, by 40 digits."""
    rng = np.random.default_rng(77)
    worst = mp.mpf(0)
    scale = TENOR.scale(instruments.time_to_expiry)
    for row, j in zip(
        rng.integers(0, cube.shape[0], checked),
        rng.integers(0, cube.shape[1], checked),
        strict=True,
    ):
        with mp.workdps(40):
            forward, index = mp.mpf(market.forward[row]), mp.mpf(market.index[0])
            years, volatility = mp.mpf(instruments.time_to_expiry[row]), market.volatility[row]
            price = 1 + mp.mpf(shocks.price[j, 0])
            after = forward * price * (1 + mp.mpf(shocks.forward_basis[j, 0]) * years)
            shocked = mp.mpf(volatility) * (1 + mp.mpf(shocks.volatility[j, 0]) * scale[row])
            shocked = max(shocked, mp.mpf(TENOR.minimum_volatility))
            terms = (mp.mpf(instruments.strike[row]), years, instruments.is_call[row])
            old, new = exact(forward, mp.mpf(volatility), *terms), exact(after, shocked, *terms)
            if instruments.settlement[row] == 1:
                old, new = old / forward * index, new / after * index * price
            worst = max(worst, abs(mp.mpf(cube[row, j]) - (new - old)) / forward)
    return float(worst)


def exact(forward: Any, volatility: Any, strike: Any, years: Any, is_call: Any) -> Any:
    """Black-76 in mpmath numbers."""
    deviation = volatility * mp.sqrt(years)
    d1 = mp.log(forward / strike) / deviation + deviation / 2
    side = 1 if is_call else -1
    return side * (forward * mp.ncdf(side * d1) - strike * mp.ncdf(side * (d1 - deviation)))
