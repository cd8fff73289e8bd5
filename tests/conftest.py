"""What many tests share: a small methodology, small books, and a margin run in one call."""

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from storage.book import Book
from storage.market import sample_market
from storage.runs import Run, RunStore
from workers.engine import SerialEngine
from workers.generate import generate_book
from workers.margin_run import MarginRun
from workers.plan import RunRequest

# Nothing that a test starts may look at, or write to, the settings of the person who runs it.
for name in [name for name in os.environ if name.startswith("MARGINCUBE_")]:
    del os.environ[name]

SMALL_METHODOLOGY = """
name = "small"
version = "1"
effective = 2026-01-01
title = "Every measure and layer over few scenarios"
sources = ["made up for tests"]

[netting]
isolated = "position"
cross = "settlement_currency"
portfolio = "account"

[volatility_tenor]
reference_days = 30.0
short_power = 0.30
long_power = 0.13
floor_days = 1.0
minimum_volatility = 0.05

[historical]
holding_period_hours = 48
step_hours = 35
# June 2022, and no hour without a close.
start = 2022-05-20T00:00:00Z
end = 2022-07-10T00:00:00Z
volatility_half_life_hours = 96.0

[grid]
price_range = 0.16
buckets = 1
volatility_up = 0.50
volatility_down = 0.25
extreme_moves = [-0.66, 1.00]

[[measures]]
name = "expected_shortfall"
kind = "expected_shortfall"
origins = ["historical"]
level = 0.9
layer = "base"

[[measures]]
name = "worst_loss"
kind = "worst_loss"
origins = ["grid", "event"]
layer = "stress"

[[measures]]
name = "value_at_risk"
kind = "value_at_risk"
origins = ["historical"]
level = 0.95

[short_option]
rate = 0.01
"""


@pytest.fixture(scope="session")
def small_methodology(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("methodology") / "small.toml"
    path.write_text(SMALL_METHODOLOGY)
    return path


@pytest.fixture(scope="session")
def synthetic_book(tmp_path_factory) -> Callable[[int], Book]:
    """Return a function that makes, once, the synthetic book of so many accounts."""
    made: dict[int, Book] = {}
    folder = tmp_path_factory.mktemp("books")

    def book_of(accounts: int) -> Book:
        if accounts not in made:
            made[accounts] = generate_book(
                folder / f"b{accounts}", accounts, 3, sample_market(), name=f"b{accounts}"
            )
        return made[accounts]

    return book_of


@dataclasses.dataclass(frozen=True)
class Done:
    """A run that a test made."""

    run: Run
    store: RunStore
    request: RunRequest

    @property
    def digest(self) -> str:
        return self.run.manifest["digest"]


@pytest.fixture(scope="session")
def margin_of(small_methodology, tmp_path_factory) -> Callable[..., Done]:
    """Return a function that margins a book and publishes the run, serially unless told."""

    def margin(book: Book, *, engine=None, fold=None, runs=None, **options) -> Done:
        request = RunRequest(
            book=book.path,
            methodology=str(small_methodology),
            runs=runs or tmp_path_factory.mktemp("runs"),
            **options,
        )
        engine = engine or SerialEngine()
        fold = fold or SerialEngine()
        with MarginRun(request, lambda: engine, lambda: fold) as run:
            if not run.prepare():
                run.price()
                run.margin()
                run.fold()
                run.publish()
        store = RunStore(request.runs)
        return Done(store.open(run.run_id), store, request)

    return margin
