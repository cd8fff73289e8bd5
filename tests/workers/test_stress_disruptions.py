"""Depeg, oracle error and halted chain of two accounts, by hand."""

import numpy as np
import pytest

from flows.report.stress.basis import basis
from flows.report.stress.rounds import prices
from flows.report.stress.scenarios import scenario_tables
from flows.report.stress.waterfall import layer_table
from flows.stress_view import stress_view
from risk.kernels.sums import UNIT
from tests.conftest import approved
from tests.workers.by_hand import CALM_PLAN, METHODOLOGY, PRICE, perpetuals_book
from tests.workers.stressed import plan_file, stress
from workers.engine import SerialEngine
from workers.stress.request import StressRequest, load_plan
from workers.stress.run import StressRun

# A holds ten coins and 1.5 P, B ten coins and 2.2 P; each has a maintenance of 0.8 P. Who holds the
# other side has OTHER in cash.
HOLDINGS = [(10_000, 1.5 * PRICE), (10_000, 2.2 * PRICE)]
OTHER = 1e12

SCENARIOS = """
[[scenarios]]
name = "peg breaks"
title = "a twentieth, and three tenths of the cash"
source = "made up"
collateral = [{ assets = ["CASH"], move = -0.3 }]
[scenarios.shocks.price]
default = -0.05

[[scenarios]]
name = "bridge fails"
title = "what is on the chain is gone"
source = "made up"
collateral = [{ chains = ["Avalanche"], move = -1.0 }]
[scenarios.shocks.price]
default = -0.05

[[scenarios]]
name = "oracle errs"
title = "a tenth too low for two rounds"
source = "made up"
oracle = { error = { BTC = -0.1 }, rounds = 2 }
[scenarios.shocks.price]
default = 0.0

[[scenarios]]
name = "trading halts"
title = "a tenth, and nobody can be closed for three rounds"
source = "made up"
halt = { chains = ["none"], rounds = 3 }
[scenarios.shocks.price]
default = -0.1

[[scenarios]]
name = "vault halts"
title = "nothing moves, and the cash does not count for two rounds"
source = "made up"
halt = { chains = ["Avalanche"], rounds = 2 }
[scenarios.shocks.price]
default = 0.0
"""

OWNERS = """
[[owners]]
owner = "one"
members = [{}]
"""


@pytest.fixture(scope="module")
def request_of(margin_of, tmp_path_factory):
    folder = tmp_path_factory.mktemp("disruptions")
    methodology = folder / "tenth.toml"
    methodology.write_text(approved(METHODOLOGY))
    done = margin_of(perpetuals_book(folder, HOLDINGS, "Avalanche"), methodology=str(methodology))

    def request(scenarios, batch=32):
        where = tmp_path_factory.mktemp("plan")
        text = CALM_PLAN + scenarios
        return StressRequest(
            run=done.run.run_id,
            plan=plan_file(where, text),
            runs=done.request.runs,
            stresses=where / "stresses",
            batch=batch,
        )

    return request


@pytest.fixture(scope="module")
def made(request_of):
    return stress(request_of(SCENARIOS))


def test_a_peg_that_breaks_takes_collateral_and_closes_whom_it_was_behind(made):
    row, alone = made.row("peg breaks"), made.row("fall")
    # 1.05 P less 0.5 P is below 0.8 P; 1.54 P less 0.5 P is not. At the fall alone both stand.
    assert made.values("touched")[[row, alone]].tolist() == [1, 0]
    fall = 0.3 * OTHER - 1.0 * PRICE  # who holds the other side gains 20 P 0.05
    lost = (0.5 + 0.45) * PRICE + (0.5 + 0.66) * PRICE + fall
    assert made.values("lost_alone")[row] == pytest.approx(lost, abs=4 * UNIT)
    assert made.values("lost")[row] == pytest.approx(lost + 0.05 * PRICE, abs=1.0)
    assert made.values("uncovered_alone")[row].sum() == 0.0


def test_who_had_equity_answers_with_what_collateral_was_worth(made):
    """All cash is gone, and half a price is lost by each beside: that alone is uncovered."""
    row = made.row("bridge fails")
    assert made.values("uncovered_alone")[row].tolist() == pytest.approx(
        [0.5 * PRICE, 0.5 * PRICE], abs=2 * UNIT
    )
    assert made.values("defaulted")[row].tolist() == [1, 1]


def test_an_oracle_that_errs_closes_at_its_own_price(made):
    row = made.row("oracle errs")
    # Shown at 0.9 P: A has 0.5 P of 0.8 P, B 1.2 P. A loses 1 P and a fee of a two hundredth.
    assert made.values("liquidated")[row, :4].tolist() == [1, 0, 0, -1]
    assert made.values("price")[row, :4, 0] == pytest.approx([0.9, 0.9, 1.0, 1.0], abs=1e-6)
    assert made.values("lost_alone")[row] == 0.0
    assert made.values("lost")[row] == pytest.approx(1.05 * PRICE, rel=1e-5)


def test_positions_on_a_halted_chain_wait(made):
    row = made.row("trading halts")
    # A has 0.5 P of 0.8 P from the first round on, and is closed in the fourth.
    assert made.values("liquidated")[row, :6].tolist() == [0, 0, 0, 1, 0, -1]


def test_collateral_on_a_halted_chain_does_not_count_until_it_is_back(made):
    row = made.row("vault halts")
    # All three are closed at once, for nothing that counts is behind them; only fees are lost.
    assert made.values("liquidated")[row, :4].tolist() == [3, 0, 0, -1]
    assert made.values("lost")[row] == pytest.approx(0.005 * 40.0 * PRICE, rel=1e-6)
    assert made.values("uncovered")[row].sum() == 0.0


def test_what_breaks_in_one_scenario_changes_no_bit_of_another(made, request_of):
    """Also where each goes by itself, and where none breaks anything."""
    assert stress(request_of(SCENARIOS, batch=1)).digest == made.digest
    plain = stress(request_of(""))
    for name in ("sold", "lost", "lost_alone", "uncovered", "price", "touched"):
        np.testing.assert_array_equal(
            plain.values(name)[plain.row("fall")], made.values(name)[made.row("fall")]
        )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('assets = ["CASH"]', 'assets = ["GOLD"]', "means no asset of the book; it has"),
        ('{ assets = ["CASH"], move', "{ move", "names nothing; give assets, chains or protocols"),
        ("BTC = -0.1", "DOGE = -0.1", "shows a wrong price of 'DOGE', which is not traded"),
        ("BTC = -0.1 }, rounds = 2", "BTC = -0.1 }, rounds = 10", "breaks something for 10 rounds"),
        ('chains = ["none"]', 'chains = ["Moon"]', r"halts \['Moon'\], on which the book has"),
        ("move = -0.3", "move = -1.3", "greater than or equal to -1"),
    ],
)
def test_what_cannot_break_is_refused(request_of, old, new, message):
    assert SCENARIOS.count(old) == 1
    request = request_of(SCENARIOS.replace(old, new))
    with StressRun(request, SerialEngine) as run, pytest.raises(ValueError, match=message):
        run.prepare()


def test_the_plan_that_ships_breaks_something_in_each_of_its_scenarios():
    plan = load_plan("margincube-disruption-2026-01").plan
    assert all(one.breaks_something for one in plan.scenarios)


def test_the_page_says_what_breaks_beside_prices(made):
    view = stress_view(made.run)
    (table, _) = scenario_tables(view)
    said = {row[0]: row[-1] for row in table.rows}
    assert table.columns[-1] == "Breaks beside prices"
    assert said["peg breaks"] == "collateral (assets CASH) moves by -30 %"
    assert said["oracle errs"] == "the oracle shows BTC -10 % for 2 rounds"
    assert said["vault halts"] == "Avalanche stands still for 2 rounds"
    parts = {row[0]: row[2] for row in basis(view).rows}
    assert parts["What breaks in peg breaks"] == said["peg breaks"]
    assert "peg breaks: collateral (assets CASH)" in prices(view).caption
    assert "fall" not in view.broken


def test_cover_counts_members_of_one_owner_as_one(made, request_of):
    """Both members' accounts owe in full what they lose, and no contribution stands before it."""
    owned = stress(request_of(SCENARIOS + OWNERS.format('"m0", "m1"')))
    row, totals = made.row("bridge fails"), owned.run.groups["totals"].load()
    owed = made.values("uncovered")[row]
    assert (owed > 0.5 * PRICE).all()
    assert totals["cover_1"].values[row] == owed.max()
    assert totals["cover_2"].values[row] == owed.sum()
    assert totals["cover_1_by_owner"].values[row] == owed.sum()
    assert totals["cover_2_by_owner"].values[row] == owed.sum()
    apart = made.run.groups["totals"].load()
    for name in ("cover_1", "cover_2"):
        np.testing.assert_array_equal(apart[f"{name}_by_owner"].values, apart[name].values)
    table = layer_table(stress_view(owned.run))
    assert table.columns[-2:] == ("Cover-1 by owner", "Cover-2 by owner")
    assert "one has 2 members" in table.caption
    assert layer_table(stress_view(made.run)).columns[-1] == "Cover-2"


def test_an_owner_of_nobody_and_a_member_of_two_are_refused(request_of):
    for members, message in (
        ('"nobody"', r"owners have members \['nobody'\]; members are"),
        ('"m0", "m0"', "member of an owner 'm0' is named twice"),
    ):
        request = request_of(SCENARIOS + OWNERS.format(members))
        with StressRun(request, SerialEngine) as run, pytest.raises(ValueError, match=message):
            run.prepare()
