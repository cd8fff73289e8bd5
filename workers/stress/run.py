"""One stress run, stage by stage: prepare, stress, publish.

``StressRun`` holds what the stages hand to each other. It knows no scheduler: a flow calls the
stages in order, and so can a test.
"""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import xarray as xr
from numpy.typing import NDArray

from risk.instruments import unit_notional
from risk.methodology import parse_methodology
from risk.revaluation import cash_delta
from risk.systemic.bearing import bear_losses
from risk.systemic.cover import cover
from storage.digest import dataset_digest, text_digest
from storage.runs import RunStore
from storage.staging import Layout
from workers.code_version import code_version, library_versions
from workers.engine import Engine
from workers.fold import IncompleteRun
from workers.revaluation import terms_and_market_of
from workers.shards import Shard, cut, shard_length
from workers.stages import StageTable
from workers.stress.cascade import Cascade, Ground, run_cascade
from workers.stress.request import StressIdentity, StressRequest, identify_stress, stress_store
from workers.stress.scenarios import StressScenarios, stress_scenarios
from workers.stress.tasks import StressInputs

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class StressWork:
    """What is known of a stress run before the first scenario."""

    identity: StressIdentity
    scenarios: StressScenarios
    ground: Ground
    notional: Floats
    lot_size: Floats
    table: pa.Table
    shards: list[Shard]
    batches: list[Shard]
    layout: Layout


def plan_stress(identity: StressIdentity, request: StressRequest) -> StressWork:
    """Build the scenarios and what prices come from, and cut accounts and scenarios.

    Raises:
        ValueError: the plan asks for what the margin run does not have, or says nothing of a coin.
    """
    run, book, plan = identity.run, identity.book, identity.named.plan
    instruments, market = terms_and_market_of(run, book)
    rules = run.manifest["inputs"]["methodology"]
    methodology = parse_methodology(rules["text"], rules["events"])
    scenarios = stress_scenarios(run.scenarios.load(), plan)
    depth = {one.coin: one for one in plan.markets}
    missing = [coin for coin in scenarios.underlyings if coin not in depth]
    if missing:
        raise ValueError(
            f"plan {plan.name} has no market for {missing}, which the book trades; give daily "
            "volume and volatility of each"
        )
    notional = unit_notional(instruments, market.index)
    unit = np.where(notional > 0.0, notional, 1.0)
    table = book.instruments()
    width = min(request.batch, len(scenarios))
    return StressWork(
        identity=identity,
        scenarios=scenarios,
        ground=Ground(
            instruments=instruments,
            market=market,
            tenor=methodology.volatility_tenor.tenor(),
            delta=np.where(notional > 0.0, cash_delta(instruments, market) / unit, 0.0),
            volume=np.array([depth[coin].daily_volume for coin in scenarios.underlyings]),
            volatility=np.array([depth[coin].daily_volatility for coin in scenarios.underlyings]),
        ),
        notional=notional,
        lot_size=table["lot_size"].to_numpy(),
        table=table,
        shards=cut(book.accounts, shard_length(book.accounts, request.shards)),
        batches=cut(len(scenarios), width),
        layout=Layout(
            sizes={
                "scenario": len(scenarios),
                "round": plan.cascade.rounds + 1,
                "coin": len(scenarios.underlyings),
                "instrument": len(instruments),
                "member": book.members().num_rows,
            },
            chunks={"scenario": width},
            labels={
                "scenario": scenarios.name,
                "coin": scenarios.underlyings,
                "instrument": table["instrument"].to_pylist(),
                "member": book.members()["member"].to_pylist(),
            },
        ),
    )


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

    def __enter__(self) -> "StressRun":
        return self

    def __exit__(self, *_: object) -> None:
        """Let another process work on the run."""
        self._lock.close()

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
        total = len(work.scenarios)
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
                    fork.write("scenarios", self._arrays(cascade), batch.start)
                    self._staged.checkpoint([fork], f"scenarios {batch.start} to {batch.stop}")
                self.stages.advance(stage, batch.stop - batch.start)

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

    def _arrays(self, cascade: Cascade) -> dict[str, NDArray[np.generic]]:
        """Return a batch as it is stored: rounds padded to as many as there may be."""
        rounds = self.work.layout.sizes["round"]
        price = np.moveaxis(cascade.price, 0, -1)
        missing = rounds - price.shape[1]
        later = np.repeat(price[:, -1:], missing, axis=1)
        return {
            "sold": _padded(cascade.sold, rounds, np.nan),
            "liquidated": _padded(cascade.liquidated, rounds, -1),
            "price": np.concatenate([price, later], axis=1),
            "rounds": cascade.rounds,
            "ended": cascade.ended.astype(np.int8),
            "sold_by_instrument": cascade.sold_by_instrument.T,
            "taken_by_instrument": cascade.taken_by_instrument.T,
            "vault_pnl": cascade.vault_pnl,
            "lost_alone": cascade.first.lost,
            "lost": cascade.last.lost,
            "uncovered_alone": cascade.first.uncovered.T,
            "uncovered": cascade.last.uncovered.T,
            "defaulted_alone": cascade.first.defaulted.T,
            "defaulted": cascade.last.defaulted.T,
            "touched": cascade.last.touched,
        }

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
            datasets = {"plan": self._plan_dataset(), "totals": self._totals(stored)}
            digests = {
                "scenarios": dataset_digest(stored),
                **{name: dataset_digest(dataset) for name, dataset in datasets.items()},
            }
            self.stages.advance(stage, 1)
        manifest = self._manifest(stored, digests, peak_memory())
        self._store.publish(self.run_id, self._staged, datasets, manifest)
        return manifest

    def _plan_dataset(self) -> xr.Dataset:
        """Return the scenarios that were gone through, and what the instruments are."""
        scenarios = self.work.scenarios
        shocks = {
            field.name: (("scenario", "coin"), getattr(scenarios.shocks, field.name))
            for field in fields(scenarios.shocks)
        }
        texts = {
            name: (("scenario",), np.array(list(getattr(scenarios, name)), dtype=object))
            for name in ("title", "origin")
        }
        kinds = {
            name: (("instrument",), np.array(self.work.table[name].to_pylist(), dtype=object))
            for name in ("underlying", "kind")
        }
        return xr.Dataset(
            {
                **shocks,
                **texts,
                **kinds,
                "depth": (("scenario",), scenarios.depth),
                "notional": (("instrument",), self.work.notional),
                "delta": (("instrument",), self.work.ground.delta),
            },
            coords={
                "scenario": np.array(list(scenarios.name), dtype=object),
                "coin": np.array(list(scenarios.underlyings), dtype=object),
            },
        )

    def _totals(self, stored: xr.Dataset) -> xr.Dataset:
        """Return what each scenario comes to for the system, and who bears it."""
        members = self.work.identity.book.members()
        vault = np.maximum(-stored["vault_pnl"].values, 0.0)
        borne = bear_losses(
            self.work.identity.named.plan,
            stored["uncovered"].values.T,
            vault,
            members["default_fund"].to_numpy(),
        )
        one, two = (cover(borne.beyond.T, number).by_scenario for number in (1, 2))
        return xr.Dataset(
            {
                "shortfall": ("scenario", borne.loss),
                "shortfall_alone": ("scenario", stored["uncovered_alone"].values.sum(axis=1)),
                "defaulted_members": ("scenario", borne.defaulted.sum(axis=0)),
                "sold": ("scenario", np.nansum(stored["sold"].values, axis=1)),
                "borne": (("scenario", "layer"), borne.layers.T),
                "unborne": ("scenario", borne.unborne),
                "borne_by_member": (
                    ("scenario", "layer", "member"),
                    borne.by_member.T.swapaxes(1, 2),
                ),
                "beyond_contribution": (("scenario", "member"), borne.beyond.T),
                "cover_1": ("scenario", one),
                "cover_2": ("scenario", two),
                "default_fund": ("member", members["default_fund"].to_numpy()),
            },
            coords={"layer": np.array(borne.names, dtype=object)},
        )

    def _manifest(self, stored: xr.Dataset, digests: dict[str, str], peak: int) -> dict[str, Any]:
        work, plan = self.work, self.work.identity.named.plan
        run = work.identity.run
        settings = {one.name: str(getattr(self.request, one.name)) for one in fields(self.request)}
        worst = int(stored["lost"].values.argmax())
        return {
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


def _padded(values: NDArray[Any], rounds: int, filler: float) -> NDArray[Any]:
    missing = rounds - values.shape[1]
    return np.pad(values, ((0, 0), (0, missing)), constant_values=filler)
