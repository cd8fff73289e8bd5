"""Whole units of a solution: up for what leaves, down for what arrives.

A transfer never exceeds what is there or what its route and bridge still take, so what comes out
holds by construction; whether it still meets what is required is found out afterwards.
"""

from collections import defaultdict
from fractions import Fraction
from heapq import heappop, heappush
from math import ceil, floor

from risk.claims.moves.network import WAIT, Network
from risk.claims.moves.plan import Move, credit_of, received_of
from risk.claims.moves.problem import MoveProblem
from risk.claims.moves.program import Solution

CLOSE = Fraction(1, 10**9)
"""Of a quantity: a double that comes this close to all that is there means all of it."""

NEAR = Fraction(1, 1000)
"""Of a unit: a quantity further away is not taken for whole, for a venue would lack the rest."""

Place = tuple[str, str]


def whole_moves(problem: MoveProblem, network: Network, solution: Solution) -> list[Move]:
    """Return the moves of a solution in whole units, in order of departure."""
    balance = defaultdict(int, problem.held())
    room = _Room(problem)
    arriving: list[tuple[int, int, Place, int]] = []
    moves: list[Move] = []
    for index, arc in enumerate(network.arcs):
        if arc.route == WAIT or solution.value[index] <= 0.0:
            continue
        tail, head = network.nodes[arc.tail], network.nodes[arc.head]
        while arriving and arriving[0][0] <= tail.time:
            _, _, where, units = heappop(arriving)
            balance[where] += units
        route, token = problem.routes[arc.route], problem.token[tail.token]
        there = balance[tail.token, tail.place]
        wanted = Fraction(float(solution.value[index])) / token.unit_price
        sent = min(_snapped(wanted, there), room.units(route.name, token.name))
        if route.lot is not None:
            lot = token.whole(route.lot)
            sent = min(solution.transfers[index] * lot, there // lot * lot)
        else:
            least = token.whole(route.minimum)
            sent = sent if sent >= least else least if least <= there and sent else 0
        received = received_of(problem, route.name, token.name, sent)
        if sent <= 0 or received <= 0:
            continue
        balance[tail.token, tail.place] -= sent
        room.take(route.name, token.name, sent)
        heappush(arriving, (head.time, len(moves), (head.token, head.place), received))
        moves.append(Move(route.name, token.name, sent, tail.time, head.token, received, head.time))
    return moves


def _snapped(wanted: Fraction, there: int) -> int:
    """Return whole units: all that is there, nothing, or the quantity rounded up.

    >>> _snapped(Fraction(9999999999, 10**9), 10), _snapped(Fraction(5, 2), 10)
    (10, 3)
    >>> _snapped(10**12 + Fraction(2, 5), 10**13) - 10**12
    1
    """
    if abs(wanted - there) <= CLOSE * there or wanted >= there:
        return there
    nearest = round(wanted)
    close = min(CLOSE * max(nearest, 1), NEAR)
    return min(nearest if abs(wanted - nearest) <= close else ceil(wanted), there)


class _Room:
    """What routes and bridges still take, in reporting currency."""

    def __init__(self, problem: MoveProblem) -> None:
        self._of = problem
        self._left: dict[tuple[str, str], Fraction] = {}
        for route in problem.routes:
            if route.capacity is not None:
                self._left["route", route.name] = Fraction(route.capacity)
        for bridge in problem.bridges:
            if bridge.most_moved is not None:
                self._left["bridge", bridge.name] = Fraction(bridge.most_moved)

    def _keys(self, route: str) -> list[tuple[str, str]]:
        keys = [("route", route), ("bridge", self._of.route[route].bridge or "")]
        return [key for key in keys if key in self._left]

    def units(self, route: str, token: str) -> int:
        """Return the most units of a token that still fit."""
        most = [self._left[key] for key in self._keys(route)]
        price = self._of.token[token].unit_price
        return floor(min(most) / price) if most else 2**256

    def take(self, route: str, token: str, units: int) -> None:
        """Take the room of units that are sent."""
        for key in self._keys(route):
            self._left[key] -= units * self._of.token[token].unit_price


def counted_amounts(
    problem: MoveProblem, moves: list[Move], solution: Solution
) -> dict[Place, Fraction]:
    """Return what each venue counts of each token, by venue and token, within every cap.

    What the solution counts goes first; what a venue then lacks is taken where there is room.
    """
    room = _counting_room(problem)
    there = _credit_there(problem, moves)
    counted: dict[Place, Fraction] = {}
    for wanted in ({key: Fraction(value) for key, value in solution.counted.items()}, there):
        for (venue, token), credit in there.items():
            caps = [("venue", venue), ("share", f"{problem.token[token].concentrated_in} {venue}")]
            caps.append(("bridge", problem.token[token].bridge or ""))
            keys = [key for key in caps if key in room]
            had = counted.get((venue, token), Fraction(0))
            most = min(credit, wanted.get((venue, token), Fraction(0))) - had
            amount = max(min([most, *(room[key] for key in keys)]), Fraction(0))
            for key in keys:
                room[key] -= amount
            if had + amount:
                counted[venue, token] = had + amount
    return counted


def _counting_room(problem: MoveProblem) -> dict[tuple[str, str], Fraction]:
    """Return how much may be counted by venue, by asset at a venue, and on each bridge."""
    room: dict[tuple[str, str], Fraction] = {}
    for one in problem.requirements:
        room["venue", one.venue] = Fraction(one.amount)
        for token in one.credit:
            asset = problem.token[token].concentrated_in
            room["share", f"{asset} {one.venue}"] = Fraction(one.most_share) * Fraction(one.amount)
    for bridge in problem.bridges:
        if bridge.most_counted is not None:
            room["bridge", bridge.name] = Fraction(bridge.most_counted)
    return room


def _credit_there(problem: MoveProblem, moves: list[Move]) -> dict[Place, Fraction]:
    """Return the credit of what lies at each venue when it is due, and still does at the end."""
    units: dict[Place, int] = defaultdict(int, problem.held())
    for move in moves:
        route = problem.route[move.route]
        units[move.token, route.origin] -= move.sent
        requirement = problem.requirement.get(route.destination)
        if requirement is None or move.arrives <= requirement.due:
            units[move.arriving, route.destination] += move.received
    return {
        (one.venue, token): credit_of(problem, one.venue, token, max(units[token, one.venue], 0))
        for one in problem.requirements
        for token in one.credit
    }
