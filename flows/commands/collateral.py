"""The command ``collateral``: the claims of a book's accounts as one pool."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from cyclopts import App

from flows.commands.collateral_explain import explain
from flows.commands.moves import moves
from flows.commands.shared import CONSOLE, Json, Runs, Unapproved, print_json, say_report
from flows.settings import EngineName, FoldName, Settings, prepare_prefect

app = App(help="Collateral over chains, protocols and bridges as one pool.")
app.command(moves)
app.command(explain)


@app.default
def collateral(
    run: str,
    *,
    claims: str,
    rules: str | None = None,
    runs: Runs = None,
    pools: str | None = None,
    shards: int | None = None,
    engine: EngineName | None = None,
    fold: FoldName | None = None,
    workers: int | None = None,
    ray_address: str | None = None,
    unapproved: Unapproved = False,
    reason: str | None = None,
    json: Json = False,
) -> None:
    """Value the claims of a margin run's accounts as one pool, and publish the collateral run.

    Its report is written as well, and its path printed, unless JSON is asked for.

    Args:
        run: name of a published margin run, an unambiguous start of it, or latest: the newest of
            the claims' book
        claims: name or folder of claims on the run's book
        rules: name of shipped rules of a pool, or a TOML file
        runs: folder of the margin runs, or s3://bucket/prefix; runs of the data folder
        pools: folder of the collateral runs, or s3://bucket/prefix; pools of the data folder
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
    manifest = run_collateral(given)
    if json:
        print_json(manifest)
        return
    from flows.collateral_tables import print_pool

    print_pool(CONSOLE, manifest)
    if manifest["recognised"]:
        CONSOLE.print("[yellow]recognised[/]: this run was published before; nothing was computed")
    CONSOLE.print()
    report(manifest["run_id"], pools=pools)


@app.command
def report(
    pool: str = "latest",
    *,
    output: Path | None = None,
    pools: str | None = None,
    json: Json = False,
) -> None:
    """Write the report of a collateral run: one HTML page that needs no network.

    Args:
        pool: name of the collateral run, or an unambiguous start of it
        output: the file to write
        pools: folder of the collateral runs, or s3://bucket/prefix; pools of the data folder
        json: print the path as JSON
    """
    from flows.pool_view import pool_view
    from flows.report.collateral import write_collateral_report
    from storage.arrays import POOL
    from storage.runs import RunStore

    settings = Settings.given(pools=pools)
    run = RunStore(settings.pools, POOL).read(pool)
    path = output or settings.reports / f"{run.run_id}.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_collateral_report(pool_view(run), path)
    say_report(run.run_id, path, json=json)


def run_collateral(given: dict[str, Any]) -> dict[str, Any]:
    """Run the flow in this process; return a run that is published already as it is."""
    from flows.here import published_or_run
    from flows.parameters import CollateralParameters
    from workers.pool.request import identify_pool, pool_store

    prepare_prefect(quiet=True)
    chosen = {name: value for name, value in given.items() if value is not None}
    parameters = CollateralParameters(**chosen)
    settings = parameters.settings()
    request = parameters.request(settings)
    # A mistake in the inputs is known before an engine starts.
    run_id = identify_pool(request).run_id
    store = pool_store(request)

    def load() -> Callable[[], dict[str, Any]]:
        from flows.collateral_report import collateral_report

        return lambda: collateral_report(parameters)

    return published_or_run(store, run_id, settings, load)
