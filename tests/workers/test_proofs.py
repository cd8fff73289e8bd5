"""A folder of holdings: the same verdicts in the same order from every engine."""

import json
import random
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from risk.proofs.anchors import Trusted
from risk.proofs.outcome import ProofOutcome
from storage.intake.proofs import (
    LARGEST_DOCUMENT,
    DocumentMalformed,
    DocumentTooLarge,
    read_document,
)
from tests.risk.proofs.chain import CHAIN, Chain, changed, ownership
from workers import proofs
from workers.dask_engine import DaskEngine
from workers.engine import SerialEngine
from workers.proofs import judge_file, judge_folder, load_trusted


class Shuffled(SerialEngine):
    """Runs the tasks in a random order, and one of them twice."""

    def map(self, function, shared, items):
        items = list(items)
        random.Random(1).shuffle(items)
        return (function(shared, item) for item in [*items, items[0]])


@pytest.fixture(scope="module")
def chain():
    return Chain()


@pytest.fixture
def folder(tmp_path, chain):
    """Thirty holdings, of which some are refused, and two files that cannot be read."""
    good = chain.holding()
    bad = {
        7: changed(good, quantity="9"),
        11: changed(good, ownership=ownership(epoch=6)),
        19: changed(good, chain=CHAIN + 1),
    }
    for number in range(30):
        path = tmp_path / f"{number:03}.json"
        path.write_text(json.dumps(bad.get(number, good)))
    (tmp_path / "003.json").write_text("{")
    (tmp_path / "004.json").write_bytes(b" " * (LARGEST_DOCUMENT + 1))
    (tmp_path / "notes.txt").write_text("not a holding")
    return tmp_path


@pytest.fixture
def trusted(chain):
    return chain.judge_by()


def named(judged):
    return {
        one.file: one.verdict.outcome.name for one in judged if one.verdict.outcome.name != "PROVEN"
    }


def test_each_file_has_its_verdict_in_the_order_of_names(folder, trusted):
    judged = judge_folder(folder, trusted, SerialEngine())
    assert [one.file for one in judged] == [f"{number:03}.json" for number in range(30)]
    assert named(judged) == {
        "003.json": "MALFORMED",
        "004.json": "TOO_LARGE",
        "007.json": "VALUE_DIFFERS",
        "011.json": "SIGNATURE_OTHER_EPOCH",
        "019.json": "NO_ROOT",
    }


@pytest.mark.parametrize("holdings", [1, 7, 30, 31])
def test_the_cut_and_the_engine_change_nothing(folder, trusted, monkeypatch, holdings):
    alone = judge_folder(folder, trusted, SerialEngine())
    monkeypatch.setattr(proofs, "TASK_HOLDINGS", holdings)
    assert judge_folder(folder, trusted, Shuffled()) == alone
    threads = DaskEngine(2)
    try:
        assert judge_folder(folder, trusted, threads) == alone
    finally:
        threads.close()


@pytest.mark.slow
def test_ray_gives_the_same_verdicts(folder, trusted, monkeypatch):
    from workers.ray_engine import RayEngine

    alone = judge_folder(folder, trusted, SerialEngine())
    monkeypatch.setattr(proofs, "TASK_HOLDINGS", 8)
    engine = RayEngine(2)
    try:
        assert judge_folder(folder, trusted, engine) == alone
    finally:
        engine.close()


def test_a_folder_without_holdings_is_named(tmp_path, trusted):
    with pytest.raises(FileNotFoundError, match="has no file"):
        judge_folder(tmp_path, trusted, SerialEngine())


def test_a_file_that_went_away_has_a_name(tmp_path, trusted):
    assert judge_file(tmp_path / "gone.json", trusted).verdict.outcome.name == "UNREADABLE"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "no JSON"),
        (b"\xff\xfe", "no JSON"),
        (b"{", "no JSON"),
        (b"]" * 100_000, "no JSON"),
        (b'["' + b"\\" * 101, "no JSON"),
        (b'{"a": NaN}', "no number of JSON"),
        (b'{"a": 1, "a": 2}', "'a' is there twice"),
        (b"[" * 100_000, "nested more than 16 deep"),
        (b'{"a":' * 100_000, "nested more than 16 deep"),
        (b"9" * 10_000, "no JSON"),
    ],
)
def test_what_is_no_json_is_malformed(tmp_path, trusted, content, says):
    path = tmp_path / "hostile.json"
    path.write_bytes(content)
    with pytest.raises(DocumentMalformed, match=says):
        read_document(path)
    verdict = judge_file(path, trusted).verdict
    assert verdict.outcome.name == "MALFORMED"
    assert len(verdict.where) < 300


@pytest.mark.parametrize(
    "content", [b'"' + rb"\"" * (2 << 20), b'"' * (4 << 20), b"[]" * (2 << 20)]
)
def test_a_large_file_is_read_once(tmp_path, content):
    """In a second or so; hours, if each quote began another search for its end."""
    path = tmp_path / "quotes.json"
    path.write_bytes(content[:LARGEST_DOCUMENT])
    start = time.process_time()
    with pytest.raises(DocumentMalformed):
        read_document(path)
    assert time.process_time() - start < 30


def test_a_field_that_is_there_twice_among_many_is_found_at_once(tmp_path):
    path = tmp_path / "fields.json"
    fields = [f'"{number}":0' for number in range(250_000)]
    path.write_text("{" + ",".join([*fields, '"7":1']) + "}")
    start = time.process_time()
    with pytest.raises(DocumentMalformed, match="'7' is there twice"):
        read_document(path)
    assert time.process_time() - start < 30


def test_brackets_in_a_text_are_no_depth(tmp_path):
    path = tmp_path / "brackets.json"
    value = ["[" * 100, '"{' * 100, "\\" * 3 + "[" * 100]
    path.write_text(json.dumps(value))
    assert read_document(path) == value


def test_what_verifies_signatures_leaves_the_limit_of_the_stack_as_it_is():
    """In a process of its own, for it is the first import that would change it."""
    code = (
        "import sys; limit = sys.getrecursionlimit()\n"
        "from risk.proofs.ownership import Ownership, Place, ownership_typed_data, typed_digest\n"
        "owned = Ownership(bytes(20), 'desk', Place('main', 1, 1), 0, b'')\n"
        "typed_digest(ownership_typed_data(owned))\n"
        "assert 'py_ecc' in sys.modules\n"
        "assert sys.getrecursionlimit() == limit\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_what_is_too_large_is_not_read(tmp_path):
    path = tmp_path / "large.json"
    path.write_bytes(b" " * (LARGEST_DOCUMENT + 1))
    with pytest.raises(DocumentTooLarge, match="4,194,304 bytes"):
        read_document(path)


def test_anchors_are_read_from_toml_and_from_json(tmp_path, chain):
    anchors, tokens = chain.trusted()["anchors"], chain.trusted()["tokens"]
    (tmp_path / "anchors.json").write_text(json.dumps(chain.trusted()))
    lines = [
        'pool = "main"',
        "epoch = 7",
        "as_of = 2026-01-01T00:00:00Z",
        "allowed_skew_seconds = 60",
    ]
    for name, rows in (
        ("anchors", anchors),
        ("tokens", tokens),
        ("attestors", chain.trusted()["attestors"]),
    ):
        for row in rows:
            lines.append(f"[[{name}]]")
            lines += [f"{key} = {json.dumps(value)}" for key, value in row.items()]
    (tmp_path / "anchors.toml").write_text("\n".join(lines))
    read = load_trusted(tmp_path / "anchors.toml")
    assert isinstance(read, Trusted)
    assert read == load_trusted(tmp_path / "anchors.json")
    (tmp_path / "anchors.toml").write_text("pool = ")
    with pytest.raises(ValueError, match="is no TOML"):
        load_trusted(tmp_path / "anchors.toml")


def shown(language):
    pattern = rf"^```{language}\n(.*?)^```$"
    text = (Path(__file__).parents[2] / "docs" / "proofs.md").read_text()
    return re.findall(pattern, text, re.M | re.S)


def test_the_page_shows_a_pool_and_a_holding_that_are_read(tmp_path):
    (anchors,), (holding,) = shown("toml"), shown("json")
    (tmp_path / "anchors.toml").write_text(anchors)
    trusted = load_trusted(tmp_path / "anchors.toml")
    assert (trusted.pool, len(trusted.tokens), len(trusted.attestors)) == ("main", 1, 1)
    (tmp_path / "holding.json").write_text(holding)
    # Its proof is cut short on the page.
    assert judge_file(tmp_path / "holding.json", trusted).verdict.outcome.name == "NODE_MISSING"


def test_the_page_names_every_outcome():
    text = (Path(__file__).parents[2] / "docs" / "proofs.md").read_text()
    rows = dict(re.findall(r"^\| `([A-Z_]+)` \| (.*) \|$", text, re.M))
    assert rows == {one.name: one.value for one in ProofOutcome}
