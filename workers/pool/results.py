"""What a collateral run publishes beside its accounts: totals, tokens, scenarios, findings."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from risk.aggregation import Largest
from risk.claims.credit import token_findings
from risk.claims.findings import bit
from risk.claims.groups import by_asset, by_label
from risk.claims.sums import HEALTH_EDGES, PoolSums
from risk.claims.tokens import Outcome, TokenKind
from storage.book import Book
from workers.pool.count import Counted
from workers.pool.plan import PoolPlan
from workers.pool.terms import Valued

Floats = NDArray[np.float64]

USD = {"units": "USD"}
GROUPS = ("chain", "protocol", "bridge", "asset")
"""What the pool is shown by."""

SHARED_BY = (Outcome.ROOT_TWICE, Outcome.PROOF_TWICE, Outcome.BACKING_TWICE, Outcome.BACKING_CYCLE)
"""Kinds of findings that several claims have together."""


def pool_datasets(
    plan: PoolPlan, counted: Counted, valued: Valued, sums: PoolSums
) -> dict[str, xr.Dataset]:
    """Return the small datasets of a collateral run by group."""
    return {
        "totals": _totals(plan, valued, sums),
        "tokens": _tokens(plan, counted, valued, sums),
        "scenarios": _scenarios(plan, sums),
        "findings": _findings(plan, counted),
    }


def _totals(plan: PoolPlan, valued: Valued, sums: PoolSums) -> xr.Dataset:
    labels = plan.layout.labels
    names, reported = plan.references.names, plan.scenarios.reported
    credit = sums.sums["credit_by_token"]
    owed = (plan.references.tokens.kind == TokenKind.DEBT)[:, np.newaxis]
    worth = sums.sums["quantity"][:, np.newaxis] * valued.terms.value[:, reported]
    held, debt = np.where(owed, 0.0, worth), np.where(owed, worth, 0.0)
    variables: dict[str, tuple[Any, ...]] = {}
    for group in GROUPS:
        for name, amount in (("value", held), ("debt", debt), ("credit", credit)):
            variables[f"{group}_{name}"] = ((group, "report"), _by(plan, group, amount), USD)
        used = _by(plan, group, sums.sums["credit_by_use"])
        variables[f"{group}_use"] = ((group, "use"), used, USD)
    use = valued.credit.bridges
    variables |= {
        "accounts_below": (("report",), sums.counts["accounts_below"], {}),
        "called": (("report",), sums.sums["called"], USD),
        "unhealthy": (("report",), sums.counts["unhealthy"], {}),
        "claims_by_outcome": (("outcome",), sums.counts["claims_by_outcome"], {}),
        "value_by_outcome": (("outcome",), sums.sums["value_by_outcome"], USD),
        "credit_by_standing": (("standing",), sums.sums["credit_by_standing"], USD),
        "health_count": (("health_bucket",), sums.health, {}),
        "bridge_resting": (("bridge",), use.credit, USD),
        "bridge_part": (("bridge",), use.part, {"units": "1"}),
        "bridge_asset_resting": (("bridge", "asset"), use.asset_credit, USD),
        "bridge_asset_part": (("bridge", "asset"), use.asset_part, {"units": "1"}),
        **_holdings(plan, sums),
        **_feeds(plan),
        **_chains(plan),
        **_largest(plan.book, "shortfall", sums.top_shortfall),
        **_largest(plan.book, "change", sums.top_change),
    }
    coords = {
        "chain": _texts(names.chain),
        "protocol": _texts(names.protocol),
        "bridge": _texts(names.bridge),
        "asset": _texts(names.asset),
        "health_bucket": HEALTH_EDGES,
        **{name: _texts(labels[name]) for name in ("report", "use", "standing", "outcome")},
    }
    return xr.Dataset(variables, coords=coords)


def _holdings(plan: PoolPlan, sums: PoolSums) -> dict[str, tuple[Any, ...]]:
    """Return credit by where and how collateral is held, base asset, and the use that needs it."""
    tokens, names = plan.references.tokens, plan.references.names
    held = np.stack([tokens.chain, tokens.protocol, tokens.bridge], axis=1)
    ways, way = np.unique(held, axis=0, return_inverse=True)
    used = sums.sums["credit_by_use"]
    credit = np.stack(
        [
            _by(plan, "asset", np.where((way.ravel() == at)[:, np.newaxis], used, 0.0))
            for at in range(len(ways))
        ]
    )
    labels = (names.chain, names.protocol, names.bridge)
    return {
        f"holding_{group}": (("holding",), _texts([label[row] for row in ways[:, at]]))
        for at, (group, label) in enumerate(zip(GROUPS, labels, strict=False))
    } | {"holding_use": (("holding", "asset", "use"), credit, USD)}


def _feeds(plan: PoolPlan) -> dict[str, tuple[Any, ...]]:
    """Return the two prices of each base asset, their ages, and what was found wrong with them."""
    references = plan.references
    feeds, tokens = references.feeds, references.tokens
    found = token_findings(tokens, references.names, feeds, plan.rules, plan.found)
    variables: dict[str, tuple[Any, ...]] = {
        f"feed_{name}": (("asset",), getattr(feeds, name), {"units": unit})
        for name, unit in (
            ("oracle", "USD"),
            ("market", "USD"),
            ("oracle_age", "s"),
            ("market_age", "s"),
            ("heartbeat", "s"),
        )
    }
    for name, outcome in (("stale", Outcome.STALE_PRICE), ("deviates", Outcome.PRICE_DEVIATES)):
        wrong = tokens.asset[(tokens.asset >= 0) & (found & bit(outcome) != 0)]
        marked = np.isin(np.arange(len(feeds.oracle)), wrong)
        variables[f"feed_{name}"] = (("asset",), marked)
    return variables


def _chains(plan: PoolPlan) -> dict[str, tuple[Any, ...]]:
    """Return where each chain stood when claims on it were read."""
    snapshot = plan.references.snapshot
    return {
        "chain_height": (("chain",), snapshot.height),
        "chain_safe": (("chain",), snapshot.safe),
        "chain_finalised": (("chain",), snapshot.finalised),
        "chain_age": (("chain",), snapshot.age, {"units": "s"}),
        "chain_block_time": (("chain",), snapshot.block_time, {"units": "s"}),
    }


def _by(plan: PoolPlan, group: str, amount: Floats) -> Floats:
    tokens, names = plan.references.tokens, plan.references.names
    if group == "asset":
        return by_asset(amount, plan.found, plan.references.feeds)
    return by_label(amount, getattr(tokens, group), len(getattr(names, group)))


def _largest(book: Book, name: str, largest: Largest) -> dict[str, tuple[Any, ...]]:
    names = [
        book.account_table(row, row + 1, ["account"])["account"][0].as_py()
        for row in largest.account.tolist()
    ]
    dims = (f"top_{name}",)
    return {
        f"top_{name}_account": (dims, largest.account),
        f"top_{name}_name": (dims, _texts(names)),
        f"top_{name}_amount": (dims, largest.amount),
    }


def _tokens(plan: PoolPlan, counted: Counted, valued: Valued, sums: PoolSums) -> xr.Dataset:
    """Return what each token is and what a unit of it comes to in every state."""
    tokens, names = plan.references.tokens, plan.references.names
    labelled = {
        "chain": _texts(np.array(names.chain, object)[tokens.chain]),
        "protocol": _texts(np.array(names.protocol, object)[tokens.protocol]),
        "bridge": _texts(np.array(names.bridge, object)[tokens.bridge]),
        "kind": _texts([TokenKind(kind).name.lower() for kind in tokens.kind.tolist()]),
        "token_name": _texts(names.token),
    }
    return xr.Dataset(
        {
            **{name: (("token",), values) for name, values in labelled.items()},
            "on_cycle": (("token",), plan.found.on_cycle),
            "quantity": (("token",), sums.sums["quantity"], {"units": "token"}),
            "pool_quantity": (("token",), counted.totals, {"units": "token"}),
            "ratio": (("token",), valued.credit.ratio, {"units": "1"}),
            "unit_value": (("token", "state"), valued.terms.value, USD),
            "unit_credit": (("token", "state"), valued.terms.credit, USD),
            "credit": (("token", "report"), sums.sums["credit_by_token"], USD),
            "threshold": (("market", "token"), valued.terms.threshold, {"units": "1"}),
            "bonus": (("market", "token"), valued.terms.bonus, {"units": "1"}),
        },
        coords={
            "state": _texts(plan.layout.labels["state"]),
            "report": _texts(plan.layout.labels["report"]),
            "market": _texts(plan.references.markets),
        },
    )


def _scenarios(plan: PoolPlan, sums: PoolSums) -> xr.Dataset:
    scenarios = plan.scenarios
    return xr.Dataset(
        {
            "pnl": (("instrument", "scenario"), scenarios.cube, USD),
            "weight": (("scenario",), scenarios.weight, {"units": "1"}),
            "title": (("scenario",), _texts(scenarios.title)),
            "origin": (("scenario",), _texts(scenarios.origin)),
            "credit": (("state",), sums.sums["credit_by_state"], USD),
        },
        coords={
            "scenario": _texts(scenarios.name),
            "state": _texts(plan.layout.labels["state"]),
        },
    )


def _findings(plan: PoolPlan, counted: Counted) -> xr.Dataset:
    """Return each claim that counts one thing with others, by kind and group, and who holds it."""
    shared = counted.shared
    kinds: list[int] = []
    groups: list[int] = []
    claims: list[int] = []
    for kind, named in zip(
        SHARED_BY,
        (shared.roots.named(), shared.proofs.named(), shared.ends.named(), shared.circles),
        strict=True,
    ):
        for number, members in enumerate(named):
            kinds += [int(kind)] * len(members)
            groups += [number] * len(members)
            claims += members
    rows = np.array(claims, dtype=np.int64)
    account = counted.account[rows]
    held = plan.claims.columns(["token", "quantity"])
    holders = plan.book.account_table(0, plan.book.accounts, ["account"])["account"]
    circles = [list(circle) for circle in plan.found.cycles]
    names = plan.references.names.token
    return xr.Dataset(
        {
            "kind": (("finding",), np.array(kinds, dtype=np.int8)),
            "group": (("finding",), np.array(groups, dtype=np.int64)),
            "claim": (("finding",), rows),
            "account": (("finding",), account),
            "account_name": (("finding",), _texts(holders.take(account).to_pylist())),
            "token": (("finding",), held["token"][rows]),
            "quantity": (("finding",), held["quantity"][rows], {"units": "token"}),
            "recipe_cycle": (
                ("recipe_circle",),
                _texts([" -> ".join(names[row] for row in circle) for circle in circles]),
            ),
        }
    )


def _texts(values: Sequence[object] | NDArray[np.generic]) -> NDArray[np.object_]:
    found = np.empty(len(values), dtype=object)
    found[:] = [str(value) for value in values]
    return found
