"""The wrong-way layer against a twin in plain NumPy, and what must hold whatever the account."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from risk.collateral import AssetHoldings
from risk.instruments import Kind
from risk.kernels import Positions, account_pnl
from risk.scenarios.shocks import shocks_of
from risk.wrong_way import credit_moves
from tests.risk.books import account_of, market_of, random_holdings, universe
from tests.risk.engine import DOCUMENT, Engine, engine_of, rules_of

SETTINGS = settings(deadline=None, max_examples=40)
SHARE, KEPT = 0.6, 0.25
CREDIT = np.array([1.0, 75.0, 8.0])
"""Of cash, of BTC after a quarter off 100, and of ETH after a fifth off 10."""
COIN = np.array([-1, 0, 1])
CASH, BTC, ETH = range(3)

TABLES = {
    "maintenance_factor": 0.8,
    "historical": {
        "holding_period_hours": 48,
        "step_hours": 35,
        "start": "2022-01-01T00:00:00Z",
        "end": "2023-01-01T00:00:00Z",
        "volatility_half_life_hours": 96.0,
    },
    "grid": {
        "price_range": 0.2,
        "buckets": 2,
        "volatility_up": 0.5,
        "volatility_down": 0.25,
        "extreme_moves": [-0.6, 1.0],
    },
    "measures": [
        {
            "name": "shortfall",
            "kind": "expected_shortfall",
            "origins": ["historical"],
            "level": 0.9,
            "layer": "base",
        },
        {"name": "worst", "kind": "worst_loss", "origins": ["grid"], "layer": "stress"},
        {
            "name": "reported",
            "kind": "value_at_risk",
            "origins": ["historical"],
            "level": 0.95,
        },
    ],
}
LAYER = {"wrong_way": {"share": SHARE, "maintenance_share": KEPT}}
INSTRUMENTS, CURRENCY = universe()
SPOT_BTC = int(np.flatnonzero(INSTRUMENTS.kind == Kind.SPOT)[0])


def engine(**tables) -> Engine:
    rules = rules_of(**(TABLES | tables))
    made = engine_of(rules, INSTRUMENTS, CURRENCY, market_of(INSTRUMENTS))
    moves = credit_moves(CREDIT, COIN, shocks_of(made.scenarios).price)
    return replace(made, revaluation=replace(made.revaluation, credit_moves=moves))


WITH, WITHOUT = engine(**LAYER), engine()


def backed(holdings, amounts):
    """Holdings with amounts ``(account, asset)``; zeros are held too, as a book may say."""
    amounts = np.asarray(amounts, dtype=np.float64)
    accounts, assets = amounts.shape
    held = AssetHoldings(
        np.arange(accounts + 1, dtype=np.int64) * assets,
        np.tile(np.arange(assets, dtype=np.int32), accounts),
        amounts.ravel(),
    )
    return replace(holdings, assets=held, collateral=amounts @ CREDIT)


def random_backing(seed, accounts):
    rng = np.random.default_rng(seed)
    return rng.exponential(3.0, (accounts, 3)) * (rng.random((accounts, 3)) < 0.6)


def asked(pnl):
    """What the two measures ask of one row of P&L, word by word."""
    origin = WITH.scenarios["origin"].values
    losses = np.sort(-pnl[origin == "historical"])[::-1]
    mass = len(losses) * (1.0 - 0.9)
    whole = int(mass)
    tail = losses[:whole].sum() + ((mass - whole) * losses[whole] if mass > whole else 0.0)
    grid = origin == "grid"
    worst = (-pnl[grid] * WITH.scenarios["weight"].values[grid]).max()
    return max(0.0, tail / mass, worst)


def twin(holdings, row):
    positions = slice(holdings.offsets[row], holdings.offsets[row + 1])
    cube = WITH.revaluation.cube
    pnl = holdings.quantity[positions] @ cube[holdings.instrument[positions]]
    assets = slice(holdings.assets.offsets[row], holdings.assets.offsets[row + 1])
    change = np.zeros(cube.shape[1])
    price = shocks_of(WITH.scenarios).price
    for asset, quantity in zip(
        holdings.assets.asset[assets], holdings.assets.quantity[assets], strict=True
    ):
        if COIN[asset] >= 0:
            change += quantity * CREDIT[asset] * price[:, COIN[asset]]
    return max(0.0, asked(pnl + change) - math.hypot(asked(pnl), asked(change)))


@SETTINGS
@given(st.integers(0, 10**6))
def test_it_is_what_the_twin_says_and_stands_apart(seed):
    holdings = random_holdings(seed, len(INSTRUMENTS))
    holdings = backed(holdings, random_backing(seed, len(holdings)))
    found, plain = WITH.margin(holdings), WITHOUT.margin(holdings)
    column = WITH.rules.layers.index("wrong_way")
    assert WITH.rules.layers == ("base", "stress", "wrong_way")
    for row in np.flatnonzero(~holdings.held):
        layer = twin(holdings, row)
        about = {"rel": 1e-9, "abs": 1e-8}
        assert found.margin[row, column] == pytest.approx(SHARE * layer, **about)
        kept = found.maintenance[row] - plain.maintenance[row]
        assert kept == pytest.approx(KEPT * layer, **about)
    others = np.delete(found.margin, column, axis=1)
    assert np.array_equal(others, plain.margin, equal_nan=True)
    assert np.isnan(found.margin[holdings.held]).all()
    known = ~holdings.held
    assert (found.margin[known] >= 0.0).all()
    assert found.requirement[known] == pytest.approx(found.margin[known].sum(axis=1), rel=1e-12)
    assert np.array_equal(found.contribution, plain.contribution)


def layer_of(positions, amounts):
    holdings = backed(account_of(positions), [amounts])
    return float(WITH.margin(holdings).margin[0, WITH.rules.layers.index("wrong_way")])


def test_cash_is_no_wrong_way():
    assert layer_of([(SPOT_BTC, 4.0)], [1_000.0, 0.0, 0.0]) == 0.0
    assert layer_of([], [0.0, 0.0, 0.0]) == 0.0


def test_a_long_backed_by_its_own_coin_is_asked_for_more_than_a_short():
    """A spot contract is half a coin here: four of them short lose more than one coin gains."""
    long, short = ([(SPOT_BTC, held)] for held in (4.0, -4.0))
    one_btc = [0.0, 1.0, 0.0]
    assert layer_of(long, one_btc) > 0.0
    # The collateral gains where the short loses.
    assert layer_of(short, one_btc) == 0.0
    # Worth as much, in another coin: what falls together falls further.
    elsewhere = layer_of(long, [0.0, 0.0, 75.0 / 8.0])
    assert layer_of(long, one_btc) >= elsewhere * (1.0 - 1e-12)


@SETTINGS
@given(st.integers(0, 10**6), st.floats(0.01, 100.0))
def test_twice_the_account_asks_twice_as_much(seed, scale):
    holdings = random_holdings(seed, len(INSTRUMENTS))
    amounts = random_backing(seed, len(holdings))
    one = WITH.margin(backed(holdings, amounts))
    larger = replace(holdings, quantity=scale * holdings.quantity)
    more = WITH.margin(backed(larger, scale * amounts))
    assert more.margin == pytest.approx(scale * one.margin, rel=1e-8, abs=1e-7, nan_ok=True)


@SETTINGS
@given(st.integers(0, 10**6))
def test_it_is_at_most_what_either_could_lose_alone(seed):
    """Of coherent measures: so without positions it is nothing, and equity always covers it."""
    holdings = random_holdings(seed, len(INSTRUMENTS))
    amounts = random_backing(seed, len(holdings))
    amounts[:, CASH] = 0.0
    found = WITH.margin(backed(holdings, amounts))
    column = WITH.rules.layers.index("wrong_way")
    fall = np.array([asked(row) for row in amounts @ WITH.revaluation.credit_moves])
    loss = np.zeros(len(holdings))
    for row in range(len(holdings)):
        held = slice(holdings.offsets[row], holdings.offsets[row + 1])
        cube = WITH.revaluation.cube[holdings.instrument[held]]
        loss[row] = asked(holdings.quantity[held] @ cube)
    known = ~holdings.held
    assert (found.margin[known, column] <= SHARE * np.minimum(fall, loss)[known] + 1e-8).all()


def test_collateral_by_itself_and_collateral_that_gains_are_no_wrong_way():
    assert layer_of([], [0.0, 5.0, 5.0]) == 0.0
    assert layer_of([(SPOT_BTC, -2.0)], [0.0, 1.0, 0.0]) == 0.0
    # As much of one risk as of the other: twice one, less the root of two squares.
    one = asked(WITH.revaluation.credit_moves[BTC])
    equal = layer_of([(SPOT_BTC, 2.0 * CREDIT[BTC] / 100.0)], [0.0, 1.0, 0.0])
    assert equal == pytest.approx(SHARE * (2.0 - math.sqrt(2.0)) * one, rel=1e-9)


def test_an_account_does_not_depend_on_its_neighbours():
    holdings = random_holdings(3, len(INSTRUMENTS), accounts=30)
    amounts = random_backing(3, 30)
    whole = WITH.margin(backed(holdings, amounts))
    for row in range(30):
        part = slice(holdings.offsets[row], holdings.offsets[row + 1])
        alone = replace(
            holdings,
            offsets=np.array([0, part.stop - part.start]),
            instrument=holdings.instrument[part],
            quantity=holdings.quantity[part],
            margin_mode=holdings.margin_mode[row : row + 1],
            collateral=holdings.collateral[row : row + 1],
            held=holdings.held[row : row + 1],
        )
        found = WITH.margin(backed(alone, amounts[row : row + 1]))
        assert np.array_equal(found.margin[0], whole.margin[row], equal_nan=True)
        assert np.array_equal(found.maintenance[0], whole.maintenance[row], equal_nan=True)


def test_the_pass_is_the_kernels():
    """P&L of positions and collateral is one row of the kernel, assets after instruments."""
    cube = np.concatenate([WITH.revaluation.cube, WITH.revaluation.credit_moves])
    rows = np.array([SPOT_BTC, len(INSTRUMENTS) + BTC], dtype=np.int32)
    pnl = account_pnl(
        Positions(np.array([0, 1]), np.array([0, 2]), rows, np.array([4.0, 1.0])), cube
    )[0]
    plain = account_pnl(
        Positions(np.array([0, 1]), np.array([0, 1]), rows[:1], np.array([4.0])), cube
    )[0]
    own = math.hypot(asked(plain), asked(WITH.revaluation.credit_moves[BTC]))
    wanted = SHARE * max(0.0, asked(pnl) - own)
    assert layer_of([(SPOT_BTC, 4.0)], [0.0, 1.0, 0.0]) == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize(
    ("tables", "told"),
    [
        (
            {"wrong_way": {"share": 0.5, "maintenance_share": 0.6}},
            "maintenance_share 0.6 is above share 0.5",
        ),
        ({"wrong_way": {"share": 0.5}}, "wrong_way.maintenance_share\n  Field required"),
        (
            {"wrong_way": {"share": 1.5, "maintenance_share": 0.5}},
            "share\n  Input should be less than or equal to 1",
        ),
        (
            {"wrong_way": {"share": 1, "maintenance_share": 1, "of": 1}},
            "wrong_way.of\n  Extra inputs",
        ),
    ],
)
def test_a_wrong_field_is_told(tables, told):
    with pytest.raises(ValidationError, match=told):
        rules_of(**(TABLES | tables))


def test_it_is_refused_where_no_measures_set_base_risk():
    scan = {
        "unit": "underlying",
        "volatility_up": 0.5,
        "volatility_down": 0.3,
        "maintenance_factor": 0.8,
        "cells": [[0.1, "up"], [-0.1, "up"]],
    }
    with pytest.raises(ValidationError, match=r"scenarios of the measures .* this has \[scan\]"):
        rules_of(scan=scan, **LAYER)
    assert "wrong_way" not in DOCUMENT
    made = replace(WITH, revaluation=replace(WITH.revaluation, credit_moves=None))
    with pytest.raises(ValueError, match="the revaluation no moves of assets"):
        made.margin(backed(account_of([(SPOT_BTC, 1.0)]), [[0.0, 1.0, 0.0]]))
