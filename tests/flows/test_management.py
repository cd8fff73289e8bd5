"""The commands ``calls`` and ``what-if``: what they print, and what they say of mistakes."""

import csv
import json
import signal
import sys

import pyarrow.parquet as pq
import pytest

import flows.cli
from storage.runs import RunStore
from tests.processes import clean_environment, run

pytestmark = pytest.mark.filterwarnings("ignore:Cyclopts application invoked without tokens")


@pytest.fixture(scope="module")
def home(tmp_path_factory, mixed_book, margin_of):
    """A data folder with a published run of the mixed book."""
    home = tmp_path_factory.mktemp("home")
    margin_of(mixed_book, runs=home / "runs")
    return home


@pytest.fixture
def margincube(home, monkeypatch, capsys):
    """Return a function that runs a command in this process: (exit code, output, messages)."""
    monkeypatch.setenv("MARGINCUBE_HOME", str(home))
    monkeypatch.setenv("COLUMNS", "200")
    handler = signal.getsignal(signal.SIGTERM)

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["margincube", *map(str, arguments)])
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


def test_calls_are_readable(margincube):
    code, output, _ = margincube("calls")
    assert code == 0
    for part in ("Accounts by health", "Calls by member", "largest of", "Ways back", "held back"):
        assert part in output


def test_calls_as_json_are_listed_with_their_ways_back(margincube):
    code, output, _ = margincube("calls", "--json", "--limit", 3)
    assert code == 0
    found = json.loads(output)
    assert len(found["calls"]) == 3
    assert found["accounts_called"] > 3
    for call in found["calls"]:
        assert call["way_back"]["deposit"] == pytest.approx(call["call_amount"], rel=1e-9)


def test_calls_say_what_changed(margincube, home):
    (manifest,) = RunStore(home / "runs").manifests()
    code, output, _ = margincube("calls", "--previous", manifest["run_id"], "--limit", 2)
    assert code == 0
    assert f"Since {manifest['run_id']}" in output
    assert "variation margin" in output


def test_all_calls_are_written_where_they_are_told(margincube, tmp_path):
    paths = tmp_path / "calls.csv", tmp_path / "calls.parquet"
    code, output, _ = margincube("calls", "--csv", paths[0], "--parquet", paths[1], "--limit", 0)
    assert code == 0
    with paths[0].open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == pq.read_table(paths[1]).num_rows > 3
    assert f"{len(rows)} calls written to {paths[0]}" in output


def test_what_if_is_readable(margincube):
    code, output, _ = margincube("what-if", "acc-010", "--add", "-3 I10", "--add", "2.5 I01")
    assert code == 0
    for part in ("Trades", "Before and after", "margin ratio", "Shares", "Liquidation prices"):
        assert part in output
    assert "none within -100% to +500%" in output


def test_what_if_as_json_adds_up(margincube):
    code, output, messages = margincube("what-if", "acc-010", "--add", "-3 I10", "--json")
    assert (code, messages) == (0, "")
    answer = json.loads(output)
    assert answer["trades"][0]["contracts"] == -3.0
    shares = sum(one["share"] for one in answer["shares"]["positions"])
    assert shares == pytest.approx(answer["after"]["requirement"], rel=1e-9)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("calls", "nothing"), "no run 'nothing'"),
        (("calls", "--previous", "nothing"), "no run 'nothing'"),
        (("calls", "--csv", "calls.txt"), "use a .csv file"),
        (("calls", "--parquet", "calls.csv"), "use a .parquet file"),
        (("calls", "--limit", "-1"), "--limit"),
        (("what-if", "acc-0O1"), "did you mean 'acc-0"),
        (("what-if", "acc-007"), "account acc-007 is held back"),
        (("what-if", "acc-010", "--add", "1 I99"), "UNKNOWN_INSTRUMENT: no instrument 'I99'"),
        (("what-if", "acc-010", "--add", "0 I01"), "NUMBER_INVALID: quantity '0'"),
        (("what-if", "acc-010", "--add", "-0.005 I01"), "LOT_SIZE: quantity -0.005 of I01"),
        (("what-if", "acc-010", "--run", "nothing"), "no run 'nothing'"),
    ],
)
def test_a_mistake_is_told_in_a_sentence(margincube, command, said):
    code, output, messages = margincube(*command)
    assert (code, output) == (flows.cli.EXIT_MISTAKE, "")
    assert said in " ".join(messages.split())


@pytest.mark.parametrize(
    ("command", "never"),
    [
        (["calls", "--limit", "0"], ("prefect", "ray", "plotly", "numba")),
        (["what-if", "acc-010"], ("prefect", "ray", "plotly")),
    ],
)
def test_a_command_imports_only_what_it_needs(home, command, never):
    program = (
        "import sys\nfrom flows.cli import main\n"
        f"sys.argv = ['margincube', *{command!r}]\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        f"print([name for name in {never!r} if name in sys.modules])"
    )
    env = clean_environment(MARGINCUBE_HOME=str(home))
    done = run(sys.executable, "-c", program, env=env, cwd=home)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr
