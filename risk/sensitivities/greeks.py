"""What one contract of every instrument gains for a move of price or volatility."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from risk.instruments import Instruments, Kind, MarketState, Settlement
from risk.pricing import black76
from risk.revaluation import VolatilityTenor, cash_delta, contract_value, revalue
from risk.scenarios.shocks import Shocks
from risk.sensitivities.specification import RiskFactors

Array = NDArray[np.float64]

_UNSHIFTED = VolatilityTenor(minimum_volatility=0.0)


@dataclass(frozen=True, slots=True)
class Sensitivities:
    """Sensitivities of one contract, ``(instrument,)``, in the reporting currency, gain positive.

    Attributes:
        underlying: row of the market's underlyings.
        delta: gain per unit of relative move of the underlying's price; a hundredth of it is the
            gain per +1 %.
        vega: gain per volatility point (0.01 of annual volatility).
        relative_vega: gain per unit of relative move of the contract's volatility.
        vertex, upper_share: the vertex at or before the expiry, and the share of vega that falls
            on the one after it.
        curvature_up, curvature_down: loss beyond the delta when the underlying moves by plus or
            minus its weight, **loss positive**.
    """

    underlying: NDArray[np.int64]
    delta: Array
    vega: Array
    relative_vega: Array
    vertex: NDArray[np.int64]
    upper_share: Array
    curvature_up: Array
    curvature_down: Array

    def __len__(self) -> int:
        return len(self.underlying)


def unit_sensitivities(
    instruments: Instruments, market: MarketState, factors: RiskFactors
) -> Sensitivities:
    """Return the sensitivities of one contract of every instrument.

    Delta is that of ``risk.revaluation.cash_delta``. Curvature is -(V(r) - V - r delta) at
    r = ±weight, a relative move of index and forwards alike, by full revaluation at unchanged
    volatility: zero but for options, and for a quanto that is paid in its own underlying, where it
    is -delta r^2. The move of a quanto's settlement coin has no first-order effect and is left
    out. Rows that are not ``priced`` are zero.

    Source: the definitions of the Basel market risk standard, MAR21.5 and MAR21.25.

    Raises:
        ValueError: as ``risk.revaluation.revalue``.
    """
    contract_value(instruments, market)  # refuses rows that no formula here can value
    size = len(instruments)
    underlying = np.where(market.priced, instruments.underlying, 0).astype(np.int64)
    delta = cash_delta(instruments, market)
    vega, relative_vega = np.zeros(size), np.zeros(size)
    own_coin = (instruments.settlement == Settlement.QUANTO) & (
        instruments.settlement_underlying == instruments.underlying
    )
    weight = factors.delta_weight[underlying]
    up = np.where(own_coin, -delta * weight**2, 0.0)
    down = up.copy()

    rows = np.flatnonzero(market.priced & (instruments.kind == Kind.OPTION))
    terms = instruments.take(rows)
    forward, sigma = market.forward[rows], market.volatility[rows]
    inverse = terms.settlement == Settlement.INVERSE
    in_cash = np.where(inverse, market.index[terms.underlying] / forward, 1.0)
    unit = terms.multiplier * in_cash
    per_unit = unit * black76.vega(forward, terms.strike, sigma, terms.time_to_expiry)
    vega[rows], relative_vega[rows] = 0.01 * per_unit, sigma * per_unit
    shocked = _repriced(terms, market, rows, factors)
    up[rows] = weight[rows] * delta[rows] - shocked[:, 0]
    down[rows] = -weight[rows] * delta[rows] - shocked[:, 1]

    vertex, share = tenor_shares(instruments.time_to_expiry, factors.years)
    return Sensitivities(underlying, delta, vega, relative_vega, vertex, share, up, down)


def tenor_shares(time_to_expiry: Array, years: Array) -> tuple[NDArray[np.int64], Array]:
    """Return for each expiry the vertex at or before it and the share of the one after it.

    ``(instrument,), (vertex,)``; linear in time, all on the first or last vertex outside them.

    >>> vertex, share = tenor_shares(np.array([0.1, 1.5, 9.0]), np.array([1.0, 2.0, 4.0]))
    >>> vertex.tolist(), share.tolist()
    ([0, 0, 1], [0.0, 0.5, 1.0])
    """
    vertex = np.clip(np.searchsorted(years, time_to_expiry, side="right") - 1, 0, len(years) - 2)
    share = (time_to_expiry - years[vertex]) / (years[vertex + 1] - years[vertex])
    return vertex.astype(np.int64), np.clip(share, 0.0, 1.0)


def _repriced(
    terms: Instruments, market: MarketState, rows: NDArray[np.int64], factors: RiskFactors
) -> Array:
    """Return the gain of each option at plus and minus the weight, ``(option, 2)``.

    All underlyings move at once, for an option reads its own alone.
    """
    price = np.stack([factors.delta_weight, -factors.delta_weight])
    still = np.zeros_like(price)
    state = MarketState(
        market.index, market.forward[rows], market.volatility[rows], market.priced[rows]
    )
    return revalue(terms, state, Shocks(price, still, still, still), _UNSHIFTED)
