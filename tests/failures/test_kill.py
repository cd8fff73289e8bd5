"""A run that is killed leaves nothing half visible, and the next start finishes it."""

import json
import multiprocessing
import signal

import pytest
import zarr

from infra.chaos.processes import wait_for
from storage.array_digest import dataset_digest
from storage.runs import RunStore, UnknownRun
from tests.conftest import approved
from tests.failures import killed_run
from tests.failures.killed import repository
from workers.plan import RunRequest

ACCOUNTS = 9_000
SHARDS = 3
"""Checkpointed two at a time by one worker: the first two, then the last."""

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["tests.failures.killed_run"])


@pytest.fixture(scope="module")
def book(synthetic_book):
    return synthetic_book(ACCOUNTS)


@pytest.fixture(scope="module")
def faultless(book, margin_of):
    return margin_of(book)


@pytest.fixture
def request_of(book, small_methodology, tmp_path):
    def request(**options):
        given = {
            "book": book.path,
            "methodology": str(small_methodology),
            "shards": SHARDS,
            "runs": tmp_path / "runs",
        }
        return RunRequest(**(given | options))

    return request


def begin(request, report, point=None, seconds=0.0):
    process = PROCESSES.Process(target=killed_run.start, args=(request, report, point, seconds))
    process.start()
    return process


def finish(process):
    process.join(120)
    assert process.exitcode is not None, "the run hangs"
    return process.exitcode


def run_to_its_end(request, report):
    assert finish(begin(request, report)) == 0
    return json.loads(report.read_text())


def assert_sound(run, faultless):
    """The data of a visible run is what its manifest says, and what a quiet run gives."""
    for group, digest in run.manifest["digests"].items():
        assert dataset_digest(getattr(run, group)) == digest
    assert run.manifest["digest"] == faultless.digest


def main_is_empty(request):
    """Whether somebody who reads the main branch sees nothing at all."""
    store = repository(request.runs).readonly_session(branch="main").store
    try:
        zarr.open_group(store, mode="r")
    except FileNotFoundError:
        return True
    return False


# What is left to do after a death: whether the cube is priced, and which shards are margined.
LEFT = {
    "branch made": (True, [0, 1, 2], False),
    "template committed": (True, [0, 1, 2], False),
    "cube written": (True, [0, 1, 2], False),
    "cube committed": (False, [0, 1, 2], False),
    "half a shard written": (False, [0, 1, 2], False),
    "first shards written": (False, [0, 1, 2], False),
    "first shards committed": (False, [2], False),
    "all shards committed": (False, [], False),
    "folded": (False, [], False),
    "results written": (False, [], False),
    "results committed": (False, [], False),
    "run named": (False, [], True),
    "main moved": (False, [], True),
    "published": (False, [], True),
}
QUICK = ("half a shard written", "first shards committed", "run named")


@pytest.mark.parametrize(
    "point",
    [
        pytest.param(point, marks=() if point in QUICK else pytest.mark.slow)
        for point in killed_run.POINTS
    ],
)
def test_a_killed_run_is_invisible_and_the_next_start_finishes_it(
    point, request_of, faultless, tmp_path
):
    request, report = request_of(), tmp_path / "report.json"
    priced, margined, visible = LEFT[point]
    assert finish(begin(request, report, point)) == -signal.SIGKILL
    assert not report.exists()

    store = RunStore(request.runs)
    if visible:
        assert_sound(store.open("latest"), faultless)
    else:
        assert store.manifests() == []
        with pytest.raises(UnknownRun):
            store.open("latest")
    if point not in ("main moved", "published"):
        assert main_is_empty(request)

    done = run_to_its_end(request, report)
    assert bool(done["priced"]) == priced
    assert done["margined"] == margined
    assert done["recognised"] == visible
    store = RunStore(request.runs)
    assert [manifest["run_id"] for manifest in store.manifests()] == [done["run"]]
    assert_sound(store.open("latest"), faultless)
    kept = repository(request.runs)
    assert kept.lookup_branch("main") == kept.lookup_tag(done["run"])
    assert set(kept.list_branches()) == {"main"}

    again = run_to_its_end(request, report)
    assert (again["recognised"], again["priced"], again["margined"]) == (True, [], [])
    assert len(RunStore(request.runs).manifests()) == 1
    assert repository(request.runs).lookup_branch("main") == kept.lookup_branch("main")


@pytest.mark.slow
def test_a_run_may_be_finished_with_another_number_of_shards(request_of, faultless, tmp_path):
    report = tmp_path / "report.json"
    assert finish(begin(request_of(), report, "first shards committed")) == -signal.SIGKILL
    done = run_to_its_end(request_of(shards=1), report)
    assert done["margined"] == [0]
    assert_sound(RunStore(tmp_path / "runs").open(), faultless)


@pytest.mark.slow
def test_a_run_killed_again_and_again_still_finishes(request_of, faultless, tmp_path):
    request, report = request_of(), tmp_path / "report.json"
    for point in killed_run.POINTS:
        if not LEFT[point][2]:
            # Where an earlier life came further, this one ends without reaching the point.
            assert finish(begin(request, report, point)) in (-signal.SIGKILL, 0)
    run_to_its_end(request, report)
    store = RunStore(request.runs)
    assert len(store.manifests()) == 1
    assert_sound(store.open(), faultless)


def test_two_starts_of_one_run_compute_it_once(request_of, faultless, tmp_path):
    """The later start is told who is at it; once the first is done, it is recognised."""
    request = request_of()
    first = begin(request, tmp_path / "first.json", seconds=0.5)
    locks = request.runs / "locks"
    wait_for(
        lambda: any(
            lock.name != "commit" and lock.read_text() == str(first.pid) for lock in locks.glob("*")
        ),
        60,
    )
    second = begin(request, tmp_path / "second.json")
    assert finish(second) == 1
    assert first.is_alive()
    assert finish(first) == 0
    assert json.loads((tmp_path / "first.json").read_text())["margined"] == [0, 1, 2]
    assert not (tmp_path / "second.json").exists()
    assert run_to_its_end(request, tmp_path / "third.json")["recognised"]
    assert_sound(RunStore(request.runs).open(), faultless)


@pytest.mark.slow
def test_two_different_runs_share_a_store(request_of, faultless, small_methodology, tmp_path):
    other = tmp_path / "other.toml"
    changed = small_methodology.read_text().replace("initial = 0.10", "initial = 0.20")
    other.write_text(approved(changed))
    requests = [request_of(), request_of(methodology=str(other))]
    begun = [
        begin(request, tmp_path / f"{n}.json", seconds=0.2) for n, request in enumerate(requests)
    ]
    assert [finish(process) for process in begun] == [0, 0]
    store = RunStore(tmp_path / "runs")
    assert len(store.manifests()) == 2
    runs = [store.open(json.loads((tmp_path / f"{n}.json").read_text())["run"]) for n in (0, 1)]
    assert_sound(runs[0], faultless)
    assert runs[1].manifest["digest"] != faultless.digest
