"""The audit log: entries that are only added, and a chain that shows what was done to them."""

import json
import multiprocessing
import os
import pwd
from functools import partial

import pytest

from storage.audit import FIRST, AuditBroken, entries, record, unrecorded
from storage.objects import S3Folder

PROCESSES = multiprocessing.get_context("spawn")


@pytest.fixture(params=["folder", "store"])
def place(request, tmp_path):
    """Where runs are kept, on a file system and in an object store."""
    if request.param == "folder":
        return tmp_path / "runs"
    return S3Folder(request.getfixturevalue("bucket"), "runs")


def fill(place, count=4):
    for number in range(count):
        record(place, "publish", {"run": f"run-{number}"}, f"because {number}")


def log_of(folder):
    return folder / "audit" / "log.jsonl"


def test_an_entry_says_who_did_what_when_and_why(place):
    assert list(entries(place)) == []
    made = record(place, "serve", {"book": "nightly"}, "the desk asked")
    (entry,) = entries(place)
    assert entry == made
    assert entry.who == {"user": pwd.getpwuid(os.getuid()).pw_name, "host": os.uname().nodename}
    assert (entry.what, entry.why) == ({"action": "serve", "book": "nightly"}, "the desk asked")
    assert entry.when.endswith("+00:00")
    assert (entry.number, entry.previous) == (1, FIRST)


def test_entries_are_chained_by_their_digests(place):
    fill(place)
    found = list(entries(place))
    assert [one.number for one in found] == [1, 2, 3, 4]
    assert [one.previous for one in found[1:]] == [one.hash for one in found[:-1]]


def edit(lines):
    lines[1] = lines[1].replace("run-1", "run-9")


def forge(lines):
    """Change an entry and seal it anew: the one after it gives that away."""
    from storage.audit import Entry

    entry = json.loads(lines[1].replace("run-1", "run-9"))
    lines[1] = json.dumps(entry | {"hash": Entry(**entry).digest()}) + "\n"


def replace_field(name, value, lines):
    lines[1] = json.dumps(json.loads(lines[1]) | {name: value}) + "\n"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (edit, r"line 2 of .* was changed since it was written"),
        (forge, r"line 3 of .* follows an entry of digest"),
        (lambda lines: lines.pop(1), r"line 2 of .* is entry 3; entry 2 is missing"),
        (lambda lines: lines.insert(1, lines[0]), r"line 2 of .* is entry 1; entry 2 is missing"),
        (lambda lines: lines.reverse(), r"line 1 of .* is entry 4"),
        (lambda lines: lines.insert(2, "{}\n"), r"line 3 of .* cannot be read"),
        (lambda lines: lines.insert(2, "\n"), r"line 3 of .* cannot be read"),
        *(
            (partial(replace_field, name, value), r"line 2 of .* cannot be read: it is no entry")
            for name, value in [
                ("number", True),
                ("number", "2"),
                ("when", 2),
                ("who", {"user": "desk"}),
                ("who", "desk"),
                ("what", {}),
                ("what", ["publish"]),
                ("what", {"action": "publish", "overrides": "none"}),
                ("what", {"action": "restore", "runs": 5}),
                ("why", {}),
                ("previous", 5),
                ("hash", None),
                ("cut_off", []),
            ]
        ),
    ],
)
def test_a_broken_chain_is_named_at_its_line(tmp_path, change, said):
    fill(tmp_path)
    lines = log_of(tmp_path).read_text().splitlines(keepends=True)
    change(lines)
    log_of(tmp_path).write_text("".join(lines))
    with pytest.raises(AuditBroken, match=said):
        list(entries(tmp_path))


def test_a_published_run_without_an_entry_is_told(tmp_path):
    runs = [{"run_id": f"run-{number}", "overrides": {}} for number in range(4)]
    assert unrecorded([], runs) == ["run-0", "run-1", "run-2", "run-3"]
    fill(tmp_path, 2)
    record(tmp_path, "clean", {"run": "run-2"})
    assert unrecorded(entries(tmp_path), runs) == ["run-2", "run-3"]
    record(tmp_path, "restore", {"from": "copies", "runs": {"run-2": "digest"}})
    assert unrecorded(entries(tmp_path), runs) == ["run-3"]
    assert unrecorded([], [{"run_id": "shock", "kind": "reverse"}]) == ["shock"]
    # Of a run from before there were logs nothing is asked.
    assert unrecorded([], [{"run_id": "old"}]) == []


def test_a_store_s_broken_chain_is_named_by_its_object(bucket):
    place = S3Folder(bucket, "runs")
    fill(place)
    found = (place / "audit").read("000000000002.json")
    changed = found.content.replace(b"run-1", b"run-9")
    (place / "audit").write("000000000002.json", changed, replacing=found.tag)
    with pytest.raises(AuditBroken, match=r"000000000002\.json was changed"):
        list(entries(place))


def test_nothing_is_added_to_a_last_entry_that_was_changed(tmp_path):
    fill(tmp_path)
    log = log_of(tmp_path)
    log.write_text(log.read_text().replace("run-3", "run-9"))
    before = log.read_bytes()
    with pytest.raises(AuditBroken, match="last entry"):
        record(tmp_path, "publish", {})
    assert log.read_bytes() == before


@pytest.mark.parametrize("kept", [0, 1, 4])
def test_a_write_that_was_cut_off_is_kept_in_the_next_entry(tmp_path, kept):
    fill(tmp_path, kept)
    log_of(tmp_path).parent.mkdir(parents=True, exist_ok=True)
    with log_of(tmp_path).open("a") as file:
        file.write('{"number": 5, "wh')
    record(tmp_path, "publish", {"run": "next"})
    found = list(entries(tmp_path))
    assert len(found) == kept + 1
    assert found[-1].cut_off == '{"number": 5, "wh'


def test_an_entry_that_lacks_the_end_of_its_line_is_one(tmp_path):
    fill(tmp_path)
    log = log_of(tmp_path)
    log.write_bytes(log.read_bytes()[:-1])
    assert record(tmp_path, "publish", {"run": "next"}).number == 5
    found = list(entries(tmp_path))
    assert [one.what["run"] for one in found] == ["run-0", "run-1", "run-2", "run-3", "next"]
    assert found[-1].cut_off is None


def test_a_line_that_is_nested_without_end_is_none(tmp_path):
    fill(tmp_path)
    with log_of(tmp_path).open("a") as file:
        file.write("[" * 100_000 + "\n")
    with pytest.raises(AuditBroken, match=r"line 5 of .* cannot be read: it is nested"):
        list(entries(tmp_path))
    with pytest.raises(AuditBroken, match="last entry"):
        record(tmp_path, "publish", {})


def write_many(place, name):
    for number in range(10):
        record(place, "publish", {"run": f"{name}-{number}"})


@pytest.mark.timeout(120)
def test_writers_at_one_time_lose_nothing(tmp_path):
    writers = [
        PROCESSES.Process(target=write_many, args=(tmp_path, name)) for name in ("a", "b", "c")
    ]
    for one in writers:
        one.start()
    for one in writers:
        one.join()
    found = list(entries(tmp_path))
    assert sorted(one.what["run"] for one in found) == sorted(
        f"{name}-{number}" for name in ("a", "b", "c") for number in range(10)
    )


def test_a_long_last_line_is_found(tmp_path):
    record(tmp_path, "publish", {"run": "x" * 20_000})
    record(tmp_path, "publish", {"run": "y" * 20_000})
    assert record(tmp_path, "publish", {}).number == 3
    assert len(list(entries(tmp_path))) == 3
