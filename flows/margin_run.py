"""The flow ``margin_run``: five coarse tasks; inside them the engines go wide."""

import contextlib
from typing import Any

from prefect import flow, task
from prefect.artifacts import create_table_artifact

from flows.engines import Engines, running_engines
from flows.parameters import RunParameters
from flows.progress import observer
from flows.run_tasks import TRIED_AGAIN, prepare, publish
from storage.runs import RunStore
from workers.margin_run import MarginRun
from workers.memory import PeakMemory
from workers.stages import StageTable


@task(name="price cube", **TRIED_AGAIN)
def price(run: MarginRun) -> None:
    """Price every instrument under every scenario."""
    run.price()


@task(name="margin", **TRIED_AGAIN)
def margin(run: MarginRun) -> None:
    """Margin every account."""
    run.margin()


@task(name="fold", **TRIED_AGAIN)
def fold(run: MarginRun) -> None:
    """Fold accounts into members, venues and the system."""
    run.fold()


@flow(name="margin_run", persist_result=False, validate_parameters=True)
def margin_run(parameters: RunParameters) -> dict[str, Any]:
    """Compute the margin of every account of a book and publish it as a run.

    Returns the manifest of the run; one that was published before is returned as it is, with
    ``recognised`` set.
    """
    settings = parameters.settings()
    settings.signer()  # a key that cannot be used is known before anything is computed
    with contextlib.ExitStack() as started:
        engines = running_engines() or started.enter_context(Engines(settings))
        memory = started.enter_context(PeakMemory())
        stages = StageTable(observer())
        request = parameters.request(settings)
        run = MarginRun(request, engines.engine, engines.fold_engine, stages, engines.rooms)
        started.enter_context(run)
        if prepare(run):
            manifest = RunStore(settings.runs).open(run.run_id).manifest
            return {**manifest, "recognised": True}
        engines.wait(stages)
        price(run)
        margin(run)
        fold(run)
        manifest = publish(run, memory, settings)
    _artifacts(manifest)
    return {**manifest, "recognised": False}


def _artifacts(manifest: dict[str, Any]) -> None:
    """Leave the totals, the rule book and the stage table where Prefect's pages show them."""
    rules = manifest["inputs"]["methodology"]
    create_table_artifact(
        [{"total": name, "value": value} for name, value in manifest["totals"].items()],
        key="margin-totals",
        description=(
            f"Totals of run {manifest['run_id']} by {rules['name']} {rules['version']}, effective "
            f"{rules['effective']}; money in USD. Accounts short are below their requirement, "
            "accounts below maintenance face liquidation."
        ),
    )
    create_table_artifact(
        [
            *(
                {"rule book": name, "": rules[name] or "none"}
                for name in ("name", "version", "effective", "title", "kind", "venue", "standing")
            ),
            *({"rule book": "not verified", "": point} for point in rules["not_verified"]),
        ],
        key="margin-rule-book",
        description=f"By which rules run {manifest['run_id']} was made, and whose number it is",
    )
    create_table_artifact(
        manifest["stages"],
        key="margin-stages",
        description=f"Where the time of run {manifest['run_id']} went; seconds",
    )
