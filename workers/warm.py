"""Get the compiled kernels ready before the first task needs them."""

import os
import tempfile
from pathlib import Path

import numpy as np

from risk.instruments import Instruments, Kind, MarketState, Settlement
from risk.kernels import Positions, margin_block
from risk.measures import Measure
from risk.revaluation import VolatilityTenor, revalue
from risk.scenarios.shocks import Shocks
from storage.locks import exclusive


def warm_kernels() -> None:
    """Compile the pricing and margin kernels, or load them compiled.

    Of processes that start together the first compiles and the others load what it compiled.
    """
    with exclusive(Path(tempfile.gettempdir()) / f"margincube-{os.getuid()}" / "kernels"):
        _price_one()
        _margin_one()


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
    one = np.array([0, 1], dtype=np.int64)
    positions = Positions(one, one, np.zeros(1, dtype=np.int32), np.ones(1))
    measures = (
        Measure("expected_shortfall", "expected_shortfall", 0, 4, 0.5),
        Measure("value_at_risk", "value_at_risk", 0, 4, 0.5),
        Measure("worst_loss", "worst_loss", 4, 8),
    )
    margin_block(positions, np.ones(1), np.ones((1, 8)), np.ones(8), measures)
