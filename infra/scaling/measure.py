"""Measure the runs that the constants of the model are fitted to."""

import os
import pickle
import platform
import tempfile
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from infra.bench.books import kept_book
from infra.bench.command import run_command, stage_table
from infra.bench.database import METHODOLOGY
from infra.bench.runs import make_run
from infra.scaling.model import Point
from storage.book import Book
from workers.engine import Item, Result, SerialEngine, Shared
from workers.plan import RunRequest

ROUNDS = 3
SMALL, MIDDLE, LARGE = 100_000, 1_000_000, 10_000_000


def measure(largest: int = LARGE, rounds: int = ROUNDS) -> dict[str, Any]:
    """Measure runs up to a size, so many times each; the largest once."""
    with tempfile.TemporaryDirectory() as folder:
        half = Path(folder) / "half.toml"
        half.write_text(METHODOLOGY.read_text().replace("step_hours = 52", "step_hours = 104"))
        wanted: list[tuple[int, Path, int, int | None, int]] = [
            (SMALL, METHODOLOGY, 2, None, rounds),
            (SMALL, METHODOLOGY, 1, None, rounds),
            (SMALL, METHODOLOGY, 2, 25, rounds),
            (SMALL, half, 2, None, rounds),
            (MIDDLE, METHODOLOGY, 2, None, rounds),
            (MIDDLE, half, 2, None, rounds),
            (LARGE, METHODOLOGY, 2, None, 1),
        ]
        points = [_point(*one) for one in wanted if one[0] <= largest]
    return {
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
        "rounds": rounds,
        "machine": f"{os.cpu_count()} cores, {_processor()}",
        "points": points,
        "traffic": traffic(kept_book(SMALL)),
    }


def _point(
    accounts: int, methodology: Path, workers: int, shards: int | None, rounds: int
) -> Point:
    """Run the command some times, and return the run of median wall time."""
    book = kept_book(accounts)
    found = []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as home:
            made, wall = run_command(
                book, Path(home), workers, methodology=methodology, shards=shards or 0
            )
            run_bytes = folder_bytes(Path(home) / "runs")
        print(f"{accounts:,} accounts, {workers} workers\n{stage_table(made, wall)}", flush=True)
        totals, stages = made.manifest["totals"], made.manifest["stages"]
        seconds = {row["name"]: round(row["wall_s"], 4) for row in stages}
        seconds["start"] = round(wall - sum(seconds.values()), 4)
        found.append(
            {
                "accounts": accounts,
                "positions": totals["positions"],
                "scenarios": totals["scenarios"],
                "instruments": totals["instruments"],
                "cores": workers,
                "shards": shards,
                "wall": round(wall, 4),
                "seconds": seconds,
                "margin_busy": round(
                    next(row["busy_s"] for row in stages if row["name"] == "margin"), 4
                ),
                "peak_memory_bytes": made.manifest["memory"]["peak_total"],
                "book_bytes": folder_bytes(book.path),
                "run_bytes": run_bytes,
            }
        )
    return sorted(found, key=lambda point: point["wall"])[len(found) // 2]


class CountingEngine(SerialEngine):
    """Counts the bytes that an engine of many nodes sends: the shared value, items and results."""

    def __init__(self) -> None:
        self.shared: dict[str, int] = {}
        self.item: dict[str, int] = {}
        self.result: dict[str, int] = {}

    def map(
        self,
        function: Callable[[Shared, Item], Result],
        shared: Shared,
        items: Iterable[Item],
    ) -> Iterator[Result]:
        """Yield the results in the order of the items; the largest of each kind is kept."""
        name = function.__name__
        self.shared[name] = len(pickle.dumps((function, shared), protocol=5))
        for item in items:
            self.item[name] = max(self.item.get(name, 0), len(pickle.dumps(item, protocol=5)))
            for result in super().map(function, shared, [item]):
                size = len(pickle.dumps(result, protocol=5))
                self.result[name] = max(self.result.get(name, 0), size)
                yield result


def traffic(book: Book) -> dict[str, Any]:
    """Return the bytes that cross to a node for a wave and for a task, and what a task reads."""
    engine = CountingEngine()
    with tempfile.TemporaryDirectory() as runs:
        made = make_run(
            RunRequest(book.path, runs=Path(runs), methodology=str(METHODOLOGY), unapproved=True),
            engine,
        )
    totals = made.manifest["totals"]
    return {
        "cube_bytes": 8 * totals["instruments"] * totals["scenarios"],
        "shared_by_wave": engine.shared,
        "sent_by_task": engine.item,
        "returned_by_task": engine.result,
        "book_bytes_by_account": folder_bytes(book.path) / book.accounts,
    }


def folder_bytes(folder: Path) -> int:
    """Return the bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _processor() -> str:
    """Return what the machine calls its processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    named = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.machine()
