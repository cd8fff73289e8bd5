"""Published runs: named, whole, in order, and never seen in part."""

import threading
from datetime import timedelta
from types import SimpleNamespace

import icechunk
import pytest
import zarr

from storage.arrays import POOL
from storage.faults import StoreFailed, gathered
from storage.history import HISTORY, change_history
from storage.locks import AlreadyLocked
from storage.runs import RunsOfAnotherKind, RunStore, UnknownRun, open_run
from tests.storage.small_runs import LAYOUT, TEXTS, manifest, publish, small, stage


def main_tip(store):
    storage = icechunk.local_filesystem_storage(str(store.path / "repository"))
    repository = icechunk.Repository.open(storage)
    return repository, repository.lookup_branch("main")


@pytest.fixture
def store(tmp_path):
    return RunStore(tmp_path)


def test_a_run_is_read_as_it_was_written(store):
    publish(store, "one", 7.0)
    run = open_run(store.path, "one")
    assert run.manifest == manifest("one", 7.0)
    assert (run.cube["pnl"].values == 7.0).all()
    assert run.cube["scenario"].values.tolist() == ["x", "y", "z"]
    assert run.accounts["margin"].dims == ("account", "layer")
    assert run.accounts["margin"].attrs["units"] == "USD"
    for group in (run.folds, run.scenarios, run.market, run.instruments):
        assert group["name"].values.tolist() == TEXTS.tolist()
        assert group["label"].values.tolist() == TEXTS.tolist()
        assert group["loss"].attrs == {"units": "USD"}
        assert group["none"].shape == (0,)


def test_a_staged_run_is_seen_by_nobody(store):
    staged = stage(store, "one")
    assert store.manifests() == []
    assert not store.is_published("one")
    for name in ("latest", "one", "o"):
        with pytest.raises(UnknownRun, match="no run has been published yet"):
            store.open(name)
    staged.finish(small(1.0), manifest("one"))
    assert RunStore(store.path).manifests() == []
    assert not store.is_published("one")
    store.publish("one", store.stage("one", LAYOUT, "key of one"), small(1.0), manifest("one"))
    assert store.is_published("one")


def test_names_are_found_by_an_unambiguous_start(store):
    publish(store, "alpha-1", created="2026-01-01T00:00:00+00:00")
    publish(store, "alpha-2", created="2026-01-03T00:00:00+00:00")
    publish(store, "beta-1", created="2026-01-02T00:00:00+00:00")
    assert store.resolve("b") == "beta-1"
    assert store.resolve("alpha-1") == "alpha-1"
    with pytest.raises(
        UnknownRun, match=r"run 'alpha' is ambiguous; published runs are \['alpha-1"
    ):
        store.resolve("alpha")
    with pytest.raises(UnknownRun, match="no run 'gamma'; published runs are"):
        store.resolve("gamma")


def test_a_run_that_is_removed_while_it_is_looked_for_is_named(store, monkeypatch):
    said = "run one is no longer in .*; make it again, or take another"
    resolve = RunStore.resolve

    def then_removed(store, name):
        run_id = resolve(store, name)
        store.remove(run_id)
        return run_id

    for look in (RunStore.read, RunStore.published):
        publish(store, "one")
        with monkeypatch.context() as patched:
            patched.setattr(RunStore, "resolve", then_removed)
            with pytest.raises(UnknownRun, match=said):
                look(store, "one")
    with pytest.raises(UnknownRun, match=said):
        store.rows("one", "accounts")


def test_no_tag_stands_before_a_run_of_its_name(store):
    publish(store, "one")
    publish(store, "two")
    change_history(store.path, lambda history: history.tags.update(two="one", other="one"))
    assert store.resolve("two") == "two"
    assert store.resolve("other") == "one"
    assert store.named("t") == ["two"]
    # What is said of runs may be damaged: a run is found by its own name all the same.
    (store.path / HISTORY).write_text("[")
    assert store.resolve("one") == "one"


def test_the_latest_is_the_one_that_was_published_last(store):
    """Also among those of one second, which is as fine as a manifest's ``created`` is."""
    for number in range(6):
        publish(store, f"run-{(number * 5) % 6}")
    names = [found["run_id"] for found in store.manifests()]
    assert names == ["run-1", "run-2", "run-3", "run-4", "run-5", "run-0"]
    assert store.open().run_id == "run-1"
    repository, tip = main_tip(store)
    assert tip == repository.lookup_tag("run-1")


def test_the_latest_is_by_the_instant_of_the_commit_alone(store, monkeypatch):
    """Where the clock went back before a commit, the run is not the latest, whatever it says."""
    newest = RunStore._newest

    def on_a_clock_that_went_back(store, **where):
        found = newest(store, **where)
        if "of tomorrow" not in str(found.metadata):
            return found
        written_at = found.written_at - timedelta(hours=1)
        return SimpleNamespace(id=found.id, metadata=found.metadata, written_at=written_at)

    monkeypatch.setattr(RunStore, "_newest", on_a_clock_that_went_back)
    publish(store, "one", 1.0, created="2026-01-02T00:00:00+00:00")
    publish(store, "of tomorrow", 2.0, created="2026-01-03T00:00:00+00:00")
    assert [found["run_id"] for found in store.manifests()] == ["one", "of tomorrow"]
    assert store.open().run_id == "one"
    assert (store.open("of tomorrow").accounts["margin"].values == 2.0).all()
    repository, tip = main_tip(store)
    assert tip == repository.lookup_tag("one")


def test_the_latest_passes_over_a_run_that_nets_all_accounts_alike(store):
    publish(store, "real")
    supposed = manifest("supposed") | {"settings": {"netting": "portfolio"}}
    store.publish("supposed", stage(store, "supposed"), small(1.0), supposed)
    assert store.open().run_id == "real"
    assert store.open("supposed").run_id == "supposed"


def test_a_publication_that_was_cut_short_is_mended_without_going_back(store, monkeypatch):
    """The tag was there when the process died; another run was published before the next start."""
    with monkeypatch.context() as patched:
        patched.setattr(RunStore, "_move_main", lambda *_: None)
        publish(store, "early")
    publish(store, "late")
    repository, tip = main_tip(store)
    assert tip == repository.lookup_tag("late")
    assert "staging-early" in repository.list_branches()
    assert store.is_published("early")
    repository, tip = main_tip(store)
    assert tip == repository.lookup_tag("late")
    assert repository.list_branches() == {"main"}


def test_publishing_again_changes_nothing(store):
    staged = stage(store, "one")
    store.publish("one", staged, small(1.0), manifest("one"))
    _, before = main_tip(store)
    store.publish("one", staged, small(2.0), manifest("one", 2.0))
    assert main_tip(store)[1] == before
    assert store.open("one").manifest["number"] == 1.0


def test_a_publication_that_fails_halfway_may_be_tried_again(store, monkeypatch):
    staged = stage(store, "one", 3.0)

    def no_space(*_, **__):
        raise OSError(28, "No space left on device")

    for owner, method in ((icechunk.Session, "commit"), (icechunk.Repository, "create_tag")):
        with monkeypatch.context() as patched:
            patched.setattr(owner, method, no_space)
            with pytest.raises(OSError, match="No space"):
                store.publish("one", staged, small(3.0), manifest("one", 3.0))
    assert store.manifests() == []
    store.publish("one", staged, small(3.0), manifest("one", 3.0))
    run = store.open("one")
    assert (run.folds["loss"].values == 3.0).all()
    assert (run.accounts["margin"].values == 3.0).all()


def test_one_process_at_a_time_works_on_a_run(store):
    with store.run_lock("one"):
        with (
            pytest.raises(AlreadyLocked, match="is held by process"),
            RunStore(store.path).run_lock("one"),
        ):
            pass
        with store.run_lock("other"):
            pass
    with store.run_lock("one"):
        pass


def test_who_looks_whether_a_run_is_busy_keeps_nobody_from_it(store):
    over = threading.Event()

    def look():
        while not over.is_set():
            RunStore.is_busy(store, "one")

    lookers = [threading.Thread(target=look) for _ in range(2)]
    for looker in lookers:
        looker.start()
    try:
        for _ in range(100):
            with store.run_lock("one"):
                assert store.is_busy("one")
    finally:
        over.set()
        for looker in lookers:
            looker.join(60)
    assert not store.is_busy("one")


def test_a_folder_that_a_restore_has_moved_aside_is_not_begun_anew(tmp_path):
    gathered(tmp_path / "runs").mkdir()
    with pytest.raises(StoreFailed, match=r"newest runs\.before-\* beside it; run margincube rest"):
        RunStore(tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_readers_see_whole_runs_while_others_are_published(store):
    """Whoever looks, at any moment, sees the numbers that the manifest speaks of, or no run."""
    over, seen, torn = threading.Event(), set(), []

    def read():
        while not over.is_set():
            try:
                run = RunStore(store.path).open("latest")
            except UnknownRun:
                continue
            number = run.manifest["number"]
            parts = [run.cube["pnl"], run.accounts["margin"], run.folds["loss"]]
            if not all((part.values == number).all() for part in parts):
                torn.append(run.run_id)
            repository, tip = main_tip(store)
            root = zarr.open_group(repository.readonly_session(snapshot_id=tip).store, mode="r")
            if "manifest" not in root.attrs:
                torn.append("main")
            seen.add(number)

    readers = [threading.Thread(target=read) for _ in range(2)]
    publish(store, "run-0", 0.0)
    for reader in readers:
        reader.start()
    for number in range(1, 6):
        publish(store, f"run-{number}", float(number))
    over.set()
    for reader in readers:
        reader.join(60)
    assert not torn
    assert len(seen) > 1


def test_a_folder_holds_runs_of_one_kind(store):
    publish(store, "margin-run")
    RunStore(store.path)
    with pytest.raises(RunsOfAnotherKind, match=r"holds margin runs, such as margin-run.*own"):
        RunStore(store.path, POOL)
