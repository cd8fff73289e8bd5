"""The command itself, ended from outside: what it exits with, what it leaves, what goes on."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from storage.runs import RunStore
from tests.failures import ended_command
from tests.failures.killed import messages, repository
from tests.processes import wait_until
from workers.methodologies import DEFAULT_METHODOLOGY
from workers.plan import RunRequest, identify

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SHARDS = 24
"""Three checkpoints of eight shards."""
ACCOUNTS = SHARDS * 4_096
FEW = 2_000


@pytest.fixture(scope="module")
def book(synthetic_book):
    return synthetic_book(ACCOUNTS)


@pytest.fixture
def start(prefect_home, tmp_path, book):
    """Return a function that starts ``margincube run`` on the book; ends what a test leaves."""
    begun = []
    prefect = prefect_home(tmp_path / "prefect")

    def begin(*options, program=("-m", "flows.cli"), book=book, shards=SHARDS, patience="10"):
        environment = {
            **os.environ,
            "MARGINCUBE_HOME": str(tmp_path / "home"),
            "PREFECT_HOME": prefect,
            # How long Ray's agents look for a head that was killed with the command.
            "RAY_gcs_rpc_server_reconnect_timeout_s": patience,
        }
        command = [sys.executable, *program, "run", str(book.path), "--json"]
        number = len(begun)
        with (
            (tmp_path / f"out{number}").open("w") as out,
            (tmp_path / f"err{number}").open("w") as err,
        ):
            process = subprocess.Popen(
                [*command, "--shards", str(shards), *options],
                env=environment,
                stdout=out,
                stderr=err,
                cwd=tmp_path,
            )
        process.out, process.err = tmp_path / f"out{number}", tmp_path / f"err{number}"
        begun.append(process)
        return process

    yield begin
    for process in begun:
        if process.poll() is None:
            for child in [*psutil.Process(process.pid).children(recursive=True)]:
                child.kill()
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def digest(book, margin_of):
    """The digest of a run without faults, in this process."""
    return margin_of(book, methodology=DEFAULT_METHODOLOGY).digest


def family(process):
    return psutil.Process(process.pid).children(recursive=True)


def alive(processes):
    """Those that still run; a pid that was given to somebody else does not count."""
    found = [one for one in processes if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]
    return [f"{one.pid} {' '.join(one.cmdline())[:80]}" for one in found]


def assert_nobody_is_left(processes, seconds=150.0):
    """Ray's agents look for the head that was killed with us for a while before they go, too."""
    until = time.monotonic() + seconds
    while alive(processes):
        assert time.monotonic() < until, alive(processes)
        time.sleep(0.1)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT])
def test_a_command_that_is_ended_leaves_nobody_behind_and_goes_on(start, digest, tmp_path, how):
    home = tmp_path / "home"
    first = start("--engine", "ray", "--workers", "2")
    wait_until(lambda: "shards 0 to 7" in messages(home / "runs"), first, first.err)
    children = family(first)
    assert len(children) > 4
    sent = time.monotonic()
    first.send_signal(how)
    code = first.wait(60)
    took = time.monotonic() - sent
    expected = {signal.SIGTERM: 143, signal.SIGKILL: -9, signal.SIGINT: 130}
    assert code == expected[how], first.err.read_text()[-2000:]
    assert took < 30.0
    assert_nobody_is_left(children)
    assert "Traceback" not in first.err.read_text()
    assert RunStore(home / "runs").manifests() == []

    second = start("--engine", "serial")  # whoever goes on, the numbers are the same
    assert second.wait(300) == 0, second.err.read_text()[-2000:]
    manifest = json.loads(second.out.read_text())
    assert manifest["digest"] == digest
    assert not manifest["recognised"]
    store = RunStore(home / "runs")
    assert [found["run_id"] for found in store.manifests()] == [manifest["run_id"]]
    kept = committed(home, manifest["run_id"])
    assert sorted(kept) == sorted(
        ["Repository initialized", "template", "cube", "shards 0 to 7", *rest(kept), "finished"]
    )
    # Every shard was committed once, in whichever of the two lives.
    bounds = [tuple(map(int, one.split()[1::2])) for one in kept if one.startswith("shards")]
    shards = [shard for first, last in bounds for shard in range(first, last + 1)]
    assert sorted(shards) == list(range(SHARDS))


@pytest.mark.parametrize("moment", [*ended_command.MOMENTS, ended_command.SWALLOWED])
def test_a_command_that_is_ended_takes_the_time_it_needs(start, synthetic_book, moment):
    """Ray would abort it after three seconds, or leave it to the system once Ray itself is gone."""
    process = start(
        *("--engine", "ray", "--workers", "2"),
        program=(ended_command.__file__, moment),
        book=synthetic_book(FEW),
        shards=1,
        patience="60",  # Ray's own: the command outlives its head, by the time Prefect takes to end
    )
    children = set()
    while process.poll() is None:
        with contextlib.suppress(psutil.NoSuchProcess):
            children.update(family(process))
        time.sleep(0.2)
    assert process.returncode == 143, process.err.read_text()[-2000:]
    assert len(children) > 4
    assert_nobody_is_left(children)
    assert "Traceback" not in process.err.read_text()


def rest(kept):
    return [one for one in kept if one.startswith("shards") and one != "shards 0 to 7"]


def committed(home, run_id):
    return [found.message for found in repository(home / "runs").ancestry(tag=run_id)]


def test_a_command_is_told_who_is_at_it_and_later_that_it_is_done(
    start, synthetic_book, margin_of, tmp_path
):
    """The command that comes second waits for nobody; the one that comes last computes nothing."""
    runs, book = tmp_path / "home" / "runs", synthetic_book(FEW)
    serial = ("--engine", "serial", "--fold", "serial")
    run_id = identify(RunRequest(book=book.path, runs=runs)).run_id
    with RunStore(runs).run_lock(run_id):
        second = start(*serial, book=book, shards=1)
        assert second.wait(240) == 4, second.err.read_text()[-2000:]
    assert f"is held by process {os.getpid()}" in " ".join(second.err.read_text().split())
    assert "Traceback" not in second.err.read_text()
    for recognised in (False, True):
        process = start(*serial, book=book, shards=1)
        assert process.wait(240) == 0, process.err.read_text()[-2000:]
        found = json.loads(process.out.read_text())
        assert found["recognised"] == recognised
        assert found["digest"] == margin_of(book, methodology=DEFAULT_METHODOLOGY).digest
