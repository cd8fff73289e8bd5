"""The kernel that scans against its twin that keeps every number, on random nested books."""

import itertools
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from risk.kernels.scan import (
    BASIS_DOWN,
    BASIS_UP,
    REPORTED,
    ROTATED,
    SCANNED,
    ScanTables,
    scan_block,
)
from risk.kernels.sums import UNIT
from risk.nesting import nest
from risk.scan.explanation import scan_units
from risk.scan.specification import ScanSpec
from tests.risk.books import order_of, random_holdings, universe

INSTRUMENTS, CURRENCY = universe()
ORDER = order_of(INSTRUMENTS, CURRENCY)
NUMBER = len(INSTRUMENTS)
PLAIN = {"cells": [[0.1, "none"]], "maintenance_factor": 1.0}
SETS = {"basis": {"up": 0.1, "down": -0.1, "add": 1.0, "per_year": 0.0}}
SUMS, BY_SET = (ScanSpec.model_validate(PLAIN | more) for more in ({}, SETS))
SWITCHES = ("discount", "rotated", "basis", "dampener")


def random_tables(rng, switches):
    """A cube with ties and exact zeros, and tables that agree within a set or a unit."""
    before, cells, after = rng.integers(0, 3), int(rng.integers(1, 40)), rng.integers(0, 3)
    role = np.full(cells, SCANNED)
    if "rotated" in switches:
        role[rng.random(cells) < 0.3] = ROTATED
    basis = [BASIS_UP, BASIS_DOWN] if "basis" in switches else []
    role = np.concatenate([[REPORTED] * before, role, basis, [REPORTED] * after]).astype(np.int8)
    scenarios = len(role)
    cube = np.where(
        rng.random((NUMBER, 1)) < 0.5,
        rng.normal(0.0, 5.0, (NUMBER, scenarios)),
        rng.integers(-3, 4, (NUMBER, scenarios)).astype(float),
    )
    sets = int(ORDER.set.max()) + 1
    discounted = rng.random(sets) < (0.6 if "discount" in switches else 0.0)
    pull = np.where(
        (rng.random((2, scenarios)) < 0.4) & (role == SCANNED) & ("dampener" in switches),
        rng.integers(0, 9, (2, scenarios)) * 0.5,
        0.0,
    )
    tables = ScanTables(
        role=role,
        weight=rng.choice([1.0, 0.5, 0.21, 0.0], scenarios, p=[0.5, 0.2, 0.2, 0.1]),
        value=np.where(rng.random(NUMBER) < 0.6, rng.exponential(4.0, NUMBER), 0.0),
        positive=np.where(discounted, rng.uniform(0.8, 1.0, sets), 1.0)[ORDER.set],
        negative=np.where(discounted, rng.uniform(1.0, 1.2, sets), 1.0)[ORDER.set],
        basis=(rng.integers(0, 4, sets) * 0.5)[ORDER.set],
        dampener=pull[INSTRUMENTS.underlying],
    )
    return cube, tables


def scan(holdings, cube, tables, spec, equity):
    nested = nest(holdings.offsets, holdings.instrument, holdings.margin_mode, ORDER, spec)
    quantity, instrument = holdings.quantity[nested.order], holdings.instrument[nested.order]
    return nested, scan_block(nested, quantity, instrument, equity, cube, tables)


def rounded(amount):
    """To the nearest multiple of the unit, the even one of two as near."""
    return np.round(amount / UNIT) * UNIT


def contributions(units, holdings, cube, tables):
    """Split each unit's loss over its positions, by the gradient of what binds."""
    found = np.zeros(NUMBER)
    for unit in units:
        if unit.loss <= 0.0:
            continue
        before = unit.loss
        if unit.worst >= 0:
            before = -sum(one.counted[unit.worst] for one in unit.sets)
        for one in unit.sets:
            rows, held = holdings.instrument[one.positions], holdings.quantity[one.positions]
            if unit.worst < 0:
                up, down = (int(np.flatnonzero(tables.role == side)[0]) for side in (2, 3))
                at = up if one.pnl[up] <= one.pnl[down] else down
                if one.pnl[at] < 0.0:
                    found[rows] -= rounded(tables.basis[rows[0]] * held * cube[rows, at])
                continue
            at, own = unit.worst, tables.value[rows]
            worth = one.value + one.pnl[at]
            factor = (tables.positive if worth >= 0.0 else tables.negative)[rows[0]]
            part = held * ((own + cube[rows, at]) * factor - own) * tables.weight[at]
            sign = -1.0 if tables.role[at] == ROTATED and part.sum() > 0.0 else 1.0
            found[rows] -= rounded(sign * part * unit.loss / before)
    return found


@settings(deadline=None, max_examples=120)
@given(
    seed=st.integers(0, 2**32),
    spec=st.sampled_from((SUMS, BY_SET)),
    switches=st.sets(st.sampled_from(SWITCHES)),
)
def test_every_number_is_the_twins(seed, spec, switches):
    if spec is SUMS:
        # One set a unit, where nothing is done to a set by itself.
        switches &= {"dampener"}
    rng = np.random.default_rng(seed)
    cube, tables = random_tables(rng, switches)
    if spec is SUMS:
        tables = tables._replace(basis=np.zeros(NUMBER))
    holdings = random_holdings(seed, NUMBER, most=20)
    equity = rng.normal(0.0, 30.0, len(holdings))
    nested, block = scan(holdings, cube, tables, spec, equity)
    units = scan_units(nested, holdings.instrument, holdings.quantity, cube, tables)
    about = {"rel": 1e-11, "abs": 1e-10}
    value, binding = block.value[:, 0], block.binding_scenario[:, 0]
    assert value == pytest.approx([unit.loss for unit in units], **about)
    (up, *_) = [*np.flatnonzero(tables.role == BASIS_UP).tolist(), -1]
    for unit, at in zip(units, binding.tolist(), strict=True):
        if at == up:
            assert unit.basis_loss == pytest.approx(unit.loss, **about)
        else:
            # Of scenarios that tie but for the last bit either may be named.
            assert -unit.pnl[at] == pytest.approx(unit.loss, **about)
    loss = np.maximum(value, 0.0).sum()
    # Each position is off by half a unit at most.
    off = len(holdings.quantity) * UNIT / 2
    assert block.contribution.sum() == pytest.approx(loss, rel=1e-9, abs=off + 1e-9)
    pnl = np.zeros((len(holdings), cube.shape[1]))
    owner = np.repeat(np.arange(len(holdings)), np.diff(holdings.offsets))
    np.add.at(pnl, owner, holdings.quantity[:, np.newaxis] * cube[holdings.instrument])
    left = equity[:, np.newaxis] + pnl
    assert block.system_loss == pytest.approx(rounded(np.maximum(-pnl, 0.0)).sum(axis=0), **about)
    assert block.uncovered_loss == pytest.approx(
        rounded(np.maximum(-left, 0.0)).sum(axis=0), **about
    )
    assert block.accounts_under_water.tolist() == (left < 0.0).sum(axis=0).tolist()


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 2**32), switches=st.sets(st.sampled_from(SWITCHES)))
def test_contributions_are_the_gradient(seed, switches):
    cube, tables = random_tables(np.random.default_rng(seed), switches)
    # Ties have two gradients; there are none in a cube without a lattice.
    cube = np.random.default_rng(seed + 1).normal(0.0, 5.0, cube.shape)
    tables = tables._replace(weight=np.maximum(tables.weight, 0.2))
    holdings = random_holdings(seed, NUMBER, most=20)
    nested, block = scan(holdings, cube, tables, BY_SET, np.zeros(len(holdings)))
    units = scan_units(nested, holdings.instrument, holdings.quantity, cube, tables)
    wanted = contributions(units, holdings, cube, tables)
    assert block.contribution == pytest.approx(wanted, rel=1e-8, abs=1e-8)


@pytest.mark.parametrize("switches", [(), SWITCHES])
def test_an_account_has_the_same_bits_in_whatever_block_it_stands(switches):
    cube, tables = random_tables(np.random.default_rng(5), switches)
    holdings = random_holdings(7, NUMBER, accounts=41, most=15)
    nested, block = scan(holdings, cube, tables, BY_SET, np.zeros(41))
    instrument, quantity = holdings.instrument[nested.order], holdings.quantity[nested.order]

    def part(bounds):
        one, rows = nested.accounts(*bounds)
        some = np.zeros(bounds[1] - bounds[0])
        return scan_block(one, quantity[rows], instrument[rows], some, cube, tables)

    for edges in ([0, 1, 2, 3, 41], [0, 17, 17, 40, 41], range(42)):
        cuts = [*itertools.pairwise(edges)]
        with ThreadPoolExecutor(2) as pool:
            for blocks in (map(part, cuts), pool.map(part, cuts)):
                parts = [*blocks]
                for name in ("value", "binding_scenario"):
                    joined = np.concatenate([getattr(one, name) for one in parts])
                    assert np.array_equal(joined, getattr(block, name)), (edges, name)


def test_the_first_of_equal_scenarios_binds():
    cube = np.array([[1.0, -3.0, 2.0, -3.0, -3.0, -9.0]])
    tables = ScanTables(
        role=np.array([SCANNED] * 5 + [REPORTED], np.int8),
        weight=np.ones(6),
        value=np.zeros(1),
        positive=np.ones(1),
        negative=np.ones(1),
        basis=np.zeros(1),
        dampener=np.zeros((1, 6)),
    )
    one = np.array([0, 1])
    nested = nest(one, np.zeros(1, np.int32), np.zeros(1, np.int8), ORDER)
    for held, (loss, at) in {2.0: (6.0, 1), -2.0: (4.0, 2)}.items():
        block = scan_block(
            nested, np.array([held]), np.zeros(1, np.int32), np.zeros(1), cube, tables
        )
        assert (block.value.item(), block.binding_scenario.item()) == (loss, at)
        assert block.contribution.tolist() == [loss]
        assert block.system_loss.tolist() == np.maximum(-held * cube[0], 0.0).tolist()


def test_what_would_be_read_outside_the_arrays_is_refused():
    rng = np.random.default_rng(1)
    cube, tables = random_tables(rng, SWITCHES)
    holdings = random_holdings(3, NUMBER)
    nested = nest(holdings.offsets, holdings.instrument, holdings.margin_mode, ORDER)
    quantity, instrument = holdings.quantity[nested.order], holdings.instrument[nested.order]
    equity = np.zeros(len(holdings))

    def refused(match, **changes):
        given = {"quantity": quantity, "instrument": instrument, "equity": equity}
        given |= {"cube": cube, "tables": tables, "nested": nested} | changes
        with pytest.raises(ValueError, match=match):
            scan_block(**given)

    refused("do not pair with", quantity=quantity[1:])
    refused("not all rows of a cube", instrument=instrument + np.int32(NUMBER))
    refused("units into 7 accounts", equity=equity[1:])
    refused(r"table weight has shape \(1,\)", tables=tables._replace(weight=np.ones(1)))
    refused(r"table value has shape \(3,\)", tables=tables._replace(value=np.ones(3)))
    reported = np.full(len(tables.role), REPORTED, np.int8)
    refused("0 scenarios of the scan", tables=tables._replace(role=reported))
    apart = tables.role.copy()
    apart[np.flatnonzero(apart <= ROTATED)[1]] = REPORTED
    refused("no contiguous run", tables=tables._replace(role=apart))
