"""A margin run made again from its inputs: market, scenarios, cube, and accounts by the kernels.

By the same code as the run: it finds what was changed in storage, and not what the code has wrong.
``workers.verify.accounts`` computes accounts by other code.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from risk.aggregation import account_arrays
from risk.instruments import MarketState
from risk.margin import Holdings, Revaluation, margin_accounts, measures_of
from risk.methodology import Methodology
from risk.scenarios.shocks import shocks_of
from storage.arrays import ACCOUNTS, BLOCKS, CUBE, Variable
from storage.book import Book
from storage.digest import text_digest
from storage.market import Market
from storage.runs import Run, RunStore
from workers.collateral import CountedAssets, counted_assets
from workers.engine import SerialEngine
from workers.fold import FoldInputs, fold_dataset, fold_run, lacking
from workers.inputs import book_of, market_of
from workers.manifest import inputs_of, totals_of
from workers.market import BuiltMarket, build_market
from workers.methodologies import NamedMethodology, methodology_of
from workers.plan import INSTRUMENT_BLOCK
from workers.revaluation import (
    axis_of,
    price_cube,
    revaluation_of_run,
    terms_and_market_of,
)
from workers.scenarios import build_scenarios
from workers.shards import Shard, cut
from workers.tasks import read_holdings
from workers.verify.checks import apart, made_by, misnamed, unlike, unlike_inputs

AGAIN = 1e-9
"""Relative difference allowed to what is fitted again: another machine's library may differ."""

FIT = 1e-6
"""The same for how well the fit is, relative to the largest of its kind."""

HOW_WELL = (
    "rmse_volatility", "mark_error", "mark_error_all", "mark_error_by_moneyness",
    "calendar_gain", "least_density", "parity_difference",
)  # fmt: skip
"""What tells how well the surface fits: differences of numbers that are nearly the same."""


@dataclass
class MarginedAgain:
    """A published margin run, and what its inputs lead to."""

    run: Run

    @cached_property
    def book(self) -> Book:
        """The book that was margined."""
        return book_of(self.run)

    @cached_property
    def market(self) -> Market:
        """The market that it was priced by."""
        return market_of(self.run)

    @cached_property
    def methodology(self) -> Methodology:
        """The rules that it was margined by."""
        return methodology_of(self.run)

    @cached_property
    def built(self) -> BuiltMarket:
        """The market, fitted again."""
        return build_market(self.market, self.book.instruments())

    @cached_property
    def index(self) -> dict[str, float]:
        """The price of each coin of the market, USD, whatever the manifest says."""
        return dict(zip(self.built.underlyings, self.built.state.index.tolist(), strict=True))

    @cached_property
    def priced(self) -> Run:
        """The run with the index of its market."""
        return replace(self.run, manifest=self.run.manifest | {"index": self.index})

    @cached_property
    def assets(self) -> CountedAssets:
        """What a unit of each asset counts for."""
        return counted_assets(self.book.assets(), self.index, self.methodology.collateral)

    @cached_property
    def lot_size(self) -> NDArray[np.float64]:
        """Contracts in a lot of each instrument, ``(instrument,)``."""
        return np.asarray(self.book.instruments()["lot_size"].to_numpy())

    @cached_property
    def revaluation(self) -> Revaluation:
        """What margin needs to know of each instrument, by the cube that is stored."""
        return revaluation_of_run(self.priced, self.book, self.methodology)

    def inputs(self) -> list[str]:
        """Hash every file and text of the inputs again; return where the manifest says otherwise.

        Raises:
            BookDamaged: a file of the book is not the one that was written.
            ValueError: the market is not the one that the run used.
        """
        self.book.verify()
        self.market.quotes()
        self.market.prices()
        manifest, rules = self.run.manifest, self.run.manifest["inputs"]["methodology"]
        text, events = rules["text"], rules["events"]
        named = NamedMethodology(self.methodology, text, events, text, own_events=False)
        key = text_digest(
            self.book.digest, self.market.digest, named.digest, manifest["code_version"]
        )
        return [
            *misnamed(self.run, key, self.book),
            *unlike_inputs(manifest["inputs"], inputs_of(self.book, self.market, named)),
            *unlike("index", manifest["index"], self.index),
        ]

    def scenarios(self) -> list[str]:
        """Return where scenarios are not those that market and rules lead to."""
        drawn = build_scenarios(self.market, self.methodology)
        return self._apart("scenarios", self.run.scenarios, drawn, each=AGAIN)

    def fitted(self) -> list[str]:
        """Return where instruments and surface are not those that book and market lead to."""
        state, table = self.built.state, self.book.instruments()
        instruments = {
            "forward": state.forward,
            "volatility": state.volatility,
            "priced": state.priced,
            "value": self.revaluation.value,
            "settlement": self.revaluation.settlement,
            "lot_size": self.lot_size,
        }
        again = xr.Dataset(
            {name: ("instrument", values) for name, values in instruments.items()},
            coords={"instrument": table["instrument"].to_pylist()},
        )
        market, surface = self.run.market, self.built.surface
        how_well = [name for name in HOW_WELL if name in market and name in surface]
        return [
            *self._apart("instruments", self.run.instruments, again, each=AGAIN),
            *self._apart(
                "market", market.drop_vars(how_well), surface.drop_vars(how_well),
                each=AGAIN, largest=AGAIN,
            ),
            *self._apart("market", market[how_well], surface[how_well], largest=FIT),
        ]  # fmt: skip

    def cube(self) -> list[str]:
        """Return the contracts whose P&L is another one when they are priced again."""
        terms, state = terms_and_market_of(self.priced, self.book)
        scenarios = self.run.scenarios.load()
        shocks, axis = shocks_of(scenarios), axis_of(self.methodology, scenarios)
        found = self._apart("cube", self.run.cube.drop_vars("pnl"), self._labelled(CUBE, {}))
        for block in cut(len(terms), INSTRUMENT_BLOCK):
            rows = slice(block.start, block.stop)
            market = MarketState(
                state.index, state.forward[rows], state.volatility[rows], state.priced[rows]
            )
            again = price_cube(terms.take(rows), market, shocks, self.methodology, axis)
            stored = self.revaluation.cube[rows]
            allowed = AGAIN * np.abs(again).max(axis=1, initial=0.0, keepdims=True)
            off = ~(np.abs(stored - again) <= allowed)
            for row in np.flatnonzero(off.any(axis=1)).tolist():
                one, other = (values[row][off[row]].tolist()[0] for values in (stored, again))
                found.append(
                    f"cube/pnl of {self.labels['instrument'][block.start + row]} is {one!r} where "
                    f"it is {other!r} made again ({off[row].sum():,} such)"
                    f"{made_by(self.run.manifest)}"
                )
        return found

    def sums(self, store: RunStore) -> list[str]:
        """Return what is missing, and where totals and folds are not the sums of what is stored."""
        book, run, standard = self.book, self.run, self.revaluation.standard
        inputs = FoldInputs(
            book=book,
            accounts=store.rows(run.run_id, "accounts"),
            blocks=store.rows(run.run_id, "blocks"),
            members=book.members().num_rows,
            instruments=book.instruments().num_rows,
            by_choice=None if standard is None else standard.choice.astype(np.bool_),
        )
        sums = fold_run(inputs, SerialEngine()).sums
        cube = self.revaluation.cube
        totals = totals_of(
            book,
            sums,
            standard=standard is not None,
            scenarios=cube.shape[1],
            instruments=cube.shape[0],
        )
        terms, market = terms_and_market_of(self.priced, book)
        folds = fold_dataset(
            sums,
            inputs,
            instruments=terms,
            index=market.index,
            cube=cube,
            lot_size=self.lot_size,
            labels=self.labels,
        )
        return [
            *(f"sums: {one}" for one in lacking(sums, book, cube)),
            *unlike("totals", run.manifest["totals"], totals),
            *self._apart("folds", run.folds, folds),
        ]

    def block(self, block: Shard) -> list[str]:
        """Return where a block of accounts, and its sums, are others by the kernels of a run."""
        arrays = self._margined(block)
        accounts = self.run.accounts.isel(account=slice(block.start, block.stop))
        blocks = self.run.blocks.isel(block=[block.index])
        return [
            *self._apart("accounts", accounts, self._labelled(ACCOUNTS, arrays)),
            *self._apart("blocks", blocks, self._labelled(BLOCKS, arrays)),
        ]

    def account(self, row: int) -> list[str]:
        """Return where an account is another one by the kernels of a run."""
        arrays = self._margined(Shard(0, row, row + 1))
        stored = self.run.accounts.isel(account=slice(row, row + 1))
        return self._apart("accounts", stored, self._labelled(ACCOUNTS, arrays))

    def holdings(self, shard: Shard) -> Holdings:
        """Read what a run of accounts holds."""
        assets = self.assets
        return read_holdings(self.book, shard, self.lot_size, assets.value, assets.priced)

    def _margined(self, shard: Shard) -> dict[str, NDArray[np.generic]]:
        measures = measures_of(self.methodology, self.run.scenarios["origin"].values.tolist())
        holdings = self.holdings(shard)
        return account_arrays(
            margin_accounts(holdings, self.revaluation, self.methodology, measures)
        )

    @cached_property
    def labels(self) -> dict[str, Sequence[str]]:
        """What stands along the dimensions of arrays that workers write."""
        return {
            "instrument": self.book.instruments()["instrument"].to_pylist(),
            "scenario": self.run.scenarios["scenario"].values.tolist(),
            "layer": list(self.methodology.layers),
            "measure": list(self.methodology.measured),
        }

    def _labelled(
        self, variables: Sequence[Variable], arrays: Mapping[str, NDArray[np.generic]]
    ) -> xr.Dataset:
        dims = {dim for one in variables for dim in one.dims}
        return xr.Dataset(
            {one.name: (one.dims, arrays[one.name]) for one in variables if one.name in arrays},
            coords={dim: np.array(self.labels[dim], object) for dim in dims & self.labels.keys()},
        )

    def _apart(
        self,
        group: str,
        stored: xr.Dataset,
        again: xr.Dataset,
        each: float = 0.0,
        largest: float = 0.0,
    ) -> list[str]:
        other = made_by(self.run.manifest)
        return [f"{one}{other}" for one in apart(group, stored.load(), again, each, largest)]
