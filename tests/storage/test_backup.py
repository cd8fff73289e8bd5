"""A backup brings back what was there, says what it lacks, and never goes over a newer head."""

import json
import shutil
from pathlib import Path

import pytest

from flows.settings import Settings
from flows.stores import stores
from storage import backup, backup_repository
from storage import restore as restoring
from storage.arrays import STRESS
from storage.audit import AuditBroken, entries, log_file, record
from storage.backup import CATALOGUE, back_up, read_backup
from storage.backup_inputs import BackupDamaged
from storage.book import Book
from storage.faults import StoreFailed, gathered
from storage.history import HISTORY, change_history, read_history
from storage.restore import HeadIsNewer, restore
from storage.runs import RunStore


@pytest.fixture(scope="module")
def first(mixed_book, margin_of, tmp_path_factory):
    """A run of a book in a folder of its own, which may be lost."""
    home = tmp_path_factory.mktemp("home")
    shutil.copytree(mixed_book.path, home / "book")
    return home, margin_of(Book.open(home / "book"), runs=home / "runs").run.run_id


@pytest.fixture(scope="module")
def second(first, synthetic_book, margin_of, tmp_path_factory):
    """The folder of that run with one of another book beside it, and the name of that one."""
    home = tmp_path_factory.mktemp("second")
    shutil.copytree(first[0] / "runs", home / "runs")
    return home / "runs", margin_of(synthetic_book(60), runs=home / "runs").run.run_id


@pytest.fixture(scope="module")
def backed_up(first, tmp_path_factory):
    """A backup of the first run."""
    folder = tmp_path_factory.mktemp("backed_up")
    back_up([RunStore(first[0] / "runs")], folder / "backup")
    return folder / "backup"


@pytest.fixture
def home(first, tmp_path):
    shutil.copytree(first[0] / "runs", tmp_path / "runs")
    return tmp_path


@pytest.fixture
def copies(backed_up, tmp_path):
    return Path(shutil.copytree(backed_up, tmp_path / "backup"))


@pytest.fixture
def newer(home, second):
    """A function that publishes another run beside the first."""

    def publish():
        shutil.rmtree(home / "runs")
        shutil.copytree(second[0], home / "runs")
        return second[1]

    return publish


@pytest.fixture
def places(home):
    """Margin runs, and a folder of stress runs without any."""
    RunStore(home / "stresses", STRESS)
    return {"margin": home / "runs", "stress": home / "stresses"}


@pytest.fixture
def unread(monkeypatch):
    """Copies are not read again, which takes most of the time."""
    for module in (backup, restoring):
        monkeypatch.setattr(module, "require_sound", lambda *_: None)


def opened(places):
    return [RunStore(places["margin"]), RunStore(places["stress"], STRESS)]


def marked(place):
    """Tell of a folder of runs whether something has happened since it was backed up."""
    return bool(read_history(place).events)


def everything(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def damage(folder):
    """Flip a bit of the largest file in a folder."""
    path = max(folder.iterdir(), key=lambda file: file.stat().st_size)
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 4
    path.write_bytes(raw)


def actions(folder):
    return [one.what["action"] for one in entries(folder)]


def test_what_is_lost_comes_back(home, first, tmp_path):
    store = RunStore(home / "runs")
    change_history(store.path, lambda history: history.tags.update(kept=first[1]))
    made = back_up([store], tmp_path / "backup")
    assert made.newest.run_id == first[1]
    assert made.missing == []
    assert [one["kind"] for one in made.datasets] == ["book"]
    truth = store.read("latest").manifest
    logged = list(entries(home / "runs"))
    shutil.rmtree(home / "runs")
    shutil.move(first[0] / "book", tmp_path / "elsewhere")
    (tmp_path / "backup" / made.datasets[0]["folder"] / "more.py").write_text("no part of it")
    done = restore(tmp_path / "backup", {"margin": home / "runs"}, over=False)
    assert (done.aside, done.left) == ([], [])
    assert RunStore(home / "runs").read("latest").manifest == truth
    assert read_history(home / "runs").tags == {"kept": first[1]}
    *before, restored = entries(home / "runs")
    assert before == logged
    assert restored.what == {
        "action": "restore",
        "from": str(tmp_path / "backup"),
        "made": made.made,
        "runs": {first[1]: truth["digest"]},
    }
    book = Book.open(first[0] / "book")
    book.verify()
    assert book.digest == truth["inputs"]["book"]["digest"]
    assert not (first[0] / "book" / "more.py").exists()


def test_a_newer_head_is_left_alone_unless_asked(home, newer, copies):
    later = newer()
    with pytest.raises(HeadIsNewer, match=f"lacks 1 runs that are there: {later}"):
        restore(copies, {"margin": home / "runs"}, over=False)
    assert RunStore(home / "runs").is_published(later)
    assert read_backup(copies).lacks([RunStore(home / "runs")]) == [later]
    logged = list(entries(home / "runs"))
    (aside,) = restore(copies, {"margin": home / "runs"}, over=True).aside
    assert not RunStore(home / "runs").is_published(later)
    assert RunStore(aside).is_published(later)
    *before, restored = entries(home / "runs")
    assert before == logged
    assert restored.what["action"] == "restore"
    made = back_up([RunStore(aside)], copies)
    assert len(made.runs["margin"]) == 2


def test_a_tag_that_the_backup_lacks_is_named_and_left_alone(home, first, copies):
    def change(history):
        history.tags["kept"] = first[1]
        history.record("tag", first[1], tag="kept")

    change_history(home / "runs", change)
    with pytest.raises(
        HeadIsNewer, match=f"lacks 1 entries of the history .*: tag kept {first[1]}"
    ):
        restore(copies, {"margin": home / "runs"}, over=False)
    assert read_history(home / "runs").tags == {"kept": first[1]}


def test_a_run_that_is_published_while_the_backup_is_read_is_left_alone(
    home, newer, copies, monkeypatch
):
    copy = restoring.copy_at_rest
    monkeypatch.setattr(
        restoring, "copy_at_rest", lambda place, target: (newer(), copy(place, target))
    )
    with pytest.raises(HeadIsNewer, match="lacks 1 runs that are there"):
        restore(copies, {"margin": home / "runs"}, over=False)
    assert len(RunStore(home / "runs").manifests()) == 2
    assert sorted(one.name for one in home.iterdir()) == ["backup", "runs"]


@pytest.mark.parametrize("what", ["published", "removed"])
def test_what_happens_while_a_copy_is_read_does_not_keep_it_from_coming_back(
    home, first, newer, tmp_path, monkeypatch, what
):
    sound = backup.require_sound

    def read(*asked):
        newer() if what == "published" else RunStore(home / "runs").remove(first[1])
        sound(*asked)

    monkeypatch.setattr(backup, "require_sound", read)
    made = back_up([RunStore(home / "runs")], tmp_path / "copied")
    assert [run.run_id for run in made.runs["margin"]] == [first[1]]
    assert [one["path"] for one in made.datasets] == [str(first[0] / "book")]
    restore(tmp_path / "copied", {"margin": tmp_path / "elsewhere"}, over=False)
    assert RunStore(tmp_path / "elsewhere").named() == [first[1]]


def test_nothing_is_restored_over_a_run_in_progress(home, copies):
    with (
        RunStore(home / "runs").run_lock("begun"),
        pytest.raises(ValueError, match="begun are in progress"),
    ):
        restore(copies, {"margin": home / "runs"}, over=True)


def test_a_damaged_copy_is_not_restored_and_heals(home, first, copies):
    damage(copies / "margin" / "repository" / "chunks")
    before = RunStore(home / "runs").read("latest").manifest
    with pytest.raises(BackupDamaged, match="cannot be read"):
        restore(copies, {"margin": home / "runs"}, over=True)
    assert RunStore(home / "runs").read("latest").manifest == before
    (dataset,) = (copies / "inputs").iterdir()
    damage(dataset)
    made = back_up([RunStore(home / "runs")], copies)
    assert made.missing == []
    shutil.move(first[0] / "book", home / "elsewhere")
    restore(copies, {"margin": home / "runs"}, over=True)
    Book.open(first[0] / "book").verify()


def test_what_is_damaged_does_not_go_over_a_sound_copy(home, copies):
    damage(home / "runs" / "repository" / "chunks")
    made = back_up([RunStore(home / "runs")], copies)
    assert len(made.runs["margin"]) == 1
    damage(copies / "margin" / "repository" / "snapshots")
    said = f"{home / 'runs'}.*; restore runs from a backup, or take it away"
    with pytest.raises(BackupDamaged, match=said):
        back_up([RunStore(home / "runs")], copies)


def test_a_damaged_run_is_gone_over_by_its_copy(home, copies):
    for snapshot in (home / "runs" / "repository" / "snapshots").iterdir():
        snapshot.write_bytes(b"")
    with pytest.raises(HeadIsNewer, match="cannot be told"):
        restore(copies, {"margin": home / "runs"}, over=False)
    restore(copies, {"margin": home / "runs"}, over=True)
    assert len(RunStore(home / "runs").manifests()) == 1


def test_what_others_write_and_remove_meanwhile_is_not_copied(home, tmp_path, monkeypatch):
    chunks = home / "runs" / "repository" / "chunks"
    (chunks / "0000WRITTEN#1").write_text("the first half")
    (chunks / "0000REMOVED").write_text("of no run")
    is_copied = backup_repository._is_copied

    def removed(path, copied, *, anew):
        if path.name == "0000REMOVED":
            path.unlink()
        return is_copied(path, copied, anew=anew)

    monkeypatch.setattr(backup_repository, "_is_copied", removed)
    made = back_up([RunStore(home / "runs")], tmp_path / "backup")
    assert len(made.runs["margin"]) == 1
    assert list((tmp_path / "backup").rglob("0000*")) == []


def test_an_audit_log_never_gets_shorter_in_a_backup(home, copies):
    record(home / "runs", "serve", {"book": "mixed"})
    back_up([RunStore(home / "runs")], copies)
    assert actions(copies / "margin") == ["publish", "serve"]
    log = log_file(home / "runs")
    log.write_text(log.read_text().splitlines(keepends=True)[0])
    with pytest.raises(BackupDamaged, match=r"holds entries that the audit log of .* lacks"):
        back_up([RunStore(home / "runs")], copies)
    assert actions(copies / "margin") == ["publish", "serve"]


def test_a_broken_audit_log_does_not_go_on(home, copies):
    log = log_file(home / "runs")
    log.write_text(log.read_text().replace("publish", "rubbish"))
    with pytest.raises(AuditBroken, match=r"line 1 of .*; keep .*log\.jsonl as it is somewhere"):
        restore(copies, {"margin": home / "runs"}, over=False)
    assert sorted(one.name for one in home.iterdir()) == ["backup", "runs"]


def test_a_restore_that_was_cut_short_begins_anew(home, first, copies):
    record(home / "runs", "serve", {"book": "mixed"})
    aside = (home / "runs").rename(home / "runs.before-20260101T000000000000")
    (gathered(home / "runs") / "repository" / "chunks").mkdir(parents=True)
    with pytest.raises(StoreFailed, match="run margincube restore again"):
        RunStore(home / "runs")
    assert restore(copies, {"margin": home / "runs"}, over=False).aside == [aside]
    assert RunStore(home / "runs").is_published(first[1])
    assert actions(home / "runs") == ["publish", "serve", "restore"]
    assert sorted(one.name for one in home.iterdir()) == ["backup", "runs", aside.name]


def test_what_is_there_is_refused_by_name_while_it_is_moved_aside(home, places):
    settings = Settings.given(home=home, runs=places["margin"], stresses=places["stress"])
    assert [one.kind.name for one in stores(settings)] == ["margin", "stress"]
    places["stress"].rename(gathered(places["stress"]))
    with pytest.raises(StoreFailed, match="stresses is not there: a restore of it is under way"):
        list(stores(settings))


def test_a_restore_that_is_killed_at_any_moment_mixes_nothing(
    home, first, places, unread, tmp_path_factory, monkeypatch
):
    """What a kill leaves is what stands at a rename."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    back_up(opened(places), elsewhere / "backup")
    for place in places.values():
        change_history(place, lambda history: history.record("rollback", first[1]))
    rename, left = Path.rename, []

    def seen(path, target):
        if path.parent == home:
            left.append(Path(shutil.copytree(home, elsewhere / str(len(left)))))
        return rename(path, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", seen)
        restore(elsewhere / "backup", places, over=True)
    assert [marked(place) for place in places.values()] == [False, False]
    assert len(left) == 4
    for folder in left:
        targets = {kind: folder / place.name for kind, place in places.items()}
        settings = Settings.given(home=folder, runs=targets["margin"], stresses=targets["stress"])
        for over in (False, True):
            there = [marked(place) for place in targets.values() if place.is_dir()]
            if there != [True, True]:
                with pytest.raises(StoreFailed, match="run margincube restore again"):
                    list(stores(settings))
            if not over:
                with pytest.raises(HeadIsNewer, match="entries of the history"):
                    restore(elsewhere / "backup", targets, over=over)
        restore(elsewhere / "backup", targets, over=True)
        assert [marked(one.path) for one in stores(settings)] == [False, False]
        assert list(folder.glob(".*")) == []


def test_a_restore_that_fails_leaves_everything_as_it_was(home, places, tmp_path, monkeypatch):
    back_up(opened(places), tmp_path / "backup")
    before, copies = everything(home / "runs"), everything(tmp_path / "backup")
    rename = Path.rename

    def failing(path, target):
        if path == gathered(places["stress"]):
            raise PermissionError(f"{path} may not be renamed")
        return rename(path, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", failing)
        with pytest.raises(PermissionError, match="may not be renamed"):
            restore(tmp_path / "backup", places, over=True)
    assert sorted(one.name for one in home.iterdir()) == ["backup", "runs", "stresses"]
    assert before.items() <= everything(home / "runs").items()
    restore(tmp_path / "backup", places, over=True)
    assert everything(tmp_path / "backup") == copies


def test_a_backup_that_is_killed_at_any_moment_shows_one_backup_or_the_other(
    home, first, newer, copies, unread, tmp_path, monkeypatch
):
    later = newer()
    RunStore(home / "runs").remove(first[1])
    left = []

    def seen(function):
        def call(*asked, **more):
            left.append(Path(shutil.copytree(copies, tmp_path / "left" / str(len(left)))))
            return function(*asked, **more)

        return call

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", seen(Path.rename))
        patched.setattr(backup, "require_sound", seen(backup.require_sound))
        patched.setattr(backup, "forget_references", seen(backup.forget_references))
        back_up([RunStore(home / "runs")], copies)
    shown = []
    for number, folder in enumerate(left):
        target = tmp_path / "to" / str(number)
        restore(folder, {"margin": target}, over=False)
        shown += RunStore(target).named()
        assert read_backup(folder).newest.run_id == shown[-1]
        made = back_up([RunStore(home / "runs")], folder)
        assert [run.run_id for run in made.runs["margin"]] == [later]
        assert not list((folder / "margin").glob(".*"))
    assert shown == [first[1]] * (len(left) - 1) + [later]


def test_a_backup_that_is_killed_twice_shows_the_last_that_was_finished(
    home, first, newer, copies, unread, monkeypatch
):
    later = newer()
    RunStore(home / "runs").remove(first[1])
    with monkeypatch.context() as patched:
        patched.setattr(backup, "forget_references", lambda _: None)
        back_up([RunStore(home / "runs")], copies)
    RunStore(home / "runs").remove(later)

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(backup, "require_sound", killed)
        with pytest.raises(KeyboardInterrupt):
            back_up([RunStore(home / "runs")], copies)
    restore(copies, {"margin": home / "elsewhere"}, over=False)
    assert RunStore(home / "elsewhere").named() == [later]


def test_a_dataset_that_is_left_as_it_stood_is_named(home, first, copies):
    book = first[0] / "book"
    targets = {"margin": home / "runs"}
    assert restore(copies, targets, over=False).left == [
        f"book {book}: it is what runs were made from"
    ]
    kept = Path(shutil.copytree(book, home / "kept"))
    (copied,) = (copies / "inputs").iterdir()
    try:
        damage(book)
        (said,) = restore(copies, targets, over=False).left
        assert f"book {book}: it is not what runs were made from" in said
        assert said.endswith("; move it away and restore again to have the copy")
        damage(copied)
        (said,) = restore(copies, targets, over=False).left
        assert f"nor is its copy (book {copied}" in said
        assert said.endswith("; give another backup")
    finally:
        shutil.rmtree(book)
        kept.rename(book)
    (said,) = restore(copies, targets, over=False).left
    assert f"it is what runs were made from, and its copy is damaged (book {copied}" in said
    moved = book.rename(home / "moved")
    try:
        with pytest.raises(BackupDamaged, match=r"; back up again, or give another backup"):
            restore(copies, targets, over=False)
    finally:
        moved.rename(book)


def test_what_cannot_be_a_backup_is_refused(home, copies, tmp_path):
    with pytest.raises(BackupDamaged, match=f"holds no {CATALOGUE}"):
        restore(tmp_path, {"margin": home / "runs"}, over=False)
    with pytest.raises(ValueError, match="is inside"):
        back_up([RunStore(home / "runs")], home / "runs" / "backup")
    (copies / "link").symlink_to("/etc/hostname")
    with pytest.raises(BackupDamaged, match="link is a link"):
        restore(copies, {"margin": home / "runs"}, over=True)
    (copies / "link").unlink()
    (copies / "margin" / HISTORY).write_text('{"tags": []}')
    with pytest.raises(BackupDamaged, match="is no history of runs"):
        restore(copies, {"margin": home / "runs"}, over=True)
    (copies / "margin" / HISTORY).unlink()
    shutil.move(copies / "margin", copies / "pool")
    with pytest.raises(BackupDamaged, match="holds no repository of runs"):
        restore(copies, {"margin": home / "runs"}, over=True)
    assert not (copies / "margin").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda told: told["runs"].update(other=[]), r"runs of the kinds \['other'\]; known are"),
        (lambda told: told["runs"].update(margin=None), "is no catalogue of a backup"),
        (lambda told: told["runs"]["margin"][0].update(run_id=5), "what should be a text is none"),
        (lambda told: told.update(runs=[]), "is no catalogue of a backup"),
        (lambda told: told.update(datasets=None), "is no catalogue of a backup"),
        (lambda told: told.update(datasets=[1]), "is no catalogue of a backup"),
        (lambda told: told["datasets"][0].pop("folder"), "is no catalogue of a backup"),
        (lambda told: told["datasets"][0].update(kind="zip"), "a dataset of kind 'zip'; known are"),
        (lambda told: told["datasets"][0].update(path=5), "is no catalogue of a backup"),
        (lambda told: told["datasets"][0].update(path="book"), "path 'book' of a dataset"),
        (lambda told: told["datasets"][0].update(path="/a/../b"), "path '/a/../b' of a dataset"),
        (lambda told: told["datasets"][0].update(folder="inputs/.."), "has to be inputs/DIGEST"),
        (lambda told: told["datasets"][0].update(digest=".."), "has to be inputs/DIGEST"),
    ],
)
def test_a_catalogue_that_is_none_is_refused(backed_up, tmp_path, change, said):
    told = json.loads((backed_up / CATALOGUE).read_text())
    change(told)
    (tmp_path / CATALOGUE).write_text(json.dumps(told))
    with pytest.raises(BackupDamaged, match=said):
        read_backup(tmp_path)


def test_a_dataset_comes_back_only_to_where_a_run_found_it(home, copies):
    told = json.loads((copies / CATALOGUE).read_text())
    told["datasets"][0]["path"] = str(home / "elsewhere")
    (copies / CATALOGUE).write_text(json.dumps(told))
    with pytest.raises(BackupDamaged, match="elsewhere, which no run in it was made from"):
        restore(copies, {"margin": home / "runs"}, over=True)
    assert not (home / "elsewhere").exists()


def test_an_input_that_is_gone_is_named(home, first, tmp_path):
    moved = shutil.move(first[0] / "book", tmp_path / "elsewhere")
    try:
        made = back_up([RunStore(home / "runs")], tmp_path / "backup")
    finally:
        shutil.move(moved, first[0] / "book")
    assert len(made.missing) == 1
    assert made.missing[0].startswith(f"book {first[0] / 'book'}: no book at")
