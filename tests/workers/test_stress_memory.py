"""What a stress run will take is told before; fewer scenarios go together, or it is refused."""

import doctest
from dataclasses import replace

import pytest

import workers.stress.memory
from tests.workers.stressed import plan_file
from workers.engine import SerialEngine
from workers.memory import Limit, Room, TooLargeForMemory
from workers.stress.memory import StressSize, fitting_batch, project_stress
from workers.stress.request import StressRequest
from workers.stress.run import StressRun

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


def test_a_run_keeps_what_was_projected_beside_what_it_took(synthetic_book, margin_of, tmp_path):
    margined = margin_of(synthetic_book(9_000))
    request = StressRequest(
        run=margined.run.run_id,
        plan=plan_file(tmp_path),
        runs=margined.request.runs,
        stresses=tmp_path / "stresses",
        shards=1,
    )
    engine = SerialEngine()
    with StressRun(request, lambda: engine) as run:
        assert not run.prepare()
        run.stress()
        memory = run.publish()["memory"]
    assert (memory["batch"], memory["batch_cut_smaller"]) == (12, False)
    assert memory["peak_per_worker"] > 10**8
    assert memory["projected_total"] == run.work.projection.total
    room = Room(Limit(memory["projected_total"] - 1, "container"), workers=1)
    again = replace(request, stresses=tmp_path / "small")
    with StressRun(again, lambda: engine, rooms=lambda: [room]) as small:
        assert not small.prepare()
    assert len(small.work.batches) == 2
    assert small.work.projection.total < room.limit.size


def test_the_examples_hold():
    found = doctest.testmod(workers.stress.memory)
    assert (found.attempted > 0, found.failed) == (True, 0)
