"""What the collateral report is drawn from: one collateral run as labelled data."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from risk.claims.rules import NONE, PoolRules

Floats = NDArray[np.float64]

NOW = 0
"""The row of the state before any scenario."""

NOWHERE = {
    "chain": "off chain",
    "protocol": "in no protocol",
    "bridge": "over no bridge",
}
"""What "none" is called."""


@dataclass(frozen=True, slots=True)
class PoolView:
    """One collateral run, ready to be drawn; a pure value that knows no store.

    Attributes:
        run_id: Name of the run.
        manifest: What went in, what came out and how long it took, as in the run's manifest.
        totals: The group of that name of ``storage.arrays.POOL``; so are the next three.
        tokens: What each token is and what a unit of it comes to.
        scenarios: Scenarios of the market, then those that befall the pool itself.
        findings: Claims that count one thing together with others.
        accounts: Rows of the accounts that are listed, with the coordinate ``account``.
        rules: The rules of the pool, as the manifest has them.
    """

    run_id: str
    manifest: dict[str, Any]
    totals: xr.Dataset
    tokens: xr.Dataset
    scenarios: xr.Dataset
    findings: xr.Dataset
    accounts: xr.Dataset
    rules: PoolRules

    def total(self, name: str) -> float:
        """Return one of the manifest's totals."""
        return float(self.manifest["totals"][name])

    def amounts(self, name: str) -> Floats:
        """Return one of the arrays of totals as float64."""
        return np.asarray(self.totals[name].values, dtype=np.float64)

    def names(self, group: str) -> list[str]:
        """Return the chains, protocols, bridges or assets by name, "none" in words."""
        labels = [str(name) for name in self.totals[group].values]
        return [NOWHERE.get(group, name) if name == NONE else name for name in labels]

    @property
    def failures(self) -> list[str]:
        """The titles of the pool's own scenarios, in the order of the reported states but now."""
        titles = dict(
            zip(
                map(str, self.scenarios["scenario"].values),
                map(str, self.scenarios["title"].values),
                strict=True,
            )
        )
        return [_capital(titles[str(name)]) for name in self.totals["report"].values[1:]]

    @property
    def failure_weights(self) -> Floats:
        """The part of the loss in each of these that the requirement answers for."""
        count = self.totals.sizes["report"] - 1
        weights = np.asarray(self.scenarios["weight"].values, dtype=np.float64)
        return weights[len(weights) - count :]

    def scenario_title(self, row: int) -> str:
        """Return the title of a scenario by its row; -1 is none."""
        return "none" if row < 0 else _capital(str(self.scenarios["title"].values[row]))


def _capital(title: str) -> str:
    """Return a title with a capital in front, unless it begins with the name of a token.

    >>> _capital("the bridge fails"), _capital("stETH falls")
    ('The bridge fails', 'stETH falls')
    """
    first = title.split(" ", 1)[0]
    return title[:1].upper() + title[1:] if first.islower() else title
