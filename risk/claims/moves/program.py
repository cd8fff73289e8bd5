"""The linear program of a plan: value over arcs, what stays, what is counted.

Every variable is an amount in reporting currency over ``scale``, so that one tolerance fits all.
Fixed fees, minima and lots add whole numbers; once those are known the rest is linear again, and
its dual prices are those of the plan.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, linprog, milp
from scipy.sparse import csr_array

from risk.claims.moves.network import WAIT, Arc, Network, counts
from risk.claims.moves.problem import YEAR, MoveProblem, Route

Floats = NDArray[np.float64]

TOLERANCE = 1e-9
"""Of a row, with amounts over ``scale``."""

PRICE_TOLERANCE = 1e-10
"""Of a dual price; the solver takes no less."""

SIZE = 1e3
"""What the largest requirement is in the program."""

TIE = 1e-9
"""Cost of moving value that costs nothing: of equal plans the one that moves less is taken."""

SHORT = 1e6
"""What missing one costs where not all can be met: fees decide among the least shortfalls."""

NODES = 100
"""Branches of the search for whole numbers before the best plan so far is taken."""

GAP = 1e-4
"""Part of the cost by which a plan may be dearer than the best one with whole numbers."""

Label = tuple[str, str]


class Rows:
    """Rows of the form sum <= bound, each with what it stands for."""

    def __init__(self) -> None:
        self._row: list[int] = []
        self._column: list[int] = []
        self._value: list[float] = []
        self.bound: list[float] = []
        self.label: list[Label | None] = []

    def add(
        self, terms: Iterable[tuple[int, float]], bound: float, label: Label | None = None
    ) -> None:
        """Add a row of (column, coefficient)."""
        for column, value in terms:
            self._row.append(len(self.bound))
            self._column.append(column)
            self._value.append(value)
        self.bound.append(bound)
        self.label.append(label)

    def matrix(self, columns: int) -> csr_array:
        """Return the rows as a sparse matrix."""
        shape = len(self.bound), columns
        return csr_array((self._value, (self._row, self._column)), shape=shape)


@dataclass(slots=True)
class Columns:
    """Cost, upper bound and whether it is whole of each variable."""

    cost: list[float] = field(default_factory=list)
    upper: list[float] = field(default_factory=list)
    whole: list[bool] = field(default_factory=list)

    def add(self, cost: float = 0.0, upper: float = np.inf, whole: bool = False) -> int:
        """Add a variable of 0 up and return its column."""
        self.cost.append(cost)
        self.upper.append(upper)
        self.whole.append(whole)
        return len(self.cost) - 1


@dataclass(frozen=True, slots=True)
class Solution:
    """Values in reporting currency by arc, counted amounts, and the worth of what binds."""

    value: Floats
    transfers: dict[int, int]
    counted: dict[tuple[str, str], float]
    worth: dict[Label, float]
    gap: float

    @classmethod
    def nothing(cls, network: Network) -> Self:
        """Return the solution that moves and counts nothing."""
        return cls(np.zeros(len(network.arcs)), {}, {}, {}, 0.0)


def scale_of(problem: MoveProblem) -> float:
    """Return the amount in reporting currency that is one in the program."""
    return max(float(one.amount) for one in problem.requirements) / SIZE or 1.0


class Program:
    """The program over one network."""

    def __init__(
        self, problem: MoveProblem, network: Network, more: Mapping[str, Fraction], elastic: bool
    ) -> None:
        self._of, self._network = problem, network
        self._scale = scale_of(problem)
        self._price = {one.name: float(one.price) for one in problem.tokens}
        self._columns, self._rows = Columns(), Rows()
        self._arc = [self._columns.add(self._arc_cost(arc)) for arc in network.arcs]
        self._lots: dict[int, tuple[int, float]] = {}
        self._paid: dict[int, tuple[int, float]] = {}
        self._counted: dict[tuple[str, str], int] = {}
        self._balances()
        self._requirements(more, elastic)
        self._caps()
        self._whole()

    def solve(self) -> Solution | None:
        """Return the cheapest solution, or nothing where there is none."""
        if not self._columns.cost:  # nothing is anywhere near, and nothing may be required
            idle = Solution.nothing(self._network)
            return idle if min(self._rows.bound, default=0.0) >= 0.0 else None
        matrix, bound = self._rows.matrix(len(self._columns.cost)), np.array(self._rows.bound)
        cost = np.array(self._columns.cost)
        low, high = np.zeros(len(cost)), np.array(self._columns.upper)
        whole, gap = np.array(self._columns.whole, dtype=np.bool_), 0.0
        if whole.any():
            found = milp(
                cost,
                integrality=whole.astype(np.int64),
                bounds=Bounds(low, high),
                constraints=LinearConstraint(matrix, -np.inf, bound),
                options={"mip_rel_gap": GAP, "node_limit": NODES},
            )
            if found.x is None:
                return None
            low[whole] = high[whole] = np.round(found.x[whole])
            gap = float(found.mip_gap or 0.0)
            # Once a fee is paid, what ties its transfer to it bounds nothing that other rows do
            # not: it must not take the price of what binds.
            for row, (column, most) in self._paid.items():
                bound[row] += most * high[column]
        solved = linprog(
            cost,
            A_ub=matrix,
            b_ub=bound,
            bounds=np.stack([low, high], axis=1),
            method="highs",
            options={
                "primal_feasibility_tolerance": TOLERANCE,
                "dual_feasibility_tolerance": PRICE_TOLERANCE,
            },
        )
        if solved.x is None:
            return None
        return self._solution(solved.x, solved.ineqlin.marginals, gap)

    def _solution(self, x: Floats, marginals: Floats, gap: float) -> Solution:
        worth: dict[Label, float] = {}
        for label, value in zip(self._rows.label, marginals, strict=True):
            if label is not None and -value > TIE * 10.0:
                worth[label] = worth.get(label, 0.0) - float(value)
        return Solution(
            value=x[self._arc] * self._scale,
            transfers={arc: round(float(x[column])) for arc, (column, _) in self._lots.items()},
            counted={key: float(x[c]) * self._scale for key, c in self._counted.items()},
            worth=worth,
            gap=gap,
        )

    def _route(self, arc: Arc) -> Route:
        return self._of.routes[arc.route]

    def _arc_cost(self, arc: Arc) -> float:
        if arc.route == WAIT:
            return 0.0
        route = self._route(arc)
        delay = float(self._of.delay_cost) * route.seconds / YEAR
        return float(route.fee_share) + delay + TIE

    def _arriving(self, arc: Arc) -> float:
        """Return the value that arrives for one of value that leaves."""
        if arc.route == WAIT:
            return 1.0
        tail, head = self._network.nodes[arc.tail], self._network.nodes[arc.head]
        kept = 1.0 - float(self._route(arc).fee_share)
        return kept * self._price[head.token] / self._price[tail.token]

    def _held(self, row: int) -> float:
        """Return the value that lies at a node before any move, over the scale."""
        node = self._network.nodes[row]
        units = self._initial.get((node.token, node.place), 0) if node.time == 0 else 0
        return float(units * self._of.token[node.token].unit_price) / self._scale

    def _balances(self) -> None:
        """Nothing leaves or stays that has not arrived."""
        self._initial = self._of.held()
        terms: list[list[tuple[int, float]]] = [[] for _ in self._network.nodes]
        for column, arc in zip(self._arc, self._network.arcs, strict=True):
            terms[arc.tail].append((column, 1.0))
            terms[arc.head].append((column, -self._arriving(arc)))
        self._stays: dict[tuple[str, str], list[int]] = {}
        for row, node in enumerate(self._network.nodes):
            if counts(self._of, node):
                stay = self._columns.add()
                terms[row].append((stay, 1.0))
                self._stays.setdefault((node.place, node.token), []).append(stay)
            held = self._held(row)
            label = ("source", f"{node.token} at {node.place}") if held else None
            self._rows.add(terms[row], held, label)

    def _requirements(self, more: Mapping[str, Fraction], elastic: bool) -> None:
        """Each venue counts what is due, within what stays there and its share of one asset."""
        for (venue, token), stays in self._stays.items():
            each = float(self._of.requirement[venue].credit[token]) / self._price[token]
            counted = self._columns.add()
            self._counted[venue, token] = counted
            self._rows.add([(counted, 1.0), *((stay, -each) for stay in stays)], 0.0)
        for one in self._of.requirements:
            here = {t: c for (venue, t), c in self._counted.items() if venue == one.venue}
            due = float(one.amount) + float(more.get(one.venue, 0))
            terms = [(column, -1.0) for column in here.values()]
            if elastic:
                terms.append((self._columns.add(SHORT), -1.0))
            self._rows.add(terms, -due / self._scale, ("requirement", one.venue))
            if one.most_share < 1:
                self._share(one.venue, float(one.most_share * one.amount) / self._scale, here)

    def _share(self, venue: str, most: float, here: dict[str, int]) -> None:
        by_asset: dict[str, list[int]] = {}
        for token, column in here.items():
            by_asset.setdefault(self._of.token[token].concentrated_in, []).append(column)
        for asset, columns in by_asset.items():
            label = "share", f"{asset} at {venue}"
            self._rows.add([(column, 1.0) for column in columns], most, label)

    def _caps(self) -> None:
        """Routes and bridges carry no more than they take, and no more is counted on a bridge."""
        over_route: dict[str, list[int]] = {}
        over_bridge: dict[str | None, list[int]] = {}
        on_bridge: dict[str | None, list[int]] = {}
        for column, arc in zip(self._arc, self._network.arcs, strict=True):
            if arc.route != WAIT:
                route = self._route(arc)
                over_route.setdefault(route.name, []).append(column)
                over_bridge.setdefault(route.bridge, []).append(column)
        for (_, token), column in self._counted.items():
            on_bridge.setdefault(self._of.token[token].bridge, []).append(column)
        for one in self._of.routes:
            self._cap("capacity", one.name, one.capacity, over_route.get(one.name, []))
        for bridge in self._of.bridges:
            moved, counted = over_bridge.get(bridge.name, []), on_bridge.get(bridge.name, [])
            self._cap("moved", bridge.name, bridge.most_moved, moved)
            self._cap("counted", bridge.name, bridge.most_counted, counted)

    def _cap(self, kind: str, name: str, most: Decimal | None, columns: list[int]) -> None:
        if most is not None:
            terms = [(column, 1.0) for column in columns]
            self._rows.add(terms, float(most) / self._scale, (kind, name))

    def _whole(self) -> None:
        """A transfer pays its fee once, is no less than its minimum, and is whole lots."""
        most = self._most()
        for index, (column, arc) in enumerate(zip(self._arc, self._network.arcs, strict=True)):
            if arc.route == WAIT:
                continue
            route = self._route(arc)
            unit = self._price[self._network.nodes[arc.tail].token] / self._scale
            here = float(most[arc.tail])
            if route.capacity is not None:
                here = min(here, float(route.capacity) / self._scale)
            if route.fee or route.minimum:
                used = self._columns.add(float(route.fee) / self._scale, 1.0, whole=True)
                self._paid[len(self._rows.bound)] = used, here
                self._rows.add([(column, 1.0), (used, -here)], 0.0)
                if route.minimum:
                    self._rows.add([(used, float(route.minimum) * unit), (column, -1.0)], 0.0)
            if route.lot is not None:
                lot = float(route.lot) * unit
                lots = self._columns.add(0.0, np.floor(here / lot + TOLERANCE), whole=True)
                self._rows.add([(column, 1.0), (lots, -lot)], 0.0)
                self._rows.add([(column, -1.0), (lots, lot)], 0.0)
                self._lots[index] = lots, lot

    def _most(self) -> Floats:
        """Return the most value that can come to each node."""
        most = np.array([self._held(row) for row in range(len(self._network.nodes))])
        # Arcs are in order of departure, so a tail is settled before anything leaves it.
        for arc in self._network.arcs:
            sent = most[arc.tail]
            if arc.route != WAIT and (capacity := self._route(arc).capacity) is not None:
                sent = min(sent, float(capacity) / self._scale)
            most[arc.head] += sent * self._arriving(arc)
        return most
