"""What the stress report is drawn from: one stress run as labelled data."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from flows.report.stress.failures import Failures
from risk.systemic.plan import StressPlan

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class ReverseView:
    """A reverse stress: its manifest, one row a target, and the windows of history."""

    manifest: dict[str, Any]
    found: xr.Dataset
    history: xr.Dataset

    def values(self, name: str) -> Floats:
        """Return an array of the targets as float64, ``(target, ...)``."""
        return np.asarray(self.found[name].values, dtype=np.float64)

    @cached_property
    def names(self) -> list[str]:
        """The names of the targets."""
        return [str(name) for name in self.found["target"].values]


@dataclass(frozen=True)
class StressView:
    """One stress run, ready to be drawn; a pure value that knows no store.

    Attributes:
        run_id: Name of the run.
        manifest: What went in, what came out and how long it took, as in the run's manifest.
        scenarios: The group of that name of ``storage.arrays.STRESS``.
        totals: What each scenario comes to for the system, and who bears it.
        moves: The scenarios themselves: titles, origins, depth and shocks, and the instruments.
        rules: The plan, as the manifest has it.
        network: Who owes whom in each scenario, and what became of it.
        reverse: The newest reverse stress of the same margin run and plan, if there is one.
    """

    run_id: str
    manifest: dict[str, Any]
    scenarios: xr.Dataset
    totals: xr.Dataset
    moves: xr.Dataset
    rules: StressPlan
    network: xr.Dataset
    reverse: ReverseView | None = None

    def values(self, name: str) -> Floats:
        """Return an array of the scenarios as float64, ``(scenario, ...)``."""
        return np.asarray(self.scenarios[name].values, dtype=np.float64)

    def total(self, name: str) -> Floats:
        """Return an array of the totals as float64."""
        return np.asarray(self.totals[name].values, dtype=np.float64)

    @cached_property
    def names(self) -> list[str]:
        """The names of the scenarios."""
        return [str(name) for name in self.moves["scenario"].values]

    @cached_property
    def coins(self) -> list[str]:
        """The coins, in the order of their columns."""
        return [str(name) for name in self.scenarios["coin"].values]

    @cached_property
    def vault_loss(self) -> Floats:
        """What the vault loses, zero where it gains, ``(scenario,)``."""
        return np.maximum(-self.values("vault_pnl"), 0.0)

    @cached_property
    def lost(self) -> Floats:
        """Losses of accounts and vault by the end, with gains that winners gave up for the vault.

        ``(scenario,)``; each loss is counted once.
        """
        return self.values("loss")

    @cached_property
    def gains_given_up(self) -> Floats:
        """What of ``lost`` winners bear out of gains, ``(scenario,)``."""
        return np.maximum(self.lost - self.values("lost") - self.vault_loss, 0.0)

    @cached_property
    def losers(self) -> str:
        """Whose losses ``lost`` are, in words."""
        if self.rules.deleveraging is None:
            return "accounts and vault"
        return "accounts and vault, and gains that winners gave up"

    @cached_property
    def broken(self) -> dict[str, str]:
        """What scenarios break beside prices, in words by name; most break nothing."""
        return {
            name: one.broken
            for one in self.rules.scenarios
            if one.breaks_something
            for name in self.rules.same_at_depths(one.name)
        }

    @cached_property
    def failures(self) -> Failures:
        """Who fails in which scenario, and what creditors lose by that."""
        return Failures(self.network)

    @cached_property
    def amplification(self) -> Floats:
        """Losses by the end over losses with nobody closed, NaN where there are none."""
        alone = self.values("lost_alone")
        return np.divide(self.lost, alone, out=np.full_like(alone, np.nan), where=alone > 0.0)

    @cached_property
    def worst(self) -> Rows:
        """The scenarios, those of the largest loss by the end first."""
        return np.argsort(-self.lost, kind="stable")

    @cached_property
    def depth(self) -> Floats:
        """The part of daily volume that is there, ``(scenario,)``."""
        return np.asarray(self.moves["depth"].values, dtype=np.float64)

    @cached_property
    def sold_by_coin(self) -> Floats:
        """Forced selling of each coin by delta, purchases negative, ``(scenario, coin)``, USD."""
        moved = self.values("sold_by_instrument") * self.moves["delta"].values
        coin = np.asarray([self.coins.index(str(one)) for one in self.moves["underlying"].values])
        found = np.zeros((len(self.names), len(self.coins)))
        np.add.at(found.T, coin, moved.T)
        return found

    @cached_property
    def daily_volume(self) -> Floats:
        """What changes hands on a calm day, ``(coin,)``, USD."""
        volume = {market.coin: market.daily_volume for market in self.rules.markets}
        return np.array([volume[coin] for coin in self.coins])
