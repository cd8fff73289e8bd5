"""Expected shortfall of a stored book as one writes it in a database, beside a run.

DuckDB reads the positions from the book's own Parquet files, joins them to the long cube, sums by
account and scenario and takes the mean of the worst. A million accounts take it an hour, so it is
given runs of 4,096 accounts spread evenly over the book, and its seconds are scaled by positions
times scenarios. It does less than a run: one netting set an account, no sums over accounts,
nothing stored. The run nets every account as one set too, on threads of this process, and its
requirements are compared with the answers of the database.
"""

import math
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from infra.bench.books import kept_book
from infra.bench.runs import make_run
from infra.bench.tables import QUERY
from storage.book import BLOCK_ACCOUNTS, Book
from storage.runs import Run, RunStore
from workers.dask_engine import DaskEngine
from workers.plan import RunRequest
from workers.warm import warm_kernels

METHODOLOGY = Path(__file__).with_name("expected-shortfall-1000.toml")
LEVEL = 0.975
POSITIONS = """
create or replace table positions as
    select account, instrument, lots as quantity
    from read_parquet($files) where account >= $start and account < $stop
"""


def run(quick: bool) -> dict[str, dict[str, Any]]:
    """Return accounts a second, the margin stage of a run beside DuckDB."""
    book = kept_book(65_536 if quick else 1_000_000)
    warm_kernels()
    cores = os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as folder:
        request = RunRequest(
            book.path,
            methodology=str(METHODOLOGY),
            netting="portfolio",
            unapproved=True,
            runs=Path(folder),
            shards=4 * cores if quick else None,
            workers=cores,
        )
        made = make_run(request, DaskEngine(cores))
        run = RunStore(request.runs).open(made.run_id)
        peer = database_seconds(book, run, 1 if quick else 5)
    ours = made.seconds("margin")
    return {
        "margin_1m_duckdb": {
            "ours": book.accounts / ours,
            "peer": book.accounts / peer,
            "ratio": peer / ours,
            "unit": "accounts/s",
            "peer_name": f"DuckDB {duckdb.__version__}, all cores, wall time, a sample scaled by "
            f"positions; {book.accounts:,} accounts",
        }
    }


def database_seconds(book: Book, run: Run, samples: int) -> float:
    """Return the seconds DuckDB would take for a book, scaled up from runs of its accounts.

    Raises:
        AssertionError: its answers are not the requirements of the run, netted by account.
    """
    taken, positions = 0.0, 0
    starts = np.linspace(0, book.blocks - 1, samples + 2)[1:-1].astype(int) * BLOCK_ACCOUNTS
    with duckdb.connect() as database:
        scenarios = _load_cube(database, book, run)
        for start in starts.tolist():
            stop = min(start + BLOCK_ACCOUNTS, book.accounts)
            began = time.perf_counter()
            account, shortfall = _answers(database, book, start, stop, scenarios)
            taken += time.perf_counter() - began
            positions += len(book.position_slice(start, stop).lots)
            if run.manifest["settings"]["netting"] == "portfolio":
                requirement = np.zeros(stop - start)
                requirement[account - start] = np.maximum(shortfall, 0.0)
                stored = run.accounts["requirement"][start:stop].values
                np.testing.assert_allclose(stored, requirement, rtol=1e-9, atol=1e-6)
    return taken / positions * book.positions


def _load_cube(database: Any, book: Book, run: Run) -> int:
    """Load what one lot gains in the long form a join wants; return the number of scenarios."""
    measured = run.scenarios["origin"].values == "historical"
    pnl = run.cube["pnl"].values[:, measured] * book.instruments()["lot_size"].to_numpy()[:, None]
    instruments, scenarios = pnl.shape
    gains = pa.table(
        {
            "instrument": np.repeat(np.arange(instruments, dtype=np.int32), scenarios),
            "scenario": np.tile(np.arange(scenarios, dtype=np.int32), instruments),
            "gain": pnl.ravel(),
        }
    )
    database.register("arrow", gains)
    database.execute("create table cube as select * from arrow")
    return int(scenarios)


def _answers(
    database: Any, book: Book, start: int, stop: int, scenarios: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return accounts and their expected shortfall, USD, from the positions as they are stored."""
    files = str(book.path / "positions" / "part-*.parquet")
    database.execute(POSITIONS, {"files": files, "start": start, "stop": stop})
    mass = scenarios * (1.0 - LEVEL)
    given = {"mass": mass, "depth": math.ceil(mass - 1e-9)}
    found = database.execute(QUERY, given).fetchnumpy()
    return np.asarray(found["account"]), np.asarray(found["shortfall"])
