"""The command ``margincube conformance``: table, JSON, exit codes, sentences."""

import json
import signal
import sys
from pathlib import Path

import pytest

import flows.cli

GOLDEN = Path(__file__).parents[1] / "golden" / "margin_vectors_more.json"
pytestmark = pytest.mark.filterwarnings("ignore:Cyclopts application invoked without tokens")


@pytest.fixture
def conformance(monkeypatch, capsys):
    """Return a function that runs the command in this process: (exit code, output, messages)."""
    handler = signal.getsignal(signal.SIGTERM)

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["margincube", "conformance", *map(str, arguments)])
        code = 0
        try:
            flows.cli.main()
        except SystemExit as end:
            code = end.code or 0
        output, messages = capsys.readouterr()
        assert "Traceback" not in output + messages
        return code, output, messages

    yield call
    signal.signal(signal.SIGTERM, handler)


@pytest.fixture
def wrong(tmp_path):
    """A file in which one number of each of two vectors was changed, and one method is unknown."""
    content = json.loads(GOLDEN.read_text())
    by_id = {one["id"]: one for one in content["vectors"]}
    by_id["mango.health1.3"]["expected"]["init_health"] += 1.0
    by_id["dydx.5pct"]["verified"] = "recomputed"
    by_id["dydx.5pct"]["expected"]["maintenance"] += 1
    by_id["drift.imf.0.1"]["method"] = "drift_of_tomorrow"
    path = tmp_path / "wrong.json"
    path.write_text(json.dumps(content))
    return path


def row(output, name):
    return next(line.split() for line in output.splitlines() if line.startswith(name))


def test_a_file_whose_numbers_are_all_found_exits_with_zero(conformance):
    code, output, _ = conformance(GOLDEN)
    assert code == 0
    assert row(output, "mango_v4_health")[1:6] == ["0", "0", "7", "0", "0"]
    assert "Failures" not in output
    assert "not supported, not computed" not in output


def test_failures_are_listed_and_exit_with_one(conformance, wrong):
    code, output, _ = conformance(wrong)
    assert code == 1
    assert row(output, "dydx_v4_margin")[1:6] == ["0", "1", "9", "0", "0"]
    assert row(output, "mango_v4_health")[1:6] == ["0", "0", "6", "1", "0"]
    assert row(output, "drift_of_tomorrow")[1:] == ["0", "0", "0", "0", "1", "–"]
    assert "not supported, not computed: drift_of_tomorrow" in output
    failures = output[output.index("Failures") :]
    assert row(failures, "dydx.5pct")[1:4] == ["maintenance", "276009346", "276009345"]
    assert "mango.health1.5 " not in failures


def test_json_holds_every_vector_and_every_number(conformance, wrong):
    code, output, _ = conformance(wrong, "--json")
    assert code == 1
    found = json.loads(output)
    assert found["totals"]["failed"] == found["totals"]["read_only_failed"] == 1
    assert found["totals"]["not_supported"] == 1
    failed = {one["id"]: one for one in found["vectors"] if one["status"] == "failed"}
    assert failed.keys() == {"dydx.5pct", "mango.health1.3"}
    (number,) = failed["mango.health1.3"]["numbers"]
    assert number["path"] == "init_health"
    assert not number["within"]


def test_only_one_method_may_be_asked_for(conformance, wrong):
    code, output, _ = conformance(wrong, "--method", "black76", "--verbose")
    assert code == 0
    assert "black76.lyra.zero_strike" in output
    assert "mango" not in output


def test_a_method_that_the_file_lacks_is_a_mistake(conformance):
    code, _, messages = conformance(GOLDEN, "--method", "astrology")
    assert code == 2
    assert "no vector of method 'astrology'; it has aave_health_factor" in messages


@pytest.mark.parametrize("text", ["{", '{"vectors": [{"id": "x"}]}', '{"vectors": [NaN]}'])
def test_a_broken_file_is_a_mistake(conformance, tmp_path, text):
    path = tmp_path / "broken.json"
    path.write_text(text)
    code, output, messages = conformance(path)
    assert code == 2
    assert "broken.json" in messages
    assert not output.strip()


def test_a_file_that_is_not_there_is_a_mistake(conformance, tmp_path):
    code, _, messages = conformance(tmp_path / "nothing.json")
    assert code == 2
    assert "nothing.json" in messages


def test_a_method_that_cannot_compute_says_why(conformance, tmp_path):
    content = json.loads(GOLDEN.read_text())
    (one,) = [one for one in content["vectors"] if one["id"] == "aave.hf.0.03"]
    del one["inputs"]["debt"]
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({"vectors": [one]}))
    code, output, _ = conformance(path)
    assert code == 1
    assert "the inputs hold no 'debt'" in output
