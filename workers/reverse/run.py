"""One reverse stress, from its inputs to a published run: search, cascade, publish."""

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np
import xarray as xr

from risk.kernels.sums import LIMIT
from risk.scenarios.moves import factor_moves, shocks_from
from risk.summation import BLOCK_ACCOUNTS
from risk.systemic.exhaustion import Exhaustion, exhaustion, layers_to_exhaust
from storage.array_digest import dataset_digest
from storage.arrays import REVERSE
from storage.digest import text_digest
from storage.signature import Signer
from storage.staging import Layout
from workers.code_version import library_versions
from workers.engine import Engine
from workers.locked import LockedRun
from workers.memory import Room, room_here
from workers.reverse.losses import SHOCKS_TOGETHER, MemberLosses, ShockInputs
from workers.reverse.request import (
    ReverseIdentity,
    ReverseRequest,
    identify_reverse,
    reverse_store,
)
from workers.reverse.results import found_dataset, history_dataset
from workers.reverse.search import SEARCH, Found, search_targets, targets_of
from workers.shards import Shard, cut
from workers.stages import StageTable
from workers.stress.batch import stress_inputs
from workers.stress.cascade import Cascade, run_cascade
from workers.stress.manifest import manifest_head
from workers.stress.measured import Measured
from workers.stress.memory import CUBES, StressSize, project_stress
from workers.stress.request import NamedPlan, StressRequest
from workers.stress.scenarios import StressScenarios
from workers.stress.work import StressWork, plan_stress


class ReverseRun(LockedRun):
    """A reverse stress in progress: ``prepare``, ``search`` and ``publish``, in this order."""

    def __init__(
        self,
        request: ReverseRequest,
        engine: Callable[[], Engine],
        stages: StageTable | None = None,
        rooms: Callable[[], Sequence[Room]] = lambda: [room_here(1)],
    ) -> None:
        super().__init__()
        self.request = request
        self.stages = stages or StageTable()
        self._engine = engine
        self._store = reverse_store(request.reverses)
        self._rooms = rooms

    def prepare(self) -> bool:
        """Open and check every input; return whether the run is published already.

        Raises:
            AlreadyLocked: another process works on this very run.
            BookDamaged: a file of the book is not the one that was written.
            TooLargeForMemory: not even one scenario at a time fits into memory, or what is found
                does not go through its cascades together.
            ValueError: an input is not usable; the message says which and why.
        """
        with self.stages.stage("prepare", 1, "plan"):
            identity = identify_reverse(self.request)
            if self.taken(self._store, identity.run_id):
                return True
            identity.book.verify()
            self.plan(identity)
        return False

    def plan(self, identity: ReverseIdentity) -> None:
        """Find what is to be exhausted, and by what shocks are measured."""
        self.identity = identity
        rooms = self._rooms()
        self.work = _work(identity, self.request, rooms)
        self.moves = factor_moves(identity.run.scenarios.load())
        self.fund = identity.book.members()["default_fund"].to_numpy()
        exhaustions = exhaustions_of(identity, self.request)
        self.targets = targets_of(exhaustions, identity.defaulters)
        size = reverse_size(self.work.size, len(self.targets))
        self._memory = project_stress(size, rooms).told(rooms)

    def search(self) -> None:
        """Find the shocks, and run each to the end of its cascade."""
        engine = Measured(self._engine())
        losses = self.losses(engine)
        found = search_targets(self.targets, losses, self.fund, self.moves, self.stages)
        self.follow(found, _scenarios(found, self.work), engine)
        self._peak_per_worker = engine.peak_bytes

    def losses(self, engine: Engine) -> MemberLosses:
        """Return what members lose in any shock, of the accounts that the search looks at."""
        inputs = ShockInputs(stress_inputs(self.work, self.request.runs, 1), self.work.ground)
        return MemberLosses(engine, inputs, *self._looked_at())

    def follow(self, found: list[Found], scenarios: StressScenarios, engine: Engine) -> None:
        """Measure history by the shocks found, and run each of them to the end of its cascade."""
        self.found, self.scenarios = found, scenarios
        with self.stages.stage("history", len(self.moves.observed), "shocks") as stage:
            told = self.losses(engine).of(lambda shocks: self.stages.advance(stage, shocks))
            self.lost_in_history = told(self.moves.observed)
        with self.stages.stage("cascade of what was found", 1, "cascade"):
            self.cascade = self._cascade(engine) if len(scenarios) else None

    def _looked_at(self) -> tuple[tuple[Shard, ...], float]:
        """Return the shards that the search looks at, and how much all accounts are of them."""
        accounts, sample = self.identity.book.accounts, self.request.sample
        blocks = cut(accounts, BLOCK_ACCOUNTS)
        if sample is None or sample >= len(blocks):
            return tuple(self.work.shards), 1.0
        chosen = np.unique(np.rint(np.linspace(0, len(blocks) - 1, sample)).astype(np.int64))
        shards = tuple(blocks[row] for row in chosen.tolist())
        return shards, accounts / sum(one.stop - one.start for one in shards)

    def _cascade(self, engine: Engine) -> Cascade:
        return run_cascade(
            engine,
            stress_inputs(self.work, self.request.runs, len(self.scenarios)),
            self.work.shards,
            self.scenarios,
            self.work.ground,
            self.identity.named.plan,
        )

    def publish(
        self, peak_memory: Callable[[], int] = int, signer: Signer | None = None
    ) -> dict[str, Any]:
        """Write what was found, and make the run visible; return its manifest."""
        datasets = self.datasets()
        digests = {name: dataset_digest(dataset) for name, dataset in datasets.items()}
        settings = {one.name: str(getattr(self.request, one.name)) for one in fields(self.request)}
        manifest = {
            **manifest_head(REVERSE.name, self.identity.stress, settings, self.request.reason),
            "settings": settings | self._engine().describe(),
            "libraries": library_versions(),
            "totals": self.totals()
            | {"shocks_tried": sum(stage.items for stage in self.stages.stages)},
            "stages": self.stages.rows(),
            "memory": self._memory
            | {
                "peak_per_worker": self._peak_per_worker,
                "peak_total": peak_memory(),
                "shards": len(self.work.shards),
                "shards_cut_smaller": False,
            },
            "digests": digests,
            "digest": text_digest(*(f"{name}={digests[name]}" for name in sorted(digests))),
        }
        staged = self._store.stage(self.run_id, Layout({}, {}, {}), self.identity.key)
        with self.stages.stage("publish", 1, "run"):
            self._store.publish(self.run_id, staged, datasets, manifest, signer)
        return manifest

    def datasets(self) -> dict[str, xr.Dataset]:
        """Return what is published, by group."""
        lost = self.lost_in_history
        return {
            "found": found_dataset(
                self.found, self.scenarios, self.cascade, self.work, self.moves, lost
            ),
            "history": history_dataset(self.moves, lost),
        }

    def totals(self) -> dict[str, Any]:
        """Return what the manifest says of the whole, but for the shocks that were tried."""
        return {
            "accounts": self.identity.book.accounts,
            "accounts_searched": sum(one.stop - one.start for one in self._looked_at()[0]),
            "factors": len(self.moves.names),
            "windows": len(self.moves.window),
            "targets": len(self.found),
            "farthest": SEARCH.farthest,
            "exhausted": sum(one.stress is not None for one in self.found),
        }


def _work(identity: ReverseIdentity, request: ReverseRequest, rooms: Sequence[Room]) -> StressWork:
    """Return what the cascade of the plan needs.

    Its own scenarios and the margin systems that it compares are of no interest here.
    """
    own = identity.named.plan.model_copy(update={"insulation": None})
    named = NamedPlan(own, identity.named.text)
    given = StressRequest(request.run, own.name, request.runs)
    return plan_stress(replace(identity.stress, named=named), given, rooms)


def reverse_size(size: StressSize, targets: int) -> StressSize:
    """Return what memory depends on where a shock for each target goes through its cascade.

    They go together. While they are searched for, two cubes of ``SHOCKS_TOGETHER`` are there.
    """
    return replace(size, batch=max(targets, -(-2 * SHOCKS_TOGETHER // CUBES)))


def exhaustions_of(identity: ReverseIdentity, request: ReverseRequest) -> list[Exhaustion]:
    """Return what is to be exhausted.

    Raises:
        ValueError: a resource is no layer with an end, no amount, or named twice.
    """
    plan, fund = identity.named.plan, identity.book.members()["default_fund"].to_numpy()
    asked = request.resources or tuple(layers_to_exhaust(plan))
    found = []
    for name in asked:
        try:
            amount = float(name)
        except ValueError:
            found.append(exhaustion(plan, name, fund))
            continue
        if not 0.0 < amount < LIMIT:
            raise ValueError(
                f"resource is {name}; allowed is an amount of USD above 0 and below {LIMIT:,.0f}, "
                f"or a layer of {layers_to_exhaust(plan)}"
            )
        found.append(Exhaustion(f"{amount:,.0f} USD", amount))
    names = [one.name for one in found]
    if len(set(names)) < len(names):
        raise ValueError(f"resources {names} name one twice; name each once")
    return found


def _scenarios(found: list[Found], work: StressWork) -> StressScenarios:
    """Return the shocks that were found as scenarios at the plan's depth."""
    plan = work.identity.named.plan
    there = [one for one in found if one.stress is not None]
    moves = [one.stress.shock for one in there if one.stress is not None]
    names = tuple(one.target.name for one in there)
    coins = work.scenarios.underlyings
    return StressScenarios(
        name=names,
        title=names,
        origin=("reverse",) * len(names),
        depth=np.full(len(names), plan.depth),
        shocks=shocks_from(np.array(moves).reshape(len(names), 2 * len(coins))),
        underlyings=coins,
    )
