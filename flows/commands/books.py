"""Commands on books: generate one, import one, look at one."""

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from flows.commands.findings import print_counts, print_findings
from flows.commands.shared import (
    CONSOLE,
    MESSAGES,
    Json,
    print_json,
    require_folder,
    require_plain_name,
)
from flows.settings import Settings
from flows.tables import columns

if TYPE_CHECKING:
    from storage.book import Book

app = App(help="Books of accounts: generate, import, show.")


def make_book(name: str, accounts: int, seed: int, market: Path | None = None) -> "Book":
    """Generate a book into the books folder, with its progress shown."""
    from flows.progress import TerminalProgress
    from storage.market import Market, sample_market
    from workers.generate import generate_book

    require_plain_name(name)
    chosen = Market.open(market) if market else sample_market()
    path = Settings().books / name
    with TerminalProgress(MESSAGES) as progress:
        progress.begin("generate book", accounts, "accounts")
        book = generate_book(
            path, accounts, seed, chosen, progress=lambda done, _: progress.reach(done)
        )
        progress.end()
    return book


@app.command
def generate(
    *,
    accounts: int,
    seed: int = 1,
    name: str | None = None,
    market: Path | None = None,
    json: Json = False,
) -> None:
    """Generate a realistic book over the option chain of a market.

    Args:
        accounts: how many accounts to make
        seed: seed of every random draw; the same seed makes the same bytes
        name: name of the book
        market: folder of a market; the shipped sample when left out
        json: print what was made as JSON
    """
    book = make_book(name or f"synthetic-{accounts}-{seed}", accounts, seed, market)
    _print_book(book, json=json)


@app.command(name="import")
def import_(
    source: Path,
    *,
    as_of: Annotated[datetime, Parameter(help="the instant the positions are of, with its zone")],
    name: str | None = None,
    one_sided: Annotated[bool, Parameter(negative=())] = False,
    merge_duplicates: Annotated[bool, Parameter(negative=())] = False,
    peg: tuple[str, ...] = (),
    json: Json = False,
) -> None:
    """Import a book from CSV or Parquet files; bad rows go to quarantine by name.

    Args:
        source: folder with instruments, accounts, positions, collateral and assets
        as_of: the instant the positions are of, such as 2024-01-08T11:19:41Z
        name: name of the book; the folder's own when left out
        one_sided: the positions of an instrument need not sum to zero
        merge_duplicates: add up lines of one account and instrument instead of refusing them
        peg: a coin that may be valued at one dollar; each use is recorded
        json: print the report as JSON
    """
    from storage.book import Book
    from storage.intake.book import import_book

    require_folder(source)
    require_plain_name(name or source.name)
    target = Settings().books / (name or source.name)
    with MESSAGES.status("read and check") as status:
        report = import_book(
            source,
            target,
            as_of=as_of,
            name=name or source.name,
            one_sided=one_sided,
            merge_duplicates=merge_duplicates,
            pegs=peg,
            progress=lambda dataset, rows: status.update(f"{dataset}: {rows:,} rows checked"),
        )
    if json:
        print_json(report.as_dict())
        return
    print_counts(report.datasets)
    print_findings(report.counts, report.findings)
    if report.held_accounts:
        CONSOLE.print(
            f"\n{report.held_accounts:,} accounts are held back until their rows are mended"
        )
    _print_book(Book.open(target), json=False)


@app.command
def show(book: str, *, json: Json = False) -> None:
    """Show what a book holds.

    Args:
        book: name or folder of the book, or s3://bucket/prefix
        json: print its manifest as JSON
    """
    from storage.book import Book

    _print_book(Book.open(Settings().book_path(book)), json=json)


def _print_book(book: "Book", *, json: bool) -> None:
    if json:
        print_json(book.manifest)
        return
    table = columns(f"Book {book.name}, as of {book.as_of.isoformat()}", "", "", left=1)
    for name, count in (
        ("accounts", book.accounts),
        ("positions", book.positions),
        ("instruments", book.instruments().num_rows),
        ("members", book.members().num_rows),
        ("assets", book.assets().num_rows),
        ("findings kept with the book", book.quarantine().num_rows),
        ("accounts held back", int(book.manifest["held"])),
        ("accounts left out, their own row in quarantine", book.left_out),
    ):
        table.add_row(name, f"{count:,}")
    table.add_row("folder", str(book.location))
    table.add_row("digest", book.digest[:16])
    CONSOLE.print(table, highlight=False)
