"""A cascade over all shards: rounds of selling and falling prices, until nothing more is sold."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from risk.kernels.sums import UNIT, require_exact
from risk.scenarios.multiples import part_of_shocks
from risk.systemic.custody import Custody
from risk.systemic.plan import StressPlan
from risk.systemic.prices import Ground, cube_at, price_factor, unit_now
from risk.systemic.settlement import Losses
from risk.systemic.stressed import SIDES, Liquidated
from workers.engine import Engine
from workers.shards import Shard
from workers.stress.custody import IssuedClaims, share_custody
from workers.stress.deleveraging import Deleveraged, deleverage_cascade
from workers.stress.disruptions import Disruption
from workers.stress.order import turns
from workers.stress.scenarios import StressScenarios
from workers.stress.tasks import StressInputs, StressItem, settle_shard, stress_shard

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Cascade:
    """What a batch of scenarios came to.

    By round, ``(scenario, round)``: ``sold`` USD of notional closed on the market, ``liquidated``
    accounts closed in part or whole, and ``price`` ``(coin, scenario, round)``, relative to first
    prices, with which the round began; NaN and -1 after the end. ``rounds`` ``(scenario,)`` in
    which something was sold, ``ended`` whether the cascade came to its end. ``sold_by_instrument``
    and ``taken_by_instrument`` ``(instrument, scenario)`` are signed notional. ``vault_pnl``
    ``(scenario,)``: what the vault gained by what it took, with what ``winners`` gave up for it.
    ``loss`` ``(scenario,)``: of accounts that lose and of the vault, and what winners gave up out
    of gains, which is in no account's loss. ``first`` and ``last``: losses at the prices of the
    scenario alone, without a liquidation, and at the end. ``custody``: with what accounts pay,
    where their claims are known.
    """

    sold: Floats
    liquidated: NDArray[np.int64]
    price: Floats
    rounds: NDArray[np.int64]
    ended: NDArray[np.bool_]
    sold_by_instrument: Floats
    taken_by_instrument: Floats
    vault_pnl: Floats
    winners: Deleveraged
    loss: Floats
    first: Losses
    last: Losses
    custody: Custody | None


class Summed(NamedTuple):
    """A round over all shards; fields as those of ``risk.systemic.cascade.Round``."""

    sold: Floats
    taken: Floats
    handed: Floats
    liquidated: NDArray[np.int64]


def run_cascade(
    engine: Engine,
    inputs: StressInputs,
    shards: Sequence[Shard],
    scenarios: StressScenarios,
    ground: Ground,
    plan: StressPlan,
    claims: IssuedClaims | None = None,
    told: Callable[[int], None] = lambda rounds: None,
    disruption: Disruption | None = None,
) -> Cascade:
    """Run the scenarios to the end of their cascades, all of them together, round by round.

    A ``disruption`` is that of all of them; a cascade goes on for a round after it is over.
    ``told`` is called with the accounts that a pass has gone through.
    """
    width, coins = len(scenarios), len(ground.volume)
    whole = scenarios.shocks
    cube = cube_at(ground, whole, np.ones((coins, width)))
    items = [StressItem(s, Liquidated.nobody(s.stop - s.start, width)) for s in shards]
    end = None if disruption is None else disruption.impairment_at_the_end()
    first = _losses(engine, replace(inputs, cube=cube, impairment=end), items, told)
    total, taken = np.zeros(cube.shape), np.zeros((len(SIDES), *cube.shape))
    paid = np.zeros(taken.shape)
    active = np.ones(width, dtype=np.bool_)
    sold, liquidated, prices = [], [], []
    for number in count():
        come = min(number + 1, plan.cascade.steps) / plan.cascade.steps
        moves = part_of_shocks(whole, come)
        factor = price_factor(total, ground, scenarios.depth, plan)
        if disruption is not None:
            factor = factor * disruption.price(number)[:, np.newaxis]
        prices.append((1.0 + moves.price.T) * factor)
        cube = cube_at(ground, moves, factor)
        if not active.any() or number == plan.cascade.rounds:
            break
        impairment = None if disruption is None else disruption.impairment(number)
        shared = replace(inputs, cube=cube, active=active, impairment=impairment)
        if plan.maintenance is not None:
            unit = unit_now(ground, plan.maintenance, moves, factor, cube)
            shared = replace(shared, unit=unit)
        there = ground.volume[:, np.newaxis] * scenarios.depth
        coin = ground.instruments.underlying
        items, waiting = turns(engine, shared, items, coin, there, told)
        done, items = _round(engine, shared, items, told)
        total, taken = total + done.sold, taken + done.taken
        paid += _worth(done.taken, inputs.notional, cube) - done.handed
        gross = np.abs(done.sold).sum(axis=0)
        sold.append(np.where(active, gross, np.nan))
        liquidated.append(np.where(active, done.liquidated, -1))
        if come == 1.0 and (disruption is None or number >= disruption.rounds):
            enough = gross >= max(plan.cascade.least, 1e-300)
            active = active & (enough | (waiting > 0))
    at_end = replace(inputs, cube=cube, impairment=end)
    pnl = _worth(taken, inputs.notional, cube) - paid
    before = last = _losses(engine, at_end, items, told)
    if plan.maintenance is not None and plan.deleveraging is not None:
        unit = unit_now(ground, plan.maintenance, moves, factor, cube)
        at_end = replace(at_end, unit=unit)
    winners, items = deleverage_cascade(engine, at_end, items, plan, taken, pnl, told)
    if winners.accounts.any():
        last = _losses(engine, at_end, items, told)
    given_up = winners.given_up.sum(axis=0)
    vault_pnl = pnl.sum(axis=(0, 1)) + given_up
    out_of_gains = np.maximum(given_up - (last.lost - before.lost), 0.0)
    custody = None
    if claims is not None:
        moved = () if disruption is None else disruption.collateral
        custody = share_custody(engine, at_end, items, prices[-1], claims, moved)
    by_round = np.array(sold).reshape(-1, width).T
    return Cascade(
        sold=by_round,
        liquidated=np.array(liquidated, dtype=np.int64).reshape(-1, width).T,
        price=np.stack(prices, axis=-1),
        rounds=(by_round > 0.0).sum(axis=1),
        ended=~active,
        sold_by_instrument=total,
        taken_by_instrument=taken.sum(axis=0),
        vault_pnl=vault_pnl,
        winners=winners,
        loss=last.lost + np.maximum(-vault_pnl, 0.0) + out_of_gains,
        first=first,
        last=last,
        custody=custody,
    )


def _worth(notional: Floats, unit: Floats, cube: Floats) -> Floats:
    """Return the P&L of positions of so much notional since first prices, of their shape.

    ``(side, instrument, scenario)``. In whole units, instrument by instrument: how many scenarios
    go together decides the order of a sum of floats, and so its last bits.
    """
    contracts = notional / np.where(unit > 0.0, unit, 1.0)[:, np.newaxis]
    worth = UNIT * np.rint(contracts * cube / UNIT)
    require_exact("vault", np.abs(worth).sum(axis=(0, 1)))
    return np.asarray(worth)


def _round(
    engine: Engine,
    inputs: StressInputs,
    items: list[StressItem],
    told: Callable[[int], None],
) -> tuple[Summed, list[StressItem]]:
    """Send every shard through a round; sums are exact, so they may come in any order."""
    shape = inputs.cube.shape
    sold, liquidated = np.zeros(shape), np.zeros(shape[1], dtype=np.int64)
    taken, handed = np.zeros((2, len(SIDES), *shape))
    states: dict[int, Liquidated] = {}
    for result in engine.map(stress_shard, inputs, items):
        sold += result.round.sold
        taken += result.round.taken
        handed += result.round.handed
        liquidated += result.round.liquidated
        states[result.index] = result.round.state
        told(len(result.round.state.row))
    for name, sums in (("sold", sold), ("taken", taken), ("handed", handed)):
        require_exact(name, sums)
    after = [StressItem(item.shard, states[item.shard.index]) for item in items]
    return Summed(sold, taken, handed, liquidated), after


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
            found.lost_by_group + one.lost_by_group,
            found.gained_by_group + one.gained_by_group,
        )  # fmt: skip
    if found is None:
        raise ValueError("a book without accounts cannot be stressed")
    return found
