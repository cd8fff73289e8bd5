"""Commands on runs: make one, list them, look at one, report it, export it."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from rich.markup import escape

from flows.commands.shared import (
    CONSOLE,
    MESSAGES,
    Json,
    Runs,
    Unapproved,
    print_json,
    say_report,
    with_runs,
)
from flows.settings import EngineName, FoldName, Settings, prepare_prefect
from flows.tables import print_run, print_runs

if TYPE_CHECKING:
    from storage.runs import RunStore


def run(
    book: str,
    *,
    market: str | None = None,
    methodology: str | None = None,
    events: str | None = None,
    netting: str | None = None,
    since: str | None = None,
    shards: int | None = None,
    threads: int | None = None,
    engine: EngineName | None = None,
    fold: FoldName | None = None,
    workers: int | None = None,
    ray_address: str | None = None,
    unapproved: Unapproved = False,
    reason: str | None = None,
    most_held_back: float | None = None,
    most_money_held_back: float | None = None,
    runs: Runs = None,
    json: Json = False,
) -> None:
    """Compute the margin of every account of a book, and publish it.

    A run that has the same inputs, methodology and code as a published one is recognised.

    Args:
        book: name or folder of the book, or s3://bucket/prefix
        market: folder of a market; the shipped sample when left out
        methodology: name of a shipped methodology, or a TOML file
        events: TOML file of hypothetical events; the shipped ones when left out
        netting: isolated, cross or portfolio for every account; what each chose when left out
        since: a published run; what depends on nothing that changed is kept from it
        shards: into how many shards to cut the accounts
        threads: threads inside one task
        engine: ray, dask or serial
        fold: threads, ray or serial
        workers: cores to use
        ray_address: address of a Ray cluster; a local Ray when left out
        unapproved: run a model that is not approved on the day; every page says so
        reason: why it is run, for the manifest and the audit log
        most_held_back: part of accounts above which the run is not published, 0.01 for 1 %
        most_money_held_back: part of collateral above which the run is not published
        runs: folder of the runs, or s3://bucket/prefix; runs of the data folder when left out
        json: print the manifest as JSON
    """
    given = {name: value for name, value in locals().items() if name != "json"}
    manifest = run_flow(given)
    if json:
        print_json(manifest)
        return
    print_run(CONSOLE, manifest)
    if manifest["recognised"]:
        CONSOLE.print("[yellow]recognised[/]: this run was published before; nothing was computed")
    CONSOLE.print(f"next: margincube show {manifest['run_id']}{with_runs(runs)}", highlight=False)


def run_flow(given: dict[str, Any]) -> dict[str, Any]:
    """Run the flow in this process; return a run that is published already as it is."""
    from flows.here import published_or_run
    from flows.parameters import RunParameters
    from storage.runs import RunStore
    from workers.plan import identify

    prepare_prefect(quiet=True)
    parameters = RunParameters(
        **{name: value for name, value in given.items() if value is not None}
    )
    settings = parameters.settings()
    # A mistake in the inputs is known before an engine starts.
    run_id = identify(parameters.request(settings)).run_id
    store = RunStore(settings.runs)

    def load() -> Callable[[], dict[str, Any]]:
        from flows.margin_run import margin_run

        return lambda: margin_run(parameters)

    return published_or_run(store, run_id, settings, load)


def runs(*, runs: Runs = None, json: Json = False) -> None:
    """List the published runs, newest first, with their tags, and those that never finished.

    Args:
        runs: folder of the runs, or s3://bucket/prefix; runs of the data folder when left out
        json: print the manifests as JSON
    """
    from storage.runs import RunStore

    store = RunStore(Settings.given(runs=runs).runs)
    manifests, damaged = store.survey()
    standing = standing_of(store, manifests, damaged)
    if json:
        unread = [
            {"run_id": run_id, "standing": "damaged", "problem": said}
            for run_id, said in damaged.items()
        ]
        print_json([*(one | standing[one["run_id"]] for one in manifests), *unread])
        return
    if manifests:
        print_runs(CONSOLE, manifests, standing)
    elif not damaged:
        CONSOLE.print("no run has been published yet; try: margincube demo")
    for said in damaged.values():
        CONSOLE.print(f"[bold red]damaged:[/] {escape(said)}", highlight=False, soft_wrap=True)
    for run_id in store.unfinished():
        what = "in progress" if store.is_busy(run_id) else "not finished, the same command goes on"
        CONSOLE.print(f"{run_id}: {what}", highlight=False, soft_wrap=True)


def standing_of(
    store: "RunStore", manifests: list[dict[str, Any]], damaged: Mapping[str, str]
) -> dict[str, dict[str, Any]]:
    """Return the tags of each run, and whether it is the latest, published or set aside.

    Where a damaged run may be the latest, none is.
    """
    from storage.history import read_history

    history = read_history(store.path)
    left = [one["run_id"] for one in manifests if one["run_id"] not in history.aside]
    known = bool(left) and damaged.keys() <= set(history.aside)
    latest = store.resolve("latest") if known else ""
    return {
        run_id: {
            "tags": history.tags_of(run_id),
            "standing": "set aside"
            if run_id in history.aside
            else "latest"
            if run_id == latest
            else "published",
        }
        for run_id in (str(one["run_id"]) for one in manifests)
    }


def show(run: str = "latest", *, runs: Runs = None, json: Json = False) -> None:
    """Show the totals and the stage table of a run.

    Args:
        run: name of the run, or an unambiguous start of it
        runs: folder of the runs, or s3://bucket/prefix; runs of the data folder when left out
        json: print the manifest as JSON
    """
    from storage.runs import RunStore

    opened = RunStore(Settings.given(runs=runs).runs).open(run)
    if json:
        print_json(opened.manifest)
        return
    print_run(CONSOLE, opened.manifest, opened)


def report(
    run: str = "latest",
    *,
    output: Path | None = None,
    runs: Runs = None,
    json: Json = False,
) -> None:
    """Write the report of a run: one HTML page that needs no network.

    Args:
        run: name of the run, or an unambiguous start of it
        output: the file to write
        runs: folder of the runs, or s3://bucket/prefix; runs of the data folder when left out
        json: print the path as JSON
    """
    from flows.report.page import write_report
    from flows.run_view import run_view
    from storage.runs import RunStore

    settings = Settings.given(runs=runs)
    opened = RunStore(settings.runs).open(run)
    path = output or settings.reports / f"{opened.run_id}.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_report(run_view(opened), path)
    say_report(opened.run_id, path, json=json)


def export(
    run: str = "latest",
    *,
    output: Annotated[Path, Parameter(help="a .csv or .parquet file to write")],
    runs: Runs = None,
    json: Json = False,
) -> None:
    """Write the table of all accounts of a run as CSV or Parquet.

    Args:
        run: name of the run, or an unambiguous start of it
        output: the file to write
        runs: folder of the runs, or s3://bucket/prefix; runs of the data folder when left out
        json: print what was written as JSON
    """
    from flows.progress import TerminalProgress
    from storage.runs import RunStore
    from workers.export import export_accounts

    opened = RunStore(Settings.given(runs=runs).runs).open(run)
    with TerminalProgress(MESSAGES) as progress:
        rows = export_accounts(opened, output, progress)
    if json:
        print_json({"run_id": opened.run_id, "output": str(output), "rows": rows})
    else:
        CONSOLE.print(f"{rows:,} accounts written to {output}", highlight=False, soft_wrap=True)
