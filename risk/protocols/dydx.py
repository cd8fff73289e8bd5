"""dYdX v4: margin of perpetuals in whole quantums, the initial one scaled with open interest.

Source: dydxprotocol/v4-chain, x/perpetuals/lib and types/liquidity_tier.go.
"""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import ArrayLike, NDArray

from risk.liquidation import LiquidationPrice, line_crossing

Array = NDArray[np.float64]

MILLION = 1_000_000
QUOTE_RESOLUTION = -6


@dataclass(frozen=True, slots=True)
class LiquidityTier:
    """Margin parameters of a market, in parts per million; caps in quote quantums, 0 for none.

    ``maintenance_fraction_ppm`` is a part of the unscaled initial margin.
    """

    initial_margin_ppm: int
    maintenance_fraction_ppm: int
    open_interest_lower_cap: int = 0
    open_interest_upper_cap: int = 0

    def __post_init__(self) -> None:
        for name in ("initial_margin_ppm", "maintenance_fraction_ppm"):
            if not 0 <= getattr(self, name) <= MILLION:
                raise ValueError(f"{name} is {getattr(self, name)}; allowed is 0 to {MILLION}")
        if not 0 <= self.open_interest_lower_cap <= self.open_interest_upper_cap:
            raise ValueError(
                f"open interest caps are {self.open_interest_lower_cap} and "
                f"{self.open_interest_upper_cap}; must be 0 or more and rise"
            )


@dataclass(frozen=True, slots=True)
class Requirement:
    """Notional and requirements of one position in quote quantums (1e-6 USDC); rounded up."""

    notional: int
    initial: int
    maintenance: int


def quote_quantums(base_quantums: int, resolution: int, price: int, exponent: int) -> int:
    """Return the value of base quantums, towards zero: base price 10^(resolution+exponent+6).

    >>> quote_quantums(-1_000_000_000_000, -16, 123_456_789_123, -5)
    -123456789
    """
    power = resolution + exponent - QUOTE_RESOLUTION
    scaled = Fraction(base_quantums * price) * Fraction(10) ** power
    return int(scaled)


def requirement(
    base_quantums: int,
    resolution: int,
    price: int,
    exponent: int,
    tier: LiquidityTier,
    open_interest: int = 0,
) -> Requirement:
    """Return the requirement of one position; ``open_interest`` is in base quantums.

    The initial margin fraction grows linearly from its base at the lower cap to one at the upper
    cap of open interest; the maintenance margin does not.

    >>> requirement(12_000, -6, 36_750, 0, LiquidityTier(200_000, 500_000))
    Requirement(notional=441000000, initial=88200000, maintenance=44100000)
    """
    notional = quote_quantums(abs(base_quantums), resolution, price, exponent)
    base = _round_up(Fraction(notional * tier.initial_margin_ppm, MILLION))
    maintenance = _round_up(Fraction(base * tier.maintenance_fraction_ppm, MILLION))
    interest = quote_quantums(open_interest, resolution, price, exponent)
    parts = initial_margin_ppm(interest, tier)
    return Requirement(notional, _round_up(Fraction(notional * parts, MILLION)), maintenance)


def initial_margin_ppm(open_interest_value: int, tier: LiquidityTier) -> int:
    """Return the initial margin fraction at an open interest in quote quantums, truncated.

    >>> initial_margin_ppm(15, LiquidityTier(200_000, 500_000, 10, 20))
    600000
    """
    base = tier.initial_margin_ppm
    lower, upper = tier.open_interest_lower_cap, tier.open_interest_upper_cap
    if upper == 0 or open_interest_value < min(upper, lower + 1):
        return base
    if open_interest_value >= upper:
        return MILLION
    return base + (open_interest_value - lower) * (MILLION - base) // (upper - lower)


def liquidation_price(
    quote_balance: ArrayLike,
    size: ArrayLike,
    price: ArrayLike,
    maintenance_rate: ArrayLike,
    market: int,
) -> LiquidationPrice:
    """Return the price of one market at which equity equals maintenance, the others unchanged.

    ``quote_balance`` is (account,), the rest (..., market); in units of USDC and of the base
    asset, without rounding. Equity is the balance plus Σ size price.

    Raises:
        ValueError: something is not finite.

    >>> liquidation_price(-900.0, [10.0], [100.0], [0.05], 0).price.round(9).item()
    94.736842105
    """
    sizes, rates = np.asarray(size, np.float64), np.asarray(maintenance_rate, np.float64)
    net = np.atleast_1d(sizes - np.abs(sizes) * rates)
    others = np.delete(net * np.asarray(price, np.float64), market, axis=-1).sum(axis=-1)
    return line_crossing(np.asarray(quote_balance, np.float64) + others, net[..., market])


def _round_up(value: Fraction) -> int:
    return -((-value.numerator) // value.denominator)
