"""A collateral run of generated claims: what was planted is found, and every sum is one sum."""

import dataclasses
import shutil
from collections import defaultdict

import numpy as np
import pytest
import xarray as xr

from risk.claims.tokens import Outcome, Standing
from storage.array_digest import dataset_digest
from storage.arrays import POOL, POOL_ACCOUNTS, POOL_BLOCKS
from storage.book import BLOCK_ACCOUNTS
from storage.claims import Claims, ClaimsDamaged
from storage.runs import RunStore, UnknownRun
from tests.conftest import approved
from workers.claims.references import DEVIATING, STALE
from workers.dask_engine import DaskEngine
from workers.engine import SerialEngine
from workers.fold import IncompleteRun
from workers.pool.count import count_claims
from workers.pool.plan import plan_pool
from workers.pool.request import (
    DEFAULT_RULES,
    OfAnotherBook,
    PoolRequest,
    identify_pool,
    load_rules,
)
from workers.pool.run import PoolRun

ACCOUNTS = 4 * BLOCK_ACCOUNTS + 700
"""Five blocks, so that five shards are five."""

CENT = 0.01


@pytest.fixture(scope="module")
def book(synthetic_book):
    return synthetic_book(ACCOUNTS)


@pytest.fixture(scope="module")
def margined(book, margin_of):
    return margin_of(book)


@pytest.fixture(scope="module")
def claims(book, claims_of):
    return claims_of(book)


@pytest.fixture(scope="module")
def done(margined, claims, pool_of):
    """One shard, in this process."""
    return pool_of(margined, claims, shards=1)


@pytest.fixture(scope="module")
def plan(done):
    return plan_pool(identify_pool(done.request), done.request)


@pytest.fixture(scope="module")
def counted(plan):
    return count_claims(plan, SerialEngine())


def planted(claims, kind):
    return [frozenset(group) for group in claims.planted[kind]]


SHARED = {
    "root_twice": Outcome.ROOT_TWICE,
    "proof_twice": Outcome.PROOF_TWICE,
    "backing_twice": Outcome.BACKING_TWICE,
    "backing_cycle": Outcome.BACKING_CYCLE,
}


@pytest.mark.parametrize("kind", SHARED)
def test_groups_that_share_are_the_planted_ones(done, claims, kind):
    findings = done.pool.groups["findings"].load()
    here = findings["kind"].values == SHARED[kind]
    groups = defaultdict(set)
    for group, claim in zip(
        findings["group"].values[here], findings["claim"].values[here], strict=True
    ):
        groups[group].add(int(claim))
    found = list(map(frozenset, groups.values()))
    assert len(found) > 3
    assert sorted(map(sorted, found)) == sorted(map(sorted, planted(claims, kind)))


def test_findings_name_the_holders(done, claims):
    findings = done.pool.groups["findings"].load()
    owner = claims.columns(["account"])["account"]
    assert findings["account"].values.tolist() == owner[findings["claim"].values].tolist()
    circles = findings["recipe_cycle"].values.tolist()
    assert [circle.split(" -> ") for circle in circles] == [["ringA", "ringB", "ringC"]]


def expected_outcomes(claims, rules):
    """The outcome of each claim from what was planted, and from rules that are told claim by claim.

    A planted claim has its plant's outcome whatever else it lacks; rules ask for a claim to be
    attested at least.
    """
    held = claims.claim_slice(0, claims.accounts)
    references = claims.references()
    tokens = references.tokens.to_pylist()
    parts = defaultdict(list)
    for row in references.recipes.to_pylist():
        parts[row["token"]].append(row["of"])

    def assets(token):
        if tokens[token]["asset"] is not None:
            return {tokens[token]["asset"]}
        return set().union(*(assets(of) for of in parts[token]))

    rings = {row for row, token in enumerate(tokens) if token["token"].startswith("ring")}
    base = [set() if row in rings else assets(row) for row in range(len(tokens))]
    of_plant = {
        row: Outcome[kind.upper()]
        for kind, groups in claims.planted.items()
        for group in groups
        for row in group
    }
    assert {rule.needs for rule in rules.standings} == {"attested"}
    outcomes = []
    for row, token in enumerate(held.token.tolist()):
        if row in of_plant:
            outcomes.append(of_plant[row])
        elif tokens[token]["kind"] == "debt":
            outcomes.append(Outcome.COUNTED)
        elif held.standing[row] == Standing.STATED:
            outcomes.append(Outcome.NOT_PROVEN)
        elif base[token] & set(STALE):
            outcomes.append(Outcome.STALE_PRICE)
        elif base[token] & set(DEVIATING):
            outcomes.append(Outcome.PRICE_DEVIATES)
        elif held.encumbered[row] >= held.quantity[row]:
            outcomes.append(Outcome.ENCUMBERED)
        else:
            outcomes.append(Outcome.COUNTED)
    return np.array(outcomes)


def test_every_claim_has_the_outcome_of_what_was_planted(done, claims, counted):
    expected = expected_outcomes(claims, load_rules(DEFAULT_RULES).rules)
    wrong = np.flatnonzero(counted.outcome != expected)
    assert wrong.tolist() == []
    numbers = {one.name: int((expected == one).sum()) for one in Outcome}
    assert done.manifest["totals"]["outcomes"] == numbers
    # All that a generated claim can lack is there; the rest comes with imported ones.
    assert {name for name, number in numbers.items() if not number} == {"NO_ROOT", "NOT_LISTED"}


def test_double_counts_in_the_manifest_are_the_planted_ones(done, claims):
    assert done.manifest["totals"]["double_counts"] == {
        "roots": len(claims.planted["root_twice"]),
        "proofs": len(claims.planted["proof_twice"]),
        "backings": len(claims.planted["backing_twice"]),
        "circles": len(claims.planted["backing_cycle"]),
        "recipe_circles": 1,
    }


@pytest.mark.parametrize(
    ("shards", "engine", "fold"),
    [
        (2, SerialEngine(), DaskEngine(2)),
        (5, DaskEngine(2), DaskEngine(2)),
        pytest.param(5, SerialEngine(), SerialEngine(), marks=pytest.mark.slow),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_the_same_bits_however_the_work_is_cut(
    margined, claims, done, pool_of, shards, engine, fold
):
    again = pool_of(margined, claims, shards=shards, engine=engine, fold=fold)
    chunk = again.pool.groups["accounts"]["credit"].encoding["chunks"][0]
    assert -(-ACCOUNTS // chunk) == shards
    assert again.manifest["digests"] == done.manifest["digests"]
    for group in POOL.groups:
        ours, theirs = again.pool.groups[group].load(), done.pool.groups[group].load()
        xr.testing.assert_identical(ours, theirs)
        for name in ours.data_vars:
            if ours[name].dtype.kind in "fiub":
                assert ours[name].values.tobytes() == theirs[name].values.tobytes(), name


def test_every_claim_and_account_is_somewhere(done, claims, book):
    totals = done.manifest["totals"]
    accounts = done.pool.groups["accounts"].load()
    assert totals["accounts"] == book.accounts == totals["pooled"] + totals["held"]
    assert totals["claims"] == claims.claims == int(accounts["claims"].sum())
    assert sum(totals["outcomes"].values()) == claims.claims
    assert totals["counted"] == totals["outcomes"]["COUNTED"] == int(accounts["counted"].sum())
    by_outcome = done.pool.groups["totals"]["claims_by_outcome"]
    assert (
        dict(zip(by_outcome["outcome"].values.tolist(), by_outcome.values.tolist(), strict=True))
        == (totals["outcomes"])
    )
    for name in ("value", "credit", "requirement", "requirement_alone"):
        assert totals[name] == pytest.approx(float(np.nansum(accounts[name])), rel=1e-12)
    short = np.maximum(-accounts["excess"].values, 0.0)
    assert totals["shortfall"] == pytest.approx(float(np.nansum(short)), rel=1e-12)
    assert totals["below"] == int((short > 0.0).sum()) > 0


def test_credit_is_one_sum_whatever_it_is_shown_by(done):
    totals, tokens = done.pool.groups["totals"].load(), done.pool.groups["tokens"].load()
    credit = done.manifest["totals"]["credit"]
    by_state = done.pool.groups["scenarios"]["credit"].sel(state=totals["report"].values)
    assert float(by_state[0]) == pytest.approx(credit, abs=CENT)
    for group in ("chain", "protocol", "bridge", "asset"):
        summed = totals[f"{group}_credit"].sum(group)
        np.testing.assert_allclose(summed.values, by_state.values, rtol=0, atol=CENT)
        assert float(totals[f"{group}_use"].sum()) == pytest.approx(credit, abs=CENT)
    np.testing.assert_allclose(
        tokens["credit"].sum("token").values, by_state.values, rtol=0, atol=CENT
    )
    assert float(totals["credit_by_standing"].sum()) == pytest.approx(credit, abs=CENT)
    # What is stated adds nothing; a debt that is stated is owed all the same.
    assert float(totals["credit_by_standing"].sel(standing="stated")) <= 0.0


def test_quantities_and_values_are_those_of_the_claims(done, claims, counted):
    """What counts by token, added up claim by claim here, and the value of what does not."""
    tokens = done.pool.groups["tokens"].load()
    held = claims.claim_slice(0, claims.accounts)
    size = tokens.sizes["token"]
    np.testing.assert_allclose(
        tokens["quantity"].values, np.bincount(held.token, counted.units, size), rtol=1e-12
    )
    owed = tokens["kind"].values == "debt"
    fetched = held.quantity * tokens["unit_value"].values[held.token, 0] * ~owed[held.token]
    np.testing.assert_allclose(
        done.pool.groups["totals"]["value_by_outcome"].values,
        np.bincount(counted.outcome, fetched, len(Outcome)),
        rtol=1e-9,
    )


def test_collateral_inside_the_scenarios_differs_from_a_fixed_haircut(done):
    """Some accounts are asked more, some less: hedges by collateral are hedges."""
    accounts = done.pool.groups["accounts"].load()
    change = accounts["requirement"].values - accounts["requirement_alone"].values
    assert (change > 1.0).sum() > 100
    assert (change < -1.0).sum() > 10
    held = accounts["credit"].values - accounts["credit_then"].values
    assert (held > 1.0).sum() > 100


def test_each_failure_takes_what_rests_on_it(done):
    """In the failure of a bridge exactly the credit over that bridge is missing, nothing else."""
    totals = done.pool.groups["totals"].load()
    now = totals["bridge_credit"].sel(report="now")
    for bridge in totals["bridge"].values.tolist():
        if bridge == "none":
            continue
        then = totals["bridge_credit"].sel(report=f"bridge-{bridge}", bridge=bridge)
        assert float(then) < float(now.sel(bridge=bridge)), bridge
    for chain in ("Arbitrum", "Ethereum", "Optimism"):
        halted = totals["chain_credit"].sel(report=f"halt-{chain.lower()}", chain=chain)
        # Debts outside of markets stay, and those are all that may be left.
        assert float(halted) <= 0.0, chain
        assert float(totals["chain_credit"].sel(report="now", chain=chain)) > 0.0


def test_arrays_are_as_declared(done):
    for group, variables in (("accounts", POOL_ACCOUNTS), ("blocks", POOL_BLOCKS)):
        for variable in variables:
            found = done.pool.groups[group][variable.name]
            assert found.dims == variable.dims
            assert found.dtype == variable.dtype
            assert found.attrs["units"] == variable.unit
            assert found.attrs["long_name"] == variable.meaning
    for group, digest in done.manifest["digests"].items():
        assert dataset_digest(done.pool.groups[group]) == digest


def test_a_run_that_is_there_is_recognised(done, margined, claims, pool_of):
    with PoolRun(done.request, None, None) as run:
        assert run.prepare()
        assert run.run_id == done.pool.run_id
    again = dataclasses.replace(done.request, shards=3)
    with PoolRun(again, None, None) as run:
        assert run.prepare()
    assert len(done.store.manifests()) == 1


def test_other_rules_are_another_run(done, tmp_path):
    text = load_rules(DEFAULT_RULES).text
    other = tmp_path / "other.toml"
    other.write_text(approved(text.replace("target_health = 1.05", "target_health = 1.1")))
    with PoolRun(dataclasses.replace(done.request, rules=str(other)), None, None) as run:
        assert not run.prepare()
        assert run.run_id != done.pool.run_id


def test_claims_of_another_book_are_refused(synthetic_book, claims_of, done):
    foreign = claims_of(synthetic_book(100))
    request = dataclasses.replace(done.request, claims=foreign.location)
    with (
        pytest.raises(OfAnotherBook, match=r"are of the book with digest .* give claims of that"),
        PoolRun(request, None, None) as run,
    ):
        run.prepare()


def test_the_latest_run_is_that_of_the_claims_book(synthetic_book, margin_of, claims_of, tmp_path):
    """Two books in one store, each with claims of its own, and a third without a run."""
    books = [synthetic_book(accounts) for accounts in (100, 120)]
    done = [margin_of(book, runs=tmp_path / "runs") for book in books]
    for book, expected in zip(books, done, strict=True):
        request = PoolRequest("latest", claims_of(book).location, runs=tmp_path / "runs")
        assert identify_pool(request).run.run_id == expected.run.run_id
    foreign = claims_of(synthetic_book(140))
    with pytest.raises(
        UnknownRun, match=f"no run of the book with digest {foreign.book_digest[:12]}"
    ):
        identify_pool(PoolRequest("latest", foreign.location, runs=tmp_path / "runs"))


def test_rules_may_ask_only_for_scenarios_that_the_run_has(done, tmp_path):
    rules = tmp_path / "rules.toml"
    text = load_rules(DEFAULT_RULES).text
    rules.write_text(approved(text.replace('origins = ["grid"]', 'origins = ["grid", "moon"]')))
    with (
        pytest.raises(ValueError, match=r"take scenarios of origin \['moon'\], run .* has"),
        PoolRun(dataclasses.replace(done.request, rules=str(rules)), None, None) as run,
    ):
        run.prepare()


def test_damaged_claims_are_refused_by_file(
    synthetic_book, margin_of, claims_of, pool_of, tmp_path
):
    book = synthetic_book(100)
    copy = tmp_path / "claims"
    shutil.copytree(claims_of(book).path, copy)
    (part,) = (copy / "claims").iterdir()
    content = bytearray(part.read_bytes())
    content[len(content) // 2] ^= 1
    part.write_bytes(content)
    with pytest.raises(ClaimsDamaged, match=r"part-00000\.parquet"):
        pool_of(margin_of(book), Claims.open(copy), pools=tmp_path / "pools")
    assert RunStore(tmp_path / "pools", POOL).manifests() == []


class Losing(SerialEngine):
    """Loses the last shard, and says that it was done."""

    name = "losing"

    def map(self, function, shared, items):
        items = list(items)
        for item in items[:-1]:
            yield function(shared, item)
        yield dataclasses.replace(function(shared, items[0]), shard=items[-1])


def test_a_run_that_lost_accounts_is_not_published(margined, claims, pool_of, tmp_path):
    pools = tmp_path / "pools"
    with pytest.raises(IncompleteRun, match="700 accounts were never written"):
        pool_of(margined, claims, shards=5, engine=Losing(), pools=pools)
    assert RunStore(pools, POOL).manifests() == []


def test_stages_out_of_order_are_refused(margined, claims, done, tmp_path):
    engine = SerialEngine()
    request = dataclasses.replace(done.request, pools=tmp_path)
    with PoolRun(request, lambda: engine, lambda: engine) as run:
        run.prepare()
        with pytest.raises(RuntimeError, match="call count before"):
            run.value()
        with pytest.raises(RuntimeError, match="call count before"):
            run.pool()
        run.count()
        with pytest.raises(RuntimeError, match="call value before"):
            run.pool()
