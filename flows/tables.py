"""Tables in the terminal."""

from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from flows.format import short, size

if TYPE_CHECKING:
    import xarray as xr

    from storage.runs import Run

WORST_SHOWN = 3
"""Scenarios of each origin in the table of the worst."""


def columns(title: str, *names: str, left: int = 1) -> Table:
    """Return an empty table whose first ``left`` columns are text and the others numbers."""
    table = Table(
        title=f"\n{title}",
        title_justify="left",
        title_style="bold",
        box=None,
        pad_edge=False,
        show_header=any(names),
    )
    for index, name in enumerate(names):
        table.add_column(escape(name), justify="left" if index < left else "right", no_wrap=True)
    return table


def print_run(console: Console, manifest: dict[str, Any], run: "Run | None" = None) -> None:
    """Print what a run found, where its time went, and of an opened run where its risk sits."""
    totals, inputs = manifest["totals"], manifest["inputs"]
    console.print(
        f"[bold]{manifest['run_id']}[/]  {inputs['methodology']['name']} "
        f"{inputs['methodology']['version']}, as of {manifest['as_of']}, "
        f"published {manifest['created']}",
        highlight=False,
    )
    table = columns("Totals, USD", "", "", left=1)
    held = f" ({totals['held']:,} held back)" if totals["held"] else ""
    rows = (
        ("accounts margined", f"{totals['margined']:,}{held}"),
        ("positions", f"{totals['positions']:,}"),
        (
            "cube",
            f"{totals['instruments']:,} instruments x {totals['scenarios']:,} scenarios",
        ),
        ("requirement", short(totals["requirement"])),
        ("equity", short(totals["equity"])),
        ("shortfall", f"{short(totals['shortfall'])} in {totals['accounts_short']:,} accounts"),
        ("digest of all results", manifest["digest"][:16]),
    )
    for row in rows:
        table.add_row(*row)
    console.print(table, highlight=False)
    if run is not None:
        _print_folds(console, run.folds, run.scenarios)
    print_stages(console, manifest)


def _print_folds(console: Console, folds: "xr.Dataset", scenarios: "xr.Dataset") -> None:
    table = columns(
        "Worst scenarios: losses of the accounts that lose, the part beyond their equity, accounts",
        *("scenario", "origin", "weight in margin", "loss", "beyond equity", "under water"),
        left=2,
    )
    for row in _worst(folds, scenarios):
        table.add_row(
            *(escape(str(scenarios["scenario"].values[row])), str(scenarios["origin"].values[row])),
            f"{float(scenarios['weight'][row]):.3g}",
            short(float(folds["loss"][row])),
            short(float(folds["uncovered"][row])),
            f"{int(folds['under_water'][row]):,}",
        )
    console.print(table, highlight=False)
    _print_groups(console, folds)
    _print_shortfalls(console, folds)


def _print_groups(console: Console, folds: "xr.Dataset") -> None:
    for group in ("underlying", "venue", "chain"):
        table = columns(
            f"By {group}, USD", group, "share of requirement", "open interest (one side)"
        )
        for name in folds[group].values.tolist():
            cell = folds.sel({group: name})
            table.add_row(
                escape(str(name)),
                short(float(cell[f"{group}_requirement"])),
                short(float(cell[f"{group}_open_interest"])),
            )
        console.print(table, highlight=False)


def _print_shortfalls(console: Console, folds: "xr.Dataset") -> None:
    table = columns(
        "Largest shortfalls, USD",
        *("account", "member", "shortfall", "requirement", "equity"),
        left=2,
    )
    for rank in range(min(5, folds.sizes["top_shortfall"])):
        row = folds.isel(top_shortfall=rank)
        table.add_row(
            escape(str(row["top_shortfall_name"].item())),
            escape(str(row["top_shortfall_member"].item())),
            short(float(row["top_shortfall_amount"])),
            short(float(row["top_shortfall_requirement"])),
            short(float(row["top_shortfall_equity"])),
        )
    if table.row_count:
        console.print(table, highlight=False)


def _worst(folds: "xr.Dataset", scenarios: "xr.Dataset") -> list[int]:
    """Return the rows of the worst scenarios of each origin; moves that count in part apart."""
    import numpy as np

    loss, origin = folds["loss"].values, np.array(scenarios["origin"].values.tolist())
    whole = scenarios["weight"].values == 1.0
    kinds = [(origin == name) & whole for name in ("historical", "episode", "event", "grid")]
    chosen: list[int] = []
    for kind in (*kinds, ~whole):
        rows = np.flatnonzero(kind)
        chosen += rows[np.argsort(-loss[rows], kind="stable")][:WORST_SHOWN].tolist()
    return chosen


def print_stages(console: Console, manifest: dict[str, Any]) -> None:
    """Print the stage table of a run."""
    table = columns("Stages, seconds", "stage", "wall", "busy", "waiting", "items", "rate")
    for stage in manifest["stages"]:
        counted = stage["items"] > 1
        table.add_row(
            stage["name"],
            f"{stage['wall_s']:.2f}",
            f"{stage['busy_s']:.2f}",
            f"{stage['waiting_s']:.2f}",
            f"{stage['items']:,} {stage['unit']}" if counted else "",
            f"{stage['rate']:,.0f}/s" if counted else "",
        )
    total = sum(stage["wall_s"] for stage in manifest["stages"])
    table.add_row("all", f"{total:.2f}", "", "", "", "")
    console.print(table, highlight=False)
    console.print(f"peak memory of all processes {size(manifest['peak_memory_bytes'])}")


def print_runs(console: Console, manifests: list[dict[str, Any]]) -> None:
    """Print a list of runs."""
    table = columns(
        "Published runs, newest first; money in USD",
        *("run", "methodology", "published", "accounts", "requirement", "shortfall"),
        left=3,
    )
    for manifest in manifests:
        totals, methodology = manifest["totals"], manifest["inputs"]["methodology"]
        table.add_row(
            manifest["run_id"],
            f"{methodology['name']} {methodology['version']}",
            manifest["created"],
            f"{totals['accounts']:,}",
            short(totals["requirement"]),
            short(totals["shortfall"]),
        )
    console.print(table, highlight=False)
