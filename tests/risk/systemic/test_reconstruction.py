"""Claims made from sums: a published matrix, sums that hold, and which of two is more even."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from risk.systemic.reconstruction import maximum_entropy, minimum_density
from tests.risk.systemic.golden import case

SETTINGS = settings(deadline=None, max_examples=100)


@st.composite
def true_claims(draw):
    nodes = draw(st.integers(2, 7))
    amount = st.one_of(st.just(0.0), st.integers(1, 30).map(float), st.floats(0.1, 9.0))
    flat = draw(st.lists(amount, min_size=nodes**2, max_size=nodes**2))
    claims = np.array(flat).reshape(nodes, nodes)
    np.fill_diagonal(claims, 0.0)
    assume(claims.sum() > 0.0)
    return claims


def entropy(claims):
    part = claims[claims > 0.0] / claims.sum()
    return -(part * np.log(part)).sum()


def test_a_published_matrix_of_maximum_entropy():
    given, expected, tolerance = case("nrm_max_entropy")
    found = maximum_entropy(given["row_assets"], given["col_liabilities"]).reconstruction()
    assert found.method == "maximum entropy"
    np.testing.assert_allclose(found.matrix.toarray(), expected["matrix"], **tolerance)


def test_no_more_links_than_a_published_search():
    given, expected, _ = case("nrm_min_density")
    found = minimum_density(given["row_assets"], given["col_liabilities"])
    assert found.method == "minimum density"
    assert found.matrix.nnz <= expected["links"]
    np.testing.assert_allclose(found.matrix.sum(axis=1), given["row_assets"])
    np.testing.assert_allclose(found.matrix.sum(axis=0), given["col_liabilities"])


@SETTINGS
@given(true_claims())
def test_few_links_keep_the_sums_and_the_diagonal_empty(claims):
    held, owed = claims.sum(axis=1), claims.sum(axis=0)
    found = minimum_density(held, owed).matrix.toarray()
    np.testing.assert_allclose(found.sum(axis=1), held, atol=1e-9 * claims.sum())
    np.testing.assert_allclose(found.sum(axis=0), owed, atol=1e-9 * claims.sum())
    assert not found.diagonal().any()
    assert (found >= 0.0).all()
    assert np.count_nonzero(found) <= 2 * (np.count_nonzero(held) + np.count_nonzero(owed))


@SETTINGS
@given(true_claims())
def test_even_claims_keep_the_sums_and_are_the_most_even(claims):
    held, owed, total = claims.sum(axis=1), claims.sum(axis=0), claims.sum()
    assume((held + owed < 0.98 * total).all())
    found = maximum_entropy(held, owed).reconstruction().matrix.toarray()
    np.testing.assert_allclose(found.sum(axis=1), held, atol=1e-9 * total)
    np.testing.assert_allclose(found.sum(axis=0), owed, atol=1e-9 * total)
    assert not found.diagonal().any()
    assert entropy(found) >= entropy(claims) - 1e-9
    sparse = minimum_density(held, owed).matrix.toarray()
    assert entropy(found) >= entropy(sparse) - 1e-9


@pytest.mark.parametrize("made", [maximum_entropy, minimum_density])
def test_sums_that_no_claims_have_are_refused(made):
    with pytest.raises(ValueError, match="must agree"):
        made([1.0, 2.0], [1.0, 1.0])
    with pytest.raises(ValueError, match="node 0"):
        made([3.0, 1.0], [3.0, 1.0])
