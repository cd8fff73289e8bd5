from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from risk.claims.lookthrough import base_units, contained_units, look_through
from risk.claims.tokens import TokenKind, Tokens
from tests.risk.claims.tokens_made import Made, random_tokens


def parts_of(tokens: Tokens, token: int) -> list[tuple[int, float]]:
    rows = slice(*tokens.recipe_offsets[token : token + 2])
    return list(zip(tokens.recipe_token[rows], tokens.recipe_units[rows], strict=True))


def paths_to_base(tokens: Tokens, token: int) -> dict[int, float]:
    """The slow twin: every path of recipes down to a base asset, one after the other."""
    if tokens.asset[token] >= 0:
        return {int(tokens.asset[token]): 1.0}
    total: dict[int, float] = {}
    for of, units in parts_of(tokens, token):
        for asset, amount in paths_to_base(tokens, of).items():
            total[asset] = total.get(asset, 0.0) + units * amount
    return total


@given(random_tokens())
def test_every_token_comes_to_what_its_paths_come_to(tokens):
    found = look_through(tokens)
    assert not found.cycles
    assert not found.on_cycle.any()
    for token in range(len(tokens)):
        rows = slice(*found.offsets[token : token + 2])
        got = dict(zip(found.asset[rows].tolist(), found.units[rows].tolist(), strict=True))
        assert got == paths_to_base(tokens, token)  # units are dyadic, so sums are exact


@given(random_tokens(), st.data())
def test_value_is_conserved_at_every_level_and_over_all_claims(tokens, data):
    """What a token is worth by its recipe is what it is worth by its base assets."""
    found = look_through(tokens)
    assets = int(tokens.asset.max()) + 1
    prices = np.array(data.draw(st.lists(st.integers(1, 64), min_size=assets, max_size=assets)))
    owner = np.repeat(np.arange(len(tokens)), np.diff(found.offsets))
    value = np.bincount(owner, found.units * prices[found.asset], minlength=len(tokens))
    for token in range(len(tokens)):
        if tokens.asset[token] < 0:
            assert value[token] == sum(units * value[of] for of, units in parts_of(tokens, token))
    quantity = np.array(
        data.draw(st.lists(st.integers(0, 99), min_size=len(tokens), max_size=len(tokens))),
        dtype=np.float64,
    )
    assert base_units(found, quantity, assets) @ prices == quantity @ value


@given(random_tokens(), st.data())
def test_what_is_inside_of_all_claims_is_counted_at_every_level(tokens, data):
    found = look_through(tokens)
    drawn = data.draw(st.lists(st.integers(0, 9), min_size=len(tokens), max_size=len(tokens)))
    quantity = np.array(drawn, dtype=np.float64)
    contained = contained_units(tokens, found, quantity)
    assets = int(tokens.asset.max()) + 1
    base = tokens.asset >= 0
    by_asset = np.bincount(tokens.asset[base], contained[base], minlength=assets)
    assert by_asset.tolist() == base_units(found, quantity, assets).tolist()


@given(random_tokens(circular=True))
def test_circles_are_named_and_come_to_nothing(tokens):
    found = look_through(tokens)
    for circle in found.cycles:
        assert circle[0] == min(circle)
        following = (*circle[1:], circle[0])
        for token, of in zip(circle, following, strict=True):
            assert of in [part for part, _ in parts_of(tokens, token)]
    named = {token for circle in found.cycles for token in circle}
    assert named == {t for t in range(len(tokens)) if t in below(tokens, t)}
    reaches = {t for t in range(len(tokens)) if walks_round(tokens, t)}
    assert set(np.flatnonzero(found.on_cycle).tolist()) == reaches
    assert (np.diff(found.offsets)[found.on_cycle] == 0).all()
    assert bool(found.cycles) == bool(reaches)
    contained = contained_units(tokens, found, np.ones(len(tokens)))
    assert (contained[found.on_cycle] == 0.0).all()


def below(tokens: Tokens, token: int) -> set[int]:
    """The slow twin: all that a token stands for, at any depth."""
    found: set[int] = set()
    for _ in range(len(tokens) + 1):
        found |= {int(of) for one in {token, *found} for of, _ in parts_of(tokens, one)}
    return found


def walks_round(tokens: Tokens, token: int) -> bool:
    """The slow twin: whether some walk down the recipes is longer than there are tokens."""
    level = {token}
    for _ in range(len(tokens) + 1):
        level = {int(of) for one in level for of, _ in parts_of(tokens, one)}
    return bool(level)


@pytest.mark.parametrize("length", [1, 2, 3, 7])
def test_a_circle_of_any_length_is_found_with_what_stands_for_it(length):
    made = Made().coin("ETH")
    for one in range(length):
        made.add(f"ring{one}", TokenKind.SHARE, [(f"ring{(one + 1) % length}", 1.0)])
    made.add("outside", TokenKind.RECEIPT, [("ring0", 1.0)])
    made.add("fine", TokenKind.STAKED, [("ETH", 1.1)])
    tokens, names = made.build()
    found = look_through(tokens)
    assert found.cycles == (tuple(range(1, length + 1)),)
    on_cycle = [names.token[row] for row in np.flatnonzero(found.on_cycle)]
    assert on_cycle == [*(f"ring{one}" for one in range(length)), "outside"]


def test_two_circles_that_share_no_token_are_both_named():
    made = Made().coin("ETH")
    for one, other in (("a", "b"), ("b", "a"), ("c", "d"), ("d", "c")):
        made.add(one, TokenKind.SHARE, [(other, 1.0)])
    assert look_through(made.build()[0]).cycles == ((1, 2), (3, 4))


def test_only_tokens_on_a_circle_are_searched(monkeypatch):
    """A line of tokens leads into a circle of two; looking at each once for each is too much."""
    count = 20_000
    stands_for = np.arange(1, count + 1, dtype=np.int32)
    stands_for[-1] = count - 2
    none = np.zeros(count, np.int32)
    tokens = Tokens(
        kind=np.full(count, TokenKind.SHARE, np.int8),
        asset=none - 1, chain=none, protocol=none, bridge=none,
        recipe_offsets=np.arange(count + 1), recipe_token=stands_for,
        recipe_units=np.ones(count),
    )  # fmt: skip
    looked, parts = [], Tokens.parts
    monkeypatch.setattr(Tokens, "parts", lambda *at: looked.append(at[1]) or parts(*at))
    found = look_through(tokens)
    assert found.cycles == ((count - 2, count - 1),)
    assert found.on_cycle.all()
    assert looked == [count - 2, count - 1]


BAD = [
    ({"recipe_units": np.array([0.0])}, "token 1 stands for 0.0 units"),
    ({"recipe_units": np.array([np.nan])}, "token 1 stands for nan units"),
    ({"recipe_token": np.array([2], np.int32)}, "token 1 stands for token 2"),
    ({"kind": np.array([1, 7], np.int8)}, "token 1 has the wrong number of parts"),
    ({"kind": np.array([1, 9], np.int8)}, "token 1 is of no known kind"),
    ({"asset": np.array([-1, -1], np.int32)}, "token 0 needs a base asset"),
    ({"recipe_offsets": np.array([0, 0, 2])}, "recipes end at 2"),
]


@pytest.mark.parametrize(("change", "message"), BAD)
def test_tokens_that_make_no_sense_are_refused(change, message):
    tokens, _ = Made().coin("ETH").add("s", TokenKind.SHARE, [("ETH", 1.0)]).build()
    with pytest.raises(ValueError, match=message):
        replace(tokens, **change)


def test_nothing_may_stand_for_a_debt():
    made = Made().coin("ETH").add("owed", TokenKind.DEBT, [("ETH", 1.0)])
    with pytest.raises(ValueError, match="token 2 stands for debt token 1"):
        made.add("held", TokenKind.RECEIPT, [("owed", 1.0)]).build()
