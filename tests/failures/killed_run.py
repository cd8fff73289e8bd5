"""A margin run in a process of its own that kills itself at a chosen point."""

import json
from pathlib import Path

import icechunk

from storage.runs import RunStore
from storage.staging import Fork, StagedRun
from tests.failures.killed import Point, die_at, noted
from workers import margin_run
from workers.code_version import code_version
from workers.engine import SerialEngine
from workers.margin_run import MarginRun
from workers.plan import RunRequest

# Remembered from here on: every life of a run has one key, though somebody edits the sources.
code_version()


POINTS = {
    "branch made": Point(StagedRun, "lay_out", "before"),
    "template committed": Point(StagedRun, "lay_out", "after"),
    "cube written": Point(StagedRun, "checkpoint", "before"),
    "cube committed": Point(StagedRun, "checkpoint", "after"),
    "half a shard written": Point(Fork, "write", "before", 2, "blocks"),
    "first shards written": Point(StagedRun, "checkpoint", "before", 2),
    "first shards committed": Point(StagedRun, "checkpoint", "after", 2),
    "all shards committed": Point(StagedRun, "checkpoint", "after", 3),
    "folded": Point(MarginRun, "fold", "after"),
    "results written": Point(StagedRun, "_commit", "before", 1, "finished"),
    "results committed": Point(StagedRun, "finish", "after"),
    "run named": Point(RunStore, "_move_main", "before"),
    "main moved": Point(icechunk.Repository, "delete_branch", "before"),
    "published": Point(RunStore, "publish", "after"),
}


def start(request: RunRequest, report: Path, point: str | None, seconds: float = 0.0) -> None:
    """Make a run, dying at ``point`` or else leaving a report of what was computed.

    ``seconds`` are slept in every margin task.
    """
    computed: dict[str, list[int]] = {"priced": [], "margined": []}
    margin_run.CHECKPOINT_SHARDS = 1
    margin_run.price_block = noted(margin_run.price_block, computed["priced"], 0.0)
    margin_run.margin_shard = noted(margin_run.margin_shard, computed["margined"], seconds)
    if point is not None:
        die_at(POINTS[point])
    engine = SerialEngine()
    with MarginRun(request, lambda: engine, lambda: engine) as run:
        recognised = run.prepare()
        if not recognised:
            run.compute()
            run.publish()
        report.write_text(json.dumps({**computed, "recognised": recognised, "run": run.run_id}))
