"""Market makers: they take the other side of the clients, to the last lot."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from risk.synthetic.accounts import pick_member
from risk.synthetic.block import Block
from risk.synthetic.collateral import Vaults, draw_backing
from risk.synthetic.draws import between
from risk.synthetic.positions import Drawn
from risk.synthetic.profile import Profile
from risk.synthetic.solvency import opening_margin
from risk.synthetic.stream import Purpose, stream
from risk.synthetic.universe import Universe

GROUP = 256
"""Makers drawn together, so that memory does not grow with their number."""

PORTFOLIO = 2
SMALLEST_MAKER = 250_000.0
"""Equity that a maker has at the least, USD; choice."""


@dataclass(frozen=True, slots=True)
class Flow:
    """Lots that the makers hold together, long and short, each ``(instrument,)``, positive."""

    long: NDArray[np.int64]
    short: NDArray[np.int64]


def maker_flow(
    client_long: NDArray[np.int64], client_short: NDArray[np.int64], makers: int, universe: Universe
) -> tuple[Flow, float]:
    """Return what the makers must hold, and the scale of open interest to the real market.

    Together they hold the clients' imbalance the other way round. Where there are two makers or
    more they also hold matched longs and shorts, so that open interest in every option is the
    real one times one scale: the least at which the clients' own positions fit.
    """
    larger = np.maximum(client_long, client_short)
    known = universe.reference > 0.0
    aimed = universe.target[known] / universe.reference[known]
    least = float(np.median(aimed)) if known.any() else 0.0
    need = larger[known] / universe.reference[known]
    scale = min(max(least, float(need.max(initial=0.0))), 2.0 * least)
    wanted = np.rint(universe.reference * scale).astype(np.int64)
    matched = np.maximum(wanted - larger, 0) * (makers > 1)
    return Flow(larger - client_long + matched, larger - client_short + matched), scale


def _weights(
    seed: int, first: int, makers: int, universe: Universe, profile: Profile
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return weights on the long and on the short side of a group, ``(maker, instrument)``."""
    rng = stream(seed, Purpose.MAKERS, first // GROUP)
    shape = (GROUP, len(universe))
    size = np.exp(rng.standard_normal((GROUP, 1)))
    quotes = rng.random(shape) < profile.maker_presence
    buys = rng.random(shape) < 0.5
    weight = size * rng.standard_exponential(shape) + 1e-6
    # Every instrument has somebody on each side, and on one side only.
    maker = np.arange(first, first + GROUP)[:, None]
    row = np.arange(len(universe))
    buyer, seller = maker == row % makers, maker == (row + 1) % makers
    buys = (buys | buyer) & ~(seller & ~buyer)
    quotes |= buyer | seller
    stop = min(makers - first, GROUP)
    bought = (weight * (quotes & (buys | (makers == 1))))[:stop]
    sold = (weight * (quotes & (~buys | (makers == 1))))[:stop]
    return bought, sold


def draw_makers(
    seed: int,
    makers: int,
    flow: Flow,
    universe: Universe,
    vaults: Vaults,
    member: NDArray[np.float64],
    profile: Profile,
) -> Iterator[Block]:
    """Yield the makers in groups; over all of them the lots add up to the flow exactly.

    A side's lots are cut at the running share of each maker's weight, rounded down, so that the
    pieces are integers and their sum is the whole.
    """
    starts = range(0, makers, GROUP)
    total = np.zeros((2, len(universe)))
    for first in starts:
        total = _running(total, _weights(seed, first, makers, universe, profile))[:, -1]
    before = np.zeros_like(total)
    whole = np.stack([flow.long, flow.short])
    for first in starts:
        running = _running(before, _weights(seed, first, makers, universe, profile))
        edges = np.concatenate([before[:, None], running], axis=1)
        pieces = np.diff(np.floor(edges / total[:, None] * whole[:, None]).astype(np.int64), axis=1)
        before = running[:, -1]
        lots = pieces[0] - pieces[1]
        owner, instrument = np.nonzero(lots)
        drawn = Drawn(owner, instrument.astype(np.int32), lots[owner, instrument])
        yield _backed(seed, first, len(lots), drawn, universe, vaults, member, profile)


def _running(
    before: NDArray[np.float64], weights: tuple[NDArray[np.float64], NDArray[np.float64]]
) -> NDArray[np.float64]:
    """Return running sums of the weights on both sides, (side, maker, instrument).

    Both passes add in the same order, so the last sum of the second is the total of the first.
    """
    stacked = np.stack(weights)
    stacked[:, 0] += before
    return np.cumsum(stacked, axis=1)


def _backed(
    seed: int,
    first: int,
    count: int,
    drawn: Drawn,
    universe: Universe,
    vaults: Vaults,
    member: NDArray[np.float64],
    profile: Profile,
) -> Block:
    """Give makers collateral for what they hold."""
    rng = stream(seed, Purpose.MAKER_COLLATERAL, first // GROUP)
    backing = draw_backing(count, vaults, rng)
    mode = np.full(count, PORTFOLIO, dtype=np.int8)
    margin, value = opening_margin(drawn, mode, universe)
    equity = np.maximum(margin * between(profile.maker_cover, rng.random(count)), SMALLEST_MAKER)
    worth = np.maximum(equity - value, SMALLEST_MAKER) / np.maximum(backing.counts, 1e-3)
    largest = np.full(count, len(member) - 1, dtype=np.int8)
    return Block(
        member=pick_member(member, largest, rng.random(count)),
        mode=mode,
        positions=drawn,
        collateral_owner=backing.owner,
        asset=backing.asset,
        quantity=backing.quantity(worth, vaults.price),
    )
