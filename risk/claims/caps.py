"""Caps on the credit that rests on a bridge, and on a base asset over it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from risk.claims.lookthrough import LookThrough
from risk.claims.rules import PoolRules
from risk.claims.tokens import TokenNames, Tokens

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class BridgeUse:
    """Credit that rests on each bridge before caps, and the part of it that counts.

    ``credit`` and ``part`` are ``(bridge,)``, ``asset_credit`` and ``asset_part``
    ``(bridge, asset)``.
    """

    credit: Floats
    part: Floats
    asset_credit: Floats
    asset_part: Floats


def bridge_use(
    tokens: Tokens,
    names: TokenNames,
    rules: PoolRules,
    found: LookThrough,
    resting: Floats,
    price: Floats,
) -> BridgeUse:
    """Return the credit on each bridge, and what of it is within the caps.

    ``resting`` ``(token,)`` is the credit on each token, held or inside of what is held. Of a
    token with several base assets it is shared by their worth at ``price`` ``(asset,)``.
    """
    asset_credit = np.zeros((len(names.bridge), len(names.asset)))
    for token in np.flatnonzero((tokens.bridge > 0) & (resting > 0.0)).tolist():
        rows = slice(found.offsets[token], found.offsets[token + 1])
        worth = found.units[rows] * price[found.asset[rows]]
        share = worth / worth.sum()
        np.add.at(asset_credit[tokens.bridge[token]], found.asset[rows], share * resting[token])
    cap = np.full(len(names.bridge), np.inf)
    asset_cap = np.full(asset_credit.shape, np.inf)
    for rule in rules.bridges:
        caps = [rule.asset_caps.get(asset, rule.asset_cap) for asset in names.asset]
        for row, name in enumerate(names.bridge):
            if name in rule.bridges:
                cap[row], asset_cap[row] = rule.cap, caps
    asset_part = _within(asset_credit, asset_cap)
    left = np.asarray((asset_credit * asset_part).sum(axis=1))
    return BridgeUse(asset_credit.sum(axis=1), _within(left, cap), asset_credit, asset_part)


def _within(amount: Floats, cap: Floats) -> Floats:
    over = amount > cap
    return np.where(over, cap / np.where(over, amount, 1.0), 1.0)


def least_asset_part(tokens: Tokens, found: LookThrough, use: BridgeUse) -> Floats:
    """Return the least part of any base asset of a token on its bridge, ``(token,)``."""
    least = np.ones(len(tokens))
    owner = np.repeat(np.arange(len(tokens)), np.diff(found.offsets))
    np.minimum.at(least, owner, use.asset_part[tokens.bridge[owner], found.asset])
    return least


def contained_value(tokens: Tokens, found: LookThrough, quantity: Floats, value: Floats) -> Floats:
    """Return the value that rests on each token, held or inside of what is held, ``(token,)``.

    Half of the value of liquidity rests on either part.
    """
    resting = np.where(found.on_cycle, 0.0, quantity * value)
    for token in found.order[::-1].tolist():
        of, _ = tokens.parts(token)
        for one in of:
            resting[one] += resting[token] / len(of)
    return resting
