"""Some scenarios of a stress run, gone through to the end of their cascades."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from storage.objects import S3Folder
from storage.runs import RunStore
from workers.engine import Engine
from workers.stress.cascade import run_cascade
from workers.stress.results import stored_arrays
from workers.stress.tasks import StressInputs
from workers.stress.work import StressWork


def stress_batch(
    engine: Engine, work: StressWork, runs: Path | S3Folder, rows: Sequence[int]
) -> dict[str, NDArray[np.generic]]:
    """Run the cascades of some scenarios, by their rows, and return them as they are stored.

    They go together, but for those that break something, which go by themselves.
    """
    alone = [row for row in rows if work.scenarios.name[row] in work.disruptions]
    parts = [[row for row in rows if row not in alone], *([row] for row in alone)]
    stored = []
    for part in filter(None, parts):
        scenarios = work.scenarios.take(np.array(part))
        cascade = run_cascade(
            engine,
            stress_inputs(work, runs, len(part)),
            work.shards,
            scenarios,
            work.ground,
            work.identity.named.plan,
            work.claims,
            disruption=work.disruptions.get(scenarios.name[0]),
        )
        issued = None if work.claims is None else work.claims.tokens
        stored.append(stored_arrays(cascade, work.layout.sizes["round"], issued))
    order = np.argsort([row for part in parts for row in part])
    return {name: np.concatenate([one[name] for one in stored])[order] for name in stored[0]}


def stress_inputs(work: StressWork, runs: Path | S3Folder, scenarios: int) -> StressInputs:
    """Return what tasks share before the first round of so many scenarios."""
    book, run_id = work.identity.book, work.identity.run.run_id
    return StressInputs(
        book=book.location,
        book_digest=book.digest,
        run_id=run_id,
        margin=RunStore(runs).rows(run_id, "accounts"),
        lot_size=work.lot_size,
        notional=work.notional,
        cube=np.zeros((len(work.notional), scenarios)),
        active=np.ones(scenarios, dtype=np.bool_),
        rules=work.identity.named.plan.liquidation,
        groups=work.layout.sizes["member"],
        at_bankruptcy=work.identity.named.plan.taken_at_bankruptcy,
    )
