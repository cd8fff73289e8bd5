"""One margin run, stage by stage: prepare, price, margin, fold, publish.

``MarginRun`` holds what the stages hand to each other. It knows no scheduler: a flow calls the
stages in order, and so can a test.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import xarray as xr

from risk.instruments import unit_notional
from risk.margin import Revaluation, measures_of
from risk.scenarios.shocks import shocks_of
from storage.array_digest import dataset_digest
from storage.arrays import INSTRUMENTS
from storage.runs import RunStore
from storage.signature import Signer
from workers.collateral import counted_assets
from workers.earlier import Since, find_earlier
from workers.engine import Engine, FoldEngine
from workers.fold import Folded, FoldInputs, IncompleteRun, fold_dataset, fold_run, require_whole
from workers.locked import LockedRun
from workers.manifest import run_manifest
from workers.memory import Room, room_here
from workers.plan import RunRequest, identify, make_plan
from workers.quarantine import require_few_held, require_little_held, stakes_of
from workers.revaluation import axis_of, revaluation_of
from workers.shards import Shard
from workers.stages import Stage, StageTable
from workers.tasks import CubeInputs, MarginInputs, TaskResult, margin_shard, price_block

CHECKPOINT_SHARDS = 8
"""Shards between two commits to the staging branch: what a kill can cost."""


class MarginRun(LockedRun):
    """A margin run in progress; a context whose stages are called once each, in their order.

    ``rooms`` tells where it may take memory: on this machine for one task at a time when left out.
    """

    def __init__(
        self,
        request: RunRequest,
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
        self._store = RunStore(request.runs)
        self._rooms = rooms
        self._folded: Folded | None = None
        self._peak_per_worker = 0
        self._since: Since | None = None
        self._kept = 0

    def prepare(self) -> bool:
        """Open and check every input, and plan; return whether the run is published already.

        Until the run is left, no other process can work on it.

        Raises:
            AlreadyLocked: another process works on this very run.
            BookDamaged: a file of the book is not the one that was written.
            InputsDisagree: book and market are of different instants.
            TooLargeForMemory: the plan does not fit into memory.
            TooMuchHeldBack: the book alone holds back more accounts than the request allows.
            UnknownRun: the run to go on from was never published.
            ValueError: an input is not usable; the message says which and why.
        """
        with self.stages.stage("prepare", 1, "plan") as stage:
            identity = identify(self.request)
            if self.taken(self._store, identity.run_id):
                return True
            if self.request.since is not None:
                self._store.resolve(self.request.since)
            identity.book.verify()
            require_few_held(
                identity.book, identity.book.held_reasons().num_rows, self.request.most_held_back
            )
            self.plan = make_plan(identity, self.request, self._rooms())
            self._staged = self._store.stage(self.run_id, self.plan.layout, identity.key)
            self.stages.advance(stage, 1)
        return False

    def compute(self) -> None:
        """Do every stage between ``prepare`` and ``publish``, in their order."""
        self.price()
        self.margin()
        self.fold()

    def price(self) -> None:
        """Price the cube, a block of instruments to a task, each into its own chunk.

        Raises:
            IncompleteRun: a block was lost; no account is margined on a cube with a hole.
        """
        plan, engine = self.plan, self._engine()
        done = self._staged.written("cube")
        todo = [block for block in plan.blocks if block.start not in done]
        scenarios = plan.layout.sizes["scenario"]
        total = len(plan.instruments) * scenarios
        with self.stages.stage("price cube", total, "cells", engine.workers) as stage:
            self.stages.advance(stage, total - sum((b.stop - b.start) * scenarios for b in todo))
            if not todo:
                return
            inputs = CubeInputs(
                instruments=plan.instruments,
                market=plan.built.state,
                shocks=shocks_of(plan.scenarios),
                methodology=plan.methodology,
                axis=axis_of(plan.methodology, plan.scenarios),
                fork=self._staged.fork(),
            )
            forks = []
            for result in engine.map(price_block, inputs, todo):
                forks.append(result.fork)
                self._count(stage, result)
            self._staged.checkpoint(forks, "cube")
            lost = {block.start for block in plan.blocks} - self._staged.written("cube")
            if lost:
                raise IncompleteRun(
                    f"the cube holds no number for instrument row {min(lost)}; run it again"
                )

    def margin(self) -> None:
        """Margin every account, a shard to a task, each into its own chunks.

        Shards that an earlier process committed are not computed again.
        """
        plan, engine = self.plan, self._engine()
        done = self._staged.written("accounts")
        todo = [shard for shard in plan.shards if shard.start not in done]
        with self.stages.stage("margin", plan.book.accounts, "accounts", engine.workers) as stage:
            self.stages.advance(
                stage, plan.book.accounts - sum(shard.stop - shard.start for shard in todo)
            )
            shared = self._margin_inputs()
            for few in _waves(todo, max(CHECKPOINT_SHARDS, 2 * engine.workers)):
                # A fork ends with its wave; everything else is shared by all of them.
                inputs = replace(shared, fork=self._staged.fork())
                results: list[TaskResult] = []
                for result in engine.map(margin_shard, inputs, few):
                    results.append(result)
                    self._kept += result.kept
                    self._count(stage, result)
                self._staged.checkpoint(
                    [result.fork for result in results],
                    f"shards {few[0].index} to {few[-1].index}",
                )

    def _count(self, stage: Stage, result: TaskResult) -> None:
        self.stages.advance(stage, result.items, result.busy_seconds)
        self._peak_per_worker = max(self._peak_per_worker, result.peak_bytes)

    def _margin_inputs(self) -> MarginInputs:
        plan = self.plan
        assets = counted_assets(plan.book.assets(), plan.index, plan.methodology.collateral)
        earlier = None
        if self.request.since is not None:
            self._since, earlier = find_earlier(
                plan, self._store, self.request.since, self._revaluation
            )
        return MarginInputs(
            book=plan.book.location,
            book_digest=plan.book.digest,
            revaluation=self._revaluation,
            methodology=plan.methodology,
            measures=measures_of(plan.methodology, plan.scenarios["origin"].values.tolist()),
            lot_size=plan.lot_size,
            asset_value=assets.value,
            asset_priced=assets.priced,
            threads=self.request.threads,
            fork=self._staged.fork(),
            earlier=earlier,
        )

    @functools.cached_property
    def _revaluation(self) -> Revaluation:
        plan = self.plan
        return revaluation_of(
            plan.book.instruments(),
            plan.book.assets(),
            plan.instruments,
            plan.built.state,
            plan.built.underlyings,
            plan.methodology,
            plan.scenarios,
            self._staged.read("cube")["pnl"].values,
        )

    def fold(self) -> None:
        """Fold the stored shards over members, venues, protocols, chains and underlyings."""
        plan = self.plan
        with self.stages.stage("fold", plan.book.accounts, "accounts") as stage:
            self._folded = fold_run(self._fold_inputs(), self._fold_engine())
            self.stages.advance(stage, plan.book.accounts)

    def _fold_inputs(self) -> FoldInputs:
        standard = self._revaluation.standard
        return FoldInputs(
            book=self.plan.book,
            accounts=self._staged.rows("accounts"),
            blocks=self._staged.rows("blocks"),
            members=self.plan.book.members().num_rows,
            instruments=len(self.plan.instruments),
            by_choice=None if standard is None else standard.choice.astype(np.bool_),
        )

    def publish(
        self, peak_memory: Callable[[], int] = int, signer: Signer | None = None
    ) -> dict[str, Any]:
        """Verify that the run is whole, write its manifest, and make it visible at once.

        Raises:
            IncompleteRun: something is missing or does not agree; nothing becomes visible.
            TooMuchHeldBack: more is held back than the request allows; nothing becomes visible.
        """
        plan, folded = self.plan, self._folded
        if folded is None:
            raise RuntimeError("publish was called before fold")
        sums = folded.sums
        with self.stages.stage("verify", 1, "run") as stage:
            cube = self._revaluation.cube
            require_whole(sums, plan.book, cube)
            self._require_little_held()
            folds = fold_dataset(
                sums,
                self._fold_inputs(),
                instruments=plan.instruments,
                index=plan.built.state.index,
                cube=cube,
                lot_size=plan.lot_size,
                labels=dict(plan.layout.labels),
            )
            datasets = {
                "folds": folds,
                "scenarios": plan.scenarios,
                "market": plan.built.surface,
                "instruments": self._instrument_dataset(),
            }
            digests = {
                "accounts": dataset_digest(self._staged.read("accounts"), folded.digests),
                "cube": dataset_digest(self._staged.read("cube")),
                **{name: dataset_digest(dataset) for name, dataset in datasets.items()},
            }
            self.stages.advance(stage, 1)
        folding = {f"fold_{name}": value for name, value in self._fold_engine().describe().items()}
        manifest = run_manifest(
            plan,
            self.request,
            sums,
            digests=digests,
            engines=self._engine().describe() | folding,
            stages=self.stages.rows(),
            peak_per_worker=self._peak_per_worker,
            peak_total=peak_memory(),
            since=None if self._since is None else asdict(self._since) | {"kept": self._kept},
        )
        self._store.publish(self.run_id, self._staged, datasets, manifest, signer)
        return manifest

    def _require_little_held(self) -> None:
        plan, limits = self.plan, (self.request.most_held_back, self.request.most_money_held_back)
        if limits == (None, None):
            return
        state = plan.built.state
        stored = self._staged.read("accounts")
        assets = counted_assets(plan.book.assets(), plan.index, plan.methodology.collateral)
        stakes = stakes_of(
            plan.book,
            stored["status"].values,
            self._revaluation.value,
            np.where(state.priced, unit_notional(plan.instruments, state.index), 0.0),
            assets.value,
        )
        margined = float(np.nansum(stored["collateral_value"].values))
        accounts, money = limits
        require_few_held(plan.book, len(stakes.row), accounts)
        require_little_held(plan.book, stakes, assets, margined, money)

    def _instrument_dataset(self) -> xr.Dataset:
        """Return the inputs and the value of each instrument, so that a run explains itself."""
        plan, revaluation = self.plan, self._revaluation
        values = {
            "forward": plan.built.state.forward,
            "volatility": plan.built.state.volatility,
            "value": revaluation.value,
            "settlement": revaluation.settlement,
            "lot_size": plan.lot_size,
            "priced": plan.built.state.priced,
        }
        return xr.Dataset(
            {
                variable.name: (
                    variable.dims,
                    values[variable.name],
                    {"units": variable.unit, "long_name": variable.meaning},
                )
                for variable in INSTRUMENTS
            },
            coords={"instrument": list(plan.layout.labels["instrument"])},
        )


def _waves(shards: list[Shard], length: int) -> list[list[Shard]]:
    return [shards[at : at + length] for at in range(0, len(shards), length)]
