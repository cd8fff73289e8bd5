"""The manifest of a collateral run: what went in, what came out, and how it was made."""

import platform
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any

from risk.claims.sums import PoolSums
from risk.claims.tokens import Outcome
from storage.arrays import POOL
from storage.digest import text_digest
from workers.approval import accountability
from workers.code_version import code_version, library_versions
from workers.pool.count import Counted
from workers.pool.plan import PoolPlan
from workers.pool.request import PoolRequest


def pool_manifest(
    plan: PoolPlan,
    request: PoolRequest,
    counted: Counted,
    sums: PoolSums,
    *,
    digests: dict[str, str],
    engines: dict[str, Any],
    stages: list[dict[str, Any]],
    memory: dict[str, Any],
) -> dict[str, Any]:
    """Return the manifest; ``digests`` name the exact values of each group of arrays."""
    settings = {field.name: str(getattr(request, field.name)) for field in fields(request)}
    return {
        "kind": POOL.name,
        "run_id": plan.identity.run_id,
        "key": plan.identity.key,
        "status": "published",
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "as_of": plan.book.as_of.isoformat(),
        "code_version": code_version(),
        "inputs": inputs_of(plan),
        **accountability(
            plan.identity.named.standing(plan.book.as_of),
            settings,
            request.reason,
            plan.identity.run.manifest,
        ),
        "settings": settings | engines,
        "libraries": {"python": platform.python_version(), **library_versions()},
        "totals": totals_of(plan, counted, sums),
        "stages": stages,
        "memory": memory | {"shards": len(plan.shards), "shards_cut_smaller": False},
        "digests": digests,
        "digest": text_digest(*(f"{name}={digests[name]}" for name in sorted(digests))),
    }


def inputs_of(plan: PoolPlan) -> dict[str, Any]:
    """Return what the manifest says of the inputs."""
    run, rules, claims = plan.identity.run, plan.rules, plan.claims
    return {
        "run": {"run_id": run.run_id, "digest": run.manifest["digest"]},
        "book": run.manifest["inputs"]["book"],
        "claims": {
            "name": claims.name,
            "path": str(claims.location),
            "digest": claims.digest,
            "claims": claims.claims,
            "standing": claims.standing,
        },
        "rules": {
            "name": rules.name,
            "version": rules.version,
            "effective": rules.effective.isoformat(),
            "title": rules.title,
            "not_verified": list(rules.not_verified),
            "digest": plan.identity.named.digest,
            "text": plan.identity.named.text,
        },
    }


def totals_of(plan: PoolPlan, counted: Counted, sums: PoolSums) -> dict[str, Any]:
    """Return the totals of all accounts and claims."""
    shared = counted.shared
    by_outcome = sums.counts["claims_by_outcome"].tolist()
    return {
        "accounts": sums.accounts,
        "pooled": sums.accounts - sums.held,
        "held": sums.held,
        "claims": sums.claims,
        "counted": sums.counted,
        "value": float(sums.sums["value"]),
        "credit": float(sums.sums["credit"]),
        "position_value": float(sums.sums["position_value"]),
        "requirement": float(sums.sums["requirement"]),
        "requirement_margined": float(sums.sums["requirement_margined"]),
        "requirement_alone": float(sums.sums["requirement_alone"]),
        "shortfall": float(sums.sums["shortfall"]),
        "shortfall_alone": float(sums.sums["shortfall_alone"]),
        "below": sums.below,
        "unlike_book": sums.unlike,
        "below_alone": sums.below_alone,
        "outcomes": {one.name: by_outcome[one] for one in Outcome},
        "misplaced": int(counted.misplaced.sum()),
        "double_counts": {
            "roots": len(shared.roots),
            "proofs": len(shared.proofs),
            "backings": len(shared.ends),
            "circles": len(shared.circles),
            "recipe_circles": len(plan.found.cycles),
        },
        "scenarios": len(plan.scenarios),
        "tokens": len(plan.references.tokens),
    }
