"""Many runs of a small book from a queue: memory stays flat, nobody is left, no run is lost."""

import multiprocessing
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from infra.chaos.ground import RULES, quiet
from storage.locks import AlreadyLocked
from storage.market import sample_market
from storage.runs import RunStore
from workers.generate import generate_book
from workers.plan import RunRequest

ACCOUNTS = 50
SCHEDULES = 2
TWICE = 5
"""Every fifth run is given to both schedules, as when they overlap."""

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["infra.chaos.ground"])


def load(runs: int, minutes: float) -> dict[str, Any]:
    """Work off a queue by two schedules that overlap; return what it took and what is missing."""
    with tempfile.TemporaryDirectory(prefix="load-") as name:
        folder = Path(name)
        generate_book(folder / "book", ACCOUNTS, 3, sample_market(), name="load")
        before = _children()
        until = time.monotonic() + 60.0 * minutes
        schedules = [
            PROCESSES.Process(target=work_off, args=(folder, runs, turn, until))
            for turn in range(SCHEDULES)
        ]
        for schedule in schedules:
            schedule.start()
        for schedule in schedules:
            schedule.join()
        codes = [schedule.exitcode for schedule in schedules]
        done = {int(path.stem) for path in folder.glob("*.done")}
        store = RunStore(folder / "runs").manifests()
        resident = [
            [int(line) for line in path.read_text().split()]
            for path in sorted(folder.glob("*.resident"))
        ]
        orphans = _children() - before - {schedule.pid for schedule in schedules} - _own_helpers()
        return {
            "queued": runs,
            "done": len(done),
            "published": len({manifest["run_id"] for manifest in store}),
            "lost": len(done) - len(store),
            "wrong": int(len(done) != len(store) or any(codes) or bool(orphans)),
            "orphans": len(orphans),
            "resident_bytes": [[ones[len(ones) // 4], max(ones), ones[-1]] for ones in resident],
        }


def work_off(folder: Path, runs: int, turn: int, until: float) -> None:
    """Be a schedule: make every run that is its own, and those that are everybody's."""
    process = psutil.Process()
    for number in range(runs):
        if time.monotonic() > until:
            break
        if number % SCHEDULES != turn and number % TWICE:
            continue
        rules = folder / f"{turn}-rules.toml"
        rules.write_text(RULES.replace("LEVEL", str(0.5 + 0.4 * number / runs)))
        request = RunRequest(
            book=folder / "book",
            methodology=str(rules),
            runs=folder / "runs",
            shards=1,
            unapproved=True,
        )
        try:
            quiet(request)
        except AlreadyLocked:
            continue  # the other schedule is at it
        (folder / f"{number}.done").touch()
        with (folder / f"{turn}.resident").open("a") as file:
            file.write(f"{process.memory_info().rss}\n")


def _children() -> set[int]:
    return {child.pid for child in psutil.Process().children(recursive=True)}


def _own_helpers() -> set[int]:
    """Processes by which Python starts others; they end with this one."""
    helpers = ("forkserver", "resource_tracker")
    return {
        child.pid
        for child in psutil.Process(os.getpid()).children(recursive=True)
        if any(helper in " ".join(child.cmdline()) for helper in helpers)
    }
