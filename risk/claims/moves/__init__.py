"""Where collateral should lie: the cheapest and the quickest moves that meet what venues require.

A plan is searched as a linear program with HiGHS and then checked from its own moves in exact
arithmetic; what does not hold is refused. ``cheapest_plan``, ``quickest_plan`` and ``frontier``
search, ``verify_plan`` checks any plan.

>>> from decimal import Decimal
>>> problem = MoveProblem.model_validate({
...     "tokens": [{"name": "USDC", "decimals": 6, "price": 1}],
...     "sources": [{"token": "USDC", "place": "vault", "quantity": 1000}],
...     "routes": [{"name": "send", "origin": "vault", "destination": "venue", "seconds": 60,
...                 "carries": {"USDC": "USDC"}, "fee": 2, "fee_share": Decimal("0.01")}],
...     "requirements": [{"venue": "venue", "amount": 99, "due": 3600, "credit": {"USDC": 1}}],
... })
>>> plan = cheapest_plan(problem)
>>> plan.moves[0].sent, plan.moves[0].received, float(plan.costs.total), plan.seconds
(100000000, 99000000, 3.0, 60)
"""

from risk.claims.moves.plan import Costs, Deadline, Limit, Move, Plan, costs_of
from risk.claims.moves.problem import Bridge, MoveProblem, Requirement, Route, Source, Token
from risk.claims.moves.search import cheapest_plan, frontier, quickest_plan
from risk.claims.moves.verification import PlanRefused, verify_plan

__all__ = [
    "Bridge",
    "Costs",
    "Deadline",
    "Limit",
    "Move",
    "MoveProblem",
    "Plan",
    "PlanRefused",
    "Requirement",
    "Route",
    "Source",
    "Token",
    "cheapest_plan",
    "costs_of",
    "frontier",
    "quickest_plan",
    "verify_plan",
]
