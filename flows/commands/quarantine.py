"""The command ``quarantine``: what a run held back, and the money that is at stake."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape

from flows.commands.diff import require_table_file, write_table
from flows.commands.shared import CONSOLE, MESSAGES, Json, Runs, print_json
from flows.format import percent, short
from flows.settings import Settings
from flows.tables import columns

if TYPE_CHECKING:
    from workers.quarantine import HeldBack


_MONEY = ("equity", "collateral", "notional")


def quarantine(
    run: str = "latest",
    *,
    limit: int = 10,
    output: Path | None = None,
    runs: Runs = None,
    json: Json = False,
) -> None:
    """Show what a margin run held back: by code, with the money at stake, and the rows.

    Args:
        run: name of the run, or an unambiguous start of it
        limit: rows to list
        output: a .csv or .parquet file for all rows
        runs: folder of the runs, or s3://bucket/prefix; runs of the data folder when left out
        json: print codes, totals and every row as JSON
    """
    if output is not None:
        require_table_file(output)
    with MESSAGES.status("value what was held back"):
        from storage.runs import RunStore
        from workers.quarantine import held_back

        opened = RunStore(Settings.given(runs=runs).runs).open(run)
        found = held_back(opened)
        if output is not None:
            write_table(found.rows, output)
    if json:
        print_json(
            {
                "run_id": opened.run_id,
                "totals": found.totals,
                "codes": found.codes,
                "rows": found.rows.to_pylist(),
            }
        )
        return
    _print_totals(opened.run_id, found.totals)
    _print_codes(found)
    print_held_rows(found, limit)
    if output is not None:
        count = found.rows.num_rows
        CONSOLE.print(f"{count:,} rows written to {output}", highlight=False, soft_wrap=True)


def _print_totals(run_id: str, totals: dict[str, Any]) -> None:
    table = columns(
        f"What came into {run_id}", "", "in", "margined", "held back", "not taken", "part not used"
    )
    for name, aside in (("accounts", "accounts_left_out"), ("positions", "positions_set_aside")):
        came, kept = totals[f"{name}_in"], totals[f"{name}_margined"]
        table.add_row(
            name,
            *(f"{one:,}" for one in (came, kept, totals[f"{name}_held"], totals[aside])),
            percent(1.0 - kept / came) if came else "",
        )
    came, kept = totals["collateral_in"], totals["collateral_margined"]
    parts = (came, kept, totals["collateral_held"], totals["collateral_set_aside"])
    part = percent(1.0 - kept / came) if came else ""
    table.add_row("collateral, USD", *map(short, parts), part)
    CONSOLE.print(table, highlight=False)
    if count := totals["collateral_rows_not_valued"]:
        CONSOLE.print(
            "rows of collateral not taken that lack asset, quantity or price, and count for "
            f"nothing here: {count:,}",
            highlight=False,
            soft_wrap=True,
        )


def _print_codes(found: "HeldBack") -> None:
    if not found.codes:
        CONSOLE.print("nothing was held back", highlight=False)
        return
    aside = ("collateral_set_aside",) if found.totals["collateral_set_aside"] else ()
    table = columns(
        "Held back by code, money at stake in USD",
        *("code", "rows", "accounts", "positions", "equity", "collateral", "notional"),
        *("not taken" for _ in aside),
    )
    table.add_column("meaning", overflow="fold")
    for one in found.codes:
        table.add_row(
            one["code"],
            *(f"{one[name]:,}" for name in ("rows", "accounts", "positions")),
            *(short(one[name]) for name in (*_MONEY, *aside)),
            escape(one["meaning"]),
        )
    CONSOLE.print(table, highlight=False)


def print_held_rows(found: "HeldBack", limit: int) -> None:
    """Print the first rows: the value seen, what is allowed and what to do."""
    from workers.quarantine import OF_RULES

    for row in found.rows.slice(0, limit).to_pylist():
        value = repr(row["value"]) if row["value"] else "empty"
        of_cell = row["field"] and row["code"] not in OF_RULES
        seen = f"{row['field']} is {value}, allowed is " if of_cell else ""
        CONSOLE.print(
            f"[bold]{row['code']}[/] {row['dataset']} {escape(row['row'])}: {escape(seen)}"
            f"{escape(row['allowed'])}; {escape(row['action'])}",
            highlight=False,
            soft_wrap=True,
        )
    if found.rows.num_rows > limit:
        left = found.rows.num_rows - limit
        CONSOLE.print(f"and {left:,} more rows; --output writes all", highlight=False)
