"""Reverse stress where the answer is known in closed form."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2

from risk.systemic.reverse import Search, reverse_stress, reverse_stress_frontier

SETTINGS = settings(deadline=None, max_examples=25)
QUICK = Search(rays=64, starts=4)


@st.composite
def linear_books(draw):
    factors = draw(st.integers(1, 5))
    flat = draw(st.lists(st.floats(-1.0, 1.0), min_size=factors**2, max_size=factors**2))
    root = np.array(flat).reshape(factors, factors) + 1.5 * np.eye(factors)
    weights = draw(st.lists(st.floats(-5.0, 5.0), min_size=factors, max_size=factors))
    return np.array(weights), root @ root.T


@SETTINGS
@given(linear_books(), st.floats(0.5, 8.0))
def test_of_a_linear_book_it_is_the_resource_over_the_deviation(book, distance):
    """The nearest point of a half-space: R / sqrt(w' S w), at S w R / (w' S w)."""
    weights, covariance = book
    variance = weights @ covariance @ weights
    if variance < 1e-3:
        return
    resource = distance * np.sqrt(variance)
    found = reverse_stress(lambda moves: moves @ weights, resource, covariance, search=QUICK)
    assert found.distance == pytest.approx(distance, rel=1e-5)
    assert found.distance >= distance * (1.0 - 1e-9)
    # Distance grows with the square of what a shock is off, so that the shock is less sure.
    wanted = covariance @ weights * resource / variance
    np.testing.assert_allclose(found.shock, wanted, atol=0.02 * np.abs(wanted).max())
    assert found.loss >= resource * (1.0 - 1e-9)
    assert found.tail_probability == pytest.approx(chi2.sf(distance**2, len(weights)), rel=1e-3)


def test_of_a_straddle_both_signs_are_tried():
    """A loss on both sides, nearer below: -1.5 rather than 2."""
    found = reverse_stress(
        lambda moves: np.maximum(moves[:, 0] * 5.0, -moves[:, 0] * 20.0 / 3.0),
        10.0,
        [[1.0, 0.0], [0.0, 1.0]],
        search=QUICK,
    )
    np.testing.assert_allclose(found.shock, [-1.5, 0.0], atol=1e-2)


def test_a_loss_that_comes_back_is_found():
    """Between distances 2 and 4 only: farther out the book gains again."""
    found = reverse_stress(
        lambda moves: np.where(np.abs(moves[:, 0] - 3.0) <= 1.0, 5.0, 0.0),
        5.0,
        [[1.0, 0.0], [0.0, 4.0]],
        search=QUICK,
    )
    assert found.distance == pytest.approx(2.0, abs=0.02)


def test_a_corner_where_two_losses_meet_is_found():
    """Both factors must fall by 1: the nearest point is a corner, and gradients lead past it."""
    found = reverse_stress(
        lambda moves: 10.0 * np.minimum(-moves[:, 0], -moves[:, 1]),
        10.0,
        np.eye(2),
        search=QUICK,
    )
    assert found.distance == pytest.approx(np.sqrt(2.0), rel=1e-3)


def test_a_loss_that_begins_far_out_is_found_by_its_own_gradient():
    """At the origin nothing is lost, and twelve factors are too many for random rays alone."""
    weights = np.arange(1.0, 13.0)

    def loss(moves):
        return np.maximum(moves @ weights - 50.0, 0.0)

    found = reverse_stress(loss, 10.0, np.eye(12), search=QUICK)
    assert found.distance == pytest.approx(60.0 / np.linalg.norm(weights), rel=1e-6)


def test_correlation_makes_a_joint_fall_plausible():
    def loss(moves):
        return -moves.sum(axis=1)

    apart = reverse_stress(loss, 4.0, np.eye(2), search=QUICK)
    joined = reverse_stress(loss, 4.0, [[1.0, 0.9], [0.9, 1.0]], search=QUICK)
    assert apart.distance == pytest.approx(4.0 / np.sqrt(2.0), rel=1e-6)
    assert joined.distance == pytest.approx(4.0 / np.sqrt(3.8), rel=1e-6)


def test_what_was_observed_gives_a_frequency_and_a_direction():
    """A narrow cone around one day of the past, which random rays in ten dimensions miss."""
    random = np.random.default_rng(5)
    observed = random.standard_normal((400, 10))
    day = observed[17] / np.linalg.norm(observed[17])

    def loss(moves):
        size = np.linalg.norm(moves, axis=1)
        cosine = np.divide(moves @ day, size, out=np.zeros_like(size), where=size > 0.0)
        return np.where(cosine > 0.995, size, 0.0)

    assert reverse_stress(loss, 3.0, np.eye(10), search=QUICK) is None
    found = reverse_stress(loss, 3.0, np.eye(10), observed, QUICK)
    assert found.distance == pytest.approx(3.0, rel=1e-9)
    far = np.linalg.norm(observed, axis=1) >= found.distance
    assert found.empirical_frequency == far.mean()


def test_the_same_search_finds_the_same_shock_whatever_the_batch():
    def loss(moves):
        return np.abs(moves) @ [1.0, 2.0, 3.0]

    one = reverse_stress(loss, 5.0, np.eye(3), search=QUICK)
    again = reverse_stress(loss, 5.0, np.eye(3), search=QUICK)
    small = reverse_stress(loss, 5.0, np.eye(3), search=Search(rays=64, starts=4, batch=100))
    assert np.array_equal(one.shock, again.shock)
    np.testing.assert_allclose(small.distance, one.distance, rtol=1e-6)


def test_directions_without_variance_are_left_alone():
    found = reverse_stress(
        lambda moves: moves @ [1.0, 100.0], 2.0, [[1.0, 0.0], [0.0, 0.0]], search=QUICK
    )
    np.testing.assert_allclose(found.shock, [2.0, 0.0], atol=1e-9)


def test_the_frontier_falls_with_the_number_of_defaulters():
    """Three groups, each losing where one factor falls; n of them need n falls of R / (10 n)."""

    def loss(moves):
        return 10.0 * np.maximum(-moves, 0.0)

    frontier = reverse_stress_frontier(loss, 30.0, np.eye(3), [1, 2, 3], search=QUICK)
    distances = [one.distance for one in frontier]
    np.testing.assert_allclose(distances, [3.0, 3.0 / np.sqrt(2), 3.0 / np.sqrt(3)], rtol=1e-3)
    assert all(one.loss >= 30.0 * (1.0 - 1e-9) for one in frontier)


def test_what_is_no_search_is_refused():
    with pytest.raises(ValueError, match="resource"):
        reverse_stress(lambda moves: moves[:, 0], 0.0, [[1.0]])
    with pytest.raises(ValueError, match="eigenvalues"):
        reverse_stress(lambda moves: moves[:, 0], 1.0, [[1.0, 2.0], [2.0, 1.0]])
    with pytest.raises(ValueError, match="one number for each"):
        reverse_stress(lambda moves: moves, 1.0, [[1.0]])
    with pytest.raises(ValueError, match="ascend"):
        reverse_stress_frontier(lambda moves: moves, 1.0, [[1.0]], [2, 1])
