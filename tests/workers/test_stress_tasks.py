"""Accounts that a process keeps from round to round, where its tasks are threads."""

import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

from workers.shards import Shard
from workers.stress import tasks

INPUTS = SimpleNamespace(book_digest="book", run_id="run", impairment=None)
THREADS = 8


def test_threads_that_read_at_once_keep_no_more_than_one_would(monkeypatch):
    together = threading.Barrier(THREADS)

    def read(_, shard):
        together.wait(timeout=30)
        return shard.start

    monkeypatch.setattr(tasks, "KEPT_SHARDS", 2)
    monkeypatch.setattr(tasks, "_KEPT", {})
    monkeypatch.setattr(tasks, "_read", read)
    shards = [Shard(row, row, row + 1) for row in range(THREADS)]
    with ThreadPoolExecutor(THREADS) as threads:
        found = threads.map(lambda shard: tasks.accounts_of(INPUTS, shard), shards)
    assert list(found) == list(range(THREADS))
    assert len(tasks._KEPT) == 2
