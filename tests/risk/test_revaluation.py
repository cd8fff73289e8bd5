import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace
from pathlib import Path

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from risk.instruments import Instruments, Kind, MarketState, Settlement
from risk.pricing.black76 import black76
from risk.revaluation import VolatilityTenor, contract_value, revalue
from risk.scenarios.shocks import Shocks
from tests.risk.exact import truth

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "options.json").read_text())
FLAT = VolatilityTenor(short_power=0.0, long_power=0.0, minimum_volatility=0.0)


def contract(kind, settlement=Settlement.LINEAR, **terms):
    """One instrument on coin 0; a quanto pays coin 1."""
    values = {
        "kind": kind,
        "settlement": settlement,
        "underlying": 0,
        "settlement_underlying": 1 if settlement == Settlement.QUANTO else -1,
        "multiplier": 1.0,
        "strike": 0.0,
        "is_call": False,
        "time_to_expiry": 0.0,
    } | terms
    types = (np.int8, np.int8, np.int16, np.int16, np.float64, np.float64, np.bool_, np.float64)
    return Instruments(
        **{
            field.name: np.array([values[field.name]], dtype=type_)
            for field, type_ in zip(fields(Instruments), types, strict=True)
        }
    )


def state(index, forward, volatility=0.0):
    return MarketState(
        np.array(index, dtype=float), np.array([forward]), np.array([volatility]), np.array([True])
    )


def moves(coins=1, **named):
    """Shocks of coin 0 given as lists, the other coins still; or (scenario, coin) arrays."""
    size = len(next(iter(named.values())))
    shocks = {name: np.zeros((size, coins)) for name in [f.name for f in fields(Shocks)]}
    for name, values in named.items():
        values = np.asarray(values, dtype=float)
        shocks[name][:, : 1 if values.ndim == 1 else coins] = values.reshape(size, -1)
    return Shocks(**shocks)


def slow_revalue(instruments, market, shocks, tenor):
    """The conventions, one instrument at a time, as a risk manager would write them."""
    cube = np.zeros((len(instruments), len(shocks.price)))
    for row in np.flatnonzero(market.priced):
        coin, years = instruments.underlying[row], instruments.time_to_expiry[row]
        kind, settlement = instruments.kind[row], instruments.settlement[row]
        spot, forward = market.index[coin], market.forward[row]
        price = shocks.price[:, coin]
        spot_after = spot * (1 + price)
        forward_after = forward * (1 + price)
        if kind == Kind.PERPETUAL:
            forward_after = forward_after * (1 + shocks.perpetual_basis[:, coin])
        elif kind in (Kind.FUTURE, Kind.OPTION):
            forward_after = forward_after * (1 + shocks.forward_basis[:, coin] * years)
        if kind == Kind.SPOT:
            gain = spot_after - spot
        elif kind == Kind.OPTION:
            strike, call = instruments.strike[row], instruments.is_call[row]
            volatility = market.volatility[row]
            days = years * 365
            power = tenor.short_power if days <= tenor.reference_days else tenor.long_power
            scale = (tenor.reference_days / max(days, tenor.floor_days)) ** power
            shocked = volatility * (1 + shocks.volatility[:, coin] * scale)
            shocked = np.maximum(tenor.minimum_volatility, shocked)
            before = black76(forward, strike, volatility, years, call)
            after = black76(forward_after, strike, shocked, years, call)
            if settlement == Settlement.INVERSE:
                gain = after / forward_after * spot_after - before / forward * spot
            else:
                gain = after - before
        elif settlement == Settlement.LINEAR:
            gain = forward_after - forward
        elif settlement == Settlement.INVERSE:
            gain = (1 / forward - 1 / forward_after) * spot_after
        else:
            payer = instruments.settlement_underlying[row]
            gain = (forward_after - forward) * market.index[payer] * (1 + shocks.price[:, payer])
        cube[row] = instruments.multiplier[row] * gain
    return cube


def random_book(size, scenarios, seed):
    """Every kind and settlement that can be priced, in no order, on three coins."""
    rng = np.random.default_rng(seed)
    kind = rng.choice([0, 1, 2, 3, 3, 3], size).astype(np.int8)
    settlement = np.where(kind == 3, rng.integers(0, 2, size), rng.integers(0, 3, size))
    coin = rng.integers(0, 3, size).astype(np.int16)
    years = np.where((kind == 1) | (kind == 3), rng.choice([0.003, 0.05, 0.08, 0.7], size), 0.0)
    index = np.array([2222.0, 44_000.0, 0.07])
    strike = index[coin] * np.exp(rng.normal(0.0, 0.4, size)) * (rng.random(size) > 0.02)
    instruments = Instruments(
        kind=kind,
        settlement=settlement.astype(np.int8),
        underlying=coin,
        settlement_underlying=np.where(settlement == 2, 1, -1).astype(np.int16),
        multiplier=rng.choice([0.1, 1.0, 10.0], size),
        strike=np.where(kind == 3, strike, 0.0),
        is_call=(kind == 3) & (rng.random(size) < 0.5),
        time_to_expiry=years,
    )
    priced = rng.random(size) < 0.95
    market = MarketState(
        index=index,
        forward=np.where(priced, index[coin] * (1 + 0.1 * years), 0.0),
        volatility=np.where(priced & (kind == 3), rng.choice([0.0, 0.02, 0.4, 1.5], size), 0.0),
        priced=priced,
    )
    shape = (scenarios, 3)
    shocks = Shocks(
        price=rng.choice([-0.95, -0.3, 0.0, 0.02, 0.5, 5.0], shape) * rng.uniform(0.5, 1.0, shape),
        volatility=rng.uniform(-1.5, 2.0, shape),
        perpetual_basis=rng.normal(0.0, 0.02, shape) * (rng.random(shape) < 0.5),
        forward_basis=rng.normal(0.0, 0.1, shape) * (rng.random(shape) < 0.5),
    )
    return instruments, market, shocks


def size_of(instruments, market, shocks):
    """The money that a cell's error is a fraction of, (instrument, 1)."""
    coin = instruments.underlying
    largest = np.maximum(market.forward, instruments.strike) * 20.0
    inverse_delta_one = (instruments.settlement == 1) & (instruments.kind != 3)
    payer = np.where(
        instruments.settlement == 2, market.index[instruments.settlement_underlying] * 10.0, 1.0
    )
    unit = np.where(inverse_delta_one, 40.0, largest * payer)
    return (instruments.multiplier * np.maximum(unit, market.index[coin]))[:, None]


# Hand-computed examples, one per payoff.


def test_spot():
    # 0.5 coin at 2,000; index +10 %: 0.5 * (2,200 - 2,000) = 100.
    gain = revalue(
        contract(Kind.SPOT, multiplier=0.5), state([2000], 2000), moves(price=[0.1]), FLAT
    )
    assert gain == pytest.approx(np.array([[100.0]]), rel=1e-15)


def test_linear_future_with_basis():
    # Forward 2,100, half a year. Price -10 %, basis +4 % a year: 2,100 * 0.9 * 1.02 = 1,927.8,
    # so one contract of 10 coins gains 10 * (1,927.8 - 2,100) = -1,722.
    future = contract(Kind.FUTURE, multiplier=10.0, time_to_expiry=0.5)
    gain = revalue(future, state([2000], 2100), moves(price=[-0.1], forward_basis=[0.04]), FLAT)
    assert gain == pytest.approx(np.array([[-1722.0]]), rel=1e-14)


def test_inverse_perpetual():
    # 100 USD a contract, perpetual and index at 50,000. Index to 40,000 (-20 %), perpetual 1 %
    # below it at 39,600: 100 * (1/50,000 - 1/39,600) = -0.000525252... coin, each worth 40,000:
    # -21.0101... USD.
    perpetual = contract(Kind.PERPETUAL, Settlement.INVERSE, multiplier=100.0)
    gain = revalue(
        perpetual, state([50_000], 50_000), moves(price=[-0.2], perpetual_basis=[-0.01]), FLAT
    )
    assert gain == pytest.approx(np.array([[-2080.0 / 99.0]]), rel=1e-14)


def test_inverse_perpetual_in_coin_is_one_less_one_over_the_move():
    # Worth one coin of notional, the gain in coin is 1 - 1/(1 + move), and a coin is 1 + move.
    move = np.array([-0.5, -0.16, 0.16, 1.0, 5.0])
    perpetual = contract(Kind.PERPETUAL, Settlement.INVERSE, multiplier=30_000.0)
    gain = revalue(perpetual, state([30_000], 30_000), moves(price=move), FLAT)
    in_coin = gain[0] / (30_000 * (1 + move))
    assert in_coin == pytest.approx(1 - 1 / (1 + move), rel=1e-14)


def test_quanto_perpetual():
    # 0.0001 BTC per dollar of the coin's price. Coin from 100 to 120 (+20 %), BTC from 40,000 to
    # 36,000 (-10 %): 0.0001 * 20 = 0.002 BTC, each worth 36,000: 72 USD.
    perpetual = contract(Kind.PERPETUAL, Settlement.QUANTO, multiplier=1e-4)
    gain = revalue(perpetual, state([100, 40_000], 100), moves(2, price=[[0.2, -0.1]]), FLAT)
    assert gain == pytest.approx(np.array([[72.0]]), rel=1e-14)


def test_linear_option():
    # Call struck at 100 on forward 100, volatility 40 %, a quarter: V0 = 7.965567455405797 (the
    # at-the-money value is 100 (2 Φ(0.1) - 1)). With price +5 % and volatility +50 % to 60 %:
    # forward 105, V = 15.011..., from the fifty-digit formula.
    option = contract(Kind.OPTION, strike=100.0, is_call=True, time_to_expiry=0.25)
    market = state([100], 100, 0.4)
    gain = revalue(option, market, moves(price=[0.05], volatility=[0.5]), FLAT)
    assert contract_value(option, market)[0] == pytest.approx(7.965567455405797, rel=1e-14)
    after = float(truth(105, 100, mp.mpf("0.6"), mp.mpf("0.25"), True))
    assert gain[0, 0] == pytest.approx(after - 7.965567455405797, abs=1e-12)


def test_inverse_option():
    # At no volatility an option is worth intrinsic value. Call struck at 10,000 on forward 12,000
    # with index 11,000: coin value 2,000/12,000 = 1/6, in cash 11,000/6 = 1,833.33. Price +25 %:
    # forward 15,000, coin value 5,000/15,000 = 1/3, index 13,750, in cash 4,583.33: gain 2,750.
    option = contract(
        Kind.OPTION, Settlement.INVERSE, strike=10_000.0, is_call=True, time_to_expiry=0.25
    )
    market = state([11_000], 12_000, 0.0)
    assert contract_value(option, market) == pytest.approx(np.array([11_000 / 6]), rel=1e-15)
    gain = revalue(option, market, moves(price=[0.25]), FLAT)
    assert gain == pytest.approx(np.array([[2750.0]]), rel=1e-14)


def test_inverse_option_pays_what_the_exchange_says():
    table = GOLDEN["deribit_inverse_payoff"]
    for row in table["rows"]:
        case = dict(zip(table["columns"], row, strict=True))
        delivery = case["delivery_price"]
        option = contract(
            Kind.OPTION,
            Settlement.INVERSE,
            strike=case["strike"],
            is_call=case["is_call"],
            time_to_expiry=1e-9,
        )
        in_coin = contract_value(option, state([delivery], delivery))[0] / delivery
        assert in_coin == pytest.approx(case["payoff"], abs=table["tolerance"])
        if case["profit"] is not None:
            # Bought at the money for the premium, carried to delivery.
            start = state([case["strike"]], case["strike"])
            gain = revalue(option, start, moves(price=[delivery / case["strike"] - 1]), FLAT)
            profit = gain[0, 0] / delivery - case["premium"]
            assert profit == pytest.approx(case["profit"], abs=table["tolerance"])


def test_futures_and_perpetuals_have_no_value_and_spot_its_index():
    future = contract(Kind.FUTURE, Settlement.INVERSE, multiplier=10.0, time_to_expiry=0.2)
    assert contract_value(future, state([100], 101)).tolist() == [0.0]
    assert contract_value(contract(Kind.PERPETUAL), state([100], 101)).tolist() == [0.0]
    spot = contract(Kind.SPOT, multiplier=3.0)
    assert contract_value(spot, state([100], 101)).tolist() == [300.0]


# The volatility shock.


def test_a_volatility_shock_scales_with_tenor():
    # 30 days: as given. 7.5 days: (30/7.5)^0.30 = 1.5157. 120 days: (30/120)^0.13 = 0.8351.
    # Six hours: as one day, 30^0.30 = 2.7742.
    scale = VolatilityTenor().scale(np.array([30.0, 7.5, 120.0, 0.25]) / 365)
    assert scale == pytest.approx(
        [1.0, 1.5157165665103982, 0.835087919428369, 2.774191114672181], rel=1e-12
    )


def test_minimum_volatility():
    # Volatility 8 % cut by 90 % would be 0.8 %; it stops at 5 %.
    option = contract(Kind.OPTION, strike=100.0, is_call=True, time_to_expiry=30 / 365)
    market = state([100], 100, 0.08)
    cut = revalue(option, market, moves(volatility=[-0.9, -5.0]), VolatilityTenor())
    at_least = black76(100.0, 100.0, [0.05, 0.08], 30 / 365, True)
    assert cut[0] == pytest.approx(np.repeat(at_least[0] - at_least[1], 2), abs=1e-12)


def test_nothing_moves_nothing_gained():
    instruments, market, _ = random_book(300, 1, seed=3)
    still = moves(3, price=np.zeros((5, 3)))
    tenor = replace(VolatilityTenor(), minimum_volatility=0.0)
    assert (revalue(instruments, market, still, tenor) == 0.0).all()


# The twin, the truth and the bits.


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 40), st.integers(0, 40), st.integers(0, 2**32))
def test_slow_twin(size, scenarios, seed):
    instruments, market, shocks = random_book(size, scenarios, seed)
    fast = revalue(instruments, market, shocks, VolatilityTenor())
    slow = slow_revalue(instruments, market, shocks, VolatilityTenor())
    assert fast.shape == slow.shape == (size, scenarios)
    assert fast.flags.c_contiguous
    assert (np.abs(fast - slow) <= 1e-13 * size_of(instruments, market, shocks)).all()
    assert (fast[~market.priced] == 0.0).all()


@settings(deadline=None, max_examples=100)
@given(
    arrays(np.float64, 8, elements=st.floats(-0.999, 50.0)),
    arrays(np.float64, 8, elements=st.floats(-2.0, 50.0)),
    st.floats(-9.0, 9.0),
    st.floats(-6.0, 1.5),
    st.floats(1e-6, 10.0),
    st.booleans(),
)
def test_option_cells_against_fifty_digits(price, volatility, distance, decade, years, is_call):
    base = 10.0**decade / np.sqrt(years)
    strike = 100.0 * np.exp(np.clip(distance * 10.0**decade, -200.0, 200.0))
    option = contract(Kind.OPTION, strike=strike, is_call=is_call, time_to_expiry=years)
    found = revalue(
        option, state([100], 100, base), moves(price=price, volatility=volatility), FLAT
    )
    before = truth(100.0, strike, base, years, is_call)
    for j in range(len(price)):
        # Forward and volatility as rounded: the error in question is that of the value.
        forward = 100.0 * (1.0 + price[j])
        shocked = max(base * (1.0 + volatility[j]), 0.0)
        exact = truth(forward, strike, shocked, years, is_call) - before
        assert abs(found[0, j] - exact) <= 4e-14 * max(forward, strike, 100.0)


def test_bits_do_not_depend_on_how_the_cube_is_cut():
    instruments, market, shocks = random_book(61, 1100, seed=11)
    whole = revalue(instruments, market, shocks, VolatilityTenor())
    rng = np.random.default_rng(12)
    for width in (1, 2, 3, 5, 7, 13, 64, 511, 513, 1099):
        start = int(rng.integers(0, 1100 - width + 1))
        part = Shocks(
            **{f.name: getattr(shocks, f.name)[start : start + width] for f in fields(Shocks)}
        )
        cut = revalue(instruments, market, part, VolatilityTenor())
        assert (cut == whole[:, start : start + width]).all()
    for rows in (slice(0, 1), slice(7, 10), slice(30, 61), rng.permutation(61)):
        some = MarketState(
            market.index, market.forward[rows], market.volatility[rows], market.priced[rows]
        )
        cut = revalue(instruments.take(rows), some, shocks, VolatilityTenor())
        assert (cut == whole[rows]).all()


def test_threads_agree():
    book = (*random_book(40, 700, seed=13), VolatilityTenor())
    alone = revalue(*book)
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda _: revalue(*book), range(8)))
    assert all((one == alone).all() for one in together)


# What is refused.


def test_quanto_options_are_refused():
    option = contract(Kind.OPTION, Settlement.QUANTO, strike=100.0, time_to_expiry=0.1)
    market = state([100, 1], 100, 0.5)
    with pytest.raises(ValueError, match="QUANTO_OPTION: 1 priced quanto options, the first at"):
        revalue(option, market, moves(2, price=[[0.0, 0.0]]), FLAT)
    with pytest.raises(ValueError, match="QUANTO_OPTION"):
        contract_value(option, market)
    unpriced = replace(market, priced=np.array([False]))
    assert revalue(option, unpriced, moves(2, price=[[0.1, 0.0]]), FLAT).tolist() == [[0.0]]


@pytest.mark.parametrize(
    ("terms", "forward", "volatility", "named"),
    [
        ({}, 0.0, 0.5, r"forward is 0.0 at priced row 0 \(1 such rows\)"),
        ({}, np.nan, 0.5, "forward is nan"),
        ({}, 100.0, -0.1, "volatility is -0.1"),
        ({"strike": np.inf}, 100.0, 0.5, "strike is inf"),
        ({"time_to_expiry": 0.0}, 100.0, 0.5, "time_to_expiry is 0.0"),
    ],
)
def test_rows_that_cannot_be_priced_are_refused(terms, forward, volatility, named):
    option = contract(Kind.OPTION, **({"strike": 100.0, "time_to_expiry": 0.1} | terms))
    market = state([100], forward, volatility)
    with pytest.raises(ValueError, match=named):
        revalue(option, market, moves(price=[0.0]), FLAT)
    with pytest.raises(ValueError, match="mark the rows as not priced"):
        contract_value(option, market)


def test_a_basis_that_leaves_no_forward_is_refused():
    future = contract(Kind.FUTURE, time_to_expiry=2.0)
    with pytest.raises(ValueError, match=r"forward_basis moves the forward of row 0 by -1\.2"):
        revalue(future, state([100], 100), moves(forward_basis=[0.1, -0.6]), FLAT)
    perpetual = contract(Kind.PERPETUAL)
    with pytest.raises(ValueError, match=r"perpetual_basis moves the forward of row 0 by -1\.0"):
        revalue(perpetual, state([100], 100), moves(perpetual_basis=[-1.0]), FLAT)
