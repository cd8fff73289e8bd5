"""The command ``diff``: which accounts moved between two runs, and because of which input."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape

from flows.commands.shared import CONSOLE, MESSAGES, Json, Runs, print_json
from flows.format import exact, short
from flows.settings import Settings
from flows.tables import columns

if TYPE_CHECKING:
    import pyarrow as pa

    from workers.differences import Difference

MOVED = ("requirement", "equity", "shortfall")


def diff(
    before: str,
    after: str,
    *,
    top: int = 20,
    output: Path | None = None,
    runs: Runs = None,
    json: Json = False,
) -> None:
    """Compare two margin runs: which accounts moved, and because of which input.

    One input is replaced after the other; parts by cause sum to the difference of the totals.

    Args:
        before: name of a run, or an unambiguous start of it
        after: name of another
        top: accounts to list, those that moved most
        output: a .csv or .parquet file for all accounts that moved
        runs: folder of the runs, or s3://bucket/prefix; runs of the data folder when left out
        json: print the difference as JSON
    """
    if output is not None:
        require_table_file(output)
    with MESSAGES.status("replace one input after the other"):
        from storage.runs import RunStore
        from workers.differences import difference_of

        store = RunStore(Settings.given(runs=runs).runs)
        first, last = store.open(before), store.open(after)
        found = difference_of(first, last)
        if output is not None:
            write_table(found.accounts, output)
    listed = found.accounts.slice(0, top).to_pylist()
    if json:
        print_json(_as_json(first.run_id, last.run_id, found, listed))
        return
    _print_difference(first.run_id, last.run_id, found)
    _print_accounts(listed, found.accounts.num_rows)
    if output is not None:
        rows = found.accounts.num_rows
        CONSOLE.print(f"{rows:,} accounts written to {output}", highlight=False, soft_wrap=True)


def require_table_file(output: Path) -> None:
    """Refuse a file whose name does not say how a table is written.

    Raises:
        ValueError: it ends in neither .csv nor .parquet.
    """
    if output.suffix not in (".csv", ".parquet"):
        raise ValueError(f"cannot write to {output.name!r}; use a .csv or .parquet file")


def write_table(table: "pa.Table", output: Path) -> None:
    """Write a table as CSV or Parquet, as the name of the file says."""
    import pyarrow.csv
    import pyarrow.parquet as pq

    if output.suffix == ".csv":
        pyarrow.csv.write_csv(table, output)
    else:
        pq.write_table(table, output)


def _as_json(
    before: str, after: str, found: "Difference", listed: list[dict[str, Any]]
) -> dict[str, Any]:
    return {
        "before": before,
        "after": after,
        "changed": list(found.changed),
        "change": found.change,
        "causes": found.causes,
        "accounts_moved": found.accounts.num_rows,
        "accounts_unmoved": found.unmoved,
        "instruments": found.instruments,
        "index_moves": found.index,
        "accounts": listed,
    }


def _print_difference(before: str, after: str, found: "Difference") -> None:
    what = ", ".join(found.changed) or "nothing"
    CONSOLE.print(f"[bold]{before}[/] to [bold]{after}[/]: changed {what}", highlight=False)
    moves = ", ".join(f"{coin} {move:+.2%}" for coin, move in found.index.items())
    counts = found.instruments
    CONSOLE.print(
        f"{counts['instruments']:,} instruments: {counts['new']:,} new, {counts['gone']:,} gone, "
        f"{counts['priced otherwise']:,} priced otherwise, "
        f"{counts['other P&L in a scenario']:,} with other P&L in a scenario"
        + (f"; index {moves}" if moves else ""),
        highlight=False,
        soft_wrap=True,
    )
    table = columns("By cause, USD", "cause", "accounts it moved most", *MOVED)
    for cause, part in found.causes.items():
        amounts = (short(part[name]) for name in MOVED)
        table.add_row(cause, f"{int(part['accounts']):,}", *amounts)
    moved = f"{found.accounts.num_rows:,}"
    table.add_row("all", moved, *(short(found.change[name]) for name in MOVED))
    CONSOLE.print(table, highlight=False)
    CONSOLE.print(f"{found.unmoved:,} accounts did not move", highlight=False)


def _print_accounts(listed: list[dict[str, Any]], moved: int) -> None:
    if not listed:
        return
    names = [f"{name}\n{when}" for name in MOVED for when in ("before", "after")]
    table = columns("Accounts that moved most, USD", "account", "cause", *names, left=2)
    for row in listed:
        amounts = (row.get(f"{name}_{when}") for name in MOVED for when in ("before", "after"))
        shown = ("" if one is None else exact(one) for one in amounts)
        table.add_row(escape(row["account"]), row["cause"], *shown)
    CONSOLE.print(table, highlight=False)
    if moved > len(listed):
        CONSOLE.print(f"and {moved - len(listed):,} more; --output writes all", highlight=False)
