"""The commands on claims: made, imported and shown; a mistake is a sentence."""

import json
import re
import signal
import sys

import pytest

import flows.cli
from storage.claims import Claims
from tests.risk.proofs.chain import CHAIN, Chain, changed, ownership
from tests.storage.claim_files import GOOD, small_book, spoilt, write_files
from workers.generate import generate_book

pytestmark = pytest.mark.filterwarnings("ignore:Cyclopts application invoked without tokens")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    from storage.market import sample_market

    folder = tmp_path_factory.mktemp("home")
    generate_book(folder / "books" / "made", 300, 5, sample_market())
    small_book(folder / "books" / "small")
    return folder


@pytest.fixture
def margincube(home, monkeypatch, capsys):
    """Return a function that runs a command in this process: (exit code, output, messages)."""
    monkeypatch.setenv("MARGINCUBE_HOME", str(home))
    monkeypatch.setenv("COLUMNS", "200")
    handler = signal.getsignal(signal.SIGTERM)

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["margincube", "claims", *map(str, arguments)])
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


def test_generated_claims_are_shown(margincube, home):
    code, output, _ = margincube("generate", "made", "--seed", "4", "--json")
    assert code == 0
    manifest = json.loads(output)
    claims = Claims.open(home / "claims" / "made-4")
    assert manifest["digest"] == claims.digest
    code, output, _ = margincube("info", "made-4")
    assert code == 0
    numbers = {
        line.rsplit(None, 1)[0]: line.rsplit(None, 1)[1]
        for line in output.splitlines()
        if len(line.split()) > 1
    }
    assert numbers["claims"] == f"{claims.claims:,}"
    assert numbers["lending markets"] == "6"
    assert numbers["bridges"] == "5"
    assert int(numbers["planted faults"]) > 3


def test_imported_claims_are_counted_and_shown(margincube, home, tmp_path):
    folder = write_files(tmp_path / "pool", spoilt("claims", 2, "root", ""))
    code, output, _ = margincube("import", "small", folder)
    assert code == 0
    for words in ("ROOT_MISSING", "1 times", "1 accounts are held back", "Claims pool"):
        assert words in output
    assert re.search(r"^a +ROOT_MISSING +2$", output, re.M)
    assert str(home / "claims" / "pool" / "quarantine.parquet") in output
    assert "next: margincube collateral RUN --claims pool" in output
    code, output, messages = margincube("import", "small", folder)
    assert (code, output) == (flows.cli.EXIT_MISTAKE, "")
    assert "choose another name (--name)" in messages
    code, output, _ = margincube("import", "small", folder, "--name", "again", "--json")
    assert json.loads(output)["findings"] == {"ROOT_MISSING": 1}
    assert json.loads(output)["datasets"]["claims"]["accepted"] == 6


@pytest.mark.parametrize("option", ["--trusted", "--anchors"])
def test_claims_are_as_proven_as_their_holdings(margincube, home, tmp_path, option):
    chain = Chain()
    trusted = chain.trusted() | {"chains": [{"chain": CHAIN, "name": "Ethereum", "coin": "ETH"}]}
    (tmp_path / "trusted.json").write_text(json.dumps(trusted))
    coin = changed(
        chain.holding(token=None, quantity="5", decimals=18),
        account="a",
        ownership=ownership(account="a"),
    )
    (tmp_path / "holdings").mkdir()
    (tmp_path / "holdings" / "coin.json").write_text(json.dumps(coin))
    folder = write_files(tmp_path / "pool", spoilt("claims", 2, "quantity", "5"))
    given = ("--proofs", tmp_path / "holdings", option, tmp_path / "trusted.json")
    code, output, _ = margincube("import", "small", folder, "--name", option.strip("-"), *given)
    assert code == 0
    assert "STANDING_NOT_SHOWN 3 times, a warning" in output
    assert ["standings", "judged"] in [line.split() for line in output.splitlines()]
    kept = Claims.open(home / "claims" / option.strip("-"))
    assert kept.columns(["standing"])["standing"].tolist().count(0) == 1
    code, _, messages = margincube("import", "small", folder, "--name", "n", *given[:2])
    assert code == flows.cli.EXIT_MISTAKE
    assert "--proofs is given without --trusted" in messages


def test_files_that_cannot_be_used_are_refused(margincube, home, tmp_path):
    files = {name: text for name, text in GOOD.items() if name != "tokens"}
    code, output, messages = margincube("import", "small", write_files(tmp_path / "bad", files))
    assert (code, output) == (flows.cli.EXIT_REFUSED, "")
    assert "DATASET_MISSING in tokens" in messages
    assert not (home / "claims" / "bad").exists()


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("info nothing", "no claims 'nothing' in"),
        ("generate nothing", "there are ['made', 'small']"),
        ("generate made --name a/b", "is not plain"),
        ("generate made --seed -1", "seed -1 is out of range"),
        ("import small nowhere", "nowhere does not exist"),
    ],
)
def test_a_mistake_is_told_in_a_sentence(margincube, command, said):
    code, output, messages = margincube(*command.split())
    assert (code, output) == (flows.cli.EXIT_MISTAKE, "")
    assert said in messages
