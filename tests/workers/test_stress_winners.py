"""Winners that close in a stress run: by hand, the same however it is cut, and nothing is lost."""

import io
import re

import numpy as np
import pytest
from rich.console import Console

from flows.format import exact, money, short
from flows.report.stress import winners
from flows.stress_tables import print_stress
from flows.stress_view import stress_view
from risk.kernels.sums import UNIT
from tests.conftest import approved
from tests.workers.by_hand import CALM_PLAN, METHODOLOGY, PRICE, perpetuals_book
from tests.workers.stressed import SMALL_PLAN, plan_file, stress
from workers.methodologies import DEFAULT_METHODOLOGY
from workers.stress.request import StressRequest
from workers.verify import differences, verify_stress

WINNERS = """
[deleveraging]
ranking = "zubr"
trigger = "{trigger}"
source = "made up"

[[layers]]
name = "auto_deleveraging"
payer = "winners"
resource = "deleveraging"

[[layers]]
name = "socialised_loss"
"""


def with_winners(text, trigger):
    whole = text.replace('[[layers]]\nname = "socialised_loss"', WINNERS.format(trigger=trigger))
    assert "auto_deleveraging" in whole
    return whole.replace('closing = "all"', 'closing = "all"\nbackstop = 0.6667')


@pytest.fixture(scope="module")
def by_hand(margin_of, tmp_path_factory):
    """Return a function that stresses such accounts by the plan with winners."""
    methodology = tmp_path_factory.mktemp("tenth") / "tenth.toml"
    methodology.write_text(approved(METHODOLOGY))

    def of(holdings, trigger, **changes):
        folder = tmp_path_factory.mktemp("winners")
        done = margin_of(perpetuals_book(folder, holdings), methodology=str(methodology))
        text = with_winners(CALM_PLAN, trigger)
        return stress(
            StressRequest(
                run=done.run.run_id,
                plan=plan_file(folder, text, **changes),
                runs=done.request.runs,
                stresses=folder / "stresses",
            )
        )

    return of


def test_a_fall_is_paid_by_who_gains_from_it_by_hand(by_hand):
    # A is long 10 coins on 0.3 P: a fall of 5 % costs 0.5 P, so that it owes 0.2 P. B is short 6
    # on 2 P, C short 8 on 8 P: both gain 5 % of their size, B at the higher leverage. B closes 6
    # and gives up 0.12 P of its 0.3 P, C closes 4 and gives up 0.08 P.
    # Who holds the other side of the rest is long 4 and loses 0.2 P.
    holdings = [(10_000, 0.3 * PRICE), (-6_000, 2.0 * PRICE), (-8_000, 8.0 * PRICE)]
    made = by_hand(holdings, "at_backstop")
    row, near = made.row("fall"), 8 * UNIT
    assert made.values("winners")[row] == 2
    assert made.values("winner_account")[row, :3].tolist() == [1, 2, -1]
    amounts = made.values("winner_amount")[row, :2]
    assert amounts.tolist() == pytest.approx([0.12 * PRICE, 0.08 * PRICE], abs=near)
    assert made.values("closed_by_winners")[row].sum() == pytest.approx(10.0 * PRICE)
    assert made.values("uncovered")[row].sum() == 0.0
    assert made.values("vault_pnl")[row] == pytest.approx(0.0, abs=near)
    assert made.values("lost")[row] == pytest.approx(0.5 * PRICE, abs=near)
    totals = made.run.groups["totals"].sel(layer="auto_deleveraging")
    assert totals["borne"].values[row] == pytest.approx(0.2 * PRICE, abs=near)
    assert made.run.groups["totals"]["shortfall"].values[row] == totals["borne"].values[row]
    # What B and C gave up of their gains is a loss of the system, counted once: all that A and the
    # other side lose at the scenario's own prices, 0.7 P.
    assert made.values("loss")[row] == pytest.approx(0.7 * PRICE, abs=near)
    assert made.values("lost_alone")[row] == pytest.approx(0.7 * PRICE, abs=near)


def test_winners_close_against_a_vault_once_its_fund_is_gone(by_hand):
    # The vault takes 10 coins at 0.95 P of A, who keeps 0.3 P of a maintenance of 0.8 P; steps of a
    # fall make it lose on them. With a fund beyond that loss nobody closes, with none B does.
    holdings = [(10_000, 0.6 * PRICE), (-10_000, 3.0 * PRICE)]
    steps = {"steps": "2"}
    rich, poor = (
        by_hand(holdings, "vault_exhausted", insurance_fund=fund, **steps)
        for fund in (repr(10.0 * PRICE), repr(0.05 * PRICE))
    )
    row = rich.row("fall")
    lost = -rich.values("vault_pnl")[row]
    assert lost > 0.1 * PRICE
    assert rich.values("winners")[row] == 0
    assert poor.values("winners")[row] == 1
    assert poor.values("given_up")[row].sum() == pytest.approx(lost - 0.05 * PRICE, abs=8 * UNIT)
    assert -poor.values("vault_pnl")[row] == pytest.approx(0.05 * PRICE, abs=8 * UNIT)


@pytest.fixture(scope="module")
def request_of(synthetic_book, margin_of, tmp_path_factory):
    margined = margin_of(synthetic_book(9_000))

    def request(trigger, **options):
        folder = tmp_path_factory.mktemp("stress")
        text = with_winners(SMALL_PLAN, trigger)
        fund = {"insurance_fund": "1000.0"} if trigger == "vault_exhausted" else {}
        return StressRequest(
            run=margined.run.run_id,
            plan=plan_file(folder, text, **fund),
            runs=margined.request.runs,
            stresses=folder / "stresses",
            **options,
        )

    return request


@pytest.mark.parametrize("trigger", ["at_backstop", "vault_exhausted"])
def test_a_run_is_the_same_however_it_is_cut_and_adds_up(request_of, trigger):
    alone = stress(request_of(trigger, shards=1, batch=64))
    assert stress(request_of(trigger, shards=3, batch=5)).digest == alone.digest
    assert (alone.values("winners") > 0).sum() > 2
    given = alone.values("given_up").sum(axis=1)
    totals = alone.run.groups["totals"]
    paid = totals["borne"].sel(layer="auto_deleveraging").values
    np.testing.assert_array_equal(paid, np.maximum(given, 0.0))
    vault = np.maximum(-alone.values("vault_pnl"), 0.0)
    # What was taken over is one vault: where one side gained, winners of the others pay for less.
    lacking = np.maximum(given - alone.values("vault_pnl"), 0.0)
    assert (given <= lacking).all()
    # What winners give up out of gains is in no loss of an account.
    own = alone.values("lost") + vault
    assert (alone.values("loss") >= own).all()
    # A winner gives up no more than it has, so that none of the shortfall is counted twice.
    by_plan = alone.values("uncovered").sum(axis=1) + vault + np.maximum(given, 0.0)
    np.testing.assert_array_equal(totals["shortfall"].values, by_plan)
    assert (alone.values("loss") <= own + given + alone.values("received_by_winners")).all()
    assert (alone.values("loss") > own)[paid > 0.0].any()
    np.testing.assert_array_equal(alone.values("loss")[alone.values("winners") == 0],
                                  own[alone.values("winners") == 0])  # fmt: skip
    lost = alone.values("uncovered").sum(axis=1) + vault + paid
    np.testing.assert_array_equal(
        totals["borne"].values.sum(axis=1) + totals["unborne"].values, lost
    )
    named = totals["winner_name"].values != ""
    np.testing.assert_array_equal(named, alone.values("winner_account") >= 0)
    amount = alone.values("winner_amount")
    assert (np.diff(amount, axis=1)[(alone.values("winner_account") >= 0)[:, 1:]] <= 0.0).all()


def test_a_run_by_the_plan_that_ships_is_verified(synthetic_book, margin_of, tmp_path):
    done = margin_of(synthetic_book(200), methodology=DEFAULT_METHODOLOGY)
    made = stress(
        StressRequest(
            run=done.run.run_id,
            plan="margincube-deleveraging-2026-01",
            runs=done.request.runs,
            stresses=tmp_path / "stresses",
        )
    )
    assert made.values("given_up").sum() > 0.0
    assert differences(verify_stress(made.store, made.run.run_id, done.store)) == []


def test_page_and_terminal_say_who_gave_up(request_of):
    made = stress(request_of("at_backstop"))
    (table,) = winners.winners(stress_view(made.run))
    row = made.row(table.rows[0][0])
    assert table.rows[0][1] == exact(float(made.values("winners")[row]))
    name = made.run.groups["totals"]["winner_name"].values[row, 0]
    assert table.rows[0][6].startswith(f"{name} ")
    net = float(made.values("given_up")[row].sum())
    received = float(made.values("received_by_winners")[row])
    assert table.rows[0][3:6] == (money(net + received), money(received), money(net))
    output = io.StringIO()
    print_stress(Console(file=output, width=130), made.run)
    printed = output.getvalue()
    assert re.search(r"[\d,]+ winners close against who is bankrupt in ", printed)
    totals = made.run.groups["totals"]
    worst = int(totals["shortfall"].values.argmax())
    for number in (1, 2):
        amount = short(float(totals[f"cover_{number}"].values[worst]))
        assert re.search(rf"Cover-{number} +{re.escape(amount)}\n", printed)
