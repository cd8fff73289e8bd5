"""A cascade over all shards: rounds of selling and falling prices, until nothing more is sold."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import count

import numpy as np
from numpy.typing import NDArray

from risk.instruments import Instruments, MarketState
from risk.kernels.sums import UNIT, require_exact
from risk.revaluation import VolatilityTenor, revalue
from risk.scenarios.shocks import Shocks
from risk.systemic.cascade import Liquidated, Losses
from risk.systemic.impact import price_after
from risk.systemic.plan import StressPlan
from risk.systemic.pressure import delta_sold
from workers.engine import Engine
from workers.shards import Shard
from workers.stress.disruptions import Disruption
from workers.stress.scenarios import StressScenarios
from workers.stress.tasks import StressInputs, StressItem, settle_shard, stress_shard

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Ground:
    """What prices come from in every round; ``delta`` is of a unit of notional, ``(instrument,)``.

    ``volume`` and ``volatility`` are those of each coin, ``(coin,)``.
    """

    instruments: Instruments
    market: MarketState
    tenor: VolatilityTenor
    delta: Floats
    volume: Floats
    volatility: Floats


@dataclass(frozen=True, slots=True)
class Cascade:
    """What a batch of scenarios came to.

    By round, ``(scenario, round)``: ``sold`` USD of notional closed on the market, ``liquidated``
    accounts closed in part or whole, and ``price`` ``(coin, scenario, round)``, relative to first
    prices, with which the round began; NaN and -1 after the end. ``rounds`` ``(scenario,)`` in
    which something was sold, ``ended`` whether the cascade came to its end. ``sold_by_instrument``
    and ``taken_by_instrument`` ``(instrument, scenario)`` are signed notional. ``vault_pnl``
    ``(scenario,)``: what the vault gained by what it took. ``first`` and ``last``: losses at the
    prices of the scenario alone, without a liquidation, and at the end.
    """

    sold: Floats
    liquidated: NDArray[np.int64]
    price: Floats
    rounds: NDArray[np.int64]
    ended: NDArray[np.bool_]
    sold_by_instrument: Floats
    taken_by_instrument: Floats
    vault_pnl: Floats
    first: Losses
    last: Losses


def run_cascade(
    engine: Engine,
    inputs: StressInputs,
    shards: Sequence[Shard],
    scenarios: StressScenarios,
    ground: Ground,
    plan: StressPlan,
    told: Callable[[int], None] = lambda rounds: None,
    disruption: Disruption | None = None,
) -> Cascade:
    """Run the scenarios to the end of their cascades, all of them together, round by round.

    A ``disruption`` is that of all of them; a cascade goes on for a round after it is over.
    ``told`` is called with the accounts that a pass has gone through.
    """
    width, coins = len(scenarios), len(ground.volume)
    whole = scenarios.shocks
    cube = _cube(ground, whole, np.ones((coins, width)))
    items = [StressItem(s, Liquidated.nobody(s.stop - s.start, width)) for s in shards]
    end = None if disruption is None else disruption.backing_at_the_end()
    first = _losses(engine, replace(inputs, cube=cube, backing=end), items, told)
    total, taken = np.zeros(cube.shape), np.zeros(cube.shape)
    paid = np.zeros(width)
    active = np.ones(width, dtype=np.bool_)
    sold, liquidated, prices = [], [], []
    for number in count():
        come = min(number + 1, plan.cascade.steps) / plan.cascade.steps
        moves = part_of_shocks(whole, come)
        factor = _factor(total, ground, scenarios.depth, plan)
        if disruption is not None:
            factor = factor * disruption.price(number)[:, np.newaxis]
        prices.append((1.0 + moves.price.T) * factor)
        cube = _cube(ground, moves, factor)
        if not active.any() or number == plan.cascade.rounds:
            break
        behind = None if disruption is None else disruption.backing(number)
        shared = replace(inputs, cube=cube, active=active, backing=behind)
        closed, vault, hit, items = _round(engine, shared, items, told)
        total, taken = total + closed, taken + vault
        paid += _worth(vault, inputs.notional, cube)
        sold.append(np.where(active, np.abs(closed).sum(axis=0), np.nan))
        liquidated.append(np.where(active, hit, -1))
        if come == 1.0 and (disruption is None or number >= disruption.rounds):
            active = active & (np.abs(closed).sum(axis=0) >= max(plan.cascade.least, 1e-300))
    last = _losses(engine, replace(inputs, cube=cube, backing=end), items, told)
    by_round = np.array(sold).reshape(-1, width).T
    return Cascade(
        sold=by_round,
        liquidated=np.array(liquidated, dtype=np.int64).reshape(-1, width).T,
        price=np.stack(prices, axis=-1),
        rounds=(by_round > 0.0).sum(axis=1),
        ended=~active,
        sold_by_instrument=total,
        taken_by_instrument=taken,
        vault_pnl=_worth(taken, inputs.notional, cube) - paid,
        first=first,
        last=last,
    )


def _factor(total: Floats, ground: Ground, depth: Floats, plan: StressPlan) -> Floats:
    """Return what is left of each price after all that was sold, ``(coin, scenario)``."""
    coins = len(ground.volume)
    sold = delta_sold(total, ground.delta, ground.instruments.underlying, coins)
    return price_after(
        plan.impact, 1.0, sold, ground.volume[:, np.newaxis], ground.volatility[:, np.newaxis],
        depth,
    )  # fmt: skip


def _cube(ground: Ground, shocks: Shocks, factor: Floats) -> Floats:
    price = (1.0 + shocks.price) * factor.T - 1.0
    return revalue(ground.instruments, ground.market, replace(shocks, price=price), ground.tenor)


def part_of_shocks(shocks: Shocks, part: float) -> Shocks:
    """Return how much of the shocks has come, prices and volatilities in logarithms.

    >>> half = part_of_shocks(Shocks(*(np.array([[-0.75]]) for _ in range(4))), 0.5)
    >>> half.price.item(), half.forward_basis.item()
    (-0.5, -0.375)
    """
    if part == 1.0:
        return shocks
    return Shocks(
        price=(1.0 + shocks.price) ** part - 1.0,
        volatility=(1.0 + shocks.volatility) ** part - 1.0,
        perpetual_basis=part * shocks.perpetual_basis,
        forward_basis=part * shocks.forward_basis,
    )


def _worth(notional: Floats, unit: Floats, cube: Floats) -> Floats:
    """Return the P&L of positions of so much notional since first prices, ``(scenario,)``.

    In whole units, instrument by instrument: how many scenarios go together decides the order of
    a sum of floats, and so its last bits.
    """
    contracts = notional / np.where(unit > 0.0, unit, 1.0)[:, np.newaxis]
    worth = UNIT * np.rint(contracts * cube / UNIT)
    require_exact("vault", np.abs(worth).sum(axis=0))
    return np.asarray(worth.sum(axis=0))


def _round(
    engine: Engine,
    inputs: StressInputs,
    items: list[StressItem],
    told: Callable[[int], None],
) -> tuple[Floats, Floats, NDArray[np.int64], list[StressItem]]:
    """Send every shard through a round; sums are exact, so they may come in any order."""
    sold, taken = np.zeros(inputs.cube.shape), np.zeros(inputs.cube.shape)
    liquidated = np.zeros(inputs.cube.shape[1], dtype=np.int64)
    states: dict[int, Liquidated] = {}
    for result in engine.map(stress_shard, inputs, items):
        sold += result.round.sold
        taken += result.round.taken
        liquidated += result.round.liquidated
        states[result.index] = result.round.state
        told(len(result.round.state.row))
    for name, sums in (("sold", sold), ("taken", taken)):
        require_exact(name, sums)
    after = [StressItem(item.shard, states[item.shard.index]) for item in items]
    return sold, taken, liquidated, after


def _losses(
    engine: Engine, inputs: StressInputs, items: list[StressItem], told: Callable[[int], None]
) -> Losses:
    found: Losses | None = None
    for result in engine.map(settle_shard, inputs, items):
        one = result.losses
        told(items[result.index].shard.stop - items[result.index].shard.start)
        found = one if found is None else Losses(
            found.lost + one.lost,
            found.uncovered + one.uncovered,
            found.defaulted + one.defaulted,
            found.touched + one.touched,
        )  # fmt: skip
    if found is None:
        raise ValueError("a book without accounts cannot be stressed")
    return found
