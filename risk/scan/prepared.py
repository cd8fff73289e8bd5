"""A scan prepared for a run: what its rules come to on the instruments and scenarios at hand."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from risk.instruments import Instruments, Kind, MarketState
from risk.kernels.scan import SCANNED, ScanTables
from risk.revaluation import cash_delta
from risk.scan.credits import Pair
from risk.scan.scenarios import ScanAxis, own_rules
from risk.scan.specification import EDGE
from risk.scenarios.shocks import Shocks

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class PreparedScan:
    """What the kernel reads, and what credits between underlyings need.

    ``delta`` ``(instrument,)`` is reporting currency per unit relative move of the underlying, and
    ``underlying`` ``(instrument,)`` its code; ``credits`` are pairs of codes with their rates.
    """

    tables: ScanTables
    underlying: NDArray[np.int64]
    delta: Floats
    credits: tuple[Pair, ...]


def prepare_scan(
    axis: ScanAxis,
    instruments: Instruments,
    market: MarketState,
    value: Floats,
    weight: Floats,
    shocks: Shocks,
    rate: Floats | None = None,
    discount_factor: Floats | None = None,
) -> PreparedScan:
    """Return a scan prepared for instruments, scenarios and a market.

    ``value`` ``(instrument,)`` is that of one contract; ``weight`` ``(scenario,)``; ``rate`` and
    ``discount_factor`` ``(instrument,)`` are those of its expiry, 0 and 1 when left out. A pair of
    underlyings of which the market lacks one has no credit.
    """
    code = {name: row for row, name in enumerate(axis.underlyings)}
    pairs = tuple(
        (code[pair.underlyings[0]], code[pair.underlyings[1]], pair.rate)
        for pair in axis.spec.credits
        if set(pair.underlyings) <= set(code)
    )
    return PreparedScan(
        tables=scan_tables(axis, instruments, value, weight, shocks, rate, discount_factor),
        underlying=instruments.underlying.astype(np.int64),
        delta=cash_delta(instruments, market),
        credits=pairs,
    )


def scan_tables(
    axis: ScanAxis,
    instruments: Instruments,
    value: Floats,
    weight: Floats,
    shocks: Shocks,
    rate: Floats | None = None,
    discount_factor: Floats | None = None,
) -> ScanTables:
    """Return what the kernel of a scan reads beside the cube.

    ``value`` ``(instrument,)`` is that of one contract; ``weight`` ``(scenario,)``; ``rate`` and
    ``discount_factor`` ``(instrument,)`` are those of its expiry, 0 and 1 when left out.
    """
    spec, number = axis.spec, len(instruments)
    option = instruments.kind == Kind.OPTION
    years = instruments.time_to_expiry
    rates = np.zeros(number) if rate is None else np.maximum(rate, 0.0)
    factor = np.ones(number) if discount_factor is None else discount_factor
    positive, negative = np.ones(number), np.ones(number)
    if spec.discount is not None:
        rule = spec.discount
        positive = rule.positive * np.exp(-years * (rates * rule.long_rate + rule.long_add))
        if rule.negative is not None:
            grown = rule.negative * np.exp(years * (rates * rule.short_rate + rule.short_add))
            negative = np.minimum(1.0 / factor, grown)
    basis = np.zeros(number)
    if spec.basis is not None:
        basis = np.where(option, spec.basis.add + spec.basis.per_year * years, 0.0)
    counted = weight.copy()
    if spec.extended is not None:
        beyond = (_beyond(axis, shocks) > 0.0).any(axis=1)
        counted[beyond] *= spec.extended.factor
    return ScanTables(
        role=axis.role,
        weight=counted,
        value=np.ascontiguousarray(value, dtype=np.float64),
        positive=np.where(option, positive, 1.0),
        negative=np.where(option, negative, 1.0),
        basis=basis,
        # P&L is pulled to zero before it is weighted, and the kernel weights first.
        dampener=_dampener(axis, instruments, shocks) * counted,
    )


def _dampener(axis: ScanAxis, instruments: Instruments, shocks: Shocks) -> Floats:
    """Return the pull to zero of each scenario, (instrument, scenario), by its underlying."""
    extended = axis.spec.extended
    if extended is None:
        return np.zeros((len(instruments), len(axis.role)))
    own = [own_rules(axis.spec, name).dampener for name in axis.underlyings]
    amount = np.array([extended.dampener if one is None else one for one in own])
    pull = _beyond(axis, shocks) * amount
    return np.ascontiguousarray(pull.T[instruments.underlying])


def _beyond(axis: ScanAxis, shocks: Shocks) -> Floats:
    """Return by how many ranges a cell's move is beyond the range, (scenario, underlying)."""
    ranges = np.abs(shocks.price) / axis.price_range
    extreme = (axis.role == SCANNED)[:, np.newaxis] & (ranges > EDGE)
    return np.where(extreme, ranges - 1.0, 0.0)
