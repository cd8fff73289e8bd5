"""Whether a plan does what it says, from its own moves and the problem alone.

Nothing of the search is believed: balances, credits, caps and costs are computed again from whole
units and fractions.
"""

from collections import defaultdict
from fractions import Fraction

from risk.claims.moves.plan import Move, Plan, costs_of, credit_of, received_of
from risk.claims.moves.problem import MoveProblem


class PlanRefused(ValueError):
    """A plan is not what it says; the message names every fault."""


def verify_plan(problem: MoveProblem, plan: Plan) -> None:
    """Check a plan's moves, balances, credits, caps, unmet amounts and costs.

    Raises:
        PlanRefused: something does not hold.
    """
    faults = [fault for move in plan.moves for fault in _move_faults(problem, move)]
    if not faults:
        faults = [
            *_balance_faults(problem, plan),
            *_cap_faults(problem, plan),
            *_requirement_faults(problem, plan),
        ]
        if plan.costs != costs_of(problem, plan.moves):
            faults.append("its costs are not those of its moves")
    if faults:
        raise PlanRefused(f"the plan is refused: {'; '.join(faults)}")


def _move_faults(problem: MoveProblem, move: Move) -> list[str]:
    """Return what is wrong with a move by itself."""
    route = problem.route.get(move.route)
    if route is None or move.token not in route.carries:
        return [f"no route {move.route} carries {move.token}"]
    token, faults = problem.token[move.token], []
    name = f"the transfer of {move.sent} units of {move.token} over {move.route}"
    if move.sent <= 0 or move.sent < token.whole(route.minimum):
        faults.append(f"{name} is less than the minimum of {route.minimum}")
    if route.lot is not None and move.sent % token.whole(route.lot):
        faults.append(f"{name} is not whole lots of {route.lot}")
    if move.departs < 0 or move.arrives != move.departs + route.seconds:
        faults.append(f"{name} takes {route.seconds} s, not {move.arrives - move.departs}")
    if move.arriving != route.carries[move.token]:
        faults.append(f"{name} delivers {route.carries[move.token]}, not {move.arriving}")
    if not 0 <= move.received <= received_of(problem, move.route, move.token, move.sent):
        faults.append(f"{name} delivers {move.received} units, more than the fee leaves")
    return faults


Changes = dict[tuple[str, str], dict[int, int]]


def _changes(problem: MoveProblem, plan: Plan) -> Changes:
    """Return the change of each balance at each time; what is there before is at time -1."""
    changes: Changes = defaultdict(lambda: defaultdict(int))
    for where, units in problem.held().items():
        changes[where][-1] += units
    for move in plan.moves:
        route = problem.route[move.route]
        changes[move.token, route.origin][move.departs] -= move.sent
        changes[move.arriving, route.destination][move.arrives] += move.received
    return changes


def _lowest(changes: dict[int, int], since: int) -> int:
    """Return the lowest balance from a time on, arrivals of a moment before its departures."""
    balance, lowest = 0, None
    for time in sorted(changes):
        if time > since and lowest is None:
            lowest = balance
        balance += changes[time]
        if lowest is not None:
            lowest = min(lowest, balance)
    return balance if lowest is None else lowest


def _balance_faults(problem: MoveProblem, plan: Plan) -> list[str]:
    return [
        f"{token} at {place} falls {-low} units below nothing"
        for (token, place), change in _changes(problem, plan).items()
        if (low := _lowest(change, -2)) < 0
    ]


def _cap_faults(problem: MoveProblem, plan: Plan) -> list[str]:
    """Return which capacities and bridges more is sent over than they take."""
    over_route: dict[str, Fraction] = defaultdict(Fraction)
    over_bridge: dict[str, Fraction] = defaultdict(Fraction)
    for move in plan.moves:
        value = move.sent * problem.token[move.token].unit_price
        over_route[move.route] += value
        crossed = problem.route[move.route].bridge
        if crossed is not None:
            over_bridge[crossed] += value
    resting: dict[str, Fraction] = defaultdict(Fraction)
    for (_, token), amount in plan.counted.items():
        on = problem.token[token].bridge
        if on is not None:
            resting[on] += amount
    faults = []
    for name, value in over_route.items():
        capacity = problem.route[name].capacity
        if capacity is not None and value > capacity:
            faults.append(f"route {name} takes {capacity}, not {float(value):.2f}")
    for bridge in problem.bridges:
        if bridge.most_moved is not None and over_bridge[bridge.name] > bridge.most_moved:
            faults.append(f"more than {bridge.most_moved} crosses bridge {bridge.name}")
        if bridge.most_counted is not None and resting[bridge.name] > bridge.most_counted:
            faults.append(f"more than {bridge.most_counted} is counted on bridge {bridge.name}")
    return faults


def _requirement_faults(problem: MoveProblem, plan: Plan) -> list[str]:
    """Return which venues count more than is there, or less than they are said to."""
    faults, changes = [], _changes(problem, plan)
    for (venue, token), amount in plan.counted.items():
        requirement = problem.requirement[venue]
        units = _lowest(changes[token, venue], requirement.due)
        there = credit_of(problem, venue, token, units)
        if not 0 <= amount <= there:
            faults.append(f"{venue} counts {float(amount):.2f} of {token}, of {float(there):.2f}")
    for requirement in problem.requirements:
        by_asset: dict[str, Fraction] = defaultdict(Fraction)
        for (venue, token), amount in plan.counted.items():
            if venue == requirement.venue:
                by_asset[problem.token[token].concentrated_in] += amount
        most = Fraction(requirement.most_share) * Fraction(requirement.amount)
        faults += [
            f"{requirement.venue} counts more than {float(most):.2f} in {asset}"
            for asset, amount in by_asset.items()
            if amount > most
        ]
        unmet = plan.unmet.get(requirement.venue, Fraction(0))
        short = Fraction(requirement.amount) - sum(by_asset.values(), Fraction(0))
        if unmet != max(short, Fraction(0)):
            faults.append(
                f"{requirement.venue} is {float(short):.2f} short and said to be {float(unmet):.2f}"
            )
    return faults
