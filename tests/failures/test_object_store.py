"""Runs and books in an object store: the numbers of a local run, whatever happens meanwhile."""

import json
import multiprocessing
import os
import signal
import threading
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from storage import leases
from storage.array_digest import dataset_digest
from storage.book import Book, BookDamaged, BookMissing
from storage.claims import Claims, ClaimsMissing
from storage.locks import AlreadyLocked
from storage.objects import S3Folder
from storage.runs import RunStore, UnknownRun, open_run
from tests.failures import killed_run
from tests.storage.claims_cases import write as write_claims
from workers.engine import SerialEngine
from workers.inputs import book_of
from workers.margin_run import MarginRun
from workers.plan import RunRequest
from workers.pool.explain import explain_pooled

ACCOUNTS = 9_000
SHARDS = 3

# A process that is begun gets the environment of now, which leads to the bucket of the test.
PROCESSES = multiprocessing.get_context("spawn")


@pytest.fixture(scope="module")
def book(synthetic_book):
    return synthetic_book(ACCOUNTS)


@pytest.fixture(scope="module")
def local(book, margin_of):
    return margin_of(book, shards=SHARDS)


@pytest.fixture
def runs(bucket):
    return S3Folder(bucket, "margin/runs")


@pytest.fixture
def request_of(book, small_methodology, runs):
    return RunRequest(book=book.path, methodology=str(small_methodology), runs=runs, shards=SHARDS)


@contextmanager
def begun(request):
    """A margin run that is prepared, and holds the lock of the run."""
    engine = SerialEngine()
    with MarginRun(request, lambda: engine, lambda: engine) as run:
        assert not run.prepare()
        yield run


def finish(run):
    run.margin()
    run.fold()
    run.publish()


def assert_sound(run, local):
    """The data of a visible run is what its manifest says, and what the local run has."""
    for group, digest in run.manifest["digests"].items():
        assert dataset_digest(getattr(run, group)) == digest
    assert run.manifest["digests"] == local.run.manifest["digests"]


def test_a_run_in_a_store_is_the_run_on_a_disk(book, local, margin_of, runs):
    done = margin_of(book, runs=runs, shards=SHARDS)
    assert done.run.run_id == local.run.run_id
    assert_sound(open_run(str(runs)), local)
    assert RunStore(runs).manifests() == [done.run.manifest]
    assert done.run.manifest["settings"]["runs"] == str(runs)
    assert "of a test" not in json.dumps(done.run.manifest)
    repository = done.store._repository
    assert repository.lookup_branch("main") == repository.lookup_tag(done.run.run_id)
    assert set(repository.list_branches()) == {"main"}
    with pytest.raises(UnknownRun, match=f"no run 'x'; published runs are .* in {runs}"):
        open_run(str(runs), "x")
    assert RunStore(S3Folder(runs.bucket, "margin/run")).manifests() == []


@pytest.mark.slow
def test_a_killed_run_is_invisible_and_the_next_start_finishes_it(
    request_of, local, runs, tmp_path, monkeypatch
):
    killed = PROCESSES.Process(
        target=killed_run.start, args=(request_of, tmp_path / "report", "first shards committed")
    )
    killed.start()
    killed.join(120)
    assert killed.exitcode == -signal.SIGKILL
    assert RunStore(runs).manifests() == []
    with (
        pytest.raises(AlreadyLocked, match=f"held by process {killed.pid} on .* ends in"),
        begun(request_of),
    ):
        pass
    monkeypatch.setattr(leases, "LEASE_SECONDS", 2.0)
    time.sleep(2.5)
    with begun(request_of) as resumed:
        assert resumed._staged.written("cube")
        assert resumed._staged.written("accounts") == {0, 4_096}
        finish(resumed)
    assert_sound(RunStore(runs).open(), local)


@pytest.mark.slow
def test_two_starts_of_one_run_compute_it_once(request_of, local, runs):
    with begun(request_of) as first:
        with (
            pytest.raises(AlreadyLocked, match=f"held by process {os.getpid()}"),
            begun(request_of),
        ):
            pass
        first.price()
        finish(first)
    assert_sound(RunStore(runs).open(), local)
    with MarginRun(request_of, SerialEngine, SerialEngine) as recognised:
        assert recognised.prepare()


@pytest.mark.slow
def test_a_process_that_was_silent_too_long_commits_nothing_more(
    request_of, local, runs, monkeypatch
):
    """A stopped container comes back, and finds its lock with another process."""
    with ExitStack() as stack:
        slow = stack.enter_context(begun(request_of))
        slow.price()
        with monkeypatch.context() as patched:
            patched.setattr(leases, "LEASE_SECONDS", 0.0)
            quick = stack.enter_context(begun(request_of))
        for _ in range(2):
            with pytest.raises(AlreadyLocked, match="was taken by another process"):
                slow.margin()
        assert quick._staged.written("accounts") == set()
        finish(quick)
        with pytest.raises(AlreadyLocked, match="another process published the run"):
            slow.margin()
    assert_sound(RunStore(runs).open(), local)


def test_a_commit_is_refused_where_the_lock_alone_would_not_tell(request_of, local, runs):
    """Stopped between its renewal and its commit, a process is refused by the branch."""
    with begun(request_of) as quick:
        late = RunStore(runs).stage(quick.run_id, quick.plan.layout, "key")
        fork = late.fork()
        quick.price()
        pnl = quick._staged.read("cube")["pnl"].values
        length = quick.plan.layout.chunks["instrument"]
        fork.write("cube", {"pnl": pnl[:length] + 1.0}, 0)
        with pytest.raises(AlreadyLocked, match="another process committed to staging-"):
            late.checkpoint([fork], "late")
        finish(quick)
    assert_sound(RunStore(runs).open(), local)


@pytest.mark.slow
def test_runs_that_are_published_side_by_side_are_all_there(
    request_of, small_methodology, runs, tmp_path
):
    """The first to come creates the repository, and the last to be published is the newest."""
    requests = []
    for number in range(3):
        rules = tmp_path / f"rules{number}.toml"
        rules.write_text(small_methodology.read_text() + f"# {number}\n")
        requests.append(
            RunRequest(book=request_of.book, methodology=str(rules), runs=runs, shards=1)
        )
    faults = []

    def make(request):
        try:
            with begun(request) as run:
                run.price()
                finish(run)
        except BaseException as fault:
            faults.append(fault)

    threads = [threading.Thread(target=make, args=(request,)) for request in requests]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert not faults
    store = RunStore(runs)
    names = [manifest["run_id"] for manifest in store.manifests()]
    assert len(set(names)) == 3
    repository = store._repository
    assert repository.lookup_branch("main") == repository.lookup_tag(names[0])
    assert set(repository.list_branches()) == {"main"}


@pytest.fixture
def stored_book(book, bucket, tmp_path, monkeypatch):
    """The book in the bucket, and an empty cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = S3Folder(bucket, "books/mine")
    for file in sorted(book.path.rglob("*")):
        if file.is_file():
            folder.write(str(file.relative_to(book.path)), file.read_bytes(), replacing=None)
    return folder


def cached(book):
    return {str(file.relative_to(book.path)) for file in book.path.rglob("*") if file.is_file()}


def test_a_book_in_a_store_is_the_book_on_a_disk(book, local, stored_book, margin_of, runs):
    stored = Book.open(str(stored_book))
    assert (stored.digest, stored.location) == (book.digest, stored_book)
    assert cached(stored) == set()
    assert stored.position_slice(4_000, 5_000).lots.tolist() == (
        book.position_slice(4_000, 5_000).lots.tolist()
    )
    assert cached(stored) == {"positions/part-00000.parquet"}
    done = margin_of(stored, runs=runs, shards=SHARDS)
    assert_sound(done.run, local)
    assert done.run.run_id == local.run.run_id
    assert cached(stored) <= set(book.manifest["files"])
    assert done.run.manifest["inputs"]["book"]["path"] == str(stored_book)
    assert book_of(done.run).digest == book.digest


def replace(folder, name, content):
    folder.write(name, content, replacing=folder.read(name).tag)


def test_a_stored_file_that_is_another_is_found_when_it_comes(stored_book, margin_of, runs):
    name = "positions/part-00000.parquet"
    content = stored_book.read(name).content
    middle = len(content) // 2
    replace(
        stored_book, name, content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
    )
    stored = Book.open(stored_book)
    with pytest.raises(BookDamaged, match=f"{stored_book}/{name} is not the file"):
        margin_of(stored, runs=runs)
    assert name not in cached(stored)
    assert not [file for file in cached(stored) if ".coming-" in file]
    assert RunStore(runs).manifests() == []
    replace(stored_book, name, content)
    margin_of(stored, runs=runs)


def test_a_stored_book_that_is_not_whole_is_refused(stored_book, margin_of, runs):
    name = "collateral/part-00000.parquet"
    content = stored_book.read(name).content
    whole = Book.open(stored_book)
    replace(stored_book, name, content[:-1])
    with pytest.raises(BookDamaged, match=f"{name} has .* bytes, its manifest says"):
        Book.open(stored_book)
    with pytest.raises(BookDamaged, match=f"{name} has .* bytes, its manifest says"):
        whole.verify()
    with pytest.raises(BookMissing, match="copy the folder of a book there"):
        Book.open(stored_book / "not")


def test_a_half_file_in_the_cache_is_brought_again(book, stored_book):
    stored = Book.open(stored_book)
    stored.members()
    file = stored.path / "members.parquet"
    file.write_bytes(file.read_bytes()[:-7])
    assert Book.open(stored_book).members() == book.members()
    assert Path(file).stat().st_size == book.manifest["files"]["members.parquet"]["bytes"]


def test_another_file_of_the_same_size_in_the_cache_is_brought_again(book, stored_book):
    """Whole in every other way: a table of members that were all renamed."""
    stored = Book.open(stored_book)
    file = stored.path / "members.parquet"
    stored.members()
    raw = file.read_bytes()
    name = book.members()["member"][0].as_py().encode()
    file.write_bytes(raw.replace(name, bytes(reversed(name))))
    assert file.stat().st_size == len(raw)
    assert file.read_bytes() != raw
    assert Book.open(stored_book).members() == book.members()
    assert file.read_bytes() == raw


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_workers_of_ray_read_the_book_from_a_store_and_write_the_run_to_it(
    local, stored_book, margin_of, runs
):
    from workers.dask_engine import DaskEngine
    from workers.ray_engine import RayEngine

    engine = RayEngine(2)
    try:
        fold = DaskEngine(engine.workers, engine.dask_scheduler())
        book = Book.open(stored_book)
        done = margin_of(book, runs=runs, shards=SHARDS, engine=engine, fold=fold)
    finally:
        engine.close()
    assert done.run.manifest["settings"]["engine"] == "ray"
    assert_sound(done.run, local)


def copied(claims, folder):
    """Copy the files of claims into a folder of a store."""
    for file in sorted(claims.path.rglob("*")):
        if file.is_file():
            folder.write(str(file.relative_to(claims.path)), file.read_bytes(), replacing=None)
    return folder


def test_claims_in_a_store_are_the_claims_on_a_disk(book, bucket, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    claims = write_claims(tmp_path / "claims", book)
    folder = copied(claims, S3Folder(bucket, "claims/mine"))
    stored = Claims.open(str(folder))
    assert (stored.digest, stored.location) == (claims.digest, folder)
    found, expected = stored.claim_slice(4_000, 5_000), claims.claim_slice(4_000, 5_000)
    assert found.quantity.tolist() == expected.quantity.tolist()
    assert found.root.tolist() == expected.root.tolist()
    assert cached(stored) == {"claims/part-00000.parquet"}
    with pytest.raises(ClaimsMissing, match="copy the folder of a claims dataset there"):
        Claims.open(folder / "not")


def test_a_collateral_run_in_a_store_is_the_run_on_a_disk(
    book, local, margin_of, claims_of, pool_of, runs, tmp_path, monkeypatch
):
    """Margin run, claims and pool are all in the store, and an account is explained from there."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    here = pool_of(local, claims_of(book))
    there = S3Folder(runs.bucket, "pools")
    claims = Claims.open(copied(claims_of(book), S3Folder(runs.bucket, "claims/mine")))
    done = pool_of(margin_of(book, runs=runs), claims, shards=SHARDS, pools=there)
    assert done.pool.run_id == here.pool.run_id
    assert done.manifest["digests"] == here.manifest["digests"]
    for group, digest in done.manifest["digests"].items():
        assert dataset_digest(done.pool.groups[group]) == digest
    assert done.manifest["inputs"]["claims"]["path"] == f"s3://{runs.bucket}/claims/mine"
    account = "A-0000000003"
    explained = explain_pooled(done.pool, account, runs)
    assert explained == explain_pooled(here.pool, account, local.request.runs)
