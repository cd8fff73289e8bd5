"""The place of the runs fails: a full disk, one that may only be read, a backup that is older."""

import os
import shutil
import subprocess
import sys

import pytest

from infra.chaos.ground import small_disk
from storage.faults import StoreFailed
from storage.runs import RunStore, UnknownRun
from workers.margin_run import MarginRun

ACCOUNTS = 2_000


@pytest.fixture(scope="module")
def book(synthetic_book):
    return synthetic_book(ACCOUNTS)


@pytest.fixture(scope="module")
def faultless(book, margin_of):
    return margin_of(book)


@pytest.fixture
def disk(tmp_path):
    with small_disk(tmp_path / "disk", 16) as made:
        if not made:
            pytest.skip("this user may not mount; the fault campaign limits the size of files")
        yield tmp_path / "disk"


def fill(disk, left):
    """Leave so many bytes of a file system."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        for _ in range(10_000):
            try:
                file.write(bytes(1 << 16))
            except OSError:
                break
    assert shutil.disk_usage(disk).free == 0
    os.truncate(filler, filler.stat().st_size - left)
    return filler


@pytest.mark.slow
@pytest.mark.parametrize("left", [4_096, 65_536])
def test_a_full_disk_is_named_and_the_last_run_stays_readable(
    disk, book, faultless, margin_of, left
):
    runs = disk / "runs"
    yesterday = margin_of(book, runs=runs, netting="portfolio")
    filler = fill(disk, left)
    with pytest.raises(StoreFailed, match="No space left on device; free space there") as caught:
        margin_of(book, runs=runs)
    assert str(disk) in str(caught.value)
    seen = RunStore(runs).open()
    assert seen.manifest["digest"] == yesterday.digest
    assert seen.accounts["requirement"].values.sum() > 0.0
    filler.unlink()
    assert margin_of(book, runs=runs).digest == faultless.digest


@pytest.mark.slow
def test_a_disk_that_may_only_be_read_refuses_a_run_and_shows_the_others(
    disk, book, margin_of, monkeypatch
):
    yesterday = margin_of(book, runs=disk / "runs", netting="portfolio")
    computed = []
    monkeypatch.setattr(MarginRun, "compute", computed.append)
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    try:
        with pytest.raises(OSError, match="Read-only file system") as caught:
            margin_of(book, runs=disk / "runs")
        assert str(disk) in str(caught.value)
        assert computed == []
        assert RunStore(disk / "runs").open().manifest["digest"] == yesterday.digest
    finally:
        subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)


def test_a_store_that_was_put_back_shows_what_it_lacks_and_gets_it_again(
    book, faultless, margin_of, tmp_path
):
    runs, backup = tmp_path / "runs", tmp_path / "backup"
    kept = margin_of(book, runs=runs, netting="portfolio")
    shutil.copytree(runs, backup)
    later = margin_of(book, runs=runs)
    shutil.rmtree(runs)
    backup.rename(runs)
    store = RunStore(runs)
    assert [found["digest"] for found in store.manifests()] == [kept.digest]
    with pytest.raises(UnknownRun, match="published runs are"):
        store.open(later.run.run_id)
    assert margin_of(book, runs=runs).digest == faultless.digest


THREADS = """
import sys
from pathlib import Path
from infra.chaos.ground import quiet
from workers.plan import RunRequest
book, methodology, runs = map(Path, sys.argv[1:])
print(quiet(RunRequest(book=book, methodology=str(methodology), runs=runs))["digest"])
"""


@pytest.mark.slow
def test_threads_of_linear_algebra_change_no_bit(book, faultless, small_methodology, tmp_path):
    for threads in ("1", "2"):
        names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
        done = subprocess.run(
            [sys.executable, "-c", THREADS, book.path, small_methodology, tmp_path / threads],
            env={**os.environ, **dict.fromkeys(names, threads)},
            capture_output=True,
            check=True,
            text=True,
        )
        assert done.stdout.split()[-1] == faultless.digest
