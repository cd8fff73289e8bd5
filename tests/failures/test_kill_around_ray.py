"""What stands around the tasks of a run fails: a node of Ray, its calls, the server of Prefect."""

import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import psutil
import pytest

from infra.chaos.processes import answers, wait_for
from tests.failures.killed import messages
from tests.processes import BIN, clean_environment, free_ports, running, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

LOST = {"num_failures": 8, "req_failure_prob": 20, "resp_failure_prob": 20}
TRIED_AGAIN = {**LOST, "num_failures": 3}
"""A task is tried four times: however they fall, no shard loses all its calls."""
CALLS = {
    # To Ray's head, by each process, while tasks are sent out.
    "ray::rpc::InternalKVGcsService.grpc_client.InternalKVGet": LOST,
    "ray::rpc::InternalKVGcsService.grpc_client.InternalKVPut": LOST,
    "ray::rpc::NodeInfoGcsService.grpc_client.GetAllNodeInfo": LOST,
    # To the raylet, for a worker and to give it back.
    "NodeManagerService.grpc_client.RequestWorkerLease": LOST,
    "NodeManagerService.grpc_client.ReturnWorkerLease": LOST,
    # To the worker, with a task.
    "CoreWorkerService.grpc_client.PushTask": TRIED_AGAIN,
}
SLOW = (
    "NodeManagerService.grpc_client.RequestWorkerLease",
    "CoreWorkerService.grpc_server.PushTask",
)
"""Held up on the way to a raylet, and at the worker it came to."""

ACCOUNTS = 12 * 4_096
SHARDS = "12"


@pytest.fixture(scope="module")
def faultless(synthetic_book, margin_of):
    """A book, and the digest of its run without faults."""
    book = synthetic_book(ACCOUNTS)
    return book, margin_of(book).digest


@pytest.fixture
def start(faultless, small_methodology, prefect_home, tmp_path):
    """Return a function that starts ``margincube run`` on the book, ended with its test."""
    prefect = prefect_home(tmp_path / "prefect")
    with contextlib.ExitStack() as stack:

        def begin(*options, **variables):
            env = clean_environment(**variables) | {
                "MARGINCUBE_HOME": str(tmp_path / "home"),
                "PREFECT_HOME": prefect,
            }
            out, err = (stack.enter_context((tmp_path / of).open("w")) for of in ("out", "err"))
            process = subprocess.Popen(
                [
                    *(str(BIN / "margincube"), "run", str(faultless[0].path), "--json"),
                    *("--methodology", str(small_methodology), "--shards", SHARDS, *options),
                ],
                stdout=out,
                stderr=err,
                env=env,
                cwd=tmp_path,
                start_new_session=True,
            )
            process.err = tmp_path / "err"
            stack.callback(end, process)
            return process

        yield begin


def end(process):
    """End a process with all of its session."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def published(process, tmp_path, seconds=300):
    """The manifest that a command printed."""
    assert process.wait(seconds) == 0, process.err.read_text()[-3000:]
    assert "Traceback" not in process.err.read_text()
    return json.loads((tmp_path / "out").read_text())


def test_a_node_that_is_killed_costs_no_shard(start, faultless, tmp_path):
    folder = Path(tempfile.mkdtemp(prefix="ray-"))  # the path of a socket must be short
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    env = clean_environment(**token, RAY_health_check_period_ms="500")
    port, first_agent, second_agent, client = free_ports(4)
    address = f"127.0.0.1:{port}"

    def node(name, agent, *options):
        return (
            *(BIN / "ray", "start", "--block", "--node-ip-address=127.0.0.1", "--num-cpus=1"),
            *("--object-store-memory=268435456", f"--temp-dir={folder / name}"),
            *(f"--dashboard-agent-listen-port={agent}", "--disable-usage-stats", *options),
        )

    head = node(
        *("a", first_agent, "--head", f"--port={port}", f"--ray-client-server-port={client}"),
        "--include-dashboard=false",
    )
    logs = folder / "a.log", folder / "b.log"
    with running(*head, log=logs[0], env=env, cwd=folder) as first:
        wait_until(lambda: answers(port) and "--block" in logs[0].read_text(), first, logs[0])
        joining = node("b", second_agent, f"--address={address}")
        with running(*joining, log=logs[1], env=env, cwd=folder) as second:
            wait_until(lambda: "--block" in logs[1].read_text(), second, logs[1])
            run = start("--engine", "ray", "--ray-address", address, **token)
            wait_until(lambda: "cube" in messages(tmp_path / "home" / "runs"), run, run.err)
            # The raylet of the second node, its workers, and all that it started.
            os.killpg(second.pid, signal.SIGKILL)
            manifest = published(run, tmp_path)
    shutil.rmtree(folder, ignore_errors=True)
    assert manifest["digest"] == faultless[1]
    assert manifest["settings"]["nodes"] == 2


def test_a_node_that_is_killed_under_the_command_is_named(start, faultless, tmp_path):
    run = start("--engine", "ray", "--workers", "2")
    wait_until(lambda: "cube" in messages(tmp_path / "home" / "runs"), run, run.err)
    (raylet,) = [
        one
        for one in psutil.Process(run.pid).children(recursive=True)
        if one.name().startswith("raylet")
    ]
    raylet.kill()
    assert run.wait(300) != 0
    wait_for(lambda: "what was committed is kept" in " ".join(run.err.read_text().split()), 60)
    said = " ".join(run.err.read_text().split())
    assert "error: TaskLost" in said or "error: EndedFromOutside" in said
    assert "Traceback" not in said
    again = start("--engine", "serial", "--fold", "serial")
    assert published(again, tmp_path)["digest"] == faultless[1]


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        (
            {"RAY_testing_rpc_failure": json.dumps(CALLS)},
            [f"Inject RPC {way} failure for {call}"
             for call in ("NodeManagerService.grpc_client.RequestWorkerLease",
                          "CoreWorkerService.grpc_client.PushTask")
             for way in ("request", "response")],
        ),
        (
            {"RAY_testing_asio_delay_us": ",".join(f"{call}=100000:300000" for call in SLOW)},
            [f"Delaying method {call}" for call in SLOW],
        ),
    ],
    ids=["lost", "slow"],
)  # fmt: skip
def test_calls_that_are_lost_or_slow_change_no_bit(start, faultless, tmp_path, variables, told):
    """On the way there or back, to Ray's head, its raylet and its workers."""
    folder = Path(tempfile.mkdtemp(prefix="ray-"))  # the path of a socket must be short
    run = start("--engine", "ray", "--workers", "2", RAY_TMPDIR=str(folder), **variables)
    assert published(run, tmp_path)["digest"] == faultless[1]
    logs = folder.glob("ray/session_2*/logs/python-core-*.log")
    said = run.err.read_text() + "".join(log.read_text() for log in logs)
    shutil.rmtree(folder, ignore_errors=True)
    for sentence in told:
        assert sentence in said


def test_a_run_whose_prefect_server_is_gone_is_named_and_goes_on(start, faultless, tmp_path):
    home = tmp_path / "home"
    # As many times as it may take a server to come back is too long for a test.
    first = start("--engine", "serial", "--fold", "serial", PREFECT_CLIENT_MAX_RETRIES="1")
    wait_until(lambda: "cube" in messages(home / "runs"), first, first.err)
    (server,) = [
        one
        for one in psutil.Process(first.pid).children()
        if "flows.embedded" in " ".join(one.cmdline())
    ]
    server.kill()
    assert first.wait(400) == 5
    said = " ".join(first.err.read_text().split())
    assert "Traceback" not in said
    assert "error: ServerGone Prefect's server at http://127.0.0.1:" in said
    again = start("--engine", "serial", "--fold", "serial")
    assert published(again, tmp_path)["digest"] == faultless[1]
