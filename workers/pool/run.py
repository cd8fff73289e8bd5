"""One collateral run, stage by stage: prepare, find what counts, value, pool, fold, publish.

``PoolRun`` holds what the stages hand to each other. It knows no scheduler: a flow calls the
stages in order, and so can a test.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from storage.array_digest import dataset_digest
from storage.objects import S3Folder
from storage.runs import RunStore
from storage.signature import Signer
from workers.engine import Engine, FoldEngine
from workers.locked import LockedRun
from workers.memory import Room, room_here
from workers.pool.count import Counted, count_claims
from workers.pool.fold import FoldedPool, fold_pool, require_whole_pool
from workers.pool.manifest import pool_manifest
from workers.pool.memory import project_pool, work_of
from workers.pool.plan import PoolPlan, plan_pool
from workers.pool.request import PoolRequest, identify_pool, pool_store
from workers.pool.results import pool_datasets
from workers.pool.tasks import PoolInputs, PoolTask, pool_shard
from workers.pool.terms import Valued, value_pool
from workers.shards import Shard
from workers.stages import StageTable
from workers.tasks import TaskResult

CHECKPOINT_SHARDS = 8
"""Shards between two commits to the staging branch: what a kill can cost."""


class PoolRun(LockedRun):
    """A collateral run in progress; a context whose stages are called once each, in their order."""

    def __init__(
        self,
        request: PoolRequest,
        engine: Callable[[], Engine],
        fold_engine: Callable[[], FoldEngine],
        stages: StageTable | None = None,
        rooms: Callable[[], Sequence[Room]] = lambda: [room_here(1)],
    ) -> None:
        super().__init__()
        self.request = request
        self.stages = stages or StageTable()
        self._engine = engine
        self._fold_engine = fold_engine
        self._store = pool_store(request)
        self._rooms = rooms
        self._peak_per_worker = 0
        self._counted: Counted | None = None
        self._valued: Valued | None = None
        self._folded: FoldedPool | None = None

    def prepare(self) -> bool:
        """Open and check every input, and plan; return whether the run is published already.

        Raises:
            AlreadyLocked: another process works on this very run.
            BookDamaged: a file of the book is not the one that was written.
            ClaimsDamaged: a file of the claims is not the one that was written.
            OfAnotherBook: the claims are of another book than the margin run.
            TooLargeForMemory: the plan does not fit into memory.
            ValueError: an input is not usable; the message says which and why.
        """
        with self.stages.stage("prepare", 1, "plan") as stage:
            identity = identify_pool(self.request)
            if self.taken(self._store, identity.run_id):
                return True
            identity.book.verify()
            identity.claims.verify()
            self.plan: PoolPlan = plan_pool(identity, self.request)
            rooms = self._rooms()
            self._memory = project_pool(work_of(self.plan), rooms).told(rooms)
            self._staged = self._store.stage(self.run_id, self.plan.layout, identity.key)
            self.stages.advance(stage, 1)
        return False

    def compute(self) -> None:
        """Do every stage between ``prepare`` and ``publish``, in their order."""
        self.count()
        self.value()
        self.pool()
        self.fold()

    def count(self) -> None:
        """Find which claims count: double counts and circles, standing, finality, prices."""
        total = self.plan.claims.claims
        with self.stages.stage("find what counts", total, "claims") as stage:
            self._counted = count_claims(self.plan, self._fold_engine())
            self.stages.advance(stage, total)

    def value(self) -> None:
        """Value a unit of every token, now and in each scenario, from what the pool holds."""
        plan = self.plan
        cells = len(plan.references.tokens) * (1 + len(plan.scenarios))
        with self.stages.stage("value tokens", cells, "cells") as stage:
            self._valued = value_pool(plan, self._known().totals)
            self.stages.advance(stage, cells)

    def pool(self) -> None:
        """Value and margin every account, a shard to a task, each into its own chunks.

        Shards that an earlier process committed are not computed again.
        """
        plan, engine = self.plan, self._engine()
        done = self._staged.written("accounts")
        todo = [shard for shard in plan.shards if shard.start not in done]
        with self.stages.stage("pool", plan.book.accounts, "accounts", engine.workers) as stage:
            left = sum(shard.stop - shard.start for shard in todo)
            self.stages.advance(stage, plan.book.accounts - left)
            shared = task_inputs(plan, self._known(), self._worth(), self.request.runs)
            few = max(CHECKPOINT_SHARDS, 2 * engine.workers)
            for wave in (todo[at : at + few] for at in range(0, len(todo), few)):
                self._pool_wave(engine, PoolTask(shared, self._staged.fork()), wave, stage)

    def _pool_wave(self, engine: Engine, task: PoolTask, wave: list[Shard], stage: Any) -> None:
        results: list[TaskResult] = []
        for result in engine.map(pool_shard, task, wave):
            results.append(result)
            self.stages.advance(stage, result.items, result.busy_seconds)
            self._peak_per_worker = max(self._peak_per_worker, result.peak_bytes)
        message = f"shards {wave[0].index} to {wave[-1].index}"
        self._staged.checkpoint([result.fork for result in results], message)

    def fold(self) -> None:
        """Fold the stored shards into the sums of one pool."""
        accounts = self.plan.book.accounts
        with self.stages.stage("fold", accounts, "accounts") as stage:
            stored, blocks = self._staged.rows("accounts"), self._staged.rows("blocks")
            self._folded = fold_pool(accounts, stored, blocks, self._fold_engine())
            self.stages.advance(stage, accounts)

    def publish(
        self, peak_memory: Callable[[], int] = int, signer: Signer | None = None
    ) -> dict[str, Any]:
        """Verify that the run is whole, write its manifest, and make it visible at once.

        Raises:
            IncompleteRun: something is missing or does not agree; nothing becomes visible.
        """
        plan, counted, folded = self.plan, self._known(), self._folded
        if folded is None:
            raise RuntimeError("publish was called before fold")
        with self.stages.stage("verify", 1, "run") as stage:
            require_whole_pool(
                folded.sums,
                accounts=plan.book.accounts,
                claims=plan.claims.claims,
                by_outcome=counted.by_outcome,
            )
            datasets = pool_datasets(plan, counted, self._worth(), folded.sums)
            digests = {
                "accounts": dataset_digest(self._staged.read("accounts"), folded.digests),
                **{name: dataset_digest(dataset) for name, dataset in datasets.items()},
            }
            self.stages.advance(stage, 1)
        engines = self._engine().describe() | {
            f"fold_{name}": value for name, value in self._fold_engine().describe().items()
        }
        manifest = pool_manifest(
            plan,
            self.request,
            counted,
            folded.sums,
            digests=digests,
            engines=engines,
            stages=self.stages.rows(),
            memory=self._memory
            | {"peak_per_worker": self._peak_per_worker, "peak_total": peak_memory()},
        )
        self._store.publish(self.run_id, self._staged, datasets, manifest, signer)
        return manifest

    def _known(self) -> Counted:
        if self._counted is None:
            raise RuntimeError("the claims were not counted yet; call count before")
        return self._counted

    def _worth(self) -> Valued:
        if self._valued is None:
            raise RuntimeError("the tokens were not valued yet; call value before")
        return self._valued


def task_inputs(
    plan: PoolPlan, counted: Counted, valued: Valued, runs: Path | S3Folder
) -> PoolInputs:
    """Return what tasks share; ``runs`` is where the margin run was published."""
    return PoolInputs(
        book=plan.book.location,
        book_digest=plan.book.digest,
        claims=plan.claims.location,
        claims_digest=plan.claims.digest,
        margin=RunStore(runs).rows(plan.identity.run.run_id, "accounts"),
        terms=valued.terms,
        outcome=counted.outcome,
        counted=counted.units,
        present=counted.present,
        misplaced=counted.misplaced,
        priced=plan.priced,
        lot_size=plan.lot_size,
        position_value=plan.position_value,
        notional=plan.notional,
        venue=plan.venue,
        venues=len(plan.venues),
    )
