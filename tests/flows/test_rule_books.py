"""Every kind of rule book as a user sees it: what is told, drawn and explained of its runs."""

import csv
import html
import io
import json
import re
import signal
import sys
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

import flows.cli
from flows.commands.explain import print_explanation
from flows.report.distribution import system_tail
from flows.report.page import render, sections
from flows.report.picture import Picture, Sentence
from flows.run_view import run_view
from storage.runs import RunStore
from tests.flows.test_report import browse, needs_browser, without_plotly
from workers.engine import SerialEngine
from workers.explain import explain_account
from workers.margin_run import MarginRun
from workers.methodologies import load_methodology, shipped_methodologies
from workers.plan import RunRequest
from workers.rule_books import KINDS, kind_of, rule_book_of, venue_of

pytestmark = pytest.mark.filterwarnings("ignore:Cyclopts application invoked without tokens")

BOOKS = {
    "derive-pmrm-2-2025-04": "scan",
    "deribit-pme-2026-02": "scan",
    "deribit-standard-2022-01": "standard",
    "margincube-greeks-2026-01": "Greeks",
    "small": "measures",
}
WITHOUT_HISTORY = [name for name, kind in BOOKS.items() if kind != "measures"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory, mixed_book, small_methodology):
    """A data folder with a run of the mixed book under every kind of rule book, by its name."""
    home = tmp_path_factory.mktemp("home")
    made = {}
    for name in BOOKS:
        methodology = str(small_methodology) if name == "small" else name
        request = RunRequest(mixed_book.path, methodology=methodology, runs=home / "runs")
        with MarginRun(request, SerialEngine, SerialEngine) as run:
            assert not run.prepare()
            run.price()
            run.margin()
            run.fold()
            run.publish()
        made[name] = RunStore(home / "runs").open(run.run_id)
    return home, made


@pytest.fixture
def margincube(runs, monkeypatch, capsys):
    """Return a function that runs a command in this process and returns what it printed."""
    monkeypatch.setenv("MARGINCUBE_HOME", str(runs[0]))
    monkeypatch.setenv("COLUMNS", "200")
    handler = signal.getsignal(signal.SIGTERM)

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["margincube", *map(str, arguments)])
        code = 0
        try:
            flows.cli.main()
        except SystemExit as end:
            code = end.code or 0
        output, messages = capsys.readouterr()
        assert code == 0, messages
        assert "Traceback" not in output + messages
        return output

    yield call
    signal.signal(signal.SIGTERM, handler)


@pytest.mark.parametrize("name", BOOKS)
def test_totals_are_those_of_the_accounts(runs, name):
    run = runs[1][name]
    totals = run.manifest["totals"]
    accounts = run.accounts.load()
    equity, maintenance = accounts["equity"].values, accounts["maintenance"].values
    assert totals["maintenance"] == pytest.approx(np.nansum(maintenance), rel=1e-12)
    assert totals["accounts_below_maintenance"] == np.count_nonzero(equity < maintenance)
    assert totals["accounts_short"] == np.count_nonzero(equity < accounts["requirement"].values)
    assert totals["maintenance"] <= totals["requirement"]
    folds = run.folds.load()
    assert float(folds["member_maintenance"].sum()) == totals["maintenance"]
    below = int(folds["member_accounts_below_maintenance"].sum())
    assert below == totals["accounts_below_maintenance"] > 0


def test_accounts_under_rules_of_ours_are_counted(runs, mixed_book):
    run = runs[1]["deribit-standard-2022-01"]
    # Ours are linear options, perpetuals and futures on other coins than BTC and ETH, and spot.
    table = mixed_book.instruments().to_pydict()
    kinds = zip(table["kind"], table["settlement"], table["underlying"], strict=True)
    ours = {
        row
        for row, (kind, settlement, coin) in enumerate(kinds)
        if kind == "spot"
        or (kind == "option" and settlement == "linear")
        or (kind in ("perpetual", "future") and coin not in ("BTC", "ETH"))
    }
    margined = run.accounts["status"].values == 0
    expected = 0
    for account in np.flatnonzero(margined).tolist():
        held = mixed_book.position_slice(account, account + 1).instrument.tolist()
        expected += bool(ours & set(held))
    assert run.manifest["totals"]["accounts_by_choice"] == expected > 0
    assert "accounts_by_choice" not in runs[1]["small"].manifest["totals"]


@pytest.mark.parametrize("name", BOOKS)
def test_a_run_says_by_which_rules_and_whose_number_it_is(runs, margincube, name):
    run = runs[1][name]
    rules = run.manifest["inputs"]["methodology"]
    assert rules["kind"] == BOOKS[name]
    shown = margincube("show", run.run_id)
    for said in (f"{rules['name']} {rules['version']}", rules["effective"], rules["title"]):
        assert said in shown
    assert rules["venue"] is None
    assert "not the venue's number" in shown or "not a venue's number" in shown
    doubts = rules["not_verified"]
    if doubts:
        where = run.manifest["settings"]["methodology"]
        assert f"{len(doubts)} points are not verified: margincube methodologies {where}" in shown
    assert "maintenance" in shown
    assert "accounts below initial, maintenance" in shown
    assert ("accounts under a rule of ours" in shown) == (BOOKS[name] == "standard")
    # A requirement that is not split over positions has no shares of nothing.
    assert ("share of requirement" in shown) == (BOOKS[name] in ("measures", "scan"))
    assert "reported only" in shown


def test_the_list_of_runs_names_their_rule_books(runs, margincube):
    listed = margincube("runs")
    for run in runs[1].values():
        rules = run.manifest["inputs"]["methodology"]
        assert run.run_id in listed
        assert f"{rules['name']} {rules['version']}" in listed
        assert rules["effective"] in listed
        assert rules["title"][:12] in listed  # a long title goes on in the next line


@pytest.mark.parametrize("name", BOOKS)
def test_the_report_tells_all_that_is_not_verified(runs, name):
    view = run_view(runs[1][name])
    page = html.unescape(without_plotly(render(view))).replace("\N{NO-BREAK SPACE}", " ")
    rules = runs[1][name].manifest["inputs"]["methodology"]
    assert rules["standing"][1:] in page
    for said in (*rules["not_verified"], rules["title"]):
        assert said in page
    assert "what it takes to keep positions" in page


@pytest.mark.parametrize("name", WITHOUT_HISTORY)
def test_the_report_draws_no_history_where_there_is_none(runs, name):
    view = run_view(runs[1][name])
    tail = system_tail(view)
    assert tail == ()
    blocks = [block for part in sections(view, tail) for block in part.blocks]
    drawn = {block.name: block for block in blocks if isinstance(block, Picture)}
    assert not {"over-time", "distribution", "tail"} & set(drawn)
    assert ("heat" in drawn) == (BOOKS[name] == "scan")
    assert any(block.title == "No history" for block in blocks if isinstance(block, Sentence))
    captions = " ".join(block.caption for block in drawn.values())
    assert "istorical" not in captions
    assert "window" not in captions
    labels = [choice.label for choice in drawn["underlying"].choices]
    split = ["Requirement"] if BOOKS[name] == "scan" else []
    assert labels == [*split, "Paid in the worst event", "Open interest"]
    ranked = [choice.label for choice in drawn["worst"].choices]
    assert ("Rule book's scenarios" in ranked) == (BOOKS[name] == "scan")
    assert not says_nan(without_plotly(render(view)))


def says_nan(page: str) -> bool:
    return "NaN" in page or ">nan<" in page


def test_the_map_of_a_scan_says_what_it_leaves_out(runs):
    view = run_view(runs[1]["derive-pmrm-2-2025-04"])
    (heat,) = (
        block
        for part in sections(view, ())
        for block in part.blocks
        if isinstance(block, Picture) and block.name == "heat"
    )
    assert "2 rotations of the smile have no place on the map" in heat.caption
    assert "counts extreme moves in part" in heat.caption
    pme = run_view(runs[1]["deribit-pme-2026-02"])
    page = without_plotly(render(pme))
    assert "The moves are those of BTC; ETH moves by its own sizes" in page
    assert "what is paid in coin counts in coin" in page


def test_the_tail_is_at_the_levels_of_the_methodology(runs):
    tail = system_tail(run_view(runs[1]["small"]))
    assert [one.name for one in tail] == ["ES 90 %", "VaR 95 %"]
    assert "the worst 10 % of windows" in tail[0].words
    assert "5 % of windows lose" in tail[1].words


@pytest.mark.slow
@needs_browser
def test_the_page_of_a_scan_is_drawn_in_a_browser(runs, tmp_path: Path):
    page = tmp_path / "report.html"
    page.write_text(render(run_view(runs[1]["deribit-pme-2026-02"])), encoding="utf-8")
    seen, console = browse(page, tmp_path, 1280)
    assert not console
    assert not seen["errors"]
    assert all(marks > 0 for _, _, marks in seen["sizes"].values()), seen["sizes"]


def explained_and_printed(run, account, *, whole=False):
    """Return an explanation, and what is printed of it."""
    explained = json.loads(json.dumps(explain_account(run, account)))
    console = Console(file=io.StringIO(), width=200)
    print_explanation(console, explained, whole=whole)
    return explained, console.file.getvalue()


@pytest.mark.parametrize("name", BOOKS)
def test_an_account_is_explained_under_every_rule_book(runs, name):
    run = runs[1][name]
    explained, shown = explained_and_printed(run, margined(run, with_positions=3), whole=True)
    rules = explained["rule_book"]
    assert rules["kind"] == BOOKS[name]
    for said in (rules["title"], rules["effective"], rules["standing"], "maintenance"):
        assert said in shown
    assert explained["health"].replace("_", " ") in shown
    layers = sum(layer["amount"] for layer in explained["layers"])
    assert explained["requirement"] == pytest.approx(layers, rel=1e-12)


def test_a_protocol_is_explained_with_weights_and_its_health_factor(runs, tmp_path):
    """The rules of a protocol, for every coin and settlement, and for futures too."""
    text = load_methodology("mango-v4-2023-02").text
    text = re.sub(r'^(settlement = "linear"|underlyings = .*)\n', "", text, flags=re.M)
    start = text.index('[[rules]]\nkind = "perpetual"')
    ours = text.index('[[rules]]\nkind = "perpetual"', start + 1)
    text = text[:ours] + text[ours:].replace('"perpetual"', '"future"', 1)
    path = tmp_path / "everything.toml"
    path.write_text(text)
    run, seen = runs[1]["small"], 0
    for row in range(1, 40, 4):
        explained = explain_account(run, f"acc-{row:03d}", str(path))
        if explained["status"] != "margined" or not explained["collateral"]:
            continue
        console = Console(file=io.StringIO(), width=240)
        print_explanation(console, json.loads(json.dumps(explained)), whole=True)
        shown, health = console.file.getvalue(), explained["protocol_health"]
        assert "none names it: it counts for nothing" in shown
        assert "collateral at its whole value" in shown
        factor = health["factor"]
        assert f"health factor: {'infinite' if factor is None else f'{factor:.6f}'}" in shown
        for line in health["liquidation"]:
            assert f"{line['price']:,.2f}" in shown
        seen += factor is not None
    assert seen


def test_an_account_that_is_held_back_is_explained_too(runs):
    run = runs[1]["deribit-standard-2022-01"]
    (row, *_) = np.flatnonzero(run.accounts["status"].values != 0).tolist()
    explained, shown = explained_and_printed(run, f"acc-{row:03d}")
    assert explained["status"] == "held back"
    assert "held back" in shown
    assert explained["rule_book"]["standing"] in shown


def test_rules_by_leg_are_explained_with_the_rule_of_each_leg(runs):
    run = runs[1]["deribit-standard-2022-01"]
    account = margined(run, with_positions=4)
    explained, shown = explained_and_printed(run, account)
    for leg in explained["legs"]:
        assert leg["rule"]["form"] in ("out_of_the_money", "fraction", "haircut")
        assert leg["rule"]["source"]
    assert "whose" in shown
    assert "P&L by position" not in shown


def test_greeks_are_explained_by_netting_set_and_coin(runs):
    run = runs[1]["margincube-greeks-2026-01"]
    account = margined(run, with_positions=4)
    explained, _ = explained_and_printed(run, account)
    by_layer = {layer["layer"]: layer["amount"] for layer in explained["layers"]}
    for layer, amount in by_layer.items():
        sets = sum(one["layers"][layer] for one in explained["sensitivities"])
        assert sets == pytest.approx(amount, rel=1e-12)
    for one in explained["sensitivities"]:
        for row in one["underlyings"]:
            weighted = row["delta"] * row["delta_weight"] * row["delta_concentration"]
            assert row["weighted_delta"] == pytest.approx(weighted, rel=1e-12)


def test_an_account_is_explained_under_rules_that_are_not_its_run(runs, margincube):
    run = runs[1]["small"]
    account = margined(run, with_positions=3)
    for other in ("derive-pmrm-2-2025-04", "derive-standard-2025-01", "margincube-greeks-2026-01"):
        shown = margincube(*("explain", account, "--run", run.run_id, "--methodology", other))
        assert load_methodology(other).methodology.title in shown
        assert f"margincube methodologies {other}" in shown


def margined(run, with_positions: int) -> str:
    """Return the name of a margined account that holds so many positions, or more."""
    status, count = run.accounts["status"].values, run.accounts["positions"].values
    (row, *_) = np.flatnonzero((status == 0) & (count >= with_positions)).tolist()
    return f"acc-{row:03d}"


def test_an_export_has_maintenance_and_health(runs, margincube, tmp_path):
    run = runs[1]["deribit-standard-2022-01"]
    margincube("export", run.run_id, "--output", tmp_path / "accounts.csv")
    with (tmp_path / "accounts.csv").open() as file:
        rows = list(csv.DictReader(file))
    seen = set()
    for row in rows:
        if row["status"] == "held":
            assert (row["maintenance"], row["health"]) == ("", "")
            continue
        equity = float(row["equity"])
        below = equity < float(row["maintenance"])
        assert (row["health"] in ("liquidation", "bankrupt")) == below
        assert (row["health"] == "bankrupt") == (equity < 0.0)
        seen.add(row["health"])
    assert {"healthy", "liquidation"} <= seen


def test_the_rule_books_that_ship_are_listed(margincube):
    listed = margincube("methodologies")
    for name in shipped_methodologies():
        assert name in listed
    told = {one["methodology"]: one for one in json.loads(margincube("methodologies", "--json"))}
    assert list(told) == shipped_methodologies()
    assert {one["kind"] for one in told.values()} == set(KINDS)


@pytest.mark.parametrize("name", shipped_methodologies())
def test_a_rule_book_is_shown_with_its_layers_sources_and_doubts(margincube, name):
    rules = load_methodology(name).methodology
    shown = margincube("methodologies", name)
    for said in (rules.title, *rules.layers, *rules.sources, *rules.not_verified):
        assert said in shown
    told = json.loads(margincube("methodologies", name, "--json"))
    assert told["layers"] == list(rules.layers)
    assert told["parameters"]["netting"]


@pytest.mark.parametrize("name", shipped_methodologies())
def test_nothing_is_a_venue_s_number_while_a_point_is_not_verified(name):
    rules = load_methodology(name).methodology
    book = rule_book_of(rules)
    assert kind_of(rules) in KINDS
    if rules.not_verified:
        assert venue_of(rules) is None
    if book["venue"] is None:
        assert "not" in book["standing"]


def test_a_file_that_does_not_ship_is_not_believed_about_its_venue(tmp_path):
    text = resources.files("risk.methodologies").joinpath("span-scan-2026-01.toml").read_text()
    start, end = text.index("not_verified = ["), text.index("]\n", text.index("not_verified = ["))
    path = tmp_path / "mine.toml"
    path.write_text(text[:start] + 'venue = "Deribit"\n' + text[end + 2 :])
    rules = load_methodology(str(path)).methodology
    assert (rules.venue, rules.not_verified, venue_of(rules)) == ("Deribit", (), None)
    assert rule_book_of(rules)["standing"] == (
        "said to be Deribit's by a file that does not ship; not called its number"
    )


def test_a_verified_rule_book_may_be_called_the_venue_s(monkeypatch):
    monkeypatch.setattr("workers.rule_books.ships", lambda rules: True)
    derive = load_methodology("derive-standard-2025-01").methodology
    standard = derive.standard.model_copy(update={"not_verified": ()})
    verified = derive.model_copy(update={"not_verified": (), "standard": standard})
    book = rule_book_of(verified)
    assert book["venue"] == "Derive"
    assert book["standing"] == "Derive standard margin, as of 2025-01-01"
