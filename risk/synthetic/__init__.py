"""A synthetic book: who trades, what they hold and what backs it, drawn block by block.

Every draw is keyed by the seed, its purpose and the block, so a block is the same whoever draws
it and in whichever order.
"""

from risk.synthetic.block import Block
from risk.synthetic.clients import draw_clients
from risk.synthetic.collateral import Vaults
from risk.synthetic.makers import draw_makers, maker_flow
from risk.synthetic.profile import Profile, maker_count
from risk.synthetic.universe import Universe

__all__ = [
    "Block",
    "Profile",
    "Universe",
    "Vaults",
    "draw_clients",
    "draw_makers",
    "maker_count",
    "maker_flow",
]
