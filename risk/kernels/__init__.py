"""The hot path: sparse positions times a cube of P&L, reduced before anything is stored."""

from risk.kernels.block import BlockMargin, margin_block
from risk.kernels.positions import Positions
from risk.kernels.sets import account_pnl, expected_shortfall_sets, worst_loss

__all__ = [
    "BlockMargin",
    "Positions",
    "account_pnl",
    "expected_shortfall_sets",
    "margin_block",
    "worst_loss",
]
