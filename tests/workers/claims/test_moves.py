"""Plans of moves from a file, and the command that prints them."""

import json
import re
import signal
import sys
from pathlib import Path

import pytest

import flows.cli
from workers.claims.moves import plans_of, read_moves

PAGE = Path(__file__).parents[3] / "docs" / "moves.md"
EXAMPLE = re.search(r"^```toml\n(.*?)^```$", PAGE.read_text(), re.M | re.S)[1]

pytestmark = pytest.mark.filterwarnings("ignore:Cyclopts application invoked without tokens")


@pytest.fixture
def moves(monkeypatch, capsys, tmp_path):
    """Return a function that runs the command on a text: (exit code, output, messages)."""
    handler = signal.getsignal(signal.SIGTERM)
    path = tmp_path / "plan.toml"

    def call(text, *options):
        path.write_text(text)
        monkeypatch.setattr(sys, "argv", ["margincube", "collateral", "moves", str(path), *options])
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


def test_json_has_both_plans_and_those_between(moves):
    code, output, _ = moves(EXAMPLE, "--json")
    answer = json.loads(output)
    assert code == 0
    assert answer["met"]
    # By hand: 12 + 0.4 + 4 + 4, and 5 % a year on 110,000 for 1,260 s and 261,111.11 for 780 s.
    delay = 0.05 / (365 * 86_400) * (110_000 * 1_260 + (150_000 + 100_000 / 0.9) * 780)
    assert answer["cheapest"]["cost"]["fixed_fees"] == 20.4
    assert answer["cheapest"]["cost"]["delay"] == pytest.approx(delay, rel=1e-8)
    assert [one["seconds"] for one in answer["frontier"]] == [1_260, 780]
    assert answer["quickest"]["seconds"] == 780
    (ether,) = [one for one in answer["cheapest"]["moves"] if one["token"] == "ETH.ethereum"]
    assert float(ether["sent"]) == pytest.approx(100_000 / 2_160, rel=1e-9)
    assert len(ether["sent"].partition(".")[2]) <= 18


def test_numbers_stay_the_decimals_that_were_written(tmp_path):
    """A tenth is no binary fraction: 1.1 less 1 would leave more than a tenth or less."""
    text = EXAMPLE.replace("quantity = 50000", "quantity = 50000.1")
    path = tmp_path / "plan.toml"
    path.write_text(text)
    assert read_moves(path).held()["USDC.arbitrum", "perpetuals"] == 50_000_100_000


def test_the_quickest_plan_is_shown_when_asked_for(moves):
    code, output, _ = moves(EXAMPLE, "--quickest")
    assert code == 0
    assert "The quickest plan costs" in output
    assert "after 13 min 00 s" in output


def test_what_no_plan_meets_exits_with_six_and_says_by_how_much(moves):
    code, output, _ = moves(EXAMPLE.replace("due = 3600", "due = 60"))
    assert code == 6
    assert "No plan meets every requirement" in output
    (line,) = [line for line in output.splitlines() if line.startswith("perpetuals  ")]
    assert "110,000.00" in line
    assert "perpetuals is due too soon: 110,000.00 USD more would be there after 21 min" in output
    assert "exchange is due too soon" not in output


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ("this is no plan", "is no TOML"),
        (EXAMPLE.replace("fee = 12", "fee = -12"), "routes.0.fee"),
        (EXAMPLE.replace("fee = 12", "fee = nan"), "routes.0.fee"),
        (EXAMPLE.replace('bridge = "hop"', 'bridge = "hip"'), "names the bridge hip"),
    ],
)
def test_mistakes_end_in_a_sentence(moves, wrong, sentence):
    code, _, messages = moves(wrong)
    assert code == 2
    assert sentence in messages


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"plan\.toml is no file"):
        read_moves(tmp_path / "plan.toml")


def test_what_the_solver_writes_is_no_part_of_the_results(tmp_path, capfd):
    path = tmp_path / "plan.toml"
    path.write_text(EXAMPLE)
    plans_of(read_moves(path))
    assert capfd.readouterr().out == ""
