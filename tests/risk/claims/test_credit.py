"""Unit values and credits, by hand and against a twin that walks down every token."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from risk.claims.credit import UnitCredit, fair_value, feed_bounds, token_findings, unit_credit
from risk.claims.findings import outcomes
from risk.claims.lookthrough import look_through
from risk.claims.tokens import Outcome, TokenKind
from tests.risk.claims.rules_made import bridge, feeds_of, moves_of, rules_of, scenario
from tests.risk.claims.tokens_made import WRAPPERS, Made


def credit_of(made, rules, totals=None, feeds=None, price=None) -> tuple[UnitCredit, list[str]]:
    tokens, names = made.build()
    held = np.array([(totals or {}).get(name, 0.0) for name in names.token])
    priced = feeds_of(names, **(feeds or {}))
    moves = moves_of(tokens, names, rules, **(price or {}))
    found = look_through(tokens)
    return unit_credit(tokens, names, priced, rules, held, moves, found), list(names.token)


def table_of(numbers, names):
    return {name: row.tolist() for name, row in zip(names, numbers, strict=True)}


def ether() -> Made:
    """Ether, staked, wrapped, bridged, lent, pledged in a vault and in a pool; and owed."""
    return (
        Made()
        .coin("ETH")
        .coin("USDC")
        .add("stETH", TokenKind.STAKED, [("ETH", 1.0)], protocol="stake")
        .add("wstETH", TokenKind.SHARE, [("stETH", 1.25)], protocol="stake")
        .add("far", TokenKind.BRIDGED, [("wstETH", 1.0)], chain="Arbitrum", bridge="span")
        .add("aFar", TokenKind.RECEIPT, [("far", 2.0)], chain="Arbitrum", protocol="lend")
        .add("vault", TokenKind.SHARE, [("aFar", 1.0)], chain="Arbitrum")
        .add("pool", TokenKind.LIQUIDITY, [("stETH", 1.0), ("USDC", 2_000.0)])
        .add("owed", TokenKind.DEBT, [("wstETH", 1.0)], protocol="lend")
    )


def test_assets_are_taken_at_the_lower_price_and_debts_at_the_higher():
    found, names = credit_of(ether(), rules_of(), feeds={"market": {"ETH": 1_960.0}})
    value = table_of(found.value, names)
    assert value["ETH"] == [1_960.0]
    assert value["wstETH"] == [2_450.0]
    assert value["owed"] == [2_500.0]
    credit = table_of(found.credit, names)
    assert credit["ETH"] == pytest.approx([1_568.0])
    assert credit["wstETH"] == pytest.approx([1_960.0])
    assert credit["owed"] == [2_500.0]


def test_the_market_moves_assets_by_the_coin_that_they_follow():
    found, names = credit_of(ether(), rules_of(), price={"ETH": [-0.5, 0.1], "BTC": [-0.9, 0.0]})
    value = table_of(found.value, names)
    assert value["ETH"] == pytest.approx([2_000.0, 1_000.0, 2_200.0])
    assert value["USDC"] == [1.0, 1.0, 1.0]
    assert value["owed"] == pytest.approx([2_500.0, 1_250.0, 2_750.0])
    fair = 2.0 * np.sqrt(2_000.0 * np.array([2_000.0, 1_000.0, 2_200.0]))
    assert value["pool"] == pytest.approx(fair)


def test_a_depeg_reaches_everything_that_contains_the_token_once():
    rules = rules_of(scenarios=[scenario(depegs={"stETH": 0.2})])
    found, names = credit_of(ether(), rules)
    left = {name: then / now for name, (now, then) in table_of(found.value, names).items()}
    assert left == pytest.approx(
        {
            "ETH": 1.0,
            "USDC": 1.0,
            "stETH": 0.8,
            "wstETH": 0.8,
            "far": 0.8,
            "aFar": 0.8,
            "vault": 0.8,
            "pool": 0.8**0.5,
            "owed": 1.0,
        }
    )
    assert (found.credit == found.value * found.ratio[:, np.newaxis]).all()


def test_a_depeg_of_an_asset_is_not_taken_again_over_a_bridge_of_the_same_name():
    made = Made().coin("USDC")
    made.add("USDC", TokenKind.BRIDGED, [("USDC", 1.0)], chain="Arbitrum", bridge="span")
    found, _ = credit_of(made, rules_of(scenarios=[scenario(depegs={"USDC": 0.5})]))
    assert found.value[:, 1].tolist() == [0.5, 0.5]


def test_a_failed_bridge_leaves_what_is_recovered_of_all_that_came_over_it():
    rules = rules_of(scenarios=[scenario(bridges={"span": 0.25})])
    found, names = credit_of(ether(), rules)
    credit = table_of(found.credit, names)
    for name in ("far", "aFar", "vault"):
        assert credit[name][1] == pytest.approx(0.25 * credit[name][0]), name
    for name in ("ETH", "wstETH", "pool", "owed"):
        assert credit[name][1] == credit[name][0], name


def test_a_halted_chain_takes_the_credit_and_leaves_the_value():
    rules = rules_of(scenarios=[scenario(halted_chains=["Arbitrum"])])
    found, names = credit_of(ether(), rules)
    assert found.value[:, 1].tolist() == found.value[:, 0].tolist()
    stopped = {name for name, (_, then) in table_of(found.credit, names).items() if then == 0.0}
    assert stopped == {"far", "aFar", "vault"}


def test_where_the_chain_of_the_deposit_halts_nothing_over_a_bridge_counts():
    rules = rules_of(scenarios=[scenario(halted_chains=["Ethereum"])])
    found, names = credit_of(ether(), rules)
    counts = {name for name, (_, then) in table_of(found.credit, names).items() if then > 0.0}
    assert counts == {"owed"}


def test_a_failed_oracle_takes_the_credit_of_its_asset_and_keeps_debts():
    rules = rules_of(scenarios=[scenario(failed_oracles=["ETH"])])
    found, names = credit_of(ether(), rules)
    counts = {name for name, (_, then) in table_of(found.credit, names).items() if then > 0.0}
    assert counts == {"USDC", "owed"}
    assert (found.value[:, 1] == found.value[:, 0]).all()


def test_an_insolvent_protocol_takes_its_part_once():
    rules = rules_of(scenarios=[scenario(protocols={"stake": 0.5})])
    found, names = credit_of(ether(), rules)
    value = table_of(found.value, names)
    for name in ("stETH", "wstETH", "far", "aFar", "vault"):
        assert value[name][1] == pytest.approx(0.5 * value[name][0]), name
    assert value["owed"][1] == value["owed"][0]


BAD_FEEDS = [
    ({"oracle_age": {"ETH": 61.0}}, Outcome.STALE_PRICE),
    ({"market_age": {"ETH": 61.0}}, Outcome.STALE_PRICE),
    ({"market": {"ETH": 2_101.0}}, Outcome.PRICE_DEVIATES),
    ({"oracle": {"ETH": 2_101.0}}, Outcome.PRICE_DEVIATES),
]


@pytest.mark.parametrize(("feeds", "outcome"), BAD_FEEDS)
def test_a_bad_feed_takes_all_credit_of_what_contains_the_asset(feeds, outcome):
    made, rules = ether(), rules_of()
    tokens, names = made.build()
    bits = token_findings(tokens, names, feeds_of(names, **feeds), rules, look_through(tokens))
    reason = dict(zip(names.token, outcomes(bits).tolist(), strict=True))
    assert {name for name, one in reason.items() if one != outcome} == {"USDC", "owed"}
    found, _ = credit_of(made, rules, feeds=feeds)
    for name, ratio in zip(names.token, found.ratio, strict=True):
        assert (ratio == 0.0) == (reason[name] == outcome), name
    assert (found.value > 0.0).all()
    high = max(feeds.get(side, {}).get("ETH", 2_000.0) for side in ("oracle", "market"))
    assert found.credit[names.token.index("owed"), 0] == 1.25 * high


def test_prices_may_be_as_old_and_as_far_apart_as_the_rules_allow():
    edge = {"oracle_age": {"ETH": 60.0}, "market_age": {"ETH": 60.0}, "market": {"ETH": 2_100.0}}
    found, _ = credit_of(ether(), rules_of(), feeds=edge)
    assert (found.ratio > 0.0).all()


def test_an_asset_may_allow_no_deviation_at_all():
    """Its own bound stands, 0 too, before that of all feeds."""
    assets = [rule.model_dump() for rule in rules_of().assets]
    strict = [one | {"deviation": 0.0} if "ETH" in one["assets"] else one for one in assets]
    rules = rules_of(assets=strict)
    _, names = Made().coin("ETH").build()
    bounds = feed_bounds(names, feeds_of(names, market={"ETH": 2_000.5}), rules)
    assert (bounds.deviation.tolist(), bounds.apart.tolist()) == ([0.0], [0.5 / 2_000.0])
    for allowed, kept in ((rules, 0.0), (rules_of(), 0.8)):
        found, _ = credit_of(Made().coin("ETH"), allowed, feeds={"market": {"ETH": 2_000.5}})
        assert found.ratio.tolist() == [kept]


@pytest.mark.parametrize(
    "unknown", [{"chain": "Nowhere"}, {"bridge": "rope"}, {"protocol": "attic"}]
)
def test_what_no_rule_names_counts_for_nothing(unknown):
    made = Made().coin("ETH").add("odd", TokenKind.BRIDGED, [("ETH", 1.0)], **unknown)
    made.add("around", TokenKind.SHARE, [("odd", 1.0)])
    found, _ = credit_of(made, rules_of())
    assert found.ratio.tolist() == pytest.approx([0.8, 0.0, 0.0])


def test_a_circle_of_recipes_has_neither_value_nor_credit():
    made = Made().coin("ETH").add("a", TokenKind.SHARE, [("b", 1.0)])
    made.add("b", TokenKind.SHARE, [("a", 2.0)])
    found, _ = credit_of(made, rules_of(), totals={"a": 1e9, "ETH": 1.0})
    assert found.value[1:].tolist() == found.credit[1:].tolist() == [[0.0], [0.0]]


def test_haircuts_of_name_chain_bridge_and_protocol_are_each_taken_once():
    rules = rules_of(
        tokens=[{"tokens": ["stETH"], "haircut": 0.1}],
        chains=[
            {"chain": "Ethereum", "finality_blocks": 0},
            {"chain": "Arbitrum", "finality_blocks": 0, "haircut": 0.5},
        ],
        bridges=[bridge("span", haircut=0.2)],
        protocols=[
            {"protocols": ["stake"], "haircut": 0.05},
            {"protocols": ["lend"], "haircut": 0.04},
        ],
    )
    found, names = credit_of(ether(), rules)
    staked = 0.8 * 0.9 * 0.95
    assert dict(zip(names, found.ratio, strict=True)) == pytest.approx(
        {
            "ETH": 0.8,
            "USDC": 0.9,
            "stETH": staked,
            "wstETH": staked,
            "far": staked * 0.8 * 0.5,
            "aFar": staked * 0.8 * 0.5 * 0.96,
            "vault": staked * 0.8 * 0.5 * 0.96,
            "pool": (staked + 0.9) / 2.0,
            "owed": 1.0,
        }
    )


TIERS = {
    "assets": ["ETH"],
    "follows": "ETH",
    "tiers": [{"up_to": 100.0, "haircut": 0.2}, {"up_to": 200.0, "haircut": 0.5}, {"haircut": 0.9}],
}


def test_sizes_count_over_the_whole_pool_in_units_of_the_asset():
    """By hand: 100 at 0.8, 100 at 0.5 and 50 at 0.1 of 250 ETH, 125 of them inside of wstETH."""
    rules = rules_of(assets=[TIERS, {"assets": ["USDC"], "follows": "cash",
                                     "tiers": [{"haircut": 0.0}]}])  # fmt: skip
    found, names = credit_of(ether(), rules, totals={"ETH": 125.0, "wstETH": 100.0, "owed": 1e6})
    counted = (100 * 0.8 + 100 * 0.5 + 50 * 0.1) / 250
    assert found.ratio[names.index("ETH")] == pytest.approx(counted)
    assert found.ratio[names.index("vault")] == pytest.approx(counted)


@given(st.floats(0.0, 500.0), st.floats(0.0, 500.0), st.floats(0.0, 1.0))
def test_nothing_is_gained_by_spreading_and_credit_is_concave(one, other, part):
    rules = rules_of(assets=[TIERS, {"assets": ["USDC"], "follows": "cash",
                                     "tiers": [{"haircut": 0.0}]}])  # fmt: skip

    def pool(coin, wrapped):
        totals = {"ETH": coin, "wstETH": wrapped / 1.25}
        found, names = credit_of(ether(), rules, totals=totals)
        return sum(totals[name] * found.credit[names.index(name), 0] for name in totals)

    assert pool(one, other) == pytest.approx(pool(one + other, 0.0))
    between = pool(part * one + (1.0 - part) * other, 0.0)
    assert between >= part * pool(one, 0.0) + (1.0 - part) * pool(other, 0.0) - 1e-6


@settings(deadline=None)
@given(
    st.lists(st.floats(0.0, 1e4), min_size=5, max_size=5),
    st.just(0.0) | st.floats(0.01, 1e7),
    st.just(0.0) | st.floats(0.01, 1.0),
)
def test_no_more_credit_rests_on_a_bridge_than_its_caps(held, cap, part):
    made = (
        Made().coin("ETH").coin("BTC", "Btc")
        .add("ethX", TokenKind.BRIDGED, [("ETH", 1.0)], chain="Arbitrum", bridge="span")
        .add("btcX", TokenKind.BRIDGED, [("BTC", 1.0)], chain="Arbitrum", bridge="span")
        .add("lp", TokenKind.LIQUIDITY, [("ethX", 10.0), ("btcX", 0.7)], chain="Arbitrum")
        .add("shares", TokenKind.SHARE, [("ethX", 1.5)], chain="Arbitrum", protocol="lend")
        .add("again", TokenKind.BRIDGED, [("btcX", 1.0)], bridge="span")
    )  # fmt: skip
    span = bridge("span", cap=cap, asset_cap=cap, asset_caps={"ETH": part * cap})
    totals = dict(zip(("ethX", "btcX", "lp", "shares", "again"), held, strict=True))
    found, names = credit_of(made, rules_of(bridges=[span]), totals=totals)
    credit = {name: totals[name] * found.credit[names.index(name), 0] for name in totals}
    assert sum(credit.values()) <= cap * (1.0 + 1e-9)
    # Of liquidity half rests on either part, each within the caps of its own asset.
    ratio = dict(zip(names, found.ratio, strict=True))
    of_pool = totals["lp"] * found.value[names.index("lp"), 0] * ratio["ethX"] / 2.0
    assert credit["ethX"] + credit["shares"] + of_pool <= part * cap * (1.0 + 1e-9)


def test_caps_bind_pro_rata_and_say_so():
    span = bridge("span", cap=3_000.0, asset_cap=2_000.0)
    rules = rules_of(bridges=[span])
    made = Made().coin("ETH")
    made.add("far", TokenKind.BRIDGED, [("ETH", 1.0)], chain="Arbitrum", bridge="span")
    made.add("aFar", TokenKind.RECEIPT, [("far", 1.0)], chain="Arbitrum", protocol="lend")
    found, names = credit_of(made, rules, totals={"far": 1.5, "aFar": 1.0, "ETH": 50.0})
    # 2.5 x 2,000 x 0.8 = 4,000 of credit, of which 2,000 are within the cap of the asset.
    assert found.bridges.credit.tolist() == pytest.approx([0.0, 4_000.0])
    assert found.bridges.asset_part[1].tolist() == pytest.approx([0.5])
    assert dict(zip(names, found.ratio, strict=True)) == pytest.approx(
        {"ETH": 0.8, "far": 0.4, "aFar": 0.4}
    )


@given(st.floats(1e-3, 1e3), st.floats(1e-3, 1e3), st.floats(1e-3, 1e3), st.floats(0.01, 100.0))
def test_liquidity_cannot_be_made_dearer_by_moving_the_reserves(first, second, price, moved):
    prices = np.array([[price], [1.0]])
    fair = fair_value(np.array([first, second]), prices)
    assert fair_value(np.array([first * moved, second / moved]), prices) == pytest.approx(fair)
    spot = first * price + second
    assert fair[0] <= spot * (1.0 + 1e-12)


def test_a_wrong_way_asset_falls_by_more_than_the_worst_coin_and_never_rises():
    house = {"assets": ["USDC"], "follows": "cash", "tiers": [{"haircut": 0.1}], "wrong_way": 1.5}
    ether_rule = {"assets": ["ETH"], "follows": "ETH", "tiers": [{"haircut": 0.2}]}
    made = Made().coin("USDC").coin("ETH").add("owed", TokenKind.DEBT, [("USDC", 1.0)])
    price = {"ETH": [-0.2, 0.5, -0.1], "BTC": [0.1, 0.5, -0.8]}
    found, _ = credit_of(made, rules_of(assets=[house, ether_rule]), price=price)
    assert found.value[0].tolist() == pytest.approx([1.0, 0.7, 1.0, 0.0])
    assert found.value[2].tolist() == [1.0, 1.0, 1.0, 1.0]


REFUSED = [
    (Made().coin("ETC").add("d", TokenKind.DEBT, [("ETC", 1.0)]), {}, "'ETC', which has no rule"),
    (
        Made().coin("ETH").add("d", TokenKind.DEBT, [("ETH", 1.0)]),
        {"oracle": {"ETH": 0.0}, "market": {"ETH": 0.0}},
        "'ETH', which has no price",
    ),
    (
        Made().coin("ETH").add("r", TokenKind.SHARE, [("r", 1.0)]).add(
            "d", TokenKind.DEBT, [("r", 1.0)]
        ),
        {},
        "'d' leads round in a circle",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("made", "feeds", "message"), REFUSED)
def test_a_debt_that_cannot_be_valued_is_refused(made, feeds, message):
    with pytest.raises(ValueError, match=f"DEBT_WITHOUT_VALUE: .*{message}"):
        credit_of(made, rules_of(), feeds=feeds)


def test_an_asset_that_follows_a_coin_without_a_price_is_refused():
    follows = {"assets": ["ETH"], "follows": "SOL", "tiers": [{"haircut": 0.2}]}
    with pytest.raises(ValueError, match="'ETH' follows 'SOL', of which the market has no price"):
        credit_of(Made().coin("ETH"), rules_of(assets=[follows]))


def test_scenarios_of_market_and_pool_have_names_of_their_own():
    rules = rules_of(scenarios=[scenario("market-0", halted_chains=["Btc"])])
    with pytest.raises(ValueError, match="DUPLICATE_SCENARIO: 'market-0'"):
        credit_of(Made().coin("ETH"), rules, price={"ETH": [0.1]})


# The twin.


@st.composite
def drawn_pools(draw):
    """Tokens of random kinds on random chains, bridges and protocols, rules, and one failure."""
    made = Made().coin("ETH").coin("USDC", "Arbitrum").coin("BTC", "Btc")
    names = ["ETH", "USDC", "BTC"]
    for number in range(draw(st.integers(1, 8))):
        kind = draw(st.sampled_from((*WRAPPERS, TokenKind.LIQUIDITY)))
        parts = 2 if kind == TokenKind.LIQUIDITY else 1
        recipe = [
            (draw(st.sampled_from(names)), draw(st.sampled_from([0.5, 1.0, 1.5, 3.0])))
            for _ in range(parts)
        ]
        made.add(
            f"t{number}",
            kind,
            recipe,
            chain=draw(st.sampled_from(["Ethereum", "Arbitrum"])),
            protocol=draw(st.sampled_from(["none", "lend", "stake"])),
            bridge=draw(st.sampled_from(["none", "none", "span"])),
        )
        names.append(f"t{number}")
    haircut = st.sampled_from([0.0, 0.1, 0.25])
    failure = {
        "depegs": {draw(st.sampled_from(names)): 0.25},
        "bridges": {"span": draw(st.sampled_from([0.0, 0.5, 1.0]))},
        "protocols": {"lend": draw(st.sampled_from([0.0, 0.5]))},
        "halted_chains": draw(st.sampled_from([(), ("Arbitrum",), ("Btc",)])),
        "failed_oracles": draw(st.sampled_from([(), ("USDC",)])),
        "prices": {"ETH": -0.5},
    }
    rules = rules_of(
        tokens=[{"tokens": [draw(st.sampled_from(names))], "haircut": draw(haircut)}],
        chains=[
            {"chain": chain, "finality_blocks": 0, "haircut": draw(haircut)}
            for chain in ("Ethereum", "Arbitrum", "Btc")
        ],
        bridges=[bridge("span", haircut=draw(haircut))],
        protocols=[
            {"protocols": [protocol], "haircut": draw(haircut)} for protocol in ("lend", "stake")
        ],
        scenarios=[scenario(**failure)],
    )
    return made, rules


class Twin:
    """One token after the other, straight from what the page on collateral says."""

    def __init__(self, made, rules):
        self.row = {row[0]: row for row in made.rows}
        self.rules = rules
        self.failure = rules.scenarios[0]
        self.haircut = {
            "token": {t: rule.haircut for rule in rules.tokens for t in rule.tokens},
            "chain": {rule.chain: rule.haircut for rule in rules.chains},
            "bridge": {b: rule.haircut for rule in rules.bridges for b in rule.bridges},
            "protocol": {p: rule.haircut for rule in rules.protocols for p in rule.protocols},
        }
        self.asset = {a: rule.tiers[0].haircut for rule in rules.assets for a in rule.assets}

    def labels(self, name):
        token, _, _, chain, protocol, over, _ = self.row[name]
        return {"token": token, "chain": chain, "bridge": over, "protocol": protocol}

    def inside(self, name):
        found = []
        for of, _ in self.row[name][6]:
            found += [of, *self.inside(of)]
        return found

    def first(self, name, kind):
        """Whether nothing inside bears the same label."""
        label = self.labels(name)[kind]
        return all(self.labels(of)[kind] != label for of in self.inside(name))

    def ratio(self, name):
        recipe = self.row[name][6]
        part = (
            sum(self.ratio(of) for of, _ in recipe) / len(recipe)
            if recipe
            else 1.0 - self.asset[name]
        )
        for kind, label in self.labels(name).items():
            if self.first(name, kind):
                part *= 1.0 - self.haircut[kind].get(label, 0.0)
        return part

    def value(self, name, failing):
        recipe = self.row[name][6]
        worth = [units * self.value(of, failing) for of, units in recipe]
        if not recipe:
            prices = {"ETH": 2_000.0, "USDC": 1.0, "BTC": 40_000.0}
            total = prices[name] * (1.0 + (self.failure.prices.get(name, 0.0) if failing else 0.0))
        else:
            total = worth[0] if len(worth) == 1 else 2.0 * (worth[0] * worth[1]) ** 0.5
        if failing:
            labels = self.labels(name)
            total *= 1.0 - self.failure.depegs.get(name, 0.0)
            total *= self.failure.bridges.get(labels["bridge"], 1.0)
            if self.first(name, "protocol"):
                total *= 1.0 - self.failure.protocols.get(labels["protocol"], 0.0)
        return total

    def stopped(self, name):
        every = [name, *self.inside(name)]
        return any(self.labels(one)["chain"] in self.failure.halted_chains for one in every) or any(
            one in self.failure.failed_oracles for one in every
        )


@settings(deadline=None, max_examples=200)
@given(drawn_pools())
def test_units_are_worth_and_count_what_a_walk_down_every_token_says(pool):
    made, rules = pool
    found, names = credit_of(made, rules)
    twin = Twin(made, rules)
    for row, name in enumerate(names):
        value = [twin.value(name, False), twin.value(name, True)]
        assert found.value[row].tolist() == pytest.approx(value), name
        kept = [1.0, 0.0 if twin.stopped(name) else 1.0]
        credit = [one * twin.ratio(name) * part for one, part in zip(value, kept, strict=True)]
        assert found.credit[row].tolist() == pytest.approx(credit), name


def test_a_claim_counts_for_no_more_than_it_fetches():
    found, _ = credit_of(ether(), rules_of(), totals={"vault": 10.0})
    assert (found.credit <= found.value).all()
    assert (found.ratio >= 0.0).all()
    assert found.credit.flags.c_contiguous
