"""Health under the rules of on-chain protocols: what must hold whatever the account."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from risk.protocols import aave, compound, drift, dydx, maker, mango, morpho

SETTINGS = settings(deadline=None, max_examples=60)
AMOUNT = st.just(0.0) | st.floats(1e-6, 1e4)
PRICE = st.floats(0.01, 1e4)
SCALE = st.floats(0.1, 100.0)
THREE = st.lists(AMOUNT, min_size=3, max_size=3)
PRICES = st.lists(PRICE, min_size=3, max_size=3)
SIGNED = st.lists(st.floats(-1e4, 1e4), min_size=3, max_size=3)

RESERVES = aave.Reserves(np.array([0.8, 0.7, 0.0]), np.array([0.83, 0.75, 0.0]))
MARKET = compound.CollateralAssets(
    np.array([0.8, 0.7, 0.6]), np.array([0.85, 0.8, 0.7]), np.array([0.95, 0.93, 0.9])
)


@SETTINGS
@given(THREE, THREE, PRICES, SCALE)
def test_a_health_factor_does_not_depend_on_the_size_of_the_account(held, owed, prices, scale):
    before = aave.health_factor(held, owed, prices, RESERVES)
    after = aave.health_factor(scale * np.array(held), scale * np.array(owed), prices, RESERVES)
    assert after == pytest.approx(before, rel=1e-9)
    currency = aave.health_factor(held, owed, scale * np.array(prices), RESERVES)
    assert currency == pytest.approx(before, rel=1e-9)


@SETTINGS
@given(THREE, THREE, PRICES, AMOUNT)
def test_a_deposit_never_hurts_and_a_debt_never_helps(held, owed, prices, more):
    before = aave.health_factor(held, owed, prices, RESERVES)
    deposit = np.add(held, [more, 0.0, 0.0])
    debt = np.add(owed, [0.0, 0.0, more])
    assert aave.health_factor(deposit, owed, prices, RESERVES) >= before
    assert aave.health_factor(held, debt, prices, RESERVES) <= before
    room = aave.borrow_capacity(held, owed, prices, RESERVES)
    assert aave.borrow_capacity(deposit, owed, prices, RESERVES) >= room
    assert aave.borrow_capacity(held, debt, prices, RESERVES) <= room


@SETTINGS
@given(THREE, THREE, PRICES, st.integers(0, 2))
def test_the_health_factor_is_one_at_the_liquidation_price(held, owed, prices, asset):
    found = aave.liquidation_price(held, owed, prices, RESERVES, asset)
    if found.side == 0 or not 1e-6 < found.price < 1e9:
        return
    moved = np.array(prices)
    moved[asset] = found.price
    if np.dot(owed, moved) < 1e-9:
        return
    assert aave.health_factor(held, owed, moved, RESERVES) == pytest.approx(1.0, rel=1e-6)


@SETTINGS
@given(THREE, THREE, PRICES)
def test_what_may_be_borrowed_leaves_a_healthy_account(held, owed, prices):
    room = float(aave.borrow_capacity(held, owed, prices, RESERVES))
    if room == 0.0:
        return
    debt = np.add(owed, [0.0, 0.0, room / prices[2]])
    assert aave.health_factor(held, debt, prices, RESERVES) >= 1.0 - 1e-12


def test_efficiency_mode_lifts_its_members_and_refuses_foreign_debt():
    mode = aave.EfficiencyMode(
        np.array([True, True, False]), np.array([False, True, False]), 0.93, 0.95
    )
    debt = np.array([[0.0, 9.0, 0.0], [0.0, 9.0, 0.0]])
    lifted = aave.in_efficiency_mode(RESERVES, mode, [True, False], debt)
    held = np.array([[10.0, 0.0, 0.0], [10.0, 0.0, 0.0]])
    factors = aave.health_factor(held, debt, [1.0, 1.0, 1.0], lifted)
    assert factors == pytest.approx([9.5 / 9.0, 8.3 / 9.0])
    with pytest.raises(ValueError, match="account 1 owes asset 0"):
        aave.in_efficiency_mode(RESERVES, mode, [False, True], [[0.0] * 3, [1.0, 0.0, 0.0]])
    with pytest.raises(ValueError, match="loan_to_value <= liquidation_threshold"):
        aave.Reserves(np.array([0.8]), np.array([0.7]))


def test_a_rise_can_liquidate_a_short():
    """Stable coins held against a borrowed coin."""
    found = aave.liquidation_price([0.0, 1_000.0], [1.0, 0.0], [500.0, 1.0], reserves_of(2), 0)
    assert (found.price.item(), found.side.item()) == (800.0, 1)


def reserves_of(size):
    return aave.Reserves(np.full(size, 0.75), np.full(size, 0.8))


@SETTINGS
@given(st.integers(0, 10**26), st.integers(0, 10**9))
def test_interest_compounds_to_more_than_it_adds(rate, seconds):
    linear, compounded = (
        aave.linear_interest(rate, seconds),
        aave.compounded_interest(rate, seconds),
    )
    # A rate per second is truncated, and so may the compounded interest fall behind by as much.
    assert compounded >= linear - seconds - 1
    exact = np.exp(rate / 1e27 * seconds / 31_536_000)
    if rate * seconds < 31_536_000 * 10**26:
        assert compounded / 1e27 == pytest.approx(exact, rel=1e-4)


@pytest.mark.parametrize(("rate", "seconds"), [(-1, 1), (1, -1), (1, 0.5)])
def test_interest_takes_whole_numbers(rate, seconds):
    with pytest.raises(ValueError, match="whole numbers"):
        aave.compounded_interest(rate, seconds)


@SETTINGS
@given(THREE, AMOUNT, PRICES, st.floats(0.5, 2.0), st.integers(0, 2))
def test_compound_market(held, owed, prices, base_price, asset):
    factor = compound.health_factor(held, owed, prices, base_price, MARKET)
    room = float(compound.borrow_capacity(held, owed, prices, base_price, MARKET))
    assert room >= 0.0
    if room > 0.0:
        assert factor >= 1.0 - 1e-12
        more = compound.health_factor(held, owed + room / base_price, prices, base_price, MARKET)
        assert more >= 1.0 - 1e-9
    found = compound.liquidation_price(held, owed, prices, base_price, MARKET, asset)
    if 1e-6 < found.price < 1e12 and owed > 1e-6:
        moved = np.array(prices)
        moved[asset] = found.price
        at = compound.health_factor(held, owed, moved, base_price, MARKET)
        assert at == pytest.approx(1.0, rel=1e-6)
    left = compound.value_after_absorption(held, owed, prices, base_price, MARKET)
    assert 0.0 <= left <= np.dot(held, prices)


@SETTINGS
@given(AMOUNT, AMOUNT, PRICE, st.floats(0.3, 0.98))
def test_isolated_markets(held, owed, price, ltv):
    for factor, found in (
        (morpho.health_factor(held, owed, price, ltv), morpho.liquidation_price(held, owed, ltv)),
        (
            maker.health_factor(held, owed, price, 1.0 / ltv),
            maker.liquidation_price(held, owed, 1.0 / ltv),
        ),
    ):
        if owed == 0.0 or held == 0.0:
            continue
        assert factor == pytest.approx(price / float(found.price), rel=1e-9)
    assert morpho.borrow_capacity(held, owed, price, ltv) == pytest.approx(
        maker.borrow_capacity(held, owed, price, 1.0 / ltv), abs=1e-6
    )
    assert 1.0 <= morpho.liquidation_incentive(ltv) <= 1.15


def test_maker_debt_grows_with_the_accumulator_and_dust_bars_small_ones():
    assert maker.debt(1_000.0, 1.07).item() == pytest.approx(1_070.0)
    assert maker.borrow_capacity(1.0, 0.0, 1_450.0, 1.45, 7_500.0).item() == 0.0
    with pytest.raises(ValueError, match="accumulator"):
        maker.debt(1.0, 0.9)
    with pytest.raises(ValueError, match=r"liquidation_ratio is 0\.5"):
        maker.health_factor(1.0, 1.0, 1.0, 0.5)
    with pytest.raises(ValueError, match="at most 1"):
        morpho.health_factor(1.0, 1.0, 1.0, 1.5)


@SETTINGS
@given(
    st.integers(-(10**12), 10**12),
    st.integers(1, 10**9),
    st.integers(0, 10**6),
    st.integers(0, 10**15),
)
def test_dydx_margin_grows_with_size_and_open_interest(size, price, ppm, interest):
    tier = dydx.LiquidityTier(ppm, 600_000, 10**12, 10**14)
    found = dydx.requirement(size, -8, price, 0, tier, interest)
    mirror = dydx.requirement(-size, -8, price, 0, tier, interest)
    assert found == mirror
    assert 0 <= found.maintenance <= found.initial <= found.notional
    assert dydx.requirement(size, -8, price, 0, tier, 2 * interest).initial >= found.initial
    double = dydx.requirement(2 * size, -8, price, 0, tier, interest)
    assert abs(double.initial - 2 * found.initial) <= 3
    assert double.maintenance >= found.maintenance


@SETTINGS
@given(SIGNED, PRICES, st.floats(-1e6, 1e6), st.integers(0, 2))
def test_dydx_equity_meets_maintenance_at_the_liquidation_price(sizes, prices, balance, market):
    sizes, prices = np.array(sizes), np.array(prices)
    rates = np.array([0.03, 0.05, 0.1])
    found = dydx.liquidation_price(balance, sizes, prices, rates, market)
    if found.side == 0 or found.price == 0.0:
        return
    prices[market] = found.price
    equity = balance + np.dot(sizes, prices)
    needed = np.dot(np.abs(sizes) * rates, prices)
    scale = abs(balance) + np.dot(np.abs(sizes), prices)
    assert equity - needed == pytest.approx(0.0, abs=1e-11 * scale)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [((1_000_001, 0), "initial_margin_ppm"), ((1, 1, 5, 3), "must be 0 or more and rise")],
)
def test_dydx_tiers_are_checked(wrong, sentence):
    with pytest.raises(ValueError, match=sentence):
        dydx.LiquidityTier(*wrong)


TOKENS = mango.Tokens(
    np.array([1.0, 5.0, 10.0]), np.array([0.8, 0.5, 0.5]), np.array([1.2, 1.5, 1.5])
)
POSITION = st.tuples(
    st.floats(-1e3, 1e3), st.floats(-1e4, 1e4), st.floats(0.0, 100.0), st.floats(0.0, 100.0)
)
RESERVED = st.tuples(st.floats(0.0, 1e3), st.floats(0.0, 1e3))


def perpetual(position, scale=1.0, price=5.0):
    base, quote, bids, asks = (scale * one for one in position)
    return mango.Perpetual(price, 0.8, 1.2, 0.95, 0, base, quote, bids, asks)


def spot_orders(reserved, scale=1.0):
    return mango.SpotOrders(1, 0, scale * reserved[0], scale * reserved[1])


@SETTINGS
@given(SIGNED, POSITION, RESERVED, SCALE)
def test_mango_health_is_homogeneous(balance, position, reserved, scale):
    once = mango.health(TOKENS, balance, [perpetual(position)], [spot_orders(reserved)])
    much = mango.health(
        TOKENS,
        scale * np.array(balance),
        [perpetual(position, scale)],
        [spot_orders(reserved, scale)],
    )
    assert much == pytest.approx(scale * once, rel=1e-9, abs=1e-6 * scale)


@SETTINGS
@given(SIGNED, POSITION, RESERVED, st.integers(0, 2), AMOUNT)
def test_a_mango_deposit_never_hurts(balance, position, reserved, token, more):
    others = ([perpetual(position)], [spot_orders(reserved)])
    richer = np.array(balance)
    richer[token] += more
    before = mango.health(TOKENS, balance, *others)
    assert mango.health(TOKENS, richer, *others) >= before - 1e-6


@SETTINGS
@given(SIGNED, POSITION, RESERVED)
def test_mango_orders_of_a_perpetual_never_help(balance, position, reserved):
    base, quote, _, _ = position
    orders = [spot_orders(reserved)]
    with_orders = mango.health(TOKENS, balance, [perpetual(position)], orders)
    without = mango.health(TOKENS, balance, [perpetual((base, quote, 0.0, 0.0))], orders)
    assert with_orders <= without + 1e-6


def slow_mango(balance, position, reserved):
    """The rule word by word, for one account."""
    price, asset, debt = TOKENS.price, TOKENS.asset_weight, TOKENS.liability_weight
    base, quote, bids, asks = position
    worst = np.inf
    for filled, cash in ((base + bids, quote - bids * 5.0), (base - asks, quote + asks * 5.0)):
        worst = min(worst, filled * 5.0 * (0.8 if filled > 0 else 1.2) + cash)
    held = list(balance)
    held[0] += worst * 0.95 if worst > 0 else worst
    health = sum(
        held[t] * price[t] * (asset[t] if held[t] > 0 else debt[t]) for t in range(len(held))
    )
    as_base, as_quote = reserved[0] + reserved[1] / 5.0, reserved[1] + reserved[0] * 5.0

    def effect(token, amount):
        most = held[token] + amount
        above = min(amount, max(0.0, most))
        return price[token] * (asset[token] * above + debt[token] * (amount - above))

    return health + min(effect(1, as_base), effect(0, as_quote))


@SETTINGS
@given(SIGNED, POSITION, RESERVED)
def test_mango_against_the_rule_word_by_word(balance, position, reserved):
    found = mango.health(TOKENS, balance, [perpetual(position)], [spot_orders(reserved)])
    assert found == pytest.approx(slow_mango(balance, position, reserved), abs=1e-6)


def test_mango_takes_many_accounts_at_once():
    rng = np.random.default_rng(3)
    balance = rng.normal(size=(50, 3)) * 100.0
    columns = np.abs(rng.normal(size=(4, 50))) * 10.0
    reserved = np.abs(rng.normal(size=(2, 50))) * 10.0
    found = mango.health(
        TOKENS, balance, [perpetual(tuple(columns))], [spot_orders(tuple(reserved))]
    )
    alone = [
        slow_mango(balance[row], columns[:, row], reserved[:, row]) for row in range(len(balance))
    ]
    assert found == pytest.approx(alone, abs=1e-9)


@SETTINGS
@given(st.lists(st.floats(0.0, 1e3), min_size=3, max_size=3), POSITION)
def test_mango_perpetual_prices_that_liquidate(balance, position):
    position = (*position[:2], 0.0, 0.0)
    present = perpetual(position)
    if mango.health(TOKENS, balance, [present]) < 0.0:
        with pytest.raises(ValueError, match="liquidated already"):
            mango.perpetual_liquidation_range(TOKENS, balance, [present], 0)
        return
    found = mango.perpetual_liquidation_range(TOKENS, balance, [present], 0)
    assert found.below <= present.price <= found.above
    for price in (found.below, found.above):
        if 0.0 < price < 1e9:
            at = mango.health(TOKENS, balance, [perpetual(position, price=price)])
            assert at == pytest.approx(0.0, abs=1e-5)


def coin(balance, price=100.0, bids=0.0, asks=0.0, average=None, weights=(0.8, 1.2)):
    orders = int(bids > 0) + int(asks > 0)
    return drift.Spot(balance, drift.OraclePrice(price, average), *weights, bids, asks, orders)


@SETTINGS
@given(st.floats(-1e4, 1e4), st.floats(-100, 100), st.floats(0, 50), st.floats(0, 50))
def test_drift_orders_never_free_collateral(usdc, balance, bids, asks):
    quote = drift.Spot(usdc, drift.OraclePrice(1.0))
    plain = drift.margin(quote, [coin(balance)]).free_collateral
    ordered = drift.margin(quote, [coin(balance, bids=bids, asks=asks)]).free_collateral
    if (bids > 0.0) == (asks > 0.0):
        # With orders on one side only the program takes that side or the balance as it is.
        assert ordered <= plain + 1e-6


@SETTINGS
@given(st.floats(-1e4, 1e4), st.floats(-100, 100), st.floats(80, 120))
def test_the_strict_rule_never_frees_collateral(usdc, balance, average):
    quote = drift.Spot(usdc, drift.OraclePrice(1.0))
    plain = drift.margin(quote, [coin(balance)])
    strict = drift.margin(quote, [coin(balance, average=average)])
    assert strict.free_collateral <= plain.free_collateral + 1e-9


@SETTINGS
@given(st.floats(0, 1e4), st.floats(-100, 100), st.floats(-50, 50), SCALE)
def test_drift_margin_is_homogeneous(usdc, balance, base, scale):
    def found(by):
        quote = drift.Spot(by * usdc, drift.OraclePrice(1.0))
        market = drift.Perpetual(by * base, 100.0, 0.1, pnl=by * 5.0)
        return drift.margin(quote, [coin(by * balance)], [market])

    once, much = found(1.0), found(scale)
    assert much.total_collateral == pytest.approx(scale * once.total_collateral, rel=1e-9)
    assert much.margin_requirement == pytest.approx(scale * once.margin_requirement, rel=1e-9)


@SETTINGS
@given(st.floats(0.0, 2.0), st.floats(-100, 100), st.floats(-50, 50))
def test_an_own_ratio_never_lowers_the_requirement(ratio, balance, base):
    quote = drift.Spot(0.0, drift.OraclePrice(1.0))
    market = drift.Perpetual(base, 100.0, 0.1)
    plain = drift.margin(quote, [coin(balance)], [market])
    own = drift.margin(quote, [coin(balance)], [market], ratio)
    assert own.margin_requirement >= plain.margin_requirement - 1e-9
    assert own.total_collateral <= plain.total_collateral + 1e-9


@SETTINGS
@given(st.floats(1.0, 1e4), st.floats(-50, 50), st.floats(-20, 20))
def test_drift_liquidation_price(usdc, base, balance):
    def margin(price):
        quote = drift.Spot(usdc, drift.OraclePrice(1.0))
        gain = base * (price - 100.0)
        return drift.margin(
            quote, [coin(balance, price)], [drift.Perpetual(base, price, 0.05, pnl=gain)]
        )

    found = drift.liquidation_price(
        margin(100.0).free_collateral, 100.0, base, 0.05, balance, 0.8, 1.2
    )
    if found.side != 0 and 1e-6 < found.price < 1e6:
        assert margin(float(found.price)).free_collateral == pytest.approx(0.0, abs=1e-4)


@SETTINGS
@given(st.floats(0.1, 1.0), st.floats(0.0, 1e6), st.floats(0.0, 0.1))
def test_size_makes_assets_count_less_and_debts_more(weight, size, factor):
    assert drift.size_asset_weight(weight, size, factor) <= weight
    assert drift.size_liability_weight(1.0 + weight, size, factor) >= 1.0 + weight


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: aave.health_factor([-1.0], [0.0], [1.0], reserves_of(1)), "amount is -1"),
        (lambda: aave.health_factor([np.nan], [0.0], [1.0], reserves_of(1)), "amount is nan"),
        (lambda: drift.margin(coin(np.inf)), "must be finite"),
        (lambda: mango.health(TOKENS, [np.nan, 0.0, 0.0]), "must be finite"),
        (lambda: mango.health(TOKENS, [0.0] * 3, [perpetual((0, 0, -1, 0))]), "bids is -1"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()
