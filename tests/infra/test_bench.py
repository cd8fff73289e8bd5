"""What whole runs in the bench are compared with: changed books, a database, a kernel alone."""

import numpy as np
import pytest

from infra.bench import command, database
from infra.bench.books import changed_book, of_accounts, of_positions
from infra.bench.runs import make_run
from storage.runs import RunStore
from workers.engine import SerialEngine
from workers.plan import RunRequest

ACCOUNTS = 5_000


@pytest.fixture(scope="module")
def book(synthetic_book):
    return synthetic_book(ACCOUNTS)


@pytest.fixture(scope="module")
def netted(book, tmp_path_factory):
    """A run by the rules of the large benchmarks, every account one netting set."""
    runs = tmp_path_factory.mktemp("runs")
    request = RunRequest(
        book.path,
        methodology=str(database.METHODOLOGY),
        netting="portfolio",
        runs=runs,
        unapproved=True,
    )
    made = make_run(request, SerialEngine())
    with pytest.raises(ValueError, match="was published before"):
        make_run(request, SerialEngine())
    return RunStore(runs).open(made.run_id)


@pytest.mark.parametrize(("chosen", "whole"), [(of_accounts, True), (of_positions, False)])
def test_a_changed_book_differs_where_it_says(book, tmp_path, chosen, whole):
    changed, positions, accounts = changed_book(book, tmp_path / "changed", chosen(0.01))
    then, now = (one.position_slice(0, ACCOUNTS) for one in (book, changed))
    differs = then.lots != now.lots
    owner = np.repeat(np.arange(ACCOUNTS), np.diff(then.offsets))
    assert positions == differs.sum()
    assert accounts == len(np.unique(owner[differs]))
    assert 0.003 * book.positions < positions < 0.03 * book.positions
    assert np.array_equal(np.abs(now.lots) - np.abs(then.lots), differs.astype(np.int64))
    touched = np.isin(owner, owner[differs])
    assert np.array_equal(touched, differs) == whole


def test_the_database_finds_the_requirements_of_the_run(book, netted):
    assert database.database_seconds(book, netted, 2) > 0.0


def test_a_database_of_another_level_is_noticed(book, netted, monkeypatch):
    monkeypatch.setattr(database, "LEVEL", 0.97)
    with pytest.raises(AssertionError, match="Mismatched elements"):
        database.database_seconds(book, netted, 1)


def test_the_kernel_alone_takes_less_than_the_stage_around_it(book, netted):
    stages = netted.manifest["stages"]
    stage = next(row["wall_s"] for row in stages if row["name"] == "margin")
    assert 0.0 < command.kernel_seconds(book, netted) < stage
