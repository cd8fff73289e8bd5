"""What single precision may rule out: never the worst scenario, whatever the numbers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from risk.kernels import Positions, screened_worst_loss, worst_loss
from risk.kernels.registers import Registers
from risk.kernels.screening import LARGEST, ceilings, error_bounds

INSTRUMENTS = 5


def book_of(rng, sets, held=7):
    """Sets of so many positions; more than enough for the cube to be screened."""
    offsets = np.arange(sets + 1) * held
    instrument = rng.integers(0, INSTRUMENTS, sets * held).astype(np.int32)
    return Positions(np.arange(sets + 1), offsets, instrument, rng.normal(0, 3, sets * held))


def settled(positions, cube):
    """Every set by itself, too few positions for screening: the chain in double alone."""
    alone = [worst_loss(positions.take(np.array([n])), cube) for n in range(positions.sets)]
    loss, scenario = (np.concatenate(parts) for parts in zip(*alone, strict=True))
    return loss, scenario


def hedged(positions):
    """Make the positions of each set nearly cancel: much is held and little can be lost."""
    held = positions.set_offsets[1] // 2
    rows = positions.set_offsets[:-1]
    for k in range(held):
        positions.instrument[rows + held + k] = positions.instrument[rows + k]
        positions.quantity[rows + held + k] = -positions.quantity[rows + k] * (1 + 1e-7)
    return positions


@given(
    seed=st.integers(0, 2**32 - 1),
    scenarios=st.integers(1, 130),
    size=st.sampled_from([1e-45, 1e-38, 1e-20, 1e-3, 1.0, 1e6, 1e12, LARGEST, 1e21, 1e300]),
    shape=st.sampled_from(["plain", "hedged", "ties", "flat", "near ties"]),
)
@settings(deadline=None, max_examples=60)
def test_screening_never_changes_a_bit(seed, scenarios, size, shape):
    rng = np.random.default_rng(seed)
    positions, cube = book_of(rng, 9), rng.standard_t(3, (INSTRUMENTS, scenarios))
    if shape == "hedged":
        positions = hedged(positions)
    elif shape == "ties":
        cube, positions.quantity[:] = np.round(cube), np.round(positions.quantity)
    elif shape == "flat":
        cube[:] = cube[:, :1]
    elif shape == "near ties":
        cube = cube[:, rng.integers(0, max(1, scenarios // 9), scenarios)]
        cube *= 1.0 + rng.integers(-3, 4, cube.shape) * 2.0**-52
    cube *= size
    loss, scenario = worst_loss(positions, cube)
    expected, where = settled(positions, cube)
    assert loss.tobytes() == expected.tobytes()
    assert np.array_equal(scenario, where)


@given(
    seed=st.integers(0, 2**32 - 1),
    size=st.sampled_from([1e-45, 1e-30, 1.0, 1e8, 1e16]),
    quantity=st.sampled_from([1e-40, 1e-12, 1.0, 1e9]),
)
@settings(deadline=None, max_examples=60)
def test_a_screened_loss_is_within_its_bound(seed, size, quantity):
    rng = np.random.default_rng(seed)
    positions, cube = hedged(book_of(rng, 12)), rng.normal(0.0, size, (INSTRUMENTS, 60))
    positions.quantity[:] *= quantity
    found, _, _ = screened_worst_loss(positions, cube)
    exact, _ = settled(positions, cube)
    bound = error_bounds(positions, ceilings(cube))
    assert found.dtype == np.float32
    assert (np.abs(found - exact) <= bound).all()


def test_single_precision_alone_would_choose_wrongly():
    """Two scenarios that only double tells apart; without doubt the second would be the first."""
    cube = np.array([[-1.0, -1.0 - 1e-12], [0.0, 0.0]])
    positions = Positions(np.arange(9), np.arange(9), np.zeros(8, np.int32), np.arange(1.0, 9.0))
    _, _, unsure = screened_worst_loss(positions, cube)
    assert unsure.all()
    assert worst_loss(positions, cube)[1].tolist() == [1] * 8


def test_an_ordinary_book_leaves_little_doubt():
    rng = np.random.default_rng(5)
    positions, cube = book_of(rng, 4000), rng.normal(0.0, 50.0, (INSTRUMENTS, 1000))
    _, _, unsure = screened_worst_loss(positions, cube)
    assert 0 <= unsure.sum() < 40


def test_the_last_scenario_is_no_doubt_for_filling_its_tile():
    rng = np.random.default_rng(6)
    positions, cube = book_of(rng, 50), rng.normal(0.0, 1.0, (INSTRUMENTS, 101))
    positions.quantity[:], cube[:, -1] = np.abs(positions.quantity), -1e3
    _, scenario, unsure = screened_worst_loss(positions, cube)
    assert (scenario == 100).all()
    assert not unsure.any()


@pytest.mark.parametrize("large", ["quantity", "cube"])
def test_numbers_too_large_for_single_precision_are_left_to_double(large):
    rng = np.random.default_rng(8)
    positions, cube = book_of(rng, 6), rng.normal(0.0, 1.0, (INSTRUMENTS, 20))
    if large == "quantity":
        positions.quantity[:7] = 1e19
    else:
        cube[2] *= 1e25
    found, _, unsure = screened_worst_loss(positions, cube)
    holds = [large == "cube" and 2 in positions.instrument[n * 7 : n * 7 + 7] for n in range(6)]
    holds[0] |= large == "quantity"
    assert np.isnan(found).tolist() == holds
    assert unsure[holds].all()


@pytest.mark.parametrize("registers", [Registers(1, 4), Registers(2, 6), Registers(8, 8)], ids=str)
def test_every_width_screens_to_the_same_bits(registers):
    rng = np.random.default_rng(9)
    positions, cube = book_of(rng, 60), np.round(rng.normal(0.0, 2.0, (INSTRUMENTS, 150)), 1)
    loss, scenario = worst_loss(positions, cube, registers)
    expected, where = settled(positions, cube)
    assert loss.tobytes() == expected.tobytes()
    assert np.array_equal(scenario, where)
