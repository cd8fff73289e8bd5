"""The claims of one account, told one by one: what they stand for, what is taken off, and why."""

from typing import Any

import numpy as np

from risk.claims.findings import final_part
from risk.claims.tokens import NO_MARKET, REASONS, Outcome, Standing, TokenKind
from storage.claims import ClaimSlice
from workers.pool.account import AccountPool
from workers.pool.count import as_claims
from workers.pool.source import PoolSource

SHARED_SHOWN = 10
"""Claims that are named of those which count one thing together."""


def claim_rows(source: PoolSource, held: ClaimSlice, account: AccountPool) -> list[dict[str, Any]]:
    """Return what each claim of an account is and what it comes to.

    ``units`` is what counts of it, or is owed; ``credit`` what it adds to the account now and
    ``credit_then`` in the scenario that binds, what a lending market leaves of it.
    """
    plan, counted, terms = source.plan, source.counted, source.valued.terms
    markets = plan.references.markets
    final = final_part(as_claims(held), source.grounds)
    rows = []
    for at, token in enumerate(held.token.tolist()):
        row, market = held.first + at, int(held.market[at])
        units, outcome = float(counted.units[row]), Outcome(int(counted.outcome[row]))
        rows.append(
            _token_named(source, token)
            | {
                "claim": row,
                "market": None if market == NO_MARKET else markets[market],
                "quantity": float(held.quantity[at]),
                "encumbered": float(held.encumbered[at]),
                "standing": Standing(int(held.standing[at])).name.lower(),
                "height": int(held.height[at]),
                "final_part": float(final[at]),
                "units": units,
                "outcome": outcome.name,
                "reason": REASONS[outcome],
                "shares_with": _shared_with(source, row),
                "unit_value": float(terms.value[token, 0]),
                "unit_credit": float(terms.credit[token, 0]),
                "ratio": float(source.valued.credit.ratio[token]),
                "value": units * float(terms.value[token, 0]),
                "alone": units * float(terms.credit[token, 0]),
                "credit": float(account.claim_credit[at, 0]) + 0.0,
                "credit_then": float(account.claim_credit[at, account.binding + 1]) + 0.0,
                "way": _way(source, token),
                "assets": _assets(source, token),
            }
        )
    return rows


def _token_named(source: PoolSource, token: int) -> dict[str, Any]:
    tokens, names = source.plan.references.tokens, source.plan.references.names
    return {
        "token": names.token[token],
        "kind": TokenKind(int(tokens.kind[token])).name.lower(),
        "chain": names.chain[tokens.chain[token]],
        "protocol": names.protocol[tokens.protocol[token]],
        "bridge": names.bridge[tokens.bridge[token]],
    }


def _way(source: PoolSource, token: int) -> list[dict[str, Any]]:
    """Return the tokens on the way down to base assets, each with what its rules leave of it.

    ``units`` are of one unit of the token above, ``depth`` counts the recipes down to here. A token
    that rests on a circle is not followed.
    """
    tokens, names = source.plan.references.tokens, source.plan.references.names
    kept = source.valued.credit.kept
    found = []
    reached = [(token, 1.0, 0)]
    while reached:
        at, units, depth = reached.pop()
        # A debt counts in full.
        taken = {} if tokens.kind[token] == TokenKind.DEBT else kept
        found.append(
            _token_named(source, at)
            | {
                "depth": depth,
                "units": units,
                "asset": None if tokens.asset[at] < 0 else names.asset[tokens.asset[at]],
                "keeps": {what: float(part[at]) for what, part in taken.items() if part[at] != 1.0},
            }
        )
        parts = range(tokens.recipe_offsets[at], tokens.recipe_offsets[at + 1])
        if not source.plan.found.on_cycle[at]:
            reached += [
                (int(tokens.recipe_token[part]), float(tokens.recipe_units[part]), depth + 1)
                for part in reversed(parts)
            ]
    return found


def _assets(source: PoolSource, token: int) -> list[dict[str, Any]]:
    """Return the base assets of one unit of a token, with their prices and the one that holds."""
    found, feeds = source.plan.found, source.plan.references.feeds
    owed = source.valued.terms.is_debt[token]
    return [
        {
            "asset": source.plan.references.names.asset[found.asset[part]],
            "units": float(found.units[part]),
            "oracle": float(feeds.oracle[found.asset[part]]),
            "market": float(feeds.market[found.asset[part]]),
            "price": float(
                (np.maximum if owed else np.minimum)(
                    feeds.oracle[found.asset[part]], feeds.market[found.asset[part]]
                )
            ),
            "oracle_age": float(feeds.oracle_age[found.asset[part]]),
            "market_age": float(feeds.market_age[found.asset[part]]),
        }
        for part in range(found.offsets[token], found.offsets[token + 1])
    ]


def _shared_with(source: PoolSource, row: int) -> list[dict[str, Any]]:
    """Return the other claims that count the same thing, by kind, and who holds them."""
    shared = source.counted.shared
    named = []
    for kind, groups in (
        (Outcome.ROOT_TWICE, shared.roots),
        (Outcome.PROOF_TWICE, shared.proofs),
        (Outcome.BACKING_TWICE, shared.ends),
    ):
        for at in np.flatnonzero(groups.rows == row):
            group = int(np.searchsorted(groups.offsets, at, side="right")) - 1
            members = groups.rows[groups.offsets[group] : groups.offsets[group + 1]]
            named += [(kind, other) for other in members.tolist() if other != row]
    for circle in shared.circles:
        if row in circle:
            named += [(Outcome.BACKING_CYCLE, other) for other in circle if other != row]
    return [
        {
            "kind": kind.name,
            "claim": other,
            "account": source.book.account_table(holder, holder + 1, ["account"])["account"][
                0
            ].as_py(),
        }
        for kind, other in named[:SHARED_SHOWN]
        for holder in [int(source.counted.account[other])]
    ]
