"""Networks of several layers: what holds of one network holds of all its layers together."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from risk.systemic.clearing import Debt, clear
from risk.systemic.contagion import (
    Exposures,
    clear_layers,
    debt_rank_layers,
    default_losses,
    exposure_network,
    pass_bad_debt,
)
from risk.systemic.debt_rank import linear_debt_rank

SETTINGS = settings(deadline=None, max_examples=80)
LAYERS = ("margin", "deposits", "bridge")


@st.composite
def networks(draw):
    nodes = draw(st.integers(2, 6))
    link = st.tuples(
        st.integers(0, nodes - 1),
        st.integers(0, nodes - 1),
        st.floats(0.1, 50.0),
        st.integers(0, len(LAYERS) - 1),
    ).filter(lambda one: one[0] != one[1])
    links = draw(st.lists(link, min_size=1, max_size=20))
    debtor, creditor, amount, layer = map(np.array, zip(*links, strict=True))
    network = exposure_network(
        [f"node-{row}" for row in range(nodes)],
        ["venue"] * nodes,
        LAYERS,
        Exposures(debtor, creditor, amount, layer),
    )
    row = st.lists(st.floats(0.0, 40.0), min_size=nodes, max_size=nodes).map(np.array)
    return network, draw(row), draw(row)


@SETTINGS
@given(networks(), st.floats(0.3, 1.0))
def test_layers_of_one_rank_clear_as_one_network(system, recovery):
    network, assets, external = system
    found, loss = clear_layers(network, assets, [LAYERS], external, 0, recovery, recovery)
    plain = clear(assets, Debt(network.liabilities(), external), recovery, recovery)
    np.testing.assert_allclose(found.payment, plain.payment, rtol=1e-12, atol=1e-12)
    full = network.liabilities().sum(axis=0)
    np.testing.assert_allclose(
        loss.by_layer.sum(axis=0), full - found.received, rtol=1e-9, atol=1e-9
    )


@SETTINGS
@given(networks())
def test_losses_of_layers_add_up_under_seniority(system):
    network, assets, external = system
    order = [["margin"], ["bridge", "deposits"]]
    found, loss = clear_layers(network, assets, order, external)
    assert len(found.paid) == 3
    outside = (found.owed[0] - found.paid[0]).sum()
    within = loss.by_layer.sum()
    assert within + outside == pytest.approx(found.shortfall.sum(), rel=1e-9, abs=1e-9)
    margin = loss.links[loss.names.index("margin")].sum(axis=1)
    np.testing.assert_allclose(margin, found.owed[1] - found.paid[1], atol=1e-9)


@SETTINGS
@given(networks())
def test_debt_rank_of_layers_is_that_of_their_sum(system):
    network, shock, equity = system
    equity = equity + 1.0
    found, loss = debt_rank_layers(network, equity, shock)
    plain = linear_debt_rank(network.liabilities().T, equity, shock)
    np.testing.assert_allclose(found.equity, plain.equity)
    np.testing.assert_allclose(
        equity - shock - loss.by_layer.sum(axis=0), found.equity, rtol=1e-6, atol=1e-6
    )


def test_what_a_default_takes_at_once():
    network = exposure_network(
        ["venue", "member", "protocol"],
        ["venue", "member", "protocol"],
        ["margin", "deposits"],
        Exposures(
            np.array([0, 2, 2]), np.array([1, 1, 0]), np.array([8.0, 5.0, 3.0]), np.array([0, 1, 1])
        ),
    )
    loss = default_losses(network, [0.25, 0.0, 1.0])
    assert loss.by_layer.tolist() == [[0.0, 2.0, 0.0], [3.0, 5.0, 0.0]]


@SETTINGS
@given(st.data())
def test_bad_debt_is_passed_on_whole(data):
    protocols, depositors = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 5))
    money = st.one_of(st.just(0.0), st.floats(0.01, 100.0))

    def draw(*shape):
        size = int(np.prod(shape))
        return np.array(data.draw(st.lists(money, min_size=size, max_size=size))).reshape(shape)

    bad, deposits, reserve = draw(protocols), draw(protocols, depositors), draw(protocols)
    loss, left = pass_bad_debt(bad, deposits, reserve)
    borne = np.minimum(bad, reserve).sum()
    assert loss.sum() + left.sum() + borne == pytest.approx(bad.sum(), rel=1e-12, abs=1e-12)
    assert (loss <= deposits.sum(axis=0) * (1.0 + 1e-12)).all()
    assert (left[deposits.sum(axis=1) > bad] == 0.0).all()


@pytest.mark.parametrize(
    ("words", "claims"),
    [
        ("layer 2", ([0], [1], [1.0], [2])),
        ("creditor 9", ([0], [9], [1.0], [0])),
        ("owes itself", ([1], [1], [1.0], [0])),
        ("finite amount", ([0], [1], [-1.0], [0])),
    ],
)
def test_claims_of_nobody_are_refused(words, claims):
    columns = [np.array(one) for one in claims]
    with pytest.raises(ValueError, match=words):
        exposure_network(["a", "b"], ["venue", "chain"], ["x", "y"], Exposures(*columns))


def test_every_layer_has_one_rank():
    network = exposure_network(
        ["a", "b"],
        ["venue", "venue"],
        ["x", "y"],
        Exposures(np.array([0]), np.array([1]), np.array([1.0]), np.array([0])),
    )
    for order in ([["x"]], [["x", "y"], ["x"]], [["x"], ["z"]]):
        with pytest.raises(ValueError, match="stands in it once"):
            clear_layers(network, [1.0, 1.0], order)
