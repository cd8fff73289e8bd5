"""What holds of margin by whichever way base risk is taken, and where it does not.

- netting never asks more than the parts alone: of all but rules that grow with size (brackets,
  thresholds), charges on what is matched, dampeners (one for each unit), credits, whose rates
  are by loss over delta, and relief, which takes the lesser of two rules for a whole expiry; of
  Greeks, of delta in buckets of one coin;
- scaling every position by a power of two scales the requirement: of all but rules that grow with
  size, and dampeners;
- another scenario never lowers a worst loss: rules by leg and Greeks read none;
- the order of positions does not matter but for the last bits;
- accounts have the bits of the whole book in whatever company, and sums over blocks less what some
  accounts added, plus what they add now, are the bits of sums made anew;
- layers are non-negative and sum to the requirement, which is no less than the maintenance.
"""

import dataclasses
import tomllib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from risk.kernels.sums import UNIT
from risk.margin import Holdings
from tests.risk.books import account_of, market_of, random_holdings, universe
from tests.risk.engine import Engine, engine_of, rules_of

FOLDER = Path(__file__).parents[2] / "risk" / "methodologies"
INSTRUMENTS, CURRENCY = universe()
NUMBER = len(INSTRUMENTS)
MARKET = market_of(INSTRUMENTS, premium=0.01 * (INSTRUMENTS.time_to_expiry > 0.0))
CRASH = {"name": "crash", "label": "-50 %", "shocks": {"price": {"default": -0.5}}}
SHORT = {"layer": "short", "role": "floor", "kinds": ["option"], "side": "short"}
SHORT |= {"initial": 0.05, "maintenance": 0.04}
STRIKES = {"layer": "strikes", "kinds": ["option"], "side": "short", "group": "strike"}
STRIKES |= {"initial": 0.02, "maintenance": 0.01}
ROLL = {"layer": "roll", "kinds": ["future", "option"], "amount": "delta", "group": "expiry"}
ROLL |= {"initial": 0.3, "maintenance": 0.2, "by_time": {"per_year": 0.5, "least": 0.1}}
MEASURES = {
    "historical": {
        "holding_period_hours": 48,
        "step_hours": 35,
        "start": "2022-01-01T00:00:00Z",
        "end": "2023-01-01T00:00:00Z",
        "volatility_half_life_hours": 96.0,
    },
    "grid": {
        "price_range": 0.16,
        "buckets": 2,
        "volatility_up": 0.5,
        "volatility_down": 0.25,
        "extreme_moves": [-0.66, 1.0],
    },
    "measures": [
        {"name": "tail", "kind": "expected_shortfall", "origins": ["historical"], "level": 0.9}
        | {"layer": "base"},
        {"name": "worst", "kind": "worst_loss", "origins": ["grid", "event"], "layer": "stress"},
        {"name": "quantile", "kind": "value_at_risk", "origins": ["historical"], "level": 0.9},
    ],
    "maintenance_factor": 0.8,
    "events": [CRASH],
}
CELLS = [[0.15, "up"], [-0.15, "down"], [0.05, "none"], [-0.05, "none"], [-0.6, "up", 0.4]]
SKEW = {"linear_cap": 0.25, "linear_cap_per_root_year": -0.1, "absolute_cap": 0.25}
SKEW |= {"absolute_cap_per_root_year": -0.1, "least_reach": 0.01, "width": 4.0}
SKEW |= {"volatility": 0.6, "volatility_per_root_year": -0.1}
SCAN = {
    "cells": [*CELLS, [0.0, "skew"], [0.0, "absolute_skew"]],
    "volatility_up": 0.4,
    "volatility_down": 0.3,
    "maintenance_factor": 0.8,
    "initial_factor": 1.1,
    "skew": SKEW,
    "discount": {"positive": 0.95, "long_rate": 1.0, "long_add": 0.08, "negative": 1.04},
    "basis": {"up": 0.05, "down": -0.05, "add": 0.5, "per_year": 2.0},
}
CREDIT = {"credits": [{"underlyings": ["BTC", "ETH"], "rate": 0.5}]}
DAMPED = {"price_range": 0.15, "dampener": 1.0, "delta_one_within_range": False}
DAMPED = {"extended": DAMPED, "in_settlement_currency": True}
LEGS = tomllib.loads((FOLDER / "standard" / "bybit-standard-2023-12.toml").read_text())
RELIEF = tomllib.loads((FOLDER / "standard" / "derive-standard-2025-01.toml").read_text())
GREEKS = tomllib.loads((FOLDER / "sensitivities" / "margincube-greeks-2026-01.toml").read_text())
SMALL = {"delta_threshold": 50.0, "vega_threshold": 20.0}
FREE = GREEKS | {
    "buckets": [
        one | {"delta_threshold": 1e12, "vega_threshold": 1e12} for one in GREEKS["buckets"]
    ]
}
CROWDED = GREEKS | {"buckets": [one | SMALL for one in GREEKS["buckets"]]}
REPORT = {"measures": [{"name": "event", "kind": "worst_loss", "origins": ["event"]}]}
REPORT |= {"events": [CRASH]}

BASES = {
    "measures": MEASURES | {"charges": [ROLL, STRIKES, SHORT]},
    "scan": {"scan": SCAN, "charges": [ROLL, STRIKES, SHORT]},
    "standard": {"standard": LEGS, **REPORT},
    "relief": {"standard": RELIEF, **REPORT},
    "greeks": {"sensitivities": FREE, "maintenance_factor": 0.8, **REPORT},
}
"""Rule books to which nothing applies that grows with size."""

WITH_SIZE = BASES | {
    "credits": {"scan": SCAN | CREDIT, "charges": [ROLL]},
    "dampener": {"scan": SCAN | DAMPED | CREDIT, "charges": [ROLL | {"side": "matched"}, SHORT]},
    "crowded": {"sensitivities": CROWDED, "maintenance_factor": 0.8, **REPORT},
}
_MADE: dict[str, Engine] = {}


def engine(name: str) -> Engine:
    if name not in _MADE:
        _MADE[name] = engine_of(rules_of(**WITH_SIZE[name]), INSTRUMENTS, CURRENCY, MARKET)
    return _MADE[name]


SEEDS = st.integers(0, 2**32)
each_base = pytest.mark.parametrize("name", [*BASES])
every_rule_book = pytest.mark.parametrize("name", [*WITH_SIZE])


def changed(holdings: Holdings, **fields) -> Holdings:
    names = ("offsets", "instrument", "quantity", "margin_mode", "collateral", "held")
    return Holdings(**{name: fields.get(name, getattr(holdings, name)) for name in names})


def whole(seed: int, mode: int | None = None) -> Holdings:
    """Random accounts of which none is held, in one margin mode if one is given."""
    holdings = random_holdings(seed, NUMBER, most=12)
    fields = {"held": np.zeros(len(holdings), np.bool_)}
    if mode is not None:
        fields["margin_mode"] = np.full(len(holdings), mode, np.int8)
    return changed(holdings, **fields)


@every_rule_book
@settings(deadline=None, max_examples=25)
@given(seed=SEEDS)
def test_layers_sum_to_the_requirement_and_maintenance_is_within_it(name, seed):
    found = engine(name).margin(whole(seed))
    assert (found.margin >= 0.0).all()
    assert found.requirement == pytest.approx(found.margin.sum(axis=1), rel=1e-12)
    assert (found.maintenance >= 0.0).all()
    assert (found.maintenance <= found.requirement * (1.0 + 1e-12) + 1e-12).all()
    assert (found.risk_measure >= 0.0).all()
    assert found.margin.shape[1] == len(engine(name).rules.layers)


@each_base
@settings(deadline=None, max_examples=25)
@given(seed=SEEDS)
def test_netting_never_asks_more_than_the_parts(name, seed):
    """Isolated asks no less than cross, and cross no less than portfolio."""
    margins = [engine(name).margin(whole(seed, mode)) for mode in range(3)]
    # Of Greeks delta alone is a norm of the positions; vega and curvature are not.
    layers = slice(0, 1) if name == "greeks" else slice(None)
    sums = [found.margin[:, layers].sum(axis=1) for found in margins]
    if name == "scan":
        # Floors and charges included; the expiries of a unit are of one currency in any mode.
        assert (margins[0].margin[:, 0] >= margins[1].margin[:, 0] - 1e-9).all()
    assert (sums[0] >= sums[1] - 1e-9).all()
    assert (sums[1] >= sums[2] - 1e-9).all()


@pytest.mark.parametrize("name", [name for name in BASES if name != "relief"])
@settings(deadline=None, max_examples=25)
@given(seed=SEEDS, cut=st.integers(0, 12))
def test_two_accounts_as_one_never_need_more(name, seed, cut):
    rng = np.random.default_rng(seed)
    rows = np.sort(rng.choice(NUMBER, 12, replace=False)).tolist()
    held = [(row, float(rng.integers(-8, 9)) * 0.25) for row in rows]
    mine = rng.permutation(12)[:cut].tolist()
    sides = [[held[k] for k in range(12) if (k in mine) == side] for side in (True, False)]
    layers = slice(0, 1) if name == "greeks" else slice(None)
    together, *apart = (
        float(engine(name).margin(account_of(one)).margin[0, layers].sum())
        for one in (held, *sides)
    )
    assert together <= sum(apart) * (1.0 + 1e-9) + 1e-9


def joined(parts: list[Holdings]) -> Holdings:
    """Accounts one after the other."""
    names = ("instrument", "quantity", "margin_mode", "collateral", "held")
    lengths = np.concatenate([np.diff(part.offsets) for part in parts])
    return Holdings(
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        **{name: np.concatenate([getattr(part, name) for part in parts]) for name in names},
    )


@every_rule_book
@settings(deadline=None, max_examples=25)
@given(seed=SEEDS)
def test_blocks_that_are_brought_up_to_date_are_blocks_made_anew(name, seed):
    rng, number = np.random.default_rng(seed), 17
    before = random_holdings(seed, NUMBER, accounts=number)
    other = random_holdings(seed + 1, NUMBER, accounts=number)
    changes = rng.random(number) < rng.choice([0.0, 0.3, 1.0])
    chosen = np.flatnonzero(changes)
    after = joined(
        [(other if new else before).take(np.array([k])) for k, new in enumerate(changes)]
    )
    blocks = np.sort(np.concatenate([[0, number], rng.integers(0, number + 1, 4)]))
    margin = engine(name).margin
    old, anew = (margin(one, block_offsets=blocks) for one in (before, after))
    within = np.searchsorted(chosen, blocks)
    gone, come = (margin(one.take(chosen), block_offsets=within) for one in (before, after))
    assert len(anew.contribution) == len(blocks) - 1
    for field in dataclasses.fields(anew):
        wanted = getattr(anew, field.name)
        if field.name in ("contribution", "system_loss", "uncovered_loss", "accounts_under_water"):
            found = getattr(old, field.name) - getattr(gone, field.name)
            found = found + getattr(come, field.name)
        else:
            found = getattr(old, field.name).copy()
            found[chosen] = getattr(come, field.name)
        assert found.tobytes() == wanted.tobytes(), field.name


@pytest.mark.parametrize(
    ("offsets", "message"),
    [
        ([], "must run from 0 to 3"),
        ([1, 3], "must run from 0 to 3"),
        ([0, 2], "must run from 0 to 3"),
        ([0, 2, 1, 3], r"fall after 1: \[2, 1\]"),
    ],
)
def test_blocks_that_do_not_hold_all_accounts_are_refused(offsets, message):
    with pytest.raises(ValueError, match=message):
        engine("scan").margin(
            random_holdings(1, NUMBER, accounts=3), block_offsets=np.array(offsets)
        )


@each_base
@settings(deadline=None, max_examples=20)
@given(seed=SEEDS, power=st.sampled_from([-3, -1, 1, 4]))
def test_scaling_every_position_scales_the_requirement(name, seed, power):
    holdings, scale = whole(seed), 2.0**power
    larger = changed(holdings, quantity=holdings.quantity * scale)
    one, other = engine(name).margin(holdings), engine(name).margin(larger)
    exact = name in ("measures", "scan")
    # Contributions are rounded by account, before and after: half a unit a position each time.
    off = len(holdings.quantity) * (1.0 + scale) * UNIT / 2
    np.testing.assert_allclose(one.contribution * scale, other.contribution, rtol=1e-12, atol=off)
    for field in ("margin", "maintenance", "risk_measure"):
        before, after = getattr(one, field) * scale, getattr(other, field)
        if exact:
            assert np.array_equal(after, before), field
        else:
            assert after == pytest.approx(before, rel=1e-12, abs=1e-12), field


@pytest.mark.parametrize("name", ["credits", *BASES])
@settings(deadline=None, max_examples=20)
@given(seed=SEEDS)
def test_the_order_of_positions_does_not_matter(name, seed):
    holdings, rng = whole(seed), np.random.default_rng(seed)
    offsets = holdings.offsets
    account = np.repeat(np.arange(len(holdings)), np.diff(offsets))
    # A book is in order of settlement currency; within it any order will do.
    order = np.lexsort((rng.random(len(account)), CURRENCY[holdings.instrument], account))
    mixed = changed(
        holdings, instrument=holdings.instrument[order], quantity=holdings.quantity[order]
    )
    one, other = engine(name).margin(holdings), engine(name).margin(mixed)
    for field in ("margin", "maintenance", "risk_measure", "equity"):
        before, after = getattr(one, field), getattr(other, field)
        assert after == pytest.approx(before, rel=1e-9, abs=1e-9), field
    if WITH_SIZE[name].get("scan"):
        # A scan puts positions into an order of its own, so not a bit changes.
        assert np.array_equal(one.margin[:, 0], other.margin[:, 0])


@pytest.mark.parametrize("name", ["scan", "credits", "measures"])
@settings(deadline=None, max_examples=12)
@given(seed=SEEDS, price=st.sampled_from([-0.7, -0.2, 0.02, 0.3, 2.0]))
def test_another_scenario_never_lowers_a_worst_loss(name, seed, price):
    tables = dict(WITH_SIZE[name])
    if "scan" in tables:
        cells = [*tables["scan"]["cells"], [price, "up", 0.7]]
        more = tables | {"scan": tables["scan"] | {"cells": cells}}
    else:
        event = {"name": "one more", "label": "l", "shocks": {"price": {"default": price}}}
        more = tables | {"events": [CRASH, event]}
    wider = _MADE.setdefault(
        f"{name} {price}", engine_of(rules_of(**more), INSTRUMENTS, CURRENCY, MARKET)
    )
    holdings = whole(seed)
    one, other = engine(name).margin(holdings), wider.margin(holdings)
    within = 1.0 - 1e-12
    assert (other.requirement >= one.requirement * within).all()
    assert (other.maintenance >= one.maintenance * within).all()
    assert (other.risk_measure >= one.risk_measure * within).all()


@settings(deadline=None, max_examples=40)
@given(seed=SEEDS)
def test_a_shortfall_is_no_less_than_the_quantile_of_its_level(seed):
    found = engine("measures").margin(whole(seed))
    shortfall, _, quantile = found.risk_measure.T
    assert (shortfall >= quantile * (1.0 - 1e-12)).all()


def test_where_merging_may_ask_for_more():
    """One dampener serves the whole of a unit, and a size beyond a threshold weighs more."""
    perpetual = int(np.flatnonzero((INSTRUMENTS.underlying == 0) & (CURRENCY == 0))[1])
    few, many = account_of([(perpetual, 50.0)]), account_of([(perpetual, 100.0)])
    for name in ("dampener", "crowded"):
        one, two = (float(engine(name).margin(held).requirement[0]) for held in (few, many))
        assert two > 2.0 * one * (1.0 + 1e-6), name
