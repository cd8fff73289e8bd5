"""A plan of moves, and what it is worth: recomputed from the moves alone, in exact arithmetic."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import floor

from risk.claims.moves.problem import YEAR, MoveProblem


@dataclass(frozen=True, slots=True)
class Move:
    """One transfer: what leaves and what arrives, in smallest units; times in seconds from now."""

    route: str
    token: str
    sent: int
    departs: int
    arriving: str
    received: int
    arrives: int


@dataclass(frozen=True, slots=True)
class Limit:
    """What binds: ``worth`` is what one more of it in reporting currency saves, in the same.

    Kinds are ``requirement`` (one more required costs ``worth``), ``source``, ``capacity``,
    ``moved``, ``counted`` and ``share``. Where requirements are not met, ``worth`` is how much less
    is missing. With whole lots and fixed fees it holds for the same transfers.
    """

    kind: str
    name: str
    worth: float


@dataclass(frozen=True, slots=True)
class Deadline:
    """How much less a venue would miss if nothing were due, and when that would be there."""

    venue: str
    released: Fraction
    seconds: int


@dataclass(frozen=True, slots=True)
class Costs:
    """What a plan costs, in reporting currency."""

    fixed: Fraction
    withheld: Fraction
    delay: Fraction

    @property
    def total(self) -> Fraction:
        """All of it."""
        return self.fixed + self.withheld + self.delay


@dataclass(frozen=True, slots=True)
class Plan:
    """Moves, what each venue counts of each token, and by how much a venue is not met.

    ``counted`` is in reporting currency by venue and token, ``unmet`` by venue. ``gap`` is how far
    below its cost, as a fraction, the search has not ruled out a cheaper plan; 0 where it has.
    """

    moves: tuple[Move, ...]
    counted: Mapping[tuple[str, str], Fraction]
    unmet: Mapping[str, Fraction]
    costs: Costs
    limits: tuple[Limit, ...] = ()
    deadlines: tuple[Deadline, ...] = ()
    gap: float = 0.0

    @property
    def met(self) -> bool:
        """Whether every requirement is met."""
        return not any(self.unmet.values())

    @property
    def seconds(self) -> int:
        """When the last move arrives, 0 where nothing moves."""
        return max((move.arrives for move in self.moves), default=0)


def costs_of(problem: MoveProblem, moves: Sequence[Move]) -> Costs:
    """Return what moves cost: fees paid apart, shares withheld, and delay, without rounding."""
    fixed = withheld = delay = Fraction(0)
    for move in moves:
        route, price = problem.route[move.route], problem.token[move.token].unit_price
        value = move.sent * price
        fixed += Fraction(route.fee)
        withheld += value * Fraction(route.fee_share)
        delay += value * Fraction(problem.delay_cost) * route.seconds / YEAR
    return Costs(fixed, withheld, delay)


def received_of(problem: MoveProblem, route: str, token: str, sent: int) -> int:
    """Return the smallest units that arrive of what is sent, rounded down."""
    taken = problem.route[route]
    here, there = problem.token[token], problem.token[taken.carries[token]]
    scale = Fraction(there.units, here.units)
    return floor(sent * (1 - Fraction(taken.fee_share)) * scale)


def credit_of(problem: MoveProblem, venue: str, token: str, units: int) -> Fraction:
    """Return what smallest units of a token count for at a venue, before any cap."""
    each = Fraction(problem.requirement[venue].credit.get(token, 0))
    return units * each / problem.token[token].units
