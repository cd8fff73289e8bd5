"""Ray: wide stages over the cores of this machine or the nodes of a cluster."""

import contextlib
import functools
import io
import logging
import math
import os
import platform
import secrets
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

import ray

from workers.code_version import code_version, library_versions
from workers.engine import TaskLost, WorkersDiffer
from workers.last_word import LastWord
from workers.memory import Limit, Room
from workers.signals import keep_sigterm, signals_later

# Ray's own hook tells its head of an error before it prints it. Where the head has gone it waits
# for a minute, and then ends the process without a word.
sys.excepthook = sys.__excepthook__

Shared = TypeVar("Shared")
Item = TypeVar("Item")
Result = TypeVar("Result")

IN_FLIGHT_PER_WORKER = 3
OBJECT_STORE_BYTES = 512 * 1024 * 1024
RETRIES = 3
SPREAD = "SPREAD"
"""Tasks go to the nodes in turn: otherwise Ray gives them to the node that has the shared value."""
ENDED = (
    "error: EndedFromOutside this process was ended while Ray was at work: it was killed, or the "
    "Ray node that it is on went away; what was committed is kept, run it again to go on from there"
)
"""Said where Ray's library exits, which it does below Python and without a word."""
ANSWER_SECONDS = 5.0
STEP_SECONDS = 0.2
"""Steps in which results are waited for; handlers of signals run between them."""
STALLED_SECONDS = 60.0
"""A task is not held to be stuck before nothing ended for so long,"""
STALLED_TIMES = 10
"""and for so many times as the longest task took that did end."""


class ClusterUnreachable(ConnectionError):
    """Nothing at the address, or a cluster that does not take the token."""


class RayNotStarted(OSError):
    """The processes of a local Ray did not come up."""


class RayEngine:
    """Ray tasks, a bounded number in flight; the shared value is put into the store once.

    With an ``address`` it joins a cluster that somebody else runs, and leaves it running. Each
    worker is started at once and calls ``warm``; nothing waits for that.
    """

    name = "ray"

    def __init__(
        self,
        workers: int,
        address: str | None = None,
        warm: Callable[[], None] | None = None,
    ) -> None:
        self._started_here = not ray.is_initialized()
        self._last_word = LastWord(ENDED)
        self._warming: list[Any] = []
        try:
            if self._started_here:
                handler = signal.getsignal(signal.SIGTERM)
                try:
                    _start(workers, address)
                finally:
                    keep_sigterm(handler)
            self.workers = workers if address is None else _cores_of(address)
            self.nodes = sum(1 for node in ray.nodes() if node["Alive"])
            if warm is not None:
                task = ray.remote(scheduling_strategy=SPREAD)(warm)
                self._warming = [task.remote() for _ in range(self.workers)]
        except BaseException:
            self.close()
            raise

    def is_warming(self) -> bool:
        """Tell whether no worker has called ``warm`` to its end yet."""
        return bool(self._warming) and not ray.wait(self._warming, timeout=0)[0]

    def wait_warm(self) -> None:
        """Wait until the first worker has called ``warm``, well or not."""
        keep_sigterm()  # the engine may have been started in another thread
        _wait(self._warming)

    def map(
        self,
        function: Callable[[Shared, Item], Result],
        shared: Shared,
        items: Iterable[Item],
    ) -> Iterator[Result]:
        """Yield results as they are ready; a task whose worker died or stalled is started again.

        Raises:
            TaskLost: a task ended its worker each time.
            WorkersDiffer: a worker has another version of the code or of a library.
        """
        keep_sigterm()  # the engine may have been started in another thread
        task = ray.remote(max_retries=RETRIES, scheduling_strategy=SPREAD)(_call)
        stored = ray.put((function, shared, _versions()))
        flight = _InFlight(lambda item: task.remote(stored, item), function.__name__)
        for item in items:
            flight.start(item)
            if len(flight) >= IN_FLIGHT_PER_WORKER * self.workers:
                yield flight.next_result()
        while flight:
            yield flight.next_result()

    def describe(self) -> dict[str, Any]:
        """Return its name, size and the version of Ray."""
        return {
            "engine": self.name,
            "workers": self.workers,
            "nodes": self.nodes,
            "ray": ray.__version__,
        }

    def rooms(self) -> list[Room]:
        """Return the nodes that do tasks, each with the memory that it came to the cluster with.

        Ray counts that without its store of objects.
        """
        return [
            Room(
                Limit(int(resources["memory"]), f"Ray node {node['NodeManagerAddress']}"),
                workers=int(resources["CPU"]),
                processes=True,
                folding=0,
            )
            for node in ray.nodes()
            if node["Alive"] and (resources := node["Resources"]).get("CPU", 0) >= 1
        ]

    def dask_scheduler(self) -> Callable[..., Any]:
        """Return a Dask scheduler whose tasks are Ray tasks on this cluster."""
        from ray.util.dask import ray_dask_get

        def scheduler(*graph: Any, **options: Any) -> Any:
            try:
                return ray_dask_get(*graph, **options)
            except ray.exceptions.RayTaskError as fault:
                raise fault.cause from fault

        return scheduler

    def close(self) -> None:
        """End the local Ray, or leave the cluster."""
        try:
            if self._started_here and ray.is_initialized():
                with contextlib.redirect_stderr(io.StringIO()):
                    ray.shutdown()
        finally:
            keep_sigterm()
            self._last_word.unsaid()


@dataclass
class _InFlight:
    """Tasks that were started and whose results were not yet yielded, each once."""

    launch: Callable[[Any], Any]
    name: str
    longest: float = 0.0
    started: dict[Any, tuple[Any, float]] = field(default_factory=dict)
    """Item and instant of the start, by what Ray calls the task."""
    twins: dict[Any, Any] = field(default_factory=dict)
    """Of a task that seems to be stuck and its copy, each by the other."""

    def __len__(self) -> int:
        return len(self.started) - len(self.twins) // 2

    def start(self, item: Any) -> Any:
        """Start a task."""
        task = self.launch(item)
        self.started[task] = item, time.monotonic()
        return task

    def next_result(self) -> Any:
        """Wait for a task to end and return its result; copies count as the task itself.

        A task is stuck when nothing ended for ten times as long as any other took. Its copy
        writes chunks of its own, and only what comes first is taken.
        """
        done: list[Any] = []
        while not done:
            patience = max(STALLED_SECONDS, STALLED_TIMES * self.longest)
            done = _wait([*self.started], patience if self.longest else math.inf)
            if not done:
                for task in [task for task in self.started if task not in self.twins]:
                    copy = self.start(self.started[task][0])
                    self.twins |= {task: copy, copy: task}
                if len(self.twins) == len(self.started):
                    done = _wait([*self.started])
        item, started = self.started.pop(done[0])
        self.longest = max(self.longest, time.monotonic() - started)
        if (twin := self.twins.pop(done[0], None)) is not None:
            del self.twins[twin], self.started[twin]
            ray.cancel(twin, force=True)
        return self._result(done[0], item)

    def _result(self, task: Any, item: Any) -> Any:
        try:
            return ray.get(task)
        # What a task itself raised is raised here. Ray's own error has pages about it, and is of
        # its class too only where that is not a library's extension.
        except ray.exceptions.RayTaskError as fault:
            raise fault.cause from fault
        except ray.exceptions.RayError as fault:
            raise TaskLost(
                f"{self.name} of {item} was tried {1 + RETRIES} times and ended its worker each "
                f"time ({type(fault).__name__}); what was committed is kept. See the memory of the "
                "workers, take smaller shards by --shards, and run it again"
            ) from fault


def _wait(tasks: list[Any], seconds: float = math.inf) -> list[Any]:
    """Return the first of some tasks that ends, in a list, or none after so many seconds."""
    until = time.monotonic() + seconds
    done: list[Any] = []
    while not done and (left := until - time.monotonic()) > 0.0:
        with signals_later():
            done, _ = ray.wait(tasks, timeout=min(left, STEP_SECONDS))
    return done


@functools.cache
def _versions() -> dict[str, str]:
    """Return what decides the numbers that a process computes."""
    return {
        "margincube": code_version(),
        "python": platform.python_version(),
        **library_versions(),
    }


def _call(stored: tuple[Callable[[Any, Any], Any], Any, dict[str, str]], item: Any) -> Any:
    function, shared, expected = stored
    found = _versions()
    if found != expected:
        name = next(name for name in expected if found.get(name) != expected[name])
        raise WorkersDiffer(
            f"the worker on {socket.gethostname()} has {name} {found.get(name)}, the run was "
            f"started with {expected[name]}; install the same on every node, nothing was computed"
        )
    return function(shared, item)


def _start(workers: int, address: str | None) -> None:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Ray's notice on accelerators is about machines that have some.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is not None:
        _join(address, options)
        return
    # Ray would keep one token for good in the home of the user, in a file that others may read.
    # One that is in the environment is taken instead, and ends with this process.
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    try:
        ray.init(
            "local",
            num_cpus=workers,
            include_dashboard=False,
            object_store_memory=OBJECT_STORE_BYTES,
            _node_ip_address="127.0.0.1",
            **options,
        )
    except Exception as error:  # Ray raises bare exceptions where its processes are too slow
        raise RayNotStarted(
            f"a local Ray did not start: {str(error).splitlines()[0]} The machine may be busy or "
            "short of memory: try again, or compute in this process with --engine serial"
        ) from error


def _join(address: str, options: dict[str, Any]) -> None:
    _require_answer(address)
    try:
        ray.init(address=address, **options)
    except ConnectionError as error:
        raise ClusterUnreachable(
            f"the Ray cluster at {address} answers but lets nobody in: RAY_AUTH_MODE is "
            f"{os.environ.get('RAY_AUTH_MODE', 'not set')!r}, RAY_AUTH_TOKEN is "
            f"{'set' if os.environ.get('RAY_AUTH_TOKEN') else 'not set'}; both must be what the "
            "head of the cluster was started with"
        ) from error


def _cores_of(address: str) -> int:
    """Return how many tasks a cluster does at once.

    Raises:
        ClusterUnreachable: none, because its workers are not there yet.
    """
    cores = int(ray.cluster_resources().get("CPU", 0))
    if cores == 0:
        raise ClusterUnreachable(
            f"the Ray cluster at {address} has no node that does tasks: its workers are not there "
            "yet, or have no CPU to give; wait for them, and run it again"
        )
    return cores


def _require_answer(address: str) -> None:
    """Ask for a connection, briefly: Ray itself goes on trying for minutes."""
    host, _, port = address.rpartition(":")
    if "/" in host or not host or not port.isdigit():
        return  # such as `auto`, which Ray resolves
    try:
        socket.create_connection((host, int(port)), ANSWER_SECONDS).close()
    except OSError as error:
        raise ClusterUnreachable(
            f"no Ray cluster answers at {address} ({error}); give the address of its head as "
            "host:port, such as 10.0.0.1:6379"
        ) from error
