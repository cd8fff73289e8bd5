"""What the guide to collateral shows is what the commands print."""

import io
import json
import re
import signal
import sys
from pathlib import Path

import pytest
from rich.console import Console

import flows.cli
from flows.collateral_tables import print_pool
from flows.commands.shared import PIPED_WIDTH
from storage.arrays import POOL
from storage.market import sample_market
from storage.runs import RunStore
from workers.claims.generate import generate_claims
from workers.engine import SerialEngine
from workers.generate import generate_book
from workers.margin_run import MarginRun
from workers.plan import RunRequest
from workers.pool.request import PoolRequest
from workers.pool.run import PoolRun

pytestmark = pytest.mark.filterwarnings("ignore:Cyclopts application invoked without tokens")

GUIDE = (Path(__file__).parents[2] / "docs" / "collateral.md").read_text()
COMMANDS = re.search(r"^```\n(.*?)^```$", GUIDE, re.M | re.S)[1]
POOL_SHOWN, ACCOUNT_SHOWN = re.findall(r"^```text\n(.*?)^```$", GUIDE, re.M | re.S)
ACCOUNT = re.search(r"explain latest (\S+)", COMMANDS)[1]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """The data folder that the commands of the guide leave, but for the engines."""
    home, engine = tmp_path_factory.mktemp("home"), SerialEngine()
    accounts, seed = map(int, re.search(r"--accounts (\d+) --seed (\d+)", COMMANDS).groups())
    book = generate_book(home / "books" / "mine", accounts, seed, sample_market(), name="mine")
    seed = int(re.search(r"claims generate mine --seed (\d+)", COMMANDS)[1])
    claims = generate_claims(home / "claims" / f"mine-{seed}", book, seed, sample_market())
    with MarginRun(
        RunRequest(book=book.path, runs=home / "runs"), lambda: engine, lambda: engine
    ) as run:
        run.prepare()
        run.price()
        run.margin()
        run.fold()
        run.publish()
    request = PoolRequest(
        run=run.run_id, claims=claims.path, runs=home / "runs", pools=home / "pools"
    )
    with PoolRun(request, lambda: engine, lambda: engine) as pool:
        pool.prepare()
        pool.count()
        pool.value()
        pool.pool()
        pool.fold()
        pool.publish()
    return home


def plain(output):
    """The output without spaces at the ends of lines, and without what names the code."""
    lines = "".join(f"{line.rstrip()}\n" for line in output.splitlines())
    return re.sub(r"(mine-20240108(?:-pool)?)-[0-9a-f]{12}", r"\1-…", lines)


@pytest.fixture
def explain(home, monkeypatch, capsys):
    """Return a function that explains in this process: (exit code, output, messages)."""
    monkeypatch.setenv("MARGINCUBE_HOME", str(home))
    handler = signal.getsignal(signal.SIGTERM)

    def call(*arguments):
        words = ["margincube", "collateral", "explain", *arguments]
        monkeypatch.setattr(sys, "argv", words)
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


def test_the_account_is_the_one_that_is_shown(explain):
    code, output, _ = explain("latest", ACCOUNT)
    assert code == 0
    assert plain(output) == ACCOUNT_SHOWN


def test_all_of_an_account_is_json(explain):
    code, output, _ = explain("mine", ACCOUNT, "--json")
    assert code == 0
    explained = json.loads(output)
    assert explained["account"] == ACCOUNT
    assert len(explained["scenarios"]) == 60
    assert f"{explained['requirement']:,.2f}" in ACCOUNT_SHOWN


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("latest", "nobody"), "no account 'nobody'"),
        (("other", ACCOUNT), "no run 'other'; published runs are ['mine-20240108-pool-"),
        (("latest", ACCOUNT, "--runs", "elsewhere"), "no run 'mine-20240108-"),
    ],
)
def test_a_mistake_is_told_in_a_sentence(explain, arguments, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, output, messages = explain(*arguments)
    assert (code, output) == (flows.cli.EXIT_MISTAKE, "")
    assert said in messages


def test_the_pool_is_the_one_that_is_shown(home):
    output = io.StringIO()
    manifest = RunStore(home / "pools", POOL).read().manifest
    print_pool(Console(file=output, width=PIPED_WIDTH), manifest)
    text = plain(output.getvalue())
    shown = text[text.index("The pool, USD") : text.index("\nStages, seconds")]
    kept = [line for line in shown.splitlines(True) if not line.startswith("digest of all")]
    assert "".join(kept) == POOL_SHOWN
