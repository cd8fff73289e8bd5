"""The option chains of a market, one a coin, each fitted to its surface."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from risk.surface.chain import Chain, Quotes, fit_chain
from storage.market import Market
from workers.terms import years_to

MARK_TICK = 1e-6
"""Step of a mark in units of the forward: chains are published with six decimals."""


@dataclass(frozen=True, slots=True)
class OptionChain:
    """The quotes of one coin, sorted by expiry, and the chain fitted to them."""

    underlying: str
    table: pa.Table
    expiries: NDArray[np.datetime64]
    quotes: Quotes
    fit: Chain


def fit_chains(market: Market) -> dict[str, OptionChain]:
    """Return the option chain of every coin that has quotes, fitted."""
    table = market.quotes()
    coins = sorted(pc.unique(table["underlying"]).to_pylist())
    return {coin: _fit(market, coin) for coin in coins}


def _fit(market: Market, coin: str) -> OptionChain:
    table = market.quotes()
    table = table.filter(pc.equal(table["underlying"], coin))
    years = years_to(table["expiry"], market.as_of)
    table, years = table.filter(pa.array(years > 0.0)), years[years > 0.0]
    time_to_expiry, expiry = np.unique(years, return_inverse=True)
    forward = table["forward"].to_numpy()
    quotes = Quotes(
        mark=table["mark"].to_numpy() * forward,
        forward=forward,
        strike=table["strike"].to_numpy(),
        is_call=pc.equal(table["option_type"], "call").to_numpy(zero_copy_only=False),
        expiry=expiry.astype(np.int64),
        tick=MARK_TICK * forward,
        time_to_expiry=time_to_expiry,
    )
    instants = np.unique(table["expiry"].cast(pa.timestamp("s")).to_numpy())
    return OptionChain(coin, table, instants.astype("datetime64[s]"), quotes, fit_chain(quotes))
