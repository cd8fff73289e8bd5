"""One stress run, stage by stage: prepare, stress, publish.

``StressRun`` holds what the stages hand to each other. It knows no scheduler: a flow calls the
stages in order, and so can a test.
"""

from collections.abc import Callable, Sequence
from typing import Any

from storage.array_digest import dataset_digest
from storage.signature import Signer
from workers.engine import Engine
from workers.fold import IncompleteRun
from workers.locked import LockedRun
from workers.memory import Room, room_here
from workers.stages import StageTable
from workers.stress.batch import stress_batch, stress_inputs
from workers.stress.manifest import stress_manifest
from workers.stress.measured import Measured
from workers.stress.network import network_dataset
from workers.stress.request import StressRequest, identify_stress, stress_store
from workers.stress.results import plan_dataset, totals_dataset
from workers.stress.systems import (
    Compared,
    compare_systems,
    compared_scenarios,
    systems_dataset,
)
from workers.stress.work import plan_stress


class StressRun(LockedRun):
    """A stress run in progress; a context whose stages are called once each, in their order."""

    def __init__(
        self,
        request: StressRequest,
        engine: Callable[[], Engine],
        stages: StageTable | None = None,
        rooms: Callable[[], Sequence[Room]] = lambda: [room_here(1)],
    ) -> None:
        super().__init__()
        self.request = request
        self.stages = stages or StageTable()
        self._engine = engine
        self._store = stress_store(request)
        self._rooms = rooms
        self._peak_per_worker = 0
        self._compared: Compared | None = None

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
            if self.taken(self._store, identity.run_id):
                return True
            identity.book.verify()
            rooms = self._rooms()
            self.work = plan_stress(identity, self.request, rooms)
            self._memory = self.work.projection.told(rooms)
            self._staged = self._store.stage(self.run_id, self.work.layout, identity.key)
            self.stages.advance(stage, 1)
        return False

    def compute(self) -> None:
        """Do every stage between ``prepare`` and ``publish``, in their order."""
        self.stress()

    def stress(self) -> None:
        """Run every cascade to its end, a batch of scenarios after the other.

        Batches that an earlier process committed are not computed again.
        """
        work, engine = self.work, Measured(self._engine())
        done = self._staged.written("scenarios")
        with self.stages.stage("stress", len(work.scenarios), "scenarios", engine.workers) as stage:
            for batch in work.batches:
                if batch.start not in done:
                    fork = self._staged.fork()
                    rows = range(batch.start, batch.stop)
                    found = stress_batch(engine, work, self.request.runs, rows)
                    fork.write("scenarios", found, batch.start)
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
        manifest = stress_manifest(
            work,
            self.request,
            stored,
            digests=digests,
            engines=self._engine().describe(),
            stages=self.stages.rows(),
            memory=self._memory
            | {"peak_per_worker": self._peak_per_worker, "peak_total": peak_memory()},
        )
        with self.stages.stage("publish", 1, "run"):
            self._store.publish(self.run_id, self._staged, datasets, manifest, signer)
        return manifest
