"""The report of a collateral run: its numbers are the run's, in words that escape."""

import doctest
import html
import importlib
import json
import re
import signal
import sys
from collections import defaultdict
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest
import xarray as xr

import flows.cli
from flows.format import money, percent
from flows.pool_view import pool_view
from flows.report.collateral import PoolView, write_collateral_report
from flows.report.collateral.page import render, sections
from flows.report.picture import Picture, Sentence
from risk.claims.groups import concentration
from storage.claims import Claims
from storage.market import sample_market
from storage.runs import StoredRun
from tests.flows.browser import browse, needs_browser, without_plotly
from workers.claims.generate import generate_claims
from workers.claims.references import DEVIATING, STALE
from workers.engine import SerialEngine
from workers.pool.request import PoolRequest, pool_store
from workers.pool.run import PoolRun

HOSTILE = '<script>window.broken = 1</script><b>bold & "quoted"</b>'

TITLES = {
    "pool": ["By chain", "By protocol", "By bridge", "By asset"],
    "flow": ["From where collateral lies to what it backs"],
    "failures": [
        "Concentration of credit",
        "If it fails: single points of failure",
        "Failures in numbers",
        "Caps of the bridges",
    ],
    "counted": [
        "Outcome of every claim",
        "Double counts found",
        "Who counts one thing twice",
        "Tokens that stand for each other",
    ],
    "known": ["Coverage by proofs", "Prices and their ages", "Chains and their blocks"],
    "accounts": [
        "Health of positions in lending markets",
        "Largest shortfalls",
        "Where collateral inside the scenarios adds the most",
    ],
    "rules": ["Sources of the rules", "Every rule and its source"],
    "run": ["Where the time went", "Manifest"],
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def claims(synthetic_book: Any, home: Path) -> Claims:
    return generate_claims(home / "claims", synthetic_book(2_000), 11, sample_market(), threads=1)


@pytest.fixture(scope="module")
def run(synthetic_book: Any, margin_of: Any, claims: Claims, home: Path) -> StoredRun:
    margin = margin_of(synthetic_book(2_000), runs=home / "runs")
    request = PoolRequest(
        run=margin.run.run_id,
        claims=claims.location,
        runs=home / "runs",
        pools=home / "pools",
    )
    engine = SerialEngine()
    with PoolRun(request, lambda: engine, lambda: engine) as pool:
        assert not pool.prepare()
        pool.count()
        pool.value()
        pool.pool()
        pool.fold()
        pool.publish()
    return pool_store(request).read(pool.run_id)


@pytest.fixture(scope="module")
def view(run: StoredRun) -> PoolView:
    return pool_view(run)


@pytest.fixture(scope="module")
def page(view: PoolView, home: Path) -> Path:
    path = home / "page.html"
    write_collateral_report(view, path)
    return path


class Page(HTMLParser):
    """Titles and tables by section, and the headline numbers, as a browser would read them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.titles: dict[str, list[str]] = defaultdict(list)
        self.tables: dict[str, list[list[str]]] = defaultdict(list)
        self.tiles: dict[str, str] = {}
        self._section = self._title = self._tag = ""
        self._words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        if tag == "section":
            self._section = given.get("id") or ""
        if tag == "tr":
            self.tables[self._title].append([])
        self._tag, self._words = f"{tag} {given.get('class') or ''}".strip(), ""

    def handle_data(self, data: str) -> None:
        self._words += data.replace("\N{NO-BREAK SPACE}", " ")

    def handle_endtag(self, tag: str) -> None:
        if tag in ("h3", "summary"):
            self._title = self._words
            if self._section:
                self.titles[self._section].append(self._title)
        if tag == "td":
            self.tables[self._title][-1].append(self._words)
        if tag == "p" and self._tag == "p number":
            self.tiles[self._title] = self._words


@pytest.fixture(scope="module")
def read(page: Path) -> Page:
    return Page(without_plotly(page.read_text(encoding="utf-8")))


def rows(read: Page, title: str) -> list[list[str]]:
    """The rows of a table, without its head."""
    return [row for row in read.tables[title] if row]


def number(text: str) -> int:
    return int(text.replace(",", "").replace("−", "-"))


def pictures(view: PoolView) -> list[Picture]:
    return [b for part in sections(view) for b in part.blocks if isinstance(b, Picture)]


def test_every_section_is_there(read: Page) -> None:
    assert dict(read.titles) == TITLES


def test_headline_numbers_are_the_runs(read: Page, run: StoredRun) -> None:
    totals = run.manifest["totals"]
    status = run.groups["accounts"]["status"].values
    pooled = run.groups["accounts"].isel(account=np.flatnonzero(status == 0)).load()
    for title, stored in (
        ("Pool at mark", "value"),
        ("Credit", "credit"),
        ("Requirement", "requirement"),
        ("Positions alone", "requirement_alone"),
    ):
        assert read.tiles[title] == money(float(pooled[stored].values.sum()))
        assert read.tiles[title] == money(totals[stored])
    short = np.maximum(-pooled["excess"].values, 0.0)
    assert read.tiles["Shortfall"] == money(float(short.sum()))
    assert number(read.tiles["Accounts below"]) == np.count_nonzero(short) > 0
    proven = run.groups["blocks"]["credit_by_standing"].values.sum(axis=0)
    assert read.tiles["Credit said to be proven"] == percent(proven[0] / proven.sum())


def test_only_what_was_judged_is_called_proven(view: PoolView, read: Page) -> None:
    """Generated claims are as said; the same run of claims that were judged says so."""
    assert view.manifest["inputs"]["claims"]["standing"] == "as said"
    claims = view.manifest["inputs"]["claims"] | {"standing": "judged"}
    inputs = view.manifest["inputs"] | {"claims": claims}
    judged = Page(
        without_plotly(render(replace(view, manifest=view.manifest | {"inputs": inputs})))
    )
    assert "Credit that is proven" in judged.tiles
    assert "Credit that is proven" not in read.tiles
    names = {
        told: [row[0] for row in rows(page, "Coverage by proofs")]
        for told, page in (("judged", judged), ("as said", read))
    }
    assert names == {
        "judged": ["proven", "attested", "stated"],
        "as said": ["said to be proven", "said to be attested", "stated"],
    }


def test_outcomes_are_those_of_the_claims(read: Page, run: StoredRun, claims: Claims) -> None:
    found = {row[0]: number(row[2]) for row in rows(read, "Outcome of every claim")}
    outcomes = run.manifest["totals"]["outcomes"]
    assert found.pop("counted") == outcomes["COUNTED"]
    for name, count in found.items():
        assert outcomes[name.upper().replace(" ", "_")] == count
    assert sum(found.values()) + outcomes["COUNTED"] == claims.claims


def test_double_counts_are_the_planted_ones(read: Page, claims: Claims) -> None:
    planted = claims.planted
    found = {row[0]: row[1:] for row in rows(read, "Double counts found")}
    for words, kind in (
        ("same deposit", "root_twice"),
        ("same proof", "proof_twice"),
        ("claim and its receipt", "backing_twice"),
        ("circle of receipts", "backing_cycle"),
    ):
        assert number(found[words][0]) == len(planted[kind]) > 0
        assert number(found[words][1]) == sum(map(len, planted[kind]))


def test_first_groups_are_named_by_account_and_token(
    read: Page, run: StoredRun, claims: Claims, synthetic_book: Any
) -> None:
    book = synthetic_book(2_000)
    names = book.account_table(0, book.accounts, ["account"])["account"].to_pylist()
    held = claims.columns(["account", "token"])
    tokens = claims.references().tokens.to_pylist()
    told = [row for row in rows(read, "Who counts one thing twice") if "same deposit" in row[0]]
    said = {
        tuple(
            (names[held["account"][claim]], tokens[held["token"][claim]]["token"])
            for claim in sorted(group)
        )
        for group in claims.planted["root_twice"]
    }
    assert {row[0] for row in told} == {"same deposit", "same deposit, several chains"}
    for kind, words, members, _ in told:
        found = re.findall(r"(\S+): \S+(?: [kmb]n?)? (\S+) on \w+", words)
        assert tuple(found) in said
        chains = set(re.findall(r" on (\w+)", words))
        assert (len(chains) > 1) == (kind == "same deposit, several chains")
        assert number(members) == len(found)


def test_failures_in_numbers(read: Page, run: StoredRun) -> None:
    blocks = run.groups["blocks"].load()
    credit = blocks["credit_by_token"].values.sum(axis=(0, 1))
    stored = {
        name: blocks[name].values.sum(axis=0)
        for name in ("accounts_below_alone", "called_alone", "liquidatable")
    }
    title_of = dict(
        zip(
            run.groups["scenarios"]["scenario"].values.tolist(),
            run.groups["scenarios"]["title"].values.tolist(),
            strict=True,
        )
    )
    reports = run.groups["totals"]["report"].values.tolist()
    told = {row[0].lower(): row for row in rows(read, "Failures in numbers")}
    assert len(told) == len(reports)
    for at, name in enumerate(reports):
        row = told[title_of[name].lower() if at else "now, before anything fails"]
        if at:
            assert abs(number(row[2]) - (credit[0] - credit[at])) <= 1.0
        assert number(row[4]) == stored["accounts_below_alone"][at]
        assert abs(number(row[5]) - stored["called_alone"][at]) <= 1.0
        assert number(row[6]) == stored["liquidatable"][at]
    lost = [number(row[2]) for row in rows(read, "Failures in numbers")[1:]]
    assert lost == sorted(lost, reverse=True)
    assert lost[0] > 0


def test_concentration_is_that_of_the_named(read: Page, run: StoredRun) -> None:
    credit = run.groups["blocks"]["credit_by_token"].values.sum(axis=0)[:, 0]
    protocol = np.array(run.groups["tokens"]["protocol"].values.tolist(), dtype=object)
    named = sorted(set(protocol.tolist()) - {"none"})
    amounts = np.array([credit[protocol == name].sum() for name in named])
    row = next(row for row in rows(read, "Concentration of credit") if row[0] == "Protocol")
    assert row[1] == percent(credit[protocol == "none"].sum() / credit.sum())
    assert row[2] == f"{concentration(amounts):.3f}"
    assert row[4] == named[int(amounts.argmax())]
    assert row[5] == percent(amounts.max() / credit.sum())


def test_bridges_are_within_their_caps(read: Page, view: PoolView) -> None:
    for _, _, resting, cap, counted, binds in rows(read, "Caps of the bridges"):
        assert number(counted) <= min(number(resting), number(cap))
        assert (binds == "none") == (number(counted) == number(resting))
    tight = view.rules.bridges[0].model_copy(update={"cap": 1_000.0, "asset_cap": 1_000.0})
    name = tight.bridges[0]
    bridge = view.totals["bridge"].values.tolist().index(name)
    part = view.totals["bridge_part"].copy()
    part[bridge] = 0.25
    bound = replace(
        view,
        totals=view.totals.assign(bridge_part=part),
        rules=view.rules.model_copy(update={"bridges": (tight, *view.rules.bridges[1:])}),
    )
    row = next(r for r in rows(Page(render(bound)), "Caps of the bridges") if r[0] == name)
    assert row[5] == "the bridge as a whole"
    assert abs(number(row[4]) - 0.25 * number(row[2])) <= 1.0


def test_accounts_are_the_worst_of_all(read: Page, run: StoredRun) -> None:
    stored = run.groups["accounts"].load()
    short = np.nan_to_num(np.maximum(-stored["excess"].values, 0.0))
    order = np.argsort(-short, kind="stable")
    told = rows(read, "Largest shortfalls")
    assert [number(row[1]) for row in told] == [round(short[at]) for at in order[: len(told)]]
    rise = stored["requirement"].values - stored["requirement_alone"].values
    rise = np.nan_to_num(rise)
    told = rows(read, "Where collateral inside the scenarios adds the most")
    assert [number(row[1]) for row in told] == [
        round(one) for one in np.sort(rise)[::-1][: len(told)]
    ]
    for row in told:
        assert abs(number(row[3]) - number(row[2]) - number(row[1])) <= 1


def test_stale_and_deviating_prices_are_marked(read: Page) -> None:
    found = {row[0]: row[1] for row in rows(read, "Prices and their ages")}
    assert {found.pop(asset) for asset in STALE} == {"stale"}
    assert {found.pop(asset) for asset in DEVIATING} == {"deviates"}
    assert set(found.values()) == {"fits"}


def test_bounds_of_prices_are_those_that_the_run_used(read: Page, run: StoredRun) -> None:
    totals = run.groups["totals"].load()
    found = {row[0]: row[4:6] for row in rows(read, "Prices and their ages")}
    for at, asset in enumerate(totals["asset"].values):
        stored = (totals[name].values[at] for name in ("feed_apart", "feed_deviation_allowed"))
        assert found[asset] == [percent(float(one)) for one in stored]


def test_a_venue_may_be_called_free(view: PoolView) -> None:
    """What backs its positions is needed; what no position needs has no name to clash with."""
    uses = view.totals["use"].values.copy()
    uses[0] = "free"
    named = replace(view, totals=view.totals.assign_coords(use=uses))
    whole, needed = (str(choice.layout["annotations"]) for choice in flow_choices(named))
    assert "free · " in whole
    assert "free · " in needed
    assert "no position · " in whole
    assert "no position · " not in needed
    sums = [
        [sum(choice.traces[0]["link"]["value"]) for choice in flow_choices(one)]
        for one in (named, view)
    ]
    assert sums[0] == sums[1]


def flow_choices(view: PoolView) -> Any:
    return next(one for one in pictures(view) if one.name == "flow").choices


def test_flow_conserves_credit(view: PoolView, run: StoredRun) -> None:
    used = run.groups["blocks"]["credit_by_use"].values.sum(axis=(0, 1))
    np.testing.assert_allclose(
        view.totals["holding_use"].values.sum(axis=(0, 1)), used, rtol=1e-9, atol=0.01
    )
    (picture,) = [one for one in pictures(view) if one.name == "flow"]
    # Debts that an account answers for are credit below zero, which no band can be.
    bands = np.maximum(view.totals["holding_use"].values, 0.0).sum(axis=(0, 1))
    for choice, whole in zip(picture.choices, (bands.sum(), bands[:-1].sum()), strict=True):
        node, link = (choice.traces[0][name] for name in ("node", "link"))
        into, out = np.zeros(len(node["x"])), np.zeros(len(node["x"]))
        np.add.at(into, link["target"], link["value"])
        np.add.at(out, link["source"], link["value"])
        middle = (into > 0.0) & (out > 0.0)
        np.testing.assert_allclose(into[middle], out[middle], rtol=1e-5)
        for column in sorted(set(node["x"])):
            through = np.maximum(into, out)[np.array(node["x"]) == column].sum()
            np.testing.assert_allclose(through, whole, rtol=1e-5)


def test_names_from_outside_are_never_markup(view: PoolView) -> None:
    def hostile(values: np.ndarray) -> np.ndarray:
        return np.array([f"{HOSTILE} {at}" for at in range(len(values))], dtype=object)

    totals = view.totals
    for name in ("holding_chain", "holding_protocol", "top_shortfall_name", "top_change_name"):
        totals = totals.assign({name: (totals[name].dims, hostile(totals[name].values))})
    for name in ("chain", "protocol", "bridge", "asset"):
        totals = totals.assign_coords({name: hostile(totals[name].values)})
    scenarios = view.scenarios.assign(title=("scenario", hostile(view.scenarios["title"].values)))
    findings = view.findings.assign(
        account_name=("finding", hostile(view.findings["account_name"].values)),
        recipe_cycle=("recipe_circle", hostile(view.findings["recipe_cycle"].values)),
    )
    tokens = view.tokens.assign(token_name=("token", hostile(view.tokens["token_name"].values)))
    attacked = replace(
        view,
        run_id=HOSTILE,
        totals=totals,
        scenarios=scenarios,
        findings=findings,
        tokens=tokens,
        rules=view.rules.model_copy(update={"title": HOSTILE, "sources": (HOSTILE,)}),
    )
    own = without_plotly(render(attacked))
    assert html.escape(HOSTILE) in own.replace("\N{NO-BREAK SPACE}", " ")
    assert "<script>window.broken" not in own
    assert "<b>bold" not in own
    for picture in pictures(attacked):
        for choice in picture.choices:
            drawn = json.dumps([choice.traces, choice.layout])
            assert "<script" not in drawn
            assert "<b>bold" not in drawn


def test_quiet_pool_says_so_in_sentences(view: PoolView) -> None:
    empty = view.findings.isel(finding=slice(0), recipe_circle=slice(0))
    totals = view.totals.isel(report=slice(1))
    for name in ("holding_use", "health_count", "claims_by_outcome", "value_by_outcome"):
        totals[name] = xr.zeros_like(totals[name])
    for name in ("top_shortfall", "top_change", "bridge"):
        totals = totals.isel({name: slice(0)})
    quiet = replace(
        view,
        totals=totals,
        findings=empty,
        manifest={**view.manifest, "stages": []},
        rules=view.rules.model_copy(update={"scenarios": ()}),
    )
    said = [b.text for p in sections(quiet) for b in p.blocks if isinstance(b, Sentence)]
    for words in (
        "nothing flows",
        "name no failure",
        "No claim that counts came over a bridge",
        "Nothing was counted twice",
        "No token stands for itself",
        "No account owes anything",
        "No account falls short",
        "No account requires more",
        "recorded no stages",
    ):
        assert any(words in text for text in said), words
    assert not re.search(r"\bnan\b|NaN", without_plotly(render(quiet)))


def test_pool_of_debts_beyond_credit_is_told(view: PoolView) -> None:
    use = np.maximum(view.totals["holding_use"], 0.0)
    use[0, 0, 0] = -5e6
    (picture,) = [
        one
        for one in pictures(replace(view, totals=view.totals.assign(holding_use=use)))
        if one.name == "flow"
    ]
    assert "USD 5.00 m of debts on top" in picture.caption


def test_plotly_knows_every_property_that_is_set(view: PoolView) -> None:
    for picture in pictures(view):
        for choice in picture.choices:
            text = json.dumps({"data": choice.traces, "layout": choice.layout})
            go.Figure(json.loads(re.sub(r'"--[a-z0-9-]+"', '"#123456"', text)))


def test_page_refers_to_nothing_outside_itself_and_knows_its_colours(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert "default-src 'none'" in text
    own = without_plotly(text)
    assert not re.search(r"""(?:src|href)\s*=\s*["'](?!#|data:)""", own)
    assert not re.search(r"@import|url\(", own)
    used = set(re.findall(r'["(](--[a-z][a-z0-9-]*)[")]', own))
    assert "--flow-needed" in used
    assert used <= set(re.findall(r"(--[a-z0-9-]+):", own))


@needs_browser
@pytest.mark.parametrize("width", [1280, pytest.param(500, marks=pytest.mark.slow)])
def test_every_picture_is_drawn_in_a_browser(
    view: PoolView, page: Path, tmp_path: Path, width: int
) -> None:
    seen, console = browse(page, tmp_path, width)
    assert not console
    assert not seen["errors"]
    assert seen["resources"] == 0
    assert seen["wanted"] <= seen["width"], "the page is wider than the window"
    expected = {
        f"picture-{picture.name} {choice.label if len(picture.choices) > 1 else ''}"
        for picture in pictures(view)
        for choice in picture.choices
    }
    assert set(seen["sizes"]) == expected
    for name, (wide, high, marks) in seen["sizes"].items():
        assert wide > 200, name
        assert high > 150, name
        assert marks > 0, f"{name} shows nothing"
    assert not re.search(r"\b(NaN|nan|undefined|Infinity|None)\b", seen["text"])


@pytest.mark.filterwarnings("ignore:Cyclopts application invoked without tokens")
def test_command_writes_the_page(run: StoredRun, home: Path, monkeypatch: Any, capsys: Any) -> None:
    monkeypatch.setenv("MARGINCUBE_HOME", str(home))
    handler = signal.getsignal(signal.SIGTERM)
    try:
        for arguments, code in ((("--json",), 0), (("no-such-run",), 2)):
            monkeypatch.setattr(sys, "argv", ["margincube", "collateral", "report", *arguments])
            with pytest.raises(SystemExit) as ended:
                flows.cli.main()
            assert bool(ended.value.code) == bool(code)
            output, messages = capsys.readouterr()
            if code:
                assert "no run 'no-such-run'" in messages
            else:
                path = Path(json.loads(output)["report"])
                assert path == home / "reports" / f"{run.run_id}.html"
                assert run.run_id in path.read_text(encoding="utf-8")
    finally:
        signal.signal(signal.SIGTERM, handler)


@pytest.mark.parametrize("name", ["view", "flow", "failures", "counted"])
def test_examples_in_docstrings_hold(name: str) -> None:
    results = doctest.testmod(importlib.import_module(f"flows.report.collateral.{name}"))
    assert results.attempted
    assert not results.failed
