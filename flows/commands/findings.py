"""What an import found, in the terminal."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from flows.commands.shared import CONSOLE
from flows.tables import columns

if TYPE_CHECKING:
    import pyarrow as pa

    from storage.intake.folder import DatasetCount


EFFECTS = {
    "quarantine": "in quarantine; the accounts they touch are held back",
    "warn": "a warning; nothing is held back",
    "refuse": "the dataset is refused",
}
"""What a finding of each severity leads to."""


def print_counts(datasets: Sequence["DatasetCount"]) -> None:
    """Print how many rows of each dataset came in, and what became of them."""
    table = columns("Rows", "dataset", "in", "accepted", "in quarantine")
    for line in datasets:
        numbers = (f"{line.rows:,}", f"{line.accepted:,}", f"{line.quarantined:,}")
        table.add_row(line.dataset, *numbers)
    CONSOLE.print(table, highlight=False)


def print_findings(counts: Mapping[str, int], findings: "pa.Table") -> None:
    """Print, for each code, how often it was found, one example and what to do."""
    for code, count in counts.items():
        rows = findings.filter(_of_code(findings, code)).slice(0, 1).to_pylist()
        for row in rows:
            effect = EFFECTS[row["severity"]]
            CONSOLE.print(f"\n[bold]{code}[/] {count:,} times, {effect}", highlight=False)
            CONSOLE.print(_example(row), highlight=False)


def _of_code(findings: "pa.Table", code: str) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    return pc.equal(findings["code"].cast(pa.string()), code)


def _example(row: dict[str, Any]) -> Table:
    table = Table.grid(padding=(0, 2))
    line = f", data row {row['line']:,}" if row["line"] else ""
    table.add_row("  first seen", escape(f"{row['dataset']}{line} {row['row']}"))
    field = f"{row['field']} = " if row["field"] else ""
    table.add_row("  value", escape(f"{field}{row['value']}"))
    table.add_row("  allowed", row["allowed"])
    table.add_row("  to do", row["action"])
    return table
