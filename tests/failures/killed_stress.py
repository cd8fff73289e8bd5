"""A stress run in a process of its own that kills itself at a chosen point."""

import json
from pathlib import Path
from typing import Any

from storage.runs import RunStore
from storage.staging import Fork, StagedRun
from tests.failures.killed import Point, die_at
from workers.engine import SerialEngine
from workers.stress import batch
from workers.stress.request import StressRequest
from workers.stress.run import StressRun

POINTS = {
    "template committed": Point(StagedRun, "lay_out", "after"),
    "second batch half written": Point(Fork, "write", "before", 2),
    "second batch written": Point(StagedRun, "checkpoint", "before", 2),
    "second batch committed": Point(StagedRun, "checkpoint", "after", 2),
    "all batches committed": Point(StressRun, "stress", "after"),
    "results committed": Point(StagedRun, "finish", "after"),
    "run named": Point(RunStore, "_move_main", "before"),
    "published": Point(RunStore, "publish", "after"),
}


def start(request: StressRequest, report: Path, point: str | None) -> None:
    """Make a stress run, dying at ``point`` or else leaving a report of what was computed."""
    computed: list[list[str]] = []
    cascade = batch.run_cascade

    def noted(
        engine: Any, inputs: Any, shards: Any, scenarios: Any, *others: Any, **named: Any
    ) -> Any:
        found = cascade(engine, inputs, shards, scenarios, *others, **named)
        computed.append(list(scenarios.name))
        return found

    batch.run_cascade = noted
    if point is not None:
        die_at(POINTS[point])
    engine = SerialEngine()
    with StressRun(request, lambda: engine) as run:
        recognised = run.prepare()
        if not recognised:
            run.compute()
            run.publish()
        report.write_text(
            json.dumps({"computed": computed, "recognised": recognised, "run": run.run_id})
        )
