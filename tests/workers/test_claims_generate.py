"""Generated claims are worth what the collateral is, and hold the planted faults and no others."""

from collections import Counter, defaultdict
from dataclasses import replace
from datetime import timedelta
from functools import cache
from math import sqrt

import numpy as np
import pytest

from risk.synthetic.plants import ACCOUNTS, GROUPS, SIZES, Plant, plan_plants
from storage.book import BLOCK_ACCOUNTS
from storage.claims import ClaimsExist, ClaimsRefused
from storage.market import sample_market
from storage.tables import TOKEN_KINDS
from tests.storage.claim_files import small_book
from workers.claims.generate import generate_claims
from workers.claims.lending import CHAINS, STAKING_TERMS
from workers.claims.references import DEVIATING, STALE

BOOK = 3 * BLOCK_ACCOUNTS + 700


@pytest.fixture(scope="module")
def market():
    return sample_market()


@pytest.fixture(scope="module")
def book(synthetic_book):
    return synthetic_book(BOOK)


@pytest.fixture(scope="module")
def claims(book, market, tmp_path_factory):
    return generate_claims(tmp_path_factory.mktemp("c") / "claims", book, 11, market, threads=1)


@pytest.fixture(scope="module")
def held(claims):
    return claims.claim_slice(0, claims.accounts)


@pytest.fixture(scope="module")
def tokens(claims):
    return claims.references().tokens.to_pylist()


@pytest.fixture(scope="module")
def owner(claims):
    return claims.columns(["account"])["account"]


@pytest.fixture(scope="module")
def unit_value(claims, tokens):
    """USD of one unit of each token at the oracle's prices; 1 for what goes round in a circle."""
    references = claims.references()
    price = {row["asset"]: row["oracle"] for row in references.feeds.to_pylist()}
    parts = defaultdict(list)
    for row in references.recipes.to_pylist():
        parts[row["token"]].append((row["of"], row["units"]))

    @cache
    def value(token):
        about = tokens[token]
        if about["token"].startswith("ring"):
            return 1.0
        if about["asset"]:
            return price[about["asset"]]
        legs = [units * value(of) for of, units in parts[token]]
        return 2.0 * sqrt(legs[0] * legs[1]) if about["kind"] == "liquidity" else legs[0]

    return np.array([value(token) for token in range(len(tokens))])


def test_claims_are_worth_what_the_collateral_is(book, market, held, owner, tokens, unit_value):
    debt = np.array([token["kind"] == "debt" for token in tokens])[held.token]
    worth = held.quantity * unit_value[held.token]
    found = np.bincount(owner, np.where(debt, -worth, worth), book.accounts)
    price = {"USD": 1.0} | {coin: index.price for coin, index in market.index.items()}
    collateral = book.collateral_slice(0, book.accounts)
    each = np.array([price[coin] for coin in book.assets()["underlying"].to_pylist()])
    expected = np.bincount(
        np.repeat(np.arange(book.accounts), np.diff(collateral.offsets)),
        collateral.quantity * each[collateral.asset],
        book.accounts,
    )
    # Half the last decimal of each claim: a quantity has those of its token, eight at most.
    digits = np.array([min(token["decimals"], 8) for token in tokens])
    slack = 0.5 * (unit_value * 10.0**-digits)[held.token]
    slack = np.bincount(owner, slack, book.accounts)
    assert (np.abs(found - expected) <= slack + 1e-9 * expected).all()


def test_the_bytes_do_not_depend_on_the_threads(claims, book, market, tmp_path):
    again = generate_claims(tmp_path / "again", book, 11, market, threads=3)
    assert again.digest == claims.digest
    other = generate_claims(tmp_path / "other", book, 12, market)
    assert other.digest != claims.digest
    assert set(map(len, other.planted.values())) != {0}


def test_claims_are_spread_as_was_asked(claims, held, tokens):
    count = np.diff(held.offsets)
    assert count.min() >= 1
    assert 3.5 < count.mean() < 4.7
    assert np.percentile(count, 99) > 5 * count.mean()
    seen = [tokens[token] for token in np.unique(held.token)]
    assert {token["kind"] for token in seen} == set(TOKEN_KINDS)
    assert len({token["chain"] for token in seen} - {"none"}) >= 8
    assert len({token["protocol"] for token in seen} - {"none"}) >= 6
    assert len({token["bridge"] for token in seen} - {"none"}) >= 5
    standing = np.bincount(held.standing, minlength=3) / claims.claims
    assert standing.min() > 0.1
    assert 0.02 < ((held.encumbered > 0.0) & (held.encumbered < held.quantity)).mean() < 0.2
    assert 0.01 < ((held.encumbered > 0.0) & (held.encumbered == held.quantity)).mean() < 0.1


def test_a_quarter_of_the_accounts_borrows(claims, held, owner, tokens, unit_value):
    references = claims.references()
    terms = {
        (row["market"], row["token"]): row["liquidation_threshold"]
        for row in references.market_terms.to_pylist()
    }
    inside = held.market >= 0
    threshold = np.array(
        [
            terms.get(pair, 0.0)
            for pair in zip(held.market.tolist(), held.token.tolist(), strict=True)
        ]
    )
    debt = np.array([token["kind"] == "debt" for token in tokens])[held.token]
    assert (debt <= inside).all()
    worth = held.quantity * unit_value[held.token]
    backs = np.bincount(owner[inside & ~debt], (worth * threshold)[inside & ~debt], claims.accounts)
    owed = np.bincount(owner[debt], worth[debt], claims.accounts)
    borrowers = owed > 1.0
    assert 0.2 < len(np.unique(owner[inside])) / claims.accounts < 0.3
    health = backs[borrowers] / owed[borrowers]
    assert 0.9 < health.min() < 1.0
    assert 0.01 < (health < 1.0).mean() < 0.06
    assert 1.3 < np.median(health) < 2.2
    assert health.max() > 4.0
    # Who stakes with borrowed coins owes several times what the position is worth.
    markets = references.markets.to_pylist()
    staking = [row for row, one in enumerate(markets) if one["market"] == "staking"]
    loops = np.unique(owner[np.isin(held.market, staking)])
    position = np.bincount(owner[inside & ~debt], worth[inside & ~debt], claims.accounts)
    leverage = position[loops] / (position - owed)[loops]
    assert len(loops) > 0.01 * claims.accounts
    assert np.median(leverage) > 3.0
    assert {
        terms[staking[0], token]
        for token in np.unique(held.token[inside & ~debt])
        if (staking[0], token) in terms
    } == {STAKING_TERMS[1]}
    assert {one["chain"] for one in markets} == set(CHAINS)


def groups_of(identity, chosen):
    """Rows that share one of the identities that were chosen, by looking at each."""
    rows = defaultdict(list)
    for row in np.flatnonzero(chosen).tolist():
        rows[identity[row].tobytes()].append(row)
    return {frozenset(group) for group in rows.values() if len(group) > 1}


def test_shared_roots_and_proofs_are_the_planted_ones(claims, held):
    every = np.ones(claims.claims, np.bool_)
    assert groups_of(held.root, every) == set(map(frozenset, claims.planted["root_twice"]))
    shown = held.proof.any(axis=1)
    assert (shown == (held.standing == 0)).all()
    assert groups_of(held.proof, shown) == set(map(frozenset, claims.planted["proof_twice"]))
    assert held.root.any(axis=1).all()


def test_backings_are_pledged_in_whole_or_planted(claims, held, owner, tokens):
    backing = held.backing.tolist()
    on_cycle, twice, clean = set(), set(), 0
    for row in range(claims.claims):
        seen, at = [row], backing[row]
        while at >= 0 and at not in seen:
            seen.append(at)
            at = backing[at]
        if at == row:
            on_cycle.add(row)
    for row, behind in enumerate(backing):
        if behind >= 0 and row not in on_cycle:
            if held.encumbered[behind] < held.quantity[behind]:
                twice.add((row, behind))
            else:
                clean += 1
                assert owner[row] == owner[behind]
                assert tokens[held.token[row]]["kind"] in ("receipt", "share")
    assert on_cycle == {row for group in claims.planted["backing_cycle"] for row in group}
    assert twice == set(map(tuple, claims.planted["backing_twice"]))
    assert clean > 50
    assert {len(group) for group in claims.planted["backing_cycle"]} == set(range(2, 8))
    for group in claims.planted["backing_cycle"]:
        assert [backing[row] for row in group] == [*group[1:], group[0]]


def test_recipes_go_round_for_the_planted_tokens_only(claims, held, tokens):
    of = {row["token"]: row["of"] for row in claims.references().recipes.to_pylist()}
    looped = set()
    for token in of:
        at, seen = of[token], set()
        while at in of and at not in seen and at != token:
            seen.add(at)
            at = of[at]
        looped |= {token} if at == token else set()
    assert {tokens[token]["token"] for token in looped} == {"ringA", "ringB", "ringC"}
    rows = np.flatnonzero(np.isin(held.token, list(looped))).tolist()
    assert rows == sorted(row for (row,) in claims.planted["recipe_cycle"])


def test_heights_are_final_but_for_the_planted_ones(claims, held, tokens):
    chains = {row["chain"]: row for row in claims.references().chains.to_pylist()}
    final = np.array([chains[token["chain"]]["finalised"] for token in tokens])[held.token]
    early = np.flatnonzero(held.height > final).tolist()
    late = np.flatnonzero(held.height < final).tolist()
    assert early == sorted(row for (row,) in claims.planted["not_final"])
    on = [tokens[token]["chain"] for token in held.token]
    roots = claims.planted["root_twice"]
    away = [group[1] for group in roots if len({on[row] for row in group}) > 1]
    assert 0 < len(away) < len(roots)
    assert late == sorted([*away, *(row for (row,) in claims.planted["height_skewed"])])
    assert (held.height[early] > chains["Ethereum"]["safe"]).all()
    block_time = np.array([chains[on[row]]["block_time"] for row in late])
    behind = (final - held.height)[late] * block_time
    assert (behind > timedelta(hours=23).total_seconds()).all()


def test_a_few_feeds_are_stale_or_deviate(claims):
    stale, away = set(), set()
    for row in claims.references().feeds.to_pylist():
        if (claims.as_of - row["oracle_time"]).total_seconds() > row["heartbeat"]:
            stale.add(row["asset"])
        if abs(row["market"] / row["oracle"] - 1.0) > 0.02:
            away.add(row["asset"])
    assert stale == set(STALE)
    assert away == set(DEVIATING)


def test_a_planted_account_has_one_fault(claims, owner):
    rows = [row for groups in claims.planted.values() for group in groups for row in group]
    assert len(rows) == len(set(rows)) == len(set(owner[rows].tolist()))


def test_groups_are_planned_over_blocks_and_grow_with_the_book():
    plan = plan_plants(5, np.ones(3 * ACCOUNTS, np.bool_), BLOCK_ACCOUNTS)
    size = Counter(plan.group.tolist())
    kind = dict(zip(plan.group.tolist(), plan.kind.tolist(), strict=True))
    number = Counter(kind.values())
    for plant, (least, most) in SIZES.items():
        assert {size[group] for group in kind if kind[group] == plant} == set(
            range(least, most + 1)
        )
        assert 3 * GROUPS[0] <= number[plant] < 3 * GROUPS[1]
    blocks = plan.account // BLOCK_ACCOUNTS
    spread = {group for group in kind if len(set(blocks[plan.group == group].tolist())) > 1}
    assert {kind[group] for group in spread} == {Plant.ROOT_TWICE, Plant.PROOF_TWICE}
    assert (np.diff(plan.account) > 0).all()


@pytest.mark.parametrize("accounts", [1, 2, 10, 100])
def test_small_books_hold_what_they_can(synthetic_book, market, tmp_path, accounts):
    claims = generate_claims(tmp_path / "c", synthetic_book(accounts), 1, market)
    rows = [row for groups in claims.planted.values() for group in groups for row in group]
    assert len(rows) <= 0.25 * accounts
    assert claims.claims >= accounts
    claims.verify()


def test_a_book_without_collateral_has_no_claims(market, tmp_path):
    with pytest.raises(ClaimsRefused, match=r"^EMPTY_INPUT"):
        generate_claims(tmp_path / "c", small_book(tmp_path / "book"), 1, market)


def test_a_market_of_another_instant_is_refused(book, market, tmp_path):
    later = replace(market, as_of=market.as_of + timedelta(hours=1))
    with pytest.raises(ValueError, match=r"^ASOF_MISMATCH"):
        generate_claims(tmp_path / "c", book, 1, later)


def test_claims_are_not_overwritten(claims, book, market):
    with pytest.raises(ClaimsExist):
        generate_claims(claims.path, book, 1, market)
