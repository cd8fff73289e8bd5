"""The network of a scenario: what is owed is what the book says, and losses are conserved."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from risk.systemic.bearing import bear_losses
from risk.systemic.exposures import (
    CUSTODY,
    LAYERS,
    ContagionRules,
    Failure,
    Issuers,
    Recovery,
    Settled,
    system_network,
    system_nodes,
)
from risk.systemic.plan import parse_stress_plan
from risk.systemic.spreading import spread_losses
from tests.workers.stressed import SMALL_PLAN

SETTINGS = settings(deadline=None, max_examples=25)
ISSUERS = Issuers(
    (CUSTODY, "harrowgate", "keelway", "Ethereum"), (CUSTODY, "protocol", "bridge", "chain")
)


def system(members, issuers=ISSUERS):
    return system_nodes(tuple(f"CM-{row}" for row in range(members)), issuers)


def plain(gained, uncovered, paid, fund, vault_pnl=0.0, resources=0.0):
    """A system whose accounts hold nothing with issuers."""
    return Settled(
        gained=np.array(gained, float),
        uncovered=np.array(uncovered, float),
        paid=np.array(paid, float)[:, np.newaxis],
        held=np.zeros((len(gained), 1)),
        resting=np.zeros((1, 1)),
        lost=np.zeros(1),
        default_fund=np.array(fund, float),
        vault_pnl=vault_pnl,
        resources=resources,
    )


@st.composite
def systems(draw):
    """Whole amounts, as the sums of a stress run are; members, issuers, and the venue's means."""
    members, issuers = draw(st.integers(1, 4)), len(ISSUERS)
    money = st.integers(0, 60).map(float)

    def rows(*shape):
        size = int(np.prod(shape))
        return np.array(draw(st.lists(money, min_size=size, max_size=size))).reshape(shape)

    resting = rows(issuers, issuers)
    # A chain rests on nobody, and nobody on himself.
    resting[:, 3] = resting[3, 3] = resting[0] = 0.0
    np.fill_diagonal(resting, 0.0)
    settled = Settled(
        gained=rows(members),
        uncovered=rows(members),
        paid=rows(members, issuers),
        held=rows(members, issuers),
        resting=resting,
        lost=np.concatenate([[0.0], rows(issuers - 1)]),
        default_fund=rows(members),
        vault_pnl=float(draw(st.integers(-40, 40))),
        resources=draw(money),
    )
    recovery = Recovery(
        external=draw(st.sampled_from([0.5, 1.0])),
        network=draw(st.sampled_from([0.8, 1.0])),
        source="drawn",
    )
    rules = ContagionRules(
        member_capital=draw(st.sampled_from([0.0, 0.5, 2.0])),
        recovery=dict.fromkeys(draw(st.sets(st.sampled_from(["member", "venue"]))), recovery),
    )
    return settled, rules


def spread(settled, rules, issuers=ISSUERS):
    nodes = system(len(settled.gained), issuers)
    network = system_network(nodes, settled, rules)
    return nodes, network, spread_losses(nodes, network, rules)


@SETTINGS
@given(systems())
def test_with_everybody_paying_the_venue_keeps_what_is_its_own(drawn):
    settled, rules = drawn
    nodes, built, _ = spread(settled, rules)
    owed = built.network.liabilities()
    net = built.assets + owed.sum(axis=0) - owed.sum(axis=1)
    assert net[nodes.names.index("venue")] == settled.resources
    # A member is left with its capital and contribution, less what its accounts lack; its accounts'
    # collateral with issuers goes through it.
    left = (1.0 + rules.member_capital) * settled.default_fund - settled.uncovered
    np.testing.assert_allclose(net[: len(left)], left, atol=1e-12)


@SETTINGS
@given(systems())
def test_creditors_lose_what_debtors_do_not_pay(drawn):
    settled, rules = drawn
    _, built, found = spread(settled, rules)
    cleared = found.clearing
    assert cleared.residual < 1e-9
    unpaid = cleared.shortfall - (cleared.owed[0] - cleared.paid[0])
    for row, link in enumerate(np.stack([one.sum(axis=1) for one in found.loss.links])):
        assert (link >= 0.0).all(), LAYERS[row]
    np.testing.assert_allclose(
        sum(one.sum(axis=1) for one in found.loss.links), unpaid, rtol=1e-9, atol=1e-9
    )
    due = np.asarray(built.network.liabilities().sum(axis=0))
    np.testing.assert_allclose(
        found.loss.by_layer.sum(axis=0), due - cleared.received, rtol=1e-9, atol=1e-9
    )


@SETTINGS
@given(systems())
def test_what_is_lacking_and_costs_of_default_are_borne(drawn):
    """A loss of an issuer beyond all that it gets from others is nobody's in the network."""
    settled, rules = drawn
    _, _, found = spread(settled, rules)
    cleared = found.clearing
    outside = float((cleared.owed[0] - cleared.paid[0]).sum())
    assert (found.borne > -1e-9).all()
    assert found.borne.sum() == pytest.approx(
        found.lacking.sum() + cleared.default_cost.sum() - outside, rel=1e-9, abs=1e-9
    )


@SETTINGS
@given(systems())
def test_contagion_never_lessens_a_loss(drawn):
    _, _, found = spread(*drawn)
    assert (found.loss.by_layer >= found.direct.by_layer - 1e-9).all()
    if (found.clearing.round <= 1).all() and len(np.flatnonzero(found.clearing.round)) <= 1:
        np.testing.assert_allclose(found.loss.by_layer, found.direct.by_layer, atol=1e-9)


@SETTINGS
@given(systems())
def test_a_node_without_an_exposure_never_loses(drawn):
    settled, rules = drawn
    _, built, found = spread(settled, rules)
    due = np.asarray(built.network.liabilities().sum(axis=0))
    calm = (due == 0.0) & (built.shock == 0.0)
    assert (found.loss.by_layer[:, due == 0.0] == 0.0).all()
    assert (found.rank.relative_loss[calm] == 0.0).all()


@SETTINGS
@given(systems(), st.sampled_from(["held", "resting", "lost"]))
def test_what_issuers_never_lost_costs_nobody_more(drawn, closed):
    """Where a default costs nothing: without their losses, or what lies with them, all lose less.

    What lies with issuers is taken out whole: its layers are closed off.
    """
    settled, rules = drawn
    rules = rules.model_copy(update={"recovery": {}})
    _, _, found = spread(settled, rules)
    changed = {name: getattr(settled, name) for name in settled.__dataclass_fields__}
    changed["lost"] = np.zeros_like(settled.lost)
    if closed != "lost":
        # What accounts pay with lies with the venue instead.
        paid = np.zeros_like(settled.paid)
        paid[:, 0] = settled.paid.sum(axis=1)
        changed |= {"paid": paid, "held": 0.0 * settled.held, "resting": 0.0 * settled.resting}
    _, _, without = spread(Settled(**changed), rules)
    own = slice(0, 3)  # gains, margin calls and the fund; those of issuers are closed off
    assert without.loss.by_layer[own].sum() <= found.loss.by_layer[own].sum() + 1e-9


@SETTINGS
@given(systems())
def test_the_clearing_vector_is_that_of_the_linear_programme(drawn):
    """Largest sum of payments p with p <= owed and p <= value, where all debts rank alike."""
    settled, rules = drawn
    rules = rules.model_copy(update={"recovery": {}, "seniority": (LAYERS,)})
    _, built, found = spread(settled, rules)
    # What an issuer lost comes before all; a loss within its own assets is no default by itself.
    if (built.lost > built.assets).any():
        return
    matrix = built.network.liabilities().toarray()
    owed = matrix.sum(axis=1)
    share = np.divide(matrix, owed[:, None], out=np.zeros_like(matrix), where=owed[:, None] > 0.0)
    solved = linprog(
        -np.ones(len(owed)),
        A_ub=np.eye(len(owed)) - share.T,
        b_ub=built.assets - built.lost,
        bounds=list(zip(np.zeros(len(owed)), owed, strict=True)),
    )
    np.testing.assert_allclose(found.clearing.paid[1], solved.x, rtol=1e-7, atol=1e-7)


@SETTINGS
@given(systems())
def test_members_with_nothing_but_contributions_make_it_the_waterfall(drawn):
    """Own contribution, insurance fund, mutual fund and socialised loss, as the plan's layers."""
    settled, _ = drawn
    alone = plain(
        settled.gained,
        settled.uncovered,
        settled.paid.sum(axis=1),
        settled.default_fund,
        settled.vault_pnl,
        settled.resources,
    )
    nodes, _, found = spread(alone, ContagionRules(), Issuers())
    text = re.sub("insurance_fund = .*", f"insurance_fund = {settled.resources}", SMALL_PLAN)
    vault = max(-settled.vault_pnl, 0.0)
    borne = bear_losses(
        parse_stress_plan(text),
        alone.uncovered[:, np.newaxis],
        np.array([vault]),
        alone.default_fund,
    )
    assert borne.names == ("own_contribution", "insurance_fund", "mutual_fund", "socialised_loss")
    _, insurance, mutual, socialised = borne.layers[:, 0]
    venue = nodes.names.index("venue")
    assert found.borne[venue] == pytest.approx(insurance, abs=1e-9)
    fund = found.loss.by_layer[LAYERS.index("default_fund"), : nodes.members]
    assert fund.sum() == pytest.approx(mutual, abs=1e-9)
    np.testing.assert_allclose(fund, borne.by_member[2, :, 0], atol=1e-9)
    ends = found.borne[[nodes.names.index(one) for one in ("vault", "accounts", "outside")]]
    assert ends.sum() == pytest.approx(socialised, abs=1e-9)


def test_a_protocol_that_fails_takes_a_member_and_the_venue_along():
    # Accounts of CM-0 pay 100 out of deposits, those of CM-1 gain 100. Of 200 deposited 80 are
    # lost: 40 by CM-0, of which its capital bears 10. The venue lacks 30, has 5 of its own and a
    # fund of 20: both contributions go, and 5 of the gains.
    issuers = Issuers((CUSTODY, "harrowgate"), (CUSTODY, "protocol"))
    settled = Settled(
        gained=np.array([0.0, 100.0]),
        uncovered=np.zeros(2),
        paid=np.array([[0.0, 100.0], [0.0, 0.0]]),
        held=np.array([[0.0, 0.0], [0.0, 100.0]]),
        resting=np.zeros((2, 2)),
        lost=np.array([0.0, 80.0]),
        default_fund=np.array([10.0, 10.0]),
        vault_pnl=0.0,
        resources=5.0,
    )
    rules = ContagionRules(member_capital=1.0)
    nodes, _, found = spread(settled, rules, issuers)
    loss = dict(zip(LAYERS, found.loss.by_layer, strict=True))
    member, other, venue, _, accounts, _, protocol = range(len(nodes))
    assert loss["deposits"][[member, accounts]].tolist() == pytest.approx([40.0, 40.0])
    # CM-0 has its capital and what is left of its contribution to pay with: none.
    assert loss["margin_calls"][venue] == pytest.approx(30.0)
    assert loss["default_fund"][[member, other]].tolist() == pytest.approx([10.0, 10.0])
    # CM-1 stands for the gains of its accounts with its own capital.
    assert loss["gains"][[other, accounts]].tolist() == pytest.approx([5.0, 0.0])
    assert found.clearing.round[[member, other, venue, protocol]].tolist() == [2, 0, 3, 1]
    assert found.direct.by_layer.sum() == pytest.approx(80.0)
    assert found.borne[[member, other, venue, accounts]].tolist() == pytest.approx(
        [20.0, 15.0, 5.0, 40.0]
    )
    assert found.lacking[protocol] == pytest.approx(80.0)


def test_a_default_that_costs_is_borne_too():
    settled = plain([0.0, 30.0], [30.0, 0.0], [0.0, 0.0], [10.0, 10.0], resources=4.0)
    recovery = {"member": Recovery(external=0.5, source="made up")}
    rules = ContagionRules(member_capital=1.0, recovery=recovery)
    _, _, found = spread(settled, rules, Issuers())
    # 20 are called of CM-0, which has 10; half of that is lost with it.
    assert found.clearing.default_cost.tolist() == [5.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    assert found.borne.tolist() == pytest.approx([0.0, 11.0, 4.0, 0.0, 0.0, 0.0])
    assert found.lacking.sum() == pytest.approx(10.0)


def test_twenty_thousand_nodes_clear():
    draw = np.random.default_rng(7)
    members, issuers = 19_700, 297
    names = (CUSTODY, *(f"issuer-{row}" for row in range(issuers)))
    kinds = (CUSTODY, *np.array(["protocol", "bridge", "chain"])[np.arange(issuers) % 3])
    paid = np.zeros((members, issuers + 1))
    held = np.zeros_like(paid)
    for table in (paid, held):
        rows = np.repeat(np.arange(members), 3)
        table[rows, draw.integers(0, issuers + 1, len(rows))] = draw.integers(1, 1_000, len(rows))
    resting = np.triu(np.where(draw.random((issuers + 1,) * 2) < 0.02, 50.0, 0.0), 1)
    resting[0] = 0.0
    settled = Settled(
        gained=draw.integers(0, 2_000, members).astype(float),
        uncovered=np.where(draw.random(members) < 0.1, draw.integers(1, 500, members), 0.0),
        paid=paid,
        held=held,
        resting=resting.T,
        lost=np.where(np.arange(issuers + 1) % 7 == 1, 20_000.0, 0.0),
        default_fund=draw.integers(0, 200, members).astype(float),
        vault_pnl=-1_000.0,
        resources=50_000.0,
    )
    nodes, built, found = spread(settled, ContagionRules(member_capital=1.0), Issuers(names, kinds))
    assert len(nodes) >= 20_000
    assert built.network.liabilities().nnz > 100_000
    cleared = found.clearing
    assert cleared.residual < 1e-9
    assert cleared.defaulted.sum() > 1_000
    assert cleared.round.max() > 2
    outside = float((cleared.owed[0] - cleared.paid[0]).sum())
    assert found.borne.sum() == pytest.approx(found.lacking.sum() - outside, rel=1e-9)


@pytest.mark.parametrize(
    ("words", "given"),
    [
        ("stands in it once", {"seniority": [["gains"]]}),
        ("recovery is of the kinds", {"recovery": {"bank": {"source": "none"}}}),
        ("at least 1 item", {"failures": [{"lost": {}, "source": "none"}]}),
        ("greater than or equal to 0", {"member_capital": -1.0}),
    ],
)
def test_rules_that_mean_nothing_are_refused(words, given):
    with pytest.raises(ValueError, match=words):
        ContagionRules.model_validate(given)


def test_a_failure_names_who_loses_and_when():
    failure = Failure(of=("fall",), lost={"harrowgate": 0.4}, source="made up")
    assert failure.lost["harrowgate"] == 0.4


def test_amounts_that_cannot_be_are_refused():
    nodes = system(1, Issuers())
    settled = plain([-1.0], [0.0], [0.0], [0.0])
    with pytest.raises(ValueError, match=r"gained is -1\.0; allowed is a finite amount of 0 up"):
        system_network(nodes, settled, ContagionRules())
    with pytest.raises(ValueError, match=r"gained has the shape \(2,\); allowed is \(1,\)"):
        system_network(nodes, plain([1.0, 1.0], [0.0] * 2, [0.0] * 2, [0.0] * 2), ContagionRules())


def test_who_has_no_capital_passes_on_what_it_loses():
    """Two members without a contribution: what their accounts lack, DebtRank has the venue lose."""
    settled = plain([10.0, 0.0], [10.0, 10.0], [0.0, 0.0], [0.0, 0.0])
    _, built, found = spread(
        settled, ContagionRules(member_capital=0.0), Issuers((CUSTODY,), (CUSTODY,))
    )
    assert (built.capital[:2] == 0.0).all()
    lost = found.rank.relative_loss
    assert np.isfinite(lost).all()
    assert (lost[:2] > 0.0).all()
    assert sum(float(one.sum()) for one in found.devalued.links) > 0.0
