"""A cascade of two accounts, one coin and two rounds, by hand; and what is monotone of any."""

import math

import numpy as np
import pytest

from risk.kernels.sums import UNIT
from tests.conftest import approved
from tests.workers.by_hand import METHODOLOGY, PLAN, PRICE, perpetuals_book
from tests.workers.stressed import plan_file, stress
from workers.stress.request import StressRequest


@pytest.fixture(scope="module")
def stressed_of(margin_of, tmp_path_factory):
    """Return a function that stresses such accounts by a plan with some of its fields changed."""
    methodology = tmp_path_factory.mktemp("tenth") / "tenth.toml"
    methodology.write_text(approved(METHODOLOGY))

    def of(holdings, volume, plans=({},)):
        folder = tmp_path_factory.mktemp("by-hand")
        done = margin_of(perpetuals_book(folder, holdings), methodology=str(methodology))
        text = PLAN.replace("{volume}", repr(float(volume)))
        stresses = []
        for changes in plans:
            request = StressRequest(
                run=done.run.run_id,
                plan=plan_file(folder, text, **changes),
                runs=done.request.runs,
                stresses=folder / "stresses",
            )
            stresses.append(stress(request))
        return done, stresses

    return of


def test_two_accounts_fall_one_after_the_other(stressed_of):
    # Both hold 10 coins: maintenance is 0.8 x 0.1 x 10 P = 0.8 P. The fall of 5 % costs 0.5 P.
    # A has 1 P, keeps 0.5 P and is closed at 0.95 P. B has 1.35 P, keeps 0.85 P and stands.
    # Half of a volume of 80 P is there: 10 P sold move the price by 0.04 sqrt(10 / 40), so that
    # B holds 1.35 P - 10 P (1 - 0.95 exp(-0.02)) = 0.6619 P, is below 0.8 P and is closed there.
    # 20 P sold in all leave the price at 0.95 exp(-0.04 sqrt(20 / 40)).
    unit = PRICE
    done, (made,) = stressed_of([(10_000, 1.0 * unit), (10_000, 1.35 * unit)], 80.0 * unit)
    assert done.run.accounts["maintenance"].values[:2].tolist() == pytest.approx([0.8 * unit] * 2)
    row = made.row("fall")
    second, last = 0.95 * math.exp(-0.02), 0.95 * math.exp(-0.04 * math.sqrt(0.5))
    assert made.values("liquidated")[row, :4].tolist() == [1, 1, 0, -1]
    assert made.values("sold")[row, :3].tolist() == pytest.approx([10.0 * unit, 10.0 * unit, 0.0])
    assert np.isnan(made.values("sold")[row, 3:]).all()
    assert made.values("price")[row, :4, 0].tolist() == pytest.approx([0.95, second, last, last])
    assert made.values("rounds")[row] == 2
    assert made.values("touched")[row] == 2
    fees = 2 * 0.005 * 10.0 * unit
    closed = 0.5 * unit + 10.0 * unit * (1.0 - second)
    assert made.values("lost_alone")[row] == pytest.approx(1.0 * unit, abs=2 * UNIT)
    assert made.values("lost")[row] == pytest.approx(closed + fees, abs=2 * UNIT)
    assert made.values("uncovered")[row].tolist() == [0.0, 0.0]


def test_who_is_closed_beyond_his_equity_leaves_the_rest_to_his_member(stressed_of):
    # With 0.4 P behind 10 coins, A is closed for 0.5 P and a fee of 0.05 P: 0.15 P are lacking.
    _, (made,) = stressed_of([(10_000, 0.4 * PRICE), (1, PRICE)], 1e15, ({"coefficient": "0.001"},))
    row = made.row("fall")
    assert made.values("uncovered_alone")[row].tolist() == pytest.approx([0.1 * PRICE, 0.0])
    assert made.values("uncovered")[row].tolist() == pytest.approx([0.15 * PRICE, 0.0])
    assert made.values("defaulted")[row].tolist() == [1, 0]


def test_a_vault_takes_what_is_far_below_and_bears_what_comes_after(stressed_of):
    # A keeps 0.5 P of a maintenance of 0.8 P: above half of it, below two thirds. The vault takes
    # 10 coins at 0.95 P. B has 1.25 P, keeps 0.75 P and is sold: 0.04 sqrt(10 / 40) once more.
    holdings = [(10_000, 1.0 * PRICE), (10_000, 1.25 * PRICE)]
    _, (market, vault) = stressed_of(
        holdings, 80.0 * PRICE, ({"fee": "0.0"}, {"fee": "0.0\nbackstop = 0.6667"})
    )
    row = market.row("fall")
    assert market.values("vault_pnl")[row] == 0.0
    assert market.values("liquidated")[row, :2].tolist() == [2, 0]
    assert vault.values("taken_by_instrument")[row].tolist() == pytest.approx([10.0 * PRICE])
    assert vault.values("sold_by_instrument")[row].tolist() == pytest.approx([10.0 * PRICE])
    assert vault.values("vault_pnl")[row] == pytest.approx(
        -10.0 * PRICE * 0.95 * (1.0 - math.exp(-0.02)), rel=1e-6
    )


@pytest.mark.parametrize("seed", range(2))
def test_more_depth_or_less_impact_never_sells_more(stressed_of, seed):
    """Of longs that are closed whole: what is closed at a price is closed at every lower one."""
    draw = np.random.default_rng(seed)
    lots = draw.integers(100, 50_000, 30)
    # What keeps an account: from nothing to twice what its margin asks for.
    money = draw.uniform(0.0, 0.2, 30) * lots / 1_000 * PRICE
    holdings = list(zip(lots.tolist(), money.tolist(), strict=True))
    rules = [
        {"coefficient": coefficient, "depth": depth, "rounds": "100"}
        for coefficient, depth in (("0.5", "0.9"), ("1.5", "0.9"), ("1.5", "0.2"))
    ]
    _, stresses = stressed_of(holdings, 1_000.0 * PRICE, rules)
    for name in ("sold_by_instrument", "lost", "touched"):
        calm, harder, thin = (one.values(name)[one.row("fall")].sum() for one in stresses)
        assert calm < harder < thin, name
    assert all(one.values("ended").all() for one in stresses)
