"""One account of a collateral run explained: the stored bits again, and every number told."""

import dataclasses
import io
import json
import math

import numpy as np
import pytest
from rich.console import Console

from flows.commands.collateral_explain import KEPT_FOR, print_pooled_account
from risk.claims.pool import left_in_market, pool_block
from storage.book import AccountUnknown
from storage.runs import StoredRun
from tests.risk.claims.test_pool import drawn
from workers.explain import CannotExplain
from workers.pool import explain
from workers.pool.account import account_pool
from workers.pool.explain import explain_pooled
from workers.pool.source import InputsChanged, pool_source

ACCOUNTS = 5_000


@pytest.fixture(scope="module")
def done(synthetic_book, margin_of, claims_of, pool_of):
    book = synthetic_book(ACCOUNTS)
    return pool_of(margin_of(book), claims_of(book))


@pytest.fixture(scope="module")
def stored(done):
    return done.pool.groups["accounts"].load()


@pytest.fixture(scope="module")
def source(done):
    return pool_source(done.pool, done.request.runs)


@pytest.fixture
def told(done, source, monkeypatch):
    """Return a function that explains an account by its row, the inputs read once."""
    monkeypatch.setattr(explain, "pool_source", lambda pool, runs: source)
    names = source.book.account_table(0, ACCOUNTS, ["account"])["account"].to_pylist()
    return lambda row: explain_pooled(done.pool, names[row], done.request.runs)


@pytest.mark.parametrize("seed", range(40))
def test_the_formula_of_an_account_gives_the_bits_of_the_kernel(seed):
    holders, terms = drawn(seed, 12)
    block = pool_block(holders, terms)
    for row in np.flatnonzero(~holders.held).tolist():
        one = account_pool(holders.between(row, row + 1), terms)
        assert (one.value, one.credit[0], one.credit_then) == (
            block.value[row], block.credit[row], block.credit_then[row],
        )  # fmt: skip
        assert (one.requirement, one.requirement_alone, one.health) == (
            block.requirement[row], block.requirement_alone[row], block.health[row],
        )  # fmt: skip
        assert (one.binding, one.binding_alone) == (
            block.binding_scenario[row], block.binding_alone[row],
        )  # fmt: skip
        claims = slice(*holders.claim_offsets[row : row + 2])
        np.testing.assert_allclose(
            one.claim_credit[:, 0], block.claim_credit[claims], rtol=1e-12, atol=1e-12
        )


def test_accounts_are_explained_to_the_bit(told, stored):
    """Every fiftieth account; what differs from the run raises."""
    for row in range(0, ACCOUNTS, 50):
        explained = told(row)
        for name in ("credit", "requirement", "requirement_alone", "credit_then", "excess"):
            assert explained[name] == float(stored[name][row]), name
        assert len(explained["claims"]) == int(stored["claims"][row])
        assert sum(one["outcome"] == "COUNTED" for one in explained["claims"]) == int(
            stored["counted"][row]
        )
        assert math.isclose(
            sum(one["credit"] for one in explained["claims"]),
            explained["credit"],
            rel_tol=1e-9,
            abs_tol=1e-6,
        )


def some_with(told, stored, chosen, count=5):
    rows = np.flatnonzero(chosen)
    assert len(rows) >= count
    return [told(int(row)) for row in rows[:: max(len(rows) // count, 1)]]


def test_what_a_unit_keeps_is_the_product_of_what_is_told(told, stored):
    """Down the recipes, the mean of both halves of liquidity, and debts in full."""

    def product(way):
        """Consume the first token of the way with all that it stands for."""
        step = way.pop(0)
        own = math.prod(step["keeps"].values())
        parts = []
        while way and way[0]["depth"] == step["depth"] + 1:
            parts.append(product(way))
        return own * (sum(parts) / len(parts) if parts else 1.0)

    kinds, told_of = set(), set()
    for row in range(0, ACCOUNTS, 25):
        for one in told(row)["claims"]:
            kinds.add(one["kind"])
            told_of |= {what for step in one["way"] for what in step["keeps"]}
            if one["outcome"] in ("COUNTED", "ENCUMBERED", "NOT_PROVEN") and one["ratio"]:
                assert math.isclose(product(list(one["way"])), one["ratio"], rel_tol=1e-12)
                assert math.isclose(
                    one["unit_credit"], one["unit_value"] * one["ratio"], rel_tol=1e-12
                )
            assert math.isclose(one["value"], one["units"] * one["unit_value"])
    assert kinds == {
        *("cash", "coin", "receipt", "share", "staked"),
        *("wrapped", "bridged", "liquidity", "debt"),
    }
    assert {"size", "token", "chain", "bridge", "protocol"} <= told_of <= set(KEPT_FOR)


def test_a_unit_is_worth_its_base_assets_at_the_price_that_holds(told):
    for row in range(0, ACCOUNTS, 50):
        for one in told(row)["claims"]:
            pick = max if one["kind"] == "debt" else min
            for asset in one["assets"]:
                assert asset["price"] == pick(asset["oracle"], asset["market"])
            whole = sum(asset["units"] * asset["price"] for asset in one["assets"])
            if one["kind"] == "liquidity":
                halves = [asset["units"] * asset["price"] for asset in one["assets"]]
                whole = 2.0 * math.sqrt(math.prod(halves))
            if one["outcome"] != "RECIPE_CYCLE":
                assert math.isclose(one["unit_value"], whole, rel_tol=1e-9)


def test_lending_positions_are_told_with_the_rule_that_is_stricter(told, stored):
    health = stored["health"].values
    rules = set()
    for explained in some_with(told, stored, np.isfinite(health), 60):
        lending = explained["lending"]
        known = [one["health"] for one in lending if one["health"] is not None]
        assert min(known) == explained["health"]
        for one in lending:
            rules.add((one["stricter"], one["left"] > 0.0))
            assert one["left"] == min(one["after_liquidation"], one["withdrawable"])
            assert one["left"] == pytest.approx(
                left_in_market(
                    one["collateral"], one["cover"], one["debt"], one["bonus"],
                    one["target_health"],
                ),
                rel=1e-12,
            )  # fmt: skip
            here = [c for c in explained["claims"] if c["claim"] in one["claims"]]
            assert all(claim["market"] == one["market"] for claim in here)
            debt = sum(c["value"] for c in here if c["kind"] == "debt")
            assert debt == pytest.approx(one["debt"], rel=1e-12)
            assert sum(c["credit"] for c in here) == pytest.approx(
                one["left"] - one["unbacked"], rel=1e-9, abs=1e-6
            )
    assert {("after liquidation", True), ("what may leave", True)} <= rules


def test_scenarios_are_told_worst_first(told):
    for row in range(0, ACCOUNTS, 100):
        explained = told(row)
        scenarios = explained["scenarios"]
        together = [one["together"] for one in scenarios]
        assert together == sorted(together)
        for one in scenarios:
            weighted = one["weight"] * (one["pnl"] + one["change_of_credit"])
            assert one["together"] == weighted
        assert explained["requirement"] == max(0.0, -together[0])
        alone = min(one["weight"] * one["pnl"] for one in scenarios)
        assert explained["requirement_alone"] == max(0.0, -alone)
        if explained["requirement"] > 0.0:
            assert explained["binding"]["scenario"] == scenarios[0]["scenario"]
            pnl = sum(one["pnl"] for one in explained["positions"])
            assert pnl == pytest.approx(scenarios[0]["pnl"], rel=1e-9, abs=1e-6)
        backing = explained["credit"] + explained["position_value"]
        assert explained["excess"] == backing - explained["requirement"]
        assert explained["excess_alone"] == backing - explained["requirement_alone"]


@pytest.mark.parametrize("kind", ["root_twice", "proof_twice", "backing_twice", "backing_cycle"])
def test_who_counts_one_thing_with_whom_is_named(told, source, kind):
    group = source.plan.claims.planted[kind][0]
    owner = source.plan.claims.columns(["account"])["account"]
    explained = told(int(owner[group[0]]))
    (claim,) = [one for one in explained["claims"] if one["claim"] == group[0]]
    assert claim["outcome"] == kind.upper()
    assert {other["claim"] for other in claim["shares_with"]} == set(group) - {group[0]}
    for other in claim["shares_with"]:
        row = source.book.account_row(other["account"])
        assert row == owner[other["claim"]]
    shown = statement(explained)
    assert f"claim {group[0]} does not count, {kind.upper()}" in shown
    assert all(other["account"] in shown for other in claim["shares_with"])


def statement(explained, **options):
    output = io.StringIO()
    print_pooled_account(Console(file=output, width=160), explained, **options)
    return output.getvalue()


def test_the_statement_says_what_the_numbers_are(told, stored):
    for explained in some_with(told, stored, np.isfinite(stored["health"].values), 8):
        shown = statement(explained, whole=True)
        for claim in explained["claims"]:
            assert f"\n{claim['claim']} " in shown
            if claim["outcome"] != "COUNTED":
                assert claim["reason"] in shown
        for one in explained["lending"]:
            for name in ("worth", "cover", "debt", "collateral", "after_liquidation", "left"):
                assert f"{one[name]:,.2f}" in shown, name
        for one in explained["scenarios"]:
            assert one["title"] in shown
        for name in ("credit", "credit_then", "requirement", "requirement_alone", "excess"):
            assert f"{explained[name]:,.2f}" in shown, name
        assert json.loads(json.dumps(explained, allow_nan=False)) == explained
    few = statement(explained)
    assert "more scenarios; --whole shows them" in few
    assert sum(one["title"] in few for one in explained["scenarios"]) < 10


def changed(run, group, name, row):
    """The stored run with one number off by its last bit."""
    dataset = run.groups[group].load().copy(deep=True)
    values = dataset[name].values
    values[row] = np.nextafter(values[row], np.inf)
    return StoredRun(run.run_id, run.manifest, {**run.groups, group: dataset})


@pytest.mark.parametrize(
    ("group", "name", "row", "said"),
    [
        ("accounts", "requirement", 17, "account A-0000000017: requirement is"),
        ("accounts", "credit", 17, "account A-0000000017: credit is"),
        ("accounts", "excess", 40, "account A-0000000040: excess is"),
        ("tokens", "unit_credit", (4, 2), "what a unit of a token counts for is not the one"),
        ("scenarios", "pnl", (0, 0), "the P&L of an instrument is not the one"),
    ],
)
def test_a_number_off_by_a_bit_is_not_explained(done, group, name, row, said):
    pool = changed(done.pool, group, name, row)
    account = f"A-{row if isinstance(row, int) else 0:010d}"
    with pytest.raises(CannotExplain, match=said):
        explain_pooled(pool, account, done.request.runs)


@pytest.mark.parametrize("what", ["run", "claims"])
def test_changed_inputs_are_refused(done, what):
    inputs = done.manifest["inputs"]
    other = inputs | {what: inputs[what] | {"digest": "0" * 64}}
    pool = dataclasses.replace(done.pool, manifest=done.manifest | {"inputs": other})
    with pytest.raises(InputsChanged, match="bring back what the run used"):
        explain_pooled(pool, "A-0000000000", done.request.runs)


def test_an_unknown_account_is_a_sentence(done):
    with pytest.raises(AccountUnknown, match="nobody"):
        explain_pooled(done.pool, "nobody", done.request.runs)
