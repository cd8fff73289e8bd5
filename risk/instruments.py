"""What an instrument promises, as arrays that the pricing and margin kernels read."""

from dataclasses import dataclass, fields
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray


class Kind(IntEnum):
    """What the holder of one contract owns."""

    SPOT = 0
    FUTURE = 1
    PERPETUAL = 2
    OPTION = 3


class Settlement(IntEnum):
    """The currency in which gains are paid.

    Linear pays the quote currency, inverse pays the underlying coin, quanto pays a third coin
    at a fixed exchange.
    """

    LINEAR = 0
    INVERSE = 1
    QUANTO = 2


@dataclass(frozen=True, slots=True)
class Instruments:
    """The terms of every instrument of a book, one row each, in the book's canonical order.

    Shapes are ``(instrument,)``. ``multiplier`` is the contract size: units of the underlying
    per contract (spot, linear, and options of either settlement), reporting currency per
    contract (inverse futures and perpetuals), or settlement coins per unit of quoted price
    (quanto). Fields that a kind has no use for hold zero, never NaN.
    """

    kind: NDArray[np.int8]
    settlement: NDArray[np.int8]
    underlying: NDArray[np.int16]  # row of the market's underlyings
    settlement_underlying: NDArray[np.int16]  # row of the coin that pays, -1 for cash
    multiplier: NDArray[np.float64]
    strike: NDArray[np.float64]  # reporting currency per unit of the underlying
    is_call: NDArray[np.bool_]
    time_to_expiry: NDArray[np.float64]  # years of 365 days; 0 for spot and perpetuals

    def __len__(self) -> int:
        return len(self.kind)

    def take(self, rows: slice | NDArray[np.int64]) -> "Instruments":
        """Return the chosen rows, in the order asked for."""
        return Instruments(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})


@dataclass(frozen=True, slots=True)
class MarketState:
    """Prices at the valuation instant, aligned to the rows of an ``Instruments``.

    ``index`` has shape ``(underlying,)``; the rest ``(instrument,)``. Prices are reporting
    currency per unit of the underlying; volatility is an annual fraction (0.65, not 65).
    ``priced`` is false where an input is missing; such a row holds zeros, and an account that
    has a position in it is held back.
    """

    index: NDArray[np.float64]
    forward: NDArray[np.float64]
    volatility: NDArray[np.float64]
    priced: NDArray[np.bool_]


def unit_notional(instruments: Instruments, index: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the reporting-currency notional of one contract at index prices.

    Shape ``(instrument,), (underlying,) -> (instrument,)``; positive. An inverse future or
    perpetual is a fixed amount of reporting currency; a quanto pays its settlement coins at
    their index price; every other contract is a fixed quantity of its underlying.

    >>> import numpy as np
    >>> one = Instruments(
    ...     kind=np.array([Kind.PERPETUAL], np.int8),
    ...     settlement=np.array([Settlement.INVERSE], np.int8),
    ...     underlying=np.array([0], np.int16), settlement_underlying=np.array([0], np.int16),
    ...     multiplier=np.array([10.0]), strike=np.zeros(1), is_call=np.zeros(1, bool),
    ...     time_to_expiry=np.zeros(1),
    ... )
    >>> unit_notional(one, np.array([40_000.0])).tolist()
    [10.0]
    """
    dated = (instruments.kind == Kind.FUTURE) | (instruments.kind == Kind.PERPETUAL)
    inverse = dated & (instruments.settlement == Settlement.INVERSE)
    quanto = instruments.settlement == Settlement.QUANTO
    per_unit = np.where(inverse, 1.0, index[np.maximum(instruments.underlying, 0)])
    coin = index[np.maximum(instruments.settlement_underlying, 0)]
    return instruments.multiplier * per_unit * np.where(quanto, coin, 1.0)
