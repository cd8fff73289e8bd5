"""The revaluation cube: what one contract of every instrument gains in every scenario."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from risk.instruments import Instruments, Kind, MarketState, Settlement
from risk.pricing.black76 import black76, delta
from risk.pricing.cells import LEAST_DEVIATION, revalue_delta_one, revalue_options
from risk.scenarios.shocks import SHOCKS, Shocks

_LEAST_RATIO = 1e-300  # of strike to forward: stands for a strike of zero


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
    """Return the mark value of one contract, ``(instrument,)``, in the reporting currency.

    Spot is worth its index and an option its Black-76 value at the market's volatility, an inverse
    one converted from coin at the index. Futures and perpetuals are settled to mark and have no
    value; nor have rows that are not ``priced``.

    Raises:
        ValueError: as ``revalue``.
    """
    _check_market(instruments, market)
    value = np.zeros(len(instruments))
    spot = np.flatnonzero(market.priced & (instruments.kind == Kind.SPOT))
    value[spot] = instruments.multiplier[spot] * market.index[instruments.underlying[spot]]
    rows = np.flatnonzero(market.priced & (instruments.kind == Kind.OPTION))
    terms = instruments.take(rows)
    premium = black76(
        market.forward[rows],
        terms.strike,
        market.volatility[rows],
        terms.time_to_expiry,
        terms.is_call,
    )
    value[rows] = terms.multiplier * premium * _coin_to_cash(terms, market, rows)
    return value


def cash_delta(instruments: Instruments, market: MarketState) -> NDArray[np.float64]:
    """Return what one contract gains per unit relative move of its underlying, to first order.

    ``(instrument,)``, reporting currency, gain positive; a hundredth of it is the gain per +1 %.
    The index and forwards move alike: ``multiplier`` times S (spot), F (linear future or
    perpetual), S/F (inverse), F times the settlement coin (quanto), F times Black-76 delta (linear
    option), S times it (inverse option). The move of a quanto's settlement coin is left out. Rows
    that are not ``priced`` are zero. It is the derivative of ``revalue``.
    """
    index = market.index[np.maximum(instruments.underlying, 0)]
    coin = market.index[np.maximum(instruments.settlement_underlying, 0)]
    forward = np.where(market.forward > 0.0, market.forward, 1.0)
    per_unit = np.select(
        [
            instruments.kind == Kind.SPOT,
            instruments.settlement == Settlement.INVERSE,
            instruments.settlement == Settlement.QUANTO,
        ],
        [index, index / forward, forward * coin],
        forward,
    )
    found = np.where(market.priced, instruments.multiplier * per_unit, 0.0)
    rows = np.flatnonzero(market.priced & (instruments.kind == Kind.OPTION))
    terms, forward = instruments.take(rows), market.forward[rows]
    sigma = market.volatility[rows]
    slope = delta(forward, terms.strike, sigma, terms.time_to_expiry, terms.is_call)
    unit = terms.multiplier * _coin_to_cash(terms, market, rows)
    found[rows] = unit * forward * slope
    return found


def revalue(
    instruments: Instruments, market: MarketState, shocks: Shocks, tenor: VolatilityTenor
) -> NDArray[np.float64]:
    """Return what one contract gains, ``(instrument, scenario)``, in the reporting currency.

    Every contract is repriced in full, at once (no time passes), at the same strike volatility.
    With S = S0 (1 + price) and F = F0 (1 + price) (1 + basis), basis being ``perpetual_basis``
    or ``forward_basis`` times the years to expiry, one contract gains ``multiplier`` times

    - spot: S - S0; linear future or perpetual: F - F0;
    - inverse future or perpetual: (1/F0 - 1/F) coins, each worth S;
    - quanto future or perpetual: F - F0 settlement coins, each worth its own scenario price;
    - linear option: V - V0, by undiscounted Black-76 on F at the shocked volatility;
    - inverse option: S V/F - S0 V0/F0.

    Gains are positive. A row that is not ``priced`` is zero throughout. A scenario in which
    nothing moves gains exactly zero, unless the minimum volatility lifts a volatility below it.
    Cells depend on their own instrument and scenario alone, to the last bit.

    Raises:
        ValueError: a priced quanto option, or a priced row whose price, strike, volatility or
            time is out of range; or a basis shock that leaves no forward.
    """
    _check_market(instruments, market)
    _check_basis(instruments, market, shocks)
    # Copies, for an array that may not be written to is another type to the compiler.
    moves = {name: np.array(getattr(shocks, name).T, order="C") for name in SHOCKS}
    cube = np.zeros((len(instruments), len(shocks.price)))

    rows = np.flatnonzero(market.priced & (instruments.kind != Kind.OPTION))
    terms = instruments.take(rows)
    revalue_delta_one(
        cube,
        rows,
        terms.kind,
        terms.settlement,
        terms.underlying,
        terms.settlement_underlying,
        terms.time_to_expiry,
        terms.multiplier,
        market.forward[rows],
        market.index.copy(),
        moves["price"],
        moves["perpetual_basis"],
        moves["forward_basis"],
    )

    rows = np.flatnonzero(market.priced & (instruments.kind == Kind.OPTION))
    terms = instruments.take(rows)
    forward, root = market.forward[rows], np.sqrt(terms.time_to_expiry)
    strike = np.maximum(terms.strike, forward * _LEAST_RATIO)
    unit = terms.multiplier * _coin_to_cash(terms, market, rows)
    revalue_options(
        cube,
        rows,
        terms.underlying,
        terms.time_to_expiry,
        forward * unit,
        strike * unit,
        np.log(forward / strike),
        np.maximum(market.volatility[rows] * root, LEAST_DEVIATION),
        np.maximum(tenor.minimum_volatility * root, LEAST_DEVIATION),
        tenor.scale(terms.time_to_expiry),
        np.where(terms.is_call, 0.5, -0.5),
        terms.settlement == Settlement.INVERSE,
        moves["price"],
        moves["volatility"],
        moves["forward_basis"],
    )
    return cube


def _coin_to_cash(
    terms: Instruments, market: MarketState, rows: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return what the option value V, in cash on the forward, is worth in cash now: S0/F0 or 1."""
    ratio = market.index[terms.underlying] / market.forward[rows]
    return np.where(terms.settlement == Settlement.INVERSE, ratio, 1.0)


def _check_market(instruments: Instruments, market: MarketState) -> None:
    """Refuse priced rows that no formula here can value."""
    option = instruments.kind == Kind.OPTION
    quanto = np.flatnonzero(market.priced & option & (instruments.settlement == Settlement.QUANTO))
    if len(quanto):
        raise ValueError(
            f"QUANTO_OPTION: {len(quanto)} priced quanto options, the first at row {quanto[0]}; "
            "options may be linear or inverse; mark the rows as not priced"
        )
    has_forward = instruments.kind != Kind.SPOT
    for name, values, wanted, low in (
        ("index", market.index[instruments.underlying], True, "above 0"),
        ("forward", market.forward, has_forward, "above 0"),
        ("volatility", market.volatility, option, "0 or more"),
        ("strike", instruments.strike, option, "0 or more"),
        ("time_to_expiry", instruments.time_to_expiry, option, "above 0"),
    ):
        enough = values > 0.0 if low == "above 0" else values >= 0.0
        bad = np.flatnonzero(market.priced & wanted & ~(enough & np.isfinite(values)))
        if len(bad):
            raise ValueError(
                f"{name} is {values[bad[0]]} at priced row {bad[0]} ({len(bad)} such rows); "
                f"allowed is a finite number {low}; mark the rows as not priced"
            )


def _check_basis(instruments: Instruments, market: MarketState, shocks: Shocks) -> None:
    """Refuse basis shocks under which a forward is zero or negative."""
    for name, kinds, per_year in (
        ("perpetual_basis", (Kind.PERPETUAL,), False),
        ("forward_basis", (Kind.FUTURE, Kind.OPTION), True),
    ):
        rows = np.flatnonzero(market.priced & np.isin(instruments.kind, kinds))
        lowest = getattr(shocks, name).min(axis=0, initial=0.0)[instruments.underlying[rows]]
        if per_year:
            lowest = lowest * instruments.time_to_expiry[rows]
        bad = rows[lowest <= -1.0]
        if len(bad):
            raise ValueError(
                f"{name} moves the forward of row {bad[0]} by {lowest.min()} ({len(bad)} such "
                "rows); allowed is above -1; use smaller shocks or nearer expiries"
            )
