"""The command ``stress``: scenarios in which accounts fail, are sold, and move prices by that."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cyclopts import App

from flows.commands.shared import (
    CONSOLE,
    MESSAGES,
    Json,
    Runs,
    Unapproved,
    print_json,
    say_report,
)
from flows.commands.stress_reverse import reverse
from flows.settings import EngineName, FoldName, Settings, prepare_prefect

app = App(help="Stress of the whole system: default, liquidation cascade, who pays.")
app.command(reverse)


@app.default
def stress(
    run: str,
    *,
    plan: str | None = None,
    runs: Runs = None,
    stresses: str | None = None,
    pool: str | None = None,
    pools: str | None = None,
    batch: int | None = None,
    shards: int | None = None,
    engine: EngineName | None = None,
    fold: FoldName | None = None,
    workers: int | None = None,
    ray_address: str | None = None,
    unapproved: Unapproved = False,
    reason: str | None = None,
    json: Json = False,
) -> None:
    """Stress the accounts of a margin run: who fails, what is sold, what that does to prices.

    Its report is written as well, and its path printed.

    Args:
        run: name of a published margin run, or an unambiguous start of it
        plan: name of a shipped stress plan, or a TOML file
        runs: folder of the margin runs, or s3://bucket/prefix; runs of the data folder
        stresses: folder of the stress runs, or s3://bucket/prefix; stresses of the data folder
        pool: collateral run of the margin run: protocols, bridges and chains join the network
        pools: folder of the collateral runs, or s3://bucket/prefix; pools of the data folder
        batch: scenarios that go through the book together
        shards: into how many shards to cut the accounts
        engine: ray, dask or serial
        fold: threads, ray or serial
        workers: cores to use
        ray_address: address of a Ray cluster; a local Ray when left out
        unapproved: run a model that is not approved on the day; every page says so
        reason: why it is run, for the manifest and the audit log
        json: print the manifest as JSON
    """
    given = {name: value for name, value in locals().items() if name != "json"}
    manifest = run_stress(given)
    if json:
        print_json(manifest)
        return
    from flows.parameters import StressParameters
    from flows.stress_tables import print_stress
    from storage.arrays import STRESS
    from storage.runs import RunStore

    chosen = {name: value for name, value in given.items() if value is not None}
    settings = StressParameters(**chosen).settings()
    print_stress(CONSOLE, RunStore(settings.stresses, STRESS).read(manifest["run_id"]))
    CONSOLE.print()
    report(manifest["run_id"], stresses=stresses)


@app.command
def report(
    stress: str = "latest",
    *,
    output: Path | None = None,
    stresses: str | None = None,
    reverses: str | None = None,
    json: Json = False,
) -> None:
    """Write the report of a stress run: one HTML page that needs no network.

    Args:
        stress: name of the stress run, or an unambiguous start of it
        output: the file to write
        stresses: folder of the stress runs, or s3://bucket/prefix; stresses of the data folder
        reverses: folder of the reverse stresses, or s3://bucket/prefix; reverses of the data folder
        json: print the path as JSON
    """
    from flows.progress import TerminalProgress

    with TerminalProgress(MESSAGES) as progress, progress.waiting("write the report"):
        from flows.report.stress import write_stress_report
        from flows.stress_view import newest_reverse, stress_view
        from storage.arrays import STRESS
        from storage.runs import RunStore

        settings = Settings.given(stresses=stresses, reverses=reverses)
        run = RunStore(settings.stresses, STRESS).read(stress)
        path = output or settings.reports / f"{run.run_id}.html"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_stress_report(stress_view(run, newest_reverse(settings.reverses, run)), path)
    say_report(run.run_id, path, json=json)


@app.command
def draw(
    scenario: str,
    *,
    stress: str = "latest",
    output: Path | None = None,
    stresses: str | None = None,
) -> None:
    """Draw the cascade of one scenario as a small SVG: prices and what was sold, by round.

    Args:
        scenario: name of the scenario
        stress: name of the stress run, or an unambiguous start of it
        output: the file to write; the scenario's name in the reports of the data folder
        stresses: folder of the stress runs, or s3://bucket/prefix; stresses of the data folder
    """
    from flows.report.stress import drawing
    from flows.stress_view import stress_view
    from storage.arrays import STRESS
    from storage.runs import RunStore

    settings = Settings.given(stresses=stresses)
    drawn = drawing.draw(stress_view(RunStore(settings.stresses, STRESS).read(stress)), scenario)
    path = output or settings.reports / f"{re.sub(r'[^A-Za-z0-9.-]+', '-', scenario)}.svg"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(drawn, encoding="utf-8")
    CONSOLE.print(f"drawing: {path}", highlight=False, soft_wrap=True)


def run_stress(given: dict[str, Any]) -> dict[str, Any]:
    """Run the flow in this process; return a run that is published already as it is."""
    from flows.progress import TerminalProgress

    prepare_prefect(quiet=True)
    with TerminalProgress(MESSAGES) as progress, progress.waiting("open the margin run"):
        from flows.commands.stress_plan import require_plan, require_plan_of
        from flows.here import published_or_run
        from flows.parameters import StressParameters
        from workers.stress.request import identify_stress, stress_store

        chosen = {name: value for name, value in given.items() if value is not None}
        parameters = StressParameters(**chosen)
        settings = parameters.settings()
        request = parameters.request(settings)
        # A mistake in the inputs is known before an engine starts.
        require_plan(request.plan)
        identity = identify_stress(request)
        run_id, store = identity.run_id, stress_store(request)
        if not store.is_published(run_id):
            require_plan_of(identity, request)

    def load() -> Callable[[], dict[str, Any]]:
        from flows.stress_test import stress_test

        return lambda: stress_test(parameters)

    return published_or_run(store, run_id, settings, load)
