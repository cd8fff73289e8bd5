"""Lending protocols against the numbers of their own tests, with the source beside each."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from risk.protocols import aave, compound, euler, morpho
from risk.protocols.aave_account import WAD, Holding, account_data
from risk.protocols.compound_units import FACTOR, Asset, absorb, quote_collateral

# Aave. Source: aave/aave-utilities, packages/math-utils/src/pool-math.test.ts.


def test_aave_balance_of_a_yfi_depositor():
    """Block 11581421, 1,918 s after the index was last written."""
    found = aave.linear_balance(
        161_316_503_206_059_870,
        1_001_723_339_432_542_553_527_150_680,
        22_461_916_953_455_574_582_370_088,
        1_609_675_535 - 1_609_673_617,
    )
    assert found == 161_594_727_054_623_229


def test_aave_index_and_debt_grow():
    index, rate, seconds = 1_048_540_642_417_873_765_200_833_079, 5 * 10**17, 100_000_100
    grown = 1_048_540_644_080_325_710_530_799_122
    assert aave.normalised_income(index, rate, seconds) == grown
    assert aave.normalised_income(1_048_540_642_417_873_800_000_000_000, 0, seconds) == (
        1_048_540_642_417_873_800_000_000_000
    )
    assert aave.compounded_balance(10_000, index, rate, seconds) == 10_485
    stable = aave.compounded_balance(2 * 10**18, aave.RAY, rate, 120_000_000)
    assert stable == 2_000_000_003_805_175_038


@pytest.mark.parametrize(
    ("debt", "factor"),
    [(5 * 10**16, WAD), (3 * 10**16, 1_666_666_666_666_666_667), (0, None)],
)
def test_aave_health_factor(debt, factor):
    """1, 1.66666666666666666667, and -1 there where nothing is owed."""
    data = account_data([Holding(10**17, debt, 5_000, 5_000)])
    assert data.health_factor == factor


# Source: aave/aave-utilities, packages/math-utils/src/formatters/user/
# generate-raw-user-summary.test.ts and calculate-user-reserve-totals.test.ts, with
# packages/math-utils/src/mocks.ts: two reserves of 200 supplied and 100 owed at a price of 10; LTV
# 5000, threshold 6000, in the e-mode 6000 and 7000.

TWO = [Holding(2_000 * WAD, 1_000 * WAD, 5_000, 6_000, (6_000, 7_000))] * 2


def test_aave_user_summary():
    data = account_data(TWO)
    assert (data.collateral, data.debt) == (4_000 * WAD, 2_000 * WAD)
    assert (data.loan_to_value, data.liquidation_threshold) == (5_000, 6_000)
    assert data.available_borrows == 0
    assert data.health_factor == 12 * WAD // 10


def test_aave_user_summary_in_efficiency_mode():
    data = account_data(TWO, in_efficiency_mode=True)
    assert (data.loan_to_value, data.liquidation_threshold) == (6_000, 7_000)
    assert data.available_borrows == 400 * WAD
    assert data.health_factor == 14 * WAD // 10


def test_aave_collateral_that_is_not_used_counts_for_nothing():
    data = account_data([Holding(2_000 * WAD, 0, 5_000, 6_000, used_as_collateral=False)] * 2)
    assert (data.collateral, data.loan_to_value, data.liquidation_threshold) == (0, 0, 0)


def test_aave_user_of_three_reserves():
    """Totals and ratios of a user of USDC, xSUSHI and ETH; commit 042e19e657b2 of the same test."""
    collateral, debt = 5_461_791_539_140_663_086.919, 1_793_279_247_840_914_816.850
    reserves = aave.Reserves(np.array([0.336336560928956]), np.array([0.512332086463568964]))
    factor = aave.health_factor([collateral], debt, [1.0], reserves)
    assert factor.item() == pytest.approx(1.56041010257942924677, rel=1e-14)
    room = aave.borrow_capacity([collateral], debt, [1.0], reserves).item()
    assert room == pytest.approx(43_720_934_944_528_524.254, rel=1e-12)


@given(
    st.lists(
        st.tuples(st.integers(0, 10**24), st.integers(0, 10**24), st.integers(0, 10_000)),
        min_size=1,
        max_size=4,
    )
)
@settings(deadline=None)
def test_aave_whole_numbers_are_the_closed_form_but_for_rounding(rows):
    """Ratios are cut off to a basis point, which costs at most that much of the collateral."""
    holdings = [Holding(held, owed, part, part) for held, owed, part in rows]
    data = account_data(holdings)
    held, owed, part = (np.array(column, dtype=np.float64) for column in zip(*rows, strict=True))
    reserves = aave.Reserves(part / 1e4, part / 1e4)
    exact = aave.health_factor(held, owed, np.ones(len(rows)), reserves).item()
    if data.health_factor is None:
        assert exact == np.inf
    else:
        cut = held.sum() * 1e-4 + 1.0
        low = (exact * owed.sum() - cut) / owed.sum()
        assert low * (1 - 1e-9) - 1e-12 <= data.health_factor / WAD
        assert data.health_factor / WAD <= exact * (1 + 1e-9) + 1.0 / owed.sum() + 1e-12


# Compound III. Source: compound-finance/comet, test/quote-collateral-test.ts: store front factor,
# price, liquidation factor, base paid, collateral quoted.

USDC = 10**6
DOLLAR = 10**8


def part(of: str) -> int:
    return int(Fraction(of) * FACTOR)


@pytest.mark.parametrize(
    ("store_front", "price", "factor", "base", "quoted"),
    [
        ("0.5", 200, "0.6", 200 * USDC, 125 * 10**16),
        ("0", 200, "0.6", 200 * USDC, 10**18),
        ("0.5", 9, "0.8", 810 * USDC, 100 * 10**18),
        ("0.8", 200, "0.75", 10**15 * USDC, 625 * 10**28),
        ("0.5", 200, "1", 0, 0),
    ],
)
def test_compound_quote_of_collateral(store_front, price, factor, base, quoted):
    asset = Asset(10**18, price * DOLLAR, absorption_factor=part(factor))
    assert quote_collateral(base, asset, part(store_front), USDC, DOLLAR) == quoted


def market(*factors: float) -> compound.CollateralAssets:
    """Assets with the same factor to borrow and to be liquidated by."""
    same = np.array(factors)
    return compound.CollateralAssets(same, same, np.ones(len(same)))


# Source: compound-finance/comet, test/is-liquidatable-test.ts: collateral, price, factor, debt.


@pytest.mark.parametrize(
    ("held", "price", "factors", "debt", "expected"),
    [
        ([0], [1], [1.0], 0, False),
        ([0], [1], [1.0], 1, True),
        ([100_000], [1], [1.0], 100_000, False),
        ([95_000], [1], [1.0], 100_000, True),
        ([100_000], [1], [0.8], 100_000, True),
        ([100_000], [0.5], [1.0], 100_000, True),
        ([10], [200], [0.8], 5, False),
        ([10], [200], [0.0], 5, True),
        ([1] * 5, [200] * 5, [0.8] * 5, 400, False),
        ([1] * 5, [200] * 5, [0.8, 0.0, 0.8, 0.0, 0.0], 400, True),
        ([1], [200], [0.8], 150, False),
        ([1], [200], [0.0], 150, True),
    ],
)
def test_compound_is_liquidatable(held, price, factors, debt, expected):
    assert compound.liquidatable(held, debt, price, 1.0, market(*factors)) == expected
    # A health factor of 1 is not liquidatable yet.
    assert (compound.health_factor(held, debt, price, 1.0, market(*factors)) < 1.0) == expected


# Source: compound-finance/comet, test/is-borrow-collateralized-test.ts: the same.


@pytest.mark.parametrize(
    ("held", "price", "factors", "debt", "expected"),
    [
        ([0], [1], [0.9], 0, True),
        ([0], [1], [0.9], 1, False),
        ([1.2], [1], [0.9], 1, True),
        ([1], [1], [0.9], 1, False),
        ([5], [1], [0.2], 1, True),
        ([5], [0.5], [0.2], 1, False),
        ([10], [200], [0.75], 5, True),
        ([10], [200], [0.0], 5, False),
        ([1] * 5, [200] * 5, [0.75] * 5, 400, True),
        ([1] * 5, [200] * 5, [0.75, 0.0, 0.75, 0.0, 0.0], 400, False),
        ([1], [200], [0.75], 150, True),
    ],
)
def test_compound_borrow_is_collateralized(held, price, factors, debt, expected):
    assert compound.borrow_collateralized(held, debt, price, 1.0, market(*factors)) == expected


# Source: compound-finance/comet, test/absorb-test.ts, with the prices of its default assets.

COMP, WETH = (Asset(10**18, price * DOLLAR) for price in (175, 3_000))
WBTC = Asset(10**8, 41_000 * DOLLAR)


@pytest.mark.parametrize(
    ("debt", "held", "left"),
    [
        (100, [], 0),
        (700, [], 0),
        (10**6, [(COMP, 10**12)], 0),
        (10**12, [(COMP, 10 * 10**18), (WETH, 10**18)], 0),
        (10**18, [(COMP, 10_000 * 10**18), (WETH, 50 * 10**18), (WBTC, 50 * 10**8)], 0),
        # 41,000 + 3,000 + 175 less one unit: the account is left with that unit.
        (44_175 * USDC - 1, [(COMP, 10**18), (WETH, 10**18), (WBTC, 10**8)], 1),
    ],
)
def test_compound_absorbs_and_pays_out(debt, held, left):
    found = absorb(debt, held, USDC, DOLLAR)
    assert (found.balance, found.paid_out) == (left, debt + left)
    assert found.seized == tuple(amount for _, amount in held)


@pytest.mark.parametrize(
    ("liquidation", "absorption", "seized"),
    [("0.8", "0.6", True), ("0.8", "0", False), ("0", "0.6", True), ("0", "0", False)],
)
def test_compound_absorbs_what_is_delisted(liquidation, absorption, seized):
    """One coin at 100 against 150 owed: the reserves pay all of it, whatever is seized."""
    asset = Asset(10**18, 100 * DOLLAR, part(absorption), part(liquidation))
    found = absorb(150 * USDC, [(asset, 10**18)], USDC, DOLLAR)
    assert (found.balance, found.paid_out) == (0, 150 * USDC)
    assert found.seized == (10**18 if seized else 0,)


def test_compound_absorption_in_floats_is_that_in_units():
    assets = compound.CollateralAssets(np.array([0.5]), np.array([0.6]), np.array([0.9]))
    left = compound.value_after_absorption([10.0], 1_000.0, [175.0], 1.0, assets)
    asset = Asset(10**18, 175 * DOLLAR, part("0.9"), part("0.6"))
    found = absorb(1_000 * USDC, [(asset, 10 * 10**18)], USDC, DOLLAR)
    assert left.item() == pytest.approx(found.balance / USDC, abs=1e-6)


# Morpho Blue. Source: morpho-org/sdks, packages/blue-sdk/test/unit/MarketUtils.test.ts.


def test_morpho_incentive():
    assert morpho.liquidation_incentive_wads(86 * 10**16) == 1_043_841_336_116_910_229


# Source: morpho-org/sdks, packages/blue-sdk/test/unit/PreLiquidationPosition.test.ts: a position
# of 200,000 held and 50,000 owed at a price of 1, judged at 80 %.


def test_morpho_position():
    assert morpho.health_factor(200_000.0, 50_000.0, 1.0, 0.8).item() == 3.2
    assert morpho.liquidation_price(200_000.0, 50_000.0, 0.8).price.item() == 0.3125
    assert morpho.borrow_capacity(200_000.0, 50_000.0, 1.0, 0.8).item() == 110_000.0


# Source: morpho-org/morpho-blue, test/forge/integration/LiquidateIntegrationTest.sol: the
# directions of rounding that its fuzzed cases assert, as bounds in exact arithmetic.


@given(
    st.integers(1, 10**30),
    st.integers(10**20, 10**45),
    st.integers(0, 100).map(lambda p: p * 10**16),
)
@settings(deadline=None)
def test_morpho_rounds_against_the_liquidator(amount, price, ltv):
    incentive = Fraction(morpho.liquidation_incentive_wads(ltv), 10**18)
    ideal = amount * incentive / Fraction(price, 10**36)
    seized = morpho.seized_collateral(amount, price, ltv)
    assert ideal - 1 - Fraction(10**36, price) <= seized <= ideal
    assert morpho.repaid_debt(seized, price, ltv) <= amount
    ideal = amount * Fraction(price, 10**36) / incentive
    repaid = morpho.repaid_debt(amount, price, ltv)
    assert ideal <= repaid <= ideal + 2
    assert float(incentive) == pytest.approx(morpho.liquidation_incentive(ltv / 1e18), rel=1e-15)


# Euler. Source: euler-xyz/euler-vault-kit, test/unit/evault/modules/Liquidation/full.t.sol; scores
# to the digits asserted there.


@pytest.mark.parametrize(
    ("held", "price", "ltv", "debt", "debt_price", "score", "digits"),
    [
        ([100], [0.4], [0.3], 5, 2.2, 1.09, 0.01),
        ([100], [0.4], [0.3], 5, 2.5, 0.96, 0.001),
        ([100], [0.4], [0.3], 5, 2.3, 1.043, 0.001),
        ([100, 1], [0.4, 1], [0.3, 0.3], 4, 2.2, 1.39, 0.01),
        ([100, 1], [0.4, 1], [0.3, 0.3], 4, 3.15, 0.976, 0.01),
        ([100], [0.4], [0.0001], 5, 2.2, 0.0003636, 1e-7),
        ([10], [17], [0.28], 20, 2.2, 1.08, 0.01),
        ([10], [15.5], [0.28], 20, 2.2, 0.986, 0.001),
    ],
)
def test_euler_health_score(held, price, ltv, debt, debt_price, score, digits):
    found = euler.health_score(held, price, ltv, debt, debt_price).item()
    assert found == pytest.approx(score, abs=digits)


def wad(of: str) -> int:
    return int(Fraction(of) * WAD)


@pytest.mark.parametrize(
    ("held", "price", "ltv", "debt", "debt_price", "repaid", "seized"),
    [
        # Healthy: nothing.
        (100 * WAD, "0.4", 3_000, 5 * WAD, "2.2", 0, 0),
        (100 * WAD, "0.4", 3_000, 5 * WAD, "2.3", 0, 0),
        # The LTV ramps down: full repayment, at discounts of 0.2, 18.2 and at most 20 %.
        (100 * WAD, "0.4", 2_745, 5 * WAD, "2.2", 5 * WAD, "27.55"),
        (100 * WAD, "0.4", 2_250, 5 * WAD, "2.2", 5 * WAD, "33.61"),
        (100 * WAD, "0.4", 1_950, 5 * WAD, "2.2", 5 * WAD, "34.37"),
        (100 * WAD, "0.4", 1_500, 5 * WAD, "2.2", 5 * WAD, "34.37"),
        # An LTV of nothing: 20 % off 11.
        (100 * WAD, "0.4", 0, 5 * WAD, "2.2", 5 * WAD, "34.375"),
        # The collateral is not enough: all of it.
        (100 * WAD, "0.4", 9_900, 17 * WAD, "2.7", None, 100 * WAD),
        # Worth nothing: taken for nothing.
        (100 * WAD, "0", 3_000, 5 * WAD, "2.2", 0, 100 * WAD),
        # So few units that the repayment, or what is seized, is cut off to nothing.
        (45, "0.4", 3_000, 2, "20", 0, 45),
        (1, "15", 3_000, 3_000, "0.002", 3_000, 0),
    ],
)
def test_euler_liquidation(held, price, ltv, debt, debt_price, repaid, seized):
    found = euler.liquidation(held, wad(price), ltv, debt, wad(debt_price))
    if isinstance(seized, str):
        assert found.seized == pytest.approx(wad(seized), abs=0.01 * WAD)
    else:
        assert found.seized == seized
    if repaid is not None:
        assert found.repaid == repaid


# Source: euler-xyz/euler-vault-kit, test/unit/evault/modules/Liquidation/basic.t.sol.


@pytest.mark.parametrize(
    ("price", "repaid", "seized"),
    [("1", 0, 0), ("0.5", 45 * 10**17, 10 * WAD), ("0", 0, 10 * WAD)],
)
def test_euler_liquidation_of_all_collateral(price, repaid, seized):
    """10 held at an LTV of 90 %, 5 owed at 1."""
    found = euler.liquidation(10 * WAD, wad(price), 9_000, 5 * WAD, WAD)
    assert (found.repaid, found.seized) == (repaid, seized)


@given(
    st.integers(0, 10**24),
    st.integers(0, 10**20),
    st.integers(0, 10_000),
    st.integers(0, 10**24),
    st.integers(0, 10**20),
    st.integers(0, 10**24),
)
@settings(deadline=None)
def test_euler_takes_no_more_than_there_is(held, price, ltv, debt, debt_price, other):
    found = euler.liquidation(held, price, ltv, debt, debt_price, other)
    assert 0 <= found.repaid <= debt
    assert 0 <= found.seized <= held


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: Holding(-1, 0, 0, 0), "collateral is -1"),
        (lambda: absorb(0, [], 1, 1), "debt is 0"),
        (lambda: morpho.liquidation_incentive_wads(2 * WAD), "allowed are 0 to 1e18"),
        (lambda: euler.liquidation(-1, 0, 0, 0, 0), "allowed is 0 or more"),
        (lambda: aave.linear_balance(-1, aave.RAY, 0, 0), "whole numbers"),
    ],
)
def test_what_cannot_be_meant_is_refused(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()
