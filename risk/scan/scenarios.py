"""The scenarios of a scan on the axis of a run, and the cube under them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from risk.instruments import Instruments, Kind, MarketState, Settlement
from risk.kernels.scan import BASIS_DOWN, BASIS_UP, REPORTED, ROTATED, SCANNED
from risk.pricing.black76 import log_ratio
from risk.revaluation import VolatilityTenor, contract_value, revalue
from risk.scan.specification import Cell, ScanSpec, SkewShape, UnderlyingScan
from risk.scenarios.grid import percent
from risk.scenarios.shocks import SHOCKS, Shocks, scenario_dataset

Floats = NDArray[np.float64]

SCAN, BASIS = "scan", "basis"
"""Origins of the scenarios that a scan adds to the axis of a run."""


def scan_scenarios(underlyings: Sequence[str], spec: ScanSpec) -> list[xr.Dataset]:
    """Return the cells of a scan, and the two basis moves if it has a basis contingency.

    >>> spec = ScanSpec.model_validate({
    ...     "maintenance_factor": 0.8, "volatility_up": 0.5,
    ...     "cells": [[0.18, "up"], [0.0, "none"], [-0.66, "up", 0.2]],
    ... })
    >>> (cells,) = scan_scenarios(["ETH"], spec)
    >>> cells.scenario.values.tolist()
    ['price +18% vol up', 'price 0% vol none', 'price -66% vol up x 0.2']
    """
    own = [own_rules(spec, name) for name in underlyings]
    prices = np.array(
        [
            [cell.price if one.prices is None else one.prices[k] for one in own]
            for k, cell in enumerate(spec.cells)
        ]
    )
    volatility = np.array([[_volatility(cell, spec, one) for one in own] for cell in spec.cells])
    names = _names(spec.cells)
    parts = [
        scenario_dataset(
            scenario=names,
            label=[_label(cell) for cell in spec.cells],
            origin=SCAN,
            underlying=list(underlyings),
            shocks={"price": prices, "volatility": volatility},
            weight=np.array([cell.weight for cell in spec.cells]),
        )
    ]
    if spec.basis is not None:
        moves = np.array([[spec.basis.up], [spec.basis.down]])
        parts.append(
            scenario_dataset(
                scenario=["basis up", "basis down"],
                label=[f"price {percent(move)} of one expiry alone" for move in moves[:, 0]],
                origin=BASIS,
                underlying=list(underlyings),
                shocks={"price": np.repeat(moves, len(underlyings), axis=1)},
            )
        )
    return parts


def _names(cells: Sequence[Cell]) -> list[str]:
    names = [
        f"price {percent(cell.price)} vol {cell.volatility}"
        + (f" x {cell.weight:g}" if cell.weight != 1.0 else "")
        for cell in cells
    ]
    # Rule books list one cell twice where moves differ by underlying alone.
    return [
        f"{name} #{names[: k + 1].count(name)}" if names.count(name) > 1 else name
        for k, name in enumerate(names)
    ]


def _label(cell: Cell) -> str:
    states = {
        "up": "volatility up",
        "none": "volatility unchanged",
        "down": "volatility down",
        "skew": "smile rotated about the money",
        "absolute_skew": "both wings of the smile moved",
    }
    counted = f", counted at {cell.weight:.4g}" if cell.weight != 1.0 else ""
    return f"price {percent(cell.price)}, {states[cell.volatility]}{counted}"


def _volatility(cell: Cell, spec: ScanSpec, own: UnderlyingScan) -> float:
    up = spec.volatility_up if own.volatility_up is None else own.volatility_up
    down = spec.volatility_down if own.volatility_down is None else own.volatility_down
    return {"up": up, "down": -down}.get(cell.volatility, 0.0)


@dataclass(frozen=True, slots=True)
class ScanAxis:
    """What each scenario of a run is to its scan, ``(scenario,)``, and the rules.

    ``role`` as in ``ScanTables``; ``cell`` is the row of the scan's cells, -1 for the others.
    """

    spec: ScanSpec
    underlyings: tuple[str, ...]
    role: NDArray[np.int8]
    cell: NDArray[np.int64]

    @property
    def price_range(self) -> Floats:
        """The edge of the range beyond which a move is extreme, (underlying,)."""
        extended = self.spec.extended
        if extended is None:
            return np.full(len(self.underlyings), np.inf)
        own = [own_rules(self.spec, name).price_range for name in self.underlyings]
        return np.array([one or extended.price_range for one in own])

    @property
    def floored(self) -> NDArray[np.bool_]:
        """Scenarios in which the least shocked volatility applies: those with volatility up."""
        return np.array([at >= 0 and self.spec.cells[at].volatility == "up" for at in self.cell])


def scan_axis(
    spec: ScanSpec, underlyings: Sequence[str], origin: Sequence[str], scenario: Sequence[str]
) -> ScanAxis:
    """Return what the scenarios of a run are to a scan.

    Raises:
        ValueError: the cells of the scan are not all there, in their order, or its basis moves.
    """
    origins = np.asarray(origin, dtype=object)
    role = np.full(len(origins), REPORTED, dtype=np.int8)
    cell = np.full(len(origins), -1, dtype=np.int64)
    cells = np.flatnonzero(origins == SCAN)
    found = [str(scenario[at]) for at in cells.tolist()]
    if found != _names(spec.cells):
        raise ValueError(
            f"the scenarios hold {len(found)} cells of a scan, the methodology {len(spec.cells)}, "
            "or in another order; build both from one methodology"
        )
    cell[cells] = np.arange(len(cells))
    role[cells] = [ROTATED if one.rotates else SCANNED for one in spec.cells]
    basis, wanted = np.flatnonzero(origins == BASIS), 0 if spec.basis is None else 2
    if len(basis) != wanted:
        raise ValueError(
            f"the scenarios hold {len(basis)} basis moves, the methodology {wanted}; "
            "build both from one methodology"
        )
    role[basis] = (BASIS_UP, BASIS_DOWN)[:wanted]
    return ScanAxis(spec, tuple(underlyings), role, cell)


def revalue_scan(
    instruments: Instruments,
    market: MarketState,
    shocks: Shocks,
    tenor: VolatilityTenor,
    axis: ScanAxis,
    spot_share: Floats | None = None,
) -> Floats:
    """Return what one contract gains, ``(instrument, scenario)``, as a scan asks for it.

    As ``revalue``, but: the least shocked volatility applies where volatility goes up; in the
    cells what is not an option moves no further than the price range where the extended table
    says so; in cells and basis moves what is paid in coin may be counted in coin; smiles rotate;
    and of a forward only its ``spot_share`` ``(instrument,)`` moves, the rest having been fixed by
    the averaging before settlement. Scenarios that are only reported stay as ``revalue`` has them.

    Raises:
        ValueError: as ``revalue``.
    """
    share = np.ones(len(instruments)) if spot_share is None else spot_share
    option = instruments.kind == Kind.OPTION
    near = _with(shocks, price=_near(axis, shocks.price))
    cube = np.zeros((len(instruments), len(axis.role)))
    for one in np.unique(share):
        for rows, moves in ((share == one) & option, shocks), ((share == one) & ~option, near):
            some = np.flatnonzero(rows)
            part, state = instruments.take(some), _take(market, some)
            moved = _with(moves, price=moves.price * one)
            for columns, floored in _by_floor(axis, tenor):
                cube[np.ix_(some, columns)] = revalue(part, state, _some(moved, columns), floored)
    if axis.spec.in_settlement_currency:
        price = np.where(option[:, np.newaxis], *(_of_coin(instruments, m) for m in (shocks, near)))
        value = contract_value(instruments, market)[:, np.newaxis]
        in_coin = (cube + value) / (1.0 + price) - value
        coin = (instruments.settlement != Settlement.LINEAR)[:, np.newaxis]
        cube = np.where(coin & (axis.role != REPORTED), in_coin, cube)
    for at in np.flatnonzero(axis.role == ROTATED):
        options = np.flatnonzero(option)
        cell = axis.spec.cells[axis.cell[at]]
        cube[options, at] = _rotated(
            instruments.take(options), _take(market, options), axis.spec, cell
        )
    return cube


def _near(axis: ScanAxis, price: Floats) -> Floats:
    """Return the moves of what is not an option, (scenario, underlying)."""
    extended = axis.spec.extended
    if extended is None or not extended.delta_one_within_range:
        return price
    edge = axis.price_range
    return np.where((axis.cell >= 0)[:, np.newaxis], np.clip(price, -edge, edge), price)


def _of_coin(instruments: Instruments, shocks: Shocks) -> Floats:
    """Return the move of the coin that each instrument pays in, (instrument, scenario)."""
    return shocks.price.T[instruments.settlement_underlying]


def _by_floor(
    axis: ScanAxis, tenor: VolatilityTenor
) -> list[tuple[NDArray[np.int64], VolatilityTenor]]:
    """Return the scenarios that share a least volatility, and the rule with it."""
    least = max(axis.spec.minimum_volatility_up, tenor.minimum_volatility)
    if least == tenor.minimum_volatility or not axis.floored.any():
        return [(np.arange(len(axis.role)), tenor)]
    lifted = replace(tenor, minimum_volatility=least)
    return [(np.flatnonzero(~axis.floored), tenor), (np.flatnonzero(axis.floored), lifted)]


def _rotated(instruments: Instruments, market: MarketState, spec: ScanSpec, cell: Cell) -> Floats:
    """Return what one option gains when its smile rotates, (option,); its forward stays."""
    shape = spec.skew
    gained = np.zeros(len(instruments))
    rows = np.flatnonzero(market.priced)
    if shape is None or not len(rows):
        return gained
    terms, state = instruments.take(rows), _take(market, rows)
    moneyness = log_ratio(terms.strike, state.forward)
    scale = skew_scale(moneyness, terms.time_to_expiry, shape, cell.volatility == "absolute_skew")
    turned = MarketState(state.index, state.forward, state.volatility * scale, state.priced)
    gained[rows] = contract_value(terms, turned) - contract_value(terms, state)
    return gained


def skew_scale(
    log_moneyness: Floats, time_to_expiry: Floats, shape: SkewShape, absolute: bool
) -> Floats:
    """Return what a rotation multiplies volatilities by, ``(option,)``; see ``SkewShape``."""
    root = np.sqrt(time_to_expiry)
    if absolute:
        cap = shape.absolute_cap_per_root_year * root + shape.absolute_cap
        distance = np.abs(log_moneyness)
    else:
        cap = shape.linear_cap_per_root_year * root + shape.linear_cap
        distance = log_moneyness
    level = shape.volatility + root * shape.volatility_per_root_year
    cap = np.maximum(cap, 0.0)
    reach = np.maximum(shape.least_reach, root * shape.width * level)
    return np.asarray(np.maximum(0.0, 1.0 + np.clip(distance * cap / reach, -cap, cap)))


def own_rules(spec: ScanSpec, underlying: str) -> UnderlyingScan:
    """Return what an underlying does otherwise than the rest."""
    return spec.underlying.get(underlying, UnderlyingScan())


def _with(shocks: Shocks, *, price: Floats) -> Shocks:
    return Shocks(**{name: getattr(shocks, name) for name in SHOCKS} | {"price": price})


def _some(shocks: Shocks, rows: NDArray[np.int64]) -> Shocks:
    return Shocks(**{name: getattr(shocks, name)[rows] for name in SHOCKS})


def _take(market: MarketState, rows: NDArray[np.int64]) -> MarketState:
    return MarketState(
        market.index, market.forward[rows], market.volatility[rows], market.priced[rows]
    )
