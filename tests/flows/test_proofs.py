"""The commands ``margincube proofs``: what they print, their exit codes, and no traceback."""

import json
import signal
import sys

import pytest

import flows.cli
from tests.risk.proofs.chain import GOLDEN, Chain, changed, hexed, ownership

CASE = GOLDEN["ethereum_storage"]
ROOT = CASE["state_root"]
pytestmark = pytest.mark.filterwarnings("ignore:Cyclopts application invoked without tokens")


@pytest.fixture
def proofs(monkeypatch, capsys):
    """Return a function that runs the command in this process: (exit code, output, messages)."""
    handler = signal.getsignal(signal.SIGTERM)

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["margincube", "proofs", *map(str, arguments)])
        code = 0
        try:
            flows.cli.main()
        except SystemExit as end:
            code = end.code or 0
        output, messages = capsys.readouterr()
        assert "Traceback" not in output + messages
        return code, output, " ".join(messages.split())

    yield call
    signal.signal(signal.SIGTERM, handler)


@pytest.fixture
def answer(tmp_path):
    """A file of a real answer, with other fields where they are given."""

    def write(**fields):
        path = tmp_path / "answer.json"
        path.write_text(json.dumps(changed(CASE["answer"], **fields)))
        return path

    return write


def test_a_real_answer_is_verified(proofs, answer):
    code, output, _ = proofs("verify", answer(), "--root", ROOT)
    assert code == 0
    assert "PROVEN: the value is in the state under the anchored root" in output
    assert "0xf0e3b9aada6d89ddeb34aab7e9cd1744cf90d82f, PROVEN" in output


def test_json_holds_what_was_proven(proofs, answer):
    path, address = answer(), CASE["answer"]["address"]
    code, output, _ = proofs(
        "verify", path, "--root", ROOT, "--address", address, "--slot", "0x0", "--json"
    )
    found = json.loads(output)
    assert (code, found["outcome"], found["nonce"]) == (0, "PROVEN", 1)
    assert found["slots"] == [
        {"slot": "0x0", "value": "0xf0e3b9aada6d89ddeb34aab7e9cd1744cf90d82f", "outcome": "PROVEN"}
    ]


def test_a_proof_without_a_root_is_refused_by_name(proofs, answer):
    code, _, messages = proofs("verify", answer())
    assert code == 3
    assert "NO_ROOT" in messages
    assert "a proof without one proves nothing" in messages


@pytest.mark.parametrize(
    ("fields", "asked", "outcome"),
    [
        ({}, ("--root", "0x" + "11" * 32), "ROOT_UNTRUSTED"),
        ({"balance": "0x1"}, ("--root", ROOT), "VALUE_DIFFERS"),
        ({"accountProof": CASE["answer"]["accountProof"][:-1]}, ("--root", ROOT), "NODE_MISSING"),
        ({}, ("--root", ROOT, "--address", "0x" + "22" * 20), "ADDRESS_DIFFERS"),
        ({}, ("--root", ROOT, "--slot", "0x7"), "KEY_DIFFERS"),
        ({"nonce": None}, ("--root", ROOT), "MALFORMED"),
    ],
)
def test_refusals_exit_with_three_and_their_name(proofs, answer, fields, asked, outcome):
    path = answer(**fields)
    code, _, messages = proofs("verify", path, *asked)
    assert code == 3
    assert outcome in messages
    code, output, _ = proofs("verify", path, *asked, "--json")
    assert (code, json.loads(output)["outcome"]) == (3, outcome)


@pytest.mark.parametrize("content", ["", "[" * 100_000, '{"a": 1, "a": 1}', "null"])
def test_hostile_files_are_malformed(proofs, tmp_path, content):
    path = tmp_path / "hostile.json"
    path.write_text(content)
    code, _, messages = proofs("verify", path, "--root", ROOT)
    assert code == 3
    assert "MALFORMED" in messages


def test_mistakes_in_what_is_asked_exit_with_two(proofs, answer, tmp_path):
    code, _, messages = proofs("verify", answer(), "--root", "0x12")
    assert code == 2
    assert "has 1 bytes, allowed are 32" in messages
    code, _, messages = proofs("verify", tmp_path / "gone.json", "--root", ROOT)
    assert code == 2
    assert "gone.json does not exist; give a JSON file of an answer of eth_getProof" in messages


@pytest.fixture
def pool(tmp_path):
    """A folder of holdings and the file of what their pool trusts."""
    chain = Chain()
    (tmp_path / "anchors.json").write_text(json.dumps(chain.trusted()))
    folder = tmp_path / "holdings"
    folder.mkdir()
    for number in range(3):
        (folder / f"{number}.json").write_text(json.dumps(chain.holding()))
    return chain, folder, tmp_path / "anchors.json"


def test_a_batch_that_holds_exits_with_zero(proofs, pool):
    _, folder, anchors = pool
    code, output, _ = proofs("batch", folder, "--anchors", anchors)
    assert code == 0
    assert ["proven", "3"] in [line.split() for line in output.splitlines()]


def test_a_batch_names_what_is_refused(proofs, pool):
    chain, folder, anchors = pool
    replayed = changed(chain.holding(), ownership=ownership(pool="other"))
    (folder / "1.json").write_text(json.dumps(replayed))
    stated = changed(chain.holding(), answer=None, ownership=None)
    (folder / "2.json").write_text(json.dumps(stated))
    code, output, _ = proofs("batch", folder, "--anchors", anchors, "--engine", "serial")
    assert code == 3
    assert "1.json: SIGNATURE_OTHER_POOL, it is for 'other', here is 'main'" in output
    assert "2.json" not in output
    counts = [line.split() for line in output.splitlines()]
    assert [[name, "1"] in counts for name in ("proven", "stated", "refused")] == [True] * 3
    code, output, _ = proofs("batch", folder, "--anchors", anchors, "--json")
    found = {one["file"]: (one["outcome"], one["standing"]) for one in json.loads(output)}
    assert code == 3
    assert found == {
        "0.json": ("PROVEN", "proven"),
        "1.json": ("SIGNATURE_OTHER_POOL", "stated"),
        "2.json": ("STATED", "stated"),
    }


def test_a_mistake_in_the_anchors_names_its_field(proofs, pool):
    chain, folder, anchors = pool
    anchors.write_text(json.dumps(chain.trusted(anchor={"state_root": hexed(b"short")})))
    code, _, messages = proofs("batch", folder, "--anchors", anchors)
    assert code == 2
    assert "anchors.0.state_root" in messages
    assert "allowed are 32" in messages
    code, _, messages = proofs("batch", folder, "--anchors", folder)
    assert code == 2
    assert "holdings is a folder; give the TOML or JSON file" in messages
    code, _, messages = proofs("batch", anchors, "--anchors", anchors)
    assert code == 2
    assert "is a file" in messages
