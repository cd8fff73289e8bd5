"""The command ``serve``: the flow on a schedule."""

import os
from pathlib import Path

from flows.commands.shared import CONSOLE, Unapproved
from flows.settings import EngineName, FoldName, prepare_prefect

SCHEDULE = ("cron", "timezone", "name")
"""Options of the deployment; the others are parameters of the run."""


class NoServer(ValueError):
    """A schedule needs a Prefect server that outlives the process, and none is configured."""


def serve(
    book: str,
    *,
    cron: str = "0 * * * *",
    timezone: str = "UTC",
    name: str = "scheduled",
    market: str | None = None,
    methodology: str | None = None,
    events: str | None = None,
    shards: int | None = None,
    threads: int | None = None,
    engine: EngineName | None = None,
    fold: FoldName | None = None,
    workers: int | None = None,
    ray_address: str | None = None,
    unapproved: Unapproved = False,
    reason: str | None = None,
) -> None:
    """Serve the flow margin_run for a book on a schedule, until interrupted.

    Needs a Prefect server, by Prefect's own setting PREFECT_API_URL. One run at a time; the
    schedule is paused when serving ends.

    Args:
        book: name or folder of the book, or s3://bucket/prefix
        cron: when to run: minute, hour, day of month, month, day of week
        timezone: the zone that the times of the schedule are in
        name: name of the deployment
        market: folder of a market; the shipped sample when left out
        methodology: name of a shipped methodology, or a TOML file
        events: TOML file of hypothetical events; the shipped ones when left out
        shards: into how many shards to cut the accounts
        threads: threads inside one task
        engine: ray, dask or serial
        fold: threads, ray or serial
        workers: cores to use
        ray_address: address of a Ray cluster; a local Ray when left out
        unapproved: run a model that is not approved on the day; every page says so
        reason: why it is run, for the manifest and the audit log
    """
    given = {key: value for key, value in locals().items() if key not in SCHEDULE}
    chosen = {key: value for key, value in given.items() if value is not None}
    from flows.parameters import RunParameters
    from workers.plan import identify

    parameters = RunParameters.model_validate(chosen)
    settings = parameters.settings()
    identify(parameters.request(settings))  # a mistake in the inputs is known before it is due
    prepare_prefect(quiet=False)
    # Each run is a process of its own, which looks for its data where this one does.
    os.environ["MARGINCUBE_HOME"] = str(settings.home.resolve())
    runs = settings.runs
    os.environ["MARGINCUBE_RUNS"] = str(runs.resolve() if isinstance(runs, Path) else runs)
    from prefect.client.orchestration import get_client
    from prefect.schedules import Cron
    from prefect.settings import get_current_settings
    from prefect.types.entrypoint import EntrypointType

    from flows.margin_run import margin_run
    from storage.audit import record

    if get_current_settings().api.url is None:
        raise NoServer(
            "no Prefect server is configured; start one with `prefect server start` and set "
            "PREFECT_API_URL, such as http://127.0.0.1:4200/api"
        )
    what = {"book": book, "deployment": f"margin_run/{name}", "cron": cron, "timezone": timezone}
    rules = {"methodology": parameters.methodology, "unapproved": unapproved}
    record(settings.runs, "serve", what | rules, reason)
    schedule = Cron(cron, timezone=timezone)
    CONSOLE.print(
        f"serving margin_run of {book} at '{cron}' {timezone} as margin_run/{name}; "
        "stop it with Ctrl-C",
        highlight=False,
        soft_wrap=True,
    )
    try:
        margin_run.serve(
            name=name,
            schedule=schedule,
            paused=False,
            pause_on_shutdown=False,
            limit=1,
            parameters={"parameters": parameters.model_dump(mode="json", exclude_unset=True)},
            entrypoint_type=EntrypointType.MODULE_PATH,
            print_starting_message=False,
        )
    finally:
        # Prefect's own pause at the end is lost when a run is under way.
        with get_client(sync_client=True) as client:
            deployment = client.read_deployment_by_name(f"{margin_run.name}/{name}")
            client.pause_deployment(deployment.id)
        CONSOLE.print("the schedule is paused")
