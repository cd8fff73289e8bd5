"""Scenarios of a run: the history of a market, the grid and the events, on one axis."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xarray as xr
from numpy.typing import NDArray

from risk.methodology import Methodology
from risk.scan.scenarios import scan_scenarios
from risk.scenarios.events import event_scenarios
from risk.scenarios.grid import grid_scenarios
from risk.scenarios.historical import historical_scenarios
from risk.scenarios.stressed import stressed_scenarios
from storage.market import Market


def build_scenarios(market: Market, methodology: Methodology) -> xr.Dataset:
    """Return the scenarios of a run: history, episodes, stress, grid, scan, events, if it has them.

    Dims are ``(scenario, underlying)``, the underlyings those of the market in its order.
    ``proxied`` is true where a historical move had to be taken from another coin.

    Raises:
        ValueError: what its parts raise; or two scenarios have the same name.
    """
    underlyings = market.underlyings
    parts = []
    if methodology.historical is not None:
        timestamps, closes = _history(market.prices(), underlyings)
        history = (underlyings, timestamps, closes, methodology.historical)
        parts.append(historical_scenarios(*history))
        if methodology.stressed is not None:
            parts.append(stressed_scenarios(*history, methodology.stressed))
    if methodology.grid is not None:
        parts.append(grid_scenarios(underlyings, methodology.grid))
    if methodology.scan is not None:
        parts += scan_scenarios(underlyings, methodology.scan)
    parts.append(event_scenarios(underlyings, methodology.events))
    for part in parts:
        if "proxied" not in part:
            part["proxied"] = (part["price"].dims, np.zeros(part["price"].shape, dtype=np.bool_))
    joined = xr.concat(parts, dim="scenario", join="exact", combine_attrs="drop_conflicts")
    names, counts = np.unique(joined["scenario"].values.astype(str), return_counts=True)
    if (counts > 1).any():
        raise ValueError(
            f"DUPLICATE_SCENARIO: {names[counts > 1][:5].tolist()}; rename the events of that name"
        )
    return joined.assign_attrs(parts[0].attrs, market=market.digest)


def _history(
    prices: pa.Table, underlyings: list[str]
) -> tuple[list[NDArray[np.datetime64]], list[NDArray[np.float64]]]:
    timestamps, closes = [], []
    for coin in underlyings:
        rows = prices.filter(pc.equal(prices["underlying"], coin))
        timestamps.append(
            rows["timestamp"].cast(pa.timestamp("s")).to_numpy().astype("datetime64[s]")
        )
        closes.append(rows["close"].to_numpy())
    return timestamps, closes
