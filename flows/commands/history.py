"""Commands on what is kept: tag, untag, rollback, clean."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from rich.markup import escape

from flows.commands.shared import (
    CONSOLE,
    MESSAGES,
    Json,
    Runs,
    print_json,
    require_plain_name,
)
from flows.format import size
from flows.settings import Settings
from flows.tables import columns

if TYPE_CHECKING:
    from flows.cleaning import Cleaning


def tag(
    run: str,
    name: str,
    *,
    runs: Runs = None,
    pools: str | None = None,
    stresses: str | None = None,
    reverses: str | None = None,
) -> None:
    """Give a run a second name, under which it is kept until the tag is taken away.

    Args:
        run: name of a margin, collateral, stress or reverse stress run, or a start of it
        name: the tag
        runs: folder of the margin runs, or s3://bucket/prefix; runs of the data folder
        pools: folder of the collateral runs, or s3://bucket/prefix; pools of the data folder
        stresses: folder of the stress runs, or s3://bucket/prefix; stresses of the data folder
        reverses: folder of the reverse stresses, or s3://bucket/prefix; reverses of the data folder
    """
    require_plain_name(name)
    if name == "latest":
        raise ValueError("'latest' is no tag, it means the newest run; choose another name")
    settings = Settings.given(runs=runs, pools=pools, stresses=stresses, reverses=reverses)
    with MESSAGES.status("look for the run"):
        from flows.stores import store_of, stores
        from storage.history import History, change_history

        if named := [run_id for one in stores(settings) for run_id in one.named(name)]:
            raise ValueError(
                f"{name!r} is no tag, it means run {', '.join(named)} as it is, or begins like it; "
                "choose another name"
            )
        store, run_id = store_of(settings, run)

    def change(history: History) -> None:
        store.resolve(run_id)  # which may have been removed just now
        had = history.tags.get(name)
        if had not in (None, run_id):
            raise ValueError(
                f"tag {name!r} is of run {had}; margincube untag {had} {name} takes it away"
            )
        history.tags[name] = run_id
        history.record("tag", run_id, tag=name)

    change_history(store.path, change)
    CONSOLE.print(f"{run_id} is tagged {name}", highlight=False, soft_wrap=True)


def untag(
    run: str,
    name: str,
    *,
    runs: Runs = None,
    pools: str | None = None,
    stresses: str | None = None,
    reverses: str | None = None,
) -> None:
    """Take a tag away from a run.

    Args:
        run: name of the run, or an unambiguous start of it
        name: the tag
        runs: folder of the margin runs, or s3://bucket/prefix; runs of the data folder
        pools: folder of the collateral runs, or s3://bucket/prefix; pools of the data folder
        stresses: folder of the stress runs, or s3://bucket/prefix; stresses of the data folder
        reverses: folder of the reverse stresses, or s3://bucket/prefix; reverses of the data folder
    """
    from flows.stores import store_of, stores
    from storage.history import History, change_history, read_history

    settings = Settings.given(runs=runs, pools=pools, stresses=stresses, reverses=reverses)
    # A tag may be of a run that is no longer there.
    tagged = (one for one in stores(settings) if read_history(one.path).tags.get(name) == run)
    store, run_id = next(((one, run) for one in tagged), None) or store_of(settings, run)

    def change(history: History) -> None:
        if history.tags.get(name) != run_id:
            there = history.tags_of(run_id) or "none"
            raise ValueError(f"run {run_id} has no tag {name!r}; its tags are {there}")
        del history.tags[name]
        history.record("untag", run_id, tag=name)

    change_history(store.path, change)
    CONSOLE.print(f"{run_id} is no longer tagged {name}", highlight=False, soft_wrap=True)


def rollback(
    book: str, *, to: str, because: str = "", runs: Runs = None, json: Json = False
) -> None:
    """Let latest mean an earlier run of a book again; newer ones are set aside, not deleted.

    A run that is published afterwards is the latest as ever. Rolling to a run that was set aside
    takes it back. One that nets all accounts alike is refused where another stays that does not.

    Args:
        book: name of the book
        to: the run that is to be the latest, or an unambiguous start of it
        because: why, for the history and the audit log
        runs: folder of the runs, or s3://bucket/prefix; runs of the data folder when left out
        json: print what was set aside as JSON
    """
    from storage.audit import record
    from storage.history import History, change_history
    from storage.manifests import latest_of
    from storage.runs import RunStore

    store = RunStore(Settings.given(runs=runs).runs)
    run_id = store.resolve(to)
    manifests = [one for one in store.manifests() if one["inputs"]["book"]["name"] == book]
    of_book = [str(one["run_id"]) for one in manifests]
    if run_id not in of_book:
        raise ValueError(
            f"run {run_id} is of another book than {book!r}; runs of that book are {of_book}"
        )
    newer = of_book[: of_book.index(run_id)]
    if (latest := latest_of(manifests[len(newer) :])) != run_id:
        raise ValueError(
            f"run {run_id} nets all accounts alike, and latest would be {latest}, which does not; "
            f"roll back to that one, or open {run_id} by its name"
        )

    def change(history: History) -> None:
        others = [one for one in history.aside if one not in of_book]
        history.aside = sorted([*others, *newer])
        history.record("rollback", run_id, book=book, set_aside=newer, because=because)

    what = {"run": run_id, "book": book, "set_aside": newer}
    record(store.path, "roll back", what, because or None)
    change_history(store.path, change)
    if json:
        print_json({"book": book, "latest": run_id, "set_aside": newer})
        return
    CONSOLE.print(f"the latest run of {book} is {run_id}", highlight=False, soft_wrap=True)
    for one in newer:
        CONSOLE.print(f"set aside: {one}", highlight=False, soft_wrap=True)


def clean(
    *,
    keep_last: int | None = None,
    keep_days: float | None = None,
    damaged: Annotated[bool, Parameter(negative=())] = False,
    dry_run: Annotated[bool, Parameter(negative=())] = False,
    runs: Runs = None,
    pools: str | None = None,
    stresses: str | None = None,
    reverses: str | None = None,
    json: Json = False,
) -> None:
    """Remove old runs and what runs that never finished left behind, and reclaim their space.

    Kept always: tagged runs, the latest of each book, runs in progress, and what a run that is
    kept was made from. Without a limit, and while a run is in progress, only leftovers go.

    Args:
        keep_last: runs of each book and kind to keep, the newest
        keep_days: days for which every run is kept
        damaged: remove runs whose manifests cannot be read; while there are any, nothing else goes
        dry_run: say what would go, and remove nothing
        runs: folder of the margin runs, or s3://bucket/prefix; runs of the data folder
        pools: folder of the collateral runs, or s3://bucket/prefix; pools of the data folder
        stresses: folder of the stress runs, or s3://bucket/prefix; stresses of the data folder
        reverses: folder of the reverse stresses, or s3://bucket/prefix; reverses of the data folder
        json: print what went and what was kept as JSON
    """
    from flows.cleaning import clean_stores
    from flows.stores import stores

    settings = Settings.given(runs=runs, pools=pools, stresses=stresses, reverses=reverses)
    done = clean_stores(
        list(stores(settings)),
        keep_last,
        keep_days,
        datetime.now(UTC),
        dry_run=dry_run,
        damaged=damaged,
    )
    if json:
        print_json(
            {
                "dry_run": dry_run,
                "removed": done.removed,
                "damaged": done.damaged,
                "leftovers": done.leftovers,
                "kept": done.kept,
                "bytes": done.reclaimed,
                "cached": [str(folder) for folder in done.cached],
                "busy": done.busy,
            }
        )
        return
    _print_cleaning(done, dry_run=dry_run)


def _print_cleaning(done: "Cleaning", *, dry_run: bool) -> None:
    table = columns("Runs", "run", "", "because", left=3)
    table.columns[0].no_wrap, table.columns[0].overflow = False, "fold"
    for run_id, why in done.kept.items():
        table.add_row(run_id, "kept", escape(why))
    gone = "would go" if dry_run else "removed"
    for run_id in done.removed:
        table.add_row(run_id, gone, "beyond what is to be kept")
    for run_id in done.damaged:
        table.add_row(run_id, gone, "damaged")
    for run_id in done.leftovers:
        table.add_row(run_id, gone, "never finished")
    CONSOLE.print(table, highlight=False)
    for folder in done.cached:
        CONSOLE.print(f"{gone}: {folder}", highlight=False, soft_wrap=True)
    if done.busy:
        CONSOLE.print(
            f"no space is reclaimed while runs are in progress: {', '.join(done.busy)}; clean "
            "again when they are done",
            highlight=False,
            soft_wrap=True,
        )
    elif not dry_run:
        CONSOLE.print(f"{size(done.reclaimed)} reclaimed", highlight=False)
