"""The wrong-way layer in a run: stored, explained, printed, and asked what if."""

import io
import json
import math

import numpy as np
import pytest
from rich.console import Console

from flows.commands.explain import print_explanation
from risk.margin import HELD
from storage.runs import RunStore
from tests.conftest import SMALL_METHODOLOGY, approved
from workers.engine import SerialEngine
from workers.explain import explain_account
from workers.explain.source import source_of
from workers.margin_run import MarginRun
from workers.plan import RunRequest
from workers.what_if import what_if

TABLE = "\n[wrong_way]\nshare = 0.75\nmaintenance_share = 0.5\n"
ABOUT = {"rel": 1e-9, "abs": 1e-6}


@pytest.fixture(scope="module")
def run(mixed_book, tmp_path_factory):
    folder = tmp_path_factory.mktemp("wrong-way")
    path = folder / "small.toml"
    path.write_text(
        approved(SMALL_METHODOLOGY.replace("\n[[charges]]", f"{TABLE}\n[[charges]]", 1))
    )
    request = RunRequest(book=mixed_book.path, methodology=str(path), runs=folder / "runs")
    with MarginRun(request, SerialEngine, SerialEngine) as made:
        assert not made.prepare()
        made.price()
        made.margin()
        made.fold()
        made.publish()
    return RunStore(request.runs).open(made.run_id)


def layer_column(run):
    return run.accounts["layer"].values.tolist().index("wrong_way")


def test_it_is_a_layer_beside_the_others(run, mixed_book, margin_of):
    accounts, plain = run.accounts.load(), margin_of(mixed_book).run.accounts.load()
    layers = accounts["layer"].values.tolist()
    assert layers == ["base", "stress", "wrong_way", "short_option"]
    margined = accounts["status"].values != HELD
    margin = accounts["margin"].values[margined]
    others = [layers.index(name) for name in plain["layer"].values.tolist()]
    assert np.array_equal(margin[:, others[:2]], plain["margin"].values[margined][:, :2])
    layer = margin[:, layer_column(run)]
    assert (layer >= 0.0).all()
    assert np.count_nonzero(layer) > 5
    kept = accounts["maintenance"].values - plain["maintenance"].values
    assert (kept[margined] > 0.0).sum() > 5
    collateral = mixed_book.collateral_slice(0, mixed_book.accounts)
    moving = np.zeros(mixed_book.accounts, dtype=np.bool_)
    owner = np.repeat(np.arange(mixed_book.accounts), np.diff(collateral.offsets))
    moving[owner[collateral.asset != 0]] = True
    assert (layer[~moving[margined]] == 0.0).all()


def test_it_can_be_done_by_hand_from_what_is_explained(run, monkeypatch):
    source = source_of(run)
    # What is made of the run's prices is the same for every account.
    monkeypatch.setattr("workers.explain.source_of", lambda _: source)
    stored, seen = run.accounts["margin"].values[:, layer_column(run)], 0
    for row in range(0, 60, 3):
        explained = explain_account(run, f"acc-{row:03d}")
        if explained["status"] != "margined":
            continue
        told = explained["wrong_way"]
        moving = 0.0
        for one in told["measures"]:
            for scenario in one["scenarios"]:
                total = math.fsum(scenario["change_by_asset"].values())
                assert scenario["change"] == pytest.approx(total, **ABOUT)
            value = -math.fsum(at["weight"] * at["pnl"] for at in one["scenarios"])
            assert one["moving"] == pytest.approx(value, **ABOUT)
            moving = max(moving, value)
        assert told["moving"] == pytest.approx(moving, **ABOUT)
        still = max([0.0, *(one["still"] for one in told["measures"])])
        assert told["still"] == pytest.approx(still, **ABOUT)
        own = max([0.0, *(one["collateral"] for one in told["measures"])])
        assert told["collateral"] == pytest.approx(own, **ABOUT)
        amount = 0.75 * max(0.0, moving - math.hypot(still, own))
        assert told["amount"] == pytest.approx(amount, **ABOUT)
        assert stored[row] == pytest.approx(amount, **ABOUT)
        console = Console(file=io.StringIO(), width=200)
        print_explanation(console, json.loads(json.dumps(explained)), whole=False)
        assert f"layer wrong_way: {told['amount']:,.2f} = 75% of" in console.file.getvalue()
        seen += amount > 0.0
    assert seen > 3


def test_what_if_has_it_too(run):
    row = int(np.argmax(np.nan_to_num(run.accounts["margin"].values[:59, layer_column(run)])))
    answer = what_if(run, f"acc-{row:03d}", [])
    stored = run.accounts.isel(account=row)
    assert answer["before"]["requirement"] == float(stored["requirement"])
    shares = answer["shares"]
    whole = math.fsum(part["share"] for part in shares["positions"]) + shares["collateral"]
    assert whole == pytest.approx(answer["after"]["requirement"], rel=1e-6)
