"""Tables in the terminal."""

from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    import xarray as xr


def money(amount: float) -> str:
    """Return an amount of USD as a person reads it.

    >>> money(1_234_567.0), money(-12.5), money(0.0)
    ('1.23 m', '-12.50', '0.00')
    """
    for size, unit in ((1e12, " tn"), (1e9, " bn"), (1e6, " m"), (1e4, " k")):
        if abs(amount) >= size:
            divisor = 1e3 if unit == " k" else size
            return f"{amount / divisor:,.2f}{unit}"
    return f"{amount:,.2f}"


def size(count: float) -> str:
    """Return a number of bytes as a person reads it.

    >>> size(3_210_000_000)
    '3.21 GB'
    """
    return f"{count / 1e9:,.2f} GB" if count >= 1e9 else f"{count / 1e6:,.0f} MB"


def columns(title: str, *names: str, left: int = 1) -> Table:
    """Return an empty table whose first ``left`` columns are text and the others numbers."""
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for index, name in enumerate(names):
        table.add_column(name, justify="left" if index < left else "right", no_wrap=True)
    return table


def print_run(
    console: Console, manifest: dict[str, Any], folds: "xr.Dataset | None" = None
) -> None:
    """Print what a run found, where its risk sits, and where its time went."""
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
        ("requirement", money(totals["requirement"])),
        ("equity", money(totals["equity"])),
        ("shortfall", f"{money(totals['shortfall'])} in {totals['accounts_short']:,} accounts"),
        ("digest of all results", manifest["digest"][:16]),
    )
    for row in rows:
        table.add_row(*row)
    console.print(table, highlight=False)
    if folds is not None:
        _print_folds(console, folds)
    print_stages(console, manifest)


def _print_folds(console: Console, folds: "xr.Dataset") -> None:
    worst = folds["uncovered"].argsort().values[::-1][:5]
    table = columns(
        "Worst scenarios by loss beyond equity, USD",
        *("scenario", "uncovered", "system loss", "accounts under water"),
    )
    for row in worst.tolist():
        table.add_row(
            str(folds["scenario"].values[row]),
            money(float(folds["uncovered"][row])),
            money(float(folds["loss"][row])),
            f"{int(folds['under_water'][row]):,}",
        )
    console.print(table, highlight=False)
    for group in ("underlying", "venue", "chain"):
        table = columns(
            f"By {group}, USD", group, "share of requirement", "open interest (one side)"
        )
        for name in folds[group].values.tolist():
            cell = folds.sel({group: name})
            table.add_row(
                str(name),
                money(float(cell[f"{group}_requirement"])),
                money(float(cell[f"{group}_open_interest"])),
            )
        console.print(table, highlight=False)
    table = columns("Largest shortfalls, USD", "account", "member", "shortfall", "requirement",
                    "equity", left=2)  # fmt: skip
    for rank in range(min(5, folds.sizes["top_shortfall"])):
        row = folds.isel(top_shortfall=rank)
        table.add_row(
            str(row["top_shortfall_name"].item()),
            str(row["top_shortfall_member"].item()),
            money(float(row["top_shortfall_amount"])),
            money(float(row["top_shortfall_requirement"])),
            money(float(row["top_shortfall_equity"])),
        )
    if table.row_count:
        console.print(table, highlight=False)


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
            money(totals["requirement"]),
            money(totals["shortfall"]),
        )
    console.print(table, highlight=False)
