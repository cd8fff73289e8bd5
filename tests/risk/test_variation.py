"""Variation margin: what a contract gained, against its definition and against revaluation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from risk.instruments import Instruments, Kind, MarketState, Settlement
from risk.revaluation import VolatilityTenor, contract_value, revalue
from risk.scenarios.shocks import Shocks
from risk.variation import variation

# The first call compiles, and machines are shared.
SETTINGS = settings(deadline=None, max_examples=60)

# One of each: spot, linear and inverse and quanto perpetual, linear and inverse option.
KIND = [Kind.SPOT, Kind.PERPETUAL, Kind.PERPETUAL, Kind.PERPETUAL, Kind.OPTION, Kind.OPTION]
SETTLEMENT = [
    *(Settlement.LINEAR, Settlement.LINEAR, Settlement.INVERSE),
    *(Settlement.QUANTO, Settlement.LINEAR, Settlement.INVERSE),
]
INSTRUMENTS = Instruments(
    kind=np.array(KIND, dtype=np.int8),
    settlement=np.array(SETTLEMENT, dtype=np.int8),
    underlying=np.zeros(6, dtype=np.int16),
    settlement_underlying=np.array([-1, -1, 0, 1, -1, 0], dtype=np.int16),
    multiplier=np.array([1.0, 0.5, 10.0, 0.01, 2.0, 1.0]),
    strike=np.array([0.0, 0.0, 0.0, 0.0, 2_000.0, 2_200.0]),
    is_call=np.array([False, False, False, False, True, False]),
    time_to_expiry=np.array([0.0, 0.0, 0.0, 0.0, 0.25, 0.5]),
)
VOLATILITY = np.array([0.0, 0.0, 0.0, 0.0, 0.6, 0.7])


def market(index, coin, priced=None):
    return MarketState(
        index=np.array([index, coin]),
        forward=np.full(6, index),
        volatility=VOLATILITY,
        priced=np.ones(6, dtype=bool) if priced is None else priced,
    )


@SETTINGS
@given(st.floats(-0.9, 4.0), st.floats(-0.9, 4.0))
def test_a_move_of_prices_alone_gains_what_revaluation_says(move, coin_move):
    """Without time passing or volatility moving, the two are the same P&L."""
    before = market(2_000.0, 40_000.0)
    after = market(2_000.0 * (1.0 + move), 40_000.0 * (1.0 + coin_move))
    price = np.array([[move, coin_move]])
    none = np.zeros((1, 2))
    shocks = Shocks(price, none, none, none)
    found = variation(
        INSTRUMENTS,
        before,
        after,
        contract_value(INSTRUMENTS, before),
        contract_value(INSTRUMENTS, after),
    )
    pnl = revalue(INSTRUMENTS, before, shocks, VolatilityTenor())[:, 0]
    assert found.settled + found.unsettled == pytest.approx(pnl, rel=1e-9, abs=1e-8)
    assert not found.settled[[0, 4, 5]].any()
    assert not found.unsettled[[1, 2, 3]].any()


def test_coins_are_worth_what_they_are_when_they_are_paid():
    before, after = market(100.0, 50.0), market(125.0, 40.0)
    found = variation(INSTRUMENTS, before, after, np.zeros(6), np.zeros(6))
    assert found.settled.tolist() == pytest.approx(
        [0.0, 12.5, 10.0 * (1 / 100 - 1 / 125) * 125.0, 0.01 * 25.0 * 40.0, 0.0, 0.0]
    )


def test_what_had_no_price_is_not_known():
    priced = np.array([True, False, True, True, False, True])
    before, after = market(100.0, 50.0, priced), market(125.0, 40.0)
    found = variation(INSTRUMENTS, before, after, np.zeros(6), np.ones(6))
    assert found.known.tolist() == priced.tolist()
    assert not (found.settled + found.unsettled)[~priced].any()
