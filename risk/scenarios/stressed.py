"""Scenarios from a period of stress: a sample of its own, at a step of its own."""

from collections.abc import Sequence

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from risk.scenarios.historical import historical_scenarios
from risk.scenarios.specification import HistoricalSpec, StressedSpec


def stressed_scenarios(
    underlyings: Sequence[str],
    timestamps: Sequence[NDArray[np.datetime64]],
    closes: Sequence[NDArray[np.float64]],
    historical: HistoricalSpec,
    stressed: StressedSpec,
) -> xr.Dataset:
    """Return every window of a period of stress, as ``historical_scenarios`` cuts the history.

    Windows have the length, the scaling and the volatility of ``historical``; the period and the
    step are those of ``stressed``. Unlike episodes, which are picked for their size, they are a
    sample, so an expected shortfall may be taken over them.

    Raises:
        ValueError: what ``historical_scenarios`` raises, or the period leaves that of the history.
    """
    if stressed.start < historical.start or stressed.end > historical.end:
        raise ValueError(
            f"the stressed period {stressed.start} to {stressed.end} must lie in that of the "
            f"history, {historical.start} to {historical.end}"
        )
    period = historical.model_copy(update=stressed.model_dump())
    found = historical_scenarios(underlyings, timestamps, closes, period)
    sample = found.isel(scenario=np.flatnonzero(found["origin"].values == "historical"))
    names = [f"stressed {name}" for name in sample["scenario"].values.astype(str)]
    return sample.assign_coords(scenario=names).assign(
        origin=("scenario", np.full(len(names), "stressed", dtype=object)),
        label=("scenario", [f"{label}, stressed" for label in sample["label"].values.tolist()]),
    )
