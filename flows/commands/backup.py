"""The commands ``backup`` and ``restore``: copies of runs and inputs, read again."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from flows.commands.shared import CONSOLE, MESSAGES, Json, Runs, print_json
from flows.settings import Settings

if TYPE_CHECKING:
    from storage.backup import Backup


def backup(
    destination: Path,
    *,
    runs: Runs = None,
    pools: str | None = None,
    stresses: str | None = None,
    reverses: str | None = None,
    json: Json = False,
) -> None:
    """Copy published runs with their books, claims and markets, and read the copies again.

    Args:
        destination: folder of the backup; one that is there gets what it lacks
        runs: folder of the margin runs; runs of the data folder when left out
        pools: folder of the collateral runs; pools of the data folder when left out
        stresses: folder of the stress runs; stresses of the data folder when left out
        reverses: folder of the reverse stresses; reverses of the data folder when left out
        json: print what the backup holds as JSON
    """
    from flows.stores import stores
    from storage.backup import back_up

    found = list(
        stores(Settings.given(runs=runs, pools=pools, stresses=stresses, reverses=reverses))
    )
    if not found:
        raise ValueError("there are no runs to back up yet; margincube run makes one")
    with MESSAGES.status("copy, and read every copy again"):
        made = back_up(found, destination)
    _say(made, made.lacks(found), json=json)


def restore(
    source: Path,
    *,
    over: Annotated[bool, Parameter(negative=())] = False,
    runs: Runs = None,
    pools: str | None = None,
    stresses: str | None = None,
    reverses: str | None = None,
    json: Json = False,
) -> None:
    """Bring back the runs and inputs of a backup; what stands there is moved aside.

    Args:
        source: folder of the backup
        over: restore although there are runs that the backup lacks
        runs: folder of the margin runs; runs of the data folder when left out
        pools: folder of the collateral runs; pools of the data folder when left out
        stresses: folder of the stress runs; stresses of the data folder when left out
        reverses: folder of the reverse stresses; reverses of the data folder when left out
        json: print what was restored as JSON
    """
    from storage import restore as restoring
    from storage.objects import S3Folder

    settings = Settings.given(runs=runs, pools=pools, stresses=stresses, reverses=reverses)
    targets: dict[str, Path] = {}
    for kind, place in (
        ("margin", settings.runs),
        ("collateral", settings.pools),
        ("stress", settings.stresses),
        ("reverse", settings.reverses),
    ):
        if isinstance(place, S3Folder):
            raise ValueError(f"{place} is in an object store; restore to a folder")
        targets[kind] = place
    with MESSAGES.status("read the backup, and bring it back"):
        done = restoring.restore(source, targets, over=over)
    _say(done.backup, [], json=json, left=done.left)
    if not json:
        for folder in done.aside:
            CONSOLE.print(f"moved aside: {folder}", highlight=False, soft_wrap=True)


def _say(made: "Backup", lacking: list[str], *, json: bool, left: Sequence[str] = ()) -> None:
    """Print the recovery point, what the backup does not hold, and what was left as it stood."""
    newest = made.newest
    counts = {kind: len(runs) for kind, runs in made.runs.items()}
    if json:
        print_json(
            {
                "made": made.made,
                "recovery_point": None
                if newest is None
                else {"run_id": newest.run_id, "created": newest.created},
                "runs": counts,
                "datasets": len(made.datasets),
                "missing_inputs": made.missing,
                "lacking": lacking,
                "left": list(left),
            }
        )
        return
    held = ", ".join(f"{count:,} {kind}" for kind, count in counts.items())
    CONSOLE.print(
        f"runs: {held}; books, claims and markets: {len(made.datasets):,}; all read again",
        highlight=False,
        soft_wrap=True,
    )
    if newest is not None:
        CONSOLE.print(
            f"recovery point: {newest.run_id}, published {newest.created}",
            highlight=False,
            soft_wrap=True,
        )
    for run_id in lacking:
        CONSOLE.print(f"published since, and not in it: {run_id}", highlight=False, soft_wrap=True)
    for one in made.missing:
        CONSOLE.print(f"not copied: {one}", highlight=False, soft_wrap=True)
    for one in left:
        CONSOLE.print(f"left as it stood: {one}", highlight=False, soft_wrap=True)
