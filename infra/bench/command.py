"""Ten million accounts by the command itself, in a fresh process, against its kernel alone.

Every account is margined by expected shortfall under some 1,000 scenarios, from the book on disk
to the published run. The kernel is ``margin_block`` on two threads, cube and netting sets in
memory; it is timed on every sixteenth shard of the same book and scaled by positions.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from infra.bench.books import FOLDER, kept_book
from infra.bench.database import METHODOLOGY, database_seconds
from infra.bench.runs import Made
from risk.kernels import Positions, margin_block, unit_measures
from risk.margin import measures_of
from risk.netting import NETTING_KEYS, netting_sets
from risk.summation import block_bounds
from storage.book import PART_ACCOUNTS, Book
from storage.runs import Run, RunStore
from workers.collateral import counted_assets
from workers.methodologies import load_methodology
from workers.revaluation import revaluation_of_run
from workers.shards import Shard, cut
from workers.tasks import read_holdings

ACCOUNTS = 10_000_000
WORKERS = 2
EVERY = 16
PROGRAMS = Path(sys.executable).parent
PREFECT = FOLDER.parent / "prefect"
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


def run(quick: bool) -> dict[str, dict[str, Any]]:
    """Return seconds of the margin stage beside its kernel, and of the command beside DuckDB."""
    if quick:
        return {}
    book = kept_book(ACCOUNTS)
    with tempfile.TemporaryDirectory() as home:
        made, wall = run_command(book, Path(home), WORKERS)
        published = RunStore(Path(home) / "runs").open(made.run_id)
        kernel, database = kernel_seconds(book, published), database_seconds(book, published, 5)
    print(stage_table(made, wall), flush=True)
    margin = made.seconds("margin")
    name = "the command, book on disk to published run"
    return {
        "margin_10m": {
            "ours": margin,
            "peer": kernel,
            "ratio": margin / kernel,
            "unit": "s",
            "peer_name": f"margin_block in memory on two threads, 1 shard in {EVERY}, scaled",
        },
        "margin_10m_wall": {
            "ours": wall,
            "peer": database,
            "ratio": wall / database,
            "unit": "s",
            "peer_name": f"DuckDB, a sample scaled by positions; ours is {name}",
            "peak_memory_bytes": made.manifest["memory"]["peak_total"],
            "stages": made.manifest["stages"],
        },
    }


def run_command(
    book: Book, home: Path, workers: int, *, methodology: Path = METHODOLOGY, shards: int = 0
) -> tuple[Made, float]:
    """Run ``margincube run`` in a fresh process; return the run and the wall seconds of it all."""
    command = [
        *(str(PROGRAMS / "margincube"), "run", str(book.path.absolute())),
        *("--methodology", str(methodology), "--workers", str(workers), "--json", "--unapproved"),
        *(("--shards", str(shards)) if shards else ()),
    ]
    env = {name: value for name, value in os.environ.items() if name not in THREADS}
    env |= {"MARGINCUBE_HOME": str(home), "PREFECT_HOME": str(PREFECT.absolute())}
    if not PREFECT.exists():  # a machine migrates its database once, not for each run
        migrate = [str(PROGRAMS / "prefect"), "server", "database", "upgrade", "--yes"]
        subprocess.run(migrate, env=env, stdout=subprocess.DEVNULL, check=True)
    began = time.perf_counter()
    done = subprocess.run(command, env=env, stdout=subprocess.PIPE, check=True, text=True)
    wall = time.perf_counter() - began
    manifest = json.loads(done.stdout)
    return Made(manifest["run_id"], manifest), wall


def kernel_seconds(book: Book, run: Run) -> float:
    """Return the seconds the kernel alone would take for a book, on two threads."""
    shards = cut(book.accounts, PART_ACCOUNTS)[::EVERY]
    timed = [_kernel_of(book, run, shard) for shard in shards]
    seconds, positions = (sum(column) for column in zip(*timed, strict=True))
    return float(seconds / positions * book.positions)


def _kernel_of(book: Book, run: Run, shard: Shard) -> tuple[float, int]:
    """Return the seconds of the kernel on a shard, and the positions of the shard."""
    methodology = load_methodology(str(METHODOLOGY)).methodology
    revaluation = revaluation_of_run(run, book, methodology)
    measures = measures_of(methodology, run.scenarios["origin"].values.tolist())
    assets = counted_assets(book.assets(), run.manifest["index"], methodology.collateral)
    lot_size = book.instruments()["lot_size"].to_numpy()
    holdings = read_holdings(book, shard, lot_size, assets.value, assets.priced)
    netting = methodology.netting
    keys = [NETTING_KEYS.index(key) for key in (netting.isolated, netting.cross, netting.portfolio)]
    account_sets, set_offsets = netting_sets(
        holdings.offsets,
        holdings.instrument,
        np.array(keys, dtype=np.int8)[holdings.margin_mode],
        revaluation.settlement,
    )
    positions = Positions(account_sets, set_offsets, holdings.instrument, holdings.quantity)
    units = unit_measures(positions, revaluation.cube, revaluation.weight, measures)

    def block(bounds: tuple[int, int]) -> object:
        part, equity = positions.between(*bounds), holdings.collateral[slice(*bounds)]
        return margin_block(part, equity, revaluation.cube, revaluation.weight, measures, units)

    bounds = block_bounds(0, len(holdings))
    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(block, bounds[:WORKERS]))  # threads start, kernels load
        began = time.perf_counter()
        list(pool.map(block, bounds))
        return time.perf_counter() - began, len(holdings.quantity)


def stage_table(made: Made, wall: float) -> str:
    """Return where the seconds of a command went."""
    rows = [f"  {row['name']:12} {row['wall_s']:8.1f} s" for row in made.manifest["stages"]]
    peak = made.manifest["memory"]["peak_total"] / 1e9
    return "\n".join([*rows, f"  {'in all':12} {wall:8.1f} s, {peak:.2f} GB at most"])
