"""One stress run, stage by stage: prepare, stress, publish.

``StressRun`` holds what the stages hand to each other. It knows no scheduler: a flow calls the
stages in order, and so can a test.
"""

import contextlib
from collections.abc import Callable
from dataclasses import fields
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

import numpy as np
import xarray as xr

from storage.arrays import STRESS
from storage.digest import dataset_digest, text_digest
from storage.runs import RunStore
from workers.code_version import code_version, library_versions
from workers.engine import Engine
from workers.fold import IncompleteRun
from workers.stages import StageTable
from workers.stress.cascade import run_cascade
from workers.stress.request import StressRequest, identify_stress, stress_store
from workers.stress.results import plan_dataset, stored_arrays, totals_dataset
from workers.stress.systems import Compared, compare_systems, systems_dataset
from workers.stress.tasks import StressInputs
from workers.stress.work import plan_stress


class StressRun:
    """A stress run in progress; a context whose stages are called once each, in their order."""

    def __init__(
        self,
        request: StressRequest,
        engine: Callable[[], Engine],
        stages: StageTable | None = None,
    ) -> None:
        self.request = request
        self.stages = stages or StageTable()
        self._engine = engine
        self._store = stress_store(request)
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
            ValueError: an input is not usable; the message says which and why.
        """
        with self.stages.stage("prepare", 1, "plan") as stage:
            identity = identify_stress(self.request)
            self.run_id = identity.run_id
            self._lock.enter_context(self._store.run_lock(self.run_id))
            if self._store.is_published(self.run_id):
                return True
            identity.book.verify()
            self.work = plan_stress(identity, self.request)
            self._staged = self._store.stage(self.run_id, self.work.layout, identity.key)
            self.stages.advance(stage, 1)
        return False

    def stress(self) -> None:
        """Run every cascade to its end, a batch of scenarios after the other.

        Batches that an earlier process committed are not computed again.
        """
        work, engine = self.work, self._engine()
        done = self._staged.written("scenarios")
        total, rounds = len(work.scenarios), work.layout.sizes["round"]
        with self.stages.stage("stress", total, "scenarios", engine.workers) as stage:
            for batch in work.batches:
                if batch.start not in done:
                    part = work.scenarios.take(slice(batch.start, batch.stop))
                    cascade = run_cascade(
                        engine,
                        self._inputs(len(part)),
                        work.shards,
                        part,
                        work.ground,
                        work.identity.named.plan,
                    )
                    fork = self._staged.fork()
                    fork.write("scenarios", stored_arrays(cascade, rounds), batch.start)
                    self._staged.checkpoint([fork], f"scenarios {batch.start} to {batch.stop}")
                self.stages.advance(stage, batch.stop - batch.start)
        self._insulate(engine)

    def _insulate(self, engine: Engine) -> None:
        """Compare margin systems and walls, where the plan asks for it; nothing is stored yet."""
        work = self.work
        spec = work.identity.named.plan.insulation
        if spec is None:
            return
        accounts = work.identity.book.accounts
        with self.stages.stage("margin systems", accounts, "accounts", engine.workers) as stage:
            self._compared = compare_systems(
                engine,
                self._inputs(len(work.scenarios)),
                work,
                spec,
                lambda done: self.stages.advance(stage, done),
            )

    def _inputs(self, scenarios: int) -> StressInputs:
        work, book = self.work, self.work.identity.book
        store = RunStore(self.request.runs)
        return StressInputs(
            book=book.location,
            book_digest=book.digest,
            run_id=work.identity.run.run_id,
            margin=store.rows(work.identity.run.run_id, "accounts"),
            lot_size=work.lot_size,
            notional=work.notional,
            cube=np.zeros((len(work.notional), scenarios)),
            active=np.ones(scenarios, dtype=np.bool_),
            rules=work.identity.named.plan.liquidation,
            groups=work.layout.sizes["member"],
        )

    def publish(self, peak_memory: Callable[[], int] = int) -> dict[str, Any]:
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
            datasets = {"plan": plan_dataset(work), "totals": totals}
            digests = {
                "scenarios": dataset_digest(stored),
                **{name: dataset_digest(dataset) for name, dataset in datasets.items()},
            }
            self.stages.advance(stage, 1)
        manifest = self._manifest(stored, digests, peak_memory())
        self._store.publish(self.run_id, self._staged, datasets, manifest)
        return manifest

    def _manifest(self, stored: xr.Dataset, digests: dict[str, str], peak: int) -> dict[str, Any]:
        work, plan = self.work, self.work.identity.named.plan
        run = work.identity.run
        settings = {one.name: str(getattr(self.request, one.name)) for one in fields(self.request)}
        worst = int(stored["lost"].values.argmax())
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
                "plan": {
                    "name": plan.name,
                    "version": plan.version,
                    "effective": plan.effective.isoformat(),
                    "title": plan.title,
                    "not_verified": list(plan.not_verified),
                    "digest": work.identity.named.digest,
                    "text": work.identity.named.text,
                },
            },
            "settings": settings | self._engine().describe(),
            "libraries": library_versions(),
            "totals": {
                "accounts": work.identity.book.accounts,
                "scenarios": len(work.scenarios),
                "ended": int(stored["ended"].values.sum()),
                "rounds": int(stored["rounds"].values.max()),
                "worst_scenario": work.scenarios.name[worst],
                "worst_loss": float(stored["lost"].values[worst]),
                "most_touched": int(stored["touched"].values.max()),
            },
            "stages": self.stages.rows(),
            "memory": {"peak_total": peak},
            "digests": digests,
            "digest": text_digest(*(f"{name}={digests[name]}" for name in sorted(digests))),
        }
