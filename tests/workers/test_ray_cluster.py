"""A cluster of two Ray nodes on the loopback, with a token: the same numbers, by both nodes."""

import json
import secrets
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from infra.chaos.processes import answers
from tests.processes import BIN, clean_environment, free_ports, run, running, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

NODES_OF_TASKS = """
import json, sys, time
import numpy as np
import ray
from workers.ray_engine import RayEngine

def node_of(shared, item):
    time.sleep(0.2)
    return ray.get_runtime_context().get_node_id()

engine = RayEngine(1, sys.argv[1])
rooms = [(room.limit.of, room.limit.size, room.workers) for room in engine.rooms()]
cube = np.zeros(1_500_000)  # large enough for Ray to prefer the node that has it
while len(set(engine.map(node_of, cube, range(12)))) < 2:
    pass  # a node is still starting its worker
waves = [list(engine.map(node_of, cube, range(12))) for _ in range(5)]
print(json.dumps({**engine.describe(), "waves": waves, "rooms": rooms}))
engine.close()
"""


@dataclass(frozen=True)
class Cluster:
    """A running cluster, and the environment that lets a process in."""

    address: str
    env: dict[str, str]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    # Ray puts sockets below this folder, and the path of a socket must be short.
    folder = Path(tempfile.mkdtemp(prefix="ray-"))
    env = clean_environment(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(32))
    port, first_agent, second_agent, client = free_ports(4)
    address = f"127.0.0.1:{port}"

    def node(name: str, agent: int, *options: str) -> tuple[str | Path, ...]:
        return (
            *(BIN / "ray", "start", "--block", "--node-ip-address=127.0.0.1", "--num-cpus=1"),
            *("--object-store-memory=268435456", f"--temp-dir={folder / name}"),
            *(f"--dashboard-agent-listen-port={agent}", "--disable-usage-stats", *options),
        )

    head = node(
        *("a", first_agent, "--head", f"--port={port}", f"--ray-client-server-port={client}"),
        "--include-dashboard=false",
    )
    joining = node("b", second_agent, f"--address={address}")
    logs = folder / "a.log", folder / "b.log"
    with running(*head, log=logs[0], env=env, cwd=folder) as first:
        wait_until(lambda: answers(port) and "--block" in logs[0].read_text(), first, logs[0])
        with running(*joining, log=logs[1], env=env, cwd=folder) as second:
            wait_until(lambda: "--block" in logs[1].read_text(), second, logs[1])
            yield Cluster(address, env)
    shutil.rmtree(folder, ignore_errors=True)


def test_both_nodes_do_their_part(cluster, tmp_path):
    done = run(sys.executable, "-c", NODES_OF_TASKS, cluster.address, env=cluster.env, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    described = json.loads(done.stdout.splitlines()[-1])
    assert (described["nodes"], described["workers"]) == (2, 2)
    assert [len(tasks) for tasks in described["waves"]] == [12] * 5
    tasks = [node for wave in described["waves"] for node in wave]
    assert len(set(tasks)) == 2
    assert min(tasks.count(node) for node in set(tasks)) > 0.3 * len(tasks), described["waves"]
    assert [workers for _, _, workers in described["rooms"]] == [1, 1]
    assert all(of.startswith("Ray node ") for of, _, _ in described["rooms"])
    assert all(1e8 < size < psutil.virtual_memory().total for _, size, _ in described["rooms"])


def test_a_run_on_two_nodes_is_the_serial_run_to_the_bit(
    cluster, synthetic_book, small_methodology, margin_of, prefect_home, tmp_path
):
    book = synthetic_book(9_000)
    serial = margin_of(book, shards=3)
    done = run(
        *(BIN / "margincube", "run", book.path, "--methodology", small_methodology),
        *("--ray-address", cluster.address, "--shards", "3", "--fold", "ray", "--json"),
        env={
            **cluster.env,
            "MARGINCUBE_HOME": str(tmp_path),
            "PREFECT_HOME": prefect_home(tmp_path / "prefect"),
        },
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    manifest = json.loads(done.stdout)
    assert manifest["settings"]["engine"] == "ray"
    assert manifest["settings"]["nodes"] == 2
    assert manifest["digest"] == serial.digest
    memory = manifest["memory"]
    assert memory["limit_of"].startswith("Ray node ")
    # Workers are not processes of the run's own, so they tell their peaks themselves.
    assert 100e6 < memory["peak_per_worker"] < memory["projected_per_worker"]


def test_nobody_joins_with_another_token(cluster, tmp_path):
    program = "import sys; from workers.ray_engine import RayEngine; RayEngine(1, sys.argv[1])"
    env = {**cluster.env, "RAY_AUTH_TOKEN": "f" * 64}
    done = run(sys.executable, "-c", program, cluster.address, env=env, cwd=tmp_path)
    assert done.returncode == 1
    assert "ClusterUnreachable" in done.stderr
    assert "RAY_AUTH_TOKEN" in done.stderr


def test_nobody_at_the_address_is_said_at_once(tmp_path):
    (port,) = free_ports(1)
    program = "import sys; from workers.ray_engine import RayEngine; RayEngine(1, sys.argv[1])"
    env = clean_environment()
    done = run(
        sys.executable, "-c", program, f"127.0.0.1:{port}", env=env, cwd=tmp_path, seconds=60
    )
    assert f"no Ray cluster answers at 127.0.0.1:{port}" in done.stderr


def test_a_cluster_whose_workers_are_not_there_yet_is_a_sentence(monkeypatch):
    from workers import ray_engine

    monkeypatch.setattr(ray_engine.ray, "cluster_resources", lambda: {"memory": 1e9})
    with pytest.raises(ray_engine.ClusterUnreachable, match="no node that does tasks"):
        ray_engine._cores_of("10.0.0.1:6379")
