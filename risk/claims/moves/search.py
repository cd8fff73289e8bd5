"""The cheapest plan, the quickest one, and those between."""

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction

from risk.claims.moves.network import MOST_HOPS, Network, move_network
from risk.claims.moves.plan import Deadline, Limit, Plan, costs_of
from risk.claims.moves.problem import MoveProblem
from risk.claims.moves.program import GAP, SHORT, TOLERANCE, Program, Solution, scale_of
from risk.claims.moves.rounding import counted_amounts, whole_moves
from risk.claims.moves.verification import verify_plan

ROUNDS = 8
"""Times that a venue is asked for as much more as rounding left it short."""

MOST_PLANS = 16
"""Plans on the frontier, at most."""


def cheapest_plan(problem: MoveProblem, horizon: int | None = None) -> Plan:
    """Return the cheapest plan that meets every requirement in time and arrives by the horizon.

    Where there is none, the plan that leaves the least unmet, with what limits it. Every plan has
    passed ``verify_plan``.

    Raises:
        PlanRefused: the plan that was found does not hold in exact arithmetic.
    """
    plan = _cheapest(problem, horizon)
    if not plan.met and horizon is None:
        plan = replace(plan, deadlines=_deadlines(problem, plan))
    return plan


def quickest_plan(problem: MoveProblem) -> Plan:
    """Return the cheapest of the plans whose last move arrives soonest.

    Raises:
        PlanRefused: the plan that was found does not hold in exact arithmetic.
    """
    best = cheapest_plan(problem)
    if not best.met:
        return best
    times = [0, *(time for time in move_network(problem).arrivals() if time < best.seconds)]
    low, high = 0, len(times)
    while low < high:
        middle = (low + high) // 2
        plan = _cheapest(problem, times[middle], elastic=False)
        if plan.met:
            best, high = plan, middle
        else:
            low = middle + 1
    return best


def frontier(problem: MoveProblem) -> list[Plan]:
    """Return plans none of which is both dearer and slower than another, the cheapest first.

    The last is the quickest. There are no more than ``MOST_PLANS``: then some between are left out.

    Raises:
        PlanRefused: a plan that was found does not hold in exact arithmetic.
    """
    plans, times = [cheapest_plan(problem)], [0, *move_network(problem).arrivals()]
    while plans[-1].met and len(plans) < MOST_PLANS:
        sooner = [time for time in times if time < plans[-1].seconds]
        plan = _cheapest(problem, sooner[-1], elastic=False) if sooner else None
        if plan is None or not plan.met:
            return plans
        # The search cannot tell plans apart that are closer than its gap.
        if plan.costs.total <= plans[-1].costs.total * (1 + Fraction(GAP)):
            plans.pop()
        plans.append(plan)
    return [*plans[:-1], quickest_plan(problem)] if plans[-1].met else plans


def _cheapest(problem: MoveProblem, horizon: int | None, elastic: bool = True) -> Plan:
    """Return the cheapest plan by a horizon; without ``elastic`` an unmet one has no moves."""
    network = move_network(problem, horizon)
    more: dict[str, Fraction] = {}
    least = 10 * Fraction(TOLERANCE * scale_of(problem))  # less the solver would not see
    for _ in range(ROUNDS):
        solution = Program(problem, network, more, elastic=False).solve()
        if solution is None:
            break
        plan = _rounded(problem, network, solution)
        if plan.met:
            verify_plan(problem, plan)
            return plan
        for venue, unmet in plan.unmet.items():
            if unmet:
                more[venue] = more.get(venue, Fraction(0)) + max(2 * unmet, least)
    if not elastic:
        return _rounded(problem, network, None)
    # What can be met is asked for with so much more that rounding leaves it met.
    more = {one.venue: least for one in problem.requirements if one.amount}
    plan = _rounded(problem, network, Program(problem, network, more, elastic=True).solve())
    verify_plan(problem, plan)
    return plan


def _rounded(problem: MoveProblem, network: Network, solution: Solution | None) -> Plan:
    """Return the plan of a solution in whole units; of none, a plan that does nothing."""
    found = Solution.nothing(network) if solution is None else solution
    moves = whole_moves(problem, network, found)
    counted = counted_amounts(problem, moves, found)
    unmet = {
        one.venue: Fraction(one.amount)
        - sum((amount for (at, _), amount in counted.items() if at == one.venue), Fraction(0))
        for one in problem.requirements
    }
    return Plan(
        moves=tuple(moves),
        counted=counted,
        unmet=unmet,
        costs=costs_of(problem, moves),
        limits=_limits(found, unmet),
        gap=found.gap,
    )


def _limits(solution: Solution, unmet: Mapping[str, Fraction]) -> tuple[Limit, ...]:
    """Return what binds; where something is unmet, by how much less would be."""
    each = SHORT if any(unmet.values()) else 1.0
    limits = [
        Limit(kind, name, worth / each)
        for (kind, name), worth in solution.worth.items()
        if worth / each > 1e-6 or each == 1.0
    ]
    return tuple(sorted(limits, key=lambda limit: (limit.kind, -limit.worth, limit.name)))


def _deadlines(problem: MoveProblem, plan: Plan) -> tuple[Deadline, ...]:
    """Return which venues would miss less if what is theirs might come at any time."""
    longest = MOST_HOPS * max((route.seconds for route in problem.routes), default=0)
    later = problem.model_dump(exclude_none=True)
    for one in later["requirements"]:
        if plan.unmet[one["venue"]]:
            one["due"] = max(one["due"], longest)
    best = _cheapest(MoveProblem.model_validate(later), None)
    return tuple(
        Deadline(
            venue,
            unmet - best.unmet[venue],
            max(
                (
                    move.arrives
                    for move in best.moves
                    if problem.route[move.route].destination == venue
                ),
                default=0,
            ),
        )
        for venue, unmet in plan.unmet.items()
        if unmet > best.unmet[venue]
    )
