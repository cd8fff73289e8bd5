"""The hot path: sparse positions times a cube of P&L, reduced before anything is stored."""

from risk.kernels.block import BlockMargin, margin_block
from risk.kernels.positions import Positions
from risk.kernels.rows import account_pnl
from risk.kernels.shortfall import expected_shortfall_sets
from risk.kernels.stacking import StackedAccounts, stack_accounts
from risk.kernels.sums import require_exact
from risk.kernels.units import UnitMeasures, unit_measures
from risk.kernels.worst import screened_worst_loss, worst_loss

__all__ = [
    "BlockMargin",
    "Positions",
    "StackedAccounts",
    "UnitMeasures",
    "account_pnl",
    "expected_shortfall_sets",
    "margin_block",
    "require_exact",
    "screened_worst_loss",
    "stack_accounts",
    "unit_measures",
    "worst_loss",
]
