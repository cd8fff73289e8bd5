"""The revaluation cube: what one contract of every instrument gains in every scenario."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from risk.instruments import Instruments, Kind, MarketState, Settlement
from risk.pricing.black76 import black76
from risk.scenarios.shocks import Shocks


@dataclass(frozen=True, slots=True)
class VolatilityTenor:
    """How a volatility shock, quoted at a reference tenor, reaches shorter and longer options.

    The shock is multiplied by (reference_days / days)^power: the short power up to the reference
    tenor, the long power beyond it, ``days`` no less than ``floor_days``. The shocked volatility
    never falls below ``minimum_volatility``, an annual fraction.
    """

    reference_days: float = 30.0
    short_power: float = 0.30
    long_power: float = 0.13
    floor_days: float = 1.0
    minimum_volatility: float = 0.05

    def scale(self, time_to_expiry: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the multiplier of a volatility shock, (instrument,) -> (instrument,).

        >>> VolatilityTenor().scale(np.array([30 / 365, 7.5 / 365])).round(6).tolist()
        [1.0, 1.515717]
        """
        days = time_to_expiry * 365.0
        power = np.where(days <= self.reference_days, self.short_power, self.long_power)
        return np.asarray((self.reference_days / np.maximum(days, self.floor_days)) ** power)


def contract_value(instruments: Instruments, market: MarketState) -> NDArray[np.float64]:
    """Return the mark value of one contract in the reporting currency, (instrument,).

    Futures and perpetuals are settled to mark and have no value; rows not priced are zero.
    """
    value = np.zeros(len(instruments))
    index = market.index[instruments.underlying]
    spot = market.priced & (instruments.kind == Kind.SPOT)
    value[spot] = (instruments.multiplier * index)[spot]
    rows = np.flatnonzero(market.priced & (instruments.kind == Kind.OPTION))
    terms = instruments.take(rows)
    forward = market.forward[rows]
    premium = black76(
        forward, terms.strike, market.volatility[rows], terms.time_to_expiry, terms.is_call
    )
    inverse = terms.settlement == Settlement.INVERSE
    value[rows] = terms.multiplier * premium * np.where(inverse, index[rows] / forward, 1.0)
    return value


def revalue(
    instruments: Instruments, market: MarketState, shocks: Shocks, tenor: VolatilityTenor
) -> NDArray[np.float64]:
    """Return the gain of one contract in every scenario, ``(instrument, scenario)``."""
    cube = np.zeros((len(instruments), len(shocks.price)))
    scale = tenor.scale(instruments.time_to_expiry)
    for row in np.flatnonzero(market.priced):
        coin = instruments.underlying[row]
        price = 1.0 + shocks.price[:, coin]
        spot, forward = market.index[coin], market.forward[row]
        kind, years = instruments.kind[row], instruments.time_to_expiry[row]
        shocked_spot = spot * price
        shocked = forward * price
        if kind == Kind.PERPETUAL:
            shocked = shocked * (1.0 + shocks.perpetual_basis[:, coin])
        elif kind in (Kind.FUTURE, Kind.OPTION):
            shocked = shocked * (1.0 + shocks.forward_basis[:, coin] * years)
        settlement, multiplier = instruments.settlement[row], instruments.multiplier[row]
        if kind == Kind.SPOT:
            cube[row] = multiplier * (shocked_spot - spot)
        elif kind == Kind.OPTION:
            if settlement == Settlement.QUANTO:
                raise ValueError(f"QUANTO_OPTION: instrument row {row}")
            strike, call = instruments.strike[row], instruments.is_call[row]
            volatility = market.volatility[row]
            stressed = volatility * (1.0 + shocks.volatility[:, coin] * scale[row])
            stressed = np.maximum(tenor.minimum_volatility, stressed)
            before = black76(forward, strike, volatility, years, call)
            after = black76(shocked, strike, stressed, years, call)
            if settlement == Settlement.INVERSE:
                before, after = before / forward * spot, after / shocked * shocked_spot
            cube[row] = multiplier * (after - before)
        elif settlement == Settlement.LINEAR:
            cube[row] = multiplier * (shocked - forward)
        elif settlement == Settlement.INVERSE:
            cube[row] = multiplier * (1.0 / forward - 1.0 / shocked) * shocked_spot
        else:
            payer = instruments.settlement_underlying[row]
            payment = market.index[payer] * (1.0 + shocks.price[:, payer])
            cube[row] = multiplier * (shocked - forward) * payment
    return cube
