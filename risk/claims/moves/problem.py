"""What a plan of moves is asked for: sources, routes, bridges, and what venues require.

Numbers are decimal and stay exact: a quantity is a whole number of the token's smallest unit.
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from fractions import Fraction
from functools import cached_property
from typing import Annotated, Self

from pydantic import Field, model_validator

from risk.specification import Name, Specification

Positive = Annotated[Decimal, Field(gt=0)]
NonNegative = Annotated[Decimal, Field(ge=0)]
Share = Annotated[Decimal, Field(ge=0, lt=1)]

YEAR = 365 * 86_400
"""Seconds of a year in the cost of delay."""


class Token(Specification):
    """What is held and moved: a bridged token is another token than the one it stands for.

    ``price`` is the reporting currency that a unit fetches; fees and caps are measured by it.
    ``asset`` is what concentration is counted by, the token itself where it is left out.
    """

    name: Name
    asset: Name | None = None
    decimals: Annotated[int, Field(ge=0, le=36)]
    price: Positive
    bridge: Name | None = None

    @property
    def concentrated_in(self) -> str:
        """The asset that this token is a concentration in."""
        return self.asset or self.name

    @property
    def units(self) -> int:
        """Smallest units of a whole one."""
        return int(10**self.decimals)

    @property
    def unit_price(self) -> Fraction:
        """Reporting currency for one smallest unit."""
        return Fraction(self.price) / self.units

    def whole(self, quantity: Decimal) -> int:
        """Return a quantity in smallest units.

        Raises:
            ValueError: it has more decimals than the token.

        >>> Token(name="USDC", decimals=6, price=Decimal(1)).whole(Decimal("2.5"))
        2500000
        """
        units = Fraction(quantity) * self.units
        if units.denominator != 1:
            raise ValueError(
                f"{quantity} {self.name} has more than the {self.decimals} decimals of the token"
            )
        return units.numerator


class Source(Specification):
    """What is free to move of a token at a place: a chain, a protocol, a custodian, a venue."""

    token: Name
    place: Name
    quantity: NonNegative


class Route(Specification):
    """A way of tokens from one place to another: a transfer, a withdrawal, a bridge.

    ``carries`` names each token that may take it and the token that arrives. A transfer costs
    ``fee`` in the reporting currency, paid apart, and ``fee_share`` of its quantity, withheld from
    what arrives ``seconds`` later. ``capacity`` bounds all its transfers together, by value sent;
    ``minimum`` and ``lot`` are in units of the token sent.
    """

    name: Name
    origin: Name
    destination: Name
    carries: Annotated[dict[Name, Name], Field(min_length=1)]
    seconds: Annotated[int, Field(ge=1)]
    fee: NonNegative = Decimal(0)
    fee_share: Share = Decimal(0)
    capacity: NonNegative | None = None
    minimum: NonNegative = Decimal(0)
    lot: Positive | None = None
    bridge: Name | None = None

    @model_validator(mode="after")
    def _over_a_bridge_comes_another_token(self) -> Self:
        for sent, arriving in self.carries.items():
            if self.bridge is not None and sent == arriving:
                raise ValueError(
                    f"route {self.name} crosses {self.bridge} and delivers the {sent} that it "
                    "took; name the bridged token as another token"
                )
        if self.origin == self.destination:
            raise ValueError(f"route {self.name} ends where it begins, at {self.origin}")
        return self


class Bridge(Specification):
    """What many routes or tokens rest on, and how much may rest on it, in reporting currency.

    ``most_moved`` bounds what the plan sends over its routes, ``most_counted`` the credit that all
    venues together are counted in tokens of this bridge.
    """

    name: Name
    most_moved: NonNegative | None = None
    most_counted: NonNegative | None = None


class Requirement(Specification):
    """What a venue must hold ``due`` seconds from now and ever after, in reporting currency.

    ``credit`` is what a unit of each token counts for there. No asset counts for more than
    ``most_share`` of the amount.
    """

    venue: Name
    amount: NonNegative
    due: Annotated[int, Field(ge=0)]
    credit: Annotated[dict[Name, NonNegative], Field(min_length=1)]
    most_share: Annotated[Decimal, Field(gt=0, le=1)] = Decimal(1)


class MoveProblem(Specification):
    """Everything that a plan of moves follows from.

    ``delay_cost`` is what value under way costs a year, as a fraction of it.
    """

    currency: Name = "USD"
    delay_cost: NonNegative = Decimal(0)
    tokens: Annotated[tuple[Token, ...], Field(min_length=1)]
    sources: tuple[Source, ...]
    routes: tuple[Route, ...] = ()
    bridges: tuple[Bridge, ...] = ()
    requirements: Annotated[tuple[Requirement, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _names_are_known_and_unique(self) -> Self:
        _unique("token", (one.name for one in self.tokens))
        _unique("route", (one.name for one in self.routes))
        _unique("bridge", (one.name for one in self.bridges))
        _unique("requirement of venue", (one.venue for one in self.requirements))
        tokens, bridges = self.token, self.bridge
        for one in self.tokens:
            _known("bridge", one.bridge, bridges, f"token {one.name}")
        for source in self.sources:
            _known("token", source.token, tokens, f"the source at {source.place}")
            self.token[source.token].whole(source.quantity)
        for route in self.routes:
            _known("bridge", route.bridge, bridges, f"route {route.name}")
            for pair in route.carries.items():
                for name in pair:
                    _known("token", name, tokens, f"route {route.name}")
            for sent in route.carries:
                tokens[sent].whole(route.minimum)
                tokens[sent].whole(route.lot or Decimal(0))
        for requirement in self.requirements:
            for name in requirement.credit:
                _known("token", name, tokens, f"the requirement of {requirement.venue}")
        return self

    @model_validator(mode="after")
    def _places_are_reached(self) -> Self:
        held = {one.place for one in self.sources}
        begins = {one.origin for one in self.routes}
        venues = {one.venue for one in self.requirements}
        for route in self.routes:
            if route.destination not in held | begins | venues:
                raise ValueError(
                    f"route {route.name} ends at {route.destination}, which is no venue, holds no "
                    f"source and begins no other route; known are "
                    f"{', '.join(sorted(held | begins | venues))}"
                )
        ends = {one.destination for one in self.routes}
        for one in self.requirements:
            if one.amount and one.venue not in held | ends:
                raise ValueError(
                    f"venue {one.venue} holds no source and no route ends there; sources and "
                    f"routes lead to {', '.join(sorted(held | ends)) or 'none'}"
                )
        return self

    @cached_property
    def token(self) -> dict[str, Token]:
        """Tokens by name."""
        return {one.name: one for one in self.tokens}

    @cached_property
    def route(self) -> dict[str, Route]:
        """Routes by name."""
        return {one.name: one for one in self.routes}

    @cached_property
    def bridge(self) -> dict[str, Bridge]:
        """Bridges by name."""
        return {one.name: one for one in self.bridges}

    @cached_property
    def requirement(self) -> dict[str, Requirement]:
        """Requirements by venue."""
        return {one.venue: one for one in self.requirements}

    def held(self) -> dict[tuple[str, str], int]:
        """Return what lies where before any move, in smallest units by token and place."""
        units: dict[tuple[str, str], int] = {}
        for one in self.sources:
            key = one.token, one.place
            units[key] = units.get(key, 0) + self.token[one.token].whole(one.quantity)
        return units


def _unique(kind: str, names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ValueError(f"{kind} {name} is given twice; give it once")
        seen.add(name)


def _known(kind: str, name: str | None, among: Mapping[str, object], where: str) -> None:
    if name is not None and name not in among:
        raise ValueError(f"{where} names the {kind} {name}; known are {', '.join(among) or 'none'}")
