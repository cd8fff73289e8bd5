"""From the quotes of one chain to its surface: implied volatilities, curves and their errors."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from risk.forwards import Parity, parity
from risk.pricing.black76 import black76, vega
from risk.pricing.implied_volatility import Status, implied_volatility
from risk.surface.arbitrage import ArbitrageCheck, check_arbitrage
from risk.surface.calibration import FEWEST_QUOTES, Slices, calibrate
from risk.surface.surface import Surface

Array = NDArray[np.float64]

FITTED, INTERPOLATED, FLAT = "svi", "interpolated", "flat"
"""How an expiry got its volatility: its own curve, its neighbours' (too few quotes of its own),
or one volatility for every strike (too few quotes in the whole chain)."""

_TARGET = 1e-3  # of volatility: the error of a curve that an ideal mark at the money may show
_WING = 0.75  # weight falls with vega to this power, so that wings are not lost
_BLURRED = 0.25  # of its volatility: a mark whose own tick moves it more says nothing
_FEWEST_TICKS = 2.0  # of time value: less may be the rounding of the mark alone


@dataclass(frozen=True, slots=True)
class Quotes:
    """The marks of one chain at one instant, ``(quote,)`` each.

    ``mark``, ``forward`` and ``strike`` are of one currency; ``tick`` is the step in which marks
    are published. ``expiry`` is a row of ``time_to_expiry``, (expiry,), years, rising;
    every expiry has a quote.
    """

    mark: Array
    forward: Array
    strike: Array
    is_call: NDArray[np.bool_]
    expiry: NDArray[np.int64]
    tick: Array
    time_to_expiry: Array


@dataclass(frozen=True, slots=True)
class Chain:
    """A fitted chain. ``(quote,)`` unless said; implied volatility is 0 where its status is not 0.

    ``mark_error`` is the surface's price less the mark, as a fraction of the forward; ``fitted``
    marks the quotes that shaped the surface. ``method``, ``forward`` and ``parities`` are
    (expiry,); ``check`` is of the expiries with a curve. ``surface`` is None where no expiry has
    a quote that says anything of volatility.
    """

    surface: Surface | None
    check: ArbitrageCheck | None
    method: list[str]
    forward: Array
    parities: list[Parity]
    fitted: NDArray[np.bool_]
    implied: Array
    status: NDArray[np.int8]
    model: Array
    mark_error: Array


def fit_chain(quotes: Quotes) -> Chain:
    """Return the surface of a chain and how well it prices the chain's own marks.

    At every strike the option out of the money is fitted (parity makes the other one equal), or
    the one in the money where it stands alone. An expiry with fewer than six such strikes
    (``SURFACE_THIN``) is not fitted; ``method`` names what is used for it.
    """
    years = quotes.time_to_expiry[quotes.expiry]
    implied, status = implied_volatility(
        quotes.mark, quotes.forward, quotes.strike, years, quotes.is_call
    )
    usable = status == Status.OK
    sensitivity = np.zeros_like(implied)
    sensitivity[usable] = vega(
        quotes.forward[usable], quotes.strike[usable], implied[usable], years[usable]
    )
    chosen = _one_a_strike(quotes, usable, implied, sensitivity)
    expiries = range(len(quotes.time_to_expiry))
    forward = np.array([np.median(quotes.forward[quotes.expiry == row]) for row in expiries])
    counts = np.bincount(quotes.expiry[chosen], minlength=len(forward))
    surface, check, method = _surface(quotes, chosen, implied, sensitivity, years, counts)

    fitted = np.zeros(len(implied), dtype=np.bool_)
    fitted[[row for row in chosen.tolist() if method[quotes.expiry[row]] != INTERPOLATED]] = True
    model = np.zeros_like(implied)
    mark_error = np.zeros_like(implied)
    if surface is not None:
        model, _ = surface.volatility(np.log(quotes.strike / quotes.forward), years)
        price = black76(quotes.forward, quotes.strike, model, years, quotes.is_call)
        mark_error = (price - quotes.mark) / quotes.forward
    return Chain(
        surface=surface,
        check=check,
        method=method,
        forward=forward,
        parities=[_parity_of(quotes, row) for row in expiries],
        fitted=fitted,
        implied=implied,
        status=status,
        model=model,
        mark_error=mark_error,
    )


def _one_a_strike(
    quotes: Quotes, usable: NDArray[np.bool_], implied: Array, sensitivity: Array
) -> NDArray[np.int64]:
    """Return the rows to fit, in order of expiry and strike: one at each strike."""
    intrinsic = np.where(
        quotes.is_call, quotes.forward - quotes.strike, quotes.strike - quotes.forward
    )
    time_value = quotes.mark - np.maximum(intrinsic, 0.0)
    clear = usable & (time_value >= _FEWEST_TICKS * quotes.tick)
    clear &= 0.5 * quotes.tick <= _BLURRED * implied * sensitivity
    out_of_money = quotes.is_call == (quotes.strike >= quotes.forward)
    rows = np.lexsort((~out_of_money, quotes.strike, quotes.expiry))
    rows = rows[clear[rows]]
    expiry, strike = quotes.expiry[rows], quotes.strike[rows]
    first = np.ones(len(rows), dtype=np.bool_)
    first[1:] = (expiry[1:] != expiry[:-1]) | (strike[1:] != strike[:-1])
    chosen: NDArray[np.int64] = rows[first]
    return chosen


def _surface(
    quotes: Quotes,
    chosen: NDArray[np.int64],
    implied: Array,
    sensitivity: Array,
    years: Array,
    counts: NDArray[np.int64],
) -> tuple[Surface | None, ArbitrageCheck | None, list[str]]:
    fitted = np.flatnonzero(counts >= FEWEST_QUOTES)
    if len(fitted) == 0:
        return _flat_surface(quotes, chosen, implied, sensitivity, counts)
    width = int(counts[fitted].max())
    padded = np.zeros((3, len(fitted), width))
    log_moneyness = np.log(quotes.strike / quotes.forward)
    lowest, highest = np.zeros(len(fitted)), np.zeros(len(fitted))
    for place, row in enumerate(fitted.tolist()):
        rows = chosen[quotes.expiry[chosen] == row]
        volatility, slope = implied[rows], sensitivity[rows]
        blur = 0.5 * quotes.tick[rows] / slope
        tolerance = np.sqrt((_TARGET * (slope.max() / slope) ** _WING) ** 2 + blur**2)
        padded[0, place, : len(rows)] = log_moneyness[rows]
        padded[1, place, : len(rows)] = volatility**2 * years[rows]
        padded[2, place, : len(rows)] = 1.0 / (tolerance * 2.0 * volatility * years[rows])
        lowest[place], highest[place] = log_moneyness[rows].min(), log_moneyness[rows].max()
    parameters = calibrate(Slices(*padded))
    surface = Surface(quotes.time_to_expiry[fitted], parameters, lowest, highest)
    method = [FITTED if count >= FEWEST_QUOTES else INTERPOLATED for count in counts.tolist()]
    return surface, check_arbitrage(parameters), method


def _flat_surface(
    quotes: Quotes,
    chosen: NDArray[np.int64],
    implied: Array,
    sensitivity: Array,
    counts: NDArray[np.int64],
) -> tuple[Surface | None, ArbitrageCheck | None, list[str]]:
    """Return one volatility an expiry, the mean of its quotes weighted by vega."""
    rows = np.flatnonzero(counts > 0)
    method = [FLAT if count else INTERPOLATED for count in counts.tolist()]
    if len(rows) == 0:
        return None, None, method
    expiry = quotes.expiry[chosen]
    total = np.bincount(expiry, sensitivity[chosen])[rows]
    mean = np.bincount(expiry, sensitivity[chosen] * implied[chosen])[rows] / total
    parameters = np.zeros((len(rows), 5))
    parameters[:, 0] = mean**2 * quotes.time_to_expiry[rows]
    parameters[:, 4] = 1.0
    at = np.log(quotes.strike / quotes.forward)[chosen]
    bounds = np.array([[at[expiry == row].min(), at[expiry == row].max()] for row in rows])
    surface = Surface(quotes.time_to_expiry[rows], parameters, bounds[:, 0], bounds[:, 1])
    return surface, check_arbitrage(parameters), method


def _parity_of(quotes: Quotes, row: int) -> Parity:
    here = quotes.expiry == row
    calls, puts = np.flatnonzero(here & quotes.is_call), np.flatnonzero(here & ~quotes.is_call)
    strike, call, put = np.intersect1d(
        quotes.strike[calls], quotes.strike[puts], return_indices=True
    )
    return parity(quotes.mark[calls[call]], quotes.mark[puts[put]], strike)
