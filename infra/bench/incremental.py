"""A run that keeps what did not change, against the run that computes everything.

Once all positions of one account in a hundred change, once one position in a hundred, whoever holds
it: the same number of positions, and about ten times the accounts. Both runs are of the changed
book, in this process, in turns, and their digests must be one.
"""

import shutil
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from infra.bench.books import Chosen, changed_book, kept_book, of_accounts, of_positions
from infra.bench.runs import Made, make_run
from storage.book import Book
from workers.engine import SerialEngine
from workers.plan import RunRequest
from workers.warm import warm_kernels

SHARE = 0.01


def run(quick: bool) -> dict[str, dict[str, Any]]:
    """Return the seconds of the margin stage, since the earlier run and whole."""
    warm_kernels()
    book = kept_book(65_536 if quick else 1_000_000)
    rounds = 1 if quick else 3
    with tempfile.TemporaryDirectory() as folder:
        before = _make(book, Path(folder) / "before")
        return {
            "incremental_1pct": _line(book, before, of_accounts(SHARE), rounds),
            "incremental_1pct_spread": _line(book, before, of_positions(SHARE), rounds),
        }


def _line(book: Book, before: Made, chosen: Chosen, rounds: int) -> dict[str, Any]:
    earlier = Path(before.manifest["settings"]["runs"])
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        changed, positions, accounts = changed_book(book, folder / "changed", chosen)
        turns = []
        for number in range(rounds):
            # A folder of its own for each: what was published once is recognised.
            store = shutil.copytree(earlier, folder / f"since-{number}")
            since = _make(changed, store, since=before.run_id)
            whole = _make(changed, folder / f"whole-{number}")
            assert since.digest == whole.digest, f"{since.digest} since, {whole.digest} whole"
            assert since.manifest["since"]["kept"] == book.accounts - accounts
            turns.append((since.seconds("margin"), whole.seconds("margin")))
    ours, peer = (median(times) for times in zip(*turns, strict=True))
    return {
        "ours": ours,
        "peer": peer,
        "ratio": ours / peer,
        "unit": "s",
        "peer_name": f"the margin stage whole; {positions / book.positions:.1%} of positions and "
        f"{accounts / book.accounts:.1%} of accounts changed",
    }


def _make(book: Book, runs: Path, since: str | None = None) -> Made:
    return make_run(RunRequest(book.path, runs=runs, since=since), SerialEngine())
