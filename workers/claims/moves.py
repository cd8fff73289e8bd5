"""Plans of moves from a file: read, searched, checked, and told as numbers that JSON can hold."""

import contextlib
import os
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

from risk.claims.moves import Move, MoveProblem, Plan, frontier, verify_plan
from risk.claims.moves.plan import credit_of
from risk.specification import read_toml
from storage.rule_text import read_rule_text


def read_moves(path: Path) -> MoveProblem:
    """Return what a TOML file asks for; its numbers stay the decimals that were written.

    Raises:
        ValueError: there is no such file, it is no TOML, or a field is not allowed.
    """
    if not path.is_file():
        raise ValueError(f"{path} is no file; give a TOML file of sources, routes and requirements")
    try:
        document = read_toml(read_rule_text(path), Decimal)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return MoveProblem.model_validate(document)


def plans_of(problem: MoveProblem) -> dict[str, Any]:
    """Return the cheapest and the quickest plan, and what each between them costs and takes.

    Where not everything can be met there is one plan, which leaves the least unmet.

    Raises:
        PlanRefused: a plan does not hold in exact arithmetic.
    """
    with _solver_silent():
        between = frontier(problem)
    for plan in between:
        verify_plan(problem, plan)
    cheapest, quickest = between[0], between[-1]
    return {
        "currency": problem.currency,
        "met": cheapest.met,
        "cheapest": plan_of(problem, cheapest),
        "quickest": plan_of(problem, quickest),
        "frontier": [
            {"seconds": plan.seconds, "cost": float(plan.costs.total), "moves": len(plan.moves)}
            for plan in between
        ],
    }


def plan_of(problem: MoveProblem, plan: Plan) -> dict[str, Any]:
    """Return one plan: its moves, what venues count, costs, and what binds."""
    return {
        "met": plan.met,
        "seconds": plan.seconds,
        "cost": {
            "fixed_fees": float(plan.costs.fixed),
            "withheld_fees": float(plan.costs.withheld),
            "delay": float(plan.costs.delay),
            "total": float(plan.costs.total),
        },
        "gap": plan.gap,
        "moves": [_move(problem, move) for move in plan.moves],
        "requirements": _requirements(problem, plan),
        "binding": [
            {"kind": one.kind, "name": one.name, "worth": one.worth}
            for one in plan.limits
            if one.kind != "requirement"
        ],
        "deadlines": [
            {"venue": one.venue, "released": float(one.released), "seconds": one.seconds}
            for one in plan.deadlines
        ],
    }


def _move(problem: MoveProblem, move: Move) -> dict[str, Any]:
    route, token = problem.route[move.route], problem.token[move.token]
    return {
        "route": move.route,
        "origin": route.origin,
        "destination": route.destination,
        "bridge": route.bridge,
        "token": move.token,
        "sent": _quantity(move.sent, token.decimals),
        "departs_seconds": move.departs,
        "arriving_token": move.arriving,
        "received": _quantity(move.received, problem.token[move.arriving].decimals),
        "arrives_seconds": move.arrives,
        "fee": float(
            Fraction(route.fee) + move.sent * token.unit_price * Fraction(route.fee_share)
        ),
    }


def _quantity(units: int, decimals: int) -> str:
    """Return smallest units as the decimal number that they are.

    >>> _quantity(1_500_000, 6), _quantity(20, 0)
    ('1.5', '20')
    """
    whole, part = divmod(units, 10**decimals)
    text = f"{whole}.{part:0{decimals}d}" if decimals else str(whole)
    return text.rstrip("0").rstrip(".") if decimals else text


def _requirements(problem: MoveProblem, plan: Plan) -> list[dict[str, Any]]:
    price = {one.name: one.worth for one in plan.limits if one.kind == "requirement"}
    held = problem.held()
    return [
        {
            "venue": one.venue,
            "due_seconds": one.due,
            "required": float(one.amount),
            "credit_before": float(
                sum(
                    credit_of(problem, one.venue, token, held.get((token, one.venue), 0))
                    for token in one.credit
                )
            ),
            "counted": {
                token: float(amount)
                for (venue, token), amount in plan.counted.items()
                if venue == one.venue
            },
            "unmet": float(plan.unmet[one.venue]),
            "one_more_costs": price.get(one.venue, 0.0) if plan.met else None,
        }
        for one in problem.requirements
    ]


@contextlib.contextmanager
def _solver_silent() -> Iterator[None]:
    """Keep what the solver's library writes to standard output off the results."""
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)
