"""Margin one book by every rule book that ships, and print the table of docs/rule-books.md.

    python -m infra.rule_books --accounts 1000000

Each rule book is a run in this process; time is the wall time of its margin stage, reading the
book and writing the results included.
"""

import argparse
import os
import tempfile
from pathlib import Path
from typing import Any

from storage.market import sample_market
from workers.engine import SerialEngine
from workers.generate import generate_book
from workers.margin_run import MarginRun
from workers.methodologies import DEFAULT_METHODOLOGY, shipped_methodologies
from workers.plan import RunRequest

Row = dict[str, Any]


def margined(book: Path, runs: Path, name: str, threads: int) -> Row:
    """Return what one rule book makes of a book, and how long it took."""
    engine = SerialEngine()
    request = RunRequest(book, methodology=name, runs=runs, threads=threads)
    with MarginRun(request, lambda: engine, lambda: engine) as run:
        run.prepare()
        run.compute()
        manifest = run.publish()
    totals = manifest["totals"]
    (margin,) = (stage for stage in manifest["stages"] if stage["name"] == "margin")
    return {
        "name": name,
        "scenarios": totals["scenarios"],
        "requirement": totals["requirement"],
        "margined": totals["margined"],
        "short": totals["accounts_short"],
        "seconds": margin["wall_s"],
    }


def table(rows: list[Row]) -> str:
    """Return the rows as a table in Markdown, ratios against the house methodology."""
    (house,) = (row for row in rows if row["name"] == DEFAULT_METHODOLOGY)
    lines = [
        "| rule book | scenarios | initial, USD m | of house | accounts short | margin stage, s |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {row['name']} | {row['scenarios']:,} | {row['requirement'] / 1e6:,.0f} "
        f"| {row['requirement'] / house['requirement']:.2f} | {row['short']:,} "
        f"| {row['seconds']:.1f} |"
        for row in rows
    ]
    return "\n".join(lines)


def main() -> None:
    """Run every rule book, or those named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=shipped_methodologies())
    parser.add_argument("--accounts", type=int, default=100_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        book = Path(folder) / "book"
        generate_book(book, given.accounts, 1, sample_market())
        rows = []
        for name in given.names:
            rows.append(margined(book, Path(folder) / "runs", name, os.cpu_count() or 1))
            print(rows[-1], flush=True)
    print(table(rows))


if __name__ == "__main__":
    main()
