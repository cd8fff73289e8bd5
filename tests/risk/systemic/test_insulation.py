"""Losses over capital against a slow twin, and what must hold of any sets and any capital."""

import doctest
import importlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from risk.kernels.sums import LIMIT, UNIT
from risk.systemic.insulation import (
    CapitalSets,
    lose_over_capital,
    prefunded,
    side_by_side,
)
from risk.systemic.waterfall import LayerSpec

GROUPS = 3

money = st.floats(-1e6, 1e6, allow_nan=False).map(lambda x: round(x, 2))


@st.composite
def cases(draw):
    sets, instruments = draw(st.integers(1, 6)), draw(st.integers(1, 4))
    scenarios, arrangements = draw(st.integers(1, 9)), draw(st.integers(1, 3))
    counts = draw(st.lists(st.integers(0, 4), min_size=sets, max_size=sets))

    def array(elements, *shape):
        size = int(np.prod(shape))
        values = draw(st.lists(elements, min_size=size, max_size=size))
        return np.array(values, dtype=np.float64).reshape(shape)

    held = sum(counts)
    return (
        CapitalSets(
            offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            instrument=array(st.integers(0, instruments - 1), held).astype(np.int32),
            quantity=array(st.floats(-50, 50).map(lambda x: round(x, 3)), held),
            group=array(st.integers(0, GROUPS - 1), sets).astype(np.int32),
            capital=array(st.floats(0, 1e5), sets, arrangements),
            parts=array(st.integers(1, 4), sets, arrangements).astype(np.int64),
        ),
        array(money, instruments, scenarios) / 100.0,
    )


def pnl_of(sets, cube):
    """P&L of every set, ``(set, scenario)``."""
    owner = np.repeat(np.arange(len(sets.group)), np.diff(sets.offsets))
    pnl = np.zeros((len(sets.group), cube.shape[1]))
    np.add.at(pnl, owner, sets.quantity[:, np.newaxis] * cube[sets.instrument])
    return pnl


def twin(sets, cube):
    """The same sums in dense NumPy, without rounding."""
    pnl = pnl_of(sets, cube)
    left = sets.capital.T[:, :, np.newaxis] + pnl
    uncovered = np.zeros((sets.capital.shape[1], GROUPS, cube.shape[1]))
    np.add.at(uncovered.swapaxes(0, 1), sets.group, np.maximum(-left, 0.0).swapaxes(0, 1))
    failed = ((left < 0.0) * sets.parts.T[:, :, np.newaxis]).sum(axis=1)
    lost = np.broadcast_to(np.maximum(-pnl, 0.0).sum(axis=0), failed.shape)
    return lost, uncovered, failed, left


@settings(deadline=None, max_examples=60)
@given(cases())
def test_kernel_is_its_slow_twin(case):
    sets, cube = case
    found = lose_over_capital(sets, cube, GROUPS)
    lost, uncovered, failed, left = twin(sets, cube)
    # One rounding to whole units for each set, and that of P&L summed in another order.
    allowed = len(sets.group) * UNIT + 1e-6
    np.testing.assert_allclose(found.lost, lost, rtol=1e-12, atol=allowed)
    np.testing.assert_allclose(found.uncovered, uncovered, rtol=1e-12, atol=allowed)
    np.testing.assert_allclose(found.capital, sets.capital.sum(axis=0), atol=allowed)
    assert found.parts.tolist() == sets.parts.sum(axis=0).tolist()
    sure = (np.abs(left) > 1e-6).all(axis=1)
    np.testing.assert_array_equal(found.failed[sure], failed[sure])


@settings(deadline=None, max_examples=60)
@given(cases(), st.randoms(use_true_random=False))
def test_sums_are_the_same_bits_in_any_order_of_sets(case, random):
    sets, cube = case
    order = list(range(len(sets.group)))
    random.shuffle(order)
    rows = [np.arange(sets.offsets[n], sets.offsets[n + 1]) for n in order]
    flat = np.concatenate(rows).astype(np.int64)
    shuffled = CapitalSets(
        offsets=np.concatenate([[0], np.cumsum([len(one) for one in rows])]).astype(np.int64),
        instrument=sets.instrument[flat],
        quantity=sets.quantity[flat],
        group=sets.group[order],
        capital=sets.capital[order],
        parts=sets.parts[order],
    )
    one, other = (lose_over_capital(each, cube, GROUPS) for each in (sets, shuffled))
    for name in ("capital", "parts", "lost", "uncovered", "failed"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


@settings(deadline=None, max_examples=60)
@given(cases(), st.floats(0.0, 1e5))
def test_more_capital_never_leaves_more_uncovered(case, more):
    sets, cube = case
    richer = replace(sets, capital=sets.capital + more)
    poor, rich = (lose_over_capital(one, cube, GROUPS) for one in (sets, richer))
    assert (rich.uncovered <= poor.uncovered).all()
    assert (rich.failed <= poor.failed).all()
    np.testing.assert_array_equal(rich.lost, poor.lost)


@settings(deadline=None, max_examples=60)
@given(cases())
def test_a_wall_that_margin_does_not_know_of_never_leaves_less_uncovered(case):
    """Sets of one owner against one set of all they hold, with the same capital together."""
    sets, cube = case
    apart = replace(sets, group=np.zeros_like(sets.group), parts=np.ones_like(sets.parts))
    together = CapitalSets(
        offsets=np.array([0, len(sets.instrument)], dtype=np.int64),
        instrument=sets.instrument,
        quantity=sets.quantity,
        group=np.zeros(1, dtype=np.int32),
        capital=sets.capital.sum(axis=0, keepdims=True),
        parts=np.ones((1, sets.capital.shape[1]), dtype=np.int64),
    )
    walled, open_ = (lose_over_capital(one, cube, 1) for one in (apart, together))
    slack = (len(sets.group) + 1) * UNIT + 1e-6
    assert (walled.uncovered >= open_.uncovered - slack).all()
    assert (walled.lost >= open_.lost - slack).all()


def test_capital_of_the_loss_itself_leaves_nothing_uncovered():
    sets = CapitalSets(
        np.array([0, 2]), np.array([0, 1], np.int32), np.array([2.0, -1.0]),
        np.zeros(1, np.int32), np.array([[7.0, 6.875]]), np.array([[1, 3]]),
    )  # fmt: skip
    found = lose_over_capital(sets, np.array([[-5.0, 1.0], [-3.0, 0.0]]), 1)
    assert found.lost.tolist() == [[7.0, 0.0], [7.0, 0.0]]
    assert found.uncovered[:, 0].tolist() == [[0.0, 0.0], [0.125, 0.0]]
    assert found.failed.tolist() == [[0, 0], [3, 0]]


def test_sums_beyond_what_is_exact_are_refused():
    sets = CapitalSets(
        np.array([0, 1]), np.zeros(1, np.int32), np.ones(1), np.zeros(1, np.int32),
        np.array([[LIMIT / 2.0]]), np.ones((1, 1), np.int64),
    )  # fmt: skip
    found = lose_over_capital(sets, np.array([[-1.0]]), 1)
    with pytest.raises(ValueError, match="SUM_TOO_LARGE: capital"):
        found + found
    with pytest.raises(ValueError, match="SUM_TOO_LARGE: lost"):
        lose_over_capital(sets, np.array([[-LIMIT]]), 1)


def test_arrangements_of_several_cuts_stand_side_by_side():
    sets = CapitalSets(
        np.array([0, 1]), np.zeros(1, np.int32), np.ones(1), np.zeros(1, np.int32),
        np.array([[1.0, 2.0]]), np.ones((1, 2), np.int64),
    )  # fmt: skip
    one = lose_over_capital(sets, np.array([[-1.5]]), 1)
    both = side_by_side([one, one])
    assert both.capital.tolist() == [1.0, 2.0, 1.0, 2.0]
    assert both.uncovered[:, 0, 0].tolist() == [0.5, 0.0, 0.5, 0.0]


def test_what_is_there_already_is_prefunded():
    layers = [
        LayerSpec(name="own", payer="defaulter", resource="fund"),
        LayerSpec(name="insurance", payer="venue"),
        LayerSpec(name="mutual", payer="survivors", resource="fund"),
        LayerSpec(name="call", payer="survivors", resource="fund", multiple=2.0),
        LayerSpec(name="another", payer="survivors"),
        LayerSpec(name="gains", payer="winners"),
    ]
    assert prefunded(layers).tolist() == [True, True, True, False, True, False]


@pytest.mark.parametrize("name", ["insulation", "systems"])
def test_examples_in_docstrings_hold(name):
    results = doctest.testmod(importlib.import_module(f"risk.systemic.{name}"))
    assert results.attempted
    assert not results.failed
