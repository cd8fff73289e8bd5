"""Conversions as the contracts make them, against the numbers of their own tests."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from risk.claims.vaults import Vault, balance_of, scaled_balance_of, unwrapped
from risk.protocols.aave import RAY

TOKEN = 10**18

# OpenZeppelin/openzeppelin-contracts, test/token/ERC20/extensions/ERC4626.test.js, commit
# 007bfacb0ead, MIT: tables of the inflation attack and of the full vault, by decimals offset.
ATTACKED = [(0, 0), (6, 999_999_000_000_000_000), (18, 999_999_999_999_999_999)]


@pytest.mark.parametrize(("offset", "redeemable"), ATTACKED)
def test_who_deposits_after_an_inflation_attack(offset, redeemable):
    attacked = Vault(0, 0, offset).give(TOKEN)
    assert attacked.assets_of(attacked.shares_of(TOKEN)) == redeemable


@pytest.mark.parametrize("offset", [0, 6, 18])
def test_minting_after_an_inflation_attack_costs_a_fortune_but_nothing_is_lost(offset):
    attacked = Vault(0, 0, offset).give(TOKEN)
    cost, vault = attacked.mint(10 ** (18 + offset))
    assert cost == 1_000_000_000_000_000_001 * TOKEN
    assert vault.redeem(10 ** (18 + offset))[0] == cost


@pytest.mark.parametrize("offset", [0, 6, 18])
def test_a_vault_of_one_token_and_a_hundred_shares(offset):
    share = 10 ** (18 + offset)
    full = Vault(TOKEN, 100 * share, offset)
    assert full.assets_of(full.shares_of(TOKEN)) == 999_999_999_999_999_999
    assert full.mint(share)[0] == 10_000_000_000_000_001
    assert full.assets_of(share) == 10_000_000_000_000_000


@pytest.mark.parametrize("offset", [0, 6, 18])
def test_the_first_deposit_gets_a_share_for_a_token(offset):
    assert Vault(0, 0, offset).deposit(TOKEN)[0] == 10 ** (18 + offset)


def test_multiple_mint_deposit_redeem_and_withdrawal():
    """The sequence of the same file, which goes back to solmate's ERC4626.t.sol."""
    alice = bob = 0
    vault = Vault(0, 0)

    def worth() -> tuple[int, int, int, int]:
        return vault.assets_of(alice), vault.assets_of(bob), vault.total_shares, vault.total_assets

    cost, vault = vault.mint(2_000)
    alice += 2_000
    assert cost == 2_000
    assert worth() == (2_000, 0, 2_000, 2_000)
    cost, vault = vault.mint(4_000)
    bob += 4_000
    assert cost == 4_000
    assert worth() == (2_000, 4_000, 6_000, 6_000)
    vault = vault.give(3_000)
    assert worth() == (2_999, 5_999, 6_000, 9_000)
    shares, vault = vault.deposit(2_000)
    alice += shares
    assert shares == 1_333
    assert worth() == (4_999, 6_000, 7_333, 11_000)
    cost, vault = vault.mint(2_000)
    bob += 2_000
    assert cost == 3_000
    assert worth() == (4_999, 9_000, 9_333, 14_000)
    vault = vault.give(3_000)
    assert worth() == (6_070, 10_928, 9_333, 17_000)
    assets, vault = vault.redeem(1_333)
    alice -= 1_333
    assert assets == 2_427
    assert worth() == (3_643, 10_929, 8_000, 14_573)
    shares, vault = vault.withdraw(2_929)
    bob -= shares
    assert shares == 1_608
    assert worth() == (3_643, 8_000, 6_392, 11_644)
    shares, vault = vault.withdraw(3_643)
    alice -= shares
    assert shares == 2_000
    assert worth() == (0, 8_000, 4_392, 8_001)
    assets, vault = vault.redeem(4_392)
    bob -= 4_392
    assert assets == 8_000
    assert worth() == (0, 0, 0, 1)


vaults = st.builds(
    Vault, st.integers(0, 10**30), st.integers(0, 10**30), st.sampled_from([0, 3, 6, 18])
)


@given(vaults, st.integers(0, 10**30))
def test_nobody_gains_by_going_in_and_out(vault, assets):
    shares, after = vault.deposit(assets)
    assert after.redeem(shares)[0] <= assets
    cost, after = vault.mint(assets)
    assert after.redeem(assets)[0] <= cost


@given(vaults, st.integers(0, 10**30))
def test_rounding_is_by_less_than_one_unit_and_always_for_the_vault(vault, amount):
    for convert in (vault.shares_of, vault.assets_of):
        assert 0 <= convert(amount, up=True) - convert(amount) <= 1


@given(vaults, st.integers(1, 10**27))
def test_the_recipe_of_a_share_is_what_it_converts_to(vault, tokens):
    shares = tokens * 10**vault.decimals_offset
    exact = vault.assets_of(shares)  # rounded down
    assert exact * (1.0 - 1e-12) <= vault.recipe_units() * tokens < (exact + 1) * (1.0 + 1e-12)


def test_a_vault_gives_no_more_than_it_has():
    with pytest.raises(ValueError, match="total_assets is -1; allowed is a whole number"):
        Vault(10, 10).withdraw(11)


@pytest.mark.parametrize("value", [-1, 0.5, True])
def test_amounts_are_whole_and_not_negative(value):
    with pytest.raises(ValueError, match="allowed is a whole number of 0 up"):
        Vault(10, 10).shares_of(value)


def test_balances_in_rays_round_half_up():
    """aave-v3-core, WadRayMath: rayMul and rayDiv add half before they divide."""
    index = RAY + RAY // 2
    assert [balance_of(scaled, index) for scaled in (1, 2, 3)] == [2, 3, 5]
    assert [scaled_balance_of(amount, index) for amount in (1, 2, 3)] == [1, 1, 2]


@given(st.integers(0, 10**30), st.integers(RAY, 5 * RAY))
def test_a_balance_is_its_scaled_balance_again(scaled, index):
    assert scaled_balance_of(balance_of(scaled, index), index) == scaled


def test_an_index_never_lies_below_one():
    with pytest.raises(ValueError, match="index is 1; allowed is 10"):
        balance_of(1, 1)


def test_wrapped_staked_tokens_are_shares_rounded_down():
    assert unwrapped(3, 7, 2) == 10
    with pytest.raises(ValueError, match="nothing is staked"):
        unwrapped(1, 0, 0)
