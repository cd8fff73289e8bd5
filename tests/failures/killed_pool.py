"""A collateral run in a process of its own that kills itself at a chosen point."""

import json
from pathlib import Path

import icechunk

from storage.runs import RunStore
from storage.staging import Fork, StagedRun
from tests.failures.killed import Point, die_at, noted
from workers.engine import SerialEngine
from workers.pool import run as pool_run
from workers.pool.request import PoolRequest
from workers.pool.run import PoolRun

POINTS = {
    "template committed": Point(StagedRun, "lay_out", "after"),
    "counted": Point(PoolRun, "count", "after"),
    "half a shard written": Point(Fork, "write", "before", 1, "blocks"),
    "four shards written": Point(StagedRun, "checkpoint", "before", 2),
    "four shards committed": Point(StagedRun, "checkpoint", "after", 2),
    "all shards committed": Point(StagedRun, "checkpoint", "after", 3),
    "folded": Point(PoolRun, "fold", "after"),
    "results written": Point(StagedRun, "_commit", "before", 1, "finished"),
    "run named": Point(RunStore, "_move_main", "before"),
    "main moved": Point(icechunk.Repository, "delete_branch", "before"),
    "published": Point(RunStore, "publish", "after"),
}


def start(request: PoolRequest, report: Path, point: str | None) -> None:
    """Make a run, dying at ``point`` or else leaving a report of what was computed."""
    computed: list[int] = []
    pool_run.CHECKPOINT_SHARDS = 1
    pool_run.pool_shard = noted(pool_run.pool_shard, computed, 0.0)
    if point is not None:
        die_at(POINTS[point])
    engine = SerialEngine()
    with PoolRun(request, lambda: engine, lambda: engine) as run:
        recognised = run.prepare()
        if not recognised:
            run.compute()
            run.publish()
        report.write_text(
            json.dumps({"pooled": computed, "recognised": recognised, "run": run.run_id})
        )
