"""One stress run, stage by stage: prepare, stress, publish.

``StressRun`` holds what the stages hand to each other. It knows no scheduler: a flow calls the
stages in order, and so can a test.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from storage.arrays import STRESS
from storage.digest import dataset_digest, text_digest
from storage.objects import S3Folder
from storage.runs import RunStore
from storage.signature import Signer
from workers.approval import accountability
from workers.code_version import code_version, library_versions
from workers.engine import Engine
from workers.fold import IncompleteRun
from workers.memory import Room, room_here
from workers.pool.manifest import projected
from workers.shards import Shard
from workers.stages import StageTable
from workers.stress.cascade import run_cascade
from workers.stress.network import network_dataset
from workers.stress.request import (
    StressRequest,
    identify_stress,
    plan_input,
    pool_input,
    stress_store,
)
from workers.stress.results import plan_dataset, stored_arrays, totals_dataset
from workers.stress.systems import (
    Compared,
    compare_systems,
    compared_scenarios,
    systems_dataset,
)
from workers.stress.tasks import StressInputs
from workers.stress.work import StressWork, plan_stress


class Measured:
    """An engine that notes the peak of the processes that did its tasks, bytes."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.name, self.workers = engine.name, engine.workers
        self.peak_bytes = 0

    def map(
        self, function: Callable[[Any, Any], Any], shared: Any, items: Iterable[Any]
    ) -> Iterator[Any]:
        """Yield the results of the engine."""
        for result in self._engine.map(function, shared, items):
            self.peak_bytes = max(self.peak_bytes, result.peak_bytes)
            yield result

    def describe(self) -> dict[str, Any]:
        """Return what the engine says of itself."""
        return self._engine.describe()

    def close(self) -> None:
        """Leave the engine to who started it."""


class StressRun:
    """A stress run in progress; a context whose stages are called once each, in their order."""

    def __init__(
        self,
        request: StressRequest,
        engine: Callable[[], Engine],
        stages: StageTable | None = None,
        rooms: Callable[[], Sequence[Room]] = lambda: [room_here(1)],
    ) -> None:
        self.request = request
        self.stages = stages or StageTable()
        self._engine = engine
        self._store = stress_store(request)
        self._rooms = rooms
        self._peak_per_worker = 0
        self._lock = contextlib.ExitStack()
        self._compared: Compared | None = None

    def __enter__(self) -> "StressRun":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let another process work on the run; a fault of the store becomes a sentence."""
        self._lock.__exit__(kind, error, trace)

    def prepare(self) -> bool:
        """Open and check every input, and plan; return whether the run is published already.

        Raises:
            AlreadyLocked: another process works on this very run.
            BookDamaged: a file of the book is not the one that was written.
            TooLargeForMemory: the plan does not fit into memory.
            ValueError: an input is not usable; the message says which and why.
        """
        with self.stages.stage("prepare", 1, "plan") as stage:
            identity = identify_stress(self.request)
            self.run_id = identity.run_id
            self._lock.enter_context(self._store.run_lock(self.run_id))
            if self._store.is_published(self.run_id):
                return True
            identity.book.verify()
            rooms = self._rooms()
            self.work = plan_stress(identity, self.request, rooms)
            self._memory = projected(self.work.projection, rooms)
            self._staged = self._store.stage(self.run_id, self.work.layout, identity.key)
            self.stages.advance(stage, 1)
        return False

    def stress(self) -> None:
        """Run every cascade to its end, a batch of scenarios after the other.

        Batches that an earlier process committed are not computed again.
        """
        work, engine = self.work, Measured(self._engine())
        done = self._staged.written("scenarios")
        total, rounds = len(work.scenarios), work.layout.sizes["round"]
        with self.stages.stage("stress", total, "scenarios", engine.workers) as stage:
            for batch in work.batches:
                if batch.start not in done:
                    fork = self._staged.fork()
                    fork.write("scenarios", self._batch(engine, batch, rounds), batch.start)
                    self._staged.checkpoint([fork], f"scenarios {batch.start} to {batch.stop}")
                self.stages.advance(stage, batch.stop - batch.start)
        self._insulate(engine)
        self._peak_per_worker = engine.peak_bytes

    def _insulate(self, engine: Engine) -> None:
        """Compare margin systems and walls, where the plan asks for it; nothing is stored yet."""
        work = self.work
        spec = work.identity.named.plan.insulation
        compared = 0 if spec is None else len(compared_scenarios(work))
        if spec is None or not compared:
            return
        accounts = work.identity.book.accounts
        with self.stages.stage("margin systems", accounts, "accounts", engine.workers) as stage:
            self._compared = compare_systems(
                engine,
                stress_inputs(work, self.request.runs, compared),
                work,
                spec,
                lambda done: self.stages.advance(stage, done),
            )

    def _batch(self, engine: Engine, batch: Shard, rounds: int) -> dict[str, NDArray[np.generic]]:
        """Run the cascades of a batch; scenarios that break something go by themselves."""
        work = self.work
        rows = range(batch.start, batch.stop)
        alone = [row for row in rows if work.scenarios.name[row] in work.disruptions]
        parts = [[row for row in rows if row not in alone], *([row] for row in alone)]
        stored = []
        for part in filter(None, parts):
            scenarios = work.scenarios.take(np.array(part))
            cascade = run_cascade(
                engine,
                stress_inputs(work, self.request.runs, len(part)),
                work.shards,
                scenarios,
                work.ground,
                work.identity.named.plan,
                work.claims,
                disruption=work.disruptions.get(scenarios.name[0]),
            )
            issued = None if work.claims is None else work.claims.tokens
            stored.append(stored_arrays(cascade, rounds, issued))
        order = np.argsort([row for part in parts for row in part])
        return {name: np.concatenate([one[name] for one in stored])[order] for name in stored[0]}

    def publish(
        self, peak_memory: Callable[[], int] = int, signer: Signer | None = None
    ) -> dict[str, Any]:
        """Verify that every scenario is there, write the manifest, and make the run visible.

        Raises:
            IncompleteRun: a scenario is missing; nothing becomes visible.
        """
        work = self.work
        with self.stages.stage("verify", 1, "run") as stage:
            lost = {batch.start for batch in work.batches} - self._staged.written("scenarios")
            if lost:
                raise IncompleteRun(
                    f"scenario {work.scenarios.name[min(lost)]!r} was lost on its way to storage; "
                    "nothing is published, run it again"
                )
            stored = self._staged.read("scenarios").load()
            totals = totals_dataset(work, stored)
            if self._compared is not None:
                totals = totals.merge(systems_dataset(work, self._compared))
            datasets = {
                "plan": plan_dataset(work),
                "totals": totals,
                "network": network_dataset(work, stored),
            }
            digests = {
                "scenarios": dataset_digest(stored),
                **{name: dataset_digest(dataset) for name, dataset in datasets.items()},
            }
            self.stages.advance(stage, 1)
        manifest = self._manifest(stored, digests, peak_memory())
        self._store.publish(self.run_id, self._staged, datasets, manifest, signer)
        return manifest

    @property
    def _width(self) -> int:
        """Scenarios that go through the book together."""
        return max(batch.stop - batch.start for batch in self.work.batches)

    def _manifest(self, stored: xr.Dataset, digests: dict[str, str], peak: int) -> dict[str, Any]:
        work = self.work
        run = work.identity.run
        settings = {one.name: str(getattr(self.request, one.name)) for one in fields(self.request)}
        worst = int(stored["loss"].values.argmax())
        return {
            "kind": STRESS.name,
            "run_id": self.run_id,
            "key": work.identity.key,
            "status": "published",
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "as_of": work.identity.book.as_of.isoformat(),
            "code_version": code_version(),
            "inputs": {
                "run": {"run_id": run.run_id, "digest": run.manifest["digest"]},
                "book": run.manifest["inputs"]["book"],
                **pool_input(work.identity.pool),
                "plan": plan_input(work.identity.named),
            },
            **accountability(
                work.identity.named.standing(work.identity.book.as_of),
                settings,
                self.request.reason,
                run.manifest,
            ),
            "settings": settings | self._engine().describe(),
            "libraries": library_versions(),
            "totals": {
                "accounts": work.identity.book.accounts,
                "scenarios": len(work.scenarios),
                "ended": int(stored["ended"].values.sum()),
                "rounds": int(stored["rounds"].values.max()),
                "worst_scenario": work.scenarios.name[worst],
                "worst_loss": float(stored["loss"].values[worst]),
                "most_touched": int(stored["touched"].values.max()),
            },
            "stages": self.stages.rows(),
            "memory": self._memory
            | {
                "peak_per_worker": self._peak_per_worker,
                "peak_total": peak,
                "shards": len(work.shards),
                "shards_cut_smaller": False,
                "batch": self._width,
                "batch_cut_smaller": self._width < min(self.request.batch, len(work.scenarios)),
            },
            "digests": digests,
            "digest": text_digest(*(f"{name}={digests[name]}" for name in sorted(digests))),
        }


def stress_inputs(work: StressWork, runs: Path | S3Folder, scenarios: int) -> StressInputs:
    """Return what tasks share before the first round of so many scenarios."""
    book, run_id = work.identity.book, work.identity.run.run_id
    return StressInputs(
        book=book.location,
        book_digest=book.digest,
        run_id=run_id,
        margin=RunStore(runs).rows(run_id, "accounts"),
        lot_size=work.lot_size,
        notional=work.notional,
        cube=np.zeros((len(work.notional), scenarios)),
        active=np.ones(scenarios, dtype=np.bool_),
        rules=work.identity.named.plan.liquidation,
        groups=work.layout.sizes["member"],
        at_bankruptcy=work.identity.named.plan.taken_at_bankruptcy,
    )
