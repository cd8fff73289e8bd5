"""Every protocol that ships on a whole book: published, explained, called and asked what if."""

import math
from collections import Counter
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from flows.cli import _sentence
from risk.margin import HELD
from risk.protocols import aave, drift
from storage import tables
from storage.book import BookWriter, canonical_instruments
from storage.market import sample_market
from storage.runs import RunStore
from workers.account_case import account_case, rules_of
from workers.calls import margin_calls
from workers.compare import System, compare, summary, weighs_collateral
from workers.engine import SerialEngine
from workers.explain import explain_account
from workers.explain.source import source_of
from workers.export import export_accounts
from workers.margin_run import MarginRun
from workers.methodologies import load_methodology, shipped_methodologies
from workers.plan import RunRequest
from workers.rule_books import kind_of
from workers.since import NothingBefore, Since
from workers.stages import Silent
from workers.ways_back import ways_back
from workers.what_if import TradeRefused, what_if

PROTOCOLS = [
    name
    for name in shipped_methodologies()
    if kind_of(load_methodology(name).methodology) == "protocol"
]
ACCOUNTS = 40
ABOUT = {"rel": 1e-12, "abs": 1e-8}
EXPIRY = datetime(2024, 6, 28, 8, tzinfo=UTC)

INSTRUMENTS = [
    *(("spot", coin, None, None, None) for coin in ("BTC", "ETH", "SOL")),
    *(("perpetual", coin, None, None, None) for coin in ("BTC", "ETH", "SOL")),
    ("option", "ETH", EXPIRY, 2_500.0, "call"),
]
ASSETS = [
    ("USDC", "Ethereum", "USD", 0.2),
    ("USDC", "Solana", "USD", 0.2),
    ("WBTC", "Ethereum", "BTC", 0.25),
    ("WETH", "Ethereum", "ETH", 0.2),
    ("wstETH", "Ethereum", "ETH", 0.25),
    ("SOL", "Solana", "SOL", 0.3),
    ("XYZ", "Ethereum", "USD", 0.9),
]
WORTH = [4_000.0, 4_000.0, 0.1, 2.0, 2.0, 40.0, 4_000.0]
LENT = {"spot": 0.4, "perpetual": 2.0, "option": 1.0}
HELD_BY = {"spot": 0.35, "perpetual": 0.12, "option": 0.05}

NEW = """
name = "new-lender"
version = "1"
effective = 2026-02-01
title = "A lender that is nothing but this file"
venue = "Nobody"
venue_number = false
protocol = true
sources = ["made up for tests"]
not_verified = ["all of it"]

[netting]
isolated = "account"
cross = "account"
portfolio = "account"

[[rules]]
kind = "spot"
settlement = "linear"
underlyings = ["ETH", "BTC"]
form = "weights"
source = "made up"
held = { initial = 0.7, maintenance = 0.75 }
owed = { initial = 1.1, maintenance = 1.05 }
size_factor = 0.001
deposits = { value = 2.0e6, start = 1.0e6 }
borrows = { value = 3.0e6, start = 2.0e6 }

[[rules]]
kind = "perpetual"
form = "fraction"
source = "made up"
price = "index"
initial = 0.1
maintenance = 0.05
open_interest = { value = 30.0e6, lower_cap = 20.0e6, upper_cap = 40.0e6 }

[[collateral]]
assets = ["WETH", "wstETH"]
chains = ["Ethereum"]
initial = 0.8
maintenance = 0.85
size_factor = 0.001
source = "made up"

[[collateral]]
assets = ["USDC"]
initial = 0.9
maintenance = 0.95
source = "made up"
"""


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    """Forty accounts that hold and owe coins, some with perpetuals, a few with an option."""
    columns = [column.name for column in tables.INSTRUMENTS.columns]
    rows = []
    for number, (kind, coin, expiry, strike, option) in enumerate(INSTRUMENTS):
        places = ("v", "none", "none")
        terms = (kind, "linear", coin, "USD", expiry, strike, option, 1.0, 0.001, *places)
        rows.append(dict(zip(columns, (f"I{number}", *terms), strict=True)))
    instruments = canonical_instruments(
        pa.Table.from_pylist(rows, schema=tables.INSTRUMENTS.schema)
    )
    kinds = instruments["kind"].to_pylist()
    market, rng = sample_market(), np.random.default_rng(7)
    assets = sorted((asset, chain, "p", coin, cut) for asset, chain, coin, cut in ASSETS)
    units = {(asset, chain): worth for (asset, chain, *_), worth in zip(ASSETS, WORTH, strict=True)}
    positions, collateral = [], []
    for account in range(ACCOUNTS):
        # Some borrow ether alone, which is all that several protocols lend.
        lent = ["spot" if row == 1 else None for row in range(len(kinds))]
        for row, kind in enumerate(lent if account % 5 == 0 else kinds):
            if kind and rng.random() < (HELD_BY[kind] if account % 5 else 1.0):
                lots = int(1_000 * LENT[kind] * rng.exponential() * rng.choice([-1, -1, 1]))
                positions += [(account, row, lots)] if lots else []
        for row, (asset, chain, *_) in enumerate(assets):
            if rng.random() < 0.4:
                amount = round(float(units[asset, chain] * rng.exponential()), 6)
                collateral.append((account, row, amount))

    def table(rows, schema):
        return pa.table([list(column) for column in zip(*rows, strict=True)], schema=schema)

    accounts = [(f"acc-{number:03d}", 0, number % 3) for number in range(ACCOUNTS)]
    with BookWriter(
        tmp_path_factory.mktemp("lending") / "book",
        "lending",
        market.as_of,
        instruments,
        table([("m0", 1e6)], tables.MEMBERS.schema),
        table(assets, tables.ASSETS.schema),
    ) as writer:
        writer.append(
            table(accounts, tables.ACCOUNTS.schema),
            table(positions, tables.POSITIONS.schema),
            table(collateral, tables.COLLATERAL.schema),
        )
        return writer.close(one_sided=True)


@pytest.fixture(scope="module")
def new_lender(tmp_path_factory):
    path = tmp_path_factory.mktemp("rules") / "new-lender.toml"
    path.write_text(NEW)
    return str(path)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def run_under(book, runs):
    """Return a function that publishes, once, a run of the book under a rule book."""
    made = {}

    def run_of(name, **options):
        key = (name, *options.items())
        if key not in made:
            request = RunRequest(
                book=book.path, methodology=name, runs=runs, unapproved=True, **options
            )
            with MarginRun(request, SerialEngine, SerialEngine) as run:
                if not run.prepare():
                    run.price()
                    run.margin()
                    run.fold()
                    run.publish()
            made[key] = RunStore(runs).open(run.run_id)
        return made[key]

    return run_of


@pytest.fixture(scope="module")
def explained_under(run_under):
    """Return a function that explains, once, every account of a run under a rule book."""
    made = {}

    def explain_all(name):
        if name not in made:
            run = run_under(name)
            source = source_of(run)
            with pytest.MonkeyPatch.context() as patch:
                # What is made of the run's prices is the same for every account.
                patch.setattr("workers.explain.source_of", lambda _: source)
                made[name] = [explain_account(run, f"acc-{row:03d}") for row in range(ACCOUNTS)]
        return made[name]

    return explain_all


def margined(explained):
    return [one for one in explained if one["status"] == "margined"]


def test_every_protocol_ships():
    started = {name.split("-")[0] for name in PROTOCOLS}
    assert started == {"aave", "compound", "dydx", "drift", "maker", "mango", "morpho"}


@pytest.mark.parametrize("name", [*PROTOCOLS, "new"])
def test_it_runs_on_a_whole_book(name, run_under, new_lender, tmp_path):
    run = run_under(new_lender if name == "new" else name)
    accounts, totals = run.accounts.load(), run.manifest["totals"]
    held = accounts["status"].values == HELD
    assert totals["accounts"] == totals["margined"] + totals["held"] == ACCOUNTS
    assert totals["held"] == held.sum() > 0
    assert totals["margined"] > 0
    margin = accounts["margin"].values[~held]
    assert totals["requirement"] == pytest.approx(margin.sum())
    assert accounts["requirement"].values[~held] == pytest.approx(margin.sum(axis=1))
    assert np.isnan(accounts["requirement"].values[held]).all()
    output = tmp_path / "accounts.parquet"
    assert export_accounts(run, output, Silent()) == ACCOUNTS
    reasons = Counter(pq.read_table(output)["held_because"].to_pylist())
    assert reasons == {None: ACCOUNTS - held.sum(), "RULE_MISSING": held.sum()}
    assert margin_calls(run, Silent())["held"] == held.sum()


@pytest.mark.parametrize("name", [*PROTOCOLS, "new"])
def test_every_account_can_be_done_by_hand(name, explained_under, new_lender):
    every, seen = explained_under(new_lender if name == "new" else name), Counter()
    for one in every:
        if one["status"] == "held back":
            assert all(reason.startswith("RULE_MISSING, I") for reason in one["held_because"])
            seen["held"] += 1
    for one in margined(every):
        collateral, legs = one["collateral"], one["legs"]
        value = math.fsum(asset["value"] for asset in collateral)
        assert value == pytest.approx(one["collateral_value"], **ABOUT)
        for need in ("initial", "maintenance"):
            asked = "requirement" if need == "initial" else need
            total = math.fsum(asset[f"{need}_haircut"] for asset in collateral)
            total += math.fsum(leg[asked] for leg in legs)
            assert one[asked] == pytest.approx(total, **ABOUT)
        for asset in collateral:
            assert 0.0 <= asset["initial_weight"] <= asset["maintenance_weight"] <= 1.0
            if asset["rule"] is None:
                assert asset["initial_haircut"] == asset["maintenance_haircut"] == asset["value"]
        health, surplus = one["protocol_health"], one["equity"] - one["maintenance"]
        assert health["covered"] - health["owed"] == pytest.approx(surplus, **ABOUT)
        seen["clear" if health["factor"] is None else "owing"] += 1
        if health["factor"] is not None and abs(surplus) > 1e-6:
            assert (health["factor"] >= 1.0) == (surplus >= 0.0)
    assert seen["held"] > 0
    assert seen["clear"] > 0
    # Nothing can be owed to Maker at the prices of a market without DAI.
    assert seen["owing"] > 0 or name.startswith("maker")


def test_the_health_factor_is_the_protocols_own(explained_under):
    """Aave's closed form, from the balances that an explanation shows and the file's numbers."""
    threshold = {"WETH": 0.83, "wstETH": 0.81, "WBTC": 0.78, "USDC": 0.80}
    reserve, seen = {"I0": "WBTC", "I1": "WETH"}, 0
    for one in margined(explained_under("aave-v3-ethereum-2023-10")):
        rows = []
        for asset in one["collateral"]:
            there = asset["chain"] == "Ethereum"
            weight = threshold.get(asset["asset"], 0.0) if there else 0.0
            rows.append((asset["quantity"], 0.0, asset["price"], weight))
        for held in one["positions"]:
            balance, weight = held["quantity"], threshold[reserve[held["instrument"]]]
            rows.append((max(balance, 0.0), max(-balance, 0.0), held["value_of_one"], weight))
        if not rows:
            continue
        held, owed, price, weight = (np.array(column) for column in zip(*rows, strict=True))
        reserves = aave.Reserves(np.zeros_like(weight), weight)
        factor = float(aave.health_factor(held, owed, price, reserves))
        found = one["protocol_health"]["factor"]
        assert (found is None) == (factor == np.inf) == (not owed.any())
        if owed.any():
            assert found == pytest.approx(factor, rel=1e-12)
            seen += 1
    assert seen >= 5


@pytest.mark.parametrize("name", PROTOCOLS)
def test_at_its_liquidation_price_an_account_is_worth_what_it_must_keep(
    name, run_under, explained_under
):
    """explain solves a line; here the account is margined anew in the moved market."""
    rules, seen = rules_of(run_under(name)), 0
    for one in margined(explained_under(name)):
        case = account_case(rules, one["account"])
        for line in one["protocol_health"]["liquidation"]:
            if line["liquidation_price"] is None:
                continue
            move = line["liquidation_price"] / line["price"] - 1.0
            coin = rules.underlyings.index(line["underlying"])
            equity, maintenance = case.moved(case.quantity, coin, move)
            about = 1e-12 * (1.0 + abs(move)) * (abs(one["collateral_value"]) + 1e6)
            assert equity == pytest.approx(maintenance, abs=about)
            # Beyond it, on the side that is said, the account falls short.
            beyond = move - 0.01 if line["liquidated"] == "below" else move + 0.01
            equity, maintenance = case.moved(case.quantity, coin, beyond)
            assert beyond <= -1.0 or equity < maintenance
            seen += 1
    # Ether owed against staked ether is as well covered at one price as at another.
    assert seen or name.startswith(("maker", "compound", "morpho", "aave-v3-ethereum-emode"))


def within_reach(line):
    """Whether what-if looks as far as a liquidation price."""
    at = line["liquidation_price"]
    return at is not None and 0.01 < at / line["price"] < 5.0


def test_what_if_finds_the_same_liquidation_price_and_shares_it_all(run_under, explained_under):
    run = run_under("drift-v2-2024-03")
    one = next(
        one
        for one in margined(explained_under("drift-v2-2024-03"))
        if len(one["positions"]) > 1 and one["collateral"] and one["health"] == "healthy"
        if any(within_reach(line) for line in one["protocol_health"]["liquidation"])
    )
    answer = what_if(run, one["account"], ["-0.005 I4"])
    assert answer["before"]["requirement"] == one["requirement"]
    assert answer["before"]["equity"] == pytest.approx(answer["after"]["equity"], **ABOUT)
    shares = answer["shares"]
    assert shares["collateral"] == pytest.approx(
        math.fsum(asset["initial_haircut"] for asset in one["collateral"]), **ABOUT
    )
    whole = math.fsum(part["share"] for part in shares["positions"]) + shares["collateral"]
    assert whole == pytest.approx(answer["after"]["requirement"], rel=1e-6)
    lines = {line["underlying"]: line for line in one["protocol_health"]["liquidation"]}
    crossed = 0
    for found in what_if(run, one["account"], [])["liquidation"]:
        for side in ("below", "above"):
            if found[side] is not None:
                line = lines[found["underlying"]]
                assert line["liquidated"] == side
                near = pytest.approx(found[side]["price"], abs=2e-6 * found["price"])
                assert line["liquidation_price"] == near
                crossed += 1
    assert crossed > 0
    with pytest.raises(TradeRefused, match="RULE_MISSING: no rule of drift-v2 margins I6"):
        what_if(run, one["account"], ["1 I6"])
    with pytest.raises(TradeRefused, match="PAYMENT_UNKNOWN: I1 is paid for, and drift-v2 weighs"):
        what_if(run, one["account"], ["-0.005 I1"])


def test_no_trade_is_advised_where_what_it_is_paid_with_is_weighed(run_under, explained_under):
    run = run_under("aave-v3-ethereum-2023-10")
    spec = load_methodology("aave-v3-ethereum-2023-10").methodology.health
    for one in margined(explained_under("aave-v3-ethereum-2023-10")):
        if not one["positions"]:
            continue
        (found,) = ways_back(run, [one["account"]], spec)
        assert (found["searched"], found["single"], found["sequence"]) == (False, None, [])
        assert found["deposit"] == pytest.approx(max(0.0, -one["excess"]), **ABOUT)


def test_runs_that_count_collateral_apart_are_not_subtracted(run_under):
    before, after = run_under("aave-v3-ethereum-2023-10"), run_under("mango-v4-2023-02")
    with pytest.raises(NothingBefore, match="counts collateral by other rules"):
        Since(before, after)
    Since(before, before)


def test_no_health_factor_where_charges_stand_on_the_weights(run_under, new_lender, tmp_path):
    path = tmp_path / "buffered.toml"
    buffer = '[[buffers]]\nlayer = "buffer"\ninitial = 0.25\nmaintenance = 0.25\n'
    path.write_text(f"{NEW}\n{buffer}")
    plain, run = run_under(new_lender), run_under(str(path))
    was, now = plain.accounts.load(), run.accounts.load()
    layers = now["layer"].values.tolist()
    margin, haircut = now["margin"].values, layers.index("collateral_haircut")
    known = now["status"].values == 0
    # The buffer is a share of what positions ask; those that hold coins have haircuts of them too.
    asset = was["margin"].values[known, haircut]
    risk = was["requirement"].values[known] - asset
    assert (margin[known, layers.index("buffer")] >= 0.25 * risk - 1e-9).all()
    assert (margin[known, layers.index("buffer")] <= 0.25 * (risk + asset) + 1e-9).all()
    row = int(np.flatnonzero(known & (now["positions"].values > 0))[0])
    explained = explain_account(run, f"acc-{row:03d}")
    assert explained["protocol_health"] == {}
    total = math.fsum(leg["requirement"] for leg in explained["legs"])
    asked = explained["requirement"] - explained["asked_of_collateral"]
    assert total - asked == pytest.approx(0.0, abs=1e-6)


def test_systems_are_compared_on_one_book(book, runs):
    request = RunRequest(book=book.path, runs=runs)
    systems = [System(name, None) for name in ("aave-v3-ethereum-2023-10", "mango-v4-2023-02")]
    comparison = compare(request, systems)
    found = summary(comparison)
    assert found["accounts"] == ACCOUNTS
    assert [one["system"] for one in found["systems"]] == [one.name for one in systems]
    assert all(one["requirement"] > 0.0 for one in found["systems"])
    accounts = [compared.accounts.load() for compared in comparison.runs]
    known = [np.isfinite(one["requirement"].values) for one in accounts]
    below = [(one["equity"] < one["maintenance"]).values for one in accounts]
    assert [one["margined"] for one in found["systems"]] == [int(one.sum()) for one in known]
    assert [one["margined"] + one["held"] for one in found["systems"]] == [ACCOUNTS, ACCOUNTS]
    # Whom the other system holds back it does not call safe.
    others = list(zip(below, known, strict=True))
    wanted = [[int((one & both & ~two).sum()) for two, both in others] for one in below]
    assert found["liquidated_under"] == wanted
    assert (below[1] & ~known[0]).any()
    assert weighs_collateral(comparison)


def test_emode_lifts_its_members_and_holds_back_foreign_debt(run_under):
    plain, lifted = (
        run_under(f"aave-v3-ethereum{mode}-2023-10").accounts.load() for mode in ("", "-emode")
    )
    held, held_in_mode = (one["status"].values == HELD for one in (plain, lifted))
    assert not (held & ~held_in_mode).any()
    assert (held_in_mode & ~held).any()
    both = ~held_in_mode
    maintenance = lifted["maintenance"].values[both] - plain["maintenance"].values[both]
    assert (maintenance <= 1e-9).all()
    assert (maintenance < -1.0).any()
    assert (lifted["equity"].values[both] == plain["equity"].values[both]).all()


def test_netting_does_not_matter_where_every_balance_has_its_weight(run_under):
    one = run_under("drift-v2-2024-03").accounts.load()
    other = run_under("drift-v2-2024-03", netting="isolated").accounts.load()
    for name in ("requirement", "maintenance", "equity"):
        assert one[name].values == pytest.approx(other[name].values, nan_ok=True, **ABOUT)


def test_a_new_lender_is_nothing_but_a_file(explained_under, new_lender):
    """Every switch at once, by the closed forms."""
    explained = next(
        one
        for one in margined(explained_under(new_lender))
        if {held["kind"] for held in one["positions"]} == {"spot", "perpetual"}
    )
    for leg, one in zip(explained["legs"], explained["positions"], strict=True):
        size, value = abs(one["quantity"]), abs(one["quantity"]) * one["forward"]
        if one["kind"] == "perpetual":
            # Halfway between the caps: halfway from a tenth to one.
            assert leg["requirement"] == pytest.approx(0.55 * value, rel=1e-12)
            assert leg["maintenance"] == pytest.approx(0.05 * value, rel=1e-12)
            continue
        if one["quantity"] > 0.0:
            shares = [1.0 - drift.size_asset_weight(w, size, 0.001) for w in (0.35, 0.75)]
        else:
            shares = [drift.size_liability_weight(w, size, 0.001) - 1.0 for w in (1.65, 1.05)]
        assert leg["requirement"] == pytest.approx(float(shares[0]) * value, rel=1e-12)
        assert leg["maintenance"] == pytest.approx(float(shares[1]) * value, rel=1e-12)


HELD_PAIR, OWED_PAIR = "held = { initial = 0.7,", "owed = { initial = 1.1,"
NOT_A_WEIGHT = "weights of what is held are initial 0.8 and maintenance 0.75; initial <="
NO_DEBT_WEIGHT = "weights of what is owed are initial 1 and maintenance 1.05; initial >="
ABOVE = "collateral ['WETH', 'wstETH']: initial weight 0.9 is above maintenance weight 0.85"
OF_SPOT = "size_factor, deposits and borrows are of balances of spot, this rule is for a perpetual"
CAPS = "open interest caps are 5e+07 and 4e+07; lower_cap is never above upper_cap"
TWO_WAYS = "initial_per_coin = 0.1\nopen_interest = {"


def test_what_belongs_to_measures_is_refused_by_its_own_name(tmp_path):
    path = tmp_path / "wrong.toml"
    path.write_text(NEW.replace("[netting]", "[wrong_way]\nshare = 1\n\n[netting]", 1))
    with pytest.raises(ValueError, match=r"^\[wrong_way\] is of \[\[measures\]\]"):
        load_methodology(str(path))


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (HELD_PAIR, "held = { initial = 0.8,", NOT_A_WEIGHT),
        (HELD_PAIR, "hold = { initial = 0.7,", "rules.0.weights.held: Field required"),
        (OWED_PAIR, "owed = { initial = 1.0,", NO_DEBT_WEIGHT),
        ("maintenance = 1.05 }", "maintenance = 0.9 }", "initial >= maintenance >= 1 must hold"),
        ("start = 1.0e6", "start = 0", "deposits.start: Input should be greater than 0"),
        ("value = 3.0e6", "worth = 3.0e6", "borrows.value: Field required"),
        ("size_factor = 0.001", "size_factor = -1", "size_factor: Input should be greater than or"),
        ('form = "fraction"', 'form = "weight"', "'weight' found"),
        ("lower_cap = 20.0e6", "lower_cap = 50.0e6", CAPS),
        ("open_interest = {", f"size_factor = 0.1\n{TWO_WAYS}", "a share grows with size in one"),
        ("initial = 0.8\n", "initial = 0.9\n", ABOVE),
        ('assets = ["USDC"]', "assets = []", "collateral.1.assets: Tuple should have at least 1"),
        ("= 0.95\n", "= 95.0\n", "collateral.1.maintenance: Input should be less than or equal to"),
        ('0.95\nsource = "made up"', "0.95", "collateral.1.source: Field required"),
        ("chains = ", "chain = ", "collateral.0.chain: Extra inputs are not permitted"),
        ('kind = "spot"', 'kind = "perpetual"', OF_SPOT),
        ("maintenance = 0.05\n", "maintenance = 0.2\n", "maintenance 0.2 is above initial 0.1"),
        ('assets = ["USDC"]', 'assets = ["USDC", "USDC"]', "a name stands there twice"),
        (
            'assets = ["USDC"]',
            'chains = ["Ethereum"]\nassets = ["WETH"]',
            "collateral 'WETH' is named again where an earlier rule names it",
        ),
    ],
)
def test_a_wrong_field_is_told_by_name_value_and_what_is_allowed(old, new, told, tmp_path):
    assert old in NEW
    path = tmp_path / "wrong.toml"
    path.write_text(NEW.replace(old, new, 1))
    with pytest.raises(ValidationError) as refused:
        load_methodology(str(path))
    said = _sentence(refused.value)
    assert told in said
    assert len(said) < 600
