"""Tags, rollback and cleaning: what is meant by a name, what stays, and what may come again."""

import dataclasses
import json
import shutil
from datetime import UTC, datetime, timedelta

import pytest

from flows import cleaning
from flows.cleaning import clean_stores
from flows.commands.history import rollback, tag, untag
from storage.arrays import STRESS
from storage.audit import entries
from storage.history import HISTORY, change_history, read_history
from storage.objects import S3Folder
from storage.retention import Record, kept_because
from storage.runs import RunStore, UnknownRun
from tests.storage.small_runs import manifest, publish, small, stage
from workers.engine import SerialEngine
from workers.margin_run import MarginRun
from workers.plan import RunRequest
from workers.verify import differences, verify_margin
from workers.verify.checks import checked_run

NOW = datetime(2026, 1, 10, tzinfo=UTC)
NETTINGS = (None, "isolated", "portfolio")


@pytest.fixture(scope="module")
def three(mixed_book, margin_of, tmp_path_factory):
    """Three runs of one book, the oldest first, two of them with a netting of their own."""
    runs = tmp_path_factory.mktemp("three")
    done = [margin_of(mixed_book, runs=runs, netting=netting) for netting in NETTINGS]
    return runs, [one.run.run_id for one in done]


@pytest.fixture
def copy(three, tmp_path):
    shutil.copytree(three[0], tmp_path / "runs")
    return tmp_path / "runs", three[1]


def soon():
    return datetime.now(UTC) + timedelta(seconds=5)


def test_a_tag_is_a_name_until_it_is_taken_away(copy):
    path, (first, second, _) = copy
    tag(first, "signed-off", runs=str(path))
    assert RunStore(path).resolve("signed-off") == first
    with pytest.raises(ValueError, match=f"'signed-off' is of run {first}"):
        tag(second, "signed-off", runs=str(path))
    with pytest.raises(ValueError, match="has no tag 'signed-off'; its tags are none"):
        untag(second, "signed-off", runs=str(path))
    untag(first, "signed-off", runs=str(path))
    with pytest.raises(UnknownRun):
        RunStore(path).resolve("signed-off")
    events = read_history(path).events
    assert [(one["what"], one["run"]) for one in events] == [("tag", first), ("untag", first)]


def test_a_tag_is_no_name_of_a_run_nor_the_start_of_one(copy):
    path, (first, second, _) = copy
    for name in (second, "mixed-2024"):
        with pytest.raises(ValueError, match=f"'{name}' is no tag, it means run .*{second}"):
            tag(first, name, runs=str(path))
    assert read_history(path).tags == {}


def test_rollback_moves_latest_back_and_deletes_nothing(copy, mixed_book, small_methodology):
    path, (first, second, third) = copy
    rollback("mixed", to=first, because="the grid was wrong", runs=str(path))
    store = RunStore(path)
    assert read_history(path).aside == sorted([second, third])
    assert read_history(path).events[-1]["because"] == "the grid was wrong"
    assert store.read(third).run_id == third
    assert store.resolve("latest") == first
    (logged,) = (one for one in entries(path) if one.what["action"] == "roll back")
    assert (logged.what["run"], logged.why) == (first, "the grid was wrong")
    with pytest.raises(ValueError, match="of another book than 'other'"):
        rollback("other", to=third, runs=str(path))


def test_rolling_to_a_run_that_was_set_aside_takes_it_back(tmp_path):
    store = RunStore(tmp_path)
    for name in ("first", "second"):
        publish(store, name)
    for name, aside in (("first", ["second"]), ("second", [])):
        rollback("small", to=name, runs=str(tmp_path))
        assert read_history(tmp_path).aside == aside
        assert store.resolve("latest", "of nothing") == name


def test_rollback_to_a_run_that_would_not_be_the_latest_changes_nothing(copy):
    """A run that nets all accounts alike is the latest only where there is no other."""
    path, (first, second, third) = copy
    for name in (second, third):
        with pytest.raises(ValueError, match=f"{name} nets all .*latest would be {first}, which"):
            rollback("mixed", to=name, runs=str(path))
    assert read_history(path).events == []
    assert "roll back" not in [one.what["action"] for one in entries(path)]


@pytest.mark.parametrize(
    "text",
    [
        "[",
        "[]",
        "5",
        "[" * 100_000,
        '{"tags": []}',
        '{"tags": {"a": ["b"]}}',
        '{"tags": {}, "aside": null}',
        '{"events": ["tag"]}',
        '{"tags": {}, "more": 1}',
    ],
)
def test_a_history_that_is_none_is_refused(tmp_path, text):
    (tmp_path / HISTORY).write_text(text)
    with pytest.raises(ValueError, match="is no history of runs"):
        read_history(tmp_path)
    with pytest.raises(ValueError, match="is no history of runs"):
        change_history(tmp_path, lambda history: history.tags.update(a="b"))
    assert (tmp_path / HISTORY).read_text() == text


def test_a_history_with_a_flipped_bit_is_refused(tmp_path):
    change_history(tmp_path, lambda history: history.tags.update(kept="run-a"))
    text = (tmp_path / HISTORY).read_text()
    (tmp_path / HISTORY).write_text(text.replace("run-a", "run-`"))
    said = "has another digest than it was written with.*puts back runs that were set aside: roll"
    with pytest.raises(ValueError, match=said):
        read_history(tmp_path)
    # One that was written before histories had digests is read as it is.
    told = json.loads(text)
    del told["digest"]
    (tmp_path / HISTORY).write_text(json.dumps(told))
    assert read_history(tmp_path).tags == {"kept": "run-a"}


def test_nothing_is_cleaned_where_a_tag_is_of_no_run(copy):
    path, (first, *_) = copy
    store = RunStore(path)
    change_history(path, lambda history: history.tags.update(kept=f"{first}x"))
    with pytest.raises(ValueError, match=f"tag 'kept' in .* is of run {first}x, which is not"):
        clean_stores([store], 0, None, soon(), dry_run=False)
    assert store.is_published(first)
    untag(f"{first}x", "kept", runs=str(path))
    assert read_history(path).tags == {}
    assert len(clean_stores([store], 0, None, soon(), dry_run=True).removed) == 2


def test_what_is_tagged_while_others_are_removed_stays_with_what_it_was_made_from(
    copy, monkeypatch
):
    path, (first, second, third) = copy

    def late(records, **rules):
        records[:] = [
            dataclasses.replace(one, needs=frozenset({second})) if one.run_id == third else one
            for one in records
        ]
        kept = kept_because(records, **rules)
        tag(third, "late", runs=str(path))
        return kept

    monkeypatch.setattr(cleaning, "kept_because", late)
    done = clean_stores([RunStore(path)], 0, None, soon(), dry_run=False)
    assert done.removed == []
    assert done.kept == {
        first: "the latest",
        third: "tagged late",
        second: f"{third} was made from it",
    }
    assert RunStore(path).resolve("late") == third


def test_cleaning_keeps_what_is_tagged_latest_or_new(copy, mixed_book, small_methodology):
    path, (first, second, third) = copy
    store = RunStore(path)
    tag(second, "quarter-end", runs=str(path))
    files = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    would = clean_stores([store], 0, None, soon(), dry_run=True)
    assert would.removed == [third]
    assert store.is_published(third)
    done = clean_stores([store], 0, None, soon(), dry_run=False)
    assert done.removed == [third]
    assert [one.what for one in entries(path)][-1] == {"action": "clean", "run": third}
    assert done.kept == {second: "tagged quarter-end", first: "the latest"}
    assert done.reclaimed > 0
    left = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    assert left < files - done.reclaimed / 2
    for run_id in (first, second):
        assert differences(checked_run(RunStore(path), run_id, lambda _: [])) == []
    with pytest.raises(UnknownRun):
        store.resolve(third)
    # The same inputs give the same run again, by the same name.
    request = RunRequest(
        book=mixed_book.location, methodology=str(small_methodology), netting="portfolio", runs=path
    )
    assert published(request) == third
    assert differences(checked_run(RunStore(path), third, lambda _: [])) == []


def published(request):
    engine = SerialEngine()
    with MarginRun(request, lambda: engine, lambda: engine) as run:
        assert not run.prepare()
        run.price()
        run.margin()
        run.fold()
        return run.publish()["run_id"]


def test_a_run_in_progress_is_left_alone_and_its_chunks_too(copy, mixed_book, small_methodology):
    path, (first, *_) = copy
    request = RunRequest(
        book=mixed_book.location, methodology=str(small_methodology), netting="cross", runs=path
    )
    engine = SerialEngine()
    with MarginRun(request, lambda: engine, lambda: engine) as run:
        run.prepare()
        run.price()
        done = clean_stores([RunStore(path)], 1, None, soon(), dry_run=False)
        assert done.busy == [run.run_id]
        assert done.leftovers == []
        assert done.reclaimed == 0
        run.margin()
    # Its process is gone and it never finished: what it left is swept away.
    assert RunStore(path).unfinished() == [run.run_id]
    done = clean_stores([RunStore(path)], None, None, soon(), dry_run=False)
    assert done.leftovers == [run.run_id]
    assert done.removed == []
    assert RunStore(path).unfinished() == []
    assert RunStore(path).resolve("latest") == first


def test_what_is_published_meanwhile_is_no_leftover(tmp_path, monkeypatch):
    store = RunStore(tmp_path)
    publish(store, "old")
    staged = stage(store, "begun")

    def late(records, **rules):
        store.publish("begun", staged, small(1.0), manifest("begun"))
        return kept_because(records, **rules)

    monkeypatch.setattr(cleaning, "kept_because", late)
    done = clean_stores([store], 0, None, soon(), dry_run=False)
    assert (done.leftovers, done.removed, done.busy) == ([], [], ["begun"])
    assert store.named() == ["begun", "old"]
    assert [one.what["action"] for one in entries(tmp_path)] == ["publish", "publish"]


def test_nothing_that_is_published_goes_while_a_run_of_any_kind_is_in_progress(tmp_path):
    """What a run is made from is known when it is published."""
    margin, stress = RunStore(tmp_path / "runs"), RunStore(tmp_path / "stresses", STRESS)
    for name in ("first", "second"):
        publish(margin, name)
    stage(margin, "never finished")
    # It has opened a margin run, and has yet to write the first array of its own.
    with stress.run_lock("of the first"):
        done = clean_stores([margin, stress], 0, None, soon(), dry_run=False)
    assert (done.leftovers, done.removed) == (["never finished"], [])
    assert done.busy == ["of the first"]
    assert done.kept == {
        "second": "the latest",
        "first": "of the first, in progress, may be made from it",
    }
    assert margin.named() == ["first", "second"]
    done = clean_stores([margin, stress], 0, None, soon(), dry_run=False)
    assert (done.removed, done.busy) == (["first"], [])


def test_a_published_run_in_progress_keeps_what_it_was_made_from_and_no_other(tmp_path):
    """It says itself what that is: a process looks at it that was asked for it again."""
    store = RunStore(tmp_path)
    for name in ("first", "second", "third"):
        publish(store, name)
    with store.run_lock("second"):
        done = clean_stores([store], 0, None, soon(), dry_run=False)
    assert (done.removed, done.busy) == (["first"], ["second"])
    assert done.kept == {"second": "in progress", "third": "the latest"}


def record(run_id, age, *, kind="margin", book="b", needs=()):
    return Record(run_id, kind, book, NOW - timedelta(days=age), frozenset(needs))


def test_what_a_kept_run_was_made_from_is_kept():
    records = [
        record("m1", 90),
        record("m2", 80, needs={"m1"}),
        record("m3", 70),
        record("m4", 1),
        record("pool", 60, kind="collateral", needs={"m2"}),
        record("stress", 60, kind="stress", needs={"m3"}),
    ]
    rules = {"latest": {"m4"}, "busy": (), "keep_last": None, "keep_days": 30.0, "now": NOW}
    kept = kept_because(records, tags={"pool": ["q4"]}, **rules)
    assert kept == {
        "m4": "the latest",
        "pool": "tagged q4",
        "m2": "pool was made from it",
        "m1": "m2 was made from it",
    }
    assert set(kept_because(records, tags={}, **rules)) == {"m4"}


@pytest.mark.parametrize(
    ("limits", "kept"),
    [
        ((None, None), {"a", "b", "c", "d"}),
        ((1, None), {"a", "d"}),
        ((2, None), {"a", "b", "d"}),
        ((0, 15.0), {"a", "b", "d"}),
        ((0, 0.0), {"a"}),
    ],
)
def test_limits_are_by_book_and_by_age(limits, kept):
    records = [record("a", 2), record("b", 10), record("c", 20), record("d", 10, book="other")]
    last, days = limits
    found = kept_because(
        records, tags={}, latest={"a"}, busy=(), keep_last=last, keep_days=days, now=NOW
    )
    assert set(found) == kept


def test_a_limit_below_zero_is_refused():
    with pytest.raises(ValueError, match="keep_last is -1; allowed is 0 or more"):
        kept_because(
            [], tags={}, latest=(), busy=(), keep_last=-1, keep_days=None, now=NOW
        )  # fmt: skip


@pytest.mark.slow
def test_runs_in_an_object_store_are_verified_tagged_and_cleaned(bucket, mixed_book, margin_of):
    runs = S3Folder(bucket, "runs")
    first = margin_of(mixed_book, runs=runs).run.run_id
    second = margin_of(mixed_book, runs=runs, netting="isolated").run.run_id
    assert differences(verify_margin(RunStore(runs), "latest", sample=10, seed=1)) == []
    tag(second, "kept", runs=str(runs))
    rollback("mixed", to=first, runs=str(runs))
    assert RunStore(runs).resolve("kept") == second
    untag(second, "kept", runs=str(runs))
    done = clean_stores([RunStore(runs)], 0, None, soon(), dry_run=False)
    assert done.removed == [second]
    assert differences(verify_margin(RunStore(runs), first, sample=10, seed=1)) == []
