"""No secret of the environment is in what a run prints, publishes, reports or logs."""

import json
import tempfile
from pathlib import Path

import pytest

from flows.report.page import render
from flows.run_view import run_view
from storage.audit import entries
from storage.runs import RunStore
from storage.signature import Signer, new_key
from tests.processes import BIN, clean_environment, run
from workers.engine import SerialEngine
from workers.margin_run import MarginRun
from workers.plan import RunRequest

SECRETS = {
    "AWS_ACCESS_KEY_ID": "planted-key-id-51c1",
    "AWS_SECRET_ACCESS_KEY": "planted-secret-key-9a7e",
    "AWS_SESSION_TOKEN": "planted-session-f3b0",
    "PREFECT_API_AUTH_STRING": "desk:planted-prefect-77d2",
    "PREFECT_API_KEY": "planted-prefect-key-4e21",
    "RAY_AUTH_TOKEN": "planted" + "0ddba11" * 8,
}


def files_with_secrets(*folders: Path, secrets: list[str]) -> list[str]:
    """Every file below the folders that holds a secret, and which."""
    return [
        f"{path}: {secret}"
        for folder in folders
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        for secret in secrets
        if secret.encode() in path.read_bytes()
    ]


def test_the_search_finds_what_is_there(tmp_path):
    (tmp_path / "log").write_text("token planted-key-id-51c1 was used")
    assert files_with_secrets(tmp_path, secrets=[*SECRETS.values()])


def test_a_published_run_holds_no_secret(mixed_book, small_methodology, tmp_path, monkeypatch):
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    public, _ = new_key(tmp_path / "keys" / "signing.pem")
    private = (tmp_path / "keys" / "signing.pem").read_text().splitlines()[1]
    request = RunRequest(
        mixed_book.path, methodology=str(small_methodology), runs=tmp_path / "runs", reason="why"
    )
    engine = SerialEngine()
    with MarginRun(request, lambda: engine, lambda: engine) as made:
        made.prepare()
        made.price()
        made.margin()
        made.fold()
        made.publish(signer=Signer(tmp_path / "keys" / "signing.pem"))
    store = RunStore(tmp_path / "runs")
    secrets = [*SECRETS.values(), private, str(public.parent)]
    told = (
        json.dumps(store.manifests()),
        json.dumps(store.published("latest").signature),
        json.dumps([one.as_dict() for one in entries(tmp_path / "runs")]),
        render(run_view(store.open())),
    )
    for text in told:
        assert not [secret for secret in secrets if secret in text]
    assert files_with_secrets(tmp_path / "runs", secrets=secrets) == []


@pytest.mark.parametrize("command", [("show",), ("audit",), ("run", "s3://b/books/x")])
def test_an_error_about_a_store_repeats_no_secret(command, tmp_path):
    env = clean_environment(
        MARGINCUBE_HOME=str(tmp_path),
        AWS_ENDPOINT_URL="http://desk:planted-url-8c44@127.0.0.1:9",
        **SECRETS,
    )
    words = () if command[0] == "run" else ("--runs", "s3://bucket/runs")
    done = run(BIN / "python", "-m", "flows.cli", *command, *words, env=env, cwd=tmp_path)
    assert done.returncode not in (0, 1), done.stderr
    assert "planted" not in done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_whole_run_on_ray_and_prefect_leaves_no_secret(synthetic_book, tmp_path):
    """Everything that Ray, Prefect and the run leave behind is searched, their logs included."""
    book = synthetic_book(2_000).path
    # Ray's sockets stand in this folder, and their paths may not be long.
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="s-") as ray:
        env = clean_environment(
            MARGINCUBE_HOME=str(tmp_path / "home"),
            PREFECT_HOME=str(tmp_path / "prefect"),
            HOME=str(tmp_path),
            RAY_TMPDIR=ray,
            **SECRETS,
        )
        command = (BIN / "python", "-m", "flows.cli", "run", book, "--workers", "1", "--json")
        done = run(*command, env=env, cwd=tmp_path, seconds=800)
        assert done.returncode == 0, done.stderr
        reported = (BIN / "python", "-m", "flows.cli", "report")
        done_report = run(*reported, env=env, cwd=tmp_path, seconds=100)
        for text in (done.stdout, done.stderr, done_report.stdout, done_report.stderr):
            assert "planted" not in text
        logs = [one for one in Path(ray).rglob("*.log") if one.is_file()]
        assert logs, "Ray left no log to look at"
        assert files_with_secrets(Path(ray), tmp_path, secrets=[*SECRETS.values()]) == []
        # Nor did Ray keep a token for good in the home of the user.
        assert not (tmp_path / ".ray").exists()
