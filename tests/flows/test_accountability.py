"""Who let a run be made, against what and why: refused, asked for, told, signed and logged."""

import io
import json
import shutil
import signal

import pytest
from rich.console import Console

import flows.cli
from flows.report.page import render
from flows.report.stress.page import render as render_stress
from flows.run_view import run_view
from flows.stress_view import stress_view
from flows.tables import print_run
from storage.audit import entries
from storage.objects import S3Folder
from storage.runs import RunStore
from storage.signature import new_key
from tests.workers.stressed import SMALL_PLAN, stress
from workers.approval import ModelNotApproved
from workers.plan import RunRequest, identify
from workers.pool.request import DEFAULT_RULES, load_rules
from workers.stress.request import StressRequest

pytestmark = pytest.mark.filterwarnings("ignore:Cyclopts application invoked without tokens")

REASON = "a study of <the> desk"


@pytest.fixture(scope="module")
def mine(small_methodology, tmp_path_factory):
    """A methodology that was edited after its approval."""
    path = tmp_path_factory.mktemp("mine") / "mine.toml"
    path.write_text(small_methodology.read_text().replace("initial = 0.10", "initial = 0.20"))
    return path


@pytest.fixture(scope="module")
def overridden(margin_of, mixed_book, mine):
    """A run of it, as it was asked for all the same."""
    return margin_of(mixed_book, methodology=str(mine), unapproved=True, reason=REASON)


@pytest.fixture
def margincube(monkeypatch, capsys):
    """Return a function that runs a command in this process: exit code, output, messages."""

    handler = signal.getsignal(signal.SIGTERM)

    def call(*words):
        monkeypatch.setattr("sys.argv", ["margincube", *map(str, words)])
        code = 0
        try:
            flows.cli.main()
        except SystemExit as end:
            code = end.code or 0
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    yield call
    signal.signal(signal.SIGTERM, handler)


def test_a_model_without_an_approval_is_refused(mixed_book, mine, tmp_path):
    with pytest.raises(
        ModelNotApproved, match=r"MODEL_NOT_APPROVED: small 1: .*edited since.*--unapproved"
    ):
        identify(RunRequest(mixed_book.path, methodology=str(mine), runs=tmp_path))


def test_the_day_of_the_run_decides_and_not_the_clock(mixed_book, small_methodology, tmp_path):
    """The approval of the tests ended long ago, and after the instant of the book."""
    identify(RunRequest(mixed_book.path, methodology=str(small_methodology), runs=tmp_path))
    ended = small_methodology.read_text().replace("2024-12-31", "2024-01-07")
    path = tmp_path / "ended.toml"
    path.write_text(ended)
    with pytest.raises(ModelNotApproved, match=r"ended on 2024-01-07, .* as of 2024-01-08"):
        identify(RunRequest(mixed_book.path, methodology=str(path), runs=tmp_path))


def test_a_margin_mode_for_all_is_no_edit_and_foreign_events_that_bind_are(
    mixed_book, small_methodology, tmp_path
):
    events = tmp_path / "events.toml"
    events.write_text(
        '[[events]]\nname = "fall"\nlabel = "all fall"\n[events.shocks.price]\ndefault = -0.1\n'
    )
    given = {"methodology": str(small_methodology), "runs": tmp_path}
    identify(RunRequest(mixed_book.path, netting="isolated", **given))
    with pytest.raises(ModelNotApproved, match="events of another file set a layer"):
        identify(RunRequest(mixed_book.path, events=str(events), **given))
    # The house methodology only reports events.
    identify(RunRequest(mixed_book.path, events=str(events), runs=tmp_path))


def test_the_manifest_says_what_is_missing_and_why_it_was_run(overridden, margin_of, mixed_book):
    manifest = overridden.run.manifest
    assert manifest["overrides"] == {"unapproved": "True"}
    assert manifest["reason"] == REASON
    assert "edited since" in manifest["approval"]["missing"][0]
    plain = margin_of(mixed_book, unapproved=True).run.manifest
    assert (plain["overrides"], plain["approval"]["missing"]) == ({}, [])
    assert plain["approval"]["stated"]["owner"] == "the desk of the tests"


def test_terminal_and_page_say_it_and_those_of_an_approved_run_do_not(
    overridden, margin_of, mixed_book
):
    console = Console(width=200, file=io.StringIO())
    print_run(console, overridden.run.manifest)
    shown = console.file.getvalue()
    assert f"Model not approved. Run all the same: {REASON}" in shown
    assert "edited since" in shown
    page = render(run_view(overridden.run))
    assert 'class="banner" role="alert"' in page
    assert "Run all the same: a study of &lt;the&gt; desk" in page
    assert 'role="alert"' not in render(run_view(margin_of(mixed_book).run))


def test_what_rests_on_an_unapproved_run_says_so_too(overridden, tmp_path):
    plan = tmp_path / "plan.toml"
    plan.write_text(SMALL_PLAN)
    request = StressRequest(
        run=overridden.run.run_id,
        plan=str(plan),
        runs=overridden.request.runs,
        stresses=tmp_path / "stresses",
    )
    with pytest.raises(ModelNotApproved, match=r"small 1: it has no \[approval\]"):
        stress(request)
    made = stress(
        StressRequest(
            **{
                name: getattr(request, name)
                for name in ("run", "plan", "runs", "stresses", "shards", "batch")
            },
            unapproved=True,
        )
    )
    missing = made.run.manifest["approval"]["missing"]
    assert len(missing) == 2
    assert "edited since" in missing[1]
    page = render_stress(stress_view(made.run))
    assert "Model not approved. No reason given" in page


def test_a_pool_of_unapproved_rules_is_refused_and_says_so_when_asked(
    margin_of, synthetic_book, claims_of, pool_of, tmp_path
):
    from flows.pool_view import pool_view
    from flows.report.collateral.page import render as render_pool

    book = synthetic_book(100)
    rules = tmp_path / "rules.toml"
    text = load_rules(DEFAULT_RULES).text
    rules.write_text(text.replace("target_health = 1.05", "target_health = 1.1"))
    with pytest.raises(ModelNotApproved, match="edited since"):
        pool_of(margin_of(book), claims_of(book), rules=str(rules))
    made = pool_of(margin_of(book), claims_of(book), rules=str(rules), unapproved=True)
    assert 'class="banner" role="alert"' in render_pool(pool_view(made.pool))


def test_the_audit_log_has_the_override_and_its_reason(overridden, margincube, monkeypatch):
    (entry,) = entries(overridden.request.runs)
    assert entry.what["run"] == overridden.run.run_id
    assert entry.what["digest"] == overridden.digest
    assert entry.what["overrides"] == {"unapproved": "True"}
    assert entry.why == REASON
    place = ("--runs", overridden.request.runs)
    code, output, _ = margincube("audit", *place)
    assert code == 0
    assert REASON in output
    code, output, _ = margincube(
        "audit", "--verify", "--contains", entry.hash[:12], *place, "--json"
    )
    assert json.loads(output)["last"] == entry.hash
    code, _, messages = margincube("audit", "--contains", "beef" * 16, *place)
    assert code == flows.cli.EXIT_REFUSED
    assert "has no entry of digest" in messages


def test_an_empty_audit_log_is_said_to_be_empty_and_no_more(margincube, tmp_path):
    code, output, _ = margincube("audit", "--runs", tmp_path)
    assert (code, output) == (0, f"nothing has been recorded in {tmp_path}\n")


def test_a_log_that_was_deleted_is_no_log_of_nothing(margincube, overridden, tmp_path):
    place = tmp_path / "runs"
    shutil.copytree(overridden.request.runs, place)
    assert margincube("audit", "--verify", "--runs", place)[0] == 0
    shutil.rmtree(place / "audit")
    code, output, messages = margincube("audit", "--verify", "--runs", place)
    assert (code, output) == (flows.cli.EXIT_REFUSED, "")
    assert f"{overridden.run.run_id} published in" in messages
    assert "none of the 0 entries" in messages


def test_no_folder_is_no_empty_log(margincube, tmp_path):
    for words in ((), ("--verify",)):
        code, output, messages = margincube("audit", *words, "--runs", tmp_path / "rums")
        assert (code, output) == (flows.cli.EXIT_MISTAKE, "")
        assert "no folder of margin runs at" in messages
    assert list(tmp_path.iterdir()) == []


def test_no_store_is_no_empty_log(margincube, bucket):
    for words in ((), ("--verify",)):
        code, _, messages = margincube("audit", *words, "--runs", f"s3://{bucket}/rums")
        assert code == flows.cli.EXIT_MISTAKE
        assert f"no folder of margin runs at s3://{bucket}/rums" in messages
    assert S3Folder(bucket, "rums").sizes() == {}


def test_approve_lets_a_file_be_used_and_records_it(
    mine, margincube, mixed_book, tmp_path, monkeypatch
):
    monkeypatch.setenv("MARGINCUBE_HOME", str(tmp_path))
    copy = tmp_path / "copy.toml"
    copy.write_text(mine.read_text())
    words = ("--owner", "desk", "--by", "risk", "--until", "2024-06-30", "--reason", "reviewed")
    code, _, messages = margincube("approve", copy, *words)
    assert code == 0, messages
    identify(RunRequest(mixed_book.path, methodology=str(copy), runs=tmp_path / "runs"))
    (entry,) = entries(tmp_path / "runs")
    assert (entry.what["action"], entry.why) == ("approve", "reviewed")
    broken = tmp_path / "broken.toml"
    broken.write_text("name = 'broken'\n")
    code, _, _ = margincube("approve", broken, *words)
    assert code == flows.cli.EXIT_MISTAKE
    assert broken.read_text() == "name = 'broken'\n"


def test_a_refused_model_has_its_exit_code(margincube, mixed_book, mine, tmp_path, monkeypatch):
    monkeypatch.setenv("MARGINCUBE_HOME", str(tmp_path))
    code, output, messages = margincube("run", mixed_book.path, "--methodology", mine)
    assert (code, output) == (flows.cli.EXIT_REFUSED, "")
    assert "MODEL_NOT_APPROVED" in messages


def test_keys_and_signatures_by_the_command_line(margincube, overridden, tmp_path):
    code, output, _ = margincube("keys", "new", tmp_path / "key.pem", "--json")
    assert code == 0
    public = json.loads(output)["public"]
    code, _, messages = margincube(
        "verify-signature", "latest", "--key", public, "--runs", overridden.request.runs
    )
    assert code == flows.cli.EXIT_REFUSED
    assert "carries no signature" in messages


def test_a_run_by_the_command_line_is_signed(
    margincube, mixed_book, small_methodology, margin_of, tmp_path, monkeypatch
):
    """The systems of a comparison, which needs neither Ray nor Prefect."""
    public, _ = new_key(tmp_path / "key.pem")
    monkeypatch.setenv("MARGINCUBE_HOME", str(tmp_path))
    monkeypatch.setenv("MARGINCUBE_SIGNING_KEY", str(tmp_path / "key.pem"))
    words = ("--methodology", small_methodology, "--netting", "isolated", "--netting", "cross")
    code, _, messages = margincube("compare", mixed_book.path, *words, "--reason", "to see")
    assert code == 0, messages
    for manifest in RunStore(tmp_path / "runs").manifests():
        code, output, _ = margincube("verify-signature", manifest["run_id"], "--key", public)
        assert code == 0
        assert "signed by the key" in output
    assert [one.why for one in entries(tmp_path / "runs")] == ["to see", "to see"]
