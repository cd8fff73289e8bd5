"""Sums whose bits do not depend on how the work is cut."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from risk.summation import BLOCK_ACCOUNTS, block_bounds, fold_blocks, sum_by_group


def awkward(seed, shape):
    """Numbers of very different size, whose sum depends on the order."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=shape) * 10.0 ** rng.integers(-12, 12, shape)


def pairwise(values):
    """The documented tree, one pair at a time."""
    level = list(values)
    while len(level) > 1:
        pairs = [level[at] + level[at + 1] for at in range(0, len(level) - 1, 2)]
        level = pairs + ([level[-1]] if len(level) % 2 else [])
    return level[0]


@settings(deadline=None, max_examples=100)
@given(seed=st.integers(0, 2**32), blocks=st.integers(1, 70), power=st.integers(0, 6))
def test_aligned_runs_are_subtrees(seed, blocks, power):
    values = awkward(seed, (blocks, 3))
    whole = fold_blocks(values)
    assert whole.tobytes() == np.asarray(pairwise(values)).tobytes()
    runs = [fold_blocks(values[at : at + 2**power]) for at in range(0, blocks, 2**power)]
    assert fold_blocks(np.stack(runs)).tobytes() == whole.tobytes()


def test_order_matters_to_these_numbers():
    """Without which the tests of bits would prove nothing."""
    books = [awkward(seed, 64) for seed in range(20)]
    assert any(fold_blocks(values) != sum(values.tolist()) for values in books)
    assert fold_blocks(np.zeros((0, 4))).tolist() == [0.0] * 4


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 2**32), rows=st.integers(0, 60), groups=st.integers(1, 5))
def test_groups_are_summed_row_after_row(seed, rows, groups):
    values = awkward(seed, (rows, 2))
    group = np.random.default_rng(seed).integers(0, groups, rows)
    expected = np.zeros((groups, 2))
    for row in range(rows):
        expected[group[row]] += values[row]
    assert sum_by_group(values, group, groups).tobytes() == expected.tobytes()
    column = np.ascontiguousarray(values[:, 0])
    assert sum_by_group(column, group, groups).tobytes() == expected[:, 0].tobytes()


def test_blocks_cover_a_run_and_start_where_blocks_do():
    assert block_bounds(0, BLOCK_ACCOUNTS) == [(0, BLOCK_ACCOUNTS)]
    assert block_bounds(0, 1) == [(0, 1)]
    assert block_bounds(2 * BLOCK_ACCOUNTS, 3 * BLOCK_ACCOUNTS + 1) == [
        (2 * BLOCK_ACCOUNTS, 3 * BLOCK_ACCOUNTS),
        (3 * BLOCK_ACCOUNTS, 3 * BLOCK_ACCOUNTS + 1),
    ]
    with pytest.raises(ValueError, match="start 5 is not a multiple of 4096"):
        block_bounds(5, 10)
