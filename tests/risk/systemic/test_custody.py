"""With what accounts pay: the kernel is its slow twin, and issuers are those of the recipes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from risk.claims.issuers import token_issuers
from risk.claims.lookthrough import look_through
from risk.claims.tokens import TokenNames, Tokens
from risk.kernels.sums import UNIT
from risk.systemic.custody import ClaimWorth, HeldClaims, share_out
from risk.systemic.disruptions import CollateralMove, token_factors
from risk.systemic.settlement import settle
from risk.systemic.stressed import Liquidated, StressedAccounts

SCENARIOS, TOKENS, ISSUERS = 3, 4, 3
PART = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.5, 0.5], [0.0, 0.0, 0.0]])
"""The last token is a debt."""


def units(amount):
    return float(np.rint(amount / UNIT))


def slow(accounts, state, cube, claims, worth, groups):
    """The same, account by account and claim by claim."""
    paid, held = np.zeros((2, groups, ISSUERS, SCENARIOS))
    bad = np.zeros((ISSUERS, SCENARIOS))
    for account, owner in enumerate(accounts.group.tolist()):
        if owner < 0:
            continue
        positions = slice(accounts.offsets[account], accounts.offsets[account + 1])
        pnl = accounts.quantity[positions] @ cube[accounts.instrument[positions]]
        k = state.row[account]
        gained = pnl if k < 0 else state.cash[k] + state.remaining[k] * pnl
        rows = np.arange(claims.offsets[account], claims.offsets[account + 1])
        for s in range(SCENARIOS):
            lies = np.zeros(ISSUERS)
            for market in sorted(set(claims.market[rows].tolist())):
                inside = rows[claims.market[rows] == market]
                debts = inside[worth.is_debt[claims.token[inside]]]
                receipts = inside[~worth.is_debt[claims.token[inside]]]
                value = worth.value[claims.token[receipts]] * claims.held[receipts, np.newaxis]
                debt = worth.value[claims.token[debts]] * claims.owed[debts, np.newaxis]
                backs, owes = value.sum(axis=0), debt.sum(axis=0)
                if market < 0:
                    owes = 0.0 * owes
                if owes[s + 1] > backs[s + 1]:
                    if owes[0] <= backs[0]:
                        bad[worth.lender[market], s] += units(owes[s + 1] - backs[s + 1])
                elif backs[s + 1] > 0.0:
                    left = 1.0 - owes[s + 1] / backs[s + 1]
                    lies += left * value[:, s + 1] @ worth.part[claims.token[receipts]]
            pays, equity = 0.0, accounts.backing[account]
            if gained[s] < 0.0:
                beyond = equity + gained[s] if equity > 0.0 else gained[s]
                pays = -units(gained[s]) + (units(beyond) if equity + gained[s] < 0.0 else 0.0)
            due = pays
            for i in range(1, ISSUERS):
                share = np.rint(due * lies[i] / lies.sum()) if lies.sum() > 0.0 else 0.0
                taken = min(share, units(lies[i]), pays)
                paid[owner, i, s] += taken
                held[owner, i, s] += units(lies[i]) - taken
                pays -= taken
            paid[owner, 0, s] += pays
    return UNIT * paid, UNIT * held, UNIT * bad


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1))
def test_the_kernel_is_its_slow_twin(seed):
    draw = np.random.default_rng(seed)
    size = int(draw.integers(1, 12))
    positions, claimed = draw.integers(0, 4, size), draw.integers(0, 6, size)
    accounts = StressedAccounts(
        offsets=np.concatenate([[0], np.cumsum(positions)]),
        instrument=draw.integers(0, 2, positions.sum()).astype(np.int32),
        quantity=draw.integers(-9, 10, positions.sum()).astype(float),
        equity=draw.integers(-20, 200, size).astype(float),
        maintenance=np.zeros(size),
        group=draw.integers(-1, 2, size).astype(np.int32),
        impaired=-draw.integers(0, 150, size) * float(draw.random() < 0.5),
    )
    row = np.where(draw.random(size) < 0.4, 0, -1)
    row[row == 0] = np.arange((row == 0).sum())
    state = Liquidated(
        row,
        draw.integers(0, 5, ((row >= 0).sum(), SCENARIOS)) / 4,
        draw.integers(-90, 40, ((row >= 0).sum(), SCENARIOS)).astype(float),
    )
    cube = draw.integers(-20, 20, (2, SCENARIOS)).astype(float)
    offsets = np.concatenate([[0], np.cumsum(claimed)])
    market = draw.integers(0, 2, claimed.sum())
    token = draw.integers(0, TOKENS, claimed.sum())
    order = np.lexsort((market, np.repeat(np.arange(size), claimed)))
    # Outside of markets claims stand alone.
    claims = HeldClaims(
        offsets=offsets,
        token=token.astype(np.int32),
        held=draw.integers(0, 9, claimed.sum()) / 2,
        owed=draw.integers(0, 9, claimed.sum()) / 2,
        market=np.where(draw.random() < 0.3, -1, market[order]).astype(np.int32),
    )
    worth = ClaimWorth(
        value=draw.integers(0, 40, (TOKENS, SCENARIOS + 1)) / 4,
        is_debt=np.arange(TOKENS) == 3,
        part=PART,
        lender=np.array([1, 2]),
    )
    found = share_out(accounts, state, cube, claims, worth, 2)
    paid, held, bad = slow(accounts, state, cube, claims, worth, 2)
    # A unit apart where a share is a half, for sums of floats are in another order.
    np.testing.assert_allclose(found.paid, paid, atol=size * UNIT)
    np.testing.assert_allclose(found.held, held, atol=size * UNIT)
    np.testing.assert_allclose(found.bad_debt, bad, atol=size * UNIT)
    losses = settle(accounts, state, cube, 2)
    np.testing.assert_array_equal(found.paid.sum(axis=1) + losses.uncovered, losses.lost_by_group)


def a_coin_and_what_stands_for_it():
    """A coin on Home, it over a bridge on Away, a wrapper of that, a share of the wrapper, a debt.

    And cash, and a pool of the wrapper and cash.
    """
    tokens = Tokens(
        kind=np.array([1, 6, 5, 3, 8, 0, 7], np.int8),
        asset=np.array([0, -1, -1, -1, -1, 1, -1], np.int32),
        chain=np.array([1, 2, 2, 2, 2, 0, 2], np.int32),
        protocol=np.array([0, 0, 0, 1, 1, 0, 1], np.int32),
        bridge=np.array([0, 1, 0, 0, 0, 0, 0], np.int32),
        recipe_offsets=np.array([0, 0, 1, 2, 3, 4, 4, 6]),
        recipe_token=np.array([0, 1, 2, 1, 2, 5], np.int32),
        recipe_units=np.ones(6),
    )
    names = TokenNames(
        token=("COIN", "COIN.b", "WCOIN", "sCOIN", "debtCOIN", "CASH", "LP"),
        asset=("COIN", "CASH"),
        chain=("none", "Home", "Away"),
        protocol=("none", "vault"),
        bridge=("none", "bridge"),
    )
    return tokens, names


@pytest.mark.parametrize(
    ("move", "kept"),
    [
        # By asset at the root; by chain at what is innermost there, once; by name; by protocol.
        ({"assets": ("COIN",)}, [0.5, 1, 1, 1, 1, 1, 1]),
        ({"chains": ("Away",)}, [1, 0.5, 1, 1, 1, 1, 1]),
        ({"assets": ("COIN",), "chains": ("Away",)}, [1, 0.5, 1, 1, 1, 1, 1]),
        ({"assets": ("WCOIN",)}, [1, 1, 0.5, 1, 1, 1, 1]),
        ({"protocols": ("vault",)}, [1, 1, 1, 0.5, 1, 1, 0.5]),
        ({"assets": ("COIN",), "protocols": ("vault",)}, [1, 1, 1, 0.5, 1, 1, 1]),
    ],
)
def test_a_move_of_collateral_befalls_a_token_once(move, kept):
    tokens, names = a_coin_and_what_stands_for_it()
    moves = (CollateralMove(**move, move=-0.5),)
    assert token_factors(moves, tokens, names, look_through(tokens)).tolist() == kept


def test_a_move_that_means_no_token_is_refused():
    tokens, names = a_coin_and_what_stands_for_it()
    gone = (CollateralMove(assets=("GOLD",), move=-0.5),)
    with pytest.raises(ValueError, match="means no token of the claims; it has chains"):
        token_factors(gone, tokens, names, look_through(tokens))


def test_issuers_are_those_of_the_recipes():
    # A coin on a chain, the coin over a bridge, a plain wrapper of that, a protocol's share of the
    # wrapper, a share of that share by the same protocol, liquidity of the wrapper and the coin.
    tokens = Tokens(
        kind=np.array([1, 6, 5, 3, 3, 7], np.int8),
        asset=np.array([0, -1, -1, -1, -1, -1], np.int32),
        chain=np.array([1, 2, 2, 2, 2, 2], np.int32),
        protocol=np.array([0, 0, 0, 1, 1, 2], np.int32),
        bridge=np.array([0, 1, 0, 0, 0, 0], np.int32),
        recipe_offsets=np.array([0, 0, 1, 2, 3, 4, 6]),
        recipe_token=np.array([0, 1, 2, 3, 2, 0], np.int32),
        recipe_units=np.ones(6),
    )
    names = TokenNames(
        ("C", "bC", "wC", "S", "SS", "LP"), ("C",), ("none", "one", "two"),
        ("none", "vault", "pool"), ("none", "span"),
    )  # fmt: skip
    found = token_issuers(tokens, names, look_through(tokens))
    assert found.names == ("custody", "vault", "pool", "span", "one", "two")
    named = [
        {found.names[i]: part for i, part in enumerate(row) if part} for row in found.part.tolist()
    ]
    assert named == [
        {"one": 1.0}, {"span": 1.0}, {"span": 1.0}, {"vault": 1.0}, {"vault": 1.0}, {"pool": 1.0},
    ]  # fmt: skip
    value = np.zeros((6, 1))
    value[4:] = [[10.0], [8.0]]
    (resting,) = found.resting(value)
    links = {
        (found.names[lower], found.names[upper]): amount
        for (lower, upper), amount in np.ndenumerate(resting)
        if amount
    }
    # Of 8 of liquidity 4 came over the bridge, and 4 lie on the chain; the bridge rests on it too.
    assert links == pytest.approx(
        {
            ("span", "vault"): 10.0,
            ("span", "pool"): 4.0,
            ("one", "pool"): 4.0,
            ("one", "span"): 14.0,
        }
    )


def test_values_of_other_scenarios_are_refused():
    accounts = StressedAccounts(
        *(np.zeros(1, np.int64), np.zeros(0, np.int32)), *(np.zeros(0) for _ in range(3)),
        np.zeros(0, np.int32),
    )  # fmt: skip
    claims = HeldClaims(
        np.zeros(1, np.int64),
        np.zeros(0, np.int32),
        np.zeros(0),
        np.zeros(0),
        np.zeros(0, np.int32),
    )
    worth = ClaimWorth(np.zeros((4, 2)), np.zeros(4, np.bool_), PART, np.zeros(0, np.int64))
    with pytest.raises(ValueError, match="value is of 2 states; allowed is now and 3 scenarios"):
        share_out(accounts, Liquidated.nobody(0, 3), np.zeros((2, 3)), claims, worth, 1)
