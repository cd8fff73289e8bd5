"""The inputs that a published run was made from, found again and checked."""

from pathlib import Path

from storage.book import Book
from storage.market import Market, sample_market
from storage.runs import Run


class BookChanged(ValueError):
    """The book of a run is no longer there as the run used it."""


def book_of(run: Run) -> Book:
    """Open the book of a published run.

    Raises:
        BookMissing: there is no book where the run found it.
        BookChanged: it is another book now.
    """
    wanted = run.manifest["inputs"]["book"]
    book = Book.open(wanted["path"])
    if book.digest != wanted["digest"]:
        raise BookChanged(
            f"book {book.location} has digest {book.digest[:12]}, run {run.run_id} used "
            f"{wanted['digest'][:12]}; bring back the book that the run used"
        )
    return book


def market_of(run: Run) -> Market:
    """Open the market of a published run.

    Raises:
        ValueError: the market is no longer there as the run used it.
    """
    wanted = run.manifest["inputs"]["market"]
    market = sample_market()
    if market.digest != wanted["digest"]:
        market = Market.open(Path(wanted["path"]))
    if market.digest != wanted["digest"]:
        raise ValueError(
            f"market {market.path} has digest {market.digest[:12]}, run {run.run_id} used "
            f"{wanted['digest'][:12]}; bring back the market that the run used"
        )
    return market
