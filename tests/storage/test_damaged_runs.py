"""A run whose manifest is damaged is named, and hinders no other."""

import random
import shutil
from datetime import UTC, datetime, timedelta

import icechunk
import pytest

from flows.cleaning import clean_stores
from flows.commands.runs import runs as list_runs
from storage.history import History, change_history
from storage.manifests import ManifestDamaged
from storage.runs import RunStore
from tests.storage.small_runs import publish

NAMES = ("run-0", "run-1", "run-2")


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    path = tmp_path_factory.mktemp("store") / "runs"
    for number, name in enumerate(NAMES):
        publish(RunStore(path), name, float(number))
    return path


@pytest.fixture(params=[0, 2], ids=["oldest", "newest"])
def damaged(request, published, tmp_path):
    """A copy of the store in which the file that describes one run ends early; that run."""
    path, name = tmp_path / "runs", NAMES[request.param]
    shutil.copytree(published, path)
    repository = icechunk.Repository.open(icechunk.local_filesystem_storage(path / "repository"))
    file = path / "repository" / "snapshots" / repository.lookup_tag(name)
    file.write_bytes(file.read_bytes()[:-20])
    return path, name


def test_others_are_read_and_the_latest_is_not_guessed(damaged, capsys):
    path, name = damaged
    store = RunStore(path)
    for other in set(NAMES) - {name}:
        assert store.open(other).run_id == other
    for asked in (name, "latest"):
        with pytest.raises(ManifestDamaged, match=f"run {name} in .* is damaged"):
            store.open(asked)
    with pytest.raises(ManifestDamaged):
        store.manifests()
    found, broken = store.survey()
    assert {one["run_id"] for one in found} == set(NAMES) - {name}
    assert list(broken) == [name]
    list_runs(runs=str(path), json=True)
    assert '"standing": "damaged"' in capsys.readouterr().out


def test_another_run_is_published_beside_it(damaged):
    path, name = damaged
    publish(RunStore(path), "run-3", 3.0)
    assert RunStore(path).open("run-3").manifest["number"] == 3.0
    assert list(RunStore(path).survey()[1]) == [name]


def test_it_is_taken_away_when_that_is_asked_for(damaged):
    path, name = damaged
    soon = datetime.now(UTC) + timedelta(seconds=5)
    with pytest.raises(ManifestDamaged):
        clean_stores([RunStore(path)], None, None, soon, dry_run=False)
    said = clean_stores([RunStore(path)], None, None, soon, dry_run=True, damaged=True)
    assert (said.damaged, list(RunStore(path).survey()[1])) == ([name], [name])
    done = clean_stores([RunStore(path)], None, None, soon, dry_run=False, damaged=True)
    assert (done.damaged, done.removed) == ([name], [])
    store = RunStore(path)
    assert store.survey()[1] == {}
    assert store.resolve("latest") == max(set(NAMES) - {name})


def test_it_stays_while_it_is_tagged(damaged):
    path, name = damaged

    def tag(history: History) -> None:
        history.tags["kept"] = name

    change_history(path, tag)
    with pytest.raises(ValueError, match=f"run {name} is damaged, and tagged kept"):
        clean_stores([RunStore(path)], None, None, datetime.now(UTC), dry_run=False, damaged=True)


def test_a_flipped_bit_is_named_or_changes_nothing(published, tmp_path):
    """Wherever it is, no run is read as another, and no error is without a name."""
    path = tmp_path / "runs"
    shutil.copytree(published, path)
    repository = icechunk.Repository.open(icechunk.local_filesystem_storage(path / "repository"))
    file = path / "repository" / "snapshots" / repository.lookup_tag("run-1")
    whole, draw = file.read_bytes(), random.Random(5)
    refused = 0
    for _ in range(40):
        bad = bytearray(whole)
        bad[draw.randrange(len(bad))] ^= 1 << draw.randrange(8)
        file.write_bytes(bad)
        store = RunStore(path)
        assert store.open("run-2").manifest["number"] == 2.0
        try:
            assert store.open("run-1").manifest["number"] == 1.0
        except ManifestDamaged:
            refused += 1
    assert refused > 10
