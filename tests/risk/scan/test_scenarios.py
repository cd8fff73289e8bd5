"""The cube of a scan, switch by switch, and the axis that it stands on."""

import math

import numpy as np
import pytest
import xarray as xr

from risk.instruments import Kind, Settlement
from risk.kernels.scan import BASIS_DOWN, BASIS_UP, REPORTED, ROTATED, SCANNED
from risk.revaluation import VolatilityTenor, revalue
from risk.scan.prepared import scan_tables
from risk.scan.scenarios import revalue_scan, scan_axis, scan_scenarios, skew_scale
from risk.scan.specification import ScanSpec, SkewShape
from risk.scenarios.events import event_scenarios
from risk.scenarios.shocks import shocks_of
from risk.scenarios.specification import EventSpec
from tests.risk.books import COINS, instruments_of, market_of, universe

CRASH = EventSpec(name="crash", label="-50 %", shocks={"price": {"default": -0.5}})
TENOR = VolatilityTenor(minimum_volatility=0.0)
OPTION = {"kind": Kind.OPTION, "time_to_expiry": 30 / 365}
INVERSE = {"settlement": Settlement.INVERSE, "settlement_underlying": 0, "multiplier": 10.0}


def spec_of(cells, **more):
    return ScanSpec.model_validate({"cells": cells, "maintenance_factor": 0.5} | more)


def axis_of(spec, events=(CRASH,)):
    """Return the scenarios of a run on a scan, its events last, and what they are to the scan."""
    parts = [*scan_scenarios(COINS, spec), event_scenarios(COINS, events)]
    scenarios = xr.concat(parts, dim="scenario", join="exact", combine_attrs="drop")
    names = (scenarios[name].values.tolist() for name in ("origin", "scenario"))
    return scenarios, scan_axis(spec, COINS, *names)


def cube_of(spec, rows, tenor=TENOR, **market):
    instruments = instruments_of(rows)
    scenarios, axis = axis_of(spec)
    state = market_of(instruments, **market)
    return revalue_scan(instruments, state, shocks_of(scenarios), tenor, axis)


def at_the_money(volatility, years=30 / 365, forward=100.0):
    """Return the undiscounted value of an option struck at its forward."""
    return forward * math.erf(volatility * math.sqrt(years) / 2.0 / math.sqrt(2.0))


def test_cells_have_names_moves_and_weights_of_their_own():
    spec = spec_of(
        [[0.1, "up"], [0.1, "up"], [-0.5, "down", 0.3]],
        volatility_up=0.5,
        volatility_down=0.25,
        underlying={"ETH": {"prices": [0.1, 0.2, -0.6], "volatility_up": 0.4}},
    )
    scenarios, axis = axis_of(spec)
    assert scenarios["scenario"].values.tolist() == [
        "price +10% vol up #1",
        "price +10% vol up #2",
        "price -50% vol down x 0.3",
        "crash",
    ]
    assert scenarios["price"].values.tolist() == [[0.1, 0.1], [0.1, 0.2], [-0.5, -0.6], [-0.5] * 2]
    assert scenarios["volatility"].values[:3].tolist() == [[0.5, 0.4], [0.5, 0.4], [-0.25, -0.25]]
    assert scenarios["weight"].values.tolist() == [1.0, 1.0, 0.3, 1.0]
    assert axis.role.tolist() == [SCANNED] * 3 + [REPORTED]
    assert axis.cell.tolist() == [0, 1, 2, -1]
    assert axis.floored.tolist() == [True, True, False, False]


def test_rotations_and_basis_moves_have_roles():
    skew = dict.fromkeys(SkewShape.model_fields, 0.1)
    basis = {"up": 0.05, "down": -0.04, "add": 1.0, "per_year": 0.0}
    scenarios, axis = axis_of(spec_of([[0.1, "up"], [0.0, "skew"]], skew=skew, basis=basis))
    assert axis.role.tolist() == [SCANNED, ROTATED, BASIS_UP, BASIS_DOWN, REPORTED]
    assert scenarios["price"].values[:, 0].tolist() == [0.1, 0.0, 0.05, -0.04, -0.5]
    assert scenarios["weight"].values.tolist() == [1.0] * 5


def test_an_axis_of_another_scan_is_refused():
    spec = spec_of([[0.1, "none"], [-0.1, "none"]])
    names = ["price +10% vol none", "price -10% vol none"]
    with pytest.raises(ValueError, match="hold 2 cells of a scan, the methodology 2, or in anothe"):
        scan_axis(spec, COINS, ["scan", "scan"], names[::-1])
    with pytest.raises(ValueError, match="hold 1 cells of a scan, the methodology 2"):
        scan_axis(spec, COINS, ["scan", "event"], names)
    with pytest.raises(ValueError, match="hold 1 basis moves, the methodology 0; build both"):
        scan_axis(spec, COINS, ["scan", "scan", "basis"], [*names, "basis up"])
    basis = {"up": 0.05, "down": -0.04, "add": 1.0, "per_year": 0.0}
    with pytest.raises(ValueError, match="hold 0 basis moves, the methodology 2"):
        scan_axis(spec_of([[0.1, "none"]], basis=basis), COINS, ["scan"], names[:1])


def test_a_plain_scan_is_the_plain_revaluation():
    instruments, _ = universe()
    spec = spec_of([[0.1, "up"], [-0.3, "down"]], volatility_up=0.5, volatility_down=0.2)
    scenarios, axis = axis_of(spec)
    shocks, state = shocks_of(scenarios), market_of(instruments, premium=0.01)
    for tenor in (TENOR, VolatilityTenor(minimum_volatility=0.7)):
        plain = revalue(instruments, state, shocks, tenor)
        assert np.array_equal(revalue_scan(instruments, state, shocks, tenor, axis), plain)


def test_the_least_shocked_volatility_holds_where_volatility_goes_up():
    spec = spec_of(
        [[0.0, "up"], [0.0, "down"]],
        volatility_up=0.5,
        volatility_down=0.5,
        minimum_volatility_up=0.4,
    )
    rows = [OPTION | {"strike": 100.0, "is_call": True}]
    up, down, _ = cube_of(spec, rows, volatility=0.2)[0].tolist()
    assert up == pytest.approx(at_the_money(0.4) - at_the_money(0.2))
    assert down == pytest.approx(at_the_money(0.1) - at_the_money(0.2))
    up, down, _ = cube_of(spec, rows, volatility=0.6)[0].tolist()
    assert up == pytest.approx(at_the_money(0.9) - at_the_money(0.6))
    # The tenor's own floor is one more, in every scenario.
    tenor = VolatilityTenor(minimum_volatility=0.5)
    up, down, _ = cube_of(spec, rows, tenor, volatility=0.2)[0].tolist()
    assert up == down == pytest.approx(at_the_money(0.5) - at_the_money(0.2))


def test_beyond_the_range_only_options_move_and_events_move_all():
    spec = spec_of(
        [[-0.66, "none"], [0.1, "none"], [1.0, "none"]],
        extended={"price_range": 0.2, "dampener": 0.0},
        underlying={"ETH": {"price_range": 0.3}},
    )
    spot, future = {"kind": Kind.SPOT}, {"kind": Kind.FUTURE, "time_to_expiry": 0.3}
    call = OPTION | {"strike": 1.0, "is_call": True}
    cube = cube_of(spec, [spot, future, {}, {"underlying": 1}, call])
    assert cube[:3].round(9).tolist() == [[-20.0, 10.0, 20.0, -50.0]] * 3
    assert cube[3].round(9).tolist() == [-3.0, 1.0, 3.0, -5.0]
    assert cube[4].round(6).tolist() == [-66.0, 10.0, 100.0, -50.0]
    free = spec.extended.model_copy(update={"delta_one_within_range": False})
    cube = cube_of(spec.model_copy(update={"extended": free}), [spot, future, {}])
    assert cube.round(9).tolist() == [[-66.0, 10.0, 100.0, -50.0]] * 3


def test_what_is_paid_in_coin_counts_in_coin_at_the_index_of_before():
    cells = [[-0.2, "none"], [0.25, "none"], [-0.66, "none"]]
    spec = spec_of(
        cells,
        in_settlement_currency=True,
        extended={"price_range": 0.25, "dampener": 0.0},
    )
    call = OPTION | {"strike": 100.0, "is_call": True, "settlement": Settlement.INVERSE}
    call |= {"settlement_underlying": 0}
    quanto = {"settlement": Settlement.QUANTO, "settlement_underlying": 1, "multiplier": 0.1}
    cube = cube_of(spec, [{}, INVERSE, call, quanto])
    # Linear contracts stay in cash; the inverse one gains 10 (1/100 - 1/F) coins of 100 each, and
    # in the extended table F is at the edge of the range.
    assert cube[0].round(9).tolist() == [-20.0, 25.0, -25.0, -50.0]
    in_coin = [10.0 * (1.0 - 1.0 / (1.0 + move)) for move in (-0.2, 0.25, -0.25)]
    # An event is in cash: what coins it pays are worth half.
    assert cube[1].tolist() == pytest.approx([*in_coin, 10.0 * (1.0 - 2.0) * 0.5])
    # Ten coins of a quanto are at 10 each, whatever they do in the scenario.
    assert cube[3].tolist() == pytest.approx(
        [0.1 * 10 * -20, 0.1 * 10 * 25, 0.1 * 10 * -25, 0.1 * 5 * -50]
    )
    usual = spec.model_copy(update={"in_settlement_currency": False, "extended": None})
    cash = cube_of(usual, [call])[0]
    before = at_the_money(0.6)
    assert cube[2, :3].tolist() == pytest.approx(
        [(cash[s] + before) / (1.0 + move) - before for s, (move, _) in enumerate(cells)]
    )
    assert cube[2, 3] == cash[3]


def test_what_is_paid_in_coin_has_no_price_and_no_gain():
    spec = spec_of([[-0.2, "none"]], in_settlement_currency=True)
    assert cube_of(spec, [INVERSE], priced=np.zeros(1, np.bool_)).tolist() == [[0.0, 0.0]]


def test_a_smile_rotates_about_the_money_while_forwards_stay():
    shape = SkewShape(
        linear_cap=0.2,
        linear_cap_per_root_year=-0.1,
        absolute_cap=0.3,
        absolute_cap_per_root_year=0.0,
        least_reach=0.01,
        width=1.0,
        volatility=0.5,
        volatility_per_root_year=0.2,
    )
    # A quarter of a year: cap 0.2 - 0.05, reach 0.5 x 1 x (0.5 + 0.1).
    quarter = np.full(5, 0.25)
    log_moneyness = np.array([-9.0, -0.15, 0.0, 0.06, 9.0])
    assert skew_scale(log_moneyness, quarter, shape, absolute=False).tolist() == pytest.approx(
        [0.85, 1.0 - 0.075, 1.0, 1.03, 1.15]
    )
    assert skew_scale(log_moneyness, quarter, shape, absolute=True).tolist() == pytest.approx(
        [1.3, 1.15, 1.0, 1.06, 1.3]
    )
    # After four years nothing is left of the cap, and it does not turn over.
    assert skew_scale(log_moneyness, quarter * 36.0, shape, absolute=False).tolist() == [1.0] * 5
    spec = spec_of([[0.0, "skew"], [0.1, "absolute_skew"]], skew=shape.model_dump())
    far = OPTION | {"strike": 200.0, "is_call": True}
    at = OPTION | {"strike": 100.0, "is_call": True}
    cube = cube_of(spec, [at, far, {}])
    assert cube[0, :2].tolist() == [0.0, 0.0]
    assert (cube[1, :2] > 0.0).all()
    # A perpetual has no smile; it moves with the price of the cell.
    assert cube[2, :2].round(9).tolist() == [0.0, 10.0]


def test_of_a_forward_only_its_spot_share_moves():
    spec = spec_of([[0.1, "none"]])
    instruments = instruments_of([OPTION | {"strike": 1.0, "is_call": True}] * 2 + [{}])
    scenarios, axis = axis_of(spec)
    cube = revalue_scan(
        instruments,
        market_of(instruments),
        shocks_of(scenarios),
        TENOR,
        axis,
        np.array([1.0, 0.25, 1.0]),
    )
    assert cube[:, 0].round(6).tolist() == [10.0, 2.5, 10.0]


def test_tables_say_what_discounts_dampeners_and_basis_come_to():
    spec = spec_of(
        [[0.2, "none"], [-0.5, "none", 0.5]],
        extended={"price_range": 0.2, "dampener": 1000.0, "factor": 0.8},
        underlying={"ETH": {"dampener": 10.0, "price_range": 0.25}},
        discount={
            "positive": 0.9,
            "long_rate": 1.0,
            "long_add": 0.1,
            "negative": 1.5,
            "short_rate": 2.0,
            "short_add": 0.3,
        },
        basis={"up": 0.1, "down": -0.1, "add": 0.5, "per_year": 2.0},
    )
    scenarios, axis = axis_of(spec)
    instruments = instruments_of(
        [{"underlying": 1}, {"kind": Kind.OPTION, "time_to_expiry": 0.25, "strike": 1.0}]
    )
    rate, factor = np.full(2, 0.2), np.full(2, 0.5)
    tables = scan_tables(
        axis,
        instruments,
        np.array([0.0, 7.0]),
        scenarios["weight"].values,
        shocks_of(scenarios),
        rate,
        factor,
    )
    assert tables.positive.tolist() == pytest.approx([1.0, 0.9 * math.exp(-0.25 * 0.3)])
    assert tables.negative.tolist() == pytest.approx([1.0, 1.5 * math.exp(0.25 * 0.7)])
    assert tables.basis.tolist() == [0.0, 1.0]
    # Weights and the factor scale what is left of P&L, and so the pull that comes before.
    assert tables.weight.tolist() == pytest.approx([1.0, 0.4, 1.0, 1.0, 1.0])
    assert tables.dampener[1].tolist() == pytest.approx([0.0, 0.4 * 1000.0 * 1.5, 0.0, 0.0, 0.0])
    assert tables.dampener[0].tolist() == pytest.approx([0.0, 0.4 * 10.0 * 1.0, 0.0, 0.0, 0.0])
    # A loss counts for no more than it is worth undiscounted, and a rate is not below zero.
    low = scan_tables(
        axis,
        instruments,
        np.zeros(2),
        scenarios["weight"].values,
        shocks_of(scenarios),
        np.full(2, -0.2),
        np.full(2, 0.9),
    )
    assert low.negative.tolist() == pytest.approx([1.0, 1.0 / 0.9])
    assert low.positive.tolist() == pytest.approx([1.0, 0.9 * math.exp(-0.25 * 0.1)])
