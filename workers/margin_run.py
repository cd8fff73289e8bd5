"""One margin run, stage by stage: prepare, price, margin, fold, publish.

``MarginRun`` holds what the stages hand to each other. It knows no scheduler: a flow calls the
stages in order, and so can a test.
"""

import contextlib
import platform
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from risk.aggregation import PartialSums
from risk.instruments import Instruments, Kind, unit_notional
from risk.margin import Revaluation, measures_of
from risk.revaluation import contract_value
from risk.scenarios.shocks import shocks_of
from risk.summation import BLOCK_ACCOUNTS
from storage.arrays import INSTRUMENTS
from storage.book import Book
from storage.digest import dataset_digest, text_digest
from storage.market import Market, sample_market
from storage.runs import RunStore
from storage.staging import Fork, Layout
from workers.code_version import code_version, library_versions
from workers.engine import Engine, FoldEngine
from workers.fold import FoldInputs, IncompleteRun, fold_dataset, fold_run, require_whole
from workers.market import BuiltMarket, build_market
from workers.memory import available_bytes, projected_bytes, require_room
from workers.methodologies import DEFAULT_METHODOLOGY, NamedMethodology, load_methodology
from workers.scenarios import build_scenarios
from workers.shards import Shard, cut, shard_length
from workers.stages import StageTable
from workers.tasks import CubeInputs, MarginInputs, TaskResult, margin_shard, price_block
from workers.terms import CASH, instrument_terms

INSTRUMENT_BLOCK = 128
"""Instruments in one block of the cube."""

CHECKPOINT_SHARDS = 8
"""Shards between two commits to the staging branch: what a kill can cost."""


class InputsDisagree(ValueError):
    """The inputs of a run are of different instants."""


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What a run is to be made of, and how its work is to be cut.

    The first three decide the numbers; the rest decides only how fast they come.
    """

    book: Path
    market: Path | None = None
    methodology: str = DEFAULT_METHODOLOGY
    events: str | None = None
    runs: Path = Path("margincube-data/runs")
    shards: int | None = None
    threads: int = 1


@dataclass(frozen=True, slots=True)
class Plan:
    """What is known of a run before anything is priced."""

    run_id: str
    key: str
    book: Book
    market: Market
    named: NamedMethodology
    scenarios: xr.Dataset
    built: BuiltMarket
    instruments: Instruments
    shards: list[Shard]
    blocks: list[Shard]
    layout: Layout
    lot_size: NDArray[np.float64]


class MarginRun:
    """A margin run in progress; a context whose stages are called once each, in their order."""

    def __init__(
        self,
        request: RunRequest,
        engine: Callable[[], Engine],
        fold_engine: Callable[[], FoldEngine],
        stages: StageTable | None = None,
    ) -> None:
        self.request = request
        self.stages = stages or StageTable()
        self._engine = engine
        self._fold_engine = fold_engine
        self._store = RunStore(request.runs)
        self._lock = contextlib.ExitStack()
        self._sums: PartialSums | None = None

    def __enter__(self) -> "MarginRun":
        return self

    def __exit__(self, *_: object) -> None:
        """Let another process work on the run."""
        self._lock.close()

    def prepare(self) -> bool:
        """Open and check every input, and plan; return whether the run is published already.

        Until the run is left, no other process can work on it.

        Raises:
            AlreadyLocked: another process works on this very run.
            InputsDisagree: book and market are of different instants.
            TooLargeForMemory: the plan does not fit into memory.
            ValueError: an input is not usable; the message says which and why.
        """
        with self.stages.stage("prepare", 1, "plan") as stage:
            request = self.request
            book = Book.open(request.book)
            market = Market.open(request.market) if request.market else sample_market()
            if book.as_of != market.as_of:
                raise InputsDisagree(
                    f"ASOF_MISMATCH: book {book.name} is of {book.as_of.isoformat()}, market "
                    f"{market.name} of {market.as_of.isoformat()}; both must be of one instant"
                )
            named = load_methodology(request.methodology, request.events)
            key = text_digest(book.digest, market.digest, named.digest, code_version())
            run_id = f"{book.name}-{market.as_of:%Y%m%d}-{key[:12]}"
            self.run_id = run_id
            self._lock.enter_context(self._store.run_lock(run_id))
            if self._store.is_published(run_id):
                return True
            self.plan = self._make_plan(run_id, key, book, market, named)
            self._staged = self._store.stage(run_id, self.plan.layout, key)
            self.stages.advance(stage, 1)
        return False

    def _make_plan(
        self, run_id: str, key: str, book: Book, market: Market, named: NamedMethodology
    ) -> Plan:
        table = book.instruments()
        built = build_market(market, table)
        scenarios = build_scenarios(market, named.methodology)
        instruments = instrument_terms(table, built.underlyings, market.as_of)
        length = shard_length(book.accounts, self.request.shards)
        layout = Layout(
            sizes={
                "account": book.accounts,
                "block": -(-book.accounts // BLOCK_ACCOUNTS),
                "instrument": len(instruments),
                "scenario": scenarios.sizes["scenario"],
                "layer": len(named.methodology.layers),
                "measure": len(named.methodology.measures),
            },
            chunks={
                "account": length,
                "block": length // BLOCK_ACCOUNTS,
                "instrument": INSTRUMENT_BLOCK,
            },
            labels={
                "instrument": table["instrument"].to_pylist(),
                "scenario": scenarios["scenario"].values.tolist(),
                "layer": named.methodology.layers,
                "measure": [measure.name for measure in named.methodology.measures],
            },
        )
        require_room(
            projected_bytes(
                instruments=len(instruments),
                scenarios=layout.sizes["scenario"],
                shard_accounts=min(length, book.accounts),
                positions_per_account=book.positions / max(1, book.accounts),
            ),
            1,
            available_bytes(),
        )
        return Plan(
            run_id=run_id,
            key=key,
            book=book,
            market=market,
            named=named,
            scenarios=scenarios,
            built=built,
            instruments=instruments,
            shards=cut(book.accounts, length),
            blocks=cut(len(instruments), INSTRUMENT_BLOCK),
            layout=layout,
            lot_size=table["lot_size"].to_numpy(),
        )

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
                tenor=plan.named.methodology.volatility_tenor.tenor(),
                fork=self._staged.fork(),
            )
            forks = []
            for result in engine.map(price_block, inputs, todo):
                forks.append(result.fork)
                self.stages.advance(stage, result.items, result.busy_seconds)
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
            for few in _waves(todo, max(CHECKPOINT_SHARDS, 2 * engine.workers)):
                inputs = self._margin_inputs(self._staged.fork())
                results: list[TaskResult] = []
                for result in engine.map(margin_shard, inputs, few):
                    results.append(result)
                    self.stages.advance(stage, result.items, result.busy_seconds)
                self._staged.checkpoint(
                    [result.fork for result in results],
                    f"shards {few[0].index} to {few[-1].index}",
                )

    def _margin_inputs(self, fork: Fork) -> MarginInputs:
        plan = self.plan
        value, priced = asset_values(plan.book, plan.built)
        return MarginInputs(
            book=plan.book.path,
            book_digest=plan.book.digest,
            revaluation=self._revaluation(),
            methodology=plan.named.methodology,
            measures=measures_of(plan.named.methodology, plan.scenarios["origin"].values.tolist()),
            lot_size=plan.lot_size,
            asset_value=value,
            asset_priced=priced,
            threads=self.request.threads,
            fork=fork,
        )

    def _revaluation(self) -> Revaluation:
        plan, staged = self.plan, self._staged
        return revaluation_of(
            plan.book,
            plan.instruments,
            plan.built,
            cube=staged.read("cube")["pnl"].values,
            weight=plan.scenarios["weight"].values,
        )

    def fold(self) -> None:
        """Fold the stored shards over members, venues, protocols, chains and underlyings."""
        plan = self.plan
        with self.stages.stage("fold", plan.book.accounts, "accounts") as stage:
            self._sums = fold_run(self._fold_inputs(), self._fold_engine())
            self.stages.advance(stage, plan.book.accounts)

    def _fold_inputs(self) -> FoldInputs:
        return FoldInputs(
            book=self.plan.book,
            accounts=self._staged.read("accounts"),
            blocks=self._staged.read("blocks"),
            members=self.plan.book.members().num_rows,
            instruments=len(self.plan.instruments),
        )

    def publish(self, peak_memory: Callable[[], int] = int) -> dict[str, Any]:
        """Verify that the run is whole, write its manifest, and make it visible at once.

        Raises:
            IncompleteRun: something is missing or does not agree; nothing becomes visible.
        """
        plan, sums = self.plan, self._sums
        if sums is None:
            raise RuntimeError("publish was called before fold")
        with self.stages.stage("verify and publish", 1, "run") as stage:
            cube = self._staged.read("cube")["pnl"].values
            require_whole(sums, plan.book, cube)
            folds = fold_dataset(
                sums,
                self._fold_inputs(),
                instruments=plan.instruments,
                index=plan.built.state.index,
                cube=cube,
                lot_size=plan.lot_size,
                labels=dict(plan.layout.labels),
            )
            digests = {
                "accounts": dataset_digest(self._staged.read("accounts")),
                "cube": dataset_digest(self._staged.read("cube")),
                "folds": dataset_digest(folds),
            }
            self.stages.advance(stage, 1)
        manifest = self._manifest(sums, digests, peak_memory())
        datasets = {
            "folds": folds,
            "scenarios": plan.scenarios,
            "market": plan.built.surface,
            "instruments": self._instrument_dataset(),
        }
        self._store.publish(plan.run_id, self._staged, datasets, manifest)
        return manifest

    def _instrument_dataset(self) -> xr.Dataset:
        """Return the inputs and the value of each instrument, so that a run explains itself."""
        plan, revaluation = self.plan, self._revaluation()
        values = {
            "forward": plan.built.state.forward,
            "volatility": plan.built.state.volatility,
            "value": revaluation.value,
            "short_charge": revaluation.short_charge,
            "settlement": revaluation.settlement,
            "lot_size": plan.lot_size,
            "priced": revaluation.priced,
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

    def _manifest(
        self, sums: PartialSums, digests: dict[str, str], peak_memory: int
    ) -> dict[str, Any]:
        plan, methodology = self.plan, self.plan.named.methodology
        request = {name: str(value) for name, value in asdict(self.request).items()}
        folding = {f"fold_{name}": value for name, value in self._fold_engine().describe().items()}
        return {
            "run_id": plan.run_id,
            "key": plan.key,
            "status": "published",
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "as_of": plan.market.as_of.isoformat(),
            "index": dict(
                zip(plan.built.underlyings, plan.built.state.index.tolist(), strict=True)
            ),
            "code_version": code_version(),
            "inputs": {
                "book": {
                    "name": plan.book.name,
                    "path": str(plan.book.path.resolve()),
                    "digest": plan.book.digest,
                    "accounts": plan.book.accounts,
                    "positions": plan.book.positions,
                    "as_of": plan.book.as_of.isoformat(),
                },
                "market": {
                    "name": plan.market.name,
                    "path": str(plan.market.path.resolve()),
                    "digest": plan.market.digest,
                    "as_of": plan.market.as_of.isoformat(),
                },
                "methodology": {
                    "name": methodology.name,
                    "version": methodology.version,
                    "title": methodology.title,
                    "digest": plan.named.digest,
                    "text": plan.named.text,
                    "events": plan.named.events,
                },
            },
            "settings": request | self._engine().describe() | folding,
            "libraries": {"python": platform.python_version(), **library_versions()},
            "totals": {
                "accounts": sums.accounts,
                "margined": sums.accounts - sums.held,
                "held": sums.held,
                "quarantined_rows": plan.book.quarantine().num_rows,
                "positions": sums.positions,
                "requirement": float(sums.member_margin.sum()),
                "equity": float(sums.member_equity.sum()),
                "shortfall": float(sums.member_shortfall.sum()),
                "accounts_short": int(sums.member_accounts_short.sum()),
                "scenarios": plan.layout.sizes["scenario"],
                "instruments": plan.layout.sizes["instrument"],
            },
            "stages": self.stages.rows(),
            "peak_memory_bytes": peak_memory,
            "digests": digests,
            "digest": text_digest(*(f"{name}={digests[name]}" for name in sorted(digests))),
        }


def asset_values(book: Book, built: BuiltMarket) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return what a unit of each asset counts for, in reporting currency, and whether it can."""
    assets = book.assets()
    price = dict(zip(built.underlyings, built.state.index.tolist(), strict=True)) | {CASH: 1.0}
    underlying = assets["underlying"].to_pylist()
    priced = np.array([name in price for name in underlying], dtype=np.bool_)
    unit = np.array([price.get(name, 0.0) for name in underlying])
    return unit * (1.0 - assets["haircut"].to_numpy()), priced


def revaluation_of(
    book: Book,
    instruments: Instruments,
    built: BuiltMarket,
    *,
    cube: NDArray[np.float64],
    weight: NDArray[np.float64],
) -> Revaluation:
    """Return the cube with what margin needs to know of each instrument."""
    currency = book.instruments()["settlement_currency"].to_numpy(zero_copy_only=False)
    notional = unit_notional(instruments, built.state.index)
    return Revaluation(
        cube=cube,
        weight=weight,
        value=contract_value(instruments, built.state),
        short_charge=np.where(instruments.kind == Kind.OPTION, notional, 0.0),
        settlement=np.unique(currency, return_inverse=True)[1].astype(np.int32),
        priced=built.state.priced,
    )


def _waves(shards: list[Shard], length: int) -> list[list[Shard]]:
    return [shards[at : at + length] for at in range(0, len(shards), length)]
