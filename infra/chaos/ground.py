"""What every seed starts from: a book, claims, runs of yesterday, and what the truth is."""

import contextlib
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from storage.array_digest import dataset_digest
from storage.arrays import MARGIN, POOL, STRESS, RunKind
from storage.market import sample_market
from storage.runs import RunStore, StoredRun
from workers.claims.generate import generate_claims
from workers.engine import Engine, SerialEngine
from workers.generate import generate_book
from workers.margin_run import MarginRun
from workers.plan import RunRequest
from workers.pool.request import PoolRequest
from workers.pool.run import PoolRun
from workers.stress.request import DEFAULT_PLAN, StressRequest, load_plan
from workers.stress.run import StressRun

ACCOUNTS = 9_000
SHARDS = 3
RULES = """
name = "chaos"
version = "1"
effective = 2026-01-01
title = "Few scenarios, so that many runs are soon done"
sources = ["made up for fault campaigns"]

maintenance_factor = 0.8

[netting]
isolated = "position"
cross = "settlement_currency"
portfolio = "account"

[volatility_tenor]
reference_days = 30.0
short_power = 0.30
long_power = 0.13
floor_days = 1.0
minimum_volatility = 0.05

[historical]
holding_period_hours = 48
step_hours = 35
start = 2022-05-20T00:00:00Z
end = 2022-07-10T00:00:00Z
volatility_half_life_hours = 96.0

[grid]
price_range = 0.16
buckets = 1
volatility_up = 0.50
volatility_down = 0.25
extreme_moves = [-0.66, 1.00]

[[measures]]
name = "expected_shortfall"
kind = "expected_shortfall"
origins = ["historical"]
level = LEVEL
layer = "base"
"""
Request = RunRequest | PoolRequest | StressRequest
DATED_SEVERITIES = r"(?m)^\[\[severities\]\]\nof = \[\"48h .*\n.*\n"
LEVELS = {"yesterday": "0.8", "today": "0.9", "rival": "0.7"}


@dataclass(frozen=True)
class Ground:
    """Inputs and the digests of the runs that they make without faults, by kind and rules."""

    folder: Path
    book: Path
    claims: Path
    margin: str
    truth: dict[tuple[str, str], str]

    def request(self, kind: str, place: Path, rules: str = "today") -> Request:
        """Return the request for a run of a kind that keeps its results at a place."""
        if kind == "collateral":
            return PoolRequest(
                run=self.margin,
                claims=self.claims,
                runs=self.folder / "yesterday",
                pools=place,
                shards=SHARDS,
            )
        if kind == "stress":
            return StressRequest(
                run=self.margin,
                runs=self.folder / "yesterday",
                stresses=place,
                plan=str(self.rules("plan")),
                unapproved=True,
            )
        return RunRequest(
            book=self.book,
            methodology=str(self.rules(rules)),
            runs=place,
            shards=SHARDS,
            unapproved=True,  # nobody owns rules that are made up
        )

    def rules(self, name: str) -> Path:
        """Return the file of a rule book."""
        return self.folder / f"{name}.toml"

    def place(self, folder: Path, kind: str) -> Path:
        """Make a store: with the run of yesterday in it where there is one of the kind."""
        if kind == "margin":
            shutil.copytree(self.folder / "yesterday", folder)
        return folder


KINDS: dict[str, RunKind] = {"margin": MARGIN, "collateral": POOL, "stress": STRESS}


def run_of(request: Request, engine: Engine) -> MarginRun | PoolRun | StressRun:
    """Return the run that a request is for, its wide stages on an engine."""
    if isinstance(request, StressRequest):
        return StressRun(request, lambda: engine)
    if isinstance(request, PoolRequest):
        return PoolRun(request, lambda: engine, SerialEngine)
    return MarginRun(request, lambda: engine, SerialEngine)


def quiet(request: Request) -> dict[str, Any]:
    """Make a run in this process and return its manifest; of one that is there, its name alone."""
    with run_of(request, SerialEngine()) as run:
        if run.prepare():
            return {"run_id": run.run_id}
        run.compute()
        return run.publish()


def make_ground(folder: Path, kinds: tuple[str, ...]) -> Ground:
    """Make the inputs, and every run once without a fault."""
    book = generate_book(folder / "book", ACCOUNTS, 3, sample_market(), name="chaos")
    generate_claims(folder / "claims", book, 11, sample_market(), threads=1)
    for name, level in LEVELS.items():
        (folder / f"{name}.toml").write_text(RULES.replace("LEVEL", level))
    # The shipped plan makes days more severe that the few scenarios here do not have.
    plan = load_plan(DEFAULT_PLAN).text
    (folder / "plan.toml").write_text(re.sub(DATED_SEVERITIES, "", plan))
    ground = Ground(folder, folder / "book", folder / "claims", "", {})
    yesterday = quiet(ground.request("margin", folder / "yesterday", "yesterday"))
    ground = replace(ground, margin=yesterday["run_id"])
    ground.truth["margin", "yesterday"] = yesterday["digest"]
    for rules in ("today", "rival"):
        made = quiet(ground.request("margin", folder / "quiet" / rules, rules))
        ground.truth["margin", rules] = made["digest"]
    for kind in kinds:
        if kind != "margin":
            made = quiet(ground.request(kind, folder / "quiet" / kind))
            ground.truth[kind, "today"] = made["digest"]
    shutil.rmtree(folder / "quiet")
    return ground


def values_wrong(run: StoredRun) -> list[str]:
    """Read every array of a run and return the groups that are not what the manifest says."""
    return [
        group
        for group, digest in run.manifest["digests"].items()
        if dataset_digest(run.groups[group]) != digest
    ]


def published(place: Any, kind: str) -> dict[str, str]:
    """Return the digests of the published runs of a store, by name."""
    found = RunStore(place, KINDS[kind]).manifests()
    return {manifest["run_id"]: manifest["digest"] for manifest in found}


@contextlib.contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[bool]:
    """A file system of its own at a folder; tells whether this machine lets us make one."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
    try:
        made = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        made = False
    try:
        yield made
    finally:
        if made:
            subprocess.run(["umount", "--lazy", str(folder)], check=False)


@contextlib.contextmanager
def ray_head() -> Iterator[tuple[str, int]]:
    """A Ray of two cores that lasts as long as the context: its address and its process."""
    from infra.chaos.processes import free_port, wait_for

    # Ray puts sockets below this folder, and the path of a socket must be short.
    folder = Path(tempfile.mkdtemp(prefix="ray-"))
    # Whoever is started from here on inherits what lets him in.
    os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    port, agent, client = free_port(), free_port(), free_port()
    command = [
        *(str(Path(sys.executable).parent / "ray"), "start", "--head", "--block", "--num-cpus=2"),
        *("--node-ip-address=127.0.0.1", f"--port={port}", "--object-store-memory=268435456"),
        *(f"--temp-dir={folder}", "--include-dashboard=false", "--disable-usage-stats"),
        *(
            f"--dashboard-agent-listen-port={agent}",
            f"--ray-client-server-port={client}",
        ),
    ]
    log = folder / "head.log"
    with log.open("wb") as output:
        head = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        wait_for(lambda: "--block" in log.read_text(), 120)
        yield f"127.0.0.1:{port}", head.pid
    finally:
        head.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            head.wait(20)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(head.pid, signal.SIGKILL)
        head.wait(20)
        time.sleep(0.5)
        shutil.rmtree(folder, ignore_errors=True)
