"""What the report is drawn from: one run as labelled data, wherever it was read from."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from risk.measures import Measure


@dataclass(frozen=True, slots=True)
class RunView:
    """One run, ready to be drawn; a pure value that knows no store.

    Attributes:
        run_id: Name of the run.
        manifest: What went in, what came out and how long it took, as in the run's manifest.
        folds: Variables of ``storage.arrays.FOLDS`` with their coordinates.
        scenarios: Scenarios in the shape of ``risk.scenarios.shocks.scenario_dataset``.
        mark_error: Quality of the volatility surface by expiry, if a surface was fitted.
        measures: Measures of the run's methodology, on the axis of ``scenarios``.
        in_coin: Whether the scenarios of the rule book count coin in coin, and what has no
            optionality no further than the edge of its range, so that they are no revaluation.
    """

    run_id: str
    manifest: dict[str, Any]
    folds: xr.Dataset
    scenarios: xr.Dataset
    mark_error: xr.Dataset | None = None
    measures: tuple[Measure, ...] = ()
    in_coin: bool = False

    def __post_init__(self) -> None:
        if self.folds["scenario"].values.tolist() != self.scenarios["scenario"].values.tolist():
            raise ValueError(
                f"run {self.run_id}: the folds have {self.folds.sizes['scenario']} scenarios that "
                f"are not the {self.scenarios.sizes['scenario']} of the scenario set in the same "
                "order; pass the scenarios that the run used"
            )

    @property
    def origin(self) -> NDArray[np.object_]:
        """Origin of each scenario: ``historical``, ``grid``, ``scan``, ``event`` or another."""
        # Text comes back from storage in a type of its own, whose elements are Python's.
        return np.array(self.scenarios["origin"].values.tolist(), dtype=object)

    def rows(self, origin: str) -> NDArray[np.int64]:
        """Return the rows of the scenarios of one origin, in their order."""
        return np.flatnonzero(self.origin == origin)

    def per_scenario(self, name: str) -> NDArray[np.float64]:
        """Return one fold ``(scenario,)`` as float64."""
        return np.asarray(self.folds[name].values, dtype=np.float64)

    def total(self, name: str) -> float:
        """Return one of the manifest's totals, 0 where the run does not state it."""
        return float(self.manifest.get("totals", {}).get(name) or 0.0)

    @property
    def rule_book(self) -> dict[str, Any]:
        """What the manifest says of the methodology; an earlier version's says less."""
        return dict(self.manifest.get("inputs", {}).get("methodology", {}))

    @property
    def splits_requirement(self) -> bool:
        """Whether the requirement is split over instruments: rules by leg and Greeks split none."""
        return self.rule_book.get("kind", "measures") in ("measures", "scan")
