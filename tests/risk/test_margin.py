"""Margin against a twin in plain Python, against paper and pencil, and against its own laws."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from risk.charges import Charge, charges_on
from risk.instruments import Instruments, Kind, MarketState, Settlement
from risk.kernels.sums import UNIT
from risk.margin import (
    HELD,
    MARGINED,
    Holdings,
    Revaluation,
    margin_accounts,
    measures_of,
    stack_layers,
)
from risk.measures import Measure
from risk.methodology import Methodology
from risk.nesting import risk_order
from risk.revaluation import VolatilityTenor, contract_value, revalue
from risk.scenarios.shocks import Shocks
from tests.risk.margin_twin import Rules, margin_of_account

ORIGIN = ["historical"] * 40 + ["grid"] * 9 + ["event"] * 3
KEYS = ("position", "settlement_currency", "account")
DOCUMENT = {
    "name": "twin",
    "version": "1",
    "effective": "2026-01-01",
    "title": "t",
    "sources": ["s"],
    "netting": dict(zip(("isolated", "cross", "portfolio"), KEYS, strict=True)),
    "volatility_tenor": {
        "reference_days": 30.0,
        "short_power": 0.3,
        "long_power": 0.13,
        "floor_days": 1.0,
        "minimum_volatility": 0.05,
    },
    "historical": {
        "holding_period_hours": 48,
        "step_hours": 35,
        "start": "2022-01-01T00:00:00Z",
        "end": "2023-01-01T00:00:00Z",
        "volatility_half_life_hours": 96.0,
    },
    "grid": {"price_range": 0.2, "buckets": 1, "volatility_up": 0.5, "volatility_down": 0.25},
    "measures": [
        {
            "name": "expected_shortfall",
            "kind": "expected_shortfall",
            "origins": ["historical"],
            "level": 0.93,
            "layer": "base",
        },
        {
            "name": "worst_loss",
            "kind": "worst_loss",
            "origins": ["grid", "event"],
            "layer": "stress",
        },
        {
            "name": "value_at_risk",
            "kind": "value_at_risk",
            "origins": ["historical"],
            "level": 0.96,
        },
    ],
    "maintenance_factor": 0.75,
    "charges": [
        {
            "layer": "short_option",
            "role": "floor",
            "kinds": ["option"],
            "side": "short",
            "initial": 0.05,
            "maintenance": 0.04,
        }
    ],
}


(CHARGE,) = DOCUMENT["charges"]

OPTIONS = Instruments(
    kind=np.full(64, Kind.OPTION, np.int8),
    settlement=np.zeros(64, np.int8),
    underlying=np.zeros(64, np.int16),
    settlement_underlying=np.full(64, -1, np.int16),
    multiplier=np.ones(64),
    strike=np.zeros(64),
    is_call=np.zeros(64, np.bool_),
    time_to_expiry=np.zeros(64),
)


def methodology(**changes):
    return Methodology.model_validate({**DOCUMENT, **changes})


def rules(chosen, origin=ORIGIN):
    return Rules(
        netting=(chosen.netting.isolated, chosen.netting.cross, chosen.netting.portfolio),
        level=chosen.measures[0].level,
        quantile=chosen.measures[2].level,
        rate=chosen.charges[0].initial,
        maintenance_rate=chosen.charges[0].maintenance,
        maintenance_factor=chosen.maintenance_factor,
        origin=origin,
    )


def random_book(seed, accounts=14, instruments=9):
    """A book with every margin mode, empty accounts, held ones and a row without a price."""
    rng = np.random.default_rng(seed)
    count = rng.integers(0, 7, accounts)
    rows = [np.sort(rng.choice(instruments, n, replace=False)) for n in count]
    instrument = np.concatenate([np.zeros(0, dtype=np.int64), *rows]).astype(np.int32)
    # Quantities on a coarse lattice, so that ties and exact zeros occur.
    quantity = rng.integers(-8, 9, len(instrument)) * 0.25
    quantity[quantity == 0.0] = 1.0
    return (
        Holdings(
            offsets=np.concatenate([[0], np.cumsum(count)]).astype(np.int64),
            instrument=instrument,
            quantity=quantity,
            margin_mode=rng.integers(0, 3, accounts).astype(np.int8),
            collateral=np.round(rng.exponential(20.0, accounts), 2),
            held=rng.random(accounts) < 0.15,
        ),
        Revaluation(
            cube=np.where(
                rng.random((instruments, 1)) < 0.5,
                rng.normal(0.0, 5.0, (instruments, len(ORIGIN))),
                rng.integers(-3, 4, (instruments, len(ORIGIN))).astype(float),
            ),
            weight=np.where(np.arange(len(ORIGIN)) % 7 == 6, 0.25, 1.0),
            value=np.where(np.arange(instruments) % 3 == 0, rng.exponential(4.0, instruments), 0.0),
            settlement=np.sort(rng.integers(0, 3, instruments)).astype(np.int32),
            priced=np.arange(instruments) != rng.integers(0, 4 * instruments),
            order=risk_order(OPTIONS.take(slice(instruments)), np.zeros(instruments, np.int32)),
            charges=(
                Charge(
                    methodology().charges[0],
                    np.where(np.arange(instruments) % 3 == 0, 100.0, 0.0),
                    np.ones(instruments),
                ),
            ),
        ),
    )


def twins(holdings, revaluation, chosen):
    for account in range(len(holdings)):
        inside = slice(holdings.offsets[account], holdings.offsets[account + 1])
        yield margin_of_account(
            list(
                zip(
                    holdings.instrument[inside].tolist(),
                    holdings.quantity[inside].tolist(),
                    strict=True,
                )
            ),
            int(holdings.margin_mode[account]),
            float(holdings.collateral[account]),
            bool(holdings.held[account]),
            revaluation.cube,
            revaluation.weight,
            revaluation.value,
            revaluation.charges[0].amount,
            revaluation.settlement,
            revaluation.priced,
            rules(chosen),
        )


def margin(holdings, revaluation, chosen, **options):
    return margin_accounts(holdings, revaluation, chosen, measures_of(chosen, ORIGIN), **options)


NETTINGS = st.fixed_dictionaries(
    {mode: st.sampled_from(KEYS) for mode in ("isolated", "cross", "portfolio")}
)


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 2**32), netting=NETTINGS, level=st.sampled_from([0.5, 0.93, 0.975]))
def test_every_number_is_the_twins(seed, netting, level):
    chosen = methodology(netting=netting)
    chosen = chosen.model_copy(
        update={
            "measures": (
                chosen.measures[0].model_copy(update={"level": level}),
                *chosen.measures[1:],
            )
        }
    )
    holdings, revaluation = random_book(seed)
    result = margin(holdings, revaluation, chosen)
    equity, account_pnl, scenario_layers = [], [], 0.0
    for account, twin in enumerate(twins(holdings, revaluation, chosen)):
        held = slice(holdings.offsets[account], holdings.offsets[account + 1])
        assert result.positions[account] == held.stop - held.start
        if twin is None:
            assert result.status[account] == HELD
            for name in ("margin", "risk_measure", "equity", "requirement", "excess"):
                assert np.isnan(getattr(result, name)[account]).all()
            assert result.netting_sets[account] == 0
            assert result.binding_scenario[account] == -1
            continue
        assert result.status[account] == MARGINED
        for name in ("margin", "risk_measure", "collateral_value", "position_value", "equity"):
            np.testing.assert_allclose(
                getattr(result, name)[account], twin[name], rtol=1e-12, atol=1e-11, err_msg=name
            )
        for name in ("requirement", "excess"):
            np.testing.assert_allclose(
                getattr(result, name)[account], twin[name], rtol=1e-12, atol=1e-10, err_msg=name
            )
        assert result.netting_sets[account] == twin["netting_sets"]
        equity.append(twin["equity"])
        account_pnl.append(twin["pnl"])
        scenario_layers += twin["margin"][0] + twin["margin"][1]
    # An account that is held back adds nothing to the system's sums.
    pnl = np.array(account_pnl).reshape(len(equity), len(ORIGIN))
    after = np.array(equity)[:, None] + pnl
    for name, loss in (("system_loss", -pnl), ("uncovered_loss", -after)):
        terms = np.round(np.maximum(loss, 0.0) / UNIT) * UNIT
        np.testing.assert_allclose(getattr(result, name)[0], terms.sum(axis=0), atol=1e-10)
    surely, perhaps = (after < -1e-9).sum(axis=0), (after < 1e-9).sum(axis=0)
    assert (surely <= result.accounts_under_water[0]).all()
    assert (result.accounts_under_water[0] <= perhaps).all()
    # Euler: the split over instruments adds up to the base and stress layers.
    # What a position adds for one measure is off by half a unit at most.
    off = len(holdings.quantity) * UNIT / 2
    assert result.contribution.sum() == pytest.approx(scenario_layers, rel=1e-11, abs=off + 1e-9)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**32))
def test_the_binding_scenario_is_the_twins_where_nothing_ties(seed):
    """With P&L in general position, the scenario that binds is one and the same."""
    chosen = methodology()
    holdings, revaluation = random_book(seed)
    rng = np.random.default_rng(seed)
    revaluation.cube[:] = rng.normal(0.0, 5.0, revaluation.cube.shape)
    result = margin(holdings, revaluation, chosen)
    for account, twin in enumerate(twins(holdings, revaluation, chosen)):
        if twin is not None:
            assert result.binding_scenario[account] == twin["binding_scenario"]


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**32))
def test_laws_of_every_account(seed):
    holdings, revaluation = random_book(seed)
    result = margin(holdings, revaluation, methodology())
    known = result.status == MARGINED
    assert (result.margin[known] >= 0.0).all()
    assert (result.margin[known].sum(axis=1) == result.requirement[known]).all()
    assert (result.equity[known] - result.requirement[known] == result.excess[known]).all()
    empty = known & (result.positions == 0)
    assert not result.requirement[empty].any()
    assert (result.binding_scenario[empty] == -1).all()
    assert (result.equity[empty] == holdings.collateral[empty]).all()
    # Wider netting never asks for more from the scenario layers.
    by_mode = []
    for mode in range(3):
        same = Holdings(
            holdings.offsets,
            holdings.instrument,
            holdings.quantity,
            np.full_like(holdings.margin_mode, mode),
            holdings.collateral,
            holdings.held,
        )
        by_mode.append(margin(same, revaluation, methodology()).margin[known, :2].sum(axis=1))
    isolated, cross, portfolio = by_mode
    assert (cross <= isolated + 1e-9).all()
    assert (portfolio <= cross + 1e-9).all()


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**32), factor=st.sampled_from([0.5, 2.0, 4.0]))
def test_twice_the_positions_ask_for_twice_the_margin(seed, factor):
    holdings, revaluation = random_book(seed)
    scaled = Holdings(
        holdings.offsets,
        holdings.instrument,
        holdings.quantity * factor,
        holdings.margin_mode,
        holdings.collateral,
        holdings.held,
    )
    one = margin(holdings, revaluation, methodology())
    other = margin(scaled, revaluation, methodology())
    np.testing.assert_array_equal(one.margin * factor, other.margin)
    # Contributions are rounded by account, before and after: half a unit a position each time.
    off = len(holdings.quantity) * (1.0 + factor) * UNIT / 2
    np.testing.assert_allclose(one.contribution * factor, other.contribution, rtol=0, atol=off)


def test_blocks_and_threads_leave_every_account_as_it_is():
    """Two blocks and a part of a third: what an account gets does not depend on where it lies."""
    holdings, revaluation = random_book(5, accounts=2 * 4096 + 300)
    chosen = methodology()
    whole = margin(holdings, revaluation, chosen)
    assert whole.contribution.shape == (3, 9)
    with ThreadPoolExecutor(2) as pool:
        threaded = margin(holdings, revaluation, chosen, map_blocks=pool.map)
    for name in whole.__slots__:
        assert getattr(whole, name).tobytes() == getattr(threaded, name).tobytes(), name
    cut = holdings.offsets[4096]
    rest = Holdings(
        holdings.offsets[4096:] - cut,
        holdings.instrument[cut:],
        holdings.quantity[cut:],
        holdings.margin_mode[4096:],
        holdings.collateral[4096:],
        holdings.held[4096:],
    )
    later = margin(rest, revaluation, chosen)
    for name in ("margin", "equity", "requirement", "binding_scenario", "status"):
        assert getattr(later, name).tobytes() == getattr(whole, name)[4096:].tobytes(), name
    for name in ("contribution", "system_loss", "uncovered_loss", "accounts_under_water"):
        assert getattr(later, name).tobytes() == getattr(whole, name)[1:].tobytes(), name


def test_an_account_is_held_whatever_else_it_holds():
    """One row without a price holds the account back, and only that account."""
    holdings, revaluation = random_book(11)
    revaluation.priced[:] = True
    holdings.held[:] = False
    before = margin(holdings, revaluation, methodology())
    assert (before.status == MARGINED).all()
    missing = int(holdings.instrument[0])
    revaluation.priced[missing] = False
    after = margin(holdings, revaluation, methodology())
    for account in range(len(holdings)):
        inside = slice(holdings.offsets[account], holdings.offsets[account + 1])
        concerned = missing in holdings.instrument[inside]
        assert after.status[account] == (HELD if concerned else MARGINED)
        assert np.isnan(after.requirement[account]) == concerned
        if not concerned:
            assert after.margin[account].tobytes() == before.margin[account].tobytes()
    assert (after.status == HELD).any()
    assert (after.status == MARGINED).any()


def test_measures_find_their_scenarios_on_the_axis():
    found = measures_of(methodology(), ORIGIN)
    assert [(one.start, one.stop, one.binds) for one in found] == [
        (0, 40, True),
        (40, 52, True),
        (0, 40, False),
    ]
    with pytest.raises(
        ValueError, match=r"'worst_loss' needs the scenarios of \['grid', 'event'\]"
    ):
        measures_of(methodology(), ["historical"] * 40)
    with pytest.raises(ValueError, match="12 were found"):
        measures_of(methodology(), ["grid"] * 9 + ["historical"] * 40 + ["event"] * 3)


def test_layers_stack_whatever_the_measures():
    measures = [
        Measure("a", "expected_shortfall", 0, 9, 0.5),
        Measure("b", "value_at_risk", 0, 9, 0.5, binds=False),
        Measure("c", "worst_loss", 0, 9),
        Measure("d", "worst_loss", 0, 9),
    ]
    value = np.array([[1.0, 99.0, 3.0, 2.0], [-1.0, 99.0, -2.0, 5.0], [0.0, 0.0, -1.0, -2.0]])
    assert stack_layers(value, measures).tolist() == [[1, 2, 0], [0, 0, 5], [0, 0, 0]]


# A small portfolio by hand.
#
# ETH is at 2,000 and BTC at 40,000, no basis. Ten historical scenarios:
#
#              h0    h1    h2    h3    h4   h5   h6    h7   h8   h9
#     ETH    -20%  -10%   +5%   +1%    0   +2%  -4%  +10%  +8%  -1%
#     BTC    -10%   -5%  +10%    0    +1%  -2%  -3%   +4%  -2%  +2%
#
# and three stressed ones: g0 all +25 %, g1 all -25 %, both at weight 1; g2 all -60 %, weight 1/4.
#
# One contract gains:
#     0  BTC inverse perpetual, 100 USD:  100 (1/F0 - 1/F) S. Without basis S = F, so 100 (F/F0 - 1)
#        = 100 b, b being the move of BTC
#     1  ETH linear perpetual, 1 ETH:     2,000 e, e being the move of ETH
#     2  ETH spot, 1 ETH:                 2,000 e
#     3  ETH linear call, 1 ETH, strike 1,000,000, volatility 5 %, a week: nothing in any scenario,
#        for even at +25 % the strike is 400 times the forward; notional 2,000
#     4  ETH quanto perpetual paying 0.0001 BTC a dollar: 0.0001 * 2,000 e * 40,000 (1 + b)
#        = 8,000 e (1 + b)
#
# Expected shortfall at 75 % of 10 scenarios: m = 2.5, the two worst whole and half of the third.
HISTORY = np.array(
    [
        [-0.10, -0.05, 0.10, 0.0, 0.01, -0.02, -0.03, 0.04, -0.02, 0.02],
        [-0.20, -0.10, 0.05, 0.01, 0.0, 0.02, -0.04, 0.10, 0.08, -0.01],
    ]
).T
STRESSED = np.array([[0.25, 0.25], [-0.25, -0.25], [-0.60, -0.60]])

BY_HAND = [
    # Long 3 ETH perpetuals, cross. e sorted: -20, -10, -4 %.
    # ES = (0.20 + 0.10 + 0.5 * 0.04) * 6,000 / 2.5 = 0.32 * 6,000 / 2.5 = 768
    # worst: g1 0.25 * 6,000 = 1,500; g2 0.60 * 6,000 / 4 = 900; so 1,500, of which 732 beyond ES
    # VaR at 85 %: ceil(8.5) = 9th of the losses in ascending order, 0.10 * 6,000 = 600
    ("long perpetual", 1, {1: 3}, [768.0, 732.0, 0.0], [768.0, 1500.0, 600.0], 0.0, 11),
    # Short 2 ETH perpetuals. e sorted down: 10, 8, 5 %.
    # ES = (0.10 + 0.08 + 0.5 * 0.05) * 4,000 / 2.5 = 0.205 * 1,600 = 328
    # worst: g0 0.25 * 4,000 = 1,000; VaR 9th: 0.08 * 4,000 = 320
    ("short perpetual", 0, {1: -2}, [328.0, 672.0, 0.0], [328.0, 1000.0, 320.0], 0.0, 10),
    # Short 1 perpetual against 1 spot, netted over the account: nothing moves, 2,000 of value.
    ("covered", 2, {1: -1, 2: 1}, [0.0, 0.0, 0.0], [0.0, 0.0, 0.0], 2000.0, -1),
    # The same in isolation: each leg on its own. Long spot: 0.32 * 2,000 / 2.5 = 256, worst 500,
    # VaR 200. Short perpetual: 0.205 * 2,000 / 2.5 = 164, worst 500, VaR 160.
    # base 420, stress 244 + 336 = 580. Both ask 500: the perpetual, listed first, names g0.
    ("uncovered", 0, {1: -1, 2: 1}, [420.0, 580.0, 0.0], [420.0, 1000.0, 360.0], 2000.0, 10),
    # Short 10 far calls: 1 % of 20,000 of notional. The loss is below 1e-9, and greatest in g0.
    ("short calls", 1, {3: -10}, [0.0, 0.0, 200.0], [0.0, 0.0, 0.0], 0.0, 10),
    # Long 3 perpetuals and short 100 of those calls: 1 % of 200,000 is 2,000, 500 beyond 1,500.
    ("both", 1, {1: 3, 3: -100}, [768.0, 732.0, 500.0], [768.0, 1500.0, 600.0], 0.0, 11),
    # Short 50 inverse BTC perpetuals, 5,000 USD: loses where BTC rises: 10, 4, 2 %.
    # ES = (0.10 + 0.04 + 0.5 * 0.02) * 5,000 / 2.5 = 0.15 * 2,000 = 300; worst g0 1,250; VaR 200
    ("short inverse", 1, {0: -50}, [300.0, 950.0, 0.0], [300.0, 1250.0, 200.0], 0.0, 10),
    # Inverse BTC pays in BTC, ETH linear in USD: two sets under cross, the sum of the two above.
    ("two sets", 1, {0: -50, 1: 3}, [1068.0, 1682.0, 0.0], [1068.0, 2750.0, 800.0], 0.0, 11),
    # Long 1 quanto: 8,000 e (1 + b).
    #   h0 8,000 * -0.20 * 0.90 = -1,440; h1 8,000 * -0.10 * 0.95 = -760; h6 8,000 * -0.04 * 0.97
    #   = -310.4. ES = (1,440 + 760 + 155.2) / 2.5 = 942.08
    #   g1 8,000 * -0.25 * 0.75 = -1,500; g2 8,000 * -0.60 * 0.40 / 4 = -480; VaR 760
    ("long quanto", 2, {4: 1}, [942.08, 557.92, 0.0], [942.08, 1500.0, 760.0], 0.0, 11),
]


def golden_market(chosen):
    week = 7 / 365
    instruments = Instruments(
        kind=np.array(
            [Kind.PERPETUAL, Kind.PERPETUAL, Kind.SPOT, Kind.OPTION, Kind.PERPETUAL], np.int8
        ),
        settlement=np.array(
            [Settlement.INVERSE, *[Settlement.LINEAR] * 3, Settlement.QUANTO], np.int8
        ),
        underlying=np.array([0, 1, 1, 1, 1], np.int16),
        settlement_underlying=np.array([0, -1, -1, -1, 0], np.int16),
        multiplier=np.array([100.0, 1.0, 1.0, 1.0, 0.0001]),
        strike=np.array([0.0, 0.0, 0.0, 1e6, 0.0]),
        is_call=np.array([False, False, False, True, False]),
        time_to_expiry=np.array([0.0, 0.0, 0.0, week, 0.0]),
    )
    index = np.array([40_000.0, 2_000.0])
    market = MarketState(
        index=index,
        forward=index[instruments.underlying],
        volatility=np.array([0.0, 0.0, 0.0, 0.05, 0.0]),
        priced=np.ones(5, dtype=np.bool_),
    )
    moves = np.concatenate([HISTORY, STRESSED])
    zero = np.zeros_like(moves)
    shocks = Shocks(price=moves, volatility=zero, perpetual_basis=zero, forward_basis=zero)
    settlement = np.array([0, 1, 1, 1, 2], dtype=np.int32)
    return Revaluation(
        cube=revalue(instruments, market, shocks, VolatilityTenor()),
        weight=np.array([1.0] * 12 + [0.25]),
        value=contract_value(instruments, market),
        # The BTC row pays in BTC and comes first; the quanto is alone in every portfolio here.
        settlement=settlement,
        priced=market.priced,
        order=risk_order(instruments, settlement),
        charges=charges_on(chosen.charges, instruments, market, ["BTC", "ETH"]),
    )


def test_a_portfolio_by_hand():
    measures = [dict(one) for one in DOCUMENT["measures"]]
    measures[0]["level"], measures[2]["level"] = 0.75, 0.85
    chosen = methodology(
        measures=measures, charges=[CHARGE | {"initial": 0.01, "maintenance": 0.01}]
    )
    origin = ["historical"] * 10 + ["grid"] * 3
    count = [len(held) for _, _, held, *_ in BY_HAND]
    holdings = Holdings(
        offsets=np.concatenate([[0], np.cumsum(count)]).astype(np.int64),
        instrument=np.array([row for _, _, held, *_ in BY_HAND for row in held], np.int32),
        quantity=np.array([float(q) for _, _, held, *_ in BY_HAND for q in held.values()]),
        margin_mode=np.array([mode for _, mode, *_ in BY_HAND], np.int8),
        collateral=np.full(len(BY_HAND), 1_000.0),
        held=np.zeros(len(BY_HAND), np.bool_),
    )
    result = margin_accounts(holdings, golden_market(chosen), chosen, measures_of(chosen, origin))
    for account, (name, _, _, layers, measured, value, binding) in enumerate(BY_HAND):
        about = {"rtol": 1e-12, "atol": 1e-9, "err_msg": name}
        np.testing.assert_allclose(result.margin[account], layers, **about)
        np.testing.assert_allclose(result.risk_measure[account], measured, **about)
        np.testing.assert_allclose(result.equity[account], 1_000.0 + value, **about)
        np.testing.assert_allclose(result.excess[account], 1_000.0 + value - sum(layers), **about)
        assert result.binding_scenario[account] == binding, name
