"""The flow ``collateral_report``: the claims of a book valued as one pool, in coarse tasks."""

import contextlib
from typing import Any

from prefect import flow, task
from prefect.artifacts import create_table_artifact

from flows.artifacts import leave_totals
from flows.engines import Engines, running_engines
from flows.parameters import CollateralParameters
from flows.progress import observer
from flows.run_tasks import TRIED_AGAIN, prepare, publish
from workers.memory import PeakMemory
from workers.pool.request import pool_store
from workers.pool.run import PoolRun
from workers.stages import StageTable


@task(name="count claims", **TRIED_AGAIN)
def count(run: PoolRun) -> None:
    """Find which claims count, and value a unit of every token."""
    run.count()
    run.value()


@task(name="pool accounts", **TRIED_AGAIN)
def pool(run: PoolRun) -> None:
    """Value and margin every account with its claims."""
    run.pool()


@task(name="fold pool", **TRIED_AGAIN)
def fold(run: PoolRun) -> None:
    """Fold accounts into one pool."""
    run.fold()


@flow(name="collateral_report", persist_result=False, validate_parameters=True)
def collateral_report(parameters: CollateralParameters) -> dict[str, Any]:
    """Value the claims of a book's accounts as one pool, and publish it as a collateral run.

    Returns the manifest of the run; one that was published before is returned as it is, with
    ``recognised`` set.
    """
    settings = parameters.settings()
    settings.signer()  # a key that cannot be used is known before anything is computed
    request = parameters.request(settings)
    with contextlib.ExitStack() as started:
        engines = running_engines() or started.enter_context(Engines(settings))
        memory = started.enter_context(PeakMemory())
        stages = StageTable(observer())
        run = started.enter_context(
            PoolRun(request, engines.engine, engines.fold_engine, stages, engines.rooms)
        )
        if prepare.with_options(name="prepare pool")(run):
            return {**pool_store(request).read(run.run_id).manifest, "recognised": True}
        engines.wait(stages)
        count(run)
        pool(run)
        fold(run)
        manifest = publish.with_options(name="publish pool")(run, memory, settings)
    leave_totals("collateral", manifest)
    create_table_artifact(
        [
            {"outcome": name, "claims": count}
            for name, count in manifest["totals"]["outcomes"].items()
        ],
        key="collateral-outcomes",
        description=f"Whether claims count in {manifest['run_id']}, and why not",
    )
    return {**manifest, "recognised": False}
