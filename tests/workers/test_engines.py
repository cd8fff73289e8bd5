"""The same bits from every engine, however the accounts are cut and whatever order they come in."""

import functools
import operator
import random
import time

import pytest
import xarray as xr

from workers.dask_engine import DaskEngine
from workers.engine import SerialEngine

ACCOUNTS = 28_000
"""Seven blocks, so that seven shards are seven."""

MANY_ACCOUNTS = 64 * 4_096 - 1_000


class Shuffled(SerialEngine):
    """Runs the items in a random order."""

    name = "shuffled"

    def __init__(self, seed):
        self.random = random.Random(seed)

    def map(self, function, shared, items):
        items = list(items)
        self.random.shuffle(items)
        return (function(shared, item) for item in items)


class Twice(SerialEngine):
    """Delivers every result twice, as a scheduler that lost an answer may."""

    name = "twice"

    def map(self, function, shared, items):
        for item in items:
            yield function(shared, item)
            yield function(shared, item)


@pytest.fixture(scope="module")
def book(synthetic_book):
    return synthetic_book(ACCOUNTS)


@pytest.fixture(scope="module")
def alone(book, margin_of):
    """One shard, one thread, one process."""
    return margin_of(book, shards=1)


def assert_same(done, reference, shards):
    """Every array has the same bits, which the digests say and the arrays themselves confirm."""
    chunk = done.run.accounts["margin"].encoding["chunks"][0]
    assert -(-done.run.accounts.sizes["account"] // chunk) == shards
    assert done.run.manifest["digests"] == reference.run.manifest["digests"]
    assert done.digest == reference.digest
    for group in ("accounts", "blocks", "cube", "folds", "scenarios", "instruments", "market"):
        ours, theirs = getattr(done.run, group).load(), getattr(reference.run, group).load()
        xr.testing.assert_identical(ours, theirs)
        for name in ours.data_vars:
            if ours[name].dtype.kind in "fiub":
                assert ours[name].values.tobytes() == theirs[name].values.tobytes(), name


@pytest.mark.parametrize(
    ("shards", "threads", "engine", "fold"),
    [
        (2, 1, SerialEngine(), SerialEngine()),
        (7, 2, SerialEngine(), DaskEngine(2)),
        (7, 1, DaskEngine(2), DaskEngine(2)),
        pytest.param(2, 2, DaskEngine(2), SerialEngine(), marks=pytest.mark.slow),
        (7, 1, Shuffled(1), SerialEngine()),
        (7, 1, Twice(), SerialEngine()),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_the_same_bits_however_the_work_is_cut(
    book, alone, margin_of, shards, threads, engine, fold
):
    done = margin_of(book, shards=shards, threads=threads, engine=engine, fold=fold)
    assert_same(done, alone, shards)


@pytest.mark.slow
def test_settings_are_recorded_and_take_no_part_in_the_key(book, alone, margin_of):
    done = margin_of(book, shards=7, threads=2, engine=Shuffled(2))
    assert done.run.run_id == alone.run.run_id
    assert done.run.manifest["settings"]["shards"] == "7"
    assert done.run.manifest["settings"]["threads"] == "2"
    assert_same(done, alone, 7)


@pytest.mark.parametrize("leaves", [1, 2, 3, 5, 8, 13])
def test_every_engine_folds_the_same_tree(leaves):
    def fold(engine):
        calls = [functools.partial(str, number) for number in range(leaves)]
        return engine.reduce(calls, lambda left, right: f"({left} {right})")

    expected = fold(SerialEngine())
    assert expected.replace("(", "").replace(")", "").split() == list(map(str, range(leaves)))
    assert fold(DaskEngine(2)) == expected
    assert fold(DaskEngine(1, "sync")) == expected


def test_dask_yields_each_result_once_and_raises_what_a_task_raises():
    found = DaskEngine(2).map(operator.add, 10, iter(range(37)))
    assert sorted(found) == list(range(10, 47))
    with pytest.raises(ZeroDivisionError):
        list(DaskEngine(2).map(operator.floordiv, 1, [1, 0]))


@pytest.fixture(scope="module")
def ray_engine():
    from workers.ray_engine import RayEngine

    engine = RayEngine(2)
    yield engine
    engine.close()


def test_ray_tells_whether_its_workers_are_warm(ray_engine, monkeypatch):
    import ray

    assert not ray_engine.is_warming()
    warm = ray.remote(lambda: time.sleep(1.0))
    monkeypatch.setattr(ray_engine, "_warming", [warm.remote()])
    assert ray_engine.is_warming()
    ray_engine.wait_warm()
    assert not ray_engine.is_warming()


def test_ray_gives_the_bits_of_one_process(book, alone, margin_of, ray_engine):
    fold = DaskEngine(ray_engine.workers, ray_engine.dask_scheduler())
    done = margin_of(book, shards=7, engine=ray_engine, fold=fold)
    assert_same(done, alone, 7)
    settings = done.run.manifest["settings"]
    assert (settings["engine"], settings["workers"], settings["nodes"]) == ("ray", 2, 1)
    assert (settings["fold_engine"], settings["fold_workers"]) == ("dask", 2)


@pytest.mark.slow
@pytest.mark.parametrize(("shards", "threads"), [(1, 1), (2, 2), (7, 1)])
def test_ray_gives_the_same_bits_for_any_cut(book, alone, margin_of, ray_engine, shards, threads):
    done = margin_of(book, shards=shards, threads=threads, engine=ray_engine)
    assert_same(done, alone, shards)


@pytest.fixture(scope="module")
def large(synthetic_book):
    """Sixty-four blocks: four leaves of the fold, and shards that end inside a leaf."""
    return synthetic_book(MANY_ACCOUNTS)


@pytest.fixture(scope="module")
def whole(large, margin_of):
    return margin_of(large, shards=1)


@pytest.mark.slow
@pytest.mark.parametrize(("shards", "threads"), [(2, 1), (7, 2), (64, 1), (64, 2)])
def test_sixty_four_blocks_serially(large, whole, margin_of, shards, threads):
    done = margin_of(large, shards=shards, threads=threads, fold=DaskEngine(2))
    assert_same(done, whole, shards)


@pytest.mark.slow
@pytest.mark.parametrize("shards", [7, 64])
def test_sixty_four_blocks_on_dask(large, whole, margin_of, shards):
    done = margin_of(large, shards=shards, engine=DaskEngine(2), fold=DaskEngine(2))
    assert_same(done, whole, shards)


@pytest.mark.slow
@pytest.mark.parametrize("shards", [1, 2, 7, 64])
def test_sixty_four_blocks_on_ray_with_dask_folding_on_it(
    large, whole, margin_of, ray_engine, shards
):
    fold = DaskEngine(ray_engine.workers, ray_engine.dask_scheduler())
    done = margin_of(large, shards=shards, engine=ray_engine, fold=fold)
    assert_same(done, whole, shards)
