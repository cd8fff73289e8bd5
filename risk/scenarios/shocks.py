"""The one shape that every scenario has: named shocks by underlying, with weight and origin."""

from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

SHOCKS = ("price", "volatility", "perpetual_basis", "forward_basis")
"""Names of the shocks, all fractions.

``price``: relative move of the index and of every forward on it. ``volatility``: relative move
of the implied volatility at the reference tenor. ``perpetual_basis``: relative move of a
perpetual against its index. ``forward_basis``: annualised relative move of a dated forward
against its index, times the years to expiry.
"""


@dataclass(frozen=True, slots=True)
class Shocks:
    """The shocks of a scenario set as plain arrays, each ``(scenario, underlying)``."""

    price: NDArray[np.float64]
    volatility: NDArray[np.float64]
    perpetual_basis: NDArray[np.float64]
    forward_basis: NDArray[np.float64]


def scenario_dataset(
    *,
    scenario: list[str],
    label: list[str],
    origin: str,
    underlying: list[str],
    shocks: dict[str, NDArray[np.float64]],
    weight: NDArray[np.float64] | None = None,
    window_start: NDArray[np.datetime64] | None = None,
    window_end: NDArray[np.datetime64] | None = None,
) -> xr.Dataset:
    """Return scenarios as a Dataset with dims ``(scenario, underlying)``.

    A shock that is not given is zero for every scenario. ``weight`` scales the P&L when a worst
    loss is taken (1 when not given). ``origin`` is ``historical``, ``episode``,
    ``stressed``, ``grid``, ``scan`` or ``event``.

    Raises:
        ValueError: a shock has an unknown name, the wrong shape or a value that is not finite;
            or a price move loses more than everything.

    >>> import numpy as np
    >>> crash = scenario_dataset(
    ...     scenario=["crash"], label=["half gone"], origin="event", underlying=["BTC"],
    ...     shocks={"price": np.array([[-0.5]])},
    ... )
    >>> crash.price.item(), crash.volatility.item(), crash.weight.item()
    (-0.5, 0.0, 1.0)
    """
    shape = (len(scenario), len(underlying))
    unknown = sorted(set(shocks) - set(SHOCKS))
    if unknown:
        raise ValueError(f"unknown shocks {unknown}; allowed are {list(SHOCKS)}")
    if len(set(scenario)) < len(scenario):
        twice = sorted({name for name in scenario if scenario.count(name) > 1})
        raise ValueError(f"DUPLICATE_SCENARIO: {twice[:5]}; every scenario needs its own name")
    variables: dict[str, tuple[tuple[str, ...], NDArray[np.generic], dict[str, str]]] = {}
    for name in SHOCKS:
        values = np.asarray(shocks.get(name, np.zeros(shape)), dtype=np.float64)
        if values.shape != shape:
            raise ValueError(f"shock {name!r} has shape {values.shape}, scenarios need {shape}")
        if not np.isfinite(values).all():
            raise ValueError(f"shock {name!r} holds a value that is not finite")
        variables[name] = (("scenario", "underlying"), values, {"units": "1"})
    if (np.asarray(shocks.get("price", 0.0)) <= -1.0).any():
        raise ValueError("a price shock of -1 or less leaves no price; allowed is above -1")
    weights = np.ones(len(scenario)) if weight is None else np.asarray(weight, dtype=np.float64)
    never = np.full(len(scenario), np.datetime64("NaT", "s"))
    variables["weight"] = (("scenario",), weights, {"units": "1"})
    for name, window in (("window_start", window_start), ("window_end", window_end)):
        stamps = never if window is None else window.astype("datetime64[s]")
        variables[name] = (("scenario",), stamps, {})
    return xr.Dataset(
        variables,
        coords={
            "scenario": np.array(scenario, dtype=object),
            "underlying": np.array(underlying, dtype=object),
            "label": ("scenario", np.array(label, dtype=object)),
            "origin": ("scenario", np.array([origin] * len(scenario), dtype=object)),
        },
    )


def shocks_of(scenarios: xr.Dataset) -> Shocks:
    """Return the shocks of a scenario Dataset as contiguous arrays ``(scenario, underlying)``."""
    ordered = scenarios.transpose("scenario", "underlying", ...)
    return Shocks(**{name: np.ascontiguousarray(ordered[name].values) for name in SHOCKS})
