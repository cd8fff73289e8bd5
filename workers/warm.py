"""Get the compiled kernels ready before the first task needs them."""

import os
import tempfile
from pathlib import Path

import numpy as np

from risk.instruments import Instruments, Kind, MarketState, Settlement
from risk.kernels import Positions, account_pnl, margin_block, stack_accounts
from risk.kernels.scan import ScanTables, scan_block
from risk.measures import Measure
from risk.nesting import Nested
from risk.revaluation import VolatilityTenor, revalue
from risk.scenarios.shocks import Shocks
from risk.sensitivities.greeks import Sensitivities
from risk.sensitivities.margin import greeks_margin
from risk.sensitivities.specification import RiskFactors
from risk.standard.kernel import COLUMNS, Form
from risk.standard.margin import margin_positions
from risk.standard.terms import StandardTerms
from storage.locks import exclusive

_OFFSETS = np.array([0, 1], dtype=np.int64)
_INSTRUMENT = np.zeros(1, dtype=np.int32)
_ONE = np.ones(1)


def warm_kernels() -> None:
    """Compile the pricing and margin kernels, or load them compiled.

    Of processes that start together the first compiles and the others load what it compiled.
    """
    with exclusive(Path(tempfile.gettempdir()) / f"margincube-{os.getuid()}" / "kernels"):
        _price_one()
        _margin_one()
        _scan_one()
        _margin_one_by_leg()
        _margin_one_by_greeks()


def _price_one() -> None:
    instruments = Instruments(
        kind=np.array([Kind.OPTION, Kind.PERPETUAL], dtype=np.int8),
        settlement=np.full(2, Settlement.LINEAR, dtype=np.int8),
        underlying=np.zeros(2, dtype=np.int16),
        settlement_underlying=np.full(2, -1, dtype=np.int16),
        multiplier=np.ones(2),
        strike=np.array([100.0, 0.0]),
        is_call=np.array([True, False]),
        time_to_expiry=np.array([0.5, 0.0]),
    )
    market = MarketState(
        index=np.array([100.0]),
        forward=np.array([100.0, 100.0]),
        volatility=np.array([0.5, 0.0]),
        priced=np.array([True, True]),
    )
    none = np.zeros((1, 1))
    revalue(instruments, market, Shocks(none, none, none, none), VolatilityTenor())


def _margin_one() -> None:
    positions = Positions(_OFFSETS, _OFFSETS, _INSTRUMENT, _ONE)
    measures = (
        Measure("expected_shortfall", "expected_shortfall", 0, 4, 0.5),
        Measure("value_at_risk", "value_at_risk", 0, 4, 0.5),
        Measure("worst_loss", "worst_loss", 4, 8),
    )
    block = margin_block(positions, _ONE, np.ones((1, 8)), np.ones(8), measures)
    stack_accounts(_OFFSETS, block.value, block.binding_scenario, measures)
    account_pnl(positions, np.ones((1, 8)))


def _scan_one() -> None:
    nested = Nested(
        order=np.zeros(1, dtype=np.int64),
        account=np.zeros(1, dtype=np.int64),
        account_units=_OFFSETS,
        unit_sets=_OFFSETS,
        set_offsets=_OFFSETS,
        expiry=np.zeros(1, dtype=np.int64),
        strike=np.zeros(1, dtype=np.int64),
    )
    role, weight, pull = np.zeros(8, dtype=np.int8), np.ones(8), np.zeros((1, 8))
    tables = ScanTables(role, weight, _ONE, _ONE, _ONE, _ONE, pull)
    scan_block(nested, _ONE, _INSTRUMENT, _ONE, np.ones((1, 8)), tables)


def _margin_one_by_leg() -> None:
    terms = StandardTerms(
        form=np.array([Form.OPTION], dtype=np.int8),
        group=np.zeros(1, dtype=np.int32),
        unit=np.zeros((1, COLUMNS)),
        bracket=np.zeros((1, 2), dtype=np.int32),
        brackets=np.zeros((1, 4)),
        choice=np.zeros(1, dtype=np.bool_),
    )
    margin_positions(_OFFSETS, _INSTRUMENT, _ONE, terms)


def _margin_one_by_greeks() -> None:
    row, two = np.zeros(1, dtype=np.int64), np.ones(2)
    unit = Sensitivities(row, _ONE, _ONE, _ONE, row, _ONE, _ONE, _ONE)
    square = np.ones((1, 1))
    no = np.zeros(1, dtype=np.bool_)
    factors = RiskFactors(row, _ONE, _ONE, _ONE, _ONE, no, square, two, two, np.ones((2, 2)))
    greeks_margin(_OFFSETS, _INSTRUMENT, _ONE, unit, factors)
