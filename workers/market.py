"""The market as risk needs it: a price, a forward and a volatility for every instrument."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xarray as xr
from numpy.typing import NDArray

from risk.forwards import forward_ratio
from risk.instruments import Instruments, Kind, MarketState, Settlement
from storage.market import Market
from workers.chains import OptionChain, fit_chains
from workers.quality import quote_quality, surface_quality
from workers.terms import CASH, UNKNOWN, instrument_terms

__all__ = ["BuiltMarket", "build_market", "instrument_terms"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class BuiltMarket:
    """Prices at the valuation instant for the rows of an instruments table.

    ``extrapolated`` (instrument,) marks options whose volatility lies outside the strikes and
    expiries that were quoted. ``surface`` has one row an expiry and says how it was fitted and
    how well; ``mark_error`` has one row a quote.
    """

    underlyings: tuple[str, ...]
    state: MarketState
    extrapolated: NDArray[np.bool_]
    surface: xr.Dataset
    mark_error: xr.Dataset


def build_market(market: Market, instruments: pa.Table) -> BuiltMarket:
    """Return index, forward and volatility for every row of an instruments table.

    Spot and perpetuals have the index as their forward: the market holds no perpetual marks, so
    their basis is zero at its instant. Dated instruments have their chain's forward, between its
    expiries by annualised rate; a coin without a chain takes the rate of the coin with the most
    quotes. Options have the volatility of their coin's surface.

    ``priced`` is false where the coin has no index price, the instrument has expired, an option's
    coin has no surface, or gains are paid in a coin that has no price. Cash that is not US
    dollars is such a coin: no peg is assumed.
    """
    underlyings = tuple(market.underlyings)
    terms = instrument_terms(instruments, underlyings, market.as_of)
    index = np.array([market.index[coin].price for coin in underlyings])
    chains = fit_chains(market)
    priced = _payable(terms, instruments["settlement_currency"])
    forward = np.zeros(len(terms))
    volatility = np.zeros(len(terms))
    extrapolated = np.zeros(len(terms), dtype=np.bool_)
    lender = max(chains.values(), key=lambda chain: chain.table.num_rows, default=None)
    for row, coin in enumerate(underlyings):
        here = np.flatnonzero(terms.underlying == row)
        chain = chains.get(coin, lender)
        forward[here] = index[row] * _ratio(market, chain, terms.time_to_expiry[here])
        options = here[(terms.kind[here] == Kind.OPTION) & (terms.time_to_expiry[here] > 0.0)]
        surface = chains[coin].fit.surface if coin in chains else None
        if surface is not None:
            volatility[options], extrapolated[options] = surface.volatility(
                np.log(terms.strike[options] / forward[options]), terms.time_to_expiry[options]
            )
    priced &= (terms.kind != Kind.OPTION) | (volatility > 0.0)
    return BuiltMarket(
        underlyings=underlyings,
        state=MarketState(
            index=index,
            forward=np.where(priced, forward, 0.0),
            volatility=np.where(priced, volatility, 0.0),
            priced=priced,
        ),
        extrapolated=extrapolated & priced,
        surface=surface_quality(market, chains),
        mark_error=quote_quality(chains),
    )


def _payable(terms: Instruments, currency: pa.ChunkedArray) -> NDArray[np.bool_]:
    """Return where the price, the time left and the currency of gains are all there."""
    in_cash = pc.equal(currency, CASH).to_numpy(zero_copy_only=False)
    linear = terms.settlement == Settlement.LINEAR
    paid = np.where(linear, in_cash, terms.settlement_underlying != UNKNOWN)
    dated = (terms.kind == Kind.FUTURE) | (terms.kind == Kind.OPTION)
    alive = ~dated | (terms.time_to_expiry > 0.0)
    payable: NDArray[np.bool_] = (terms.underlying != UNKNOWN) & paid & alive
    return payable


def _ratio(market: Market, chain: OptionChain | None, time_to_expiry: Array) -> Array:
    if chain is None:
        return np.ones_like(time_to_expiry)
    ratio = chain.fit.forward / market.index[chain.underlying].price
    return forward_ratio(time_to_expiry, chain.quotes.time_to_expiry, ratio)
