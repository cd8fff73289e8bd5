"""The networks of a stress run: built on what it stored, and the same bits however it is cut."""

import io
import shutil

import numpy as np
import pytest
from rich.console import Console

from flows.stress_tables import print_stress
from risk.systemic.exposures import LAYERS
from risk.systemic.plan import parse_stress_plan
from storage.arrays import POOL, STRESS
from storage.runs import RunStore
from tests.workers.stressed import SMALL_PLAN, plan_file, stress
from tests.workers.test_verify import forge, forged, named_in
from workers.engine import SerialEngine
from workers.stress.network import failing
from workers.stress.request import PoolOfAnotherRun, StressRequest
from workers.stress.run import StressRun
from workers.verify import differences, verify_stress

ACCOUNTS = 5_000


@pytest.fixture(scope="module")
def margined(synthetic_book, margin_of):
    return margin_of(synthetic_book(ACCOUNTS))


@pytest.fixture(scope="module")
def request_of(margined, tmp_path_factory):
    def request(text=SMALL_PLAN, **options):
        folder = tmp_path_factory.mktemp("network")
        given = {
            "run": margined.run.run_id,
            "plan": plan_file(folder, text),
            "runs": margined.request.runs,
            "stresses": folder / "stresses",
        }
        return StressRequest(**(given | options))

    return request


@pytest.fixture(scope="module")
def alone(request_of):
    return stress(request_of(shards=1, batch=64))


def by_node(done, name):
    network = done.run.groups["network"]
    return dict(zip(network["node"].values, network[name].values.T, strict=True))


def test_the_cut_changes_no_bit_of_a_network(alone, request_of):
    cut = stress(request_of(shards=3, batch=5))
    assert cut.run.manifest["digests"]["network"] == alone.run.manifest["digests"]["network"]


def test_what_accounts_lose_is_paid_or_uncovered(alone):
    lost = alone.values("paid").sum(axis=(1, 2)) + alone.values("uncovered").sum(axis=1)
    assert lost.max() > 1e6
    np.testing.assert_array_equal(lost, alone.values("lost"))
    assert (alone.values("gained").sum(axis=1)[lost > 0.0] > 0.0).all()


def test_without_capital_of_members_the_network_is_the_waterfall(alone):
    """The plan of the test has no assessments, and members with nothing but contributions."""
    totals, network = alone.run.groups["totals"], alone.run.groups["network"]
    borne = dict(zip(totals["layer"].values, totals["borne"].values.T, strict=True))
    unpaid = dict(zip(network["layer"].values, network["unpaid"].values.T, strict=True))
    assert (borne["insurance_fund"] > 0.0).sum() > 2
    np.testing.assert_allclose(by_node(alone, "borne")["venue"], borne["insurance_fund"], atol=0.1)
    np.testing.assert_allclose(unpaid["default_fund"], borne["mutual_fund"], atol=0.1)
    ends = sum(by_node(alone, "borne")[one] for one in ("vault", "accounts", "outside"))
    np.testing.assert_allclose(ends, borne["socialised_loss"], atol=0.1)


def test_links_are_what_the_sums_are_of(alone):
    network = alone.run.groups["network"].load()
    at = (network["link_scenario"].values, network["link_layer"].values)
    for name in ("owed", "unpaid", "unpaid_directly"):
        summed = np.zeros(network[name].shape)
        np.add.at(summed, at, network[f"link_{name}"].values)
        np.testing.assert_allclose(summed, network[name].values, rtol=1e-12, atol=1e-6)
    assert (network["link_unpaid"].values <= network["link_owed"].values * (1 + 1e-12)).all()
    # What is lacking and what defaults cost is borne.
    sums = {name: network[name].values.sum(axis=1) for name in ("lacking", "borne", "default_cost")}
    np.testing.assert_allclose(
        sums["borne"], sums["lacking"] + sums["default_cost"], rtol=1e-9, atol=1e-3
    )
    assert network["layer"].values.tolist() == list(LAYERS)


def test_a_failure_in_no_scenario_is_refused(request_of):
    text = SMALL_PLAN + '\n[[contagion.failures]]\nof = ["flood"]\nlost = { x = 1.0 }\nsource = "s"'
    with pytest.raises(ValueError, match=r"lets \['x'\] fail in \['flood'\], which are no"):
        stress(request_of(text))


FAILURE = """
[contagion]
member_capital = 0.5

[[contagion.failures]]
of = ["down"]
lost = { keelway = 0.9 }
source = "made up"

[[scenarios]]
name = "peg breaks"
title = "nothing moves, and USDC is worth half"
source = "made up"
collateral = [{ assets = ["USDC"], move = -0.5 }]
[scenarios.shocks.price]
default = 0.0
"""


@pytest.fixture(scope="module")
def pooled(margined, synthetic_book, claims_of, pool_of):
    return pool_of(margined, claims_of(synthetic_book(ACCOUNTS)))


@pytest.fixture(scope="module")
def with_claims(request_of, pooled):
    """A function that stresses with the claims of the collateral run."""

    def run(**options):
        pool = {"pool": pooled.pool.run_id, "pools": pooled.request.pools}
        return stress(request_of(SMALL_PLAN + FAILURE, **pool, **options))

    return run


@pytest.fixture(scope="module")
def claimed(with_claims):
    return with_claims(shards=1, batch=64)


def test_with_claims_the_cut_changes_no_bit_either(claimed, with_claims):
    assert with_claims(shards=2, batch=5).digest == claimed.digest


def test_claims_say_where_what_is_paid_lies(claimed, alone):
    """They change nothing of what is paid, and their issuers are those of the claims."""
    paid = claimed.values("paid")
    rows = [claimed.row(name) for name in alone.values("scenario")]
    np.testing.assert_array_equal(paid.sum(axis=2)[rows], alone.values("paid").sum(axis=2))
    assert (paid >= 0.0).all()
    assert (claimed.values("held") >= 0.0).all()
    away = paid[:, :, 1:].sum() / paid.sum()
    assert 0.3 < away < 1.0
    kinds = claimed.run.groups["network"]["kind"].values.tolist()
    assert {"protocol", "bridge", "chain"} <= set(kinds)


def test_what_a_bridge_fails_to_pay_goes_on_to_members_and_the_venue(claimed):
    """Of all that came over keelway a tenth is there, in one scenario."""
    network = claimed.run.groups["network"].load()
    row = claimed.row("down")
    keelway = by_node(claimed, "lost")["bridge keelway"]
    assert keelway[row] > 0.0
    assert (np.delete(keelway, row) == 0.0).all()
    unpaid = dict(zip(network["layer"].values, network["unpaid"].values[row], strict=True))
    direct = dict(zip(network["layer"].values, network["unpaid_directly"].values[row], strict=True))
    assert unpaid["bridged_assets"] == pytest.approx(0.9 * by_node(claimed, "obligation")[
        "bridge keelway"][row] / 1.9, rel=1e-6)  # fmt: skip
    # Protocols whose tokens stand for bridged ones fail after it, and then members do.
    assert unpaid["deposits"] > direct["deposits"] + 1.0
    assert unpaid["margin_calls"] > direct["margin_calls"] + 1.0
    borne, lacking = network["borne"].values[row].sum(), network["lacking"].values[row].sum()
    cost = network["default_cost"].values[row].sum()
    assert borne == pytest.approx(lacking + cost, rel=1e-9)


@pytest.fixture(scope="module")
def verified(claimed, margined, pooled):
    """A function that verifies a stress with claims, in its store or another."""

    def differ(store=claimed.store, run=claimed.run.run_id, **options):
        runs = RunStore(margined.request.runs)
        pools = RunStore(pooled.request.pools, POOL)
        return differences(verify_stress(store, run, runs, pools, **options))

    return differ


def test_a_network_is_verified(claimed, verified):
    # The vault lost in the worst scenario, which is named by its loss with that.
    assert (claimed.values("loss") > claimed.values("lost")).any()
    assert verified(sample=99) == []


@pytest.mark.parametrize(
    ("group", "name", "message"),
    [
        ("network", "assets", "who fails pays all that it has, and others all they owe"),
        ("network", "received", "what a node receives is what its debtors pay it"),
        ("network", "distress", "network/distress is"),
        ("totals", "beyond_contribution", "beyond its contribution is Cover-1"),
        ("totals", "default_fund", "totals/default_fund is"),
        ("scenarios", "held", "scenarios/held is"),
        ("scenarios", "sold_by_instrument", "scenarios/sold_by_instrument is"),
    ],
)
def test_what_was_changed_is_named(claimed, verified, tmp_path, group, name, message):
    shutil.copytree(claimed.store.path, tmp_path / "forged")
    run = forged(tmp_path / "forged", group, name, lambda values: 1.01 * values)
    found = verified(RunStore(tmp_path / "forged", STRESS), run, sample=3, seed=1)
    assert any(message in one for one in found), found


def test_what_the_manifest_says_is_made_again(claimed, verified, tmp_path):
    def tell(manifest):
        manifest["inputs"]["plan"]["title"] = "another"
        manifest["as_of"] = "2025-01-01T00:00:00+00:00"
        manifest["totals"] = {}

    shutil.copytree(claimed.store.path, tmp_path / "forged")
    changes = {"scenarios/member": lambda values: values[::-1]}
    run = forge(tmp_path / "forged", changes, tell)
    found = verified(RunStore(tmp_path / "forged", STRESS), run, sample=0)
    said = ("inputs/plan: title", "manifest: as_of", "totals: accounts", "totals: worst_loss")
    assert not named_in(found, [*changes, *said])


def test_claims_on_what_lost_its_peg_are_worth_less(claimed):
    """Half of all USDC is gone where nothing else moves; of staked ether only what backs debts."""
    lies = (claimed.values("held") + claimed.values("paid")).sum(axis=1)
    calm, broken = lies[claimed.row("all quiet")][1:], lies[claimed.row("peg breaks")][1:]
    issuers = claimed.run.groups["scenarios"]["issuer"].values.tolist()[1:]
    staked = issuers.index("ulvane")
    assert 0.99 * calm[staked] < broken[staked] <= calm[staked]
    assert (broken <= calm).all()
    assert 0.5 * calm.sum() < broken.sum() < 0.95 * calm.sum()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("keelway = 0.9", "kelway = 0.9", r"lets \['kelway'\] fail, which issue nothing that"),
        ('assets = ["USDC"]', 'assets = ["USD"], chains = ["Btc"]', "means no token of the claims"),
    ],
)
def test_an_issuer_or_a_move_of_nothing_is_refused(request_of, pooled, old, new, message):
    assert FAILURE.count(old) == 1
    pool = {"pool": pooled.pool.run_id, "pools": pooled.request.pools}
    request = request_of(SMALL_PLAN + FAILURE.replace(old, new), **pool)
    with StressRun(request, SerialEngine) as run, pytest.raises(ValueError, match=message):
        run.prepare()


def test_a_failure_comes_at_other_depths_too():
    depths = '\n[[depths]]\nof = ["down"]\nparts = [0.05]\n'
    plan = parse_stress_plan(SMALL_PLAN + FAILURE + depths)
    assert failing(plan, "down") == failing(plan, "down at depth 0.05") == [("keelway", 0.9)]
    assert failing(plan, "all quiet") == []


def test_the_terminal_says_that_failures_need_claims(request_of):
    output = io.StringIO()
    print_stress(Console(file=output, width=200), stress(request_of(SMALL_PLAN + FAILURE)).run)
    assert "the plan lets keelway fail, which changes nothing here" in output.getvalue()


def test_a_pool_of_another_margin_run_is_refused(request_of, pooled, synthetic_book, margin_of):
    other = margin_of(synthetic_book(2_000), runs=pooled.request.runs)
    with pytest.raises(PoolOfAnotherRun, match="give a collateral run of that one"):
        stress(
            request_of(run=other.run.run_id, pool=pooled.pool.run_id, pools=pooled.request.pools)
        )
