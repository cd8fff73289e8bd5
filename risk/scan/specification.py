"""What a scan is made of: the scenarios, the unit that nets, and what is done to its P&L."""

from collections import Counter
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from risk.specification import Fraction, Name, NonNegative, Positive, Specification

VolatilityState = Literal["up", "none", "down", "skew", "absolute_skew"]

# Shocks are fractions; what is far above is taken for a percentage.
PriceMove = Annotated[float, Field(gt=-1.0, le=20.0)]
VolatilityMove = Annotated[float, Field(ge=0.0, le=10.0)]
Range = Annotated[float, Field(gt=0.0, le=1.0)]

EDGE = 1.0 + 1e-12
"""Beyond so many price ranges a move is extreme; one range is not, whatever its last bit."""


class Cell(Specification):
    """One scenario: a relative price move, a state of volatility, and the weight of its P&L.

    In TOML a list ``[price, volatility, weight]``, the weight 1 when left out. Where the smile
    rotates, ``price`` moves what is not an option, and forwards of options stay.
    """

    price: PriceMove
    volatility: VolatilityState
    weight: Annotated[float, Field(ge=0.0, le=10.0)] = 1.0

    @property
    def rotates(self) -> bool:
        """Whether the smile rotates."""
        return self.volatility.endswith("skew")

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

    prices: tuple[PriceMove, ...] | None = None
    volatility_up: VolatilityMove | None = None
    volatility_down: Fraction | None = None
    dampener: NonNegative | None = None
    price_range: Range | None = None


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
    ``cap = max(0, cap_per_root_year sqrt(t) + cap)`` of the rotation and
    ``reach = max(least_reach, sqrt(t) width (volatility + volatility_per_root_year sqrt(t)))``.

    Source: Derive portfolio risk manager, second version.
    """

    linear_cap: NonNegative
    linear_cap_per_root_year: float
    absolute_cap: NonNegative
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

    up: Range
    down: Annotated[float, Field(gt=-1.0, lt=0.0)]
    add: NonNegative
    per_year: NonNegative


class ExtendedTable(Specification):
    """Extreme moves: P&L pulled to zero by ``dampener * (|move|/price_range - 1)``, then scaled.

    The dampener is reporting currency by unit of risk, and the scale ``factor`` times the weight
    of the cell. ``delta_one_within_range`` holds spot, futures and perpetuals to the edge of the
    range.

    Source: Deribit portfolio margin.
    """

    price_range: Range
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

    @model_validator(mode="after")
    def _two(self) -> "SpreadCredit":
        if self.underlyings[0] == self.underlyings[1]:
            raise ValueError(
                f"credit between {self.underlyings[0]!r} and itself; name two underlyings"
            )
        return self


class ScanSpec(Specification):
    """A scan of scenarios by unit of risk: the worst is the requirement of the unit.

    ``unit`` is what nets: the positions of an account in one underlying, or in one underlying
    and settlement currency. Within it the options of one expiry and settlement currency make one
    set, to which discounts, rotations and the basis contingency apply. ``in_settlement_currency``
    counts what is paid in coin in coin, at the index of before the move. ``credits`` are taken in
    their order, between units that the margin mode of the account nets. What ``underlying`` says
    of a coin that the market lacks is for another market.
    """

    layer: Name = "scan"
    unit: Literal["underlying", "underlying_settlement"] = "underlying"
    cells: Annotated[tuple[Cell, ...], Field(min_length=1)]
    volatility_up: VolatilityMove = 0.0
    volatility_down: Fraction = 0.0
    minimum_volatility_up: VolatilityMove = 0.0
    initial_factor: Positive = 1.0
    maintenance_factor: Positive
    discount: StaticDiscount | None = None
    skew: SkewShape | None = None
    basis: BasisContingency | None = None
    extended: ExtendedTable | None = None
    in_settlement_currency: bool = False
    credits: tuple[SpreadCredit, ...] = ()
    underlying: Annotated[dict[str, UnderlyingScan], Field(default_factory=dict)]

    @property
    def reads_sets(self) -> bool:
        """Whether something is done to a set by itself, before sets are summed."""
        return any(rule is not None for rule in (self.discount, self.skew, self.basis))

    @model_validator(mode="after")
    def _tables_fit(self) -> "ScanSpec":
        rotated = [cell for cell in self.cells if cell.rotates]
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
            if self.extended is None and (own.dampener, own.price_range) != (None, None):
                raise ValueError(
                    f"underlying {name}: dampener and price_range belong to [scan.extended], "
                    "which is not there"
                )
        if self.maintenance_factor > self.initial_factor:
            raise ValueError(
                f"maintenance_factor {self.maintenance_factor:g} is above initial_factor "
                f"{self.initial_factor:g}; what is asked to hold is never above what is asked to "
                "open"
            )
        return self

    @model_validator(mode="after")
    def _cells_count(self) -> "ScanSpec":
        if not any(self._moves(row) for row in range(len(self.cells))):
            raise ValueError(
                f"none of the {len(self.cells)} cells counts: each has a weight of 0 or moves "
                "neither price nor volatility; a scan of them would ask for nothing"
            )
        whole = Counter((cell, self._prices(row)) for row, cell in enumerate(self.cells))
        twice = [cell for (cell, _), times in whole.items() if times > 1]
        if twice:
            raise ValueError(
                f"cell [{twice[0].price:g}, {twice[0].volatility!r}, {twice[0].weight:g}] is "
                "given twice; give each cell once"
            )
        return self

    @model_validator(mode="after")
    def _pairs_differ(self) -> "ScanSpec":
        pairs = Counter(frozenset(credit.underlyings) for credit in self.credits)
        twice = [sorted(pair) for pair, times in pairs.items() if times > 1]
        if twice:
            raise ValueError(f"credits name the pair {twice[0]} twice; give each pair one rate")
        return self

    @model_validator(mode="after")
    def _scaled_alike(self) -> "ScanSpec":
        if self.extended is None or self.extended.factor == 1.0:
            return self
        edges = [self.extended.price_range] + [
            one.price_range or self.extended.price_range for one in self.underlying.values()
        ]
        for row, cell in enumerate(self.cells):
            prices = self._prices(row)
            beyond = {abs(price) / edge > EDGE for price, edge in zip(prices, edges, strict=True)}
            if len(beyond) > 1 and not cell.rotates:
                raise ValueError(
                    f"cell {row} is beyond the price_range of some underlyings only, its moves "
                    f"are {list(prices)}; a factor of {self.extended.factor:g} needs it to be "
                    "beyond all or none of them"
                )
        return self

    def _prices(self, row: int) -> tuple[float, ...]:
        """Return the moves of a cell: of underlyings in general, and of each that has its own."""
        cell = self.cells[row].price
        own = (one.prices for one in self.underlying.values())
        return (cell, *(cell if prices is None else prices[row] for prices in own))

    def _moves(self, row: int) -> bool:
        """Tell whether a cell counts at all."""
        cell = self.cells[row]
        up = [self.volatility_up, self.minimum_volatility_up] + [
            one.volatility_up for one in self.underlying.values()
        ]
        down = [self.volatility_down] + [one.volatility_down for one in self.underlying.values()]
        moves = {"up": any(up), "down": any(down), "none": False}.get(cell.volatility, True)
        return cell.weight > 0.0 and (moves or any(self._prices(row)))
