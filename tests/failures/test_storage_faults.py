"""Damage to what is stored is an error or a hole, never another number; a hole is not published."""

import random
import shutil

import numpy as np
import pytest

from storage.faults import StoreFailed
from storage.runs import RunStore
from storage.staging import Fork
from workers.engine import SerialEngine
from workers.fold import IncompleteRun
from workers.margin_run import MarginRun
from workers.plan import RunRequest

ACCOUNTS = 9_000
GROUPS = ("accounts", "blocks", "cube", "folds", "scenarios", "instruments", "market")


@pytest.fixture(scope="module")
def book(synthetic_book):
    return synthetic_book(ACCOUNTS)


@pytest.fixture(scope="module")
def published(book, margin_of):
    return margin_of(book, shards=3)


@pytest.fixture
def copy(published, tmp_path):
    """A copy of the store, to be damaged."""
    shutil.copytree(published.store.path, tmp_path / "runs")
    return tmp_path / "runs"


def read_all(path):
    """Return the manifest and every array of the only run, as bytes and lists."""
    run = RunStore(path).open()
    found = {("manifest", ""): run.manifest}
    for group in GROUPS:
        dataset = getattr(run, group)
        for name in dataset.variables:
            values = dataset[name].values
            found[group, name] = values.astype(object) if values.dtype.kind == "T" else values
    return found


@pytest.fixture(scope="module")
def truth(published):
    return read_all(published.store.path)


def is_hole(values):
    """Whether each element says of itself that it is missing; False is, for it admits nothing."""
    if values.dtype.kind == "f":
        return np.isnan(values)
    if values.dtype.kind == "i":
        return values == np.iinfo(values.dtype).min
    if values.dtype.kind == "M":
        return np.isnat(values)
    if values.dtype.kind == "b":
        return ~values
    return values == ""


def equal(one, other):
    return (one == other) | (is_hole(one) & is_hole(other))


def assert_true_or_a_hole(found, truth):
    assert found["manifest", ""] == truth["manifest", ""]
    for key in truth.keys() - {("manifest", "")}:
        assert found[key].shape == truth[key].shape
        assert (equal(found[key], truth[key]) | is_hole(found[key])).all(), key


def damaged(path, raw, how, number):
    generator = random.Random(f"{path.name}{number}")
    if how == "flip":
        at, bad = generator.randrange(len(raw)), bytearray(raw)
        bad[at] ^= 1 << generator.randrange(8)
        path.write_bytes(bad)
    elif how == "truncate":
        path.write_bytes(raw[: generator.randrange(len(raw))])
    elif how == "zeros":
        at = generator.randrange(len(raw))
        path.write_bytes(raw[:at] + bytes(len(raw) - at))
    else:
        path.unlink()


def files_of(path, kind):
    return sorted(file for file in (path / "repository" / kind).iterdir() if file.stat().st_size)


@pytest.mark.parametrize("how", ["flip", "truncate", "delete"])
def test_a_damaged_chunk_is_an_error_at_the_first_read(copy, truth, how):
    """A stored array either reads as it was written, or does not read."""
    files = files_of(copy, "chunks")
    assert len(files) > 40
    for number, file in enumerate(random.Random(how).sample(files, 5)):
        raw = file.read_bytes()
        damaged(file, raw, how, number)
        with pytest.raises(Exception, match=r".") as caught:
            read_all(copy)
        assert not isinstance(caught.value, AssertionError)
        file.write_bytes(raw)
    assert_true_or_a_hole(read_all(copy), truth)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["chunks", "manifests", "snapshots", "transactions"])
@pytest.mark.parametrize("how", ["flip", "truncate", "zeros", "delete"])
def test_no_damage_to_any_file_makes_another_number(copy, truth, kind, how):
    """Where the damage is to the index of chunks, a chunk may be lost; it then reads as a hole."""
    refused, files = 0, files_of(copy, kind)
    for number, file in enumerate(random.Random(how).sample(files, min(len(files), 30))):
        raw = file.read_bytes()
        for turn in range(3 if how == "flip" else 1):
            damaged(file, raw, how, 10 * number + turn)
            try:
                found = read_all(copy)
            except Exception:
                refused += 1
            else:
                assert kind != "chunks" or how == "flip"
                assert_true_or_a_hole(found, truth)
            file.write_bytes(raw)
    assert refused or kind == "transactions"
    assert_true_or_a_hole(read_all(copy), truth)


class Losing(SerialEngine):
    """Loses the task of one item, without a word."""

    name = "losing"

    def __init__(self, task, index):
        self.task, self.index = task, index

    def map(self, function, shared, items):
        for item in items:
            if function.__name__ != self.task or item.index != self.index:
                yield function(shared, item)


def stages(request, engine):
    fold = SerialEngine()
    with MarginRun(request, lambda: engine, lambda: fold) as run:
        if not run.prepare():
            run.compute()
            run.publish()


@pytest.fixture
def request_of(book, small_methodology, tmp_path):
    return RunRequest(
        book=book.path, methodology=str(small_methodology), runs=tmp_path / "runs", shards=3
    )


@pytest.mark.parametrize(
    ("task", "index", "problem"),
    [
        ("margin_shard", 1, "4096 accounts were never written"),
        ("price_block", 2, "the cube holds no number for instrument row 256"),
    ],
)
def test_a_run_that_lost_a_task_is_refused_and_the_next_start_mends_it(
    request_of, published, task, index, problem
):
    with pytest.raises(IncompleteRun, match=problem):
        stages(request_of, Losing(task, index))
    store = RunStore(request_of.runs)
    assert store.manifests() == []
    stages(request_of, SerialEngine())
    assert RunStore(request_of.runs).open().manifest["digest"] == published.digest


def test_a_run_without_the_sums_of_a_block_is_refused(request_of, monkeypatch):
    write = Fork.write

    def forgetful(fork, group, arrays, start):
        if (group, start) != ("blocks", 1):
            write(fork, group, arrays, start)

    monkeypatch.setattr(Fork, "write", forgetful)
    with pytest.raises(IncompleteRun, match="sums over blocks of accounts were never written"):
        stages(request_of, SerialEngine())
    assert RunStore(request_of.runs).manifests() == []


@pytest.mark.parametrize(
    ("name", "change", "problem"),
    [
        ("requirement", lambda values: values * 1.01, "do not agree with themselves"),
        ("equity", lambda values: values + 1.0, "do not agree with themselves"),
        ("margin", lambda values: values[::-1], "do not agree with themselves"),
        ("excess", lambda values: np.full_like(values, np.nan), "do not agree with themselves"),
        ("status", lambda values: np.full_like(values, -128), "were never written"),
    ],
)
def test_numbers_that_changed_on_their_way_are_refused(
    request_of, monkeypatch, name, change, problem
):
    write = Fork.write

    def bend(fork, group, arrays, start):
        if group == "accounts" and start == 4096:
            arrays = {**arrays, name: change(arrays[name])}
        write(fork, group, arrays, start)

    monkeypatch.setattr(Fork, "write", bend)
    with pytest.raises(IncompleteRun, match=problem):
        stages(request_of, SerialEngine())
    assert RunStore(request_of.runs).manifests() == []


def test_a_book_that_changed_under_the_run_is_refused(request_of, book, tmp_path, monkeypatch):
    """The digest is looked at again where the shards are read."""
    moved = tmp_path / "book"
    shutil.copytree(book.path, moved)
    inputs = MarginRun._margin_inputs

    def another(self):
        found = inputs(self)
        shutil.rmtree(moved)
        return found

    monkeypatch.setattr(MarginRun, "_margin_inputs", another)
    request = RunRequest(
        book=moved, methodology=request_of.methodology, runs=tmp_path / "runs", shards=3
    )
    with pytest.raises(ValueError, match="no book at"):
        stages(request, SerialEngine())
    assert RunStore(request.runs).manifests() == []


class Noting(SerialEngine):
    """Notes which shards are margined."""

    def __init__(self):
        self.margined = []

    def map(self, function, shared, items):
        for item in items:
            if function.__name__ == "margin_shard":
                self.margined.append(item.index)
            yield function(shared, item)


class Died(Exception):
    """Stands for the end of a process whose shards are all committed."""


def die(self):
    raise Died


def damage_the_largest_chunk(runs, how):
    largest = max(files_of(runs, "chunks"), key=lambda file: file.stat().st_size)
    damaged(largest, largest.read_bytes(), how, 1)


@pytest.mark.parametrize("how", ["flip", "truncate", "zeros", "delete"])
def test_a_damaged_checkpoint_is_computed_again(request_of, published, monkeypatch, how):
    """A process died after its shards were committed; a chunk of one is damaged meanwhile."""
    with monkeypatch.context() as patched:
        patched.setattr(MarginRun, "fold", die)
        with pytest.raises(Died):
            stages(request_of, SerialEngine())
    damage_the_largest_chunk(request_of.runs, how)
    engine = Noting()
    stages(request_of, engine)
    assert len(engine.margined) == 1
    assert RunStore(request_of.runs).open().manifest["digest"] == published.digest


@pytest.mark.parametrize("how", ["flip", "truncate", "delete"])
def test_damage_after_the_last_shard_is_found_before_publication(request_of, monkeypatch, how):
    fold = MarginRun.fold

    def late(self):
        damage_the_largest_chunk(request_of.runs, how)
        fold(self)

    with monkeypatch.context() as patched:
        patched.setattr(MarginRun, "fold", late)
        with pytest.raises((ValueError, StoreFailed)):
            stages(request_of, SerialEngine())
    assert RunStore(request_of.runs).manifests() == []
    stages(request_of, SerialEngine())
    assert len(RunStore(request_of.runs).manifests()) == 1
