import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from risk.pricing.black76 import black76, log_ratio, vega
from risk.pricing.implied_volatility import Status, implied_volatility
from storage.market import sample_market

ROUNDING = 2.0**-52


def assert_round_trip(forward, strike, deviation, years, is_call):
    """Volatility to price and back is as close as the roundings of the price allow.

    A price known to one rounding of its own size fixes the deviation (volatility times the root
    of time) to that rounding over the slope. Two more terms are the formula's own: forward and
    strike enter as rounded numbers, and the deviation is rounded.
    """
    volatility = deviation / np.sqrt(years)
    price = black76(forward, strike, volatility, years, is_call)
    found, status = implied_volatility(price, forward, strike, years, is_call)
    slope = vega(forward, strike, volatility, 1.0 * years) / np.sqrt(years)
    size = np.maximum(price, np.abs(forward - strike))
    with np.errstate(divide="ignore", over="ignore"):
        allowed = ROUNDING * (size / slope + 1.0 + deviation)
    solved = status == Status.OK
    error = np.abs(found - volatility) * np.sqrt(years)
    assert (error[solved] <= 16 * allowed[solved]).all()
    # Where nothing was found, nothing can be: a few roundings are worth a thousandth of it.
    assert (status[~solved] == Status.UNDETERMINED).all()
    assert (8 * allowed[~solved] >= 1e-3 * deviation[~solved]).all()
    assert (found[~solved] == 0.0).all()


def test_round_trip_over_the_whole_range():
    rng = np.random.default_rng(5)
    size = 50_000
    forward = np.exp(rng.normal(3.0, 3.0, size))
    far = rng.normal(0.0, 1.0, size) * 10.0 ** rng.uniform(-6, 1.5, size)
    deviation = 10.0 ** rng.uniform(-6, 1.5, size)
    years = 10.0 ** rng.uniform(-6, 1, size)
    assert_round_trip(forward, forward * np.exp(far), deviation, years, rng.random(size) < 0.5)


@settings(deadline=None, max_examples=100)
@given(
    arrays(np.float64, 8, elements=st.floats(-9, 9)),
    arrays(np.float64, 8, elements=st.floats(-5, 1)),
    arrays(np.float64, 8, elements=st.floats(1e-3, 1e5)),
    arrays(np.float64, 8, elements=st.floats(1e-5, 10.0)),
    arrays(np.bool_, 8),
)
def test_round_trip(distance, decade, forward, years, is_call):
    """Strikes within nine standard deviations, where an option has a price to invert."""
    deviation = 10.0**decade
    strike = forward * np.exp(np.clip(distance * deviation, -100, 100))
    assert_round_trip(forward, strike, deviation, years, is_call)


@settings(deadline=None, max_examples=100)
@given(st.floats(0.05, 3.0), st.floats(1e-3, 2.0), st.floats(-2.0, 2.0), st.booleans())
def test_every_ordinary_option_has_a_volatility(volatility, years, distance, is_call):
    strike = 100.0 * np.exp(distance * volatility * np.sqrt(years))
    price = black76(100.0, strike, volatility, years, is_call)
    found, status = implied_volatility(price, 100.0, strike, years, is_call)
    assert status == Status.OK
    assert found == pytest.approx(volatility, rel=1e-10)


@pytest.mark.parametrize(
    ("price", "forward", "strike", "years", "is_call", "status"),
    [
        (9.99, 110.0, 100.0, 0.5, True, Status.BELOW_INTRINSIC),
        (9.99, 90.0, 100.0, 0.5, False, Status.BELOW_INTRINSIC),
        (110.01, 110.0, 100.0, 0.5, True, Status.ABOVE_MAXIMUM),
        (100.01, 110.0, 100.0, 0.5, False, Status.ABOVE_MAXIMUM),
        (12.0, 110.0, 100.0, 0.0, True, Status.EXPIRED),
        (12.0, 110.0, 100.0, -1.0, True, Status.EXPIRED),
        (10.0, 110.0, 100.0, 0.5, True, Status.UNDETERMINED),  # intrinsic value, to the last bit
        (0.0, 90.0, 100.0, 0.5, True, Status.UNDETERMINED),
        (110.0, 110.0, 100.0, 0.5, True, Status.UNDETERMINED),  # the greatest possible
        (0.0, 0.0, 100.0, 0.5, True, Status.UNDETERMINED),
        (50.0, 50.0, 0.0, 0.5, True, Status.UNDETERMINED),
        (0.0, 0.0, 0.0, 0.5, True, Status.UNDETERMINED),
        (1e-3, 1e-310, 1.0, 0.5, False, Status.BELOW_INTRINSIC),
    ],
)
def test_status(price, forward, strike, years, is_call, status):
    volatility, found = implied_volatility(price, forward, strike, years, is_call)
    assert found == status
    assert volatility == 0.0


def test_one_rounding_below_intrinsic_is_not_below_intrinsic():
    price = np.nextafter(10.0, 0.0)
    assert implied_volatility(price, 110.0, 100.0, 0.5, True)[1] == Status.UNDETERMINED


def test_shapes_broadcast():
    volatility, status = implied_volatility(
        [[8.0], [9.0]], 100.0, np.array([95.0, 100.0, 105.0]), 0.25, True
    )
    assert volatility.shape == status.shape == (2, 3)
    assert status.dtype == np.int8
    assert (np.diff(volatility, axis=0) > 0.0).all()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ((np.nan, 100.0, 100.0, 1.0), "price is nan; allowed is a finite number of 0 or more"),
        ((1.0, -5.0, 100.0, 1.0), "forward is -5.0; allowed is a finite number of 0 or more"),
        ((1.0, 100.0, np.inf, 1.0), "strike is inf; allowed is a finite number of 0 or more"),
        ((1.0, 100.0, 100.0, np.nan), "time_to_expiry is nan; allowed is a finite number"),
    ],
)
def test_out_of_range_is_refused(arguments, named):
    with pytest.raises(ValueError, match=named):
        implied_volatility(*arguments, True)


def test_inputs_are_left_alone():
    price = np.array([8.0, 200.0])
    implied_volatility(price, 100.0, 100.0, 0.25, True)
    assert price.tolist() == [8.0, 200.0]
    assert log_ratio(np.array([0.0]), np.array([0.0])).tolist() == [0.0]


def test_a_real_chain_agrees_with_itself():
    """Call and put at one strike have one volatility, to the millionth in which marks are quoted.

    Quotes: Deribit's marks of every ETH option, in ETH, 2024-01-08. The expiries without a future
    of their own show the very forward that the marks were made from; where there is a future, the
    one shown is its price, up to a ten-thousandth away from the forward in the marks.
    """
    market = sample_market()
    quotes = market.quotes()
    forward, strike, mark = (quotes[name].to_numpy() for name in ("forward", "strike", "mark"))
    expiry = quotes["expiry"].to_numpy().astype("datetime64[s]")
    is_call = np.array(quotes["option_type"].to_pylist()) == "call"
    as_of = np.datetime64(market.as_of.replace(tzinfo=None), "s")
    years = (expiry - as_of).astype(np.float64) / (365 * 86400)
    volatility, status = implied_volatility(mark * forward, forward, strike, years, is_call)

    solved = status == Status.OK
    repriced = black76(forward, strike, volatility, years, is_call) / forward
    assert solved.mean() > 0.9
    assert (np.abs(repriced - mark)[solved] <= 1e-14).all()

    made_from_shown = expiry < np.datetime64("2024-01-12T00:00:00")
    put_at = {key: i for i, key in enumerate(zip(expiry, strike, strict=True)) if not is_call[i]}
    call = np.flatnonzero(is_call & made_from_shown)
    put = np.array([put_at[expiry[i], strike[i]] for i in call])
    slope = vega(forward, strike, volatility, years) / forward
    sharp = solved[call] & solved[put] & (slope[call] > 1e-4)  # a millionth moves it by 1 % or less
    assert sharp.sum() > 60
    call, put = call[sharp], put[sharp]
    assert (np.abs(volatility[call] - volatility[put]) <= 1.1e-6 / slope[call]).all()
