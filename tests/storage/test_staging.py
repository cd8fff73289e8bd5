"""Writing a run in parts: chunks of one's own, checkpoints, and what is refused."""

import pickle
import random

import icechunk
import numpy as np
import pytest
import zarr

from storage.arrays import ACCOUNTS, BLOCKS, CUBE
from storage.locks import AlreadyLocked
from storage.runs import RunStore
from storage.staging import Layout

SIZES = {"account": 25, "block": 5, "instrument": 7, "scenario": 6, "layer": 3, "measure": 2}
CHUNKS = {"account": 10, "block": 2, "instrument": 3}
LABELS = {
    "instrument": [f"i{n}" for n in range(7)],
    "scenario": [f"s{n}" for n in range(6)],
    "layer": ["base", "stress", "short_option"],
    "measure": ["one", "other"],
}
LAYOUT = Layout(SIZES, CHUNKS, LABELS)
GROUPS = {"cube": CUBE, "accounts": ACCOUNTS, "blocks": BLOCKS}


def values_of(group, start, stop, seed=0):
    """Rows ``start:stop`` of every array of a group, the same wherever they are cut."""
    rng = np.random.default_rng(seed)
    rows = {}
    for variable in GROUPS[group]:
        shape = [SIZES[dim] for dim in variable.dims]
        numbers = rng.normal(size=shape) * 50
        rows[variable.name] = numbers.astype(variable.dtype)[start:stop]
    if group == "accounts":
        rows["status"] = np.zeros(stop - start, dtype=np.int8)
    return rows


def chunks_of(group):
    first = GROUPS[group][0].dims[0]
    starts = range(0, SIZES[first], CHUNKS[first])
    return [(start, min(start + CHUNKS[first], SIZES[first])) for start in starts]


@pytest.fixture
def store(tmp_path):
    return RunStore(tmp_path)


@pytest.fixture
def staged(store):
    return store.stage("run", LAYOUT, "key")


def travel(fork):
    """Send a fork to a worker and back, as every engine but the serial one does."""
    return pickle.loads(pickle.dumps(fork))


def test_nothing_reads_as_a_number_before_it_is_written(staged):
    for group, variables in GROUPS.items():
        read = staged.read(group)
        assert set(read.data_vars) == {variable.name for variable in variables}
        for variable in variables:
            values = read[variable.name].values
            assert values.shape == tuple(SIZES[dim] for dim in variable.dims)
            assert values.dtype == variable.dtype
            if values.dtype.kind == "f":
                assert np.isnan(values).all()
            else:
                assert (values == np.iinfo(values.dtype).min).all()
            assert read[variable.name].attrs == {
                "units": variable.unit,
                "long_name": variable.meaning,
            }
            for dim in set(variable.dims) & set(LABELS):
                assert read[dim].values.tolist() == LABELS[dim]


@pytest.mark.parametrize("order", range(20))
def test_forks_that_travelled_write_the_same_run_in_any_order(staged, order):
    work = [(group, *rows) for group in GROUPS for rows in chunks_of(group)]
    random.Random(order).shuffle(work)
    forks = []
    for group, start, stop in work:
        fork = travel(staged.fork())
        fork.write(group, values_of(group, start, stop), start)
        forks.append(travel(fork))
    random.Random(-order).shuffle(forks)
    staged.checkpoint(forks, "all")
    for group, variables in GROUPS.items():
        read = staged.read(group)
        whole = values_of(group, 0, None if group != "accounts" else 25)
        for variable in variables:
            assert read[variable.name].values.tobytes() == whole[variable.name].tobytes()
        if group != "blocks":
            assert staged.written(group) == {start for start, _ in chunks_of(group)}


def test_a_result_that_is_delivered_twice_changes_nothing(staged):
    first, again = travel(staged.fork()), travel(staged.fork())
    for fork in (first, again):
        fork.write("cube", values_of("cube", 0, 3), 0)
    staged.checkpoint([first, again, again], "twice")
    assert staged.read("cube")["pnl"].values[:3].tobytes() == (
        values_of("cube", 0, 3)["pnl"].tobytes()
    )
    assert staged.written("cube") == {0}


@pytest.mark.parametrize(
    ("start", "stop"), [(1, 10), (0, 9), (5, 15), (9, 19), (10, 24), (20, 24), (0, 11)]
)
def test_rows_that_cut_a_chunk_are_refused(staged, start, stop):
    """Two writers of one chunk would lose one of the writes without a word."""
    fork = staged.fork()
    with pytest.raises(ValueError, match=rf"rows {start}:{stop} cut a chunk of 10 rows"):
        fork.write("accounts", values_of("accounts", start, stop), start)


@pytest.mark.parametrize(("start", "stop"), [(20, 30), (30, 40)])
def test_rows_beyond_the_end_are_refused(staged, start, stop):
    fork = staged.fork()
    with pytest.raises(ValueError, match=rf"has 25 rows; {start}:{stop} are not there"):
        fork.write("accounts", {"equity": np.zeros(stop - start)}, start)


def test_rows_of_several_chunks_may_be_written_at_once(staged):
    fork = staged.fork()
    fork.write("accounts", values_of("accounts", 10, 25), 10)
    staged.checkpoint([fork], "two chunks")
    assert staged.written("accounts") == {10, 20}


def test_what_is_not_checkpointed_is_not_there(store, staged):
    fork = staged.fork()
    fork.write("cube", values_of("cube", 0, 3), 0)
    assert staged.written("cube") == set()
    taken_up = RunStore(store.path).stage("run", LAYOUT, "key")
    assert taken_up.written("cube") == set()
    staged.checkpoint([fork], "first")
    assert RunStore(store.path).stage("run", LAYOUT, "key").written("cube") == {0}


def test_a_zero_is_a_number_and_a_loss_of_nothing_is_written(staged):
    fork = staged.fork()
    fork.write("cube", {"pnl": np.zeros((3, 6))}, 0)
    staged.checkpoint([fork], "zeros")
    assert staged.written("cube") == {0}


def test_another_layout_begins_anew_and_the_same_goes_on(store, staged):
    fork = staged.fork()
    fork.write("cube", values_of("cube", 0, 3), 0)
    staged.checkpoint([fork], "first")
    assert store.stage("run", LAYOUT, "key").written("cube") == {0}
    assert store.stage("other", LAYOUT, "key").written("cube") == set()
    finer = Layout(SIZES, {**CHUNKS, "account": 5}, LABELS)
    assert store.stage("run", finer, "key").written("cube") == set()
    renamed = Layout(SIZES, CHUNKS, {**LABELS, "layer": ["base", "stress", "floor"]})
    assert store.stage("run", renamed, "key").read("accounts")["layer"].values[-1] == "floor"


def test_a_writer_that_comes_back_after_another_took_over_is_refused(store, staged):
    """Its fork is of a state that is gone; what the other committed stays."""
    late = staged.fork()
    late.write("cube", values_of("cube", 0, 3, seed=1), 0)
    other = RunStore(store.path).stage("run", LAYOUT, "key")
    fork = other.fork()
    fork.write("cube", values_of("cube", 0, 3), 0)
    other.checkpoint([fork], "took over")
    with pytest.raises(AlreadyLocked, match="another process committed to staging-run"):
        staged.checkpoint([late], "too late")
    found = store.stage("run", LAYOUT, "key").read("cube")["pnl"].values[:3]
    assert found.tobytes() == values_of("cube", 0, 3)["pnl"].tobytes()


def test_a_commit_that_fails_may_be_tried_again(staged, monkeypatch):
    """A full disk, say: what the forks wrote is given up, and the stage starts over."""
    fork = staged.fork()
    fork.write("cube", values_of("cube", 0, 3), 0)

    def no_space(*_, **__):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(icechunk.Session, "commit", no_space)
        with pytest.raises(OSError, match="No space left"):
            staged.checkpoint([fork], "first try")
    assert staged.written("cube") == set()
    fork = staged.fork()
    fork.write("cube", values_of("cube", 0, 3), 0)
    staged.checkpoint([fork], "second try")
    assert staged.written("cube") == {0}


def test_every_chunk_carries_a_checksum(staged):
    for group, variables in GROUPS.items():
        for variable in variables:
            array = zarr.open_array(
                store=staged._session.store, path=f"{group}/{variable.name}", mode="r"
            )
            packed = [] if variable.dtype.startswith("float") else ["ZstdCodec"]
            codecs = [type(codec).__name__ for codec in array.compressors]
            assert codecs == [*packed, "Crc32cCodec"], variable.name
