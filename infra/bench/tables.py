"""Margin of a book as one writes it in a database: a join, two groupings and a sort, in DuckDB.

The positions are joined to the long cube, summed by account and scenario, and the expected
shortfall of each account is the mean of its worst scenarios. Both sides use every core and both
read arrays in memory; the answers are compared before a clock runs.
"""

import math
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from statistics import median
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from infra.bench.kernels import HELD, LEVEL, Case, case
from risk.kernels import Positions, expected_shortfall_sets

QUERY = """
with pnl as (
    select account, scenario, sum(quantity * gain) as pnl
    from positions join cube using (instrument) group by account, scenario
), ranked as (
    select account, pnl, row_number() over (partition by account order by pnl) as rank from pnl
)
select account, -sum(pnl * least(1.0, $mass - (rank - 1))) / $mass as shortfall
from ranked where rank <= $depth group by account order by account
"""


def run(quick: bool) -> dict[str, dict[str, Any]]:
    """Return accounts a second, ours beside DuckDB."""
    sample = case(500 if quick else 10_000, 500, 250 if quick else 1_000)
    rounds = 2 if quick else 3
    with ThreadPoolExecutor() as pool, duckdb.connect() as database:
        _load(database, sample)
        ours, peer = _ours(sample, pool), _peer(database, sample)
        np.testing.assert_allclose(ours, peer, rtol=1e-9)
        times: dict[str, list[float]] = {"ours": [], "peer": []}
        for _ in range(rounds):
            for name, work in (
                ("ours", lambda: _ours(sample, pool)),
                ("peer", lambda: _peer(database, sample)),
            ):
                start = time.perf_counter()
                work()
                times[name].append(time.perf_counter() - start)
    accounts = sample.positions.accounts
    rates = {name: accounts / median(seconds) for name, seconds in times.items()}
    return {
        "es_all_cores": {
            **rates,
            "ratio": rates["ours"] / rates["peer"],
            "unit": "accounts/s",
            "peer_name": f"DuckDB {duckdb.__version__}, join and group, all cores, wall time",
        }
    }


def _ours(sample: Case, pool: ThreadPoolExecutor) -> np.ndarray:
    cuts = np.linspace(0, sample.positions.sets, 9).astype(int).tolist()
    parts = [
        Positions(
            np.arange(stop - start + 1),
            np.arange(stop - start + 1) * HELD,
            sample.positions.instrument[start * HELD : stop * HELD],
            sample.positions.quantity[start * HELD : stop * HELD],
        )
        for start, stop in pairwise(cuts)
    ]
    found = pool.map(lambda part: expected_shortfall_sets(part, sample.cube, LEVEL), parts)
    return np.concatenate(list(found))


def _load(database: Any, sample: Case) -> None:
    positions, cube = sample.positions, sample.cube
    held = pa.table(
        {
            "account": np.repeat(np.arange(positions.accounts), HELD),
            "instrument": positions.instrument,
            "quantity": positions.quantity,
        }
    )
    gains = pa.table(
        {
            "instrument": np.repeat(np.arange(len(cube), dtype=np.int32), cube.shape[1]),
            "scenario": np.tile(np.arange(cube.shape[1], dtype=np.int32), len(cube)),
            "gain": cube.ravel(),
        }
    )
    for name, table in (("positions", held), ("cube", gains)):
        database.register("arrow", table)
        database.execute(f"create table {name} as select * from arrow")
        database.unregister("arrow")


def _peer(database: Any, sample: Case) -> np.ndarray:
    mass = sample.cube.shape[1] * (1.0 - LEVEL)
    given = {"mass": mass, "depth": math.ceil(mass - 1e-9)}
    return np.asarray(database.execute(QUERY, given).fetchnumpy()["shortfall"])
