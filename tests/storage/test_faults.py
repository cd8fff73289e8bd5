"""Faults of a place for runs are sentences, and come in bounded time."""

import os
import threading
from datetime import timedelta

import icechunk
import pytest

from infra.chaos.proxy import proxy_to
from storage import objects, staging
from storage.faults import StoreFailed, named_faults, within
from storage.objects import S3Folder, StoreUnavailable
from storage.runs import RunStore
from tests.storage.small_runs import stage


def test_a_call_that_returns_is_what_it_returns_or_raises():
    assert within(5.0, lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        within(5.0, lambda: 1 // 0)


def test_a_call_that_does_not_return_is_given_up():
    never = threading.Event()
    with pytest.raises(StoreUnavailable, match="accepts requests and answers none"):
        within(0.05, never.wait)
    never.set()


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("x error\n `-> No space left on device (os error 28)", "No space left.*free space there"),
        ("x error\n `-> Read-only file system (os error 30)", "Read-only.*make it writable"),
        ("  x chunk  not found\n | context", "chunk not found; what was published before"),
    ],
)
def test_pages_become_a_sentence_with_the_place(tmp_path, said, told):
    with pytest.raises(StoreFailed, match=rf"{tmp_path}: {told}"), named_faults(tmp_path):
        raise icechunk.IcechunkError(said)


@pytest.mark.parametrize("mood", ["stall", "cut", "refuse"])
def test_a_store_that_stalls_is_named_in_bounded_time(bucket, monkeypatch, mood):
    port = int(os.environ["AWS_ENDPOINT_URL"].rpartition(":")[2])
    with proxy_to(port) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{proxy.port}")
        monkeypatch.setattr(objects, "_REQUEST", timedelta(seconds=0.5))
        folder = S3Folder(bucket, "runs")
        folder.require_answer()
        proxy.mood = mood
        with pytest.raises(StoreUnavailable, match=r"does not answer|refuses"):
            folder.require_answer()
        assert proxy.turned
        proxy.mood = "pass"
        folder.require_answer()


def test_a_commit_that_stalls_is_named_in_bounded_time(bucket, monkeypatch):
    port = int(os.environ["AWS_ENDPOINT_URL"].rpartition(":")[2])
    with proxy_to(port) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{proxy.port}")
        staged = stage(RunStore(S3Folder(bucket, "runs")), "one")
        monkeypatch.setattr(staging, "COMMIT_SECONDS", 1.0)
        proxy.mood = "stall"
        with pytest.raises(StoreUnavailable, match="a commit took over 1 s"):
            staged.checkpoint([staged.fork()], "late")
        assert proxy.turned
