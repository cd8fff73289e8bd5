"""The flow ``margin_run``: five coarse tasks; inside them the engines go wide."""

import contextlib
from typing import Annotated, Any

from prefect import flow, task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE
from pydantic import BaseModel, ConfigDict, Field

from flows.engines import Engines, running_engines
from flows.progress import observer
from flows.settings import EngineName, FoldName, Settings
from storage.runs import RunStore
from workers.margin_run import MarginRun, RunRequest
from workers.memory import PeakMemory
from workers.methodologies import DEFAULT_METHODOLOGY
from workers.stages import StageTable


class RunParameters(BaseModel):
    """What to run; anything left out is taken from the settings of the process that runs it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    book: Annotated[str, Field(description="Name or folder of the book of accounts")]
    market: Annotated[
        str | None,
        Field(description="Name or folder of a market; the shipped sample when left out"),
    ] = None
    methodology: Annotated[
        str, Field(description="Name of a shipped methodology, or the path of a TOML file")
    ] = DEFAULT_METHODOLOGY
    events: Annotated[
        str | None, Field(description="TOML file of hypothetical events; the shipped when left out")
    ] = None
    shards: Annotated[
        int | None, Field(ge=1, description="Into how many shards to cut the accounts")
    ] = None
    threads: Annotated[int, Field(ge=1, description="Threads inside one task")] = 1
    engine: Annotated[EngineName | None, Field(description="What runs the wide stages")] = None
    fold: Annotated[FoldName | None, Field(description="Where Dask folds")] = None
    workers: Annotated[int | None, Field(ge=1, description="Cores to use")] = None
    ray_address: Annotated[
        str | None, Field(description="Address of a Ray cluster; a local Ray when left out")
    ] = None

    def settings(self) -> Settings:
        """Return the settings of this process with what the parameters override."""
        given = self.model_dump(include={"engine", "fold", "workers", "ray_address"})
        return Settings(**{name: value for name, value in given.items() if value is not None})

    def request(self, settings: Settings) -> RunRequest:
        """Return the run that is asked for."""
        return RunRequest(
            book=settings.book_path(self.book),
            market=None if self.market is None else settings.market_path(self.market),
            methodology=self.methodology,
            events=self.events,
            runs=settings.runs,
            shards=self.shards,
            threads=self.threads,
        )


# A run in progress is passed by reference: nothing of it is hashed, cached or stored by Prefect.


@task(name="prepare", cache_policy=NO_CACHE, persist_result=False)
def prepare(run: MarginRun) -> bool:
    """Open, check and plan; tell whether the run is published already."""
    return run.prepare()


@task(
    name="price cube", retries=2, retry_delay_seconds=1, cache_policy=NO_CACHE, persist_result=False
)
def price(run: MarginRun) -> None:
    """Price every instrument under every scenario."""
    run.price()


@task(name="margin", retries=2, retry_delay_seconds=1, cache_policy=NO_CACHE, persist_result=False)
def margin(run: MarginRun) -> None:
    """Margin every account."""
    run.margin()


@task(name="fold", retries=2, retry_delay_seconds=1, cache_policy=NO_CACHE, persist_result=False)
def fold(run: MarginRun) -> None:
    """Fold accounts into members, venues and the system."""
    run.fold()


@task(name="publish", retries=2, retry_delay_seconds=1, cache_policy=NO_CACHE, persist_result=False)
def publish(run: MarginRun, memory: PeakMemory) -> dict[str, Any]:
    """Verify, and make the run visible."""
    return run.publish(lambda: memory.peak_bytes)


@flow(name="margin_run", persist_result=False, validate_parameters=True)
def margin_run(parameters: RunParameters) -> dict[str, Any]:
    """Compute the margin of every account of a book and publish it as a run.

    Returns the manifest of the run; one that was published before is returned as it is, with
    ``recognised`` set.
    """
    settings = parameters.settings()
    with contextlib.ExitStack() as started:
        engines = running_engines() or started.enter_context(Engines(settings))
        memory = started.enter_context(PeakMemory())
        run = MarginRun(
            parameters.request(settings),
            engines.engine,
            engines.fold_engine,
            StageTable(observer()),
        )
        started.enter_context(run)
        if prepare(run):
            manifest = RunStore(settings.runs).open(run.run_id).manifest
            return {**manifest, "recognised": True}
        price(run)
        margin(run)
        fold(run)
        manifest = publish(run, memory)
    _artifacts(manifest)
    return {**manifest, "recognised": False}


def _artifacts(manifest: dict[str, Any]) -> None:
    """Leave the totals and the stage table where Prefect's pages show them."""
    create_table_artifact(
        [{"total": name, "value": value} for name, value in manifest["totals"].items()],
        key="margin-totals",
        description=f"Totals of run {manifest['run_id']}; money in USD",
    )
    create_table_artifact(
        manifest["stages"],
        key="margin-stages",
        description=f"Where the time of run {manifest['run_id']} went; seconds",
    )
