from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import zarr

from risk.instruments import Kind, Settlement
from risk.pricing.black76 import black76
from storage.market import IndexPrice, sample_market, write_market
from storage.tables import INSTRUMENTS, QUOTES
from workers.market import build_market, instrument_terms

MARCH = datetime(2024, 3, 29, 8, tzinfo=UTC)
APRIL = datetime(2024, 4, 26, 8, tzinfo=UTC)


def instrument(name, **terms):
    row = {
        "instrument": name,
        "kind": "perpetual",
        "settlement": "linear",
        "underlying": "ETH",
        "settlement_currency": "USD",
        "expiry": None,
        "strike": None,
        "option_type": None,
        "multiplier": 1.0,
        "lot_size": 1.0,
        "venue": "deribit",
        "protocol": "none",
        "chain": "none",
    }
    return row | terms


def option(name, underlying="ETH", expiry=APRIL, strike=2300.0, option_type="call", **terms):
    fixed = {"kind": "option", "settlement": "inverse", "settlement_currency": underlying}
    return instrument(
        name,
        **fixed | terms,
        underlying=underlying,
        expiry=expiry,
        strike=strike,
        option_type=option_type,
    )


def table(*rows):
    return pa.Table.from_pylist(list(rows), schema=INSTRUMENTS.schema)


@pytest.fixture(scope="module")
def market():
    return sample_market()


@pytest.fixture(scope="module")
def listed(market):
    """The chain's own options as instruments."""
    quotes = market.quotes().to_pylist()
    return table(
        *(
            option(q["instrument"], "ETH", q["expiry"], q["strike"], q["option_type"])
            for q in quotes
        )
    )


@pytest.fixture(scope="module")
def built(market, listed):
    return build_market(market, listed)


# ---- the real chain ------------------------------------------------------------------------


def test_surface_reproduces_the_marks_of_the_venue(built):
    """The median error is below 0.1 % of the forward: of all, each expiry, each moneyness."""
    surface = built.surface
    median = surface.mark_error_all.sel(quantile=0.5).item()
    assert median < 1.5e-4
    assert surface.mark_error.sel(quantile=0.5).max() < 5e-4
    assert surface.mark_error_by_moneyness.sel(quantile=0.5).max() < 5e-4
    assert surface.mark_error_all.sel(quantile=0.99).item() < 1e-3
    assert surface.quotes_by_moneyness.sum() == 684
    error = np.abs(built.mark_error.mark_error.values)
    assert np.median(error) == median
    assert (error > 1e-3).sum() <= 5


def test_the_worst_error_is_where_the_marks_themselves_allow_a_butterfly(market, built):
    """2400, 2500, 2600 calls of 2024-12-27: the middle one is marked too high for any surface."""
    worst = np.abs(built.mark_error.mark_error.values).argmax()
    assert built.mark_error.instrument.values[worst].startswith("ETH-27DEC24-2500-")
    quotes = market.quotes()
    mark = {
        strike: quotes.filter(pc.equal(quotes["instrument"], f"ETH-27DEC24-{strike}-C"))["mark"][0]
        for strike in (2400, 2500, 2600)
    }
    assert mark[2400].as_py() - 2 * mark[2500].as_py() + mark[2600].as_py() < -0.004


def test_prices_of_listed_options_come_from_the_state(market, listed, built):
    terms = instrument_terms(listed, built.underlyings, market.as_of)
    price = black76(
        built.state.forward,
        terms.strike,
        built.state.volatility,
        terms.time_to_expiry,
        terms.is_call,
    )
    error = np.abs(price / built.state.forward - market.quotes()["mark"].to_numpy())
    assert np.median(error) < 1.5e-4
    assert built.state.priced.all()
    assert not built.extrapolated.sum() > 8


def test_surface_is_free_of_arbitrage_and_of_findings(built):
    surface = built.surface
    assert surface.sizes["expiry"] == 11
    assert set(surface.method.values) == {"svi"}
    assert surface.butterfly_free.all()
    assert surface.calendar_free.all()
    assert surface.least_density.min() > 0.0
    assert surface.calendar_gain[1:].min() > 0.0
    assert surface.attrs["findings"] == []


def test_forwards_agree_with_put_call_parity(built):
    surface = built.surface
    assert np.abs(surface.parity_difference).max() < 5e-5
    assert surface.parity_discount.values == pytest.approx(np.ones(11), abs=5e-5)
    assert surface.forward.values[-1] == 2458.12


def test_every_usable_quote_has_an_implied_volatility_that_gives_its_mark(market, built):
    quotes, implied = market.quotes(), built.mark_error
    usable = implied.implied_status.values == 0
    assert usable.sum() == 682
    years = (
        quotes["expiry"].cast(pa.int64()).to_numpy() / 1e6 - market.as_of.timestamp()
    ) / 31_536_000
    forward = quotes["forward"].to_numpy()
    price = black76(
        forward,
        quotes["strike"].to_numpy(),
        implied.implied_volatility.values,
        years,
        pc.equal(quotes["option_type"], "call").to_numpy(zero_copy_only=False),
    )
    error = price / forward - quotes["mark"].to_numpy()
    assert np.abs(error[usable]).max() < 1e-14 * 3


def test_the_same_market_builds_to_the_same_bits(market, listed, built):
    again = build_market(market, listed)
    assert again.state.volatility.tobytes() == built.state.volatility.tobytes()
    assert again.surface.identical(built.surface)


@pytest.mark.parametrize("name", ["surface", "mark_error"])
def test_quality_can_be_stored(built, name):
    dataset = getattr(built, name)
    dataset.to_zarr(zarr.storage.MemoryStore(), consolidated=False, zarr_format=3)
    for variable in dataset.data_vars.values():
        if variable.dtype.kind == "f":
            assert np.isfinite(variable.values).all()


# ---- any instruments -----------------------------------------------------------------------


def test_forwards_of_every_kind(market):
    rows = table(
        instrument("ETH", kind="spot"),
        instrument("ETH-PERP"),
        instrument("ETH-MAR", kind="future", expiry=MARCH),
        instrument("ETH-APR", kind="future", expiry=APRIL),
        instrument("BTC-PERP", underlying="BTC"),
        instrument("BTC-MAR", underlying="BTC", kind="future", expiry=MARCH),
        instrument("SOL-MAR", underlying="SOL", kind="future", expiry=MARCH),
    )
    state = build_market(market, rows).state
    assert state.priced.all()
    assert not state.volatility.any()
    eth, btc, sol = 2222.19, 44081.6, 90.75
    chain = np.log(2293.97 / eth)
    assert state.index.tolist() == [btc, eth, sol]
    assert state.forward[[0, 1, 2, 4]] == pytest.approx([eth, eth, 2293.97, btc], rel=1e-14)
    assert state.forward[5] == pytest.approx(btc * np.exp(chain), rel=1e-14)
    assert state.forward[6] == pytest.approx(sol * np.exp(chain), rel=1e-14)
    assert np.log(2293.97 / eth) < np.log(state.forward[3] / eth) < np.log(2359.87 / eth)


def test_what_has_no_input_is_not_priced(market):
    rows = table(
        option("BTC-OPT", underlying="BTC"),
        instrument("DOGE-PERP", underlying="DOGE"),
        instrument("ETH-USDC", settlement_currency="USDC"),
        instrument("ETH-IN-DOGE", settlement="quanto", settlement_currency="DOGE"),
        instrument("ETH-OLD", kind="future", expiry=datetime(2024, 1, 5, 8, tzinfo=UTC)),
        option("ETH-OLD-OPT", expiry=datetime(2024, 1, 5, 8, tzinfo=UTC)),
        option("ETH-OPT"),
        instrument("ETH-IN-BTC", settlement="quanto", settlement_currency="BTC"),
        instrument("ETH-INV", settlement="inverse", settlement_currency="ETH"),
    )
    built = build_market(market, rows)
    assert built.state.priced.tolist() == [False] * 6 + [True] * 3
    assert not built.state.forward[:6].any()
    assert not built.state.volatility[:6].any()
    assert 0.66 < built.state.volatility[6] < 0.72
    assert not built.extrapolated.any()


def test_extrapolation_is_marked(market):
    rows = table(
        option("inside"),
        option("low", strike=50.0, option_type="put"),
        option("high", strike=50_000.0),
        option("late", expiry=datetime(2025, 6, 27, 8, tzinfo=UTC)),
        option("soon", expiry=datetime(2024, 1, 8, 16, tzinfo=UTC), strike=2225.0),
    )
    built = build_market(market, rows)
    assert built.extrapolated.tolist() == [False, True, True, True, True]
    assert built.state.priced.all()
    assert (built.state.volatility > 0.4).all()
    assert (built.state.volatility < 4.0).all()
    assert "wings" in built.surface.attrs["outside_quoted_strikes"]


def test_terms_are_the_declared_table_as_arrays(market):
    rows = table(
        option("a", option_type="put", strike=1800.0, multiplier=2.0),
        instrument("b", kind="spot", underlying="SOL"),
        instrument("c", settlement="quanto", settlement_currency="BTC", multiplier=1e-4),
        instrument("d", kind="future", expiry=MARCH, underlying="DOGE"),
    )
    terms = instrument_terms(rows, ("BTC", "ETH", "SOL"), market.as_of)
    assert terms.kind.tolist() == [Kind.OPTION, Kind.SPOT, Kind.PERPETUAL, Kind.FUTURE]
    assert terms.settlement.tolist()[::2] == [Settlement.INVERSE, Settlement.QUANTO]
    assert terms.underlying.tolist() == [1, 2, 1, -1]
    assert terms.settlement_underlying.tolist() == [1, -1, 0, -1]
    assert terms.multiplier.tolist() == [2.0, 1.0, 1e-4, 1.0]
    assert terms.strike.tolist() == [1800.0, 0.0, 0.0, 0.0]
    assert terms.is_call.tolist() == [False] * 4
    years = (MARCH - market.as_of).total_seconds() / 31_536_000
    assert terms.time_to_expiry[3] == pytest.approx(years, rel=1e-15)
    assert terms.time_to_expiry[1:3].tolist() == [0.0, 0.0]
    assert len(instrument_terms(rows.slice(0, 0), ("BTC",), market.as_of)) == 0


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (instrument("x", kind="swap"), r"ENUM_UNKNOWN: kind holds \['swap'\]; allowed are"),
        (instrument("x", settlement=""), r"ENUM_UNKNOWN: settlement holds \[''\]"),
        (option("x", option_type="C"), r"ENUM_UNKNOWN: option_type holds \['C'\]"),
        (option("x", option_type=None), r"ENUM_UNKNOWN: option_type holds \['None'\]"),
    ],
)
def test_unknown_words_are_refused(market, row, message):
    with pytest.raises(ValueError, match=message):
        instrument_terms(table(row), ("ETH",), market.as_of)


# ---- markets that are not the sample -------------------------------------------------------


def other_market(tmp_path, quotes):
    sample = sample_market()
    index = {
        coin: IndexPrice(entry.price, entry.timestamp, "test")
        for coin, entry in sample.index.items()
    }
    return write_market(tmp_path / "m", quotes, sample.prices().slice(0, 10), sample.as_of, index)


def test_a_thin_expiry_is_a_finding(tmp_path, market):
    quotes = market.quotes()
    expiry, strike = quotes["expiry"], quotes["strike"]
    thin = pc.and_(pc.equal(expiry, pa.scalar(MARCH, expiry.type)), pc.not_equal(strike, 2300.0))
    built = build_market(
        other_market(tmp_path, quotes.filter(pc.invert(thin))), table(option("x", expiry=MARCH))
    )
    assert built.surface.method.values[7] == "interpolated"
    assert built.surface.attrs["findings"] == [
        "SURFACE_THIN ETH 2024-03-29: 2 usable quotes, 6 strikes are needed for a curve; "
        "volatility is taken from the expiries beside it"
    ]
    assert built.state.priced.all()
    assert built.state.forward[0] == pytest.approx(2293.97, rel=1e-5)
    assert built.state.volatility[0] == pytest.approx(0.68, abs=0.03)


def test_a_market_without_quotes_prices_what_needs_none(tmp_path):
    market = other_market(tmp_path, QUOTES.schema.empty_table())
    rows = table(
        instrument("BTC-PERP", underlying="BTC"),
        instrument("ETH-MAR", kind="future", expiry=MARCH),
        option("ETH-OPT"),
    )
    built = build_market(market, rows)
    assert built.state.priced.tolist() == [True, True, False]
    assert built.state.forward[1] == 2222.19
    assert built.surface.sizes["expiry"] == 0
    assert built.mark_error.sizes["quote"] == 0
