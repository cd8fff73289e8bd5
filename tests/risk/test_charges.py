"""Charges against a twin in plain Python, and against paper and pencil."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from risk.charges import ChargeSpec, charge_accounts, charges_on, needs_nesting
from risk.instruments import Kind, Settlement
from risk.nesting import nest
from risk.netting import NETTING_KEYS
from risk.revaluation import VolatilityTenor, cash_delta, revalue
from risk.scan.specification import ScanSpec
from risk.scenarios.shocks import Shocks
from tests.risk.books import (
    CASH,
    COINS,
    instruments_of,
    market_of,
    order_of,
    random_holdings,
    universe,
)
from tests.risk.charges_twin import amount_of, charged

INSTRUMENTS, CURRENCY = universe()
ORDER = order_of(INSTRUMENTS, CURRENCY)
PREMIUM = 0.02 * (INSTRUMENTS.time_to_expiry > 0.0) + 0.001 * (INSTRUMENTS.kind != Kind.SPOT)
MARKET = market_of(INSTRUMENTS, premium=PREMIUM)
KINDS = ("spot", "future", "perpetual", "option")
VOLUME = {"exponent": 0.5, "daily_volume": {"BTC": 400.0, "ETH": 25.0}}
TOGETHER = ScanSpec.model_validate({"cells": [[0.1, "none"]], "maintenance_factor": 1.0})
APART = TOGETHER.model_copy(update={"unit": "underlying_settlement"})


def spec_of(**changes):
    wanted = {"layer": "charge", "kinds": KINDS, "initial": 0.02, "maintenance": 0.01}
    return ChargeSpec.model_validate(wanted | changes)


@st.composite
def specs(draw, groups=("position", "strike", "expiry", "unit"), pairs=True):
    group = draw(st.sampled_from(groups))
    sides = ("gross", "short", "long", "matched")
    sides = sides if pairs and group != "unit" else sides[:-1]
    wanted = {
        "kinds": tuple(draw(st.sets(st.sampled_from(KINDS), min_size=1))),
        "amount": draw(st.sampled_from(("notional", "delta", "contracts"))),
        "group": group,
        "side": draw(st.sampled_from(sides)),
        "underlyings": draw(st.sampled_from(((), ("BTC",), ("ETH", "XYZ")))),
    }
    match draw(st.sampled_from(("plain", "time", "doubt", "size"))):
        case "time":
            wanted["by_time"] = {"per_year": 0.4, "least": 0.05}
        case "doubt":
            wanted["below_confidence"] = 0.6
        case "size":
            wanted["concentration"] = VOLUME
    return spec_of(**wanted)


@settings(deadline=None, max_examples=150)
@given(seed=st.integers(0, 2**32), spec=specs(), scan=st.sampled_from((None, TOGETHER, APART)))
def test_every_side_group_and_amount_is_the_twins(seed, spec, scan):
    holdings = random_holdings(seed, len(INSTRUMENTS), most=20)
    rng = np.random.default_rng(seed)
    confidence = np.round(rng.random(len(INSTRUMENTS)), 1)
    (charge,) = charges_on([spec], INSTRUMENTS, MARKET, COINS, confidence)
    nested = nest(holdings.offsets, holdings.instrument, holdings.margin_mode, ORDER, scan)
    found = charge_accounts(
        charge,
        nested.account,
        holdings.instrument[nested.order],
        holdings.quantity[nested.order],
        len(holdings),
        nested,
    )
    assert (found >= 0.0).all()
    for account in range(len(holdings)):
        rows = range(holdings.offsets[account], holdings.offsets[account + 1])
        wanted = charged(
            spec,
            INSTRUMENTS,
            MARKET,
            COINS,
            CURRENCY,
            confidence,
            [(int(holdings.instrument[p]), float(holdings.quantity[p])) for p in rows],
            NETTING_KEYS[holdings.margin_mode[account]],
            scan is APART,
        )
        assert found[account] == pytest.approx(wanted, rel=1e-9, abs=1e-9)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**32), spec=specs(groups=("position",), pairs=False))
def test_positions_charged_one_by_one_need_no_order(seed, spec):
    assert not needs_nesting([spec])
    holdings = random_holdings(seed, len(INSTRUMENTS))
    (charge,) = charges_on([spec], INSTRUMENTS, MARKET, COINS)
    nested = nest(holdings.offsets, holdings.instrument, holdings.margin_mode, ORDER)
    account = np.repeat(np.arange(len(holdings)), np.diff(holdings.offsets))
    plain = charge_accounts(
        charge, account, holdings.instrument, holdings.quantity, len(holdings), None
    )
    ordered = charge_accounts(
        charge,
        nested.account,
        holdings.instrument[nested.order],
        holdings.quantity[nested.order],
        len(holdings),
        nested,
    )
    assert ordered == pytest.approx(plain, rel=1e-12, abs=1e-12)


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 2**32))
def test_cash_delta_is_the_slope_of_the_revaluation(seed):
    rng = np.random.default_rng(seed)
    market = market_of(INSTRUMENTS, float(rng.uniform(0.2, 1.5)), premium=PREMIUM)
    step = 1e-5
    still = np.zeros((2, 2))
    moves = Shocks(np.array([[step, step], [-step, -step]]), still, still, still)
    cube = revalue(INSTRUMENTS, market, moves, VolatilityTenor(minimum_volatility=0.0))
    slope = (cube[:, 0] - cube[:, 1]) / (2.0 * step)
    found = cash_delta(INSTRUMENTS, market)
    # The move of a quanto's settlement coin is of second order, for its gain is zero at no move.
    assert found == pytest.approx(slope, rel=1e-6, abs=1e-6)
    twin = [amount_of("delta", INSTRUMENTS, market, row) for row in range(len(INSTRUMENTS))]
    assert found == pytest.approx(twin, rel=1e-12)


def test_what_has_no_price_has_no_delta_and_is_charged_nothing():
    priced = np.arange(len(INSTRUMENTS)) % 2 == 0
    market = market_of(INSTRUMENTS, priced=priced)
    assert (cash_delta(INSTRUMENTS, market)[~priced] == 0.0).all()
    (charge,) = charges_on([spec_of(amount="contracts")], INSTRUMENTS, market, COINS)
    assert charge.amount.tolist() == priced.astype(float).tolist()


OPTION = {"kind": Kind.OPTION, "time_to_expiry": 0.1}
BOOK = [
    OPTION | {"strike": 90.0, "is_call": True},  # 0
    OPTION | {"strike": 90.0},  # 1
    OPTION | {"strike": 110.0},  # 2
    {"kind": Kind.FUTURE, "time_to_expiry": 0.1},  # 3
    {"kind": Kind.FUTURE, "time_to_expiry": 0.5},  # 4
    {"multiplier": 2.0},  # 5: a perpetual on two coins
    {"settlement": Settlement.INVERSE, "settlement_underlying": 0, "multiplier": 10.0},  # 6
    {"kind": Kind.SPOT, "underlying": 1},  # 7: a coin at 10
]


@pytest.mark.parametrize(
    ("changes", "held", "wanted"),
    [
        # A coin is at 100: notional of an option is 100, of the perpetual 200, of the inverse 10.
        ({}, {0: -1, 5: 3, 6: 7}, 100 + 600 + 70),
        ({"kinds": ["perpetual"]}, {0: -1, 5: 3, 6: 7}, 600 + 70),
        ({"underlyings": ["ETH"]}, {5: 3, 7: 4}, 40),
        ({"side": "short"}, {0: -2, 1: 3, 2: -1}, 200 + 100),
        ({"side": "long"}, {0: -2, 1: 3, 2: -1}, 300),
        # Calls and puts of a strike net: 1 long at 90, 1 short at 110.
        ({"side": "short", "group": "strike"}, {0: -2, 1: 3, 2: -1}, 100),
        ({"side": "short", "group": "expiry"}, {0: -2, 1: 3, 2: -1}, 0),
        ({"group": "expiry"}, {3: 4, 4: -5}, 400 + 500),
        ({"group": "unit"}, {3: 4, 4: -5}, 100),
        # Four of the five are spread over two expiries; the options of the first are of it too.
        ({"group": "expiry", "side": "matched"}, {3: 4, 4: -5}, 400),
        ({"group": "expiry", "side": "matched"}, {3: 4, 4: -5, 0: 3}, 500),
        ({"side": "matched"}, {3: 4, 4: -5, 5: 1}, 500),
        # One expiry is one expiry, whatever it is paid in: 600 long against 600 short of it.
        ({"group": "expiry", "side": "matched"}, {5: 3, 6: -60}, 0),
        ({"group": "expiry"}, {5: 3, 6: -50}, 100),
        ({"amount": "contracts"}, {0: -2, 5: 3}, 5),
        ({"amount": "delta", "group": "unit"}, {5: 3, 6: 7, 7: -1}, 670 + 10),
        # 0.4 a year, at least 0.1: 0.1 for a tenth of a year, 0.2 for half a year.
        ({"by_time": {"per_year": 0.4, "least": 0.1}}, {3: 1, 4: -1, 5: 1}, 10 + 20 + 20),
        # 300 against a volume of 1,200 a day: a quarter, of which the root is a half.
        (
            {"concentration": {"exponent": 0.5, "daily_volume": {"BTC": 1200.0, "ETH": 1.0}}},
            {3: 3},
            150,
        ),
    ],
)
def test_an_account_by_hand(changes, held, wanted):
    instruments = instruments_of(BOOK)
    (charge,) = charges_on([spec_of(**changes)], instruments, market_of(instruments), COINS)
    rows = np.array([*held], dtype=np.int32)
    nested = nest(
        np.array([0, len(held)]),
        rows,
        np.array([NETTING_KEYS.index("account")], np.int8),
        order_of(instruments, [CASH] * len(BOOK)),
    )
    quantity = np.array([float(one) for one in held.values()])
    found = charge_accounts(
        charge, nested.account, rows[nested.order], quantity[nested.order], 1, nested
    )
    assert found.tolist() == pytest.approx([wanted])


def test_a_doubtful_price_is_charged_for_what_is_doubtful():
    instruments = instruments_of([{}, {}, {}])
    sure = np.array([0.5, 0.75, 0.25])
    (charge,) = charges_on(
        [spec_of(below_confidence=0.75)], instruments, market_of(instruments), COINS, sure
    )
    # Below the threshold, not at it.
    assert charge.amount.tolist() == [50.0, 0.0, 75.0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"initial": 1.5}, "layer 'charge': initial 1.5 is more than the whole notional"),
        ({"maintenance": 0.03}, "maintenance 0.03 is above initial 0.02"),
        ({"side": "matched", "group": "unit"}, "'matched' of group 'unit' is always zero"),
        (
            {"concentration": VOLUME, "by_time": {"per_year": 0.1, "least": 0.0}},
            "does not go with by_time",
        ),
        ({"concentration": VOLUME, "below_confidence": 0.5}, "does not go with by_time or below"),
        ({"by_time": {"per_year": 5.0, "least": 2.0}}, "by_time.least\n.*less than or equal to 1"),
        ({"kinds": []}, "kinds\n.*at least 1 item"),
        ({"kinds": ["swap"]}, "kinds.0\n.*'spot', 'future', 'perpetual' or 'option'"),
        ({"group": "underlying"}, "group\n.*'position', 'strike', 'expiry' or 'unit'"),
        ({"layer": ""}, "layer\n.*'' is no name"),
        ({"below_confidence": 1.5}, "below_confidence\n.*less than or equal to 1"),
        ({"initial": float("nan")}, "initial\n.*finite number"),
        ({"rate": 0.1}, "rate\n.*not permitted"),
    ],
)
def test_what_a_charge_cannot_mean_is_refused_by_name(changes, message):
    with pytest.raises(ValidationError, match=message):
        spec_of(**changes)


def test_a_concentration_needs_a_volume_for_each_coin_that_it_charges():
    spec = spec_of(concentration={"exponent": 1.0, "daily_volume": {"BTC": 1.0}})
    with pytest.raises(ValueError, match=r"no daily_volume for \['ETH'\]; give one, in the unit"):
        charges_on([spec], INSTRUMENTS, MARKET, COINS)
    only = spec.model_copy(update={"underlyings": ("BTC",)})
    charges_on([only], INSTRUMENTS, MARKET, COINS)


def test_sums_of_positions_need_them_nested():
    (charge,) = charges_on([spec_of(group="unit")], INSTRUMENTS, MARKET, COINS)
    none = np.zeros(0)
    with pytest.raises(ValueError, match="layer 'charge' sums groups of positions; nest them"):
        charge_accounts(charge, none.astype(int), none.astype(np.int32), none, 1, None)
