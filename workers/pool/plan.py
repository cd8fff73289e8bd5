"""What is known of a collateral run before a claim is read: inputs, scenarios, and the cut."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from risk.claims.lookthrough import LookThrough, look_through
from risk.claims.rules import PoolRules
from risk.claims.tokens import Outcome, Standing
from risk.instruments import unit_notional
from risk.summation import BLOCK_ACCOUNTS
from storage.book import Book
from storage.claims import Claims, References
from storage.staging import Layout
from workers.methodologies import methodology_of
from workers.pool.references import PoolReferences, references_of
from workers.pool.request import PoolIdentity, PoolRequest
from workers.pool.scenarios import PoolScenarios, pool_scenarios
from workers.revaluation import terms_and_market_of
from workers.shards import Shard, cut, shard_length

Floats = NDArray[np.float64]

FREE = "free"
"""The use of credit that no position needs."""

NOW = "now"
"""The state before any scenario."""


@dataclass(frozen=True, slots=True)
class PoolPlan:
    """What a collateral run is computed from; what has no axis of its own is ``(instrument,)``.

    ``notional`` and ``position_value`` are USD of one contract, ``venue`` the row of ``venues``.
    """

    identity: PoolIdentity
    tables: References
    references: PoolReferences
    found: LookThrough
    scenarios: PoolScenarios
    priced: NDArray[np.bool_]
    lot_size: Floats
    position_value: Floats
    notional: Floats
    venue: NDArray[np.int64]
    venues: tuple[str, ...]
    shards: list[Shard]
    layout: Layout

    @property
    def book(self) -> Book:
        """The book whose accounts are pooled."""
        return self.identity.book

    @property
    def claims(self) -> Claims:
        """What the accounts hold."""
        return self.identity.claims

    @property
    def rules(self) -> PoolRules:
        """What a claim counts for."""
        return self.identity.named.rules


def plan_pool(identity: PoolIdentity, request: PoolRequest) -> PoolPlan:
    """Read the tables of reference, build the scenarios, and cut the accounts.

    Raises:
        ValueError: the rules ask for what the margin run or the claims do not have.
    """
    run, book, rules = identity.run, identity.book, identity.named.rules
    tables = identity.claims.references()
    references = references_of(tables, book.as_of)
    instruments, market = terms_and_market_of(run, book)
    methodology = methodology_of(run)
    scenarios = pool_scenarios(run, rules, methodology, instruments, market)
    table = book.instruments()
    venues, venue = np.unique(
        table["venue"].to_numpy(zero_copy_only=False).astype(str), return_inverse=True
    )
    length = shard_length(book.accounts, request.shards)
    states = (NOW, *scenarios.name)
    return PoolPlan(
        identity=identity,
        tables=tables,
        references=references,
        found=look_through(references.tokens),
        scenarios=scenarios,
        priced=run.instruments["priced"].values.astype(np.bool_),
        lot_size=table["lot_size"].to_numpy(),
        position_value=run.instruments["value"].values,
        notional=unit_notional(instruments, market.index),
        venue=venue.astype(np.int64),
        venues=tuple(venues.tolist()),
        shards=cut(book.accounts, length),
        layout=Layout(
            sizes={
                "account": book.accounts,
                "block": -(-book.accounts // BLOCK_ACCOUNTS),
                "token": len(references.tokens),
                "state": len(states),
                "report": len(scenarios.reported),
                "use": len(venues) + 1,
                "standing": len(Standing),
                "outcome": len(Outcome),
            },
            chunks={"account": length, "block": length // BLOCK_ACCOUNTS},
            labels={
                "state": states,
                "report": [states[at] for at in scenarios.reported],
                "use": [*venues.tolist(), FREE],
                "standing": [one.name.lower() for one in Standing],
                "outcome": [one.name for one in Outcome],
            },
        ),
    )
