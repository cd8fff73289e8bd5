"""What a stress run will take is told before; fewer scenarios go together, or it is refused."""

import doctest
import tracemalloc
from dataclasses import replace

import pytest

import workers.stress.memory
from tests.workers.stressed import SMALL_PLAN, plan_file
from workers.engine import SerialEngine
from workers.memory import Limit, Room, TooLargeForMemory
from workers.pool.memory import CLAIM_LED
from workers.reverse.losses import SHOCKS_TOGETHER
from workers.reverse.run import reverse_size
from workers.stress.custody import custody_shard
from workers.stress.memory import CLAIM_HELD, CUBES, StressSize, fitting_batch, project_stress
from workers.stress.request import StressRequest
from workers.stress.run import StressRun
from workers.stress.systems import insulate_shard
from workers.stress.tasks import settle_shard, stress_shard

SIZE = StressSize(
    accounts=1_000_000,
    positions=11_500_000,
    shards=16,
    shard_accounts=65_536,
    shard_positions=750_000,
    instruments=912,
    batch=32,
    deleveraging=False,
)


def here(size):
    return Room(Limit(size, "container"), workers=2, processes=True)


def test_fewer_scenarios_go_together_where_memory_is_small():
    whole = project_stress(SIZE, [here(10**11)]).total
    assert fitting_batch(SIZE, [here(whole)]) == 32
    half = project_stress(replace(SIZE, batch=16), [here(10**11)]).total
    assert half < whole
    assert fitting_batch(SIZE, [here(whole - 1)]) == 16
    with pytest.raises(TooLargeForMemory, match=r"batches of 1 scenarios a stress of 1,000,000 ac"):
        fitting_batch(SIZE, [here(10**9)])


def test_deleveraging_and_further_nodes_take_more():
    alone = project_stress(SIZE, [here(10**11)])
    line = project_stress(
        replace(SIZE, deleveraging=True, shard_positions=3_000_000), [here(10**11)]
    )
    plain = project_stress(replace(SIZE, shard_positions=3_000_000), [here(10**11)])
    assert line.total >= plain.total > alone.total
    both = project_stress(SIZE, [here(10**11), here(10**11)])
    # A node that does not lead holds no state, and neither server nor leader.
    assert alone.total < both.total < 2 * alone.total


def test_claims_and_margin_systems_take_more():
    room = here(10**11)
    claims = replace(SIZE, claims=40_000_000, shard_claims=2_600_000)
    systems = replace(SIZE, arrangements=13, compared=100, members=48, margin_cube=11_000_000)
    alone = project_stress(SIZE, [room])
    for more in (claims, systems):
        found = project_stress(more, [room])
        assert found.total > alone.total
        assert found.per_worker > alone.per_worker
    # Whoever leads decides which claims count, and every machine is given what comes of it.
    led = project_stress(replace(SIZE, claims=40_000_000), [room])
    assert led.total - alone.total == 40_000_000 * (CLAIM_LED + CLAIM_HELD)


def test_a_reverse_stress_is_projected_for_the_shocks_that_go_together():
    assert reverse_size(SIZE, 40).batch == 40
    # Few shocks are found, and many are looked for at once.
    assert CUBES * reverse_size(SIZE, 4).cube >= 2 * 8 * SIZE.instruments * SHOCKS_TOGETHER


class Weighing(SerialEngine):
    """Notes the most that any call of a task allocates, once its kernels are compiled."""

    def __init__(self):
        self.most = {}

    def map(self, function, shared, items):
        for item in items:
            function(shared, item)
            tracemalloc.start()
            result = function(shared, item)
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            self.most[function] = max(self.most.get(function, 0), peak)
            yield result


WALLS = '\n[insulation]\nwalls = ["venue", "chain"]\n'


def test_a_run_takes_no_more_than_was_projected(
    synthetic_book, margin_of, claims_of, pool_of, tmp_path
):
    book = synthetic_book(9_000)
    margined, claims = margin_of(book), claims_of(book)
    pooled = pool_of(margined, claims)
    request = StressRequest(
        run=margined.run.run_id,
        plan=plan_file(tmp_path, SMALL_PLAN + WALLS),
        runs=margined.request.runs,
        stresses=tmp_path / "stresses",
        pool=pooled.pool.run_id,
        pools=pooled.request.pools,
        shards=1,
    )
    engine = Weighing()
    with StressRun(request, lambda: engine) as run:
        assert not run.prepare()
        run.stress()
        memory = run.publish()["memory"]
    assert (memory["batch"], memory["batch_cut_smaller"]) == (12, False)
    assert memory["peak_per_worker"] > 10**8
    assert memory["projected_total"] == run.work.projection.total
    size = run.work.size
    assert (size.claims, size.arrangements) == (claims.claims, 13)
    for task in (stress_shard, settle_shard, custody_shard, insulate_shard):
        assert 0 < engine.most[task] < size.task
    assert engine.most[insulate_shard] < size.arranged < 3 * engine.most[insulate_shard]
    room = Room(Limit(memory["projected_total"] - 1, "container"), workers=1)
    again = replace(request, stresses=tmp_path / "small")
    with StressRun(again, lambda: engine, rooms=lambda: [room]) as small:
        assert not small.prepare()
    assert len(small.work.batches) == 2
    assert small.work.projection.total < room.limit.size


def test_the_examples_hold():
    found = doctest.testmod(workers.stress.memory)
    assert (found.attempted > 0, found.failed) == (True, 0)
