"""The hot path: sparse positions times a cube of P&L, reduced before anything is stored."""

from risk.kernels.block import BlockMargin, margin_block
from risk.kernels.positions import Positions
from risk.kernels.sets import account_pnl, expected_shortfall_sets, worst_loss
from risk.kernels.units import UnitMeasures, unit_measures

__all__ = [
    "BlockMargin",
    "Positions",
    "UnitMeasures",
    "account_pnl",
    "expected_shortfall_sets",
    "margin_block",
    "unit_measures",
    "worst_loss",
]
