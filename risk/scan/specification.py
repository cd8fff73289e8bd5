"""What a scan is made of: the scenarios, the unit that nets, and what is done to its P&L."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from risk.specification import Fraction, NonNegative, Positive, Specification

VolatilityState = Literal["up", "none", "down", "skew", "absolute_skew"]


class Cell(Specification):
    """One scenario: a relative price move, a state of volatility, and the weight of its P&L.

    In TOML a list ``[price, volatility, weight]``, the weight 1 when left out.
    """

    price: Annotated[float, Field(gt=-1.0, le=20.0)]
    volatility: VolatilityState
    weight: NonNegative = 1.0

    @model_validator(mode="before")
    @classmethod
    def _from_list(cls, given: Any) -> Any:
        if isinstance(given, (list, tuple)):
            if len(given) not in (2, 3):
                raise ValueError(
                    f"a cell is [price, volatility] or [price, volatility, weight], got {given}"
                )
            return dict(zip(("price", "volatility", "weight"), given, strict=False))
        return given


class UnderlyingScan(Specification):
    """What one underlying does otherwise: its price moves, cell by cell, and its sizes."""

    prices: tuple[Annotated[float, Field(gt=-1.0, le=20.0)], ...] | None = None
    volatility_up: NonNegative | None = None
    volatility_down: NonNegative | None = None
    dampener: NonNegative | None = None
    price_range: Positive | None = None


class StaticDiscount(Specification):
    """Discounts on the value of an expiry in a scenario, by its sign.

    A value V >= 0 counts for ``V * positive * exp(-t (rate * long_rate + long_add))`` and a
    value below zero for V times the lesser of the inverse discount factor and
    ``negative * exp(t (rate * short_rate + short_add))``, t years to the expiry.

    Source: Derive portfolio risk manager; the first version discounts positive values alone.
    """

    positive: Positive
    long_rate: NonNegative
    long_add: NonNegative
    negative: Positive | None = None
    short_rate: NonNegative = 0.0
    short_add: NonNegative = 0.0


class SkewShape(Specification):
    """Rotations of the smile about the money, by log-moneyness k = ln(K/F) or its size.

    The volatility is multiplied by ``max(0, 1 + clip(k cap/reach, -cap, cap))`` with
    ``cap = cap_per_root_year sqrt(t) + cap`` of the rotation and
    ``reach = max(least_reach, sqrt(t) width (volatility + volatility_per_root_year sqrt(t)))``.

    Source: Derive portfolio risk manager, second version.
    """

    linear_cap: float
    linear_cap_per_root_year: float
    absolute_cap: float
    absolute_cap_per_root_year: float
    least_reach: Positive
    width: Positive
    volatility: float
    volatility_per_root_year: float


class BasisContingency(Specification):
    """One more scenario: every expiry at its own worse of two price moves, scaled by its time.

    An expiry loses ``(add + per_year t) * -min(P&L up, P&L down, 0)``, and the sum over expiries
    competes with the scenarios.

    Source: Derive portfolio risk manager.
    """

    up: Positive
    down: Annotated[float, Field(gt=-1.0, lt=0.0)]
    add: NonNegative
    per_year: NonNegative


class ExtendedTable(Specification):
    """Extreme moves: P&L pulled to zero by ``dampener * (|move|/price_range - 1)``, then scaled.

    ``delta_one_within_range`` holds spot, futures and perpetuals to the edge of the range.
    Source: Deribit portfolio margin.
    """

    price_range: Positive
    dampener: NonNegative
    factor: Positive = 1.0
    delta_one_within_range: bool = True


class SpreadCredit(Specification):
    """What a gain in one underlying offsets of the loss in another, after each was scanned alone.

    Spreads are formed between opposite deltas, one reporting currency unit of each; a spread is
    credited ``rate`` times the scanned loss per unit of delta of both its legs.

    Source: inter-commodity spread credit of SPAN, with ratios of one to one in money.
    """

    underlyings: tuple[str, str]
    rate: Fraction


class ScanSpec(Specification):
    """A scan of scenarios by unit of risk: the worst is the requirement of the unit.

    ``unit`` is what nets: the positions of an account in one underlying, or in one underlying
    and settlement currency. Within it an expiry's options make one set, to which discounts,
    rotations and the basis contingency apply. ``in_settlement_currency`` counts what is paid in
    coin in coin, at the index of before the move. ``credits`` are taken in their order.
    """

    layer: str = "scan"
    unit: Literal["underlying", "underlying_settlement"] = "underlying"
    cells: Annotated[tuple[Cell, ...], Field(min_length=1)]
    volatility_up: NonNegative = 0.0
    volatility_down: NonNegative = 0.0
    minimum_volatility_up: NonNegative = 0.0
    initial_factor: Positive = 1.0
    maintenance_factor: Positive
    discount: StaticDiscount | None = None
    skew: SkewShape | None = None
    basis: BasisContingency | None = None
    extended: ExtendedTable | None = None
    in_settlement_currency: bool = False
    credits: tuple[SpreadCredit, ...] = ()
    underlying: Annotated[dict[str, UnderlyingScan], Field(default_factory=dict)]

    @model_validator(mode="after")
    def _consistent(self) -> "ScanSpec":
        rotated = [cell for cell in self.cells if cell.volatility.endswith("skew")]
        if rotated and self.skew is None:
            raise ValueError(
                f"{len(rotated)} cells rotate the smile, the first {rotated[0].volatility!r}; "
                "give the table [scan.skew], or leave the cells out"
            )
        for name, own in self.underlying.items():
            if own.prices is not None and len(own.prices) != len(self.cells):
                raise ValueError(
                    f"underlying {name}: {len(own.prices)} prices for {len(self.cells)} cells; "
                    "give one for each cell"
                )
            if self.extended is None and (own.dampener or own.price_range):
                raise ValueError(
                    f"underlying {name}: dampener and price_range belong to [scan.extended]"
                )
        return self
