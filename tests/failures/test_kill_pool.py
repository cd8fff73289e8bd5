"""A collateral run that is killed leaves nothing half visible, and the next start finishes it."""

import json
import multiprocessing
import signal

import pytest

from storage.array_digest import dataset_digest
from storage.arrays import POOL
from storage.runs import RunStore, UnknownRun
from tests.failures import killed_pool
from workers.pool.request import PoolRequest

ACCOUNTS = 17_000
SHARDS = 5
"""Checkpointed two at a time by one worker: two, two, then the last."""

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["tests.failures.killed_run", "tests.failures.killed_pool"])


@pytest.fixture(scope="module")
def margined(synthetic_book, margin_of):
    return margin_of(synthetic_book(ACCOUNTS))


@pytest.fixture(scope="module")
def claims(synthetic_book, claims_of):
    return claims_of(synthetic_book(ACCOUNTS))


@pytest.fixture(scope="module")
def faultless(margined, claims, pool_of):
    return pool_of(margined, claims)


@pytest.fixture
def request_of(margined, claims, tmp_path):
    def request(**options):
        given = {
            "run": margined.run.run_id,
            "claims": claims.path,
            "runs": margined.request.runs,
            "pools": tmp_path / "pools",
            "shards": SHARDS,
        }
        return PoolRequest(**(given | options))

    return request


def finish(request, report, point=None):
    process = PROCESSES.Process(target=killed_pool.start, args=(request, report, point))
    process.start()
    process.join(120)
    assert process.exitcode is not None, "the run hangs"
    return process.exitcode


def run_to_its_end(request, report):
    assert finish(request, report) == 0
    return json.loads(report.read_text())


def assert_sound(pool, faultless):
    """The data of a visible run is what its manifest says, and what a quiet run gives."""
    for group, digest in pool.manifest["digests"].items():
        assert dataset_digest(pool.groups[group]) == digest
    assert pool.manifest["digest"] == faultless.manifest["digest"]


# What is left to do after a death: which shards are pooled, and whether the run is there already.
LEFT = {
    "template committed": ([0, 1, 2, 3, 4], False),
    "counted": ([0, 1, 2, 3, 4], False),
    "half a shard written": ([0, 1, 2, 3, 4], False),
    "four shards written": ([2, 3, 4], False),
    "four shards committed": ([4], False),
    "all shards committed": ([], False),
    "folded": ([], False),
    "results written": ([], False),
    "run named": ([], True),
    "main moved": ([], True),
    "published": ([], True),
}
QUICK = ("half a shard written", "four shards committed", "run named")


@pytest.mark.parametrize(
    "point",
    [
        pytest.param(point, marks=() if point in QUICK else pytest.mark.slow)
        for point in killed_pool.POINTS
    ],
)
def test_a_killed_run_is_invisible_and_the_next_start_finishes_it(
    point, request_of, faultless, tmp_path
):
    request, report = request_of(), tmp_path / "report.json"
    pooled, visible = LEFT[point]
    assert finish(request, report, point) == -signal.SIGKILL
    assert not report.exists()
    store = RunStore(request.pools, POOL)
    if visible:
        assert_sound(store.read("latest"), faultless)
    else:
        assert store.manifests() == []
        with pytest.raises(UnknownRun):
            store.read("latest")

    done = run_to_its_end(request, report)
    assert (done["pooled"], done["recognised"]) == (pooled, visible)
    store = RunStore(request.pools, POOL)
    assert [manifest["run_id"] for manifest in store.manifests()] == [done["run"]]
    assert_sound(store.read("latest"), faultless)

    again = run_to_its_end(request, report)
    assert (again["recognised"], again["pooled"]) == (True, [])
    assert len(RunStore(request.pools, POOL).manifests()) == 1


@pytest.mark.slow
def test_a_run_may_be_finished_with_another_number_of_shards(request_of, faultless, tmp_path):
    report = tmp_path / "report.json"
    assert finish(request_of(), report, "four shards committed") == -signal.SIGKILL
    done = run_to_its_end(request_of(shards=1), report)
    assert done["pooled"] == [0]
    assert_sound(RunStore(tmp_path / "pools", POOL).read(), faultless)
