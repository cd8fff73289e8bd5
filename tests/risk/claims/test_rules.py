from pathlib import Path

import pytest

import risk
import storage.samples
from risk.claims.rules import PoolRules, parse_pool_rules
from risk.claims.tokens import Standing, TokenKind

pq = pytest.importorskip("pyarrow.parquet")

SAMPLES = Path(storage.samples.__file__).parent
SHIPPED = Path(risk.__file__).parent / "methodologies" / "pool" / "margincube-pool-2026-01.toml"


@pytest.fixture(scope="module")
def shipped() -> PoolRules:
    return parse_pool_rules(SHIPPED.read_text())


def rows(name):
    return pq.read_table(SAMPLES / name).to_pylist()


def test_haircuts_are_one_less_the_lowest_real_threshold(shipped):
    """th3nolo/aave-v3-data on 13 chains, 2026-08-22, as shipped with the samples."""
    reserves = rows("aave_v3_reserves_2026-08-22.parquet")
    assert len({row["network"] for row in reserves}) == 13
    checked = 0
    for rule in shipped.assets:
        if not rule.source.startswith("Aave v3: "):
            continue
        symbols = rule.source.removeprefix("Aave v3: ").split(", ")
        lowest = min(
            row["liquidation_threshold"]
            for row in reserves
            if row["symbol"] in symbols
            and row["active"]
            and not (row["frozen"] or row["paused"])
            and row["liquidation_threshold"] > 0.1
        )
        kept = [1.0 - tier.haircut for tier in rule.tiers]
        assert kept == pytest.approx([lowest, 0.9 * lowest, 0.7 * lowest], abs=5e-5), rule.assets
        checked += 1
    assert checked == 18


def test_sizes_are_real_supply_caps(shipped):
    reserves = rows("aave_v3_reserves_full_2023-10-31.parquet")
    for rule in shipped.assets:
        if rule.source.startswith("Aave v3: "):
            symbols = rule.source.removeprefix("Aave v3: ").split(", ")
            cap = sum(
                row["supplyCap"]
                for row in reserves
                if row["symbol"] in symbols
                and row["isActive"]
                and not (row["isFrozen"] or row["isPaused"])
            )
            assert [tier.up_to for tier in rule.tiers] == [cap, 10.0 * cap, None], rule.assets


def test_staked_coins_lose_the_lowest_ratio_of_thresholds_on_one_chain(shipped):
    thresholds = {
        (row["network"], row["symbol"]): row["liquidation_threshold"]
        for row in rows("aave_v3_reserves_2026-08-22.parquet")
        if row["active"] and not (row["frozen"] or row["paused"])
    }
    checked = 0
    for rule in shipped.tokens:
        if rule.source == "choice":
            continue
        symbol = rule.source.removeprefix("Aave v3: ").split(" ")[0]
        against = "WBTC" if symbol == "LBTC" else "WETH"
        ratios = [
            threshold / thresholds[chain, against]
            for (chain, name), threshold in thresholds.items()
            if name == symbol and (chain, against) in thresholds and threshold > 0.1
        ]
        assert 0.0 <= rule.haircut - (1.0 - min(ratios)) < 1e-4, symbol
        checked += 1
    assert checked == 7


def test_blocks_to_finality_are_those_of_the_table(shipped):
    from pyarrow import csv

    table = {row["chain"]: row for row in csv.read_csv(SAMPLES / "chains_finality.csv").to_pylist()}
    for rule in shipped.chains:
        if rule.source.startswith("table of finality"):
            assert rule.finality_blocks == table[rule.chain]["finality_blocks"], rule.chain
    assert len(shipped.chains) == 10


def test_kinds_have_the_standing_that_the_policy_asks_for(shipped):
    assert shipped.needed(TokenKind.COIN) == Standing.ATTESTED
    assert shipped.needed(TokenKind.DEBT) == Standing.STATED


REFUSED = [
    ('double_count = "none"', 'double_count = "last"', "'none' or 'first'"),
    ("skew_seconds = 7200.0", "skew_seconds = -1.0", "greater than or equal to 0"),
    ("target_health = 1.05", "target_health = 0.9", "greater than or equal to 1"),
    ("target_health = 1.05", "target_health = true", "true and false are not allowed"),
    ("target_health", "target_helth", "Extra inputs are not permitted"),
    ("finality_blocks = ", "finality_blocks = 1000000000", "less than or equal to 1000000000"),
    ("safe = 0.5", "safe = 1.5", "less than or equal to 1"),
    ("safe = 0.5\nfinalised = 1.0", "safe = 0.5\nfinalised = 0.4", "nearer to final"),
    ("haircut = 0.415", "haircut = 0.3", "let ends and haircuts rise"),
    ("up_to = 40_000_000.0", "up_to = 3_000_000.0", "let ends and haircuts rise"),
    ("{ haircut = 0.545 }", "{ up_to = 9e7, haircut = 0.545 }", "what the rest counts for"),
    ('assets = ["USDT"]', 'assets = ["USDC"]', "asset 'USDC' is named by two rules"),
    ('chain = "Celo"', 'chain = "Base"', "chain 'Base' is named by two rules"),
    ('chain = "Celo"', 'chain = "none"', "needs no rule"),
    ("asset_cap = 4_000_000_000.0", "asset_cap = 9e9", "it can never bind"),
    (
        "asset_cap = 4_000_000_000.0",
        "asset_cap = 4e9\nasset_caps = { ETC = 1e9 }",
        "asset_caps name 'ETC'",
    ),
    ('halted_chains = ["Base"]', 'halted_chains = ["Bass"]', "'Bass', of which no rule speaks"),
    ("bridges = { keelway = 0.5 }", "bridges = { kelway = 0.5 }", "'kelway', of which no rule"),
    ("protocols = { ulvane = 0.3 }", "protocols = { ulvane = 1.3 }", "less than or equal to 1"),
    ("prices = { ETH = -0.15", "prices = { ETH = -1.0", "greater than -1"),
    ("depegs = { USDT = 0.1 }", "depegs = {}", "changes nothing"),
    ('verification = "signers"', 'verification = "magic"', "Input should be"),
    ('needs = "attested"', 'needs = "sworn"', "'proven', 'attested' or 'stated'"),
    ('kinds = ["cash",', 'kinds = ["debt",', "Input should be"),
    ("effective = 2026-01-01", "effective = 2026-13-01", "the text is no TOML"),
]


@pytest.mark.parametrize(("before", "after", "message"), REFUSED)
def test_rules_that_make_no_sense_are_refused(before, after, message):
    text = SHIPPED.read_text()
    assert before in text
    with pytest.raises(ValueError, match=message):
        parse_pool_rules(text.replace(before, after, 1))
