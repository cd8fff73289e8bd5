"""The command ``margincube``: what it prints, what it exits with, what it says of mistakes."""

import io
import json
import os
import pty
import signal
import subprocess
import sys
from datetime import timedelta

import pytest
from rich.console import Console

import flows.cli
from flows.tables import print_runs, print_stages
from storage.market import sample_market, write_market
from storage.objects import S3Folder
from storage.runs import RunStore
from tests.conftest import approved
from tests.processes import BIN, clean_environment, free_ports, run
from workers.plan import RunRequest, identify

HEAVY = ("prefect", "ray", "plotly", "numba")

# Tests set sys.argv, as a shell does.
pytestmark = pytest.mark.filterwarnings("ignore:Cyclopts application invoked without tokens")


@pytest.fixture(scope="module")
def home(tmp_path_factory, synthetic_book, margin_of):
    """A data folder with a book and a published run of it."""
    home = tmp_path_factory.mktemp("home")
    margin_of(synthetic_book(2_000), runs=home / "runs")
    (home / "books").mkdir()
    (home / "books" / "small").symlink_to(synthetic_book(2_000).path)
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


@pytest.fixture
def manifest(home):
    (manifest,) = RunStore(home / "runs").manifests()
    return manifest


def largest_account(home):
    return str(RunStore(home / "runs").open().folds["top_requirement_name"].values[0])


def test_help_names_every_command_and_every_exit_code(margincube):
    code, output, _ = margincube("--help")
    assert code == 0
    commands = (
        *(
            "book",
            "calls",
            "collateral",
            "compare",
            "conformance",
            "demo",
            "explain",
            "export",
            "market",
        ),
        *("methodologies", "report", "run", "runs", "serve", "show", "what-if"),
    )
    for word in (*commands, "Exit codes"):
        assert word in output


def test_show_prints_totals_and_stages(margincube, manifest):
    code, output, _ = margincube("show")
    assert code == 0
    assert manifest["run_id"] in output
    for stage in manifest["stages"]:
        assert stage["name"] in output


def printed_stages(manifest):
    console = Console(width=200, record=True, file=io.StringIO())
    print_stages(console, manifest)
    return console.export_text()


def test_memory_is_printed_as_projected_and_as_taken(manifest):
    assert manifest["memory"]["shards_cut_smaller"] is False
    taken = {
        "projected_total": 2.53e9,
        "projected_per_worker": 7e8,
        "peak_total": 1.53e9,
        "peak_per_worker": 5e8,
        "limit": 2.05e10,
        "limit_of": "container",
        "shards": 40,
    }
    text = printed_stages(manifest | {"memory": taken | {"shards_cut_smaller": True}})
    assert "of all processes 1.53 GB (projected 2.53 GB, container 20.5 GB)" in text
    assert "of the largest worker 500 MB (projected 700 MB)" in text
    assert "40 shards, cut smaller so that they fit" in text
    text = printed_stages(manifest | {"memory": taken | {"shards_cut_smaller": False}})
    assert text.rstrip().endswith("40 shards")


def test_the_manifest_of_an_earlier_version_is_printed_too(manifest):
    earlier = {name: value for name, value in manifest.items() if name != "memory"}
    text = printed_stages(earlier | {"peak_memory_bytes": 1.53e9})
    assert text.rstrip().endswith("peak memory of all processes 1.53 GB")


@pytest.mark.parametrize(
    "command", [("runs",), ("show",), ("show", "b2000"), ("book", "show", "small")], ids=" ".join
)
def test_json_is_json_and_nothing_else(margincube, command):
    code, output, messages = margincube(*command, "--json")
    assert (code, messages) == (0, "")
    json.loads(output)


def test_json_of_a_run_is_its_manifest(margincube, manifest):
    assert json.loads(margincube("show", "--json")[1]) == manifest
    kept = {"tags": [], "standing": "latest"}
    assert json.loads(margincube("runs", "--json")[1]) == [manifest | kept]


def test_explanation_adds_up(margincube, home):
    code, output, _ = margincube("explain", largest_account(home), "--json")
    assert code == 0
    explained = json.loads(output)
    layers = sum(layer["amount"] for layer in explained["layers"])
    assert explained["requirement"] == pytest.approx(layers, rel=1e-12)
    assert explained["excess"] == pytest.approx(explained["equity"] - explained["requirement"])


def test_explanation_is_readable(margincube, home):
    code, output, _ = margincube("explain", largest_account(home))
    assert code == 0
    for part in ("Collateral", "Positions", "Requirement", "excess = equity - requirement"):
        assert part in output


def test_report_and_export_write_where_they_are_told(margincube, tmp_path):
    code, output, _ = margincube("report", "--output", tmp_path / "page.html", "--json")
    assert code == 0
    assert json.loads(output)["report"] == str(tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text().startswith("<!doctype html>")
    code, output, _ = margincube("export", "--output", tmp_path / "accounts.csv", "--json")
    assert code == 0
    assert json.loads(output)["rows"] == 2_000
    assert len((tmp_path / "accounts.csv").read_text().splitlines()) == 2_001


def test_no_run_yet_is_no_mistake(margincube, tmp_path, monkeypatch):
    monkeypatch.setenv("MARGINCUBE_HOME", str(tmp_path))
    code, output, _ = margincube("runs")
    assert code == 0
    assert "margincube demo" in output


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("run nothing", "no book 'nothing' in"),
        ("book show nothing", "there are ['small']"),
        ("show nothing", "no run 'nothing'; published runs are"),
        ("report nothing", "no run 'nothing'"),
        ("explain nobody --run nothing", "no run 'nothing'"),
        ("export --output accounts.txt", ".csv or .parquet"),
        ("book generate --accounts 0", "accounts"),
        ("run small --shards 0", "shards: Input should be greater than or equal to 1, got 0"),
        ("run small --engine spark", 'Invalid value "spark" for --engine'),
        ("run small --engine serial --fold ray", "fold 'ray' needs the engine 'ray'"),
        ("run small --methodology nothing", "no methodology 'nothing'; shipped are"),
        ("methodologies nothing", "no methodology 'nothing'; shipped are"),
        ("run small --events nothing.toml", "nothing.toml"),
        ("run small --market nothing", "nothing"),
        ("run small --nonsense 1", "--nonsense"),
        ("shwo", "show"),
        ("serve nothing", "or give a folder's path"),
    ],
)
def test_a_mistake_is_told_in_a_sentence(margincube, command, said):
    code, output, messages = margincube(*command.split())
    assert (code, output) == (flows.cli.EXIT_MISTAKE, "")
    assert said in messages


def test_an_unknown_account_is_told_which_was_meant(margincube, home):
    name = largest_account(home)
    code, _, messages = margincube("explain", name[:-1] + "x")
    assert code == flows.cli.EXIT_MISTAKE
    assert name[:4] in messages


def test_a_methodology_that_is_not_one_is_told_field_by_field(margincube, tmp_path):
    (tmp_path / "broken.toml").write_text("name = 'broken'\n")
    code, _, messages = margincube("run", "small", "--methodology", tmp_path / "broken.toml")
    assert code == flows.cli.EXIT_MISTAKE
    assert "version: Field required" in messages


def test_book_and_market_must_be_of_one_instant(margincube, tmp_path):
    sample = sample_market()
    earlier = sample.as_of - timedelta(hours=1)
    quotes = sample.quotes()
    write_market(tmp_path / "earlier", quotes, sample.prices(), earlier)
    code, _, messages = margincube("run", "small", "--market", tmp_path / "earlier")
    assert code == flows.cli.EXIT_MISTAKE
    assert "ASOF_MISMATCH" in messages
    assert sample.as_of.isoformat() in messages
    assert earlier.isoformat() in messages


def test_a_published_run_is_recognised_before_anything_starts(
    margincube, manifest, small_methodology
):
    code, output, messages = margincube("run", "small", "--methodology", small_methodology)
    assert code == 0
    assert "recognised" in output
    assert manifest["run_id"] in output
    assert "engine" not in messages


def test_a_setting_from_the_environment_is_checked_too(margincube, monkeypatch):
    monkeypatch.setenv("MARGINCUBE_ENGINE", "spark")
    code, _, messages = margincube("run", "small")
    assert code == flows.cli.EXIT_MISTAKE
    assert "engine: Input should be 'ray', 'dask' or 'serial', got 'spark'" in messages


def test_refused_input_has_its_own_exit_code(margincube, tmp_path):
    (tmp_path / "in").mkdir()
    code, _, messages = margincube(
        *("book", "import", tmp_path / "in", "--as-of", "2024-01-08T11:19:41Z")
    )
    assert code == flows.cli.EXIT_REFUSED
    assert "instruments" in messages


def test_only_a_fault_of_the_program_has_a_traceback(margincube, monkeypatch):
    def fault():
        raise ZeroDivisionError

    monkeypatch.setattr(flows.cli, "app", fault)
    with pytest.raises(ZeroDivisionError):
        margincube()


def test_a_person_who_debugs_gets_the_traceback(margincube, monkeypatch):
    monkeypatch.setenv("MARGINCUBE_DEBUG", "1")
    with pytest.raises(KeyError, match="no run 'nothing'"):
        margincube("show", "nothing")


@pytest.mark.parametrize(
    ("command", "never"),
    [
        (["--help"], (*HEAVY, "scipy", "xarray", "icechunk", "pyarrow")),
        (["runs"], (*HEAVY, "scipy", "xarray", "pandas")),
        (["show"], HEAVY),
        (["run", "nothing"], ("prefect", "ray", "plotly")),
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


@pytest.fixture(scope="module")
def shell(tmp_path_factory, home, prefect_home):
    """Return a function that runs the installed command in a process of its own."""
    folder = tmp_path_factory.mktemp("shell")
    env = clean_environment(
        MARGINCUBE_HOME=str(home), PREFECT_HOME=prefect_home(folder / "prefect"), COLUMNS="200"
    )

    def call(*arguments, **values):
        done = run(BIN / "margincube", *arguments, env={**env, **values}, cwd=folder)
        assert "Traceback" not in done.stdout + done.stderr, done.stderr
        return done

    return call


@pytest.fixture
def methodology(small_methodology, tmp_path, request):
    """A methodology of the test's own, so that its run is another run."""
    own = request.node.name.removeprefix("test_").replace("_", "-")
    path = tmp_path / "own.toml"
    text = small_methodology.read_text().replace('name = "small"', f'name = "{own}"')
    path.write_text(approved(text))
    return path


@pytest.fixture
def stored(bucket, synthetic_book, margin_of):
    """The run of the data folder, in an object store."""
    folder = S3Folder(bucket, "runs")
    margin_of(synthetic_book(2_000), runs=folder)
    return folder


def test_commands_say_the_same_of_a_run_in_a_store(margincube, home, stored, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    account = largest_account(home)
    for command in (
        ("explain", account, "--json"),
        ("what-if", account, "--json"),
        ("calls", "--ways", "0", "--json"),
        ("report", "--output", "page.html"),
        ("export", "--output", "accounts.csv"),
    ):
        code, here, _ = margincube(*command)
        exported = [file.read_bytes() for file in tmp_path.glob("*.csv")]
        assert code == 0
        assert margincube(*command, "--runs", stored)[:2] == (0, here)
        assert [file.read_bytes() for file in tmp_path.glob("*.csv")] == exported
    monkeypatch.setenv("MARGINCUBE_RUNS", str(stored))
    for command in ("runs", "show"):
        code, output, _ = margincube(command, "--json")
        assert (code, f'"runs": "{stored}"' in output) == (0, True)


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        (("runs", "--runs", "s3://no-such-bucket/x"), "has no bucket 'no-such-bucket'"),
        (("show", "--runs", "s3://no-prefix"), "give s3://BUCKET/PREFIX"),
        (("run", "small", "--runs", "s3://no-such-bucket/x"), "has no bucket 'no-such-bucket'"),
        (("run", "s3://no-such-bucket/book"), "has no bucket 'no-such-bucket'"),
        (("book", "show", "s3://{bucket}/book"), "no book at s3://{bucket}/book"),
        (("explain", "x", "--runs", "s3://{bucket}/runs"), "no run has been published yet"),
    ],
)
def test_a_mistake_about_a_store_is_a_sentence(margincube, bucket, command, problem):
    code, output, messages = margincube(*(word.format(bucket=bucket) for word in command))
    assert (code, output) == (flows.cli.EXIT_MISTAKE, "")
    assert problem.format(bucket=bucket) in messages
    assert "of a test" not in messages


SERIAL = ("--engine", "serial", "--fold", "serial")


@pytest.mark.slow
@pytest.mark.timeout(600)
class TestWholeRuns:
    def test_a_run_prints_its_manifest_and_nothing_else_as_json(self, shell, home, methodology):
        done = shell("run", "small", "--methodology", methodology, *SERIAL, "--json")
        assert done.returncode == 0, done.stderr
        manifest = json.loads(done.stdout)
        assert not manifest["recognised"]
        assert RunStore(home / "runs").is_published(manifest["run_id"])

    def test_a_run_in_progress_elsewhere_is_left_alone(self, shell, home, methodology):
        request = RunRequest(home / "books" / "small", methodology=str(methodology))
        with RunStore(home / "runs").run_lock(identify(request).run_id):
            done = shell("run", "small", "--methodology", methodology, *SERIAL)
        assert done.returncode == flows.cli.EXIT_BUSY
        assert "AlreadyLocked" in done.stderr

    def test_a_mistake_inside_the_flow_is_a_sentence_too(self, shell, methodology):
        (port,) = free_ports(1)
        address = f"127.0.0.1:{port}"
        done = shell("run", "small", "--methodology", methodology, "--ray-address", address)
        assert (done.returncode, done.stdout) == (flows.cli.EXIT_MISTAKE, "")
        assert f"no Ray cluster answers at {address}" in done.stderr

    def test_the_demo_goes_from_nothing_to_a_report(self, tmp_path):
        env = clean_environment(
            MARGINCUBE_HOME=str(tmp_path / "home"), PREFECT_HOME=str(tmp_path / "prefect")
        )
        done = run(BIN / "margincube", "demo", "--accounts", "2000", env=env, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr
        (manifest,) = RunStore(tmp_path / "home" / "runs").manifests()
        assert manifest["totals"]["accounts"] == 2_000
        assert manifest["settings"]["engine"] == "ray"
        assert (tmp_path / "home" / "reports" / f"{manifest['run_id']}.html").is_file()
        *_, account = done.stdout.split()
        explained = run(BIN / "margincube", "explain", account, env=env, cwd=tmp_path)
        assert explained.returncode == 0, explained.stderr


def test_an_end_from_outside_is_told_like_an_interruption(margincube, monkeypatch):
    monkeypatch.setattr(flows.cli, "app", lambda: os.kill(os.getpid(), signal.SIGTERM))
    code, _, messages = margincube("runs")
    assert code == 128 + signal.SIGTERM
    assert messages == "interrupted; what was finished is kept, the same command goes on from it\n"


def test_nothing_comes_after_the_last_line_of_a_terminal(home):
    """Numba and Ray set up colours with colorama, which resets them when the process ends."""
    program = "import colorama; colorama.init(); from flows import cli; cli.main()"
    reader, writer = pty.openpty()
    with open(reader, "rb") as terminal:
        command = subprocess.Popen(
            [sys.executable, "-c", program, "--version"],
            stdin=subprocess.DEVNULL,
            stdout=writer,
            stderr=writer,
            env=clean_environment(MARGINCUBE_HOME=str(home)),
        )
        os.close(writer)
        command.wait()
        shown = terminal.read1()
    assert shown.endswith(b"\r\n"), shown


@pytest.mark.parametrize("width", [80, 100, 140, 200])
def test_a_list_of_runs_is_a_line_for_each_at_any_width(manifest, width):
    """Names are whole; columns without room are named instead of cut."""
    run_id = "margin-20240108-0123456789ab"
    rules = manifest["inputs"]["methodology"] | {"name": "margincube-portfolio", "version": "2026"}
    inputs = manifest["inputs"] | {"methodology": rules}
    standing = {run_id: {"standing": "latest", "tags": ["before", "year-end"]}}
    console = Console(width=width, record=True, file=io.StringIO())
    print_runs(console, [manifest | {"run_id": run_id, "inputs": inputs}], standing)
    text = console.export_text()
    (line,) = (line for line in text.splitlines() if line.startswith(run_id))
    if width >= 100:
        assert line.startswith(f"{run_id}  latest, before, year-end  margincube-portfolio 2026  ")
    assert ("no room for" in text) == (width < 200)
    assert "…" not in text
