"""What scenarios are made from: history, a period of stress, a grid, named events."""

from datetime import datetime
from typing import Annotated

from pydantic import Field, model_validator

from risk.scenarios.shocks import SHOCKS
from risk.specification import Fraction, Positive, Specification

LARGEST_SHOCK = 20.0
"""A shock of a named event beyond this is taken for a percentage."""


class HistoricalSpec(Specification):
    """Overlapping windows over the hourly history of all underlyings.

    Moves of a window of one length stand for those of ``margin_period_of_risk_hours``, where that
    is another, times the square root of the ratio: of log prices and of log volatilities.
    """

    holding_period_hours: Annotated[int, Field(gt=0)]
    step_hours: Annotated[int, Field(gt=0)]
    start: datetime
    end: datetime
    volatility_half_life_hours: Positive
    margin_period_of_risk_hours: Annotated[int, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _ordered(self) -> "HistoricalSpec":
        _require_period(self.start, self.end)
        return self


class StressedSpec(Specification):
    """A period of stress inside the history, cut into windows like the rest but at its own step.

    Source: Regulation (EU) 153/2013, Article 28 (1) (b), stressed observations; Basel Committee
    2009, stressed value at risk over a continuous 12-month period.
    """

    start: datetime
    end: datetime
    step_hours: Annotated[int, Field(gt=0)]

    @model_validator(mode="after")
    def _ordered(self) -> "StressedSpec":
        _require_period(self.start, self.end)
        return self


def _require_period(start: datetime, end: datetime) -> None:
    for name, instant in (("start", start), ("end", end)):
        if instant.tzinfo is None:
            raise ValueError(f"TZ_MISSING: {name} {instant} has no zone; write it with a Z")
    if start >= end:
        raise ValueError(f"start {start} is not before end {end}")


class GridSpec(Specification):
    """A lattice of price and volatility moves, with extreme price moves that count in part.

    An extreme move m is weighted ``price_range / abs(m)``.
    """

    price_range: Fraction
    buckets: Annotated[int, Field(gt=0)]
    volatility_up: Annotated[float, Field(ge=0.0)]
    volatility_down: Fraction
    extreme_moves: tuple[Annotated[float, Field(gt=-1.0)], ...] = ()


class EventSpec(Specification):
    """A named hypothetical event: for each shock its size by underlying, with a ``default``."""

    name: str
    label: str
    shocks: dict[str, dict[str, float]]

    @model_validator(mode="after")
    def _known(self) -> "EventSpec":
        unknown = sorted(set(self.shocks) - set(SHOCKS))
        if unknown:
            raise ValueError(f"event {self.name!r}: unknown shocks {unknown}; use {list(SHOCKS)}")
        for shock, by_coin in self.shocks.items():
            for coin, move in by_coin.items():
                if not -1.0 < move <= LARGEST_SHOCK:
                    raise ValueError(
                        f"event {self.name!r}: {shock} of {coin} is {move:g}, allowed is above -1 "
                        f"and up to {LARGEST_SHOCK:g}; shocks are fractions, 0.15 and not 15"
                    )
        return self
