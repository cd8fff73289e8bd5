"""What a unit of each token fetches and counts for, now and in each scenario.

Everything is decided once for a token, from base assets upwards: a token's credit is what its parts
count for, times what it keeps by itself. Sizes and caps are decided from totals over the whole
pool and hold for every unit alike, so nothing is gained by spreading.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from risk.claims.caps import BridgeUse, bridge_use, contained_value, least_asset_part
from risk.claims.findings import Bits, bit
from risk.claims.lookthrough import LookThrough, base_units, once
from risk.claims.rules import NONE, AssetRule, PoolRules
from risk.claims.scenarios import Moves
from risk.claims.tokens import Feeds, Outcome, TokenKind, TokenNames, Tokens
from risk.tiers import marginal_charge

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class UnitCredit:
    """Reporting currency of one unit of each token, ``(token, 1 + scenario)``; column 0 is now.

    ``value`` is what it would fetch, ``credit`` what it counts for; of a debt token both are what
    a unit owed costs, a positive number. ``ratio`` ``(token,)``: the part of its value that
    counts. ``kept``: what each kind of rule leaves of a token by itself, ``(token,)`` each; their
    product and that of what the token stands for is the ratio.
    """

    value: Floats
    credit: Floats
    ratio: Floats
    kept: dict[str, Floats]
    bridges: BridgeUse


def token_findings(
    tokens: Tokens, names: TokenNames, feeds: Feeds, rules: PoolRules, found: LookThrough
) -> Bits:
    """Return why units of tokens count for nothing, as bits of outcomes, ``(token,)``.

    A token has the findings of all that it stands for. Debts have none.

    Raises:
        ValueError: a debt that cannot be valued.
    """
    asset = _asset_findings(names, feeds, rules)
    base = tokens.asset >= 0
    bits = np.where(base, asset[np.maximum(tokens.asset, 0)], 0).astype(np.uint16)
    bridges = {name for rule in rules.bridges for name in rule.bridges}
    protocols = {name for rule in rules.protocols for name in rule.protocols}
    for row, listed, known in (
        (tokens.chain, names.chain, {rule.chain for rule in rules.chains}),
        (tokens.bridge, names.bridge, bridges),
        (tokens.protocol, names.protocol, protocols),
    ):
        unlisted = np.array([name != NONE and name not in known for name in listed])
        bits[unlisted[row]] |= np.uint16(bit(Outcome.NOT_LISTED))
    bits[found.on_cycle] |= np.uint16(bit(Outcome.RECIPE_CYCLE))
    for token in found.order.tolist():
        for of in tokens.parts(token)[0]:
            bits[token] |= bits[of]
    _require_debts(tokens, names, feeds, found, asset)
    bits[tokens.kind == TokenKind.DEBT] = 0
    return bits


def _asset_findings(names: TokenNames, feeds: Feeds, rules: PoolRules) -> Bits:
    rule_of = _rule_by_asset(rules)
    listed = np.array([asset in rule_of for asset in names.asset])
    bound = np.array(
        [
            rules.feeds.deviation
            if (rule := rule_of.get(asset)) is None or rule.deviation is None
            else rule.deviation
            for asset in names.asset
        ]
    )
    low, high = np.minimum(feeds.oracle, feeds.market), np.maximum(feeds.oracle, feeds.market)
    stale = (feeds.oracle_age > rules.feeds.heartbeats * feeds.heartbeat) | (
        feeds.market_age > rules.feeds.market_seconds
    )
    bits = np.zeros(len(names.asset), dtype=np.uint16)
    bits[~listed] |= np.uint16(bit(Outcome.NOT_LISTED))
    bits[stale] |= np.uint16(bit(Outcome.STALE_PRICE))
    bits[high - low > bound * low] |= np.uint16(bit(Outcome.PRICE_DEVIATES))
    return bits


def _require_debts(
    tokens: Tokens, names: TokenNames, feeds: Feeds, found: LookThrough, asset: Bits
) -> None:
    """Refuse debts that have no value, for they would count as nothing owed."""
    high = np.maximum(feeds.oracle, feeds.market)
    for token in np.flatnonzero(tokens.kind == TokenKind.DEBT).tolist():
        if found.on_cycle[token]:
            raise ValueError(
                f"DEBT_WITHOUT_VALUE: debt token {names.token[token]!r} leads round in a circle "
                "of recipes; mend its recipe, a debt cannot be left out"
            )
        for row in found.asset[found.offsets[token] : found.offsets[token + 1]].tolist():
            if high[row] == 0.0 or asset[row] & bit(Outcome.NOT_LISTED):
                missing = "price" if high[row] == 0.0 else "rule"
                raise ValueError(
                    f"DEBT_WITHOUT_VALUE: debt token {names.token[token]!r} is owed in "
                    f"{names.asset[row]!r}, which has no {missing}; give one, a debt cannot be "
                    "left out"
                )


def unit_credit(
    tokens: Tokens,
    names: TokenNames,
    feeds: Feeds,
    rules: PoolRules,
    totals: Floats,
    moves: Moves,
    found: LookThrough,
) -> UnitCredit:
    """Return what a unit of each token fetches and counts for, now and in each scenario.

    ``totals`` ``(token,)`` are the units that count over the whole pool. Assets are taken at the
    lower of two prices, debts at the higher. Findings on a token, halted chains and failed oracles
    leave its value and take its credit.

    Raises:
        ValueError: a debt that cannot be valued.
    """
    value = _values(tokens, found, feeds, moves)
    owed = tokens.kind == TokenKind.DEBT
    held = np.where(owed, 0.0, totals)
    quantity = base_units(found, held, len(names.asset))
    size = np.append(_asset_ratio(names, rules, quantity), 1.0)  # row -1: of no asset by itself
    kept = {"size": size[tokens.asset]} | _kept_by_rules(tokens, names, rules, found)
    uncapped = _ratios(tokens, found, _product(kept))
    resting = contained_value(tokens, found, held, value[:, 0]) * uncapped
    low = np.minimum(feeds.oracle, feeds.market)
    use = bridge_use(tokens, names, rules, found, resting, low)
    kept["bridge cap"] = use.part[tokens.bridge]
    kept["asset cap"] = least_asset_part(tokens, found, use)
    ratio = _ratios(tokens, found, _product(kept))
    ratio[token_findings(tokens, names, feeds, rules, found) != 0] = 0.0
    ratio[owed] = 1.0
    credit = value * ratio[:, np.newaxis]
    credit[_stopped(tokens, found, moves)] = 0.0
    return UnitCredit(value, credit, ratio, kept, use)


def _rule_by_asset(rules: PoolRules) -> dict[str, AssetRule]:
    return {asset: rule for rule in rules.assets for asset in rule.assets}


def _asset_ratio(names: TokenNames, rules: PoolRules, quantity: Floats) -> Floats:
    """Return the part of each asset that counts at its pool-wide quantity, ``(asset,)``."""
    rule_of = _rule_by_asset(rules)
    ratio = np.zeros(len(names.asset))
    for row, asset in enumerate(names.asset):
        rule = rule_of.get(asset)
        if rule is not None:
            ratio[row] = kept_of_quantity(rule, float(quantity[row]))
    return ratio


def kept_of_quantity(rule: AssetRule, quantity: float) -> float:
    """Return the part of a pool-wide quantity that counts, over the marginal tiers of a rule.

    >>> tiers = [{"up_to": 10.0, "haircut": 0.2}, {"haircut": 0.5}]
    >>> rule = AssetRule(assets=("ETH",), follows="ETH", tiers=tiers, source="example")
    >>> [round(kept_of_quantity(rule, quantity), 12) for quantity in (0.0, 10.0, 20.0)]
    [0.8, 0.8, 0.65]
    """
    haircuts = [tier.haircut for tier in rule.tiers]
    if quantity == 0.0:
        return 1.0 - haircuts[0]
    ends = [tier.up_to for tier in rule.tiers if tier.up_to is not None]
    ends.append(2.0 * ends[-1] if ends else 1.0)  # what exceeds the last end has the last rate
    return 1.0 - float(marginal_charge(quantity, ends, haircuts)) / quantity


def _kept_by_rules(
    tokens: Tokens, names: TokenNames, rules: PoolRules, found: LookThrough
) -> dict[str, Floats]:
    """Return what a token keeps by its own name, chain, bridge and protocol, ``(token,)`` each."""
    labelled = {
        "token": np.array(names.token, dtype=object),
        "chain": np.array(names.chain, dtype=object)[tokens.chain],
        "bridge": np.array(names.bridge, dtype=object)[tokens.bridge],
        "protocol": np.array(names.protocol, dtype=object)[tokens.protocol],
    }
    haircuts = {
        "token": {name: rule.haircut for rule in rules.tokens for name in rule.tokens},
        "chain": {rule.chain: rule.haircut for rule in rules.chains},
        "bridge": {name: rule.haircut for rule in rules.bridges for name in rule.bridges},
        "protocol": {name: rule.haircut for rule in rules.protocols for name in rule.protocols},
    }
    kept = {what: np.ones(len(tokens)) for what in labelled}
    for what, label in labelled.items():
        for name, haircut in haircuts[what].items():
            if haircut > 0.0:
                kept[what][once(tokens, found, label == name)] = 1.0 - haircut
    return kept


def _product(kept: Mapping[str, Floats]) -> Floats:
    return np.asarray(np.multiply.reduce(list(kept.values())))


def _values(tokens: Tokens, found: LookThrough, feeds: Feeds, moves: Moves) -> Floats:
    """Return what a unit fetches, or costs where it is owed, ``(token, column)``."""
    low = np.minimum(feeds.oracle, feeds.market)[:, np.newaxis] * moves.held
    high = np.maximum(feeds.oracle, feeds.market)[:, np.newaxis] * moves.owed
    held = np.zeros((len(tokens), low.shape[1]))
    owed = held.copy()
    for token in found.order.tolist():
        of, units = tokens.parts(token)
        if not len(of):
            held[token], owed[token] = low[tokens.asset[token]], high[tokens.asset[token]]
        elif len(of) == 1:
            held[token], owed[token] = units[0] * held[of[0]], units[0] * owed[of[0]]
        else:
            held[token], owed[token] = fair_value(units, held[of]), fair_value(units, owed[of])
        held[token] *= moves.kept[token]
    return np.where((tokens.kind == TokenKind.DEBT)[:, np.newaxis], owed, held)


def fair_value(reserves: Floats, price: Floats) -> Floats:
    """Return the fair value of a unit of liquidity in a constant product pool.

    ``reserves`` ``(2,)`` per unit, ``price`` ``(2, column)``: 2 sqrt(r0 r1 p0 p1). Who moves the
    reserves along their product does not move it; at spot they are worth no less.

    >>> fair_value(np.array([1.0, 100.0]), np.array([[100.0, 400.0], [1.0, 1.0]])).tolist()
    [200.0, 400.0]
    """
    return np.asarray(2.0 * np.sqrt(reserves[0] * reserves[1] * price[0] * price[1]))


def _ratios(tokens: Tokens, found: LookThrough, own: Floats) -> Floats:
    """Return the part of a token's value that counts; half of liquidity is of either part."""
    ratio = np.zeros(len(tokens))
    for token in found.order.tolist():
        of, _ = tokens.parts(token)
        ratio[token] = own[token] * (ratio[of].mean() if len(of) else 1.0)
    return ratio


def _stopped(tokens: Tokens, found: LookThrough, moves: Moves) -> NDArray[np.bool_]:
    """Return where a token or something in it is stopped, ``(token, column)``; never a debt."""
    stopped = moves.stopped.copy()
    for token in found.order.tolist():
        for of in tokens.parts(token)[0]:
            stopped[token] |= stopped[of]
    stopped[tokens.kind == TokenKind.DEBT] = False
    return stopped
