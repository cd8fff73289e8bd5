"""The command ``compare``: one book under several margin systems."""

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from rich.console import Console
from rich.markup import escape

from flows.commands.shared import CONSOLE, MESSAGES, Json, Runs, Unapproved, print_json
from flows.format import short
from flows.settings import Settings
from flows.tables import columns

MODES = ("isolated", "cross", "portfolio")


def compare(
    book: str,
    *,
    methodology: Annotated[list[str] | None, Parameter(negative=())] = None,
    netting: Annotated[list[str] | None, Parameter(negative=())] = None,
    market: str | None = None,
    out: Path | None = None,
    runs: Runs = None,
    unapproved: Unapproved = False,
    reason: str | None = None,
    json: Json = False,
) -> None:
    """Margin a book under several systems, and show what each requires and whom it liquidates.

    Every system is published as a run. Without options the house methodology is compared as the
    accounts chose to net, and with every account isolated, cross and portfolio margined.

    Args:
        book: name or folder of the book, or s3://bucket/prefix
        methodology: name of a shipped methodology or a TOML file; may be given many times
        netting: isolated, cross or portfolio for every account; may be given many times, and is
            combined with every methodology
        market: folder of a market; the shipped sample when left out
        out: Parquet file for one row an account with the numbers of every system
        runs: folder of the runs, or s3://bucket/prefix; runs of the data folder when left out
        unapproved: run a model that is not approved on the day; every page says so
        reason: why it is run, for the manifest and the audit log
        json: print everything as JSON
    """
    from flows.progress import TerminalProgress
    from workers.compare import System, layered, summary, weighs_collateral, write_accounts
    from workers.compare import compare as compare_systems
    from workers.methodologies import DEFAULT_METHODOLOGY
    from workers.plan import RunRequest
    from workers.stages import StageTable

    if out is not None and (out.suffix != ".parquet" or not out.resolve().parent.is_dir()):
        raise ValueError(f"out {str(out)!r} must end in .parquet, in a folder that is there")
    unknown = sorted(set(netting or ()) - set(MODES))
    if unknown:
        raise ValueError(f"netting {unknown} is unknown; use {list(MODES)}")
    settings = Settings.given(runs=runs)
    signer = settings.signer()
    chosen = netting or (None, *MODES) if not methodology or netting else (None,)
    systems = [
        System(name, mode) for name in methodology or [DEFAULT_METHODOLOGY] for mode in chosen
    ]
    request = RunRequest(
        book=settings.book_path(book),
        market=None if market is None else settings.market_path(market),
        runs=settings.runs,
        threads=settings.workers,
        unapproved=unapproved,
        reason=reason,
    )
    with TerminalProgress(MESSAGES) as progress:

        def stages(system: System) -> StageTable:
            MESSAGES.print(f"[bold]{escape(system.name)}[/]", highlight=False)
            return StageTable(progress)

        comparison = compare_systems(request, systems, stages, signer)
        with progress.waiting("compare accounts and levels"):
            found = summary(comparison)
            found["levels"] = layered(comparison)
            found["levels_have_collateral"] = weighs_collateral(comparison)
            if out is not None:
                write_accounts(comparison, out)
    if json:
        print_json(found)
        return
    print_comparison(CONSOLE, found)
    if out is not None:
        CONSOLE.print(f"one row an account in {escape(str(out))}", highlight=False)


def print_comparison(console: Console, found: dict[str, Any]) -> None:
    """Print totals by system, whom one liquidates and another does not, and levels of netting."""
    systems = found["systems"]
    table = columns(
        f"{found['book']}, {found['accounts']:,} accounts, USD; efficiency is what offsets are "
        "worth over what positions require one by one",
        *("system", "margined", "held back", "initial", "maintenance"),
        *("short of initial", "of maintenance"),
        *("offsets", "efficiency", "run"),
    )
    for one in systems:
        known = one["efficiency"] is not None
        table.add_row(
            escape(one["system"]),
            f"{one['margined']:,}",
            f"{one['held']:,}",
            short(one["requirement"]),
            short(one["maintenance"]),
            f"{one['below_initial']:,}",
            f"{one['below_maintenance']:,}",
            short(one["offsets"]) if known else "",
            f"{one['efficiency']:.1%}" if known else "",
            one["run_id"],
        )
    console.print(table, highlight=False)
    if any(one["efficiency"] is None for one in systems):
        console.print(
            "offsets are known of systems that are asked for with --netting isolated too",
            highlight=False,
        )
    console.print(
        "\n[bold]Accounts below maintenance under the system of the row, not under the column's[/],"
        " of those that both margin",
        highlight=False,
    )
    table = columns(
        "",
        *("", *(str(number) for number in range(1, len(systems) + 1))),
    )
    for number, (one, row) in enumerate(zip(systems, found["liquidated_under"], strict=True), 1):
        table.add_row(f"{number} {escape(one['system'])}", *(f"{count:,}" for count in row))
    console.print(table, highlight=False)
    console.print(
        f"\n[bold]Levels of netting under {escape(systems[0]['system'])}: net positions of each "
        "level as one portfolio[/]",
        highlight=False,
    )
    table = columns(
        "",
        *("level", "portfolios", "initial"),
    )
    for level in found["levels"]:
        # What is left of net positions that cancel is rounding, far below a cent.
        required = short(round(level["requirement"], 2))
        table.add_row(level["level"], f"{level['portfolios']:,}", required)
    console.print(table, highlight=False)
    if found["levels_have_collateral"]:
        console.print(
            "accounts, and positions one by one, ask for haircuts of their collateral too; wider "
            "levels are of positions alone, and offsets and efficiency have the haircuts in them",
            highlight=False,
        )
