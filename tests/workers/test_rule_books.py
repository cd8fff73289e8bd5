"""Every rule book that ships, and a new one that is nothing but a TOML file."""

import dataclasses
import functools
import math
from collections import defaultdict
from datetime import date

import numpy as np
import pytest
from pydantic import ValidationError

from flows.cli import _sentence
from risk.margin import HELD, margin_accounts, measures_of
from storage.arrays import BLOCKS
from storage.runs import RunStore
from workers.collateral import counted_assets
from workers.engine import SerialEngine
from workers.explain import explain_account
from workers.explain.source import source_under
from workers.margin_run import MarginRun
from workers.methodologies import load_methodology, shipped_methodologies, with_netting
from workers.plan import RunRequest
from workers.rule_books import kind_of
from workers.shards import Shard
from workers.tasks import read_holdings

HOUSE = "margincube-"
"""Rule books of our own are no venue's, so nothing of a venue is left to verify."""

ACCOUNTS = ("acc-001", "acc-030", "acc-059")
ABOUT = {"rel": 1e-9, "abs": 1e-6}

NEW = """
name = "new-venue"
version = "3"
effective = 2026-02-01
title = "A venue that is nothing but this file"
sources = ["made up for tests"]
not_verified = ["all of it"]

[netting]
isolated = "position"
cross = "settlement_currency"
portfolio = "account"

[volatility_tenor]
reference_days = 30.0
short_power = 0.3
long_power = 0.13
floor_days = 1.0
minimum_volatility = 0.0

[scan]
unit = "underlying"
volatility_up = 0.45
volatility_down = 0.30
minimum_volatility_up = 0.40
initial_factor = 1.2
maintenance_factor = 0.9
cells = [
    [0.15, "up"],
    [-0.15, "up"],
    [0.15, "down"],
    [-0.15, "down"],
    [0.0, "none"],
    [-0.5, "up", 0.5],
    [1.0, "up", 0.25],
    [0, "skew"],
    [0, "absolute_skew"],
]

[scan.discount]
positive = 0.95
long_rate = 1.0
long_add = 0.08
negative = 1.04
short_add = 0.08

[scan.skew]
linear_cap = 0.25
linear_cap_per_root_year = -0.1
absolute_cap = 0.25
absolute_cap_per_root_year = -0.1
least_reach = 0.01
width = 4.0
volatility = 0.6
volatility_per_root_year = -0.1

[scan.basis]
up = 0.045
down = -0.045
add = 0.5
per_year = 2.0

[scan.extended]
price_range = 0.15
dampener = 500.0
factor = 0.9

[scan.underlying.SOL]
prices = [0.2, -0.2, 0.2, -0.2, 0.0, -0.6, 1.5, 0.0, 0.0]
price_range = 0.2
dampener = 100.0

[[scan.credits]]
underlyings = ["BTC", "ETH"]
rate = 0.3

[[charges]]
layer = "naked_short"
kinds = ["option"]
group = "strike"
side = "short"
initial = 0.005
maintenance = 0.003

[[charges]]
layer = "roll"
kinds = ["future", "perpetual", "option"]
amount = "delta"
group = "expiry"
side = "matched"
initial = 1.0
maintenance = 0.8
[charges.by_time]
per_year = 0.05
least = 0.01

[[charges]]
layer = "size"
kinds = ["perpetual", "future"]
group = "unit"
amount = "delta"
initial = 0.01
maintenance = 0.01
[charges.concentration]
exponent = 0.5
daily_volume = { BTC = 1.0e6, ETH = 5.0e5, SOL = 1.0e5 }

[[charges]]
layer = "least"
role = "floor"
kinds = ["option"]
side = "short"
initial = 0.02
maintenance = 0.01

[[buffers]]
layer = "buffer"
initial = 0.25
maintenance = 0.1
"""


def run_of(book, methodology, folder):
    """Margin a book under a rule book, and return the published run."""
    request = RunRequest(
        book=book.path, methodology=str(methodology), runs=folder / "runs", unapproved=True
    )
    with MarginRun(request, SerialEngine, SerialEngine) as run:
        assert not run.prepare()
        run.price()
        run.margin()
        run.fold()
        run.publish()
    return RunStore(request.runs).open(run.run_id)


@pytest.fixture(scope="module")
def done(mixed_book, margin_of):
    return margin_of(mixed_book).run


@pytest.fixture(scope="module")
def new_venue(tmp_path_factory):
    path = tmp_path_factory.mktemp("rules") / "new-venue.toml"
    path.write_text(NEW)
    return path


@pytest.fixture(scope="module")
def under(done, mixed_book):
    """Return a function that margins the book under a rule book, once."""
    return functools.cache(functools.partial(margin_under, done, mixed_book))


def margin_under(run, book, name):
    """Margin all accounts of a run's book under other rules, without storing anything."""
    source = source_under(run, name)
    return source, margin_accounts(*arguments(source, run, book))


def arguments(source, run, book):
    """What all accounts of a run's book hold, and what margins them."""
    assets = counted_assets(book.assets(), run.manifest["index"], source.methodology.collateral)
    lot_size = run.instruments["lot_size"].values
    whole = Shard(0, 0, book.accounts)
    holdings = read_holdings(book, whole, lot_size, assets.value, assets.priced)
    measures = measures_of(source.methodology, source.scenarios["origin"].values.tolist())
    return holdings, source.revaluation, source.methodology, measures


@pytest.mark.parametrize("name", shipped_methodologies())
def test_it_says_its_sources_its_date_and_what_stands_against_it(name):
    found = load_methodology(name).methodology
    assert name.startswith(found.name)
    assert found.version
    assert found.title
    assert len(found.sources) >= 1
    assert all(len(source) > 10 for source in found.sources)
    assert date(2015, 1, 1) <= found.effective <= date(2026, 12, 31)
    assert found.not_verified or found.venue or found.name.startswith(HOUSE)
    assert not (found.not_verified and found.venue)
    assert len(found.layers) == len(set(found.layers)) >= 1


def positions_without_a_rule(book, ruled):
    """Return whether each account holds something that no rule is for."""
    positions = book.position_slice(0, book.accounts)
    owner = np.repeat(np.arange(book.accounts), np.diff(positions.offsets))
    return np.bincount(owner[~ruled[positions.instrument]], minlength=book.accounts) > 0


def haircuts_of(run, book):
    """Return what the book's own haircuts take off the collateral of each account, USD."""
    assets = counted_assets(book.assets(), run.manifest["index"], ())
    collateral = book.collateral_slice(0, book.accounts)
    owner = np.repeat(np.arange(book.accounts), np.diff(collateral.offsets))
    off = (assets.price - assets.value)[collateral.asset] * collateral.quantity
    return np.bincount(owner, off, minlength=book.accounts)


@pytest.mark.parametrize("name", [*shipped_methodologies(), "new"])
def test_it_margins_a_book_and_its_totals_agree(name, under, done, mixed_book, new_venue):
    source, found = under(str(new_venue) if name == "new" else name)
    held = found.status == HELD
    everywhere = done.accounts["status"].values == HELD
    protocol = kind_of(source.methodology) == "protocol"
    if protocol:
        # A protocol has no rule for most of what a venue lists, and holds back who has it.
        unruled = positions_without_a_rule(mixed_book, source.revaluation.priced)
        assert held.tolist() == (everywhere | unruled).tolist()
        assert held.sum() > everywhere.sum()
    else:
        assert held.tolist() == everywhere.tolist()
    margin, requirement = found.margin[~held], found.requirement[~held]
    assert margin.shape[1] == len(source.methodology.layers)
    assert (margin >= 0.0).all()
    assert requirement == pytest.approx(margin.sum(axis=1), rel=1e-12)
    kept = found.maintenance[~held]
    assert (kept >= 0.0).all()
    assert (kept <= requirement * (1.0 + 1e-12)).all()
    assert (found.equity[~held] - requirement).tolist() == found.excess[~held].tolist()
    # Prices are those of the run, whatever the rules; haircuts are those of the rules.
    equity = done.accounts["equity"].values + (haircuts_of(done, mixed_book) if protocol else 0.0)
    assert found.equity[~held] == pytest.approx(equity[~held], rel=1e-12)
    assert protocol or found.equity[~held].tolist() == equity[~held].tolist()
    assert requirement.sum() > 0.0
    assert np.isfinite(found.contribution).all()
    # What is only reported is the same event under any rules.
    origin = source.scenarios["origin"].values
    events = origin == "event"
    wanted = done.scenarios["origin"].values == "event"
    assert np.array_equal(
        source.scenarios["price"].values[events], done.scenarios["price"].values[wanted]
    )


@pytest.mark.parametrize("name", [*shipped_methodologies(), "new"])
def test_chosen_accounts_have_the_bits_of_the_whole_book(name, under, done, mixed_book, new_venue):
    """Each account's own, and what the chosen leave of the sums is what the others come to."""
    source, found = under(str(new_venue) if name == "new" else name)
    holdings, *rest = arguments(source, done, mixed_book)
    chosen = np.arange(len(holdings)) % 3 == 0
    part, others = (
        margin_accounts(holdings.take(np.flatnonzero(some)), *rest) for some in (chosen, ~chosen)
    )
    for field in dataclasses.fields(found):
        whole, one, other = (getattr(each, field.name) for each in (found, part, others))
        if field.name in {variable.name for variable in BLOCKS}:
            assert (whole - one).tobytes() == other.tobytes(), field.name
        else:
            assert whole[chosen].tobytes() == one.tobytes(), field.name


def stacked(explained, rules):
    """Recompute the layers of charges and buffers from what an explanation says of them."""
    amounts = {one["layer"]: one["amount"] for one in explained["layers"]}
    by_layer = defaultdict(float)
    for one in explained["charges"]:
        by_layer[one["layer"]] += one["initial"]
    total = math.fsum(amounts[layer] for layer in rules.base_layers)
    if rules.model_risk is not None:
        estimates = explained["model_risk"]["estimates"].values()
        asked = rules.model_risk.initial * (max(estimates) - min(estimates))
        assert rules.model_risk.spread == "range"
        assert amounts[rules.model_risk.layer] == pytest.approx(asked, **ABOUT)
        total += asked
    for layer in rules.charge_layers:
        role = next(one["role"] for one in explained["charges"] if one["layer"] == layer)
        asked = by_layer[layer] if role == "addition" else max(0.0, by_layer[layer] - total)
        assert amounts[layer] == pytest.approx(asked, **ABOUT), layer
        total += amounts[layer]
    for buffer in rules.buffers:
        assert amounts[buffer.layer] == pytest.approx(buffer.initial * total, **ABOUT)
        total += amounts[buffer.layer]
    assert explained["requirement"] == pytest.approx(total, **ABOUT)


def scanned(explained):
    """Recompute the layer of a scan from its units, sets and positions."""
    losses = 0.0
    for unit in explained["units"]:
        losses += max(0.0, unit["loss"])
        if unit["scenario"] is None:
            basis = math.fsum(one["basis_contingency"] for one in unit["sets"])
            assert unit["loss"] == pytest.approx(basis, **ABOUT)
            continue
        counted = math.fsum(one["counted"] for one in unit["sets"])
        left = math.copysign(max(abs(counted) - unit["dampened_by"], 0.0), counted)
        assert -unit["loss"] == pytest.approx(left, **ABOUT)
        assert min(unit["pnl_by_scenario"].values()) == pytest.approx(-unit["loss"], **ABOUT)
        for one in unit["sets"]:
            pnl = math.fsum(one["pnl_by_position"].values())
            assert one["pnl"] == pytest.approx(pnl, **ABOUT)
            worth = one["value"] + pnl
            factor = one["discount_of_gain"] if worth >= 0.0 else one["discount_of_loss"]
            whole = (worth * factor - one["value"]) * unit["weight"]
            assert abs(one["counted"]) == pytest.approx(abs(whole), **ABOUT)
    scan = explained["scan"]
    assert scan["loss"] == pytest.approx(losses, **ABOUT)
    return scan["initial_factor"] * (losses - scan["credit"])


@pytest.mark.parametrize("name", [*shipped_methodologies(), "new"])
def test_accounts_are_explained_under_it(name, under, done, mixed_book, new_venue, monkeypatch):
    name = str(new_venue) if name == "new" else name
    source, found = under(name)
    # What is made of the run's prices is the same for every account.
    monkeypatch.setattr("workers.explain.source_under", lambda run, asked: source)
    names = mixed_book.account_table(0, mixed_book.accounts)["account"].to_pylist()
    for account in ACCOUNTS:
        row = names.index(account)
        explained = explain_account(done, account, name)
        if found.status[row] == HELD:
            assert explained["held_because"]
            continue
        for field in ("requirement", "maintenance", "equity", "excess"):
            assert explained[field] == float(getattr(found, field)[row]), (account, field)
        amounts = [one["amount"] for one in explained["layers"]]
        assert amounts == found.margin[row].tolist()
        stacked(explained, source.methodology)
        if source.methodology.scan is not None:
            assert scanned(explained) == pytest.approx(amounts[0], **ABOUT)
        for leg in explained["legs"]:
            assert leg["requirement"] == pytest.approx(sum(leg["layers"].values()), **ABOUT)
        assert len(explained["legs"]) == len(explained["positions"])


def check_totals(run):
    accounts = run.accounts.load()
    margined = accounts["status"].values != HELD
    margin = accounts["margin"].values[margined]
    assert accounts["requirement"].values[margined] == pytest.approx(margin.sum(axis=1))
    assert (margin >= 0.0).all()
    assert np.isnan(accounts["requirement"].values[~margined]).all()
    assert run.manifest["totals"]["requirement"] == pytest.approx(margin.sum())


def test_a_charge_that_is_written_twice_is_refused(tmp_path):
    path = tmp_path / "twice.toml"
    begin = NEW.index("[[charges]]")
    charge = NEW[begin : NEW.index("[[charges]]", begin + 1)]
    path.write_text(NEW.replace(charge, charge + charge, 1))
    with pytest.raises(ValidationError, match="has the same charge twice"):
        load_methodology(str(path))


def test_a_new_rule_book_is_nothing_but_a_file(new_venue, mixed_book, tmp_path):
    run = run_of(mixed_book, new_venue, tmp_path)
    check_totals(run)
    rules = load_methodology(str(new_venue)).methodology
    assert rules.layers == ("scan", "naked_short", "roll", "size", "least", "buffer")
    scenarios = run.scenarios["origin"].values.tolist()
    assert scenarios.count("scan") == 9
    assert scenarios.count("basis") == 2
    assert scenarios.count("event") >= 1
    credited = 0.0
    for row in range(0, 60, 3):
        explained = explain_account(run, f"acc-{row:03d}")
        if explained["status"] == "margined":
            stacked(explained, rules)
            assert scanned(explained) == pytest.approx(explained["layers"][0]["amount"], **ABOUT)
            credited += explained["scan"]["credit"]
    assert credited > 0.0


@pytest.mark.slow
@pytest.mark.parametrize("name", shipped_methodologies())
def test_every_rule_book_runs_end_to_end(name, synthetic_book, tmp_path):
    book = synthetic_book(300)
    run = run_of(book, name, tmp_path)
    check_totals(run)
    names = book.account_table(0, 300)["account"].to_pylist()
    for account in names[::40]:
        explain_account(run, account)
        explain_account(run, account, "span-scan-2026-01")


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("sources = [", "source = [", "sources: Field required"),
        ('sources = ["made up for tests"]', "sources = []", "sources: Tuple should have at least"),
        ("effective = 2026-02-01\n", "", "effective: Field required"),
        ("effective = 2026-02-01", 'effective = "soon"', "effective: Input should be a valid date"),
        (
            'name = "new-venue"',
            'name = ""',
            "name: '' is no name; use up to 100 letters, digits",
        ),
        ("[netting]", "[net]", "net: Extra inputs are not permitted"),
        (
            'cross = "settlement_currency"',
            'cross = "coin"',
            "netting.cross: Input should be 'position', 'settlement_currency' or 'account', got",
        ),
        ("reference_days = 30.0\n", "", "volatility_tenor.reference_days: Field required"),
        (
            "short_power = 0.3",
            "short_power = 30.0",
            "short_power: Input should be less than or equ",
        ),
        (
            '[0.15, "up"]',
            '[0.15, "sideways"]',
            "scan.cells.0.volatility: Input should be 'up', 'none', 'down', 'skew' or "
            "'absolute_skew', got 'sideways'",
        ),
        ('[0.15, "up"]', '[15.0e1, "up"]', "scan.cells.0.price: Input should be less than or equ"),
        ('[0.15, "up"]', '["up", 0.15]', "scan.cells.0.price: Input should be a valid number"),
        ('[0.15, "up"]', "[0.15]", "scan.cells.0: a cell is [price, volatility] or [price, volat"),
        (
            "volatility_down = 0.30",
            "volatility_down = 30.0",
            "scan.volatility_down: Input should be less than or equal to 1, got 30.0",
        ),
        ("maintenance_factor = 0.9\n", "", "scan.maintenance_factor: Field required"),
        (
            "maintenance_factor = 0.9",
            "maintenance_factor = 1.3",
            "scan: maintenance_factor 1.3 is above initial_factor 1.2",
        ),
        ("[scan.skew]", "[scan.smile]", "scan.smile: Extra inputs are not permitted"),
        ("positive = 0.95", "positive = nan", "scan.discount.positive: Input should be"),
        (
            "up = 0.045",
            "up = 4.5",
            "scan.basis.up: Input should be less than or equal to 1, got 4.5",
        ),
        ("dampener = 500.0\n", "", "scan.extended.dampener: Field required"),
        (
            "prices = [0.2, -0.2,",
            "prices = [0.2,",
            "underlying SOL: 8 prices for 9 cells; give one",
        ),
        ('underlyings = ["BTC", "ETH"]', 'underlyings = ["BTC", "BTC"]', "'BTC' and itself"),
        (
            "rate = 0.3",
            "rate = 30.0",
            "scan.credits.0.rate: Input should be less than or equal to 1",
        ),
        (
            'side = "short"',
            'side = "naked"',
            "charges.0.side: Input should be 'gross', 'short', 'long' or 'matched', got 'naked'",
        ),
        (
            "initial = 0.005",
            "initial = 0.5e1",
            "layer 'naked_short': initial 5 is more than the wh",
        ),
        ("initial = 0.005", "initial = 0.001", "maintenance 0.003 is above initial 0.001"),
        ("least = 0.01", "minimum = 0.01", "charges.1.by_time.least: Field required"),
        ('layer = "least"', 'layer = "size"', "layer 'size' has charges of both roles"),
        ('layer = "least"', 'layer = "scan"', "layer names"),
        ("maintenance = 0.1\n", "maintenance = 0.3\n", "layer 'buffer': maintenance 0.3 is above"),
        (
            'name = "new-venue"',
            'name = "../new"',
            "name: '../new' is no name; use up to 100 letters",
        ),
        ('layer = "least"', 'layer = "the least"', "layer: 'the least' is no name"),
        ("initial = 0.005", "initial = true", "initial is true; true and false are not allowed"),
        ("[scan]\nunit", "[scans]\nunit", "scans: Extra inputs are not permitted"),
    ],
)
def test_a_wrong_or_missing_field_is_told_by_name_value_and_what_is_allowed(
    old, new, told, tmp_path
):
    assert old in NEW
    path = tmp_path / "wrong.toml"
    path.write_text(NEW.replace(old, new, 1))
    with pytest.raises(ValidationError) as refused:
        load_methodology(str(path))
    said = _sentence(refused.value)
    assert told in said
    assert "Value error" not in said
    assert len(said) < 600


def test_a_volume_that_is_missing_is_told_when_the_market_is_known(
    new_venue, done, mixed_book, tmp_path
):
    path = tmp_path / "volume.toml"
    path.write_text(NEW.replace(", SOL = 1.0e5", ""))
    with pytest.raises(ValueError, match=r"layer 'size': no daily_volume for \['SOL'\]; give one"):
        source_under(done, str(path))


@pytest.mark.parametrize("table", ["[netting]", "[netting]  # ours", "[ netting ]"])
@pytest.mark.parametrize("last", [True, False])
def test_netting_is_found_however_it_is_written(table, last, tmp_path):
    head, rest = NEW.split("[netting]\n")
    own, rest = rest.split("[volatility_tenor]")
    own, rest = f"{table}\n{own.rstrip()}", f"[volatility_tenor]{rest}"
    text = f"{head}{rest}\n{own}" if last else f"{head}{own}\n{rest}"
    path = tmp_path / "netting.toml"
    path.write_text(with_netting(text, "isolated"))
    netting = load_methodology(str(path)).methodology.netting
    assert set(netting.model_dump().values()) == {"position"}


def test_what_is_under_no_rule_holds_its_accounts_back_and_says_so(done, mixed_book, tmp_path):
    name = "derive-standard-2025-01"
    text = load_methodology(name).text
    begin = text.rindex('[[rules]]\nkind = "perpetual"')
    end = text.index("[[rules]]", begin + 1)
    path = tmp_path / "no-perpetuals.toml"
    path.write_text(text[:begin] + text[end:])
    _, found = margin_under(done, mixed_book, str(path))
    before = done.accounts["status"].values == HELD
    held = found.status == HELD
    assert (held & ~before).any()
    row = int(np.flatnonzero(held & ~before)[0])
    explained = explain_account(done, f"acc-{row:03d}", str(path))
    assert explained["status"] == "held back"
    assert "requirement" not in explained
    assert all(reason.startswith("RULE_MISSING, I") for reason in explained["held_because"])
    # A run under these rules stores the prices that it had, and holds the same accounts back.
    run = run_of(mixed_book, path, tmp_path)
    assert (run.accounts["status"].values == HELD).tolist() == held.tolist()
    assert run.instruments["priced"].values.tolist() == done.instruments["priced"].values.tolist()
    assert explain_account(run, f"acc-{row:03d}")["held_because"] == explained["held_because"]
    other = explain_account(run, f"acc-{row:03d}", name)
    assert other["requirement"] == explain_account(done, f"acc-{row:03d}", name)["requirement"]
