"""What an account is explained from: a run as it was stored, or its market under other rules."""

from dataclasses import dataclass

import xarray as xr

from risk.margin import Revaluation
from risk.methodology import Methodology
from risk.scenarios.shocks import shocks_of
from storage.book import Book
from storage.runs import Run
from workers.inputs import book_of, market_of
from workers.methodologies import load_methodology, methodology_of
from workers.revaluation import (
    axis_of,
    price_cube,
    revaluation_of,
    revaluation_of_run,
    terms_and_market_of,
)
from workers.scenarios import build_scenarios


@dataclass(frozen=True)
class Source:
    """A run with the rules, scenarios and prices that its accounts are explained by.

    ``stored`` tells whether these are the run's own, so that its numbers must come out again.
    """

    run: Run
    book: Book
    methodology: Methodology
    scenarios: xr.Dataset
    revaluation: Revaluation
    stored: bool


def source_of(run: Run) -> Source:
    """Return what a run stored.

    Raises:
        BookChanged: the book is not the one that the run used.
    """
    book, methodology = book_of(run), methodology_of(run)
    revaluation = revaluation_of_run(run, book, methodology)
    return Source(run, book, methodology, run.scenarios.load(), revaluation, stored=True)


def source_under(run: Run, name: str) -> Source:
    """Return the book and the prices of a run under the rules of another methodology.

    Raises:
        BookChanged: the book is not the one that the run used.
        UnknownMethodology: neither a shipped name nor a file.
        ValueError: the market of the run is no longer there as it was.
    """
    book, methodology = book_of(run), load_methodology(name).methodology
    scenarios = build_scenarios(market_of(run), methodology)
    instruments, market = terms_and_market_of(run, book)
    axis = axis_of(methodology, scenarios)
    cube = price_cube(instruments, market, shocks_of(scenarios), methodology, axis)
    underlyings = run.scenarios["underlying"].values.tolist()
    revaluation = revaluation_of(
        book.instruments(),
        book.assets(),
        instruments,
        market,
        underlyings,
        methodology,
        scenarios,
        cube,
    )
    return Source(run, book, methodology, scenarios, revaluation, stored=False)
