"""Clearing vectors: published ones, the linear programme, a slow iteration, and conservation."""

import numpy as np
import pytest
import scipy.sparse
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from risk.systemic import clearing
from risk.systemic.clearing import Debt, clear, paid_links
from risk.systemic.payments import DIRECT
from tests.risk.systemic.golden import case

SETTINGS = settings(deadline=None, max_examples=80)
AMOUNT = st.one_of(st.just(0.0), st.floats(0.01, 100.0), st.integers(1, 20).map(float))
PART = st.one_of(st.just(1.0), st.just(0.0), st.floats(0.05, 1.0))


@st.composite
def matrices(draw, nodes):
    flat = draw(st.lists(AMOUNT, min_size=nodes * nodes, max_size=nodes * nodes))
    matrix = np.array(flat).reshape(nodes, nodes)
    np.fill_diagonal(matrix, 0.0)
    return matrix


@st.composite
def systems(draw, classes=1):
    nodes = draw(st.integers(1, 6))
    row = st.lists(AMOUNT, min_size=nodes, max_size=nodes).map(np.array)
    debts = [Debt(draw(matrices(nodes)), draw(row)) for _ in range(classes)]
    return draw(row) * draw(st.sampled_from([1.0, 0.1])), debts


def picard(assets, debts, alpha=1.0, beta=1.0, sweeps=100_000):
    """The slow twin: payments from above, nothing solved, classes in turn."""
    matrices = [np.asarray(one.liabilities, float) for one in debts]
    owed = np.array(
        [m.sum(axis=1) + np.asarray(d.external) for m, d in zip(matrices, debts, strict=True)]
    )
    shares = [
        np.divide(m, o[:, None], out=np.zeros_like(m), where=o[:, None] > 0.0)
        for m, o in zip(matrices, owed, strict=True)
    ]
    paid = owed.copy()
    for _ in range(sweeps):
        received = sum(s.T @ p for s, p in zip(shares, paid, strict=True))
        short = assets + received < owed.sum(axis=0) * (1.0 - clearing.ROUNDING)
        left = np.where(short, alpha * assets + beta * received, np.inf)
        before = np.zeros_like(left)
        new = np.zeros_like(paid)
        for number, due in enumerate(owed):
            new[number] = np.clip(left - before, 0.0, due)
            before = before + due
        if np.abs(new - paid).max() <= 1e-15 * (1.0 + owed.max()):
            return new, True
        paid = new
    return paid, False


@pytest.mark.parametrize("name", ["rv_full_recovery", "rv_alpha04"])
def test_equity_and_defaults_of_rogers_and_veraart(name):
    given, expected, tolerance = case(name)
    found = clear(given["external"], Debt(given["liabilities"]), given["alpha"], given["beta"])
    np.testing.assert_allclose(found.equity, expected["equity_after"], **tolerance)
    assert found.defaulted.astype(int).tolist() == expected["defaulted"]


def test_default_costs_with_external_liabilities():
    given, expected, tolerance = case("systemicrisk_0.5")
    debt = Debt(given["liabilities"], given["external_liabilities"])
    found = clear(given["external"], debt, given["alpha"], given["beta"])
    np.testing.assert_allclose(found.payment, expected["payments"], **tolerance)
    assert found.defaulted.astype(int).tolist() == expected["defaulted"]


@pytest.mark.parametrize(
    "name", ["finnetvalu_rogers_a1", "finnetvalu_rogers_a2", "en_networkvaluation"]
)
def test_published_payments(name):
    given, expected, tolerance = case(name)
    found = clear(given["external"], Debt(given["liabilities"]))
    np.testing.assert_allclose(found.payment, expected["payments"], **tolerance)


def test_the_payment_that_a_readme_prints_is_not_reproduced():
    given, expected, _ = case("en_networkvaluation")
    found = clear(given["external"], Debt(given["liabilities"]))
    assert abs(found.payment[0] - expected["not_first"]) > 4.0
    np.testing.assert_allclose(found.equity[0], -5.4545, atol=5e-5)


def test_external_creditors_rank_equally_or_before():
    given, expected, tolerance = case("en_barucca_ex2_seniority")
    within, outside = given["liabilities"], given["external_liabilities"]
    equal = clear(given["external"], Debt(within, outside))
    np.testing.assert_allclose(equal.payment, expected["pari_passu_total"], **tolerance)
    before = clear(given["external"], [Debt(np.zeros((3, 3)), outside), Debt(within)])
    wanted = expected["external_senior_interbank_payments"]
    np.testing.assert_allclose(before.paid[1], wanted, **tolerance)
    np.testing.assert_allclose(before.paid_externally[0], outside, **tolerance)


def test_equity_of_a_ring_under_a_shock():
    given, expected, tolerance = case("neva_en_cycle_shock120")
    debt = Debt(given["liabilities"], given["external_liabilities"])
    np.testing.assert_allclose(
        clear(given["external"], debt).equity, expected["equity"], **tolerance
    )


@SETTINGS
@given(systems())
def test_payments_are_those_of_the_linear_programme(system):
    assets, (debt,) = system
    found = clear(assets, debt)
    owed = found.obligation
    shares = np.divide(
        debt.liabilities,
        owed[:, None],
        out=np.zeros_like(debt.liabilities),
        where=owed[:, None] > 0,
    )
    programme = linprog(
        -np.ones(len(assets)),
        A_ub=np.eye(len(assets)) - shares.T,
        b_ub=assets,
        bounds=[(0.0, due) for due in owed],
    )
    assert programme.success
    np.testing.assert_allclose(found.payment, programme.x, rtol=1e-6, atol=1e-6)


@SETTINGS
@given(st.integers(1, 3).flatmap(systems), PART, PART)
def test_payments_are_those_of_the_slow_iteration(system, alpha, beta):
    assets, debts = system
    slow, converged = picard(assets, debts, alpha, beta)
    assume(converged)
    found = clear(assets, debts, alpha, beta)
    np.testing.assert_allclose(found.paid, slow, rtol=1e-8, atol=1e-9)


@SETTINGS
@given(st.integers(1, 3).flatmap(systems), PART, PART)
def test_nothing_is_lost_and_a_fixed_point_is_met(system, alpha, beta):
    assets, debts = system
    found = clear(assets, debts, alpha, beta)
    assert found.residual <= 1e-9
    assert (found.paid >= 0.0).all()
    assert (found.paid <= found.owed).all()
    kept = np.where(found.defaulted, 0.0, found.equity).sum()
    spent = found.paid_externally.sum() + kept + found.default_cost.sum()
    assert spent == pytest.approx(assets.sum(), rel=1e-9, abs=1e-9)
    # The junior gets nothing before the senior has all.
    senior_short = found.paid[:-1] < found.owed[:-1] * (1.0 - 1e-9)
    assert not (senior_short & (found.paid[1:] > 1e-9 * (1.0 + found.owed[1:]))).any()


@SETTINGS
@given(systems(2), PART, PART, st.floats(0.0, 1.0))
def test_less_recovery_and_less_assets_never_pay_more(system, alpha, beta, part):
    assets, debts = system
    best = clear(assets, debts, alpha, beta).payment + 1e-9
    assert (clear(assets, debts, alpha * part, beta).payment <= best).all()
    assert (clear(assets, debts, alpha, beta * part).payment <= best).all()
    assert (clear(assets * part, debts, alpha, beta).payment <= best).all()


def test_rounds_tell_whose_default_causes_whose():
    chain = np.diag([10.0, 10.0, 10.0], 1)
    found = clear([5.0, 1.0, 9.0, 0.0], Debt(chain))
    assert found.round.tolist() == [1, 2, 0, 0]
    assert found.payment.tolist() == [5.0, 6.0, 10.0, 0.0]


def test_the_greatest_of_several_fixed_points_is_found():
    """Two nodes that owe each other all they need: none defaults, though both could."""
    found = clear([1.0, 1.0], Debt([[0.0, 10.0], [10.0, 0.0]]), 0.5, 0.5)
    assert not found.defaulted.any()
    assert found.payment.tolist() == [10.0, 10.0]


def test_a_default_of_the_last_bit_destroys_nothing():
    found = clear([0.1, 0.0], Debt([[0.0, 0.1 + 1e-17], [0.0, 0.0]], 0.0), 0.0, 0.0)
    assert not found.defaulted.any()


def random_network(nodes, degree, seed):
    random = np.random.default_rng(seed)
    debtor = np.repeat(np.arange(nodes), degree)
    creditor = random.integers(0, nodes, nodes * degree)
    kept = debtor != creditor
    amount = random.pareto(1.5, kept.sum())
    matrix = scipy.sparse.coo_array((amount, (debtor[kept], creditor[kept])), (nodes, nodes))
    matrix = matrix.tocsr()
    return matrix, matrix.sum(axis=1) * 0.3 * random.random(nodes)


@pytest.mark.parametrize("recovery", [1.0, 0.8])
@pytest.mark.parametrize("classes", [1, 2])
def test_many_defaulters_are_iterated_on_to_the_same_payments(recovery, classes):
    nodes = 3 * DIRECT
    debts, assets = [], 0.0
    for number in range(classes):
        matrix, some = random_network(nodes, 5, number)
        debts.append(Debt(matrix, 0.1 * matrix.sum(axis=1)))
        assets = assets + some
    found = clear(assets, debts, recovery, recovery)
    assert found.defaulted.sum() > DIRECT
    dense = [Debt(one.liabilities.toarray(), one.external) for one in debts]
    slow, converged = picard(assets, dense, recovery, recovery, sweeps=3_000)
    assert converged
    np.testing.assert_allclose(found.paid, slow, rtol=1e-8, atol=1e-10)


def test_twenty_thousand_nodes_clear_without_loss():
    matrix, assets = random_network(20_000, 10, seed=7)
    found = clear(assets, Debt(matrix, 0.05 * matrix.sum(axis=1)), 0.9, 0.9)
    assert found.residual <= 1e-11
    assert found.defaulted.sum() > 10_000
    kept = np.where(found.defaulted, 0.0, found.equity).sum()
    spent = found.paid_externally.sum() + kept + found.default_cost.sum()
    assert spent == pytest.approx(assets.sum(), rel=1e-11)


def test_links_add_up_to_payments():
    given, _, _ = case("systemicrisk_0.5")
    debt = Debt(given["liabilities"], given["external_liabilities"])
    found = clear(given["external"], debt)
    (links,) = paid_links(found, debt)
    np.testing.assert_allclose(links.sum(axis=0), found.received, rtol=1e-12)
    np.testing.assert_allclose(
        links.sum(axis=1) + found.paid_externally[0], found.paid[0], rtol=1e-12
    )


@pytest.mark.parametrize(
    ("assets", "liabilities", "recovery", "words"),
    [
        ([1.0], [[1.0]], 1.0, "owes itself"),
        ([1.0, 1.0], [[0.0, -1.0], [0.0, 0.0]], 1.0, "finite amount"),
        ([1.0, 1.0], [[0.0, np.nan], [0.0, 0.0]], 1.0, "finite amount"),
        ([-1.0, 1.0], [[0.0, 1.0], [0.0, 0.0]], 1.0, "external_assets is -1.0"),
        ([1.0, 1.0, 1.0], [[0.0, 1.0], [0.0, 0.0]], 1.0, "shape"),
        ([1.0, 1.0], [[0.0, 1.0], [0.0, 0.0]], 1.5, "fraction"),
    ],
)
def test_what_is_no_network_is_refused(assets, liabilities, recovery, words):
    with pytest.raises(ValueError, match=words):
        clear(assets, Debt(liabilities), recovery)
