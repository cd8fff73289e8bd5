"""Standard margin of accounts against a twin, against published numbers and its own laws."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from risk.instruments import Kind, MarketState, Settlement
from risk.revaluation import contract_value
from risk.standard import (
    LAYERS,
    Feeds,
    margin_positions,
    settling_market,
    standard_margin,
    standard_terms,
)
from tests.risk.standard.books import (
    COINS,
    MARKET,
    UNIVERSE,
    VALUE,
    instruments_of,
    market_of,
    shipped,
    shipped_names,
    twin,
)

SPECS = {name: shipped(name) for name in shipped_names()}
DERIVE = SPECS["derive-standard-2025-01"]
_DERIBIT = SPECS["deribit-standard-2022-01"]
SPECS["growth-at-mark"] = _DERIBIT.model_copy(
    update={
        "rules": tuple(
            rule.model_copy(update={"price": "mark"}) if rule.form == "fraction" else rule
            for rule in _DERIBIT.rules
        )
    }
)
QUANTITIES = st.floats(-50.0, 50.0).filter(lambda q: q == 0.0 or abs(q) > 1e-6)
OPTION_ROWS = np.flatnonzero(UNIVERSE.kind == Kind.OPTION).tolist()
LINEAR_EXPIRY = [
    row
    for row in OPTION_ROWS
    if UNIVERSE.underlying[row] == 1
    and UNIVERSE.settlement[row] == Settlement.LINEAR
    and UNIVERSE.time_to_expiry[row] == 0.25
]


def accounts_in(rows):
    positions = st.tuples(st.sampled_from(rows), QUANTITIES)
    return st.lists(positions, max_size=12, unique_by=lambda position: position[0]).map(sorted)


ACCOUNT = accounts_in(range(len(UNIVERSE))) | accounts_in(LINEAR_EXPIRY)


def margin(accounts, spec, feeds=None, instruments=UNIVERSE, market=MARKET, value=VALUE):
    held = [len(account) for account in accounts]
    flat = [position for account in accounts for position in account]
    return standard_margin(
        np.concatenate([[0], np.cumsum(held)]).astype(np.int64),
        np.array([row for row, _ in flat], dtype=np.int32),
        np.array([quantity for _, quantity in flat], dtype=np.float64),
        instruments,
        market,
        value,
        spec,
        underlyings=COINS,
        feeds=feeds,
    )


@pytest.mark.parametrize("name", SPECS)
@settings(max_examples=30, deadline=None)
@given(accounts=st.lists(ACCOUNT, min_size=1, max_size=4), seed=st.integers(0, 9))
def test_the_kernel_does_what_the_twin_does(name, accounts, seed):
    spec = SPECS[name]
    confidence = np.random.default_rng(seed).uniform(0.0, 1.0, len(UNIVERSE))
    result = margin(accounts, spec, Feeds(confidence, stable_price=0.9 + 0.02 * seed))
    assert not result.held.any()
    for row, account in enumerate(accounts):
        initial, keep, layer = twin(
            account, spec, UNIVERSE, MARKET, VALUE, COINS, confidence, 0.9 + 0.02 * seed
        )
        assert result.initial[row] == pytest.approx(initial, rel=1e-9, abs=1e-6)
        assert result.maintenance[row] == pytest.approx(keep, rel=1e-9, abs=1e-6)
        for column, which in enumerate(LAYERS):
            assert result.layers[row, column] == pytest.approx(layer[which], rel=1e-9, abs=1e-6)


@settings(max_examples=60, deadline=None)
@given(account=ACCOUNT)
def test_layers_are_not_negative_and_sum(account):
    result = margin([account], DERIVE, Feeds(np.full(len(UNIVERSE), 0.3), 0.95))
    assert (result.layers >= 0.0).all()
    assert result.layers.sum() == result.initial[0]
    assert result.maintenance[0] >= 0.0
    value = sum(quantity * VALUE[row] for row, quantity in account if row in OPTION_ROWS)
    assert result.option_value[0] == pytest.approx(value)


@settings(max_examples=60, deadline=None)
@given(account=ACCOUNT)
def test_margining_an_expiry_together_never_asks_more(account):
    rules = tuple(
        rule.model_copy(
            update={
                "relief": "none",
                "unpaired_call_initial": None,
                "unpaired_call_maintenance": None,
            }
        )
        if rule.kind == "option"
        else rule
        for rule in DERIVE.rules
    )
    alone = margin([account], DERIVE.model_copy(update={"rules": rules}))
    together = margin([account], DERIVE)
    assert together.initial[0] <= alone.initial[0] * (1 + 1e-12)
    assert together.maintenance[0] <= alone.maintenance[0] * (1 + 1e-12)


@settings(max_examples=60, deadline=None)
@given(account=ACCOUNT, scale=st.floats(0.01, 100.0))
def test_twice_the_book_asks_twice_as_much(account, scale):
    """Without brackets and growth by size; those are there to break it."""
    one = margin([account], DERIVE)
    many = margin([[(row, quantity * scale) for row, quantity in account]], DERIVE)
    assert many.initial == pytest.approx(one.initial * scale, rel=1e-9, abs=1e-9)
    assert many.maintenance == pytest.approx(one.maintenance * scale, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("name", ["binance-standard-2022-01", "deribit-standard-2022-01"])
@settings(max_examples=30, deadline=None)
@given(account=ACCOUNT, scale=st.floats(1.0, 100.0))
def test_larger_positions_never_ask_less_than_their_share(name, account, scale):
    one = margin([account], SPECS[name])
    many = margin([[(row, quantity * scale) for row, quantity in account]], SPECS[name])
    assert many.initial[0] >= one.initial[0] * scale * (1 - 1e-9)
    assert many.maintenance[0] >= one.maintenance[0] * scale * (1 - 1e-9)


@settings(max_examples=60, deadline=None)
@given(account=ACCOUNT, data=st.data())
def test_order_of_positions_does_not_matter(account, data):
    shuffled = data.draw(st.permutations(account))
    one, other = margin([account], DERIVE), margin([shuffled], DERIVE)
    assert one.layers == pytest.approx(other.layers, rel=1e-12, abs=1e-9)
    assert one.maintenance == pytest.approx(other.maintenance, rel=1e-12, abs=1e-9)


@pytest.mark.parametrize("name", SPECS)
def test_long_options_need_nothing(name):
    result = margin([[(row, 3.0) for row in OPTION_ROWS]], SPECS[name], None)
    assert result.initial[0] == result.maintenance[0] == 0.0
    assert result.option_value[0] == pytest.approx(3.0 * VALUE[OPTION_ROWS].sum())


@settings(max_examples=60, deadline=None)
@given(account=ACCOUNT, row=st.sampled_from(LINEAR_EXPIRY))
def test_a_position_of_nothing_changes_nothing(account, row):
    """Above all, the strike of it is no settlement price at which losses are looked for."""
    without = [position for position in account if position[0] != row]
    one, other = margin([without], DERIVE), margin([sorted([*without, (row, 0.0)])], DERIVE)
    assert one.initial.tolist() == other.initial.tolist()
    assert one.maintenance.tolist() == other.maintenance.tolist()


def _calls(*legs, paying=(-1, -1, -1, -1)):
    """Margin calls ``(strike, quantity)`` of one expiry, marked at their intrinsic value."""
    rows = [
        {
            "underlying": 1,
            "is_call": True,
            "time_to_expiry": 0.1,
            "strike": strike,
            "settlement_underlying": coin,
        }
        for (strike, _), coin in zip(legs, paying, strict=False)
    ]
    instruments = instruments_of(rows)
    market = replace(market_of(instruments), forward=np.full(len(legs), 2_010.0))
    value = np.array([max(2_010.0 - strike, 0.0) for strike, _ in legs])
    account = [(row, quantity) for row, (_, quantity) in enumerate(legs)]
    return margin([account], DERIVE, None, instruments, market, value)


def test_unpaired_calls_are_charged_by_their_own_scale():
    """Together at 2,500: 1 x 1,500 - 1 x 1,300 = 200; 0.1 calls are unpaired."""
    naked = 0.1 * 2_010.0
    legs = ((1_000.0, -1.0), (1_200.0, 1.0), (2_500.0, -0.1))
    result = _calls(*legs)
    assert result.layers[0, :3] == pytest.approx([200.0, 0.0, 1.2 * naked])
    assert result.maintenance[0] == pytest.approx(200.0 + 1.1 * naked)
    # A strike of which nothing is held is no settlement price to look at.
    more = _calls(*legs, (5_000.0, 0.0))
    assert more.initial[0] == result.initial[0]
    assert more.maintenance[0] == result.maintenance[0]


def test_options_that_pay_different_currencies_are_not_margined_together():
    legs = ((1_000.0, -1.0), (1_200.0, 1.0))
    assert _calls(*legs).initial[0] == pytest.approx(200.0)
    assert _calls(*legs, paying=(-1, 2)).initial[0] > 1_000.0


def test_options_of_one_expiry_are_grouped_wherever_they_stand():
    """Interleaved with other expiries, coins and kinds, which canonical order does not rule out."""
    spread = [(LINEAR_EXPIRY[2], -1.0), (LINEAR_EXPIRY[4], 1.0)]
    others = [(row, 1.0) for row in OPTION_ROWS if row not in LINEAR_EXPIRY]
    mixed = [spread[0], *others, spread[1]]
    assert margin([mixed], DERIVE).initial[0] == margin([spread], DERIVE).initial[0] > 0.0


def test_the_same_bits_for_any_cut_of_the_accounts():
    rng = np.random.default_rng(3)
    accounts = 9_000
    offsets = np.concatenate([[0], np.cumsum(rng.integers(0, 8, accounts))]).astype(np.int64)
    instrument = rng.integers(0, len(UNIVERSE), offsets[-1]).astype(np.int32)
    quantity = rng.normal(size=offsets[-1])
    terms = standard_terms(UNIVERSE, MARKET, VALUE, DERIVE, underlyings=COINS)
    whole = margin_positions(offsets, instrument, quantity, terms)
    with ThreadPoolExecutor(2) as pool:
        threads = margin_positions(offsets, instrument, quantity, terms, map_blocks=pool.map)
    cut = offsets[4_096]
    tail = margin_positions(offsets[4_096:] - cut, instrument[cut:], quantity[cut:], terms)
    for name in ("initial", "maintenance", "layers", "option_value", "by_choice"):
        assert (getattr(whole, name) == getattr(threads, name)).all()
        assert (getattr(whole, name)[4_096:] == getattr(tail, name)).all()


def test_accounts_without_a_price_or_a_rule_are_held_back():
    priced = MARKET.priced.copy()
    priced[LINEAR_EXPIRY[0]] = False
    market = replace(MARKET, priced=priced)
    accounts = [[(LINEAR_EXPIRY[0], -1.0)], [(LINEAR_EXPIRY[1], -1.0)], []]
    result = margin(accounts, DERIVE, market=market)
    assert result.held.tolist() == [True, False, False]
    assert result.initial[0] == 0.0
    assert result.initial[1] > 0.0
    only_btc = tuple(rule for rule in DERIVE.rules if rule.underlyings == ("BTC", "ETH"))
    bare = DERIVE.model_copy(update={"rules": only_btc})
    perpetual = int(np.flatnonzero((UNIVERSE.kind == 2) & (UNIVERSE.underlying == 2))[0])
    assert margin([[(perpetual, 1.0)], accounts[1]], bare).held.tolist() == [True, False]


def test_an_account_under_our_own_rules_is_told_apart():
    perpetuals = np.flatnonzero(UNIVERSE.kind == Kind.PERPETUAL)
    linear, inverse = int(perpetuals[0]), int(perpetuals[3])
    result = margin([[(linear, 1.0)], [(linear, 1.0), (inverse, -1.0)], []], DERIVE)
    assert result.by_choice.tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"offsets": np.array([0, 3])}, "offsets must run from 0 to 2"),
        ({"offsets": np.array([0, 2, 1, 2])}, "offsets fall after account 1"),
        ({"instrument": np.array([0, 10_000])}, "not all rows of"),
        ({"quantity": np.array([1.0])}, "do not pair with 1 quantities"),
        ({"quantity": np.array([1.0, np.nan])}, "quantity is nan at position 1"),
    ],
)
def test_positions_that_cannot_be_meant_are_refused(change, message):
    arguments = {
        "offsets": np.array([0, 2]),
        "instrument": np.array([0, 1], np.int32),
        "quantity": np.ones(2),
        "terms": standard_terms(UNIVERSE, MARKET, VALUE, DERIVE, underlyings=COINS),
    }
    with pytest.raises(ValueError, match=message):
        margin_positions(**{**arguments, **change})


def test_prices_that_cannot_be_meant_are_refused():
    negative = VALUE.copy()
    negative[OPTION_ROWS[1]] = -1.0
    with pytest.raises(
        ValueError, match=f"value_per_contract is -1.0 at priced row {OPTION_ROWS[1]}"
    ):
        standard_terms(UNIVERSE, MARKET, negative, DERIVE, underlyings=COINS)
    no_index = replace(MARKET, index=np.array([30_000.0, 0.0, 100.0]))
    with pytest.raises(ValueError, match=r"index is 0\.0 at priced row"):
        standard_terms(UNIVERSE, no_index, VALUE, DERIVE, underlyings=COINS)
    with pytest.raises(ValueError, match="pass the names of the market's underlyings"):
        standard_terms(UNIVERSE, MARKET, VALUE, DERIVE)
    doubtful = Feeds(np.full(len(UNIVERSE), 1.5))
    with pytest.raises(ValueError, match=r"outside 0\.\.1"):
        standard_terms(UNIVERSE, MARKET, VALUE, DERIVE, underlyings=COINS, feeds=doubtful)


# Published numbers. Derive: TestStandardManager_Portfolio_Cases of derivexyz/v2-core, whose results
# are net margins cut to whole dollars, under its unit-test constants; volatility 0.5, index 2,000,
# the forward of 18 January 4.75 above it, seen from 1 January; perpetual 1 above the index.

_TEST_CONSTANTS = DERIVE.model_copy(
    update={
        "rules": tuple(
            rule.model_copy(update=update)
            for rule in DERIVE.rules
            for kind, update in {
                "option": {
                    "initial_minimum": 0.10,
                    "call_maintenance": 0.075,
                    "put_maintenance": 0.075,
                    "put_maintenance_of_mark": 0.075,
                },
                "perpetual": {"initial": 0.065, "maintenance": 0.05},
                "spot": {"factor": 0.8, "initial_scale": 1.0},
            }.items()
            if rule.kind == kind and not rule.choice
        ),
        "oracle_confidence": DERIVE.oracle_confidence.model_copy(
            update={"threshold": 0.4, "factor": 0.4}
        ),
        "depeg": DERIVE.depeg.model_copy(update={"threshold": 0.98, "factor": 1.2}),
    }
)
_EXPIRY = 17.0 + 8.0 / 24.0
_BELOW = np.nextafter(0.4, 0.0)
_PUBLISHED = [
    # name, legs, confidence, stable price, unrealised gain, maintenance, initial
    ("USDC_depeg", [("put", 2000, -1)], 1.0, 0.1, 0.0, -234, -2496),
    ("short_call_low_vol_conf", [("call", 2000, -1)], 0.1, 1.0, 0.0, -239, -1109),
    ("short_call_low_vol_and_fwd_confidence", [("call", 2000, -1)], _BELOW, 1.0, 0.0, -239, -869),
    ("short_call_low_spot_vol_fwd_confidence", [("call", 2000, -1)], 0.2, 1.0, 0.0, -239, -1029),
    ("long_call_low_spot_vol_fwd_confidence", [("call", 2000, 1)], 0.2, 1.0, 0.0, 0, 0),
    ("short_OTM_call", [("call", 2500, -1)], 1.0, 1.0, 0.0, -151, -201),
    ("short_put_with_0_strike_MaxLoss", [("put", 100, -1)], 1.0, 1.0, 0.0, -100, -100),
    ("long_ATM_perp", [("perp", 0, 1)], 1.0, 1.0, -4.0, -104, -134),
    ("short_OTM_perp", [("perp", 0, -1)], 1.0, 1.0, -501.0, -601, -631),
    ("long_eth_perp_low_perp_confidence", [("perp", 0, 1)], 0.1, 1.0, -4.0, -104, -854),
    ("long_perp_and_USDC_depeg", [("perp", 0, 1)], 1.0, 0.1, -4.0, -104, -2246),
    ("base_asset_low_spot_confidence", [("base", 0, 1)], 0.1, 1.0, 0.0, 1600, 880),
]


def _published_account(legs):
    rows = []
    for what, strike, _ in legs:
        if what in ("put", "call"):
            rows.append(
                {"strike": strike, "is_call": what == "call", "time_to_expiry": _EXPIRY / 365}
            )
        else:
            rows.append({"kind": Kind.PERPETUAL if what == "perp" else Kind.SPOT})
    instruments = instruments_of([{**row, "underlying": 1} for row in rows])
    market = market_of(instruments, volatility=0.5)
    forward = [2004.75 if what in ("put", "call") else 2001.0 for what, _, _ in legs]
    market = replace(market, forward=np.array(forward))
    return instruments, market, contract_value(instruments, market)


@pytest.mark.parametrize("case", _PUBLISHED, ids=lambda case: case[0])
def test_published_portfolios_of_derive(case):
    _, legs, confidence, stable, gain, maintenance, initial = case
    instruments, market, value = _published_account(legs)
    account = [(row, quantity) for row, (_, _, quantity) in enumerate(legs)]
    feeds = Feeds(np.full(len(legs), confidence), stable)
    result = margin([account], _TEST_CONSTANTS, feeds, instruments, market, value)
    held = sum(
        value[row] * quantity for row, quantity in account if instruments.kind[row] == Kind.SPOT
    )
    assert int(held + gain - result.maintenance[0]) == maintenance
    assert int(held + gain - result.initial[0]) == initial


def test_published_futures_of_deribit():
    """Deribit support, Linear Perpetual: BTC at 100,000, positions of 25 and 350 coins."""
    instruments = instruments_of(
        [
            {"kind": Kind.PERPETUAL},
            {
                "kind": Kind.PERPETUAL,
                "settlement": Settlement.INVERSE,
                "settlement_underlying": 0,
                "multiplier": 10.0,
            },
        ]
    )
    market = MarketState(
        np.array([100_000.0, 1.0, 1.0]), np.full(2, 101_000.0), np.zeros(2), np.ones(2, bool)
    )
    accounts = [[(0, 25.0)], [(0, -350.0)], [(1, 250_000.0)]]
    spec = SPECS["deribit-standard-2022-01"]
    result = margin(accounts, spec, None, instruments, market, np.zeros(2))
    assert result.initial == pytest.approx([53_125.0, 1_312_500.0, 53_125.0])
    assert result.maintenance[0] == pytest.approx(28_125.0)


def test_published_inverse_option_shape():
    """Deribit's formula by hand: index and forward 10,000, short calls and puts, in coins."""
    instruments = instruments_of(
        [
            {
                "settlement": Settlement.INVERSE,
                "settlement_underlying": 0,
                "strike": strike,
                "is_call": call,
                "time_to_expiry": 0.1,
            }
            for strike, call in ((10_700.0, True), (9_000.0, True), (9_300.0, False))
        ]
    )
    market = MarketState(
        np.array([10_000.0, 1.0, 1.0]), np.full(3, 10_000.0), np.ones(3), np.ones(3, bool)
    )
    coins = np.array([0.02, 0.12, 0.015])
    spec = SPECS["deribit-standard-2022-01"]
    result = margin(
        [[(row, -1.0)] for row in range(3)], spec, None, instruments, market, coins * 10_000.0
    )
    assert result.initial / 10_000.0 == pytest.approx([0.10 + 0.02, 0.15 + 0.12, 0.10 + 0.015])
    assert result.maintenance / 10_000.0 == pytest.approx([0.095, 0.195, 0.09])


def test_published_brackets_of_binance():
    """|rate x notional| - cum: 100,000 lies in the second bracket, 10 million in the fifth."""
    instruments = instruments_of([{"kind": Kind.PERPETUAL}])
    market = MarketState(
        np.array([100_000.0, 1.0, 1.0]), np.array([100_000.0]), np.zeros(1), np.ones(1, bool)
    )
    spec = SPECS["binance-standard-2022-01"]
    accounts = [[(0, 0.5)], [(0, 1.0)], [(0, -100.0)]]
    result = margin(accounts, spec, None, instruments, market, np.zeros(1))
    assert result.maintenance == pytest.approx([200.0, 450.0, 500_000.0 - 141_300.0])
    assert result.initial == pytest.approx([500.0, 1_000.0, 1_000_000.0])


def test_an_average_that_has_begun_moves_the_forward_of_options_only():
    minute = 1.0 / 525_600.0
    instruments = instruments_of(
        [
            {"strike": 30_000.0, "time_to_expiry": 10.0 * minute},
            {"strike": 30_000.0, "time_to_expiry": 31.0 * minute},
            {"kind": Kind.PERPETUAL},
        ]
    )
    market = market_of(instruments, premium=0.0)
    window = DERIVE.settlement_average.window_minutes
    settled = settling_market(instruments, market, np.full(3, 27_000.0), window)
    assert settled.forward == pytest.approx([28_000.0, 30_000.0, 30_000.0])


def test_the_worked_example_of_the_documentation():
    """docs/standard.md, section 5."""
    call = {"underlying": 1, "is_call": True, "time_to_expiry": 0.1}
    instruments = instruments_of([{**call, "strike": 2_100.0}, {**call, "strike": 2_300.0}])
    market = replace(market_of(instruments), forward=np.full(2, 2_010.0))
    value = np.array([60.0, 15.0])
    spread, more = [(0, -10.0), (1, 10.0)], [(0, -11.0), (1, 10.0)]
    lost_peg = Feeds(np.ones(2), stable_price=0.97)
    result = margin([spread], DERIVE, None, instruments, market, value)
    assert result.layers[0].tolist() == [2_000.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    assert result.maintenance[0] == 2_000.0
    assert result.option_value[0] == -450.0
    result = margin([more], DERIVE, lost_peg, instruments, market, value)
    assert result.layers[0] == pytest.approx([3_520.0, 0.0, 0.0, 0.0, 0.0, 880.0])
