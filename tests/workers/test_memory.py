"""Memory: limits read as the kernel writes them, projections above what is measured."""

import dataclasses
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pytest

from flows.engines import Engines
from flows.settings import Settings
from storage import tables
from storage.book import PART_ACCOUNTS, Book, BookWriter
from workers.engine import SerialEngine
from workers.margin_run import MarginRun
from workers.memory import (
    Limit,
    PeakMemory,
    Room,
    TooLargeForMemory,
    Work,
    fitting_blocks,
    process_peak_bytes,
    project,
    room_here,
)
from workers.memory.limits import least_left
from workers.memory.peaks import tree_bytes
from workers.methodologies import DEFAULT_METHODOLOGY
from workers.plan import RunRequest

ROOT = Path(__file__).parents[2]
GB = 10**9


def in_files(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(f"{text}\n")


def version_2(folder: Path, limit: str, current: int, inactive: int = 0) -> None:
    statistics = f"anon {current}\ninactive_file {inactive}\nactive_file 7"
    in_files(folder, memory__max=limit, memory__current=str(current), memory__stat=statistics)


def version_1(folder: Path, limit: int, usage: int, inactive: int = 0) -> None:
    in_files(
        folder,
        memory__limit_in_bytes=str(limit),
        memory__usage_in_bytes=str(usage),
        memory__stat=f"inactive_file 1\ntotal_inactive_file {inactive}",
    )


def left(groups: Path, membership: str) -> Limit:
    """What is left under control groups that a test wrote."""
    file = groups.parent / "membership"
    file.write_text(membership)
    return least_left(groups, file)


def test_without_limits_the_machine_is_the_limit(tmp_path):
    version_2(tmp_path / "g" / "pod", "max", 5_000)
    found = left(tmp_path / "g", "0::/pod\n")
    assert found.of == "machine"
    assert found.size == pytest.approx(psutil.virtual_memory().available, rel=0.2)


def test_cached_files_of_a_container_give_way(tmp_path):
    version_2(tmp_path / "g" / "pod", "1000000", 700_000, inactive=200_000)
    assert left(tmp_path / "g", "0::/pod\n") == Limit(500_000, "container")


def test_the_tightest_group_on_the_way_up_counts(tmp_path):
    groups = tmp_path / "g"
    version_2(groups / "pods" / "pod" / "worker", "max", 100_000)
    version_2(groups / "pods" / "pod", "900000", 600_000)
    version_2(groups / "pods", "2000000", 1_000_000)
    assert left(groups, "0::/pods/pod/worker\n") == Limit(300_000, "container")


def test_in_a_container_its_group_is_mounted_as_the_root(tmp_path):
    version_2(tmp_path / "g", "800000", 300_000)
    assert left(tmp_path / "g", "0::/kubepods/seen/from/outside\n") == Limit(500_000, "container")


def test_a_container_that_is_over_its_limit_leaves_nothing(tmp_path):
    version_2(tmp_path / "g", "800000", 900_000)
    assert left(tmp_path / "g", "0::/\n") == Limit(0, "container")


def test_control_groups_of_version_1(tmp_path):
    groups = tmp_path / "g"
    version_1(groups / "memory", (1 << 63) - 4096, 10_000_000)
    version_1(groups / "memory" / "docker" / "one", 3_000_000, 2_500_000, inactive=400_000)
    membership = "5:cpu,cpuacct:/elsewhere\n4:memory:/docker/one\n0::/unified\n"
    assert left(groups, membership) == Limit(900_000, "container")


def test_where_there_are_no_control_groups_the_machine_is_the_limit(tmp_path):
    assert least_left(tmp_path / "none", tmp_path / "neither").of == "machine"


# What is projected, and what is refused.


def work_of(blocks: int, positions: int = 10) -> Work:
    accounts = np.full(blocks, 4_096)
    return Work(
        accounts, positions * accounts, instruments=900, scenarios=1_500, measures=3, layers=3
    )


def room_of(size: float, workers: int = 2, of: str = "machine", folding: int = 1) -> Room:
    return Room(Limit(int(size), of), workers, processes=True, folding=folding)


def need(work: Work, blocks: int, room: Room) -> int:
    return project(work, blocks, [room]).total


def test_a_plan_that_fits_is_left_as_it_is():
    assert fitting_blocks(work_of(160), [room_of(100 * GB)], 16, asked=False) == 16


def test_shards_are_cut_smaller_until_they_fit_where_nobody_asked():
    work = work_of(160, positions=200)
    whole, quarter = (need(work, blocks, room_of(0)) for blocks in (16, 4))
    assert quarter < whole
    assert fitting_blocks(work, [room_of(whole)], 16, asked=False) == 16
    assert fitting_blocks(work, [room_of(whole - 1)], 16, asked=False) == 8
    assert fitting_blocks(work, [room_of(quarter)], 16, asked=False) == 4


def test_the_largest_shard_counts_not_the_mean():
    """Market makers come last in a book, and hold a hundred times what others do."""
    even, skewed = work_of(32), work_of(32)
    many = skewed.positions.copy()
    many[-1] *= 100
    skewed = dataclasses.replace(skewed, positions=many)
    more = skewed.task(16) - even.task(16)
    assert more == pytest.approx(skewed.task(1) - even.task(1))
    assert more > 99 * 10 * 4_096 * 100


def test_a_run_that_keeps_numbers_of_an_earlier_one_takes_more():
    work = work_of(32)
    earlier = dataclasses.replace(work, earlier=True)
    assert earlier.task(16) - work.task(16) > work.cube + 60 * work.positions[:16].sum()
    assert earlier.fold() == work.fold()


def refused(work: Work, room: Room, blocks: int, *, asked: bool) -> str:
    with pytest.raises(TooLargeForMemory) as caught:
        fitting_blocks(work, [room], blocks, asked=asked)
    return str(caught.value)


def test_a_number_of_shards_that_was_asked_for_is_refused_with_one_that_fits():
    work = work_of(160, positions=200)
    room = room_of(need(work, 4, room_of(0)), of="container")
    message = refused(work, room, 16, asked=True)
    assert "in 10 shards the run needs" in message
    assert f"{need(work, 16, room) / 1e9:.2f} GB" in message
    assert f"the container leaves {room.limit.size / 1e9:.2f} GB" in message
    assert message.endswith("--shards 40 fits")
    assert fitting_blocks(work, [room], 4, asked=True) == 4


def test_fewer_workers_are_named_where_smaller_shards_do_not_do():
    work = work_of(160, positions=200)
    room = room_of(need(work, 2, room_of(0, workers=3)), workers=8)
    message = refused(work, room, 16, asked=False)
    assert "for each of 8 tasks at once" in message
    named = message.rpartition("--workers ")[2]
    workers, shards = int(named.split()[0]), int(named.split()[3])
    assert (workers, shards) == (3, 80) or workers > 3
    assert need(work, 160 // shards, room_of(0, workers=workers)) <= room.limit.size
    assert need(work, 1, room_of(0, workers=workers + 1)) > room.limit.size


def test_fewer_workers_fold_less_at_once_too():
    """The serial engine does one task at a time whatever the workers, but folds on all of them."""
    work = work_of(160, positions=200)
    room = dataclasses.replace(room_of(0, workers=1, folding=4), processes=False)
    enough = need(work, 1, dataclasses.replace(room, folding=2))
    assert enough < need(work, 1, dataclasses.replace(room, folding=3))
    room = dataclasses.replace(room, limit=Limit(enough, "machine"))
    assert "--workers 2 with --shards" in refused(work, room, 16, asked=False)


def test_where_not_even_one_block_fits_it_says_what_would_be_needed():
    work = work_of(160)
    message = refused(work, room_of(1e6, of="container"), 16, asked=False)
    alone = need(work, 1, room_of(0, workers=1))
    assert f"even one block of accounts in one worker needs {alone / 1e9:.2f} GB" in message
    assert "give the container that much" in message


def test_each_node_of_a_cluster_has_its_own_limit():
    work = work_of(160, positions=200)
    node = room_of(100 * GB, workers=4, of="Ray node 10.0.0.2", folding=0)
    small = room_of(0, workers=4, of="Ray node 10.0.0.3", folding=0)
    small = dataclasses.replace(small, limit=Limit(need(work, 2, small), small.limit.of))
    here = room_of(100 * GB, workers=0)
    assert fitting_blocks(work, [here, node, small], 16, asked=False) == 2
    with pytest.raises(TooLargeForMemory, match=r"Ray node 10\.0\.0\.3 leaves .*--shards 80 fits"):
        fitting_blocks(work, [here, node, small], 16, asked=True)
    tiny = room_of(1e6, workers=0)
    with pytest.raises(TooLargeForMemory, match="the process that leads the run needs"):
        fitting_blocks(work, [tiny, node], 16, asked=False)


def test_a_run_takes_smaller_shards_or_says_which_fit(synthetic_book, small_methodology, tmp_path):
    book = synthetic_book(28_000)
    request = RunRequest(book.path, methodology=str(small_methodology), runs=tmp_path)
    engine = SerialEngine()

    def run_in(size: int, shards: int | None = None) -> MarginRun:
        room = Room(Limit(size, "container"), workers=1)
        wanted = dataclasses.replace(request, shards=shards)
        return MarginRun(wanted, lambda: engine, lambda: engine, rooms=lambda: [room])

    with run_in(100 * GB) as run:
        run.prepare()
        usual = run.plan.projection.total
        assert len(run.plan.shards) == 1
    with (
        run_in(usual - 1, shards=1) as run,
        pytest.raises(TooLargeForMemory, match="--shards 3 fits"),
    ):
        run.prepare()
    with run_in(usual - 1) as run:
        run.prepare()
        run.price()
        run.margin()
        run.fold()
        manifest = run.publish(lambda: 123)
    memory = manifest["memory"]
    assert memory["shards"] == 2
    assert memory["shards_cut_smaller"]
    assert memory["projected_total"] == run.plan.projection.total < usual
    assert (memory["limit"], memory["limit_of"]) == (usual - 1, "container")
    assert memory["peak_total"] == 123
    assert 50e6 < memory["peak_per_worker"] <= process_peak_bytes()


def test_only_the_memory_of_a_cluster_is_asked_of_the_engine(monkeypatch):
    class NotYet:
        def __init__(self, start):
            pass

        def __call__(self):
            raise AssertionError("the engine was waited for")

    monkeypatch.setattr("flows.engines.Starting", NotYet)

    def rooms(**settings) -> list[Room]:
        return Engines(Settings(workers=3, **settings)).rooms()

    (ray,), (dask,) = rooms(engine="ray"), rooms(engine="dask")
    assert (ray.workers, ray.processes, ray.folding) == (3, True, 3)
    assert (dask.workers, dask.processes, dask.folding) == (3, False, 3)
    (serial,) = rooms(engine="serial", fold="serial")
    assert (serial.workers, serial.processes, serial.folding) == (1, False, 1)
    with pytest.raises(AssertionError, match="was waited for"):
        rooms(engine="ray", ray_address="127.0.0.1:1")


# What is measured.


def test_what_a_process_has_already_is_within_its_limit(monkeypatch):
    monkeypatch.setattr("workers.memory.limits.least_left", lambda: Limit(7, "container"))
    before = room_here(1).limit.size
    kept = np.ones(25_000_000)
    after = room_here(1).limit
    assert after.of == "container"
    assert 0.9 * kept.nbytes < after.size - before < 1.5 * kept.nbytes


def test_the_peak_of_all_processes_counts_those_that_were_started():
    program = "import sys; kept = b'x' * 300_000_000; print(flush=True); sys.stdin.read()"
    before = tree_bytes()
    with (
        PeakMemory() as memory,
        subprocess.Popen(
            [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as child,
    ):
        child.stdout.readline()
        give_up = time.monotonic() + 30.0
        while memory.peak_bytes < before + 290e6 and time.monotonic() < give_up:
            time.sleep(0.1)
        child.stdin.close()
    assert before + 290e6 < memory.peak_bytes < before + 500e6


def test_the_peak_of_a_process_outlives_what_it_was_of():
    before = process_peak_bytes()
    resident = psutil.Process().memory_info().rss
    size = max(0, before - resident) + 100_000_000
    kept = np.ones(size // 8)
    del kept
    assert before + 50e6 < process_peak_bytes() < before + 200e6


MEASURED = """
import json, sys
from pathlib import Path
from workers.engine import SerialEngine
from workers.margin_run import MarginRun
from workers.memory import process_peak_bytes
from workers.plan import RunRequest
from workers.warm import warm_kernels

class Measuring(SerialEngine):
    taken = 0

    def map(self, function, shared, items):
        for item in items:
            # The kernel's count of the peak begins anew from what is resident now.
            Path("/proc/self/clear_refs").write_text("5")
            before = process_peak_bytes()
            result = function(shared, item)
            if function.__name__ == "margin_shard":
                self.taken = max(self.taken, process_peak_bytes() - before)
            yield result

warm_kernels()
engine = Measuring()
request = RunRequest(Path(sys.argv[1]), methodology=sys.argv[2], runs=Path(sys.argv[3]), shards=1)
with MarginRun(request, lambda: engine, lambda: engine) as run:
    run.prepare()
    run.price()
    run.margin()
    run.fold()
    memory = run.publish(process_peak_bytes)["memory"]
task = run.plan.work.task(run.plan.layout.chunks["block"])
print(json.dumps({"projected_task": task, "task": engine.taken, **memory}))
"""


def dense_book(folder: Path, source: Book, accounts: int, each: int, mode: str) -> Book:
    """A book of accounts with many positions, every second the other side of the one before."""
    instruments, rng = source.instruments(), np.random.default_rng(5)
    pairs = accounts // 2
    rows = np.sort(rng.random((pairs, len(instruments))).argsort(axis=1)[:, :each])
    lots = rng.integers(1, 40, (pairs, each)) * rng.choice([-1, 1], (pairs, each))
    lots = np.repeat(lots, 2, axis=0)
    lots[1::2] *= -1
    owner = np.repeat(np.arange(accounts), each)
    positions = pa.table(
        [owner, np.repeat(rows, 2, axis=0).ravel(), lots.ravel()], schema=tables.POSITIONS.schema
    )
    rows_of_cash = [np.arange(accounts), np.zeros(accounts), np.full(accounts, 1e6)]
    names = [f"a{number:06d}" for number in range(accounts)]
    modes = np.full(accounts, tables.MARGIN_MODES.index(mode))
    with BookWriter(
        folder / "book", "dense", source.as_of, instruments, source.members(), source.assets()
    ) as writer:
        writer.append(
            pa.table([names, np.zeros(accounts), modes], schema=tables.ACCOUNTS.schema),
            positions,
            pa.table(rows_of_cash, schema=tables.COLLATERAL.schema),
        )
        return writer.close()


@pytest.mark.slow
@pytest.mark.parametrize("methodology", [DEFAULT_METHODOLOGY, "deribit-pme-2026-02"])
@pytest.mark.parametrize("shape", ["many accounts", "many positions", "many netting sets"])
def test_a_projection_is_an_upper_bound_and_not_an_absurd_one(
    synthetic_book, shape, methodology, tmp_path
):
    book = synthetic_book(65_536)
    if shape != "many accounts":
        mode = "portfolio" if shape == "many positions" else "isolated"
        book = dense_book(tmp_path, book, 4_096, 300, mode)
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, str(book.path), methodology, str(tmp_path / "runs")],
        cwd=ROOT, capture_output=True, text=True, check=True, timeout=240,
    )  # fmt: skip
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["task"] <= found["projected_task"] <= 3 * found["task"]
    assert found["peak_per_worker"] <= found["projected_per_worker"] <= 3 * found["peak_per_worker"]
    assert found["peak_total"] <= found["projected_total"] <= 3 * found["peak_total"]


STEP = """
import sys
import time
from pathlib import Path
from flows.report.page import write_report
from flows.run_view import run_view
from storage.market import sample_market
from storage.runs import open_run
from workers.engine import SerialEngine
from workers.export import export_accounts
from workers.generate import generate_book
from workers.margin_run import MarginRun
from workers.memory import process_peak_bytes
from workers.plan import RunRequest
from workers.stages import Silent
from workers.warm import warm_kernels

step, folder, accounts, methodology = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
if step == "generate":
    generate_book(folder / "book", accounts, 1, sample_market(), threads=1)
elif step == "run":
    warm_kernels()
    engine = SerialEngine()
    request = RunRequest(folder / "book", methodology=methodology, runs=folder / "runs")
    with MarginRun(request, lambda: engine, lambda: engine) as run:
        run.prepare()
        run.price()
        run.margin()
        run.fold()
        run.publish()
elif step == "report":
    write_report(run_view(open_run(folder / "runs")), folder / "report.html")
else:
    export_accounts(open_run(folder / "runs"), folder / f"accounts.{step}", Silent())
print(process_peak_bytes())
"""


@pytest.mark.slow
@pytest.mark.timeout(1_200)
def test_memory_does_not_grow_with_the_accounts_of_a_run(small_methodology, tmp_path):
    """A book larger than memory works: eight times the accounts, the same peak in every step."""

    def peak(step: str, accounts: int) -> int:
        folder = tmp_path / str(accounts)
        folder.mkdir(exist_ok=True)
        done = subprocess.run(
            [sys.executable, "-c", STEP, step, str(folder), str(accounts), str(small_methodology)],
            cwd=ROOT, capture_output=True, text=True, check=True, timeout=600,
        )  # fmt: skip
        return int(done.stdout)

    steps = ("generate", "run", "report", "parquet", "csv")
    few, many = ([peak(step, parts * PART_ACCOUNTS) for step in steps] for parts in (2, 16))
    grown = {step: more / less for step, less, more in zip(steps, few, many, strict=True)}
    assert max(grown.values()) < 1.1, grown
