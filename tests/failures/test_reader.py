"""A process that reads while many runs are published sees whole runs alone."""

import multiprocessing

import numpy as np
import pytest

from storage.objects import S3Folder
from storage.runs import RunStore, UnknownRun
from tests.storage.small_runs import publish

PROCESSES = multiprocessing.get_context("spawn")


def read(place, over, found):
    """Look until told to stop; send how many runs were seen and what of them was torn."""
    seen, torn = set(), []
    while not over.wait(0.2):  # between two looks the publisher has the store for itself
        try:
            run = RunStore(place).open("latest")
        except UnknownRun:
            continue
        number = run.manifest["number"]
        parts = [run.cube["pnl"], run.accounts["margin"], run.folds["loss"]]
        if not all(np.array_equal(part.values, np.full(part.shape, number)) for part in parts):
            torn.append(run.run_id)
        if seen and number < max(seen):
            torn.append(f"{run.run_id} after {max(seen)}")
        seen.add(number)
    found.put((len(seen), torn))


def watched(place, runs):
    store = RunStore(place)
    publish(store, "run-0", 0.0)
    over, found = PROCESSES.Event(), PROCESSES.Queue()
    reader = PROCESSES.Process(target=read, args=(place, over, found))
    reader.start()
    for number in range(1, runs + 1):
        publish(store, f"run-{number:03}", float(number))
    over.set()
    seen, torn = found.get(timeout=120)
    reader.join(60)
    assert torn == []
    assert seen > 3
    assert len(store.manifests()) == runs + 1


@pytest.mark.slow
def test_on_a_disk(tmp_path):
    watched(tmp_path / "runs", 100)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_in_a_store(bucket):
    watched(S3Folder(bucket, "runs"), 20)  # each takes many requests
