"""The manifest of a stress run: what went in, what came out, and how it was made."""

from dataclasses import fields
from datetime import UTC, datetime
from typing import Any

import xarray as xr

from storage.arrays import STRESS
from storage.digest import text_digest
from storage.runs import Run, StoredRun
from workers.approval import accountability
from workers.code_version import code_version, library_versions
from workers.stress.request import (
    NamedPlan,
    StressIdentity,
    StressRequest,
    plan_input,
    pool_input,
)
from workers.stress.work import StressWork


def stress_manifest(
    work: StressWork,
    request: StressRequest,
    stored: xr.Dataset,
    *,
    digests: dict[str, str],
    engines: dict[str, Any],
    stages: list[dict[str, Any]],
    memory: dict[str, Any],
) -> dict[str, Any]:
    """Return the manifest; ``digests`` name the exact values of each group of arrays."""
    identity = work.identity
    settings = {one.name: str(getattr(request, one.name)) for one in fields(request)}
    worst = int(stored["loss"].values.argmax())
    width = max(batch.stop - batch.start for batch in work.batches)
    return {
        **manifest_head(STRESS.name, identity, settings, request.reason),
        "settings": settings | engines,
        "libraries": library_versions(),
        "totals": {
            "accounts": identity.book.accounts,
            "scenarios": len(work.scenarios),
            "ended": int(stored["ended"].values.sum()),
            "rounds": int(stored["rounds"].values.max()),
            "worst_scenario": work.scenarios.name[worst],
            "worst_loss": float(stored["loss"].values[worst]),
            "most_touched": int(stored["touched"].values.max()),
        },
        "stages": stages,
        "memory": memory
        | {
            "shards": len(work.shards),
            "shards_cut_smaller": False,
            "batch": width,
            "batch_cut_smaller": width < min(request.batch, len(work.scenarios)),
        },
        "digests": digests,
        "digest": text_digest(*(f"{name}={digests[name]}" for name in sorted(digests))),
    }


def manifest_head(
    kind: str, identity: StressIdentity, settings: dict[str, str], reason: str | None
) -> dict[str, Any]:
    """Return what a manifest says of a run by a plan before its results: name, inputs, approval."""
    run, named, as_of = identity.run, identity.named, identity.book.as_of
    return {
        "kind": kind,
        "run_id": identity.run_id,
        "key": identity.key,
        "status": "published",
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "as_of": as_of.isoformat(),
        "code_version": code_version(),
        "inputs": inputs_of(run, named, identity.pool),
        **accountability(named.standing(as_of), settings, reason, run.manifest),
    }


def inputs_of(run: Run, named: NamedPlan, pool: StoredRun | None) -> dict[str, Any]:
    """Return what a manifest says of the inputs of a run by a plan."""
    return {
        "run": {"run_id": run.run_id, "digest": run.manifest["digest"]},
        "book": run.manifest["inputs"]["book"],
        **pool_input(pool),
        "plan": plan_input(named),
    }
