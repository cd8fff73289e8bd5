"""DebtRank and outright default: published values, the defect of a peer, and plain loops."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from risk.systemic.communicability import communicability, diffusion, susceptibility, vulnerability
from risk.systemic.debt_rank import linear_debt_rank, threshold_default
from tests.risk.systemic.golden import case

SETTINGS = settings(deadline=None, max_examples=100)


@st.composite
def systems(draw):
    nodes = draw(st.integers(1, 5))
    flat = draw(st.lists(st.floats(0.0, 3.0), min_size=nodes**2, max_size=nodes**2))
    claims = np.array(flat).reshape(nodes, nodes)
    np.fill_diagonal(claims, 0.0)
    row = st.lists(st.floats(0.5, 9.0), min_size=nodes, max_size=nodes).map(np.array)
    return claims, draw(row), draw(row) * draw(st.sampled_from([0.0, 0.01, 0.2, 1.0]))


@pytest.mark.parametrize(
    "name", ["neva_lindr_0_0_1.0", "neva_lindr_0.5_0.5_0.5", "lindr_heterogeneous"]
)
def test_published_equities(name):
    given, expected, tolerance = case(name)
    found = linear_debt_rank(given["interbank_assets"], given["equity0"], given["shock"])
    np.testing.assert_allclose(found.equity, expected["equity"], **tolerance)


def test_one_equity_for_all_is_not_reproduced():
    given, expected, tolerance = case("neva_lindr_defect")
    found = linear_debt_rank(given["interbank_assets"], given["equity0"], given["shock"])
    assert np.abs(found.equity - expected["not_equity"]).max() > 100 * tolerance["atol"]


@SETTINGS
@given(systems())
def test_the_recursion_by_increments_ends_at_the_same_losses(system):
    """Bardoscia 2015 as written: increments pass on as long as the debtor had not defaulted."""
    claims, equity, shock = system
    leverage = claims / equity[:, None]
    before, now = np.zeros(len(equity)), np.minimum(shock / equity, 1.0)
    for _ in range(20_000):
        before, now = now, np.minimum(1.0, now + leverage @ (now - before))
        if np.array_equal(before, now):
            break
    found = linear_debt_rank(claims, equity, shock, tolerance=1e-14)
    np.testing.assert_allclose(found.relative_loss, now, atol=1e-8)


@SETTINGS
@given(systems(), st.floats(0.0, 1.0))
def test_a_smaller_shock_never_takes_more(system, part):
    claims, equity, shock = system
    whole = linear_debt_rank(claims, equity, shock)
    less = linear_debt_rank(claims, equity, part * shock)
    assert (less.relative_loss <= whole.relative_loss + 1e-9).all()
    assert whole.index(equity) >= -1e-12
    assert (whole.relative_loss >= whole.first_loss).all()


def test_a_node_without_equity_is_refused():
    with pytest.raises(ValueError, match="ZERO_BUFFER: node 1"):
        linear_debt_rank(np.zeros((2, 2)), [1.0, 0.0], [0.0, 0.0])


@SETTINGS
@given(systems(), st.floats(0.0, 1.0))
def test_threshold_defaults_are_those_of_plain_loops(system, recovery):
    claims, equity, shock = system
    failed: set[int] = set()
    rounds = {}
    for number in range(1, len(equity) + 2):
        new = {
            i
            for i in range(len(equity))
            if i not in failed
            and shock[i] + sum((1.0 - recovery) * claims[i, j] for j in failed) > equity[i]
        }
        rounds |= dict.fromkeys(new, number)
        failed |= new
    found = threshold_default(claims, equity, shock, recovery)
    assert {int(i): int(found.round[i]) for i in np.flatnonzero(found.round)} == rounds
    np.testing.assert_allclose(found.equity, equity - found.loss)


def test_communicability_of_a_published_network():
    given, expected, tolerance = case("nrm_communicability")
    found = communicability(given["binary"])
    np.testing.assert_allclose(found, expected["communicability"], **tolerance)


def test_published_susceptibility_fluidity_and_diffusion():
    given, expected, tolerance = case("nrm_impact_susceptibility")
    reach = vulnerability(given["assets"], given["buffer"])
    np.testing.assert_allclose(susceptibility(reach), expected["value"], **tolerance)
    _, expected, tolerance = case("nrm_impact_fluidity")
    np.testing.assert_allclose(susceptibility(reach).mean(), expected["value"], **tolerance)
    _, expected, tolerance = case("nrm_impact_diffusion")
    found = diffusion(reach)
    for name in ("start", "intermediate", "total"):
        np.testing.assert_allclose(getattr(found, name), expected[name], **tolerance)
