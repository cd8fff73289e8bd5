"""One book under several margin systems, against the runs and against margin by hand."""

import math

import numpy as np
import pyarrow.parquet as pq
import pytest

from storage.runs import RunStore
from workers.compare import System, compare, layered, summary, write_accounts
from workers.methodologies import NETTING, load_methodology, with_netting
from workers.plan import RunRequest

MODES = ("isolated", "cross", "portfolio")


@pytest.fixture(scope="module")
def compared(mixed_book, small_methodology, tmp_path_factory):
    request = RunRequest(mixed_book.path, runs=tmp_path_factory.mktemp("compared"))
    name = str(small_methodology)
    return compare(request, [System(name), *(System(name, mode) for mode in MODES)])


def test_totals_are_those_of_the_runs(compared):
    found = summary(compared)
    for one, run in zip(found["systems"], compared.runs, strict=True):
        totals = run.manifest["totals"]
        assert one["requirement"] == pytest.approx(totals["requirement"], rel=1e-12)
        assert one["below_initial"] == totals["accounts_short"]
    chosen, isolated, cross, portfolio = (one["requirement"] for one in found["systems"])
    assert isolated >= cross >= portfolio > 0.0
    assert isolated >= chosen >= portfolio
    offsets = [one["offsets"] for one in found["systems"]]
    assert offsets[1] == 0.0
    assert offsets[3] == pytest.approx(isolated - portfolio)
    assert found["systems"][3]["efficiency"] == pytest.approx(1.0 - portfolio / isolated)


def test_whom_one_system_liquidates_and_another_does_not(compared):
    found = summary(compared)["liquidated_under"]
    rows = [run.accounts.load() for run in compared.runs]
    below = [set(np.flatnonzero((one["equity"] < one["maintenance"]).values)) for one in rows]
    assert found == [[len(one - other) for other in below] for one in below]
    assert below[1] - below[3]


def test_every_account_is_written_with_every_system(compared, tmp_path):
    assert write_accounts(compared, tmp_path / "all.parquet") == compared.book.accounts
    table = pq.read_table(tmp_path / "all.parquet")
    for system, run in zip(compared.systems, compared.runs, strict=True):
        stored = run.accounts["requirement"].values
        written = table[f"requirement {system.name}"].to_numpy(zero_copy_only=False)
        np.testing.assert_array_equal(written, stored)
    with pytest.raises(ValueError, match=r"use a \.parquet file"):
        write_accounts(compared, tmp_path / "all.csv")


def test_levels_net_wider_and_wider(compared):
    levels = {one["level"]: one["requirement"] for one in layered(compared)}
    assert [*levels] == ["position", "account", "member", "protocol", "system"]
    assert levels["position"] >= levels["account"] > 0.0
    assert levels["account"] >= levels["member"] >= levels["system"]


def test_the_system_is_the_net_book_by_hand(compared):
    """The base of the whole system's net position: the expected shortfall, recomputed."""
    run, book = compared.runs[0], compared.book
    status = run.accounts["status"].values
    held = book.position_slice(0, book.accounts)
    owner = np.repeat(np.arange(book.accounts), np.diff(held.offsets))
    lots = np.zeros(book.instruments().num_rows)
    np.add.at(lots, held.instrument, np.where(status[owner] == 0, held.lots, 0))
    quantity = lots * run.instruments["lot_size"].values * run.instruments["priced"].values
    pnl = quantity @ run.cube["pnl"].values
    origin = run.scenarios["origin"].values
    losses = np.sort(-pnl[origin == "historical"])[::-1]
    mass = len(losses) * 0.1
    whole = math.floor(mass + 1e-12)
    tail = (losses[:whole].sum() + (mass - whole) * losses[whole]) / mass
    grid = (-pnl * run.scenarios["weight"].values)[origin == "grid"].max()
    system = layered(compared)[-1]["requirement"]
    assert system >= max(tail, grid) * (1.0 - 1e-9)
    assert system == pytest.approx(max(tail, grid, 0.1 * short_notional(run, book, quantity)))


def short_notional(run, book, quantity):
    index = run.manifest["index"]
    return sum(
        -held * row["multiplier"] * index[row["underlying"]]
        for held, row in zip(quantity, book.instruments().to_pylist(), strict=True)
        if row["kind"] == "option" and held < 0.0
    )


def test_a_comparison_needs_two_systems(mixed_book, tmp_path):
    request = RunRequest(mixed_book.path, runs=tmp_path / "runs")
    with pytest.raises(ValueError, match="a comparison needs two different ones"):
        compare(request, [System("margincube-portfolio-2026-01")] * 2)
    assert not list(RunStore(request.runs).manifests())


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "name", ["derive-pmrm-2-2025-04", "deribit-standard-2022-01", "margincube-greeks-2026-01"]
)
def test_netting_of_any_rule_book_can_be_set(name, mode):
    methodology = load_methodology(name, netting=mode).methodology
    assert set(methodology.netting.model_dump().values()) == {NETTING[mode]}
    assert methodology.layers == load_methodology(name).methodology.layers


def test_a_netting_that_is_none_is_refused():
    with pytest.raises(ValueError, match="netting 'gross' is unknown"):
        with_netting("", "gross")
