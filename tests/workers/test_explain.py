"""An explanation reproduces what is stored, and a reader of it reproduces the requirement."""

import dataclasses
import json
import math
import shutil
from datetime import UTC, datetime

import numpy as np
import pytest

from risk.kernels import Positions, account_pnl
from storage.book import AccountUnknown, Book
from workers.explain import CannotExplain, explain_account
from workers.inputs import BookChanged


@pytest.fixture(scope="module")
def done(mixed_book, margin_of):
    return margin_of(mixed_book)


def names(book):
    return book.account_table(0, book.accounts)["account"].to_pylist()


def by_hand(explained):
    """Recompute the requirement from nothing but what the explanation says."""
    base = stress = 0.0
    for one in explained["netting_sets"]:
        found = {}
        for measure in one["measures"]:
            for scenario in measure["scenarios"]:
                pnl = math.fsum(scenario["pnl_by_position"].values())
                assert pnl == pytest.approx(scenario["pnl"], rel=1e-9, abs=1e-9)
            loss = -math.fsum(s["weight"] * s["pnl"] for s in measure["scenarios"])
            assert loss == pytest.approx(measure["value"], rel=1e-12, abs=1e-9)
            if measure["kind"] == "expected_shortfall":
                assert math.fsum(s["weight"] for s in measure["scenarios"]) == pytest.approx(1.0)
            found[measure["measure"]] = loss
        tail = max(0.0, found["expected_shortfall"])
        base += tail
        stress += max(0.0, found["worst_loss"] - tail)
    (floor,) = explained["charges"]
    short = floor["initial_rate"] * floor["charged_on"]
    return base, stress, max(0.0, short - base - stress)


def test_an_account_can_be_recomputed_from_its_explanation(mixed_book, done):
    seen = {"margined": 0, "held back": 0}
    accounts = done.run.accounts.load()
    every = list(enumerate(names(mixed_book)))
    for row, name in every[::4] + every[30:31] + every[59:]:
        explained = json.loads(json.dumps(explain_account(done.run, name)))
        seen[explained["status"]] += 1
        collateral = math.fsum(
            held["quantity"] * held["price"] * (1.0 - held["haircut"])
            for held in explained["collateral"]
            if held["price"] is not None
        )
        assert len(explained["positions"]) == int(accounts["positions"][row])
        if explained["status"] == "held back":
            assert explained["held_because"]
            assert "requirement" not in explained
            assert np.isnan(accounts["requirement"][row])
            continue
        stored = accounts.isel(account=row)
        for key in (
            "equity",
            "requirement",
            "maintenance",
            "excess",
            "collateral_value",
            "position_value",
        ):
            assert explained[key] == float(stored[key]), key
        assert [one["amount"] for one in explained["layers"]] == stored["margin"].values.tolist()
        assert [one["layer"] for one in explained["layers"]] == ["base", "stress", "short_option"]
        about = {"rel": 1e-9, "abs": 1e-6}
        assert list(by_hand(explained)) == pytest.approx(stored["margin"].values.tolist(), **about)
        assert collateral == pytest.approx(explained["collateral_value"], **about)
        value = math.fsum(
            held["quantity"] * held["value_of_one"] for held in explained["positions"]
        )
        assert value == pytest.approx(explained["position_value"], **about)
        assert explained["shortfall"] == max(0.0, -explained["excess"])
    assert seen["held back"] >= 2
    assert seen["margined"] >= 15


def test_every_reason_to_hold_an_account_back_is_named(done):
    because = {
        name: [
            reason.split(" has ")[0] for reason in explain_account(done.run, name)["held_because"]
        ]
        for name in ("acc-007", "acc-012", "acc-023", "acc-031", "acc-040")
    }
    quarantined = "a row of the account is in quarantine"
    assert because["acc-007"] == because["acc-023"]
    assert sorted(because["acc-007"]) == ["PRICE_MISSING, I13", "PRICE_MISSING, I14"]
    assert because["acc-031"] == ["PRICE_MISSING, an asset of its collateral"]
    for name, code in (("acc-012", "LOTS_FRACTION"), ("acc-040", "SIGN")):
        assert len(because[name]) == 1
        assert because[name][0].startswith(f"{code}, {quarantined}")


def test_an_account_without_positions_is_explained(done):
    explained = explain_account(done.run, "acc-010")
    assert explained["positions"] == explained["netting_sets"] == []
    assert explained["requirement"] == 0.0


def test_the_scenarios_named_are_those_that_bind(mixed_book, done):
    row = 59
    explained = explain_account(done.run, names(mixed_book)[row])
    bound = int(done.run.accounts["binding_scenario"][row])
    named = {
        scenario["scenario"]
        for one in explained["netting_sets"]
        for measure in one["measures"]
        for scenario in measure["scenarios"]
    }
    assert str(done.run.scenarios["scenario"].values[bound]) in named


def test_pnl_by_position_is_the_cubes(mixed_book, done):
    explained = explain_account(done.run, "acc-001")
    held = mixed_book.position_slice(1, 2)
    quantity = held.lots * done.run.instruments["lot_size"].values[held.instrument]
    cube = done.run.cube["pnl"].values
    rows = Positions(np.array([0, 1]), np.array([0, len(held.lots)]), held.instrument, quantity)
    whole = account_pnl(rows, cube)[0]
    scenarios = done.run.scenarios["scenario"].values.tolist()
    for one in explained["netting_sets"]:
        for measure in one["measures"]:
            for scenario in measure["scenarios"]:
                column = scenarios.index(scenario["scenario"])
                if len(explained["netting_sets"]) == 1:
                    assert scenario["pnl"] == pytest.approx(whole[column], rel=1e-12, abs=1e-9)
                for name, pnl in scenario["pnl_by_position"].items():
                    row = mixed_book.instruments()["instrument"].to_pylist().index(name)
                    at = held.instrument.tolist().index(row)
                    assert pnl == quantity[at] * cube[row, column]


def test_what_cannot_be_explained_says_why(mixed_book, mixed_book_at, done, tmp_path, margin_of):
    with pytest.raises(AccountUnknown, match=r"no account 'acc-0O1'.*did you mean 'acc-0"):
        explain_account(done.run, "acc-0O1")
    moved = tmp_path / "book"
    shutil.copytree(mixed_book.path, moved)
    other = margin_of(Book.open(moved))
    explain_account(other.run, "acc-001")
    shutil.rmtree(moved)
    with pytest.raises(ValueError, match="no book at"):
        explain_account(other.run, "acc-001")
    shutil.copytree(mixed_book_at(datetime(2024, 1, 9, tzinfo=UTC)).path, moved)
    with pytest.raises(BookChanged, match="bring back the book that the run used"):
        explain_account(other.run, "acc-001")


def test_a_stored_number_that_is_not_the_recomputed_one_is_refused(done):
    bent = done.run.accounts.load().copy(deep=True)
    bent["equity"][1] += 0.01
    run = dataclasses.replace(done.run, groups={**done.run.groups, "accounts": bent})
    with pytest.raises(CannotExplain, match="account acc-001: equity is"):
        explain_account(run, "acc-001")
