"""Margin of accounts by a scan: by hand for every switch, and stacked with charges."""

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from risk.instruments import Kind, Settlement
from risk.kernels.sums import UNIT
from risk.margin import HELD, Holdings
from risk.summation import BLOCK_ACCOUNTS
from tests.risk.books import (
    CASH,
    COINS,
    IN_BTC,
    account_of,
    instruments_of,
    market_of,
    random_holdings,
    universe,
)
from tests.risk.charges_twin import charged
from tests.risk.engine import engine_of, rules_of

YEARS = 30 / 365
CALL = {"kind": Kind.OPTION, "strike": 100.0, "is_call": True, "time_to_expiry": YEARS}
LATER = CALL | {"time_to_expiry": 0.25}
FUTURE = {"kind": Kind.FUTURE, "time_to_expiry": 0.25}
ETHER = {"underlying": 1}
INVERSE = {"settlement": Settlement.INVERSE, "settlement_underlying": 0, "multiplier": 10.0}
ISOLATED, CROSS, PORTFOLIO = range(3)


def scan_of(cells, **more):
    return {"cells": cells, "maintenance_factor": 0.8} | more


def margin_of(scan, held, *, currency=None, mode=PORTFOLIO, cash=0.0, volatility=0.6, **tables):
    """Margin one account that holds pairs of terms and quantity."""
    instruments = instruments_of([terms for terms, _ in held])
    engine = engine_of(
        rules_of(scan=scan, **tables),
        instruments,
        currency or [CASH] * len(held),
        market_of(instruments, volatility),
    )
    positions = [(row, quantity) for row, (_, quantity) in enumerate(held)]
    return engine.margin(account_of(positions, mode, cash))


def requirement(*arguments, **options):
    return float(margin_of(*arguments, **options).requirement[0])


def at_the_money(volatility, years=YEARS):
    return 100.0 * math.erf(volatility * math.sqrt(years) / 2.0 / math.sqrt(2.0))


MOVES = scan_of([[0.1, "none"], [-0.1, "none"], [-0.5, "none", 0.3]])


def test_the_worst_weighted_cell_is_the_requirement():
    assert requirement(MOVES, [({}, 2.0)]) == pytest.approx(0.3 * 0.5 * 200.0)
    assert requirement(MOVES, [({}, -2.0)]) == pytest.approx(0.1 * 200.0)
    found = margin_of(MOVES, [({}, 2.0)], cash=100.0)
    assert found.binding_scenario.tolist() == [2]
    assert found.maintenance.tolist() == pytest.approx([0.8 * 30.0])
    assert found.excess.tolist() == pytest.approx([70.0])
    assert found.contribution[0].tolist() == pytest.approx([30.0])


def test_what_gains_everywhere_needs_nothing():
    # A long straddle gains where volatility rises.
    scan = scan_of([[0.0, "up"], [0.2, "up"], [-0.2, "up"]], volatility_up=0.5)
    found = margin_of(scan, [(CALL, 1.0), (CALL | {"is_call": False}, 1.0)])
    assert found.requirement.tolist() == found.maintenance.tolist() == [0.0]
    assert found.binding_scenario.tolist() == [-1]


def test_factors_scale_initial_and_maintenance():
    scan = MOVES | {"initial_factor": 1.3, "maintenance_factor": 1.1}
    found = margin_of(scan, [({}, -2.0)])
    assert found.requirement.tolist() == pytest.approx([26.0])
    assert found.maintenance.tolist() == pytest.approx([22.0])
    assert found.risk_measure.tolist() == [pytest.approx([20.0])]
    assert found.contribution.sum() == pytest.approx(26.0)


def test_volatility_goes_up_and_down_with_its_floor():
    short = [(CALL, -1.0)]
    up = scan_of([[0.0, "up"], [0.0, "down"]], volatility_up=0.5, volatility_down=0.4)
    assert requirement(up, short) == pytest.approx(at_the_money(0.9) - at_the_money(0.6))
    assert requirement(up, [(CALL, 1.0)]) == pytest.approx(at_the_money(0.6) - at_the_money(0.36))
    lifted = up | {"minimum_volatility_up": 1.2}
    assert requirement(lifted, short) == pytest.approx(at_the_money(1.2) - at_the_money(0.6))


def test_underlyings_are_scanned_apart_and_added():
    held = [({}, 2.0), (ETHER, -5.0)]
    assert requirement(MOVES, held) == pytest.approx(30.0 + 5.0)
    own = {"underlying": {"ETH": {"prices": [0.4, -0.4, -0.5]}}}
    assert requirement(MOVES | own, held) == pytest.approx(30.0 + 20.0)


def test_an_underlying_has_volatilities_of_its_own():
    cells = [[0.0, "up"], [0.0, "down"]]
    own = {"volatility_up": 1.0, "volatility_down": 0.5}
    scan = scan_of(cells, volatility_up=0.1, underlying={"BTC": own})
    assert requirement(scan, [(CALL, -1.0)]) == pytest.approx(at_the_money(1.2) - at_the_money(0.6))
    assert requirement(scan, [(CALL, 1.0)]) == pytest.approx(at_the_money(0.6) - at_the_money(0.3))


def test_units_net_as_the_margin_mode_says():
    held = [({}, 3.0), (FUTURE, -2.0), (INVERSE, -5.0)]
    plain = scan_of([[0.1, "none"], [-0.1, "none"]])
    # Alone: 30, 20, and five inverse contracts of 10 dollars: their price up or down by a tenth.
    inverse = 50.0 * max(1.0 - 1 / 1.1, 0.0) * 1.1
    currency = [CASH, CASH, IN_BTC]
    assert requirement(plain, held, currency=currency, mode=ISOLATED) == pytest.approx(
        30.0 + 20.0 + inverse
    )
    assert requirement(plain, held, currency=currency, mode=CROSS) == pytest.approx(10.0 + inverse)
    assert requirement(plain, held, currency=currency) == pytest.approx(10.0 - inverse)
    apart = plain | {"unit": "underlying_settlement"}
    assert requirement(apart, held, currency=currency) == pytest.approx(10.0 + inverse)


def test_the_value_of_an_expiry_is_discounted_by_its_sign():
    rule = {"positive": 0.9, "long_rate": 1.0, "long_add": 0.4, "negative": 1.0 / 0.9}
    rule |= {"short_rate": 0.5, "short_add": 0.4}
    scan = scan_of([[0.0, "none"], [0.1, "none"]], discount=rule)
    value = at_the_money(0.6)
    # Long: what is worth V counts for less of V. Short: for no more than V, at a rate of zero.
    assert requirement(scan, [(CALL, 1.0)]) == pytest.approx(
        value * (1.0 - 0.9 * math.exp(-0.4 * YEARS))
    )
    flat = scan_of([[0.0, "none"], [-0.5, "none"]], discount=rule)
    assert requirement(flat, [(CALL, -1.0)]) == 0.0
    # A perpetual of the same account has no expiry, so it is not discounted.
    both = requirement(flat, [(CALL, 1.0), ({}, -1.0)])
    assert both == pytest.approx(value * (1.0 - 0.9 * math.exp(-0.4 * YEARS)))


def test_rotations_lose_either_way():
    skew = {"linear_cap": 0.2, "linear_cap_per_root_year": 0.0, "absolute_cap": 0.2}
    skew |= {"absolute_cap_per_root_year": 0.0, "least_reach": 0.01, "width": 0.001}
    skew |= {"volatility": 0.6, "volatility_per_root_year": 0.0}
    scan = scan_of([[0.0, "skew"]], skew=skew)
    # Far beyond the reach the whole cap applies: a fifth more volatility above the money.
    above, below = CALL | {"strike": 130.0}, CALL | {"strike": 80.0}
    one = requirement(scan, [(above, 1.0)])
    assert one > 0.0
    assert requirement(scan, [(above, -1.0)]) == pytest.approx(one)
    other = requirement(scan, [(below, -1.0)])
    # One expiry is one rotation; two expiries are two, each with its worse side.
    assert requirement(scan, [(above, 1.0), (below, -1.0)]) == pytest.approx(one + other)
    assert requirement(scan, [(above, 1.0), (below, 1.0)]) == pytest.approx(abs(one - other))
    apart = requirement(scan, [(LATER | {"strike": 130.0}, -1.0)])
    assert requirement(scan, [(above, 1.0), (LATER | {"strike": 130.0}, -1.0)]) == pytest.approx(
        one + apart
    )


def test_the_basis_contingency_binds_where_expiries_offset():
    basis = {"up": 0.05, "down": -0.05, "add": 0.5, "per_year": 2.0}
    scan = scan_of([[0.01, "none"], [-0.01, "none"]], basis=basis)
    deep = {"strike": 1.0}
    held = [(CALL | deep, 1.0), (LATER | deep, -1.0)]
    # Deep calls move as the coin does, by five; each expiry is at its own worse move.
    wanted = 5.0 * ((0.5 + 2.0 * YEARS) + (0.5 + 2.0 * 0.25))
    found = margin_of(scan, held)
    assert found.requirement.tolist() == pytest.approx([wanted], abs=1e-6)
    assert found.binding_scenario.tolist() == [2]
    assert found.contribution[0].tolist() == pytest.approx(
        [5.0 * (0.5 + 2.0 * YEARS), 5.0], abs=UNIT / 2 + 1e-6
    )
    # Futures take no part in it.
    assert requirement(scan, [({}, 1.0), (FUTURE, -1.0)]) == pytest.approx(0.0)


def test_extreme_moves_are_damped_then_scaled():
    extended = {"price_range": 0.25, "dampener": 5_000.0, "factor": 0.5}
    scan = scan_of([[0.01, "none"], [-0.5, "none", 0.8]], extended=extended)
    # 100,000 at the edge of the range, less 5,000 for being one range beyond it; then the scale.
    held = [({}, 1_000.0)]
    found = margin_of(scan, held)
    assert found.requirement.tolist() == pytest.approx([0.5 * 0.8 * (25_000.0 - 5_000.0)])
    assert found.contribution.sum() == pytest.approx(8_000.0)
    small = margin_of(scan, [({}, 100.0)])
    assert small.requirement.tolist() == [0.0]
    wide = extended | {"delta_one_within_range": False}
    assert requirement(scan | {"extended": wide}, held) == pytest.approx(0.4 * (50_000 - 5_000))
    own = {"underlying": {"BTC": {"dampener": 1_000.0, "price_range": 0.4}}}
    assert requirement(scan | own, held) == pytest.approx(0.4 * (40_000 - 1_000 * 0.25))


def test_coin_counts_in_coin():
    scan = scan_of([[-0.2, "none"], [0.2, "none"]], unit="underlying_settlement")
    held = [(INVERSE, 100.0)]
    # A thousand dollars long: 10 (1/0.8 - 1) coins of 100 lost, or those coins at 80.
    assert requirement(scan | {"in_settlement_currency": True}, held) == pytest.approx(250.0)
    assert requirement(scan, held) == pytest.approx(200.0)


CREDIT = {"credits": [{"underlyings": ["BTC", "ETH"], "rate": 0.5}]}
SPREAD = [({}, 2.0), (ETHER, -10.0)]


@pytest.mark.parametrize(
    ("mode", "currency", "credit"),
    [
        (PORTFOLIO, [CASH, CASH], 0.5 * (10.0 + 10.0)),
        (PORTFOLIO, [CASH, IN_BTC], 0.5 * (10.0 + 10.0)),
        (CROSS, [CASH, CASH], 0.5 * (10.0 + 10.0)),
        (CROSS, [CASH, IN_BTC], 0.0),
        (ISOLATED, [CASH, CASH], 0.0),
    ],
)
def test_credits_go_where_positions_net(mode, currency, credit):
    scan = scan_of([[0.1, "none"], [-0.1, "none"]])
    # 200 of one coin against 100 of the other: 100 of each is spread, and half of 20 credited.
    plain = margin_of(scan, SPREAD, mode=mode, currency=currency)
    found = margin_of(scan | CREDIT, SPREAD, mode=mode, currency=currency)
    assert plain.requirement.tolist() == pytest.approx([30.0])
    assert found.requirement.tolist() == pytest.approx([30.0 - credit])
    assert found.maintenance.tolist() == pytest.approx([0.8 * (30.0 - credit)])
    # By instrument the losses are split, before credits.
    assert found.contribution.sum() == pytest.approx(30.0)


def test_a_credit_in_full_leaves_nothing_and_no_less():
    scan = scan_of([[0.1, "none"], [-0.1, "none"]], credits=[{"underlyings": COINS, "rate": 1.0}])
    for size in np.random.default_rng(2).uniform(0.1, 10.0, 50).tolist():
        found = margin_of(scan, [({}, size), (ETHER, -10.0 * size)])
        assert 0.0 <= found.requirement[0] <= 1e-12 * size


def test_an_event_is_reported_and_asks_for_nothing():
    crash = {"name": "crash", "label": "-90 %", "shocks": {"price": {"default": -0.9}}}
    found = margin_of(MOVES, [({}, 2.0)], cash=100.0, events=[crash])
    assert found.requirement.tolist() == pytest.approx([30.0])
    assert found.system_loss[0].tolist() == pytest.approx([0.0, 20.0, 100.0, 180.0])
    assert found.uncovered_loss[0].tolist() == pytest.approx([0.0, 0.0, 0.0, 80.0])
    assert found.accounts_under_water[0].tolist() == [0, 0, 0, 1]


def test_charges_floors_and_buffers_are_stacked_in_their_order():
    common = {"kinds": ["perpetual"], "maintenance": 0.01}
    charges = [
        common | {"layer": "extra", "initial": 0.02},
        common | {"layer": "floor", "role": "floor", "initial": 0.30},
        common | {"layer": "floor", "role": "floor", "initial": 0.05},
        common | {"layer": "low", "role": "floor", "initial": 0.01},
    ]
    buffers = [
        {"layer": "buffer", "initial": 0.25, "maintenance": 0.2},
        {"layer": "more", "initial": 0.1, "maintenance": 0.0},
    ]
    found = margin_of(MOVES, [({}, -2.0)], charges=charges, buffers=buffers)
    # Two coins of 100: scan 20, extra 4; the floors ask 60 + 10, the last floor nothing.
    layers = [20.0, 4.0, 70.0 - 24.0, 0.0, 0.25 * 70.0, 0.1 * 87.5]
    assert found.margin[0].tolist() == pytest.approx(layers)
    assert found.requirement.tolist() == pytest.approx([sum(layers)])
    assert found.maintenance.tolist() == pytest.approx([(16.0 + 2.0) * 1.2])


INSTRUMENTS, CURRENCY = universe()
MARKET = market_of(INSTRUMENTS, premium=0.01 * (INSTRUMENTS.time_to_expiry > 0.0))
EVERYTHING = scan_of(
    [
        [0.15, "up"],
        [-0.15, "down"],
        [0.0, "none"],
        [-0.6, "up", 0.4],
        [1.0, "up", 0.3],
        [0.0, "skew"],
        [0.0, "absolute_skew"],
    ],
    volatility_up=0.4,
    volatility_down=0.3,
    minimum_volatility_up=0.5,
    initial_factor=1.2,
    in_settlement_currency=True,
    unit="underlying_settlement",
    discount={"positive": 0.95, "long_rate": 1.0, "long_add": 0.08, "negative": 1.04},
    skew={
        "linear_cap": 0.25,
        "linear_cap_per_root_year": -0.1,
        "absolute_cap": 0.25,
        "absolute_cap_per_root_year": -0.1,
        "least_reach": 0.01,
        "width": 4.0,
        "volatility": 0.6,
        "volatility_per_root_year": -0.1,
    },
    basis={"up": 0.05, "down": -0.05, "add": 0.5, "per_year": 2.0},
    extended={"price_range": 0.15, "dampener": 2.0, "delta_one_within_range": False},
    credits=[{"underlyings": ["BTC", "ETH"], "rate": 0.3}],
)
CHARGES = [
    {"layer": "short", "kinds": ["option"], "side": "short", "group": "strike"},
    {"layer": "roll", "kinds": ["future", "option"], "amount": "delta", "group": "expiry"},
    {"layer": "floor", "role": "floor", "kinds": ["spot", "perpetual"], "side": "long"},
]
CHARGES = [one | {"initial": 0.03, "maintenance": 0.02} for one in CHARGES]
WHOLE = engine_of(rules_of(scan=EVERYTHING, charges=CHARGES), INSTRUMENTS, CURRENCY, MARKET)


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 2**32))
def test_charges_on_a_scan_are_the_twins_and_everything_adds_up(seed):
    holdings = random_holdings(seed, len(INSTRUMENTS), most=20)
    found = WHOLE.margin(holdings)
    held = holdings.held
    assert (found.status == HELD).tolist() == held.tolist()
    assert np.isnan(found.requirement[held]).all()
    assert (found.margin[~held] >= 0.0).all()
    assert found.requirement[~held] == pytest.approx(found.margin[~held].sum(axis=1))
    assert (found.maintenance[~held] <= found.requirement[~held] * (1 + 1e-12)).all()
    keys = ("position", "settlement_currency", "account")
    sure = np.ones(len(INSTRUMENTS))
    for account in np.flatnonzero(~held).tolist():
        rows = range(holdings.offsets[account], holdings.offsets[account + 1])
        positions = [(int(holdings.instrument[p]), float(holdings.quantity[p])) for p in rows]
        short, roll, floor = (
            charged(
                *(spec, INSTRUMENTS, MARKET, COINS, CURRENCY, sure, positions),
                key=keys[holdings.margin_mode[account]],
                by_currency=True,
            )
            for spec in WHOLE.rules.charges
        )
        base = float(found.margin[account, 0])
        wanted = [base, 0.03 * short, 0.03 * roll]
        wanted.append(max(0.03 * floor - sum(wanted), 0.0))
        assert found.margin[account].tolist() == pytest.approx(wanted, rel=1e-9, abs=1e-9)
        kept = base / 1.2 * 0.8 + 0.02 * (short + roll)
        assert found.maintenance[account] == pytest.approx(
            max(kept, 0.02 * floor), rel=1e-9, abs=1e-9
        )


def test_the_same_bits_however_accounts_are_cut_and_whatever_computes_them():
    some = random_holdings(9, len(INSTRUMENTS), accounts=61)
    copies = 2 * BLOCK_ACCOUNTS // 61 + 9
    count = np.tile(np.diff(some.offsets), copies)
    accounts = len(count)
    holdings = Holdings(
        offsets=np.concatenate([[0], np.cumsum(count)]),
        instrument=np.tile(some.instrument, copies),
        quantity=np.tile(some.quantity, copies),
        margin_mode=np.tile(some.margin_mode, copies),
        collateral=np.tile(some.collateral, copies),
        held=np.tile(some.held, copies),
    )
    assert accounts > 2 * BLOCK_ACCOUNTS
    whole = WHOLE.margin(holdings)
    with ThreadPoolExecutor(2) as pool:
        threaded = WHOLE.margin(holdings, map_blocks=pool.map)
    for name in ("margin", "maintenance", "requirement", "risk_measure", "binding_scenario"):
        one = getattr(whole, name)
        assert np.array_equal(one, getattr(threaded, name), equal_nan=True), name
        # The same account has the same bits wherever it stands.
        assert np.array_equal(one[:61], one[-61:], equal_nan=True), name
        alone = getattr(WHOLE.margin(some), name)
        assert np.array_equal(one[:61], alone, equal_nan=True), name
    for name in ("contribution", "system_loss", "uncovered_loss", "accounts_under_water"):
        assert np.array_equal(getattr(whole, name), getattr(threaded, name)), name
    edge = BLOCK_ACCOUNTS
    begin = holdings.offsets[edge]
    rest = Holdings(
        offsets=holdings.offsets[edge:] - begin,
        instrument=holdings.instrument[begin:],
        quantity=holdings.quantity[begin:],
        margin_mode=holdings.margin_mode[edge:],
        collateral=holdings.collateral[edge:],
        held=holdings.held[edge:],
    )
    part = WHOLE.margin(rest)
    assert np.array_equal(part.margin, whole.margin[edge:], equal_nan=True)
    assert np.array_equal(part.contribution, whole.contribution[1:])
    assert np.array_equal(part.system_loss, whole.system_loss[1:])


def test_contributions_sum_to_the_layer_where_there_is_no_credit():
    free = WHOLE.rules.model_copy(
        update={"scan": WHOLE.rules.scan.model_copy(update={"credits": ()})}
    )
    engine = engine_of(free, INSTRUMENTS, CURRENCY, MARKET)
    holdings = random_holdings(4, len(INSTRUMENTS), accounts=50, most=20)
    found = engine.margin(holdings)
    assert found.contribution.sum() == pytest.approx(np.nansum(found.margin[:, 0]))
