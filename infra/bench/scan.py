"""The scan of a rule book against the generic kernel, on one cube of few scenarios, on one core.

Both take the same positions and cube, and both add up the losses of the system. The generic kernel
nets an account as one set and takes its worst loss. A scan takes the worst of each underlying;
``scan_sets_f64`` nets each expiry first, discounts it and rotates its smile, as Derive does. Ten
positions of every account lie in eight expiries of three underlyings. A ratio of 0.5 is a scan
that takes twice as long as the generic kernel.
"""

from statistics import median
from typing import Any

import numpy as np

from infra.bench.kernels import Case, case, seconds
from risk.instruments import Instruments, Kind
from risk.kernels import margin_block
from risk.kernels.scan import BASIS_DOWN, BASIS_UP, ROTATED, ScanTables, scan_block
from risk.measures import Measure
from risk.nesting import nest, risk_order
from risk.netting import NETTING_KEYS
from risk.scan.specification import ScanSpec

SCENARIOS = 43
EXPIRIES = 8
UNDERLYINGS = 3


def run(quick: bool) -> dict[str, dict[str, Any]]:
    """Return the line of the benchmark by name."""
    sample = case(8_192 if quick else 102_400, 500, SCENARIOS)
    rounds = 3 if quick else 7
    return {
        "scan_f64": _line(sample, rounds, by_set=False),
        "scan_sets_f64": _line(sample, rounds, by_set=True),
    }


def _line(sample: Case, rounds: int, *, by_set: bool) -> dict[str, Any]:
    positions, cube = sample.positions, sample.cube
    accounts, instruments = positions.accounts, len(cube)
    terms = _terms(instruments)
    order = risk_order(terms, np.zeros(instruments, np.int32))
    key = np.full(accounts, NETTING_KEYS.index("account"), np.int8)
    cells = {"cells": [[0.1, "none"], [-0.1, "none"]], "maintenance_factor": 1.0}
    plain = None if by_set else ScanSpec.model_validate(cells)
    nested = nest(positions.set_offsets, positions.instrument, key, order, plain)
    instrument, quantity = positions.instrument[nested.order], positions.quantity[nested.order]
    tables = _tables(terms, by_set=by_set)
    equity, weight = np.full(accounts, 1_000.0), np.ones(SCENARIOS)
    worst = (Measure("worst_loss", "worst_loss", 0, SCENARIOS),)

    def scan() -> object:
        return scan_block(nested, quantity, instrument, equity, cube, tables)

    def generic() -> object:
        return margin_block(positions, equity, cube, weight, worst)

    scan(), generic()  # compile before the clock runs
    turns = [(seconds(scan), seconds(generic)) for _ in range(rounds)]
    mine, theirs = (median(times) for times in zip(*turns, strict=True))
    return {
        "ours": sample.multiply_adds / mine / 1e9,
        "peer": sample.multiply_adds / theirs / 1e9,
        "ratio": theirs / mine,
        "unit": "G multiply-adds/s",
        "peer_name": "our generic kernel, one set an account, worst loss",
    }


def _terms(instruments: int) -> Instruments:
    rows = np.arange(instruments)
    return Instruments(
        kind=np.full(instruments, Kind.OPTION, np.int8),
        settlement=np.zeros(instruments, np.int8),
        underlying=(rows % UNDERLYINGS).astype(np.int16),
        settlement_underlying=np.full(instruments, -1, np.int16),
        multiplier=np.ones(instruments),
        strike=1_000.0 + rows // (UNDERLYINGS * EXPIRIES),
        is_call=rows % 2 == 0,
        time_to_expiry=0.05 * (1 + rows // UNDERLYINGS % EXPIRIES),
    )


def _tables(terms: Instruments, *, by_set: bool) -> ScanTables:
    role = np.zeros(SCENARIOS, np.int8)
    if by_set:
        role[-4:] = (ROTATED, ROTATED, BASIS_UP, BASIS_DOWN)
    number = len(terms)
    return ScanTables(
        role=role,
        weight=np.where(np.arange(SCENARIOS) < 23, 1.0, 0.2),
        value=np.full(number, 50.0),
        positive=np.full(number, 0.95 if by_set else 1.0),
        negative=np.full(number, 1.04 if by_set else 1.0),
        basis=np.full(number, 0.5 if by_set else 0.0),
        dampener=np.zeros((number, SCENARIOS)),
    )
