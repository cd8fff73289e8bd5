"""Commands on claims: generate them for a book, import them, look at them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter
from rich.markup import escape

from flows.commands.findings import print_counts, print_findings
from flows.commands.proofs import judge_all
from flows.commands.shared import (
    CONSOLE,
    MESSAGES,
    Json,
    print_json,
    require_folder,
    require_plain_name,
)
from flows.settings import EngineName, Settings
from flows.tables import columns

if TYPE_CHECKING:
    import pyarrow as pa

    from storage.claims import Claims
    from storage.intake.claims import ClaimsReport
    from storage.intake.verdicts import Verdicts

app = App(help="Claims: what collateral is in detail, over chains, protocols and bridges.")


@app.command
def generate(
    book: str,
    *,
    seed: int = 1,
    name: str | None = None,
    market: Path | None = None,
    json: Json = False,
) -> None:
    """Generate claims that are worth what the collateral of a book is, with planted faults.

    Args:
        book: name or folder of the book, or s3://bucket/prefix
        seed: seed of every random draw; the same seed makes the same bytes
        name: name of the claims; the book's with the seed when left out
        market: folder of the market the book is of; the shipped sample when left out
        json: print what was made as JSON
    """
    from flows.progress import TerminalProgress
    from storage.book import Book
    from storage.market import Market, sample_market
    from workers.claims.generate import generate_claims

    opened = Book.open(Settings().book_path(book))
    title = name or f"{opened.name}-{seed}"
    require_plain_name(title)
    chosen = Market.open(market) if market else sample_market()
    with TerminalProgress(MESSAGES) as progress:
        progress.begin("generate claims", opened.accounts, "accounts")
        claims = generate_claims(
            Settings().claims / title,
            opened,
            seed,
            chosen,
            progress=lambda done, _: progress.reach(done),
        )
        progress.end()
    _print_claims(claims, json=json)


@app.command(name="import")
def import_(
    book: str,
    source: Path,
    *,
    name: str | None = None,
    proofs: Path | None = None,
    trusted: Annotated[Path | None, Parameter(name=("--trusted", "--anchors"))] = None,
    engine: EngineName | None = None,
    workers: int | None = None,
    json: Json = False,
) -> None:
    """Import claims from CSV or Parquet files; bad rows go to quarantine by name.

    With proofs, a claim is as proven as its holding shows; without, as proven as it says.

    Args:
        book: name or folder of the book whose accounts the claims are of
        source: folder with tokens, recipes, feeds, chains, markets and claims
        name: name of the claims; the folder's own when left out
        proofs: folder of holdings, as docs/proofs.md describes
        trusted: the pool, its epoch, and the blocks, tokens and attestors that it trusts
        engine: ray, dask or serial, of the proofs; serial where one task does them all
        workers: processes or threads of the proofs; all cores if none is given
        json: print the report as JSON
    """
    from storage.book import Book
    from storage.claims import Claims
    from storage.intake.claims import import_claims

    require_folder(source)
    title = name or source.name
    require_plain_name(title)
    opened = Book.open(Settings().book_path(book))
    verdicts = _judged(proofs, trusted, engine, workers)
    with MESSAGES.status("read and check") as status:
        report = import_claims(
            opened,
            source,
            Settings().claims / title,
            name=title,
            verdicts=verdicts,
            progress=lambda dataset, rows: status.update(f"{dataset}: {rows:,} rows checked"),
        )
    if json:
        print_json(report.as_dict())
        return
    print_counts(report.datasets)
    print_findings(report.counts, report.findings)
    claims = Claims.open(report.path)
    _print_claims(claims, json=False)
    _print_held(report)
    CONSOLE.print(
        f"next: margincube collateral RUN --claims {title}, RUN a margin run of book {opened.name}",
        highlight=False,
        soft_wrap=True,
    )


def _judged(
    proofs: Path | None, trusted: Path | None, engine: EngineName | None, workers: int | None
) -> "Verdicts | None":
    """Judge the holdings that claims are to be held against, where there are any."""
    if proofs is None and trusted is None:
        return None
    if proofs is None or trusted is None:
        given, missing = ("--trusted", "--proofs") if proofs is None else ("--proofs", "--trusted")
        raise ValueError(f"{given} is given without {missing}; proofs need a folder and a file")
    from workers.claims.verdicts import verdicts_of

    pool, judged = judge_all(proofs, trusted, engine, workers)
    return verdicts_of(judged, pool, trusted)


@app.command
def info(claims: str, *, json: Json = False) -> None:
    """Show what claims there are, and of what.

    Args:
        claims: name or folder of the claims, or s3://bucket/prefix
        json: print their manifest as JSON
    """
    from storage.claims import Claims

    _print_claims(Claims.open(Settings().claims_path(claims)), json=json)


def _print_held(report: "ClaimsReport") -> None:
    """Print which accounts are held back for which row, and where all that was found is kept."""
    from storage.dataset.kind import HELD, QUARANTINE

    if report.held_accounts:
        table = columns(
            f"{report.held_accounts:,} accounts are held back until their rows are mended",
            *("account", "code", "data row in claims"),
            left=2,
        )
        for one in report.held.to_pylist():
            table.add_row(escape(one["account"]), one["code"], f"{one['line']:,}")
        CONSOLE.print(table, highlight=False)
        if report.held_accounts > len(report.held):
            more = report.held_accounts - len(report.held)
            CONSOLE.print(f"and {more:,} more in {report.path / HELD}", soft_wrap=True)
    if len(report.findings):
        CONSOLE.print(f"every finding: {report.path / QUARANTINE}", highlight=False, soft_wrap=True)


def _print_claims(claims: "Claims", *, json: bool) -> None:
    if json:
        print_json(claims.manifest)
        return
    references = claims.references()
    tokens = references.tokens
    table = columns(f"Claims {claims.name}, as of {claims.as_of.isoformat()}", "", "", left=1)
    for name, count in (
        ("accounts", claims.accounts),
        ("claims", claims.claims),
        ("tokens", len(tokens)),
        ("base assets", len(references.feeds)),
        *((f"{name}s", _count(tokens[name])) for name in ("chain", "protocol", "bridge")),
        ("lending markets", len(references.markets)),
        ("findings kept with the claims", claims.quarantine().num_rows),
        ("accounts held back", int(claims.manifest["held"])),
        ("planted faults", sum(map(len, claims.planted.values()))),
    ):
        table.add_row(name, f"{count:,}")
    table.add_row("standings", claims.standing)
    table.add_row("of the book", claims.book_digest[:16])
    table.add_row("folder", str(claims.location))
    table.add_row("digest", claims.digest[:16])
    CONSOLE.print(table, highlight=False)


def _count(names: "pa.ChunkedArray") -> int:
    """Return how many different names there are, but for that of none."""
    from storage.claims import NONE

    return len(set(names.to_pylist()) - {NONE})
