"""A cascade of two accounts, one coin and two rounds, by hand; and what is monotone of any."""

import math

import numpy as np
import pyarrow as pa
import pytest

from risk.kernels.sums import UNIT
from storage import tables
from storage.book import BookWriter, canonical_instruments
from storage.market import sample_market
from tests.conftest import approved
from tests.workers.stressed import plan_file, stress
from workers.stress.request import StressRequest

# The margin of a lone position in BTC is a tenth of its notional, its maintenance eight tenths of
# that.
METHODOLOGY = """
name = "tenth"
version = "1"
effective = 2026-01-01
title = "A tenth of the notional"
sources = ["made up for tests"]
maintenance_factor = 0.8

[netting]
isolated = "account"
cross = "account"
portfolio = "account"

[volatility_tenor]
reference_days = 30.0
short_power = 0.30
long_power = 0.13
floor_days = 1.0
minimum_volatility = 0.05

[grid]
price_range = 0.1
buckets = 1
volatility_up = 0.5
volatility_down = 0.25

[[measures]]
name = "worst_loss"
kind = "worst_loss"
origins = ["grid"]
layer = "base"
"""

PLAN = """
name = "by-hand"
version = "1"
effective = 2026-01-01
title = "One fall"
sources = ["made up for tests"]
origins = ["grid"]
depth = 0.5
insurance_fund = 1_000_000.0

[liquidation]
closing = "all"
fee = 0.005

[impact]
coefficient = 1.0
exponent = 0.5
source = "made up"

[cascade]
steps = 1
rounds = 10
least = 0.0

[[layers]]
name = "own_contribution"
payer = "defaulter"
resource = "default_fund"

[[layers]]
name = "insurance_fund"
payer = "venue"

[[layers]]
name = "mutual_fund"
payer = "survivors"
resource = "default_fund"

[[layers]]
name = "socialised_loss"
payer = "winners"
capped = false

[[markets]]
coin = "BTC"
daily_volume = {volume}
daily_volatility = 0.04
source = "made up"

[[markets]]
coin = "ETH"
daily_volume = 1.0
daily_volatility = 1.0
source = "nobody holds it"

[[markets]]
coin = "SOL"
daily_volume = 1.0
daily_volatility = 1.0
source = "nobody holds it"

[[scenarios]]
name = "fall"
title = "a twentieth"
source = "made up"
[scenarios.shocks.price]
default = -0.05
"""

PRICE = sample_market().index["BTC"].price


def perpetuals_book(folder, holdings, chain="none"):
    """A book of BTC perpetuals: contracts and cash of each account, in thousandths of a coin.

    The cash lies on a chain.

    One more account, which nothing can hurt, holds the other side.
    """
    terms = {"instrument": "PERP", "kind": "perpetual", "settlement": "linear",
             "underlying": "BTC", "settlement_currency": "USD", "expiry": None, "strike": None,
             "option_type": None, "multiplier": 1.0, "lot_size": 0.001, "venue": "v",
             "protocol": "none", "chain": "none"}  # fmt: skip
    other = (-sum(lots for lots, _ in holdings), 1e12)
    rows = [*holdings, other]
    cash = {"asset": "CASH", "chain": chain, "protocol": "none", "underlying": "USD",
            "haircut": 0.0}  # fmt: skip
    with BookWriter(
        folder / "book",
        "by-hand",
        sample_market().as_of,
        canonical_instruments(pa.Table.from_pylist([terms], schema=tables.INSTRUMENTS.schema)),
        pa.Table.from_pylist(
            [{"member": name, "default_fund": 0.0} for name in ("m0", "m1")],
            schema=tables.MEMBERS.schema,
        ),
        pa.Table.from_pylist([cash], schema=tables.ASSETS.schema),
    ) as writer:
        writer.append(
            pa.Table.from_pylist(
                [
                    {"account": f"a{row:03d}", "member": row % 2, "margin_mode": 1}
                    for row in range(len(rows))
                ],
                schema=tables.ACCOUNTS.schema,
            ),
            pa.Table.from_pylist(
                [
                    {"account": row, "instrument": 0, "lots": lots}
                    for row, (lots, _) in enumerate(rows)
                    if lots
                ],
                schema=tables.POSITIONS.schema,
            ),
            pa.Table.from_pylist(
                [
                    {"account": row, "asset": 0, "quantity": money}
                    for row, (_, money) in enumerate(rows)
                ],
                schema=tables.COLLATERAL.schema,
            ),
        )
        return writer.close()


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
    _, (made,) = stressed_of([(10_000, 0.4 * PRICE), (1, PRICE)], 1e15)
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


@pytest.mark.parametrize("seed", range(4))
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
