"""A stress run that is killed goes on at the batch of scenarios that it was in."""

import json
import multiprocessing
import signal

import pytest

from storage.array_digest import dataset_digest
from storage.arrays import STRESS
from storage.runs import RunStore
from tests.failures import killed_stress
from tests.workers.stressed import plan_file, stress
from workers.stress.request import StressRequest

pytestmark = pytest.mark.slow

ACCOUNTS = 9_000
BATCH = 5

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["tests.failures.killed_stress"])


@pytest.fixture(scope="module")
def margined(synthetic_book, margin_of):
    return margin_of(synthetic_book(ACCOUNTS))


@pytest.fixture
def request_of(margined, tmp_path):
    def request(**options):
        given = {
            "run": margined.run.run_id,
            "plan": plan_file(tmp_path),
            "runs": margined.request.runs,
            "stresses": tmp_path / "stresses",
            "shards": 3,
            "batch": BATCH,
        }
        return StressRequest(**(given | options))

    return request


@pytest.fixture(scope="module")
def faultless(margined, tmp_path_factory):
    folder = tmp_path_factory.mktemp("faultless")
    return stress(
        StressRequest(
            run=margined.run.run_id,
            plan=plan_file(folder),
            runs=margined.request.runs,
            stresses=folder / "stresses",
        )
    )


def end_of(request, report, point=None):
    process = PROCESSES.Process(target=killed_stress.start, args=(request, report, point))
    process.start()
    process.join(120)
    assert process.exitcode is not None, "the run hangs"
    return process.exitcode


LEFT = {
    "template committed": 0,
    "second batch half written": 1,
    "second batch written": 1,
    "second batch committed": 2,
    "all batches committed": None,
    "results committed": None,
    "run named": None,
    "published": None,
}
"""How many batches need not be done again; None is all of them."""

VISIBLE = ("run named", "published")


@pytest.mark.parametrize("point", killed_stress.POINTS)
def test_the_next_start_does_only_what_is_left(point, request_of, faultless, tmp_path):
    request, report = request_of(), tmp_path / "report.json"
    names = faultless.run.groups["scenarios"]["scenario"].values.tolist()
    batches = [names[at : at + BATCH] for at in range(0, len(names), BATCH)]
    assert len(batches) > 2
    assert end_of(request, report, point) == -signal.SIGKILL
    assert not report.exists()
    store = RunStore(request.stresses, STRESS)
    assert len(store.manifests()) == (point in VISIBLE)

    assert end_of(request, report) == 0
    done = json.loads(report.read_text())
    kept = LEFT[point]
    assert done["computed"] == ([] if kept is None else batches[kept:])
    assert done["recognised"] == (point in VISIBLE)
    run = store.read(done["run"])
    for group, digest in run.manifest["digests"].items():
        assert dataset_digest(run.groups[group]) == digest
    assert run.manifest["digest"] == faultless.digest
    assert len(store.manifests()) == 1


def test_a_killed_run_may_be_finished_in_other_shards(request_of, faultless, tmp_path):
    report = tmp_path / "report.json"
    assert end_of(request_of(), report, "second batch committed") == -signal.SIGKILL
    assert end_of(request_of(shards=1), report) == 0
    store = RunStore(tmp_path / "stresses", STRESS)
    assert store.read(json.loads(report.read_text())["run"]).manifest["digest"] == faultless.digest


def test_a_killed_run_may_be_finished_in_other_batches(request_of, faultless, tmp_path):
    report = tmp_path / "report.json"
    assert end_of(request_of(), report, "second batch committed") == -signal.SIGKILL
    assert end_of(request_of(batch=3), report) == 0
    store = RunStore(tmp_path / "stresses", STRESS)
    assert store.read(json.loads(report.read_text())["run"]).manifest["digest"] == faultless.digest
