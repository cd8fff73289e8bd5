"""The report: what it draws, what it says and what it never does, in a real browser."""

import doctest
import html
import importlib
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest
import xarray as xr

from flows.report import RunView, headline, write_report
from flows.report.distribution import system_tail
from flows.report.events import separate_worst
from flows.report.page import render, sections
from flows.report.picture import Picture, Sentence, Table
from risk.aggregation import REQUIREMENT_EDGES, SHARES, UTILISATION_EDGES
from risk.measures import Measure, expected_shortfall, value_at_risk
from risk.scenarios.grid import grid_scenarios
from risk.scenarios.shocks import scenario_dataset
from risk.scenarios.specification import GridSpec
from storage.arrays import FOLDS, GROUPS
from tests.flows.browser import browse, needs_browser, without_plotly

HOSTILE = '<script>window.broken = 1</script><b>bold & "quoted"</b>'
COINS = ["BTC", "ETH", "SOL"]
LABELS = {
    "underlying": COINS,
    "venue": ["deribit", "paradex", "aevo", "binance", "hyperliquid"],
    "protocol": ["central order book", "perpetual vault", "option vault", "cross-margin engine"],
    "chain": ["off chain", "ethereum", "arbitrum", "solana", "base"],
}


def synthetic_scenarios(windows: int, seed: int) -> xr.Dataset:
    """Fat-tailed windows since 2020 with the crashes where they were, a grid and two events."""
    generator = np.random.default_rng(seed)
    start = np.datetime64("2020-01-02T06:00:00") + np.arange(windows) * np.timedelta64(36, "h")
    end = start + np.timedelta64(48, "h")
    market = 0.028 * generator.standard_t(3, windows)
    crashes = (
        ("2020-03-12T12", -0.42),
        ("2021-05-19T12", -0.31),
        ("2022-06-13T12", -0.27),
        ("2022-11-08T20", -0.24),
        ("2024-08-05T02", -0.20),
        ("2025-10-10T21", -0.22),
    )
    for instant, move in crashes:
        market[(start < np.datetime64(instant)) & (end > np.datetime64(instant))] = move
    price = np.clip(market[:, None] * [1.0, 1.25, 1.5], -0.9, 1.5)
    historical = scenario_dataset(
        scenario=[f"48h to {str(stamp)[:16]}" for stamp in end],
        label=[f"48 h to {str(stamp)[:16].replace('T', ' ')}" for stamp in end],
        origin="historical",
        underlying=COINS,
        shocks={"price": price, "volatility": np.clip(-2.0 * price, -0.6, 2.5)},
        window_start=start,
        window_end=end,
    )
    proxied = np.zeros(price.shape, dtype=bool)
    proxied[: windows // 8, 2] = True
    historical["proxied"] = (("scenario", "underlying"), proxied)
    grid = grid_scenarios(
        COINS,
        GridSpec(
            price_range=0.16,
            buckets=4,
            volatility_up=0.5,
            volatility_down=0.25,
            extreme_moves=(-0.66, -0.33, 0.5, 1.0, 2.0, 3.0, 4.0, 5.0),
        ),
    )
    event = scenario_dataset(
        scenario=["liquidation cascade", "stablecoin depeg", "volatility surge"],
        label=["forced selling feeds on itself", "the quote coin breaks its peg", HOSTILE],
        origin="event",
        underlying=COINS,
        shocks={
            "price": np.array([[-0.3, -0.4, -0.55], [-0.2, -0.28, -0.35], [0.0, 0.0, 0.0]]),
            "volatility": np.array([[1.5] * 3, [1.0] * 3, [1.0] * 3]),
        },
    )
    for part in (grid, event):
        part["proxied"] = (part["price"].dims, np.zeros(part["price"].shape, dtype=bool))
    joined = xr.concat([historical, grid, event], dim="scenario", join="exact")
    # As storage gives text back.
    for name in ("label", "origin"):
        joined[name] = joined[name].astype(np.dtypes.StringDType())
    return joined


def synthetic_folds(
    scenarios: xr.Dataset, *, members: int = 40, healthy: bool = False, seed: int = 7
) -> xr.Dataset:
    """Return folds of a book of a million accounts, more or less as a real one looks."""
    generator = np.random.default_rng(seed)
    move = scenarios["price"].values.mean(axis=1)
    volatility = scenarios["volatility"].values.mean(axis=1)
    loss = 9e9 * np.abs(move) ** 1.1 + 4e8 * np.abs(volatility) + 2e7
    uncovered = np.where(np.abs(move) > 0.14, 6e9 * np.maximum(np.abs(move) - 0.14, 0.0) ** 1.6, 0)
    under_water = np.round(250_000 * np.clip(np.abs(move) - 0.05, 0.0, 1.2) ** 1.2)
    weight = np.sort(generator.pareto(0.9, members) + 0.02)[::-1]
    weight /= weight.sum()
    margin = 4.2e9 * weight[:, None] * generator.dirichlet([14.0, 3.0, 1.2], members)
    shortfall = np.where(generator.random(members) < 0.6, margin.sum(axis=1) * 0.011, 0.0)
    delta = generator.normal(size=members) * np.sqrt(weight)
    pnl = 2e9 * (delta - delta.mean())[:, None] * move
    names = [f"clearing member {n:02d}" for n in range(members)]
    names[min(3, members - 1)] = HOSTILE
    names[min(1, members - 1)] = "a member with a name that is far too long for any axis"
    top = 25
    largest = 6.1e7 * np.arange(1, top + 1) ** -0.7
    short = np.where(np.arange(top) < 19, 3.4e6 * np.arange(1, top + 1) ** -0.9, 0.0)
    values: dict[str, Any] = {
        "loss": loss,
        "uncovered": uncovered,
        "under_water": under_water,
        "member_pnl": pnl,
        "member_margin": margin,
        "member_maintenance": 0.8 * margin.sum(axis=1),
        "member_accounts_below_maintenance": np.round(shortfall / 8e3),
        "member_equity": margin.sum(axis=1) * generator.uniform(1.05, 1.9, members),
        "member_shortfall": shortfall,
        "member_accounts": np.round(1e6 * weight),
        "member_accounts_short": np.round(shortfall / 4e3),
        "requirement_count": np.round(
            1e5 * np.exp(-0.5 * ((np.arange(len(REQUIREMENT_EDGES)) - 13) / 4.5) ** 2)
        ),
        "utilisation_count": np.round(
            7e4 * np.exp(-0.5 * ((np.minimum(UTILISATION_EDGES, 2.4) - 0.45) / 0.22) ** 2)
        ),
        "top_requirement_amount": largest,
        "top_requirement_equity": largest * 1.31,
        "top_shortfall_amount": short,
        "top_shortfall_requirement": short * 3.7,
        "top_shortfall_equity": short * 2.7,
        "concentration": np.array([0.0146, 0.066, 0.19, 0.52]),
    }
    for group in GROUPS:
        share = generator.dirichlet(np.full(len(LABELS[group]), 1.5))
        values[f"{group}_requirement"] = 3.9e9 * share
        values[f"{group}_requirement"][-1] *= -0.05
        values[f"{group}_transfer"] = share[:, None] * loss
        values[f"{group}_open_interest"] = 2.4e10 * share
    if healthy:
        zeroed = ("shortfall", "uncovered", "under_water", "accounts_short", "accounts_below")
        for name in [name for name in values if any(part in name for part in zeroed)]:
            values[name] = np.zeros_like(values[name])
    taken = {"top_requirement": top, "top_shortfall": 0 if healthy else 19}
    for name, count in taken.items():
        values[f"{name}_account"] = np.where(np.arange(top) < count, 1_000 + np.arange(top), -1)
    coords: dict[str, Any] = {
        "scenario": scenarios["scenario"].values,
        "member": names,
        "layer": ["base", "stress", "short_option"],
        **LABELS,
        "requirement_bucket": REQUIREMENT_EDGES,
        "utilisation_bucket": UTILISATION_EDGES,
        "top_share": list(SHARES),
    }
    for name in taken:
        accounts = [f"0x{17 * n:04x}…{n:03d}" for n in range(top)]
        accounts[2] = HOSTILE
        values[f"{name}_name"] = np.array(accounts, dtype=object)
        values[f"{name}_member"] = np.array([names[n % members] for n in range(top)], dtype=object)
    return xr.Dataset(
        {variable.name: (variable.dims, np.asarray(values[variable.name])) for variable in FOLDS},
        coords=coords,
    )


def synthetic_quality() -> xr.Dataset:
    expiries = np.array(
        ["2024-01-09", "2024-01-12", "2024-01-26", "2024-03-29", "2024-06-28", "2024-12-27"],
        dtype="datetime64[s]",
    )
    rows = len(expiries)
    median = np.array([9e-5, 6e-5, 7e-5, 2e-4, 3e-4, 8e-4])
    return xr.Dataset(
        {
            "forward": ("expiry", 2240.0 + 12.0 * np.arange(rows)),
            "quotes": ("expiry", np.array([62, 74, 88, 70, 52, 48])),
            "rmse_volatility": ("expiry", np.linspace(0.002, 0.011, rows)),
            "butterfly_free": ("expiry", np.array([True] * (rows - 1) + [False])),
            "calendar_free": ("expiry", np.ones(rows, dtype=bool)),
            "mark_error": (("expiry", "quantile"), median[:, None] * [1.0, 4.0, 9.0]),
            "mark_error_all": ("quantile", np.array([2e-4, 8e-4, 0.0018])),
            "mark_error_by_moneyness": (
                ("moneyness", "quantile"),
                np.array([0.0, 2e-4, 1e-3])[:, None] * [1.0, 4.0, 9.0],
            ),
            "method": ("expiry", np.array(["svi"] * (rows - 1) + ["flat"], dtype=object)),
        },
        coords={
            "expiry": expiries,
            "underlying": ("expiry", np.array(["ETH"] * rows, dtype=object)),
            "quantile": [0.5, 0.9, 1.0],
            "moneyness": np.array(["below -3", "-3 to +3", "above +3"], dtype=object),
        },
        attrs={"findings": ["SURFACE_THIN ETH 2024-12-27: one volatility serves every strike"]},
    )


def synthetic_manifest(folds: xr.Dataset) -> dict[str, Any]:
    short = float(folds["member_shortfall"].sum())
    stages = (
        ("open", 0.8, 0.8, 0.0, 1, "book"), ("scenarios", 1.4, 1.4, 0.0, 1490, "scenario"),
        ("revalue", 6.2, 11.1, 1.3, 1412, "instrument"),
        ("margin", 48.7, 93.0, 4.4, 1_000_000, "account"),
        ("fold", 5.2, 9.6, 0.8, 1_000_000, "account"), ("publish", 1.1, 1.1, 0.0, 1, "run"),
    )  # fmt: skip
    return {
        "run_id": "2024-01-08T111941Z-5f3a9c",
        "created": "2026-02-11T04:00:12+00:00",
        "status": "published",
        "key": "5f3a9c" * 10,
        "code_version": "0.1.0+a427708",
        "inputs": {
            "book": {
                "name": "house <book>", "digest": "ab" * 32, "accounts": 1_000_000,
                "positions": 10_214_331, "as_of": "2024-01-08T11:19:41+00:00",
            },
            "market": {"name": "eth chain", "digest": "cd" * 32,
                       "as_of": "2024-01-08T11:19:41+00:00"},
            "methodology": {
                "name": "margincube-portfolio", "version": "2026.1", "digest": "ef" * 32,
                "title": "Portfolio margin: historical expected shortfall, grid and events",
            },
        },
        "settings": {"engine": "ray", "workers": 2, "address": None, "limit": float("nan")},
        "libraries": {"numpy": "2.4.6", "xarray": "2026.7.0"},
        "totals": {
            "accounts": 1_000_000, "margined": 999_871, "held": 129, "positions": 10_214_331,
            "requirement": float(folds["member_margin"].sum()),
            "equity": float(folds["member_equity"].sum()), "shortfall": short,
            "accounts_short": int(folds["member_accounts_short"].sum()),
            "scenarios": folds.sizes["scenario"], "instruments": 1412,
        },
        "stages": [
            {"name": name, "wall_s": wall, "busy_s": busy, "waiting_s": waiting, "items": items,
             "unit": unit, "rate": items / wall}
            for name, wall, busy, waiting, items, unit in stages
        ],
        "peak_memory_bytes": 4_310_000_000,
        "digest": "12" * 32,
    }  # fmt: skip


def synthetic_view(*, healthy: bool = False, windows: int = 1_448, members: int = 40) -> RunView:
    scenarios = synthetic_scenarios(windows, seed=3)
    folds = synthetic_folds(scenarios, members=members, healthy=healthy)
    manifest = synthetic_manifest(folds)
    shared = {"start": 0, "stop": windows, "binds": False}
    measures = (
        Measure("value_at_risk", "value_at_risk", level=0.99, **shared),
        Measure("expected_shortfall", "expected_shortfall", level=0.975, **shared),
    )
    quality = synthetic_quality()
    return RunView(manifest["run_id"], manifest, folds, scenarios, quality, measures)


def pictures(view: RunView) -> list[Picture]:
    parts = sections(view, system_tail(view))
    return [block for part in parts for block in part.blocks if isinstance(block, Picture)]


@pytest.fixture(scope="module")
def view() -> RunView:
    return synthetic_view()


@pytest.fixture(scope="module")
def page(view: RunView, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp("report") / "report.html"
    write_report(view, path)
    return path


@needs_browser
@pytest.mark.parametrize("width", [1280, pytest.param(500, marks=pytest.mark.slow)])
def test_every_picture_is_drawn_in_a_browser(
    view: RunView, page: Path, tmp_path: Path, width: int
) -> None:
    seen, console = browse(page, tmp_path, width)
    assert not console
    assert not seen["errors"]
    assert seen["resources"] == 0
    assert seen["broken"] == "undefined"
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


def test_plotly_knows_every_property_that_is_set(view: RunView) -> None:
    for picture in pictures(view):
        for choice in picture.choices:
            text = json.dumps({"data": choice.traces, "layout": choice.layout})
            for scale in ("sequential", "alarming", "diverging"):
                text = text.replace(f'"--{scale}"', '"Viridis"')
            go.Figure(json.loads(re.sub(r'"--[a-z0-9-]+"', '"#123456"', text)))


def test_every_colour_is_in_the_style_sheet(page: Path) -> None:
    text = without_plotly(page.read_text(encoding="utf-8"))
    used = set(re.findall(r'["(](--[a-z][a-z0-9-]*)[")]', text))
    defined = set(re.findall(r"(--[a-z0-9-]+):", text))
    assert used <= defined


def test_page_refers_to_nothing_outside_itself(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert "default-src 'none'" in text
    own = without_plotly(text)
    assert len(own) < 0.4 * len(text)
    assert not re.search(r"""(?:src|href)\s*=\s*["'](?!#|data:)""", own)
    assert not re.search(r"https?://|@import|url\(", own)
    assert page.stat().st_size < 8_000_000


def test_names_from_outside_are_never_markup(view: RunView, page: Path) -> None:
    own = without_plotly(page.read_text(encoding="utf-8"))
    assert "<script>window.broken" not in own
    assert html.escape(HOSTILE) in own
    for picture in pictures(view):
        assert "<script" not in json.dumps([choice.traces for choice in picture.choices])
        assert "<script" not in json.dumps([choice.layout for choice in picture.choices])


def test_tail_is_that_of_the_risk_measures(view: RunView, page: Path) -> None:
    pnl = -view.folds["loss"].values[view.scenarios["origin"].values == "historical"]
    found = {one.name: one.amount for one in system_tail(view)}
    assert found == {
        "VaR 99 %": value_at_risk(pnl, 0.99, "inverted_cdf"),
        "ES 97.5 %": expected_shortfall(pnl, 0.975),
    }
    own = without_plotly(page.read_text(encoding="utf-8"))
    assert "System loss, ES\N{NO-BREAK SPACE}97.5\N{NO-BREAK SPACE}%" in own or "ES 97.5" in own


def test_worst_windows_are_separate_and_in_order(view: RunView) -> None:
    loss = view.per_scenario("loss")
    worst = separate_worst(view, loss, 12)
    assert (np.diff(loss[worst]) <= 0.0).all()
    starts = np.sort(view.scenarios["window_start"].values[worst])
    assert (np.diff(starts) >= np.timedelta64(7, "D")).all()
    assert worst[0] == np.argmax(np.where(view.origin == "historical", loss, -1.0))


@pytest.mark.parametrize(
    ("kept", "told"),
    [
        ({}, ""),
        ({"peak_memory_bytes": 4.31e9}, ", peak memory 4.31 GB"),
        (
            {"memory": {"peak_total": 4.31e9, "projected_total": 6.12e9}},
            ", peak memory 4.31 GB of 6.12 GB projected",
        ),
    ],
)
def test_peak_memory_is_told_as_the_run_kept_it(
    view: RunView, kept: dict[str, Any], told: str
) -> None:
    manifest = {key: value for key, value in view.manifest.items() if "memory" not in key}
    tiles = headline.tiles(replace(view, manifest=manifest | kept), system_tail(view))
    assert f"sum of the stages{told}" in [tile.meaning for tile in tiles]


def test_healthy_run_says_so_in_sentences() -> None:
    healthy = synthetic_view(healthy=True)
    blocks = [block for part in sections(healthy, ()) for block in part.blocks]
    said = [block.text for block in blocks if isinstance(block, Sentence)]
    assert any("No account falls short" in text for text in said)
    assert all(block.rows for block in blocks if isinstance(block, Table))
    assert "every requirement is met by equity" in without_plotly(render(healthy))


@pytest.mark.parametrize("origins", [("historical",), ("grid",), ("event",)])
def test_run_with_few_scenarios_members_and_no_surface(origins: tuple[str, ...]) -> None:
    whole = synthetic_view(members=1, windows=12)
    keep = np.isin(whole.scenarios["origin"].values, origins)
    view = RunView(
        whole.run_id,
        {"totals": {}},
        whole.folds.isel(scenario=keep),
        whole.scenarios.isel(scenario=keep),
    )
    own = without_plotly(render(view))
    assert "This run fitted no volatility surface." in own
    assert "This run recorded no stages." in own
    assert not re.search(r"\bnan\b|NaN", own)


def test_scenarios_of_another_run_are_refused(view: RunView) -> None:
    with pytest.raises(ValueError, match="are not the 1486 of the scenario set"):
        RunView(view.run_id, view.manifest, view.folds.isel(scenario=slice(9)), view.scenarios)


@pytest.mark.parametrize("name", ["format", "report.picture", "report.events", "report.members"])
def test_examples_in_docstrings_hold(name: str) -> None:
    results = doctest.testmod(importlib.import_module(f"flows.{name}"))
    assert results.attempted
    assert not results.failed
