"""Protocols through the engine: their own numbers, their closed forms, and the laws of layers."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from risk.collateral import AssetHoldings, CollateralRule, match_collateral
from risk.margin import HELD, Holdings
from risk.protocols import aave, compound, drift, dydx, lending, maker, mango, morpho
from risk.summation import BLOCK_ACCOUNTS
from tests.risk.protocol_books import ProtocolBook, protocol, weights

GOLDEN = Path(__file__).parents[1] / "golden"
VECTORS = {
    one["id"]: one
    for name in ("margin_vectors", "margin_vectors_more")
    for one in json.loads((GOLDEN / f"{name}.json").read_text())["vectors"]
}
SETTINGS = settings(deadline=None, max_examples=80)
COINS = 3
AT_PAR = weights(1.0, 1.0)

AMOUNT = st.just(0.0) | st.floats(0.01, 1e3)
SIGNED = st.just(0.0) | st.floats(0.01, 1e3) | st.floats(-1e3, -0.01)
PRICE = st.floats(0.1, 1e3)


def three(element):
    return st.lists(element, min_size=COINS, max_size=COINS).map(np.array)


def close(found, wanted, scale):
    """Agree to rounding of the amounts that were added up."""
    return found == pytest.approx(wanted, abs=1e-12 * max(1.0, float(scale)))


def factor_of(margin, owed):
    """The health factor, read off equity, maintenance and what is owed."""
    return (margin.equity - margin.maintenance + owed) / owed


# The protocols' own numbers.


@pytest.mark.parametrize("name", ["aave.hf.0.05", "aave.hf.0.03"])
def test_aave_health_factors(name):
    inputs, expected = VECTORS[name]["inputs"], VECTORS[name]["expected"]
    threshold = inputs["liquidation_threshold"]
    book = ProtocolBook(
        protocol(
            [{"held": weights(0.0, 0.0), "owed": AT_PAR}],
            [{"assets": ["a0"]} | weights(threshold, threshold)],
        ),
        [1.0],
    )
    found = book.margin(spot=[-inputs["debt"]], asset=[inputs["collateral"]])
    assert factor_of(found, inputs["debt"])[0] == pytest.approx(
        expected["health_factor"], rel=1e-12
    )


def test_aave_without_debt_cannot_be_liquidated():
    """The protocol's own tools write an infinite factor as -1."""
    inputs, expected = VECTORS["aave.hf.nodebt"]["inputs"], VECTORS["aave.hf.nodebt"]["expected"]
    threshold = inputs["liquidation_threshold"]
    rules = [{"held": AT_PAR, "owed": AT_PAR}]
    assets = [{"assets": ["a0"]} | weights(threshold, threshold)]
    found = ProtocolBook(protocol(rules, assets), [1.0]).margin(asset=[inputs["collateral"]])
    covered = found.equity[0] - found.maintenance[0]
    assert covered == inputs["collateral"] * threshold
    assert (expected["health_factor"], lending.coverage(covered, 0.0).item()) == (-1, np.inf)


@pytest.mark.parametrize(
    ("name", "total"), [("mango.health1.10", "deposits"), ("mango.health1.11", "borrows")]
)
def test_mango_initial_health_with_weights_scaled(name, total):
    vector = VECTORS[name]
    inputs, price = vector["inputs"], np.array([1.0, 5.0, 10.0])
    pairs = {"held": (0.8, 0.5, 0.5), "owed": (1.2, 1.5, 1.5)}
    starts = inputs[f"{total[:-1]}_scale_start_quote"]
    rules = []
    for coin in range(COINS):
        rule = {"underlyings": [f"c{coin}"]}
        rule |= {
            "held": weights(pairs["held"][coin], 1.0),
            "owed": weights(pairs["owed"][coin], 1.0),
        }
        value = price[coin] * inputs[total][coin]
        rules.append(rule | {total: {"value": value, "start": starts[coin]}})
    balance = np.array([inputs[f"token{coin + 1}"] for coin in range(COINS)])
    found = ProtocolBook(protocol(rules), price).margin(spot=balance)
    wanted = vector["expected"]["init_health"]
    assert found.equity[0] - found.requirement[0] == pytest.approx(wanted, abs=1e-7)


@pytest.mark.parametrize(
    "name",
    ["drift.imf.1000.0", "drift.imf.1000.0.01", "drift.imf.1e9", "drift.imf.0.1",
     "drift.imf.0.00001", "drift.imf.0.1.large"],
)  # fmt: skip
@pytest.mark.parametrize("as_asset", [False, True])
def test_drift_weights_by_size(name, as_asset):
    inputs, expected = VECTORS[name]["inputs"], VECTORS[name]["expected"]
    asset, debt = inputs["init_asset_weight"], inputs.get("init_liab_weight", 1.0)
    size, factor = inputs["size_units"], inputs["imf_factor"]
    rule = {"held": weights(asset, 1.0), "owed": weights(debt, 1.0), "size_factor": factor}
    collateral = {"assets": ["a0"], "size_factor": factor} | weights(asset, 1.0)
    book = ProtocolBook(protocol([rule], [collateral]), [2.0])
    held = book.margin(asset=[size]) if as_asset else book.margin(spot=[size])
    # The program truncates weights to four decimals.
    weight = 1.0 - held.requirement[0] / (2.0 * size)
    assert weight == pytest.approx(expected["asset_weight"], abs=1.01e-4)
    if "liab_weight" in expected and not as_asset:
        owed = book.margin(spot=[-size])
        weight = 1.0 + owed.requirement[0] / (2.0 * size)
        assert weight == pytest.approx(expected["liab_weight"], abs=1.01e-4)


@pytest.mark.parametrize("name", [one for one in VECTORS if one.startswith("drift.scaled")])
def test_drift_weights_by_all_deposits(name):
    inputs, expected = VECTORS[name]["inputs"], VECTORS[name]["expected"]
    total = {"value": inputs["deposits"] * inputs["price"], "start": inputs["scale_start_usd"]}
    collateral = {"assets": ["a0"], "deposits": total}
    collateral |= weights(inputs["init_asset_weight"], 1.0)
    book = ProtocolBook(protocol([{"held": AT_PAR, "owed": AT_PAR}], [collateral]), [25.0])
    found = book.margin(asset=[4.0])
    weight = 1.0 - found.requirement[0] / 100.0
    assert weight == pytest.approx(expected["asset_weight"], abs=1e-4)


@pytest.mark.parametrize(
    "name", ["dydx.20pct", "dydx.oimf100", "dydx.oimf60", "dydx.oimf72", "dydx.5pct"]
)
def test_dydx_requirements_scaled_with_open_interest(name):
    inputs, expected = VECTORS[name]["inputs"], VECTORS[name]["expected"]
    interest, lower, upper = inputs.get("open_interest_lower_upper_caps") or (0, 0, 0)
    unit = 10.0 ** inputs["atomic_resolution"]
    price = inputs["price"] * 10.0 ** inputs["price_exponent"]
    share = inputs["initial_margin_ppm"] / 1e6
    rule = {
        "kind": "perpetual",
        "form": "fraction",
        "price": "index",
        **weights(share, share * inputs["maintenance_fraction_ppm"] / 1e6),
        "open_interest": {
            "value": interest * unit * price,
            "lower_cap": lower / 1e6,
            "upper_cap": upper / 1e6,
        },
    }
    found = ProtocolBook(protocol([rule]), [price]).margin(
        perpetual=[inputs["base_quantums"] * unit]
    )
    # Whole quantums there, rounded up.
    assert found.requirement[0] * 1e6 == pytest.approx(expected["initial"], abs=1.0)
    assert found.maintenance[0] * 1e6 == pytest.approx(expected["maintenance"], abs=1.0)


# The closed forms.

LENDING = [(0.8, 0.83), (0.7, 0.75), (0.0, 0.0)]


def lender(pairs, debts=None):
    rules = [
        {"underlyings": [f"c{coin}"], "held": weights(*pair), "owed": AT_PAR}
        for coin, pair in enumerate(pairs)
        if debts is None or coin in debts
    ]
    return protocol(
        rules, [{"assets": [f"a{coin}"]} | weights(*pair) for coin, pair in enumerate(pairs)]
    )


@SETTINGS
@given(three(SIGNED), three(AMOUNT), three(PRICE))
def test_aave(spot, asset, price):
    found = ProtocolBook(lender(LENDING), price).margin(spot=spot, asset=asset)
    ratio, threshold = (np.array(column) for column in zip(*LENDING, strict=True))
    reserves = aave.Reserves(ratio, threshold)
    held, debt = asset + np.maximum(spot, 0.0), np.maximum(-spot, 0.0)
    scale, owed = price @ (held + debt), float(price @ debt)
    surplus = found.equity[0] - found.maintenance[0]
    assert close(surplus, held * threshold @ price - owed, scale)
    room = aave.borrow_capacity(held, debt, price, reserves)
    assert close(max(found.equity[0] - found.requirement[0], 0.0), float(room), scale)
    if owed:
        factor = float(aave.health_factor(held, debt, price, reserves))
        assert factor_of(found, owed)[0] == pytest.approx(factor, abs=1e-12 * scale / owed)
        if abs(surplus) > 1e-9 * scale:
            assert (found.equity[0] >= found.maintenance[0]) == (factor >= 1.0)


@SETTINGS
@given(AMOUNT, three(AMOUNT), three(PRICE))
def test_aave_in_efficiency_mode(debt, asset, price):
    """A rule book of one category: members 0 and 1 at its weights, nothing but 0 is lent."""
    ratio, threshold = (np.array(column) for column in zip(*LENDING, strict=True))
    mode = aave.EfficiencyMode(
        np.array([True, True, False]), np.array([True, False, False]), 0.93, 0.95
    )
    owed = np.array([debt, 0.0, 0.0])
    lifted = aave.in_efficiency_mode(aave.Reserves(ratio, threshold), mode, [True], owed[None])
    pairs = [(0.93, 0.95), (0.93, 0.95), LENDING[2]]
    book = ProtocolBook(lender(pairs, debts=[0]), price)
    found = book.margin(spot=-owed, asset=asset)
    scale = price @ (asset + owed)
    room = float(aave.borrow_capacity(asset[None], owed[None], price, lifted)[0])
    assert close(max(found.equity[0] - found.requirement[0], 0.0), room, scale)
    if debt:
        value = float(price @ owed)
        factor = float(aave.health_factor(asset[None], owed[None], price, lifted)[0])
        assert factor_of(found, value)[0] == pytest.approx(factor, abs=1e-12 * scale / value)
    # What the category does not lend is under no rule.
    assert book.margin(spot=[0.0, -1.0, 0.0], asset=asset).status[0] == HELD


@SETTINGS
@given(AMOUNT, three(AMOUNT), three(PRICE))
def test_compound(debt, asset, price):
    """Coin 0 is the base asset; it backs nothing as collateral."""
    factors = [(1.0, 1.0), (0.7, 0.8), (0.6, 0.65)]
    asset = asset * [0.0, 1.0, 1.0]
    found = ProtocolBook(lender(factors, debts=[0]), price).margin(
        spot=[-debt, 0.0, 0.0], asset=asset
    )
    market = compound.CollateralAssets(
        np.array([0.7, 0.6]), np.array([0.8, 0.65]), np.array([0.95, 0.9])
    )
    parts = (asset[1:], debt, price[1:], price[0], market)
    scale = price @ asset + debt * price[0]
    room = float(compound.borrow_capacity(*parts))
    assert close(max(found.equity[0] - found.requirement[0], 0.0), room, scale)
    if debt:
        owed = debt * price[0]
        factor = float(compound.health_factor(*parts))
        assert factor_of(found, owed)[0] == pytest.approx(factor, abs=1e-12 * scale / owed)


@SETTINGS
@given(AMOUNT, AMOUNT, PRICE, PRICE, st.floats(0.3, 0.98))
def test_isolated_markets(held, owed, price, loan_price, ltv):
    """Morpho and Maker: coin 0 is the collateral, coin 1 the loan; both bound by one number."""
    rules = protocol(
        [{"underlyings": ["c1"], "held": weights(0.0, 0.0), "owed": AT_PAR}],
        [{"assets": ["a0"]} | weights(ltv, ltv)],
    )
    found = ProtocolBook(rules, [price, loan_price]).margin(spot=[0.0, -owed], asset=[held, 0.0])
    debt, scale = owed * loan_price, held * price + owed * loan_price
    assert found.requirement[0] == found.maintenance[0]
    room = float(morpho.borrow_capacity(held, debt, price, ltv))
    assert close(max(found.equity[0] - found.requirement[0], 0.0), room, scale)
    if owed:
        for factor in (
            morpho.health_factor(held, debt, price, ltv),
            maker.health_factor(held, debt, price, 1.0 / ltv),
        ):
            assert factor_of(found, debt)[0] == pytest.approx(
                float(factor), abs=1e-12 * scale / debt
            )


@SETTINGS
@given(three(SIGNED), three(SIGNED), three(AMOUNT), three(PRICE))
def test_mango(spot, perpetual, asset, price):
    """Coin 0 is the settlement token at weight one; gains are settled, so a perpetual owes."""
    token = {0: (AT_PAR, AT_PAR), 1: (weights(0.8, 0.9), weights(1.2, 1.1))}
    token[2] = (weights(0.5, 0.7), weights(1.5, 1.4))
    of_market = [(weights(0.9, 0.95), weights(1.1, 1.05))] * COINS
    rules = [
        {"underlyings": [f"c{coin}"], "held": held, "owed": owed}
        for coin, (held, owed) in token.items()
    ]
    rules += [
        {"kind": "perpetual", "underlyings": [f"c{coin}"], "held": held, "owed": owed}
        for coin, (held, owed) in enumerate(of_market)
    ]
    collateral = [{"assets": ["a0"]} | weights(1.0, 1.0)]
    book = ProtocolBook(protocol(rules, collateral), price)
    # Cash alone is collateral: other tokens stand in one balance each, as there.
    cash = asset * [1.0, 0.0, 0.0]
    found = book.margin(spot=spot, perpetual=perpetual, asset=cash)
    scale = price @ (np.abs(spot) + np.abs(perpetual) + cash)
    for which, asked in (("initial", found.requirement), ("maintenance", found.maintenance)):
        tokens = mango.Tokens(
            price,
            np.array([token[coin][0][which] for coin in range(COINS)]),
            np.array([token[coin][1][which] for coin in range(COINS)]),
        )
        # Perpetuals are counted in units of the settlement token.
        markets = price / price[0]
        positions = [
            mango.Perpetual(
                markets[coin], held[which], owed[which], 1.0, 0,
                perpetual[coin], -perpetual[coin] * markets[coin],
            )
            for coin, (held, owed) in enumerate(of_market)
        ]  # fmt: skip
        health = float(mango.health(tokens, spot + cash, positions))
        assert close(found.equity[0] - asked[0], health, 10.0 * scale)


@SETTINGS
@given(three(SIGNED), three(SIGNED), AMOUNT, three(PRICE), st.sampled_from([0.0, 0.001, 0.05]))
def test_drift(spot, perpetual, cash, price, factor):
    """Coin 0 is the quote asset at a price of one."""
    price = np.concatenate([[1.0], price[1:]])
    held, owed, ratio = weights(0.8, 0.9), weights(1.2, 1.1), weights(0.1, 0.05)
    rules = [{"underlyings": ["c0"], "held": AT_PAR, "owed": AT_PAR}]
    rules += [{"held": held, "owed": owed, "size_factor": factor}]
    rules += [
        {"kind": "perpetual", "form": "fraction", "price": "index", "size_factor": factor} | ratio
    ]
    book = ProtocolBook(protocol(rules, [{"assets": ["a0"]} | AT_PAR]), price)
    spot = spot * [0.0, 1.0, 1.0]
    found = book.margin(spot=spot, perpetual=perpetual, asset=[cash, 0.0, 0.0])
    scale = price @ (np.abs(spot) + np.abs(perpetual)) + cash
    for which, asked in (("initial", found.requirement), ("maintenance", found.maintenance)):
        spots = [
            drift.Spot(
                spot[coin],
                drift.OraclePrice(price[coin]),
                drift.size_asset_weight(held[which], abs(spot[coin]), factor),
                drift.size_liability_weight(owed[which], abs(spot[coin]), factor),
            )
            for coin in (1, 2)
        ]
        perpetuals = [
            drift.Perpetual(
                perpetual[coin],
                price[coin],
                drift.size_liability_weight(ratio[which], abs(perpetual[coin]), factor),
            )
            for coin in range(COINS)
        ]
        wanted = drift.margin(drift.Spot(cash, drift.OraclePrice(1.0)), spots, perpetuals)
        assert close(found.equity[0] - asked[0], float(wanted.free_collateral), 5.0 * scale)


@SETTINGS
@given(
    three(st.integers(-(10**9), 10**9)), three(st.integers(1, 10**6)),
    st.integers(0, 10**12), st.floats(0.0, 3e6),
)  # fmt: skip
def test_dydx(quantums, price, interest, cash):
    """Units of a millionth, prices in whole dollars; the protocol rounds up to a quantum."""
    tier = dydx.LiquidityTier(50_000, 600_000, 10**12, 10**14)
    rules = [
        {
            "kind": "perpetual",
            "form": "fraction",
            "price": "index",
            "underlyings": [f"c{coin}"],
            **weights(0.05, 0.03),
            "open_interest": {
                "value": interest * int(price[coin]) / 1e6,
                "lower_cap": 1e6,
                "upper_cap": 1e8,
            },
        }
        for coin in range(COINS)
    ]
    found = ProtocolBook(protocol(rules), price).margin(perpetual=quantums / 1e6)
    wanted = [
        dydx.requirement(int(quantums[coin]), -6, int(price[coin]), 0, tier, interest)
        for coin in range(COINS)
    ]
    initial, keep = (
        sum(getattr(one, name) for one in wanted) for name in ("initial", "maintenance")
    )
    notional = sum(one.notional for one in wanted) / 1e6
    # A millionth of the share may fall on the other side of its truncation.
    about = 1e-5 + 1.1e-6 * notional
    assert found.requirement[0] == pytest.approx(initial / 1e6, abs=about)
    assert found.maintenance[0] == pytest.approx(keep / 1e6, abs=1e-5)


# Laws.


def many(accounts, seed=0):
    rng = np.random.default_rng(seed)
    shape = (accounts, COINS)
    drawn = [rng.normal(0.0, 5.0, shape) * (rng.random(shape) < 0.5) for _ in range(3)]
    return drawn[0], drawn[1], np.abs(drawn[2])


DRIFT = protocol(
    [
        {"held": weights(0.8, 0.9), "owed": weights(1.2, 1.1), "size_factor": 0.02},
        {"kind": "perpetual", "form": "fraction", "price": "mark", "size_factor": 0.01}
        | weights(0.1, 0.05),
    ],
    [{"assets": ["a0", "a1"], "size_factor": 0.02} | weights(0.8, 0.9)],
)


def test_layers_sum_and_maintenance_is_below():
    book = ProtocolBook(DRIFT, [1.0, 20.0, 300.0])
    found = book.margin(*many(500))
    assert (found.margin >= 0.0).all()
    assert found.requirement == pytest.approx(found.margin.sum(axis=1), rel=1e-12)
    assert (found.maintenance <= found.requirement * (1.0 + 1e-12)).all()
    assert found.excess.tolist() == (found.equity - found.requirement).tolist()
    haircut = DRIFT.layers.index("collateral_haircut")
    futures = DRIFT.layers.index("futures")
    assert (found.margin[:, haircut] > 0.0).any()
    assert (found.margin[:, futures] > 0.0).any()


def test_an_asset_that_no_rule_names_counts_for_nothing():
    book = ProtocolBook(DRIFT, [1.0, 20.0, 300.0])
    without = book.margin(spot=[0.0, -1.0, 0.0], asset=[100.0, 0.0, 0.0])
    with_more = book.margin(spot=[0.0, -1.0, 0.0], asset=[100.0, 0.0, 7.0])
    assert with_more.equity[0] - without.equity[0] == 2_100.0
    assert with_more.excess[0] == pytest.approx(without.excess[0], abs=1e-9)
    left = with_more.equity[0] - with_more.maintenance[0]
    assert left == pytest.approx(without.equity[0] - without.maintenance[0], abs=1e-9)


def test_chains_are_matched_whatever_their_letters_and_assets_by_them():
    rule = CollateralRule(
        assets=("WETH",), chains=("Ethereum",), initial=0.5, maintenance=0.6, source="s"
    )
    names, chains = ["WETH", "WETH", "weth", "WETH"], ["ethereum", "ETHEREUM", "Ethereum", "Base"]
    assert match_collateral([rule], names, chains).tolist() == [0, 0, -1, -1]


def part(holdings, start, stop):
    rows = slice(holdings.offsets[start], holdings.offsets[stop])
    held = slice(holdings.assets.offsets[start], holdings.assets.offsets[stop])
    return Holdings(
        offsets=holdings.offsets[start : stop + 1] - holdings.offsets[start],
        instrument=holdings.instrument[rows],
        quantity=holdings.quantity[rows],
        margin_mode=holdings.margin_mode[start:stop],
        collateral=holdings.collateral[start:stop],
        held=holdings.held[start:stop],
        assets=AssetHoldings(
            holdings.assets.offsets[start : stop + 1] - holdings.assets.offsets[start],
            holdings.assets.asset[held],
            holdings.assets.quantity[held],
        ),
    )


def test_bits_do_not_depend_on_shards_or_threads():
    book = ProtocolBook(DRIFT, [1.0, 20.0, 300.0])
    size = BLOCK_ACCOUNTS + 900
    holdings = book.holdings(*many(size, seed=5))
    whole = book.margin_of(holdings)
    with ThreadPoolExecutor(2) as pool:
        threaded = book.margin_of(holdings, map_blocks=pool.map)
    parts = [
        book.margin_of(part(holdings, *bounds))
        for bounds in ((0, BLOCK_ACCOUNTS), (BLOCK_ACCOUNTS, size))
    ]
    for name in ("margin", "maintenance", "equity", "excess"):
        wanted = getattr(whole, name)
        assert np.array_equal(wanted, getattr(threaded, name))
        assert np.array_equal(wanted, np.concatenate([getattr(one, name) for one in parts]))


def test_an_account_under_no_rule_is_held_and_the_others_are_not():
    rules = protocol([{"underlyings": ["c0"], "held": AT_PAR, "owed": AT_PAR}])
    book = ProtocolBook(rules, [1.0, 2.0])
    found = book.margin(spot=[[1.0, 0.0], [1.0, -1.0]], asset=[[3.0, 0.0], [3.0, 0.0]])
    assert (found.status == HELD).tolist() == [False, True]
    assert np.isnan([found.requirement[1], found.maintenance[1], found.equity[1]]).all()
    assert found.equity[0] == 4.0


@SETTINGS
@given(three(SIGNED), three(AMOUNT), st.floats(0.1, 100.0))
def test_twice_the_account_asks_twice_as_much(spot, asset, scale):
    book = ProtocolBook(lender(LENDING), [3.0, 40.0, 500.0])
    one = book.margin(spot=spot, asset=asset)
    more = book.margin(spot=scale * spot, asset=scale * asset)
    assert more.requirement == pytest.approx(scale * one.requirement, rel=1e-9, abs=1e-9)
    assert more.maintenance == pytest.approx(scale * one.maintenance, rel=1e-9, abs=1e-9)
