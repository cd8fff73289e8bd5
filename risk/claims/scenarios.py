"""What each scenario does to assets and tokens: prices, pegs, bridges, chains, oracles, protocols.

Columns are now, then the scenarios of the market, then those of the pool's own rules.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from risk.claims.lookthrough import LookThrough, once
from risk.claims.rules import CASH, PoolRules, PoolScenario
from risk.claims.tokens import TokenNames, Tokens

Floats = NDArray[np.float64]
Marks = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Moves:
    """What scenarios do; every array has 1 + scenario columns, of which the first is now.

    ``held`` and ``owed`` ``(asset, column)``: what is left of a price where the asset is held and
    where it is owed. ``kept`` ``(token, column)``: what a token keeps of what it stands for, by
    itself. ``stopped`` ``(token, column)``: whether it lends no credit, by itself. ``weight``
    ``(scenario,)``: the part of the loss that a requirement answers for; ``scenario``: names.
    """

    scenario: tuple[str, ...]
    weight: Floats
    held: Floats
    owed: Floats
    kept: Floats
    stopped: Marks

    def __len__(self) -> int:
        return len(self.scenario)


def scenario_prices(scenarios: Sequence[PoolScenario], coins: Sequence[str]) -> Floats:
    """Return the price moves of the pool's scenarios by coin, ``(scenario, coin)``, for the cube.

    >>> fall = PoolScenario(name="f", title="t", weight=1, prices={"ETH": -0.5}, source="s")
    >>> scenario_prices([fall], ["BTC", "ETH"]).tolist()
    [[0.0, -0.5]]
    """
    moves = np.zeros((len(scenarios), len(coins)))
    for row, scenario in enumerate(scenarios):
        for coin, move in scenario.prices.items():
            if coin in coins:
                moves[row, coins.index(coin)] = move
    return moves


def scenario_moves(
    tokens: Tokens,
    names: TokenNames,
    found: LookThrough,
    rules: PoolRules,
    scenario: Sequence[str],
    coins: Sequence[str],
    price: Floats,
    weight: Floats,
) -> Moves:
    """Return what the scenarios of the market and of the rules do to a dataset's tokens.

    ``price`` ``(scenario, coin)`` are the relative moves of the market's scenarios, ``weight``
    ``(scenario,)`` what they count. An asset that no rule names keeps its price.

    Raises:
        ValueError: an asset of the dataset follows a coin that the market does not have, or two
            scenarios have one name.
    """
    own = rules.scenarios
    every = (*scenario, *(one.name for one in own))
    twice = sorted({name for name in every if every.count(name) > 1})
    if twice:
        raise ValueError(
            f"DUPLICATE_SCENARIO: {twice[0]!r} is named by the market and by the pool, or twice; "
            "every scenario needs its own name"
        )
    moves = np.concatenate([np.zeros((1, len(coins))), price, scenario_prices(own, coins)])
    held, owed = _prices(names, rules, coins, moves)
    kept, stopped = _failures(tokens, names, found, own)
    before = 1 + len(scenario)
    return Moves(
        scenario=every,
        weight=np.concatenate([weight, [one.weight for one in own]]),
        held=held,
        owed=owed,
        kept=np.concatenate([np.ones((len(tokens), before)), kept], axis=1),
        stopped=np.concatenate([np.zeros((len(tokens), before), np.bool_), stopped], axis=1),
    )


def _prices(
    names: TokenNames, rules: PoolRules, coins: Sequence[str], moves: Floats
) -> tuple[Floats, Floats]:
    """Return what is left of each asset's price, held and owed, ``(asset, column)`` each."""
    held = np.ones((len(names.asset), len(moves)))
    owed = held.copy()
    rule_of = {asset: rule for rule in rules.assets for asset in rule.assets}
    worst = np.minimum(moves.min(axis=1, initial=0.0), 0.0)
    for row, asset in enumerate(names.asset):
        rule = rule_of.get(asset)
        if rule is None:
            continue
        if rule.follows != CASH:
            if rule.follows not in coins:
                raise ValueError(
                    f"asset {asset!r} follows {rule.follows!r}, of which the market has no price; "
                    f"it has {list(coins)}"
                )
            owed[row] = 1.0 + moves[:, coins.index(rule.follows)]
        held[row] = owed[row]
        if rule.wrong_way is not None:
            held[row] = np.maximum(1.0 + rule.wrong_way * worst, 0.0)
    return held, owed


def _failures(
    tokens: Tokens, names: TokenNames, found: LookThrough, scenarios: Sequence[PoolScenario]
) -> tuple[Floats, Marks]:
    """Return what tokens keep and whether they are stopped, ``(token, pool scenario)`` each."""
    kept = np.ones((len(tokens), len(scenarios)))
    stopped = np.zeros(kept.shape, dtype=np.bool_)
    name = np.array(names.token, dtype=object)
    for column, scenario in enumerate(scenarios):
        for depegged, lost in scenario.depegs.items():
            falls = (name == depegged) | (tokens.asset == _row(names.asset, depegged))
            kept[once(tokens, found, falls), column] *= 1.0 - lost
        for bridge, recovered in scenario.bridges.items():
            kept[tokens.bridge == _row(names.bridge, bridge), column] *= recovered
        for protocol, lost in scenario.protocols.items():
            hit = once(tokens, found, tokens.protocol == _row(names.protocol, protocol))
            kept[hit, column] *= 1.0 - lost
        for chain in scenario.halted_chains:
            stopped[tokens.chain == _row(names.chain, chain), column] = True
        for asset in scenario.failed_oracles:
            stopped[tokens.asset == _row(names.asset, asset), column] = True
    return kept, stopped


NOT_THERE = -2
"""The row of a name that the dataset does not have; nothing is in it."""


def _row(names: Sequence[str], name: str) -> int:
    return names.index(name) if name in names else NOT_THERE
