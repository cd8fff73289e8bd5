"""A backup brings back what was there, says what it lacks, and never goes over a newer head."""

import shutil

import pytest

from storage.backup import CATALOGUE, BackupDamaged, HeadIsNewer, back_up, read_backup, restore
from storage.book import Book
from storage.history import change_history, read_history
from storage.runs import RunStore


@pytest.fixture(scope="module")
def first(mixed_book, margin_of, tmp_path_factory):
    """A run of a book in a folder of its own, which may be lost."""
    home = tmp_path_factory.mktemp("home")
    shutil.copytree(mixed_book.path, home / "book")
    return home, margin_of(Book.open(home / "book"), runs=home / "runs").run.run_id


@pytest.fixture
def home(first, tmp_path):
    shutil.copytree(first[0] / "runs", tmp_path / "runs")
    return tmp_path


@pytest.fixture
def newer(home, first, margin_of):
    """A function that publishes another run beside the first."""
    book = Book.open(first[0] / "book")
    return lambda: margin_of(book, runs=home / "runs", netting="cross").run.run_id


def test_what_is_lost_comes_back(home, first, tmp_path):
    store = RunStore(home / "runs")
    change_history(store.path, lambda history: history.tags.update(kept=first[1]))
    made = back_up([store], tmp_path / "backup")
    assert made.newest.run_id == first[1]
    assert made.missing == []
    assert [one["kind"] for one in made.datasets] == ["book"]
    truth = store.read("latest").manifest
    shutil.rmtree(home / "runs")
    shutil.move(first[0] / "book", tmp_path / "elsewhere")
    _, aside = restore(tmp_path / "backup", {"margin": home / "runs"}, over=False)
    assert aside == []
    assert RunStore(home / "runs").read("latest").manifest == truth
    assert read_history(home / "runs").tags == {"kept": first[1]}
    book = Book.open(first[0] / "book")
    book.verify()
    assert book.digest == truth["inputs"]["book"]["digest"]


def test_a_newer_head_is_left_alone_unless_asked(home, first, newer, tmp_path):
    back_up([RunStore(home / "runs")], tmp_path / "backup")
    later = newer()
    with pytest.raises(HeadIsNewer, match=f"lacks 1 runs that are there: {later}"):
        restore(tmp_path / "backup", {"margin": home / "runs"}, over=False)
    assert RunStore(home / "runs").is_published(later)
    assert read_backup(tmp_path / "backup").lacks([RunStore(home / "runs")]) == [later]
    _, (aside,) = restore(tmp_path / "backup", {"margin": home / "runs"}, over=True)
    assert not RunStore(home / "runs").is_published(later)
    assert RunStore(aside).is_published(later)
    made = back_up([RunStore(aside)], tmp_path / "backup")
    assert len(made.runs["margin"]) == 2


def test_a_damaged_copy_is_not_restored(home, tmp_path):
    back_up([RunStore(home / "runs")], tmp_path / "backup")
    chunks = (tmp_path / "backup" / "margin" / "repository" / "chunks").iterdir()
    path = max(chunks, key=lambda file: file.stat().st_size)
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 4
    path.write_bytes(raw)
    before = RunStore(home / "runs").read("latest").manifest
    with pytest.raises(BackupDamaged, match="cannot be read"):
        restore(tmp_path / "backup", {"margin": home / "runs"}, over=True)
    assert RunStore(home / "runs").read("latest").manifest == before
    # The next backup, of the same size, would not mend it, and says so too.
    with pytest.raises(BackupDamaged, match="cannot be read"):
        back_up([RunStore(home / "runs")], tmp_path / "backup")


def test_what_cannot_be_a_backup_is_refused(home, tmp_path):
    with pytest.raises(BackupDamaged, match=f"holds no {CATALOGUE}"):
        restore(tmp_path, {"margin": home / "runs"}, over=False)
    with pytest.raises(ValueError, match="is inside"):
        back_up([RunStore(home / "runs")], home / "runs" / "backup")


def test_an_input_that_is_gone_is_named(home, first, tmp_path, monkeypatch):
    moved = shutil.move(first[0] / "book", tmp_path / "elsewhere")
    try:
        made = back_up([RunStore(home / "runs")], tmp_path / "backup")
    finally:
        shutil.move(moved, first[0] / "book")
    assert len(made.missing) == 1
    assert made.missing[0].startswith(f"book {first[0] / 'book'}: no book at")
