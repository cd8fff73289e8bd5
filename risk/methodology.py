"""A methodology: which scenarios, which netting, which measures, which layers, as frozen data."""

import tomllib
from datetime import date, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from risk.measures import CONVENTIONS
from risk.revaluation import VolatilityTenor
from risk.scenarios.shocks import SHOCKS

Positive = Annotated[float, Field(gt=0.0)]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Origin = Literal["historical", "episode", "grid", "event"]


LARGEST_SHOCK = 20.0
"""A shock of a named event beyond this is taken for a percentage."""


class _Frozen(BaseModel):
    """Frozen, and strict about fields: a misspelt switch is an error, never a default."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class HistoricalSpec(_Frozen):
    """Overlapping windows over the hourly history of all underlyings."""

    holding_period_hours: Annotated[int, Field(gt=0)]
    step_hours: Annotated[int, Field(gt=0)]
    start: datetime
    end: datetime
    volatility_half_life_hours: Positive

    @model_validator(mode="after")
    def _ordered(self) -> "HistoricalSpec":
        for name, instant in (("start", self.start), ("end", self.end)):
            if instant.tzinfo is None:
                raise ValueError(f"TZ_MISSING: {name} {instant} has no zone; write it with a Z")
        if self.start >= self.end:
            raise ValueError(f"start {self.start} is not before end {self.end}")
        return self


class GridSpec(_Frozen):
    """A lattice of price and volatility moves, with extreme price moves that count in part.

    An extreme move m is weighted ``price_range / abs(m)``.
    """

    price_range: Fraction
    buckets: Annotated[int, Field(gt=0)]
    volatility_up: Annotated[float, Field(ge=0.0)]
    volatility_down: Fraction
    extreme_moves: tuple[Annotated[float, Field(gt=-1.0)], ...] = ()


class EventSpec(_Frozen):
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


class MeasureSpec(_Frozen):
    """One measure over the scenarios of some origins.

    A measure with a ``layer`` sets that layer: the layer is the amount by which the measure
    exceeds every measure before it. A measure without one is only reported.
    """

    name: str
    kind: Literal["worst_loss", "value_at_risk", "expected_shortfall"]
    origins: tuple[Origin, ...]
    level: Annotated[float, Field(ge=0.0)] = 0.0
    convention: str = "inverted_cdf"
    layer: str | None = None

    @model_validator(mode="after")
    def _quantile_is_one(self) -> "MeasureSpec":
        if self.convention not in CONVENTIONS:
            raise ValueError(
                f"{self.name}: unknown quantile convention {self.convention!r}; "
                f"use one of {[*CONVENTIONS]}"
            )
        if self.kind != "worst_loss" and not 0.0 < self.level < 1.0:
            hint = f"; did you mean {self.level / 100:g}?" if 1.0 < self.level < 100.0 else ""
            raise ValueError(f"LEVEL_RANGE: {self.name} level {self.level:g} not in (0, 1){hint}")
        return self


class ShortOptionMinimum(_Frozen):
    """A floor for accounts that are short options: a rate on the notional of every short option.

    The layer is the amount by which the floor exceeds the layers before it (the short option
    minimum of the SPAN family, per account).
    """

    layer: str = "short_option"
    rate: Fraction


class Netting(_Frozen):
    """For each margin mode, the positions of an account whose gains and losses offset."""

    isolated: Literal["position", "settlement_currency", "account"] = "position"
    cross: Literal["position", "settlement_currency", "account"] = "settlement_currency"
    portfolio: Literal["position", "settlement_currency", "account"] = "account"


class VolatilityTenorSpec(_Frozen):
    """How a volatility shock at the reference tenor carries to other tenors."""

    reference_days: Positive
    short_power: Fraction
    long_power: Fraction
    floor_days: Positive
    minimum_volatility: Fraction

    def tenor(self) -> VolatilityTenor:
        """Return it in the form that revaluation takes."""
        return VolatilityTenor(**self.model_dump())


class Methodology(_Frozen):
    """A dated margin methodology; the whole of what makes one run's rules differ from another's."""

    name: str
    version: str
    effective: date
    title: str
    sources: tuple[str, ...]
    netting: Netting
    volatility_tenor: VolatilityTenorSpec
    historical: HistoricalSpec
    grid: GridSpec
    measures: Annotated[tuple[MeasureSpec, ...], Field(min_length=1)]
    short_option: ShortOptionMinimum
    events: tuple[EventSpec, ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> "Methodology":
        names = [measure.name for measure in self.measures]
        if len(set(names)) < len(names):
            raise ValueError(f"measure names {names} must differ")
        if len(set(self.layers)) < len(self.layers):
            raise ValueError(f"layer names {list(self.layers)} must differ")
        if self.measures[0].layer is None:
            raise ValueError(f"the first measure, {names[0]!r}, sets the base and needs a layer")
        return self

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers, in the order in which they are stacked."""
        stacked = tuple(measure.layer for measure in self.measures if measure.layer is not None)
        return (*stacked, self.short_option.layer)


def parse_methodology(text: str, events: str = "") -> Methodology:
    """Return the methodology that a TOML text describes, with the events of a second text.

    Raises:
        ValueError: the text is not TOML, or a field is missing, misspelt or out of its range.
    """
    document: dict[str, Any] = tomllib.loads(text)
    listed = tomllib.loads(events)
    if set(listed) - {"events"}:
        raise ValueError(
            f"events hold {sorted(set(listed) - {'events'})}; allowed is [[events]] alone"
        )
    document["events"] = [*document.get("events", []), *listed.get("events", [])]
    return Methodology.model_validate(document)
