"""Where tokens can be when: the network of moves, expanded in time.

A node is a token at a place from a time on. An arc is a move over a route, or a wait for others
that take the same transfer. A token that waits at a venue counts there.
"""

from dataclasses import dataclass
from itertools import pairwise

from risk.claims.moves.problem import MoveProblem, Route

MOST_HOPS = 4
"""Routes that a token takes one after another, at most."""

WAIT = -1
"""What stands for a route in an arc that goes nowhere."""


@dataclass(frozen=True, slots=True, order=True)
class Node:
    """A token at a place, ``time`` seconds from now."""

    time: int
    token: str
    place: str


@dataclass(frozen=True, slots=True)
class Arc:
    """A move over the route of that row, or a wait, from one node to a later one."""

    route: int
    tail: int
    head: int


@dataclass(frozen=True, slots=True)
class Network:
    """Nodes in order of time, and the arcs between them in order of departure."""

    nodes: tuple[Node, ...]
    arcs: tuple[Arc, ...]

    def arrivals(self) -> list[int]:
        """Return the times at which something can arrive, each once and in order."""
        return sorted({self.nodes[arc.head].time for arc in self.arcs if arc.route != WAIT})


def move_network(problem: MoveProblem, horizon: int | None = None) -> Network:
    """Return where the sources can be by the horizon, the last due time unless given.

    What cannot count anywhere in time is left out.
    """
    last = max(one.due for one in problem.requirements)
    last = last if horizon is None else min(last, horizon)
    moves = _useful(problem, _reachable(problem, last))
    used = {node for _, tail, head in moves for node in (tail, head)}
    held = {Node(0, token, place) for token, place in problem.held()}
    nodes = sorted(used | held)
    row = {node: index for index, node in enumerate(nodes)}
    arcs = [Arc(route, row[tail], row[head]) for route, tail, head in moves]
    return Network(tuple(nodes), tuple(sorted(arcs + _waits(nodes, arcs), key=_departure)))


def _departure(arc: Arc) -> tuple[int, int, int]:
    return arc.tail, arc.route, arc.head


Reached = tuple[int, Node, Node]


def _reachable(problem: MoveProblem, last: int) -> list[Reached]:
    """Return every move that a source can make within the hops, level by level."""
    leaving: dict[tuple[str, str], list[tuple[int, Route]]] = {}
    for row, route in enumerate(problem.routes):
        for token in route.carries:
            leaving.setdefault((token, route.origin), []).append((row, route))
    seen = {Node(0, token, place) for (token, place), units in problem.held().items() if units}
    level, moves = sorted(seen), []
    for _ in range(MOST_HOPS):
        ahead: set[Node] = set()
        for node in level:
            for row, route in leaving.get((node.token, node.place), ()):
                arrival = node.time + route.seconds
                if arrival <= last:
                    head = Node(arrival, route.carries[node.token], route.destination)
                    moves.append((row, node, head))
                    ahead.add(head)
        level = sorted(ahead - seen)
        seen |= ahead
    return moves


def _useful(problem: MoveProblem, moves: list[Reached]) -> list[Reached]:
    """Return the moves from which some venue can still be reached before it is due."""
    useful: set[Node] = set()
    kept: list[Reached] = []
    # Every move ends later than it begins, so the heads are settled before their tails.
    for row, tail, head in sorted(moves, key=lambda move: move[2].time, reverse=True):
        if head in useful or counts(problem, head):
            useful.add(tail)
            kept.append((row, tail, head))
    return kept


def counts(problem: MoveProblem, node: Node) -> bool:
    """Return whether what lies at a node counts for a requirement."""
    requirement = problem.requirement.get(node.place)
    return (
        requirement is not None
        and node.time <= requirement.due
        and requirement.credit.get(node.token, 0) > 0
    )


def _waits(nodes: list[Node], arcs: list[Arc]) -> list[Arc]:
    """Return the waits for a later transfer of what lies at the same place."""
    departs = {arc.tail for arc in arcs}
    alike: dict[tuple[str, str], list[int]] = {}
    for row, node in enumerate(nodes):
        alike.setdefault((node.token, node.place), []).append(row)
    return [
        Arc(WAIT, earlier, later)
        for rows in alike.values()
        for earlier, later in pairwise(rows)
        if any(row in departs for row in rows if row >= later)
    ]
