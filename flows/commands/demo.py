"""The command ``demo``: the main job from nothing to a report."""

from typing import Annotated

from cyclopts import Parameter

from flows.commands.books import make_book
from flows.commands.runs import report, run_flow
from flows.commands.shared import CONSOLE, Json, Runs, print_json, with_runs
from flows.settings import Settings
from flows.tables import print_run

DEMO_ACCOUNTS = 100_000


def demo(
    *,
    accounts: Annotated[int, Parameter(help="how many accounts to make")] = DEMO_ACCOUNTS,
    seed: int = 1,
    runs: Runs = None,
    json: Json = False,
) -> None:
    """Generate a book over a real option chain, margin it, and write the report.

    Args:
        accounts: how many accounts to make
        seed: seed of the book
        runs: folder of the runs, or s3://bucket/prefix; runs of the data folder when left out
        json: print the manifest as JSON
    """
    from storage.runs import RunStore

    settings = Settings.given(runs=runs)
    name = f"demo-{accounts}-{seed}"
    if not (settings.books / name).is_dir():
        make_book(name, accounts, seed)
    manifest = run_flow({"book": name, "runs": runs})
    if json:
        print_json(manifest)
        return
    opened = RunStore(settings.runs).open(manifest["run_id"])
    print_run(CONSOLE, manifest, opened)
    CONSOLE.print()
    report(opened.run_id, runs=runs)
    largest = opened.folds["top_requirement_name"].values[0]
    CONSOLE.print(f"next: margincube explain {largest}{with_runs(runs)}", highlight=False)
