"""Ray workers that die with a shard half written: the shard is done again, and nothing changes."""

import os
import signal
import threading
import time

import icechunk
import numpy as np
import psutil
import pytest

from infra.chaos.processes import wait_for
from storage.runs import RunStore
from workers.engine import TaskLost, WorkersDiffer
from workers.ray_engine import IN_FLIGHT_PER_WORKER, OBJECT_STORE_BYTES

pytestmark = pytest.mark.slow

ACCOUNTS = 28_000


@pytest.fixture(scope="module")
def ray_engine():
    from workers.ray_engine import RayEngine

    engine = RayEngine(2)
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def book(synthetic_book):
    return synthetic_book(ACCOUNTS)


@pytest.fixture(scope="module")
def faultless(book, margin_of):
    return margin_of(book, shards=7)


class Deadly:
    """Ray, with tasks that end their worker when half of their output is written."""

    name = "deadly"

    def __init__(self, engine, folder, shards, times=1, task="margin_shard"):
        self.engine, self.workers, self.task = engine, engine.workers, task
        self.folder, self.shards, self.times = str(folder), tuple(shards), times
        self.delivered = []

    def map(self, function, shared, items):
        """Let the chosen shards die as often as wanted; each death leaves a file behind."""
        folder, shards, times, task = self.folder, self.shards, self.times, self.task

        def dying(given, item):
            if function.__name__ != task or item.index not in shards:
                return function(given, item)
            deaths = sum(name.startswith(f"{item.index}-") for name in os.listdir(folder))
            if deaths >= times:
                return function(given, item)
            from storage.staging import Fork

            write = Fork.write

            def half(fork, group, arrays, start):
                write(fork, group, arrays, start)
                open(os.path.join(folder, f"{item.index}-{os.getpid()}"), "w").close()
                os.kill(os.getpid(), signal.SIGKILL)

            Fork.write = half
            return function(given, item)

        dying.__name__ = function.__name__  # what is lost is told by it
        for result in self.engine.map(dying, shared, items):
            if function.__name__ == task:
                self.delivered.append(result.shard.index)
            yield result

    def describe(self):
        return self.engine.describe()


def deaths(folder):
    return sorted(int(name.split("-")[0]) for name in os.listdir(folder))


@pytest.mark.parametrize("shards", [(3,), (0, 1, 2, 3, 4, 5, 6)])
def test_a_shard_whose_worker_dies_is_done_again(
    book, faultless, margin_of, ray_engine, tmp_path, shards
):
    marks = tmp_path / "marks"
    marks.mkdir()
    engine = Deadly(ray_engine, marks, shards)
    done = margin_of(book, shards=7, engine=engine, runs=tmp_path / "runs")
    assert deaths(marks) == list(shards)
    assert sorted(engine.delivered) == list(range(7))
    assert done.digest == faultless.digest
    assert len(done.store.manifests()) == 1


def test_a_shard_of_a_collateral_run_is_done_again_too(
    book, faultless, claims_of, pool_of, ray_engine, tmp_path
):
    marks = tmp_path / "marks"
    marks.mkdir()
    claims = claims_of(book)
    quiet = pool_of(faultless, claims)
    engine = Deadly(ray_engine, marks, (0, 3, 6), task="pool_shard")
    pools = tmp_path / "pools"
    done = pool_of(faultless, claims, shards=7, engine=engine, pools=pools)
    assert deaths(marks) == [0, 3, 6]
    assert sorted(engine.delivered) == list(range(7))
    assert done.manifest["digest"] == quiet.manifest["digest"]
    assert len(done.store.manifests()) == 1


def test_a_shard_that_kills_every_worker_ends_the_run_and_not_the_store(
    book, faultless, margin_of, ray_engine, tmp_path
):
    """A bounded number of tries, a named error, and the other shards are not in vain."""
    marks = tmp_path / "marks"
    marks.mkdir()
    engine = Deadly(ray_engine, marks, (3,), times=1_000)
    with pytest.raises(TaskLost, match=r"margin_shard of .*index=3.* was tried 4 times and ended"):
        margin_of(book, shards=7, engine=engine, runs=tmp_path / "runs")
    assert deaths(marks) == [3, 3, 3, 3]
    assert RunStore(tmp_path / "runs").manifests() == []
    done = margin_of(book, shards=7, engine=ray_engine, runs=tmp_path / "runs")
    assert done.digest == faultless.digest


@pytest.mark.parametrize("error", [ZeroDivisionError("by nothing"), icechunk.IcechunkError("full")])
def test_an_error_in_a_task_keeps_its_name(ray_engine, error):
    """Also one of a library's own extension, of which Ray can make no class of its own."""

    def fail(shared, item):
        raise shared

    with pytest.raises(type(error)) as found:
        list(ray_engine.map(fail, error, [1]))
    assert type(found.value) is type(error)
    assert str(found.value) == str(error)


class Told(BaseException):
    """What a handler of a signal raises."""


def test_what_a_handler_raises_while_a_result_is_waited_for_comes_up(ray_engine):
    """Ray's library itself would lose it, or make an exit with 1 of it."""

    def tell(*_):
        raise Told

    before = signal.signal(signal.SIGTERM, tell)
    try:
        threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGTERM)).start()
        with pytest.raises(Told):
            list(ray_engine.map(lambda shared, item: time.sleep(4.0), None, [0]))
    finally:
        signal.signal(signal.SIGTERM, before)


def test_every_worker_dies_at_once(book, faultless, margin_of, ray_engine, tmp_path):
    """The processes that compute are killed from outside while they do."""
    marks = tmp_path / "marks"
    marks.mkdir()
    folder = str(marks)

    class Slow(Deadly):
        def map(self, function, shared, items):
            def marked(given, item):
                open(os.path.join(folder, f"{item.index}-{os.getpid()}"), "w").close()
                if function.__name__ == "margin_shard" and len(os.listdir(folder)) < 12:
                    time.sleep(0.5 + item.index % 2)  # not all end at once
                return function(given, item)

            if function.__name__ != "margin_shard":
                yield from self.engine.map(function, shared, items)
                return
            results = self.engine.map(marked, shared, items)
            yield next(results)
            begun = os.listdir(folder)
            while os.listdir(folder) == begun:
                time.sleep(0.01)  # until a task has just begun, which takes half a second
            kill_those_named_in(folder)
            yield from results

    def kill_those_named_in(folder):
        own = {child.pid for child in psutil.Process().children(recursive=True)}
        for name in os.listdir(folder):
            pid = int(name.split("-")[1])
            if pid in own and psutil.pid_exists(pid):
                os.kill(pid, signal.SIGKILL)

    engine = Slow(ray_engine, marks, ())
    done = margin_of(book, shards=7, engine=engine, runs=tmp_path / "runs")
    assert done.digest == faultless.digest
    assert len(deaths(marks)) > 7


def test_a_task_that_is_stuck_is_started_twice_and_counts_once(
    book, faultless, margin_of, ray_engine, tmp_path, monkeypatch
):
    """Its process is stopped, and ended in the end by the test."""
    monkeypatch.setattr("workers.ray_engine.STALLED_SECONDS", 2.0)
    monkeypatch.setattr("workers.ray_engine.STALLED_TIMES", 1)
    mark = tmp_path / "stopped"

    class Stopping(Deadly):
        def map(self, function, shared, items):
            path = str(mark)

            def stopping(given, item):
                if function.__name__ == "margin_shard" and item.index == 3:
                    try:
                        with open(path, "x") as file:
                            file.write(str(os.getpid()))
                        os.kill(os.getpid(), signal.SIGSTOP)
                    except FileExistsError:
                        pass
                return function(given, item)

            for result in self.engine.map(stopping, shared, items):
                if function.__name__ == "margin_shard":
                    self.delivered.append(result.shard.index)
                yield result

    engine = Stopping(ray_engine, tmp_path, ())
    try:
        done = margin_of(book, shards=7, engine=engine, runs=tmp_path / "runs")
    finally:
        pid = int(mark.read_text())
        if pid in {child.pid for child in psutil.Process().children(recursive=True)}:
            os.kill(pid, signal.SIGKILL)
    assert sorted(engine.delivered) == list(range(7))
    assert done.digest == faultless.digest


def test_a_worker_of_other_versions_computes_nothing(ray_engine, monkeypatch):
    monkeypatch.setattr(
        "workers.ray_engine._versions", lambda: {"margincube": "of tomorrow", "numpy": "9.9"}
    )
    with pytest.raises(WorkersDiffer, match=r"has margincube .*, the run was started with of tom"):
        list(ray_engine.map(lambda shared, item: item, None, [1]))


def test_a_worker_that_gets_no_memory_says_so(ray_engine):
    def greedy(_, item):
        import resource

        import numpy as np

        kept = resource.getrlimit(resource.RLIMIT_AS)
        limit = 1 << 20
        resource.setrlimit(resource.RLIMIT_AS, (limit, kept[1]))
        try:
            return np.ones(1 << item).sum()
        finally:
            resource.setrlimit(resource.RLIMIT_AS, kept)

    with pytest.raises(MemoryError, match="Unable to allocate"):
        list(ray_engine.map(greedy, None, [28]))


def test_results_larger_than_the_store_of_objects_all_arrive(ray_engine, tmp_path):
    """What is on its way at a time is more than the store holds, and waits for a slow reader."""
    numbers, in_flight = 18_000_000, IN_FLIGHT_PER_WORKER * ray_engine.workers
    pulled, begun = [], tmp_path / "begun"
    begun.mkdir()

    def items():
        for number in range(8):
            pulled.append(number)
            yield number

    def large(folder, item):
        open(os.path.join(folder, str(item)), "w").close()
        return np.full(numbers, float(item))

    arrived = []
    for result in ray_engine.map(large, str(begun), items()):
        arrived.append(result[0])
        if len(arrived) == 1:
            # A worker begins when it has delivered: all but one of each are in the store by then.
            wait_for(lambda: len(os.listdir(begun)) == len(pulled) == in_flight, 60)
            assert (in_flight - ray_engine.workers) * result.nbytes > OBJECT_STORE_BYTES
        assert len(pulled) - len(arrived) < in_flight
        assert (result == result[0]).all()
    assert sorted(arrived) == list(range(8))
