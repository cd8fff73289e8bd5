"""The flow ``stress_test``: scenarios run to the end of their cascades, in coarse tasks."""

import contextlib
from typing import Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from flows.artifacts import leave_totals
from flows.engines import Engines, running_engines
from flows.margin_run import TRIED_AGAIN
from flows.parameters import StressParameters
from flows.progress import observer
from flows.settings import Settings
from workers.memory import PeakMemory
from workers.stages import StageTable
from workers.stress.request import stress_store
from workers.stress.run import StressRun


@task(name="prepare stress", cache_policy=NO_CACHE, persist_result=False)
def prepare(run: StressRun) -> bool:
    """Open, check and plan; tell whether the run is published already."""
    return run.prepare()


@task(name="stress", **TRIED_AGAIN)
def stress(run: StressRun) -> None:
    """Run every cascade to its end."""
    run.stress()


@task(name="publish stress", **TRIED_AGAIN)
def publish(run: StressRun, memory: PeakMemory, settings: Settings) -> dict[str, Any]:
    """Verify, and make the run visible."""
    return run.publish(lambda: memory.peak_bytes, settings.signer())


@flow(name="stress_test", persist_result=False, validate_parameters=True)
def stress_test(parameters: StressParameters) -> dict[str, Any]:
    """Stress the accounts of a published margin run, and publish what the system comes to.

    Returns the manifest of the run; one that was published before is returned as it is, with
    ``recognised`` set.
    """
    settings = parameters.settings()
    settings.signer()  # a key that cannot be used is known before anything is computed
    request = parameters.request(settings)
    with contextlib.ExitStack() as started:
        engines = running_engines() or started.enter_context(Engines(settings))
        memory = started.enter_context(PeakMemory())
        run = started.enter_context(
            StressRun(request, engines.engine, StageTable(observer()), engines.rooms)
        )
        if prepare(run):
            return {**stress_store(request).read(run.run_id).manifest, "recognised": True}
        stress(run)
        manifest = publish(run, memory, settings)
    leave_totals("stress", manifest)
    return {**manifest, "recognised": False}
