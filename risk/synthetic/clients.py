"""Clients: accounts that trade with a view, as far as their collateral carries it."""

import numpy as np
from numpy.typing import NDArray

from risk.synthetic.accounts import draw_accounts
from risk.synthetic.block import Block
from risk.synthetic.collateral import Vaults, draw_backing
from risk.synthetic.positions import draw_positions
from risk.synthetic.profile import Profile
from risk.synthetic.solvency import shrink
from risk.synthetic.stream import Purpose, stream
from risk.synthetic.universe import Universe


def draw_clients(
    seed: int,
    block: int,
    count: int,
    universe: Universe,
    limits: NDArray[np.int64],
    vaults: Vaults,
    member: NDArray[np.float64],
    profile: Profile,
) -> Block:
    """Draw a block of ``count`` clients; the same arguments give the same bits.

    Args:
        seed: of the book.
        block: number of the block.
        count: accounts in it.
        universe: what they trade.
        limits: most lots of one client, ``(instrument,)``.
        vaults: what backs them.
        member: shares of the members, ``(size class, member)``.
        profile: how they differ.
    """
    rng = stream(seed, Purpose.CLIENTS, block)
    accounts = draw_accounts(count, member, profile, rng)
    backing = draw_backing(count, vaults, rng)
    drawn = draw_positions(accounts, universe, limits, profile, rng)
    counted = accounts.value * backing.counts
    return Block(
        member=accounts.member,
        mode=accounts.mode,
        positions=shrink(drawn, accounts.mode, counted, accounts.use, universe),
        collateral_owner=backing.owner,
        asset=backing.asset,
        quantity=backing.quantity(accounts.value, vaults.price),
    )
