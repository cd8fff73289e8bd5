"""The flow ``stress_test``: scenarios run to the end of their cascades, in coarse tasks."""

import contextlib
from typing import Any

from prefect import flow, task

from flows.artifacts import leave_totals
from flows.engines import Engines, running_engines
from flows.parameters import StressParameters
from flows.progress import observer
from flows.run_tasks import TRIED_AGAIN, prepare, publish
from workers.memory import PeakMemory
from workers.stages import StageTable
from workers.stress.request import stress_store
from workers.stress.run import StressRun


@task(name="stress", **TRIED_AGAIN)
def stress(run: StressRun) -> None:
    """Run every cascade to its end."""
    run.stress()


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
        stages = StageTable(observer())
        run = started.enter_context(StressRun(request, engines.engine, stages, engines.rooms))
        if prepare.with_options(name="prepare stress")(run):
            return {**stress_store(request).read(run.run_id).manifest, "recognised": True}
        engines.wait(stages)
        stress(run)
        manifest = publish.with_options(name="publish stress")(run, memory, settings)
    leave_totals("stress", manifest)
    return {**manifest, "recognised": False}
