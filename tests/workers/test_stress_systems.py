"""Margin systems and walls under one stress: by hand, against runs of the systems, and as cut."""

import dataclasses
import io

import numpy as np
import pyarrow as pa
import pytest
from rich.console import Console

from flows.report.stress.systems import sections_of_systems
from flows.stress_tables import print_stress
from flows.stress_view import stress_view
from risk.kernels.sums import UNIT
from risk.systemic.systems import bare_rules
from storage import tables
from storage.book import BookWriter, canonical_instruments
from storage.market import sample_market
from tests.conftest import approved
from tests.workers.by_hand import METHODOLOGY, PLAN
from tests.workers.stressed import SMALL_PLAN, plan_file, stress
from workers.methodologies import load_methodology
from workers.stress.request import StressRequest

PRICE = sample_market().index["BTC"].price

# A tenth of the net notional of what offsets, and a fiftieth of each position on top.
LAYERED = f"""{METHODOLOGY}
[[charges]]
layer = "size"
kinds = ["perpetual"]
amount = "notional"
group = "position"
side = "gross"
initial = 0.02
maintenance = 0.016
"""

BREAKING = """
[[scenarios]]
name = "peg breaks"
title = "nothing moves, and all cash is gone"
source = "made up"
collateral = [{ assets = ["CASH"], move = -1.0 }]
[scenarios.shocks.price]
default = 0.0
"""

WALLS = '\n[insulation]\nwalls = ["venue"]\n'


def perpetual(name, settlement, currency, multiplier, venue):
    return {"instrument": name, "kind": "perpetual", "settlement": settlement,
            "underlying": "BTC", "settlement_currency": currency, "expiry": None, "strike": None,
            "option_type": None, "multiplier": multiplier, "lot_size": 1.0, "venue": venue,
            "protocol": "none", "chain": "none"}  # fmt: skip


# A contract of each is a thousandth of a coin. An inverse one of PRICE / 1,000 USD gains that times
# the relative move of the price, as the linear ones do.
INSTRUMENTS = [
    perpetual("FIRST", "linear", "USD", 0.001, "v1"),
    perpetual("INVERSE", "inverse", "BTC", PRICE / 1_000.0, "v2"),
    perpetual("SECOND", "linear", "USD", 0.001, "v2"),
]
HOLDINGS = {
    "A": {"FIRST": 10_000, "SECOND": -4_000, "INVERSE": -3_000},
    "B": {"FIRST": 5_000},
    "C": {"FIRST": -15_000, "SECOND": 4_000, "INVERSE": 3_000},
    "D": {},
}


def three_accounts(folder):
    instruments = canonical_instruments(
        pa.Table.from_pylist(INSTRUMENTS, schema=tables.INSTRUMENTS.schema)
    )
    row = {name: at for at, name in enumerate(instruments["instrument"].to_pylist())}
    cash = {"asset": "CASH", "chain": "none", "protocol": "none", "underlying": "USD",
            "haircut": 0.0}  # fmt: skip
    with BookWriter(
        folder / "book", "three", sample_market().as_of, instruments,
        pa.Table.from_pylist(
            [{"member": name, "default_fund": 0.0} for name in ("m0", "m1")],
            schema=tables.MEMBERS.schema,
        ),
        pa.Table.from_pylist([cash], schema=tables.ASSETS.schema),
    ) as writer:  # fmt: skip
        writer.append(
            pa.Table.from_pylist(
                [
                    {"account": name, "member": at % 2, "margin_mode": at % 3}
                    for at, name in enumerate(HOLDINGS)
                ],
                schema=tables.ACCOUNTS.schema,
            ),
            pa.Table.from_pylist(
                [
                    {"account": account, "instrument": at, "lots": lots}
                    for account, held in enumerate(HOLDINGS.values())
                    for at, lots in sorted((row[name], lots) for name, lots in held.items())
                ],
                schema=tables.POSITIONS.schema,
            ),
            pa.Table.from_pylist(
                [{"account": at, "asset": 0, "quantity": 1e9} for at in range(len(HOLDINGS))],
                schema=tables.COLLATERAL.schema,
            ),
        )
        return writer.close()


@pytest.fixture(scope="module")
def by_hand(margin_of, tmp_path_factory):
    folder = tmp_path_factory.mktemp("three")
    (folder / "layered.toml").write_text(approved(LAYERED))
    done = margin_of(three_accounts(folder), methodology=str(folder / "layered.toml"))
    text = PLAN.replace("{volume}", "1e15") + BREAKING + WALLS
    plan = plan_file(folder, text, default="-0.2", insurance_fund=repr(PRICE))
    request = StressRequest(
        run=done.run.run_id, plan=plan, runs=done.request.runs, stresses=folder / "stresses"
    )
    return stress(request)


# In prices of a coin, when it falls by a fifth. A has +10, -4 and, in coins, -3; B has +5; C has
# the other side, -15, +4 and +3. All on one venue but the -4 and -3 of A and the +4 and +3 of C.
# name: capital, parts, lost, uncovered, failed, over the insurance fund of one price
EXPECTED = {
    # A tenth of 17, 5 and 22. Lost 2 of 1 by A, 1 of 0.5 by B, 0.8 of 0.4 and 0.6 of 0.3 by C.
    "isolated": (4.4, 7, 4.4, 1.0 + 0.5 + 0.4 + 0.3, 4, 1.2),
    # In dollars A has +6 and C -11: a tenth of 6 + 3, 5 and 11 + 3.
    "cross": (2.8, 5, 2.8, 0.6 + 0.5 + 0.3, 3, 0.4),
    # A has +3 and C -8: a tenth of 3, 5 and 8. A loses 0.6 of 0.3, B 1 of 0.5, C gains.
    "portfolio": (1.6, 3, 1.6, 0.3 + 0.5, 2, 0.0),
    # A fiftieth of 17, 5 and 22 on top: 0.64, 0.6 and 1.24. A keeps 0.04.
    "layered": (2.48, 3, 1.6, 0.4, 1, 0.0),
    "without size": (1.6, 3, 1.6, 0.8, 2, 0.0),
    # B alone fails, and has one part.
    "no wall by venue": (2.48, 5, 1.6, 0.4, 1, 0.0),
    # A: 0.64 shared as 1.2 to 0.84, and 2 lost behind the first; C: 1.24 shared as 1.8 to 0.84, and
    # 1.4 lost behind the second.
    "blind wall by venue": (
        2.48, 5, 4.4, (2.0 - 0.64 * 1.2 / 2.04) + 0.4 + (1.4 - 1.24 * 0.84 / 2.64), 3,
        (2.0 - 0.64 * 1.2 / 2.04) + 0.4 + (1.4 - 1.24 * 0.84 / 2.64) - 1.0,
    ),
    # Each part has what it requires alone: 1.2 and 0.84, 0.6, 1.8 and 0.84.
    "wall by venue": (5.28, 5, 4.4, 0.8 + 0.4 + 0.56, 3, 0.76),
}  # fmt: skip


def test_every_arrangement_of_three_accounts_by_hand(by_hand):
    totals = by_hand.run.groups["totals"]
    assert totals["arrangement"].values.tolist() == list(EXPECTED)
    row = by_hand.row("fall")
    found = {
        name: (
            totals["arrangement_capital"].values[at] / PRICE,
            totals["arrangement_parts"].values[at],
            totals["arrangement_lost"].values[row, at] / PRICE,
            totals["arrangement_uncovered"].values[row, at] / PRICE,
            totals["arrangement_failed"].values[row, at],
            totals["arrangement_beyond"].values[row, at] / PRICE,
        )
        for at, name in enumerate(EXPECTED)
    }
    for name, expected in EXPECTED.items():
        assert found[name] == pytest.approx(expected, abs=1e-5), name


def test_a_scenario_that_breaks_more_than_prices_is_not_compared(by_hand):
    totals, names = by_hand.run.groups["totals"].load(), by_hand.values("scenario").tolist()
    assert names[-1] == "peg breaks"
    assert totals["compared"].values.tolist() == names[:-1]
    assert totals["arrangement_uncovered"].shape == (len(names) - 1, len(EXPECTED))
    said = f"1 of {len(names)} scenarios are left out"
    assert said in sections_of_systems(stress_view(by_hand.run))[0].introduction
    output = io.StringIO()
    print_stress(Console(file=output, width=130), by_hand.run)
    assert "1 scenarios that break more than prices are left out" in output.getvalue()


def test_what_margin_looks_at_is_covered_by_every_system_but_a_blind_wall(by_hand):
    """The scenarios of the grid set base risk: no set loses more than its worst in them."""
    totals = by_hand.run.groups["totals"]
    grid = by_hand.run.groups["plan"]["origin"].values[:-1] == "grid"
    kinds = totals["arrangement_kind"].values
    uncovered = totals["arrangement_uncovered"].values[grid]
    assert grid.sum() > 3
    assert (uncovered[:, kinds != "blind wall"] == 0.0).all()
    assert (uncovered[:, kinds == "blind wall"] > 0.0).any()


@pytest.fixture(scope="module")
def request_of(synthetic_book, margin_of, tmp_path_factory):
    margined = margin_of(synthetic_book(9_000))
    folder = tmp_path_factory.mktemp("systems")
    walls = '\n[insulation]\nwalls = ["venue", "chain"]\n'
    plan = plan_file(folder, SMALL_PLAN + walls, rounds="4")

    def request(**options):
        return StressRequest(
            run=margined.run.run_id, plan=plan, runs=margined.request.runs,
            stresses=tmp_path_factory.mktemp("stresses"), **options,
        )  # fmt: skip

    return request


@pytest.fixture(scope="module")
def alone(request_of):
    return stress(request_of(shards=1, batch=64))


def named(stressed, name):
    """An array of the arrangements by their names."""
    totals = stressed.run.groups["totals"]
    values = np.moveaxis(totals[f"arrangement_{name}"].values, -1, 0)
    return dict(zip(totals["arrangement"].values.tolist(), values, strict=True))


def test_how_accounts_are_cut_changes_no_bit(alone, request_of):
    cut = stress(request_of(shards=3, batch=5))
    assert cut.run.manifest["digests"] == alone.run.manifest["digests"]


def test_without_the_table_nothing_is_compared(alone, request_of, tmp_path):
    request = dataclasses.replace(request_of(), plan=plan_file(tmp_path, rounds="4"))
    totals = stress(request).run.groups["totals"]
    assert not [name for name in totals if str(name).startswith("arrangement")]


@pytest.mark.parametrize("system", ["isolated", "cross", "portfolio"])
def test_capital_is_what_a_run_of_the_system_requires(system, mixed_book, margin_of, tmp_path):
    """The layers of a margin run in which every account nets in that way; some are held back."""
    done = margin_of(mixed_book, netting=system)
    margin = done.run.accounts["margin"].values
    assert np.isnan(margin).any()
    request = StressRequest(
        run=done.run.run_id,
        plan=plan_file(tmp_path, SMALL_PLAN + WALLS, rounds="4"),
        runs=done.request.runs,
        stresses=tmp_path / "stresses",
    )
    made = stress(request)
    capital, parts = named(made, "capital"), named(made, "parts")
    rounding = parts["isolated"] * UNIT
    assert capital[system] == pytest.approx(np.nansum(margin[:, 0]), abs=rounding)
    if system == "portfolio":
        assert capital["layered"] == pytest.approx(np.nansum(margin), abs=rounding)
        for at, layer in enumerate(("stress", "short_option"), 1):
            bought = capital["layered"] - capital[f"without {layer}"]
            assert bought == pytest.approx(np.nansum(margin[:, at]), abs=2 * rounding)


def test_losses_of_whole_accounts_are_those_with_nobody_closed(alone):
    lost = named(alone, "lost")["portfolio"]
    np.testing.assert_allclose(lost, alone.values("lost_alone"), rtol=1e-12, atol=9_000 * UNIT)


def test_what_is_ordered_in_every_book(alone):
    """A measure that grows by less than its parts, more capital, and walls against gains."""
    capital, uncovered, failed = (named(alone, one) for one in ("capital", "uncovered", "failed"))
    assert capital["isolated"] > capital["cross"] > capital["portfolio"]
    assert capital["layered"] > capital["portfolio"]
    assert (uncovered["layered"] <= uncovered["portfolio"]).all()
    for layer in ("stress", "short_option"):
        assert (uncovered["layered"] <= uncovered[f"without {layer}"]).all()
        assert capital["layered"] >= capital[f"without {layer}"]
    assert (uncovered["layered"] < uncovered["without stress"]).any()
    parts = named(alone, "parts")
    for wall in ("venue", "chain"):
        blind, walled = uncovered[f"blind wall by {wall}"], uncovered[f"wall by {wall}"]
        slack = parts[f"wall by {wall}"] * UNIT
        assert (blind >= uncovered["layered"] - slack).all()
        assert (blind > uncovered["layered"] + slack).any()
        np.testing.assert_array_equal(uncovered[f"no wall by {wall}"], uncovered["layered"])
        assert (failed[f"no wall by {wall}"] >= failed["layered"]).all()
        assert np.isfinite(walled).all()


@pytest.mark.slow
@pytest.mark.parametrize(
    "methodology",
    ["derive-pmrm-2-2025-04", "deribit-standard-2022-01", "margincube-greeks-2026-01"],
)
def test_every_way_to_base_risk_is_compared(methodology, synthetic_book, margin_of, tmp_path):
    """A scan, rules by leg and Greeks: base layers are those of runs that net in that way."""
    runs = [
        margin_of(synthetic_book(500), runs=tmp_path / "runs", methodology=methodology, netting=one)
        for one in ("isolated", "portfolio")
    ]
    plan = plan_file(tmp_path, SMALL_PLAN + '\n[insulation]\nwalls = ["chain"]\n', rounds="4")
    request = StressRequest(
        run=runs[1].run.run_id, plan=plan, runs=tmp_path / "runs", stresses=tmp_path / "stresses"
    )
    made = stress(request)
    capital, number = named(made, "capital"), named(made, "parts")
    bare = bare_rules(load_methodology(methodology).methodology)
    for system, done in zip(("isolated", "portfolio"), runs, strict=True):
        layers = done.run.accounts["margin"].values[:, : len(bare.base_layers)]
        expected = np.nansum(layers)
        assert capital[system] == pytest.approx(expected, abs=number["isolated"] * UNIT), system
