"""Ray: wide stages over the cores of this machine or the nodes of a cluster."""

import contextlib
import io
import logging
import os
import secrets
import socket
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import ray

from workers.memory import Limit, Room

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
ANSWER_SECONDS = 5.0


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
        if self._started_here:
            _start(workers, address)
        self._warming: list[Any] = []
        try:
            self.workers = workers if address is None else int(ray.cluster_resources()["CPU"])
            self.nodes = sum(1 for node in ray.nodes() if node["Alive"])
            if warm is not None:
                task = ray.remote(scheduling_strategy=SPREAD)(warm)
                self._warming = [task.remote() for _ in range(self.workers)]
        except BaseException:
            self.close()
            raise

    def map(
        self,
        function: Callable[[Shared, Item], Result],
        shared: Shared,
        items: Iterable[Item],
    ) -> Iterator[Result]:
        """Yield results as they are ready; a task whose worker died is started again."""
        task = ray.remote(max_retries=RETRIES, scheduling_strategy=SPREAD)(_call)
        stored = ray.put((function, shared))
        waiting: list[Any] = []
        for item in items:
            waiting.append(task.remote(stored, item))
            if len(waiting) >= IN_FLIGHT_PER_WORKER * self.workers:
                done, waiting = ray.wait(waiting)
                yield ray.get(done[0])
        while waiting:
            done, waiting = ray.wait(waiting)
            yield ray.get(done[0])

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

        scheduler: Callable[..., Any] = ray_dask_get
        return scheduler

    def close(self) -> None:
        """End the local Ray, or leave the cluster."""
        if self._started_here and ray.is_initialized():
            with contextlib.redirect_stderr(io.StringIO()):
                ray.shutdown()


def _call(stored: tuple[Callable[[Any, Any], Any], Any], item: Any) -> Any:
    function, shared = stored
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
